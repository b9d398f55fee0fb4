// Size classes, slabs and events.
#include "memory.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <string>

#include "../core/errors.h"
#include "device.h"

namespace nabla {
namespace cuda {

namespace {

constexpr int64_t kGrain = 512;  // bytes; also the alignment, of which the widest loads need 16
#if !defined(NABLA_SHIM)
constexpr int64_t kSmall = int64_t(1) << 20, kSlab = int64_t(2) << 20;
#else
constexpr int64_t kSmall = 0, kSlab = 0;  // each block its own, with guard bytes around it
#endif

// At most an eighth more than asked for.
int64_t roundUp(int64_t bytes) {
  int64_t step = kGrain;
  while (bytes > 16 * step) step *= 2;
  return std::max(step, (bytes + step - 1) / step * step);
}

int64_t parseLimit() {
  const char* const text = std::getenv("NABLA_CUDA_MEMORY_LIMIT");
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  if (!text || !*text) return int64_t(total);
  char* end;
  const double value = std::strtod(text, &end);
  std::string unit;
  for (; *end; end++)
    if (!std::isspace(static_cast<unsigned char>(*end))) unit += char(std::tolower(static_cast<unsigned char>(*end)));
  static const struct {
    const char* name;
    double factor;
  } units[] = {{"", 1}, {"b", 1}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"kib", 1024.0}, {"mib", 1048576.0}, {"gib", 1073741824.0}};
  for (const auto& u : units)
    if (unit == u.name && value > 0 && value * u.factor < 9e18) return int64_t(value * u.factor);
  fail("PROGRAM", "NABLA_CUDA_MEMORY_LIMIT: \"%s\" is not a size; write bytes, or \"512MiB\", \"2GiB\"", text);
}

}  // namespace

int64_t memoryLimit() {
  static const int64_t limit = parseLimit();
  return limit;
}

DevicePool::~DevicePool() {
  emptyLocked();
  for (const auto& slab : slabs_) cudaFree(slab.second.memory);  // whose blocks were not given back
}

char* DevicePool::reserve(int64_t bytes) {
  if (reserved_ + bytes > memoryLimit()) return nullptr;
  void* memory = nullptr;
  if (cudaMalloc(&memory, size_t(bytes)) != cudaSuccess) {
    cudaGetLastError();  // it is not left behind for the next call
    return nullptr;
  }
  reserved_ += bytes;
  return static_cast<char*>(memory);
}

char* DevicePool::allocate(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bytes >= 0 && bytes < int64_t(1) << 48) {  // what can be rounded up
    const int64_t size = roundUp(bytes);
    std::vector<char*>& list = free_[size];
    if (list.empty()) {
      const int64_t chunk = size <= kSmall ? kSlab : size;
      char* memory = reserve(chunk);
      if (!memory) {
        emptyLocked();
        memory = reserve(chunk);
      }
      if (memory) {
        slabs_[memory] = {memory, chunk, 0};
        for (int64_t at = chunk / size * size - size; at >= 0; at -= size) list.push_back(memory + at);
        statistics_.pooled += chunk / size * size;
      }
    }
    if (!list.empty()) {
      char* const block = list.back();
      list.pop_back();
      std::prev(slabs_.upper_bound(block))->second.used++;
      statistics_.pooled -= size;
      statistics_.inUse += size;
      statistics_.peak = std::max(statistics_.peak, statistics_.inUse);
      return block;
    }
  }
  fail("MEMORY", "a buffer of %lld bytes cannot be had on this GPU: %lld bytes are in use, the limit is %lld",
       static_cast<long long>(bytes), static_cast<long long>(statistics_.inUse), static_cast<long long>(memoryLimit()));
}

void DevicePool::release(char* block, int64_t bytes) {
  const int64_t size = roundUp(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  free_[size].push_back(block);
  std::prev(slabs_.upper_bound(block))->second.used--;
  statistics_.inUse -= size;
  statistics_.pooled += size;
}

void DevicePool::empty() {
  const std::lock_guard<std::mutex> lock(mutex_);
  emptyLocked();
}

// Slabs of which nothing is in use go back; cudaFree waits for the kernels that may still use them.
void DevicePool::emptyLocked() {
  const auto unused = [&](char* block) { return std::prev(slabs_.upper_bound(block))->second.used == 0; };
  for (auto& entry : free_) {
    auto& list = entry.second;
    const auto end = std::remove_if(list.begin(), list.end(), unused);
    statistics_.pooled -= int64_t(list.end() - end) * entry.first;
    list.erase(end, list.end());
  }
  for (auto slab = slabs_.begin(); slab != slabs_.end();) {
    if (slab->second.used > 0) {
      ++slab;
      continue;
    }
    cudaFree(slab->second.memory);
    reserved_ -= slab->second.size;
    slab = slabs_.erase(slab);
  }
}

Pool::Statistics DevicePool::statistics() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return statistics_;
}

// Staging.

Staging::~Staging() {
  for (const auto& entry : blocks_) {
    cudaEventDestroy(entry.second.event);
    cudaFreeHost(entry.first);
  }
}

char* Staging::take(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t size = roundUp(bytes);
  for (auto& entry : blocks_) {
    Block& block = entry.second;
    if (block.taken || block.size != size) continue;
    if (block.pending && cudaEventQuery(block.event) != cudaSuccess) {
      cudaGetLastError();  // cudaErrorNotReady is no error of the next call
      continue;
    }
    block.taken = true;
    return entry.first;
  }
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, size_t(size), cudaHostAllocDefault), "cudaHostAlloc");
  Block block = {size, nullptr, true, false};
  const cudaError_t status = cudaEventCreateWithFlags(&block.event, cudaEventDisableTiming);
  if (status != cudaSuccess) cudaFreeHost(memory);
  check(status, "cudaEventCreate");
  blocks_[static_cast<char*>(memory)] = block;
  return static_cast<char*>(memory);
}

void Staging::give(char* memory, cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Block& block = blocks_[memory];
  block.taken = false;
  block.pending = cudaEventRecord(block.event, stream) == cudaSuccess;  // or else the stream is broken, and says so
}

}  // namespace cuda
}  // namespace nabla

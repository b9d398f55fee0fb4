// Memory with guard bytes, streams that do at once what they are told, graphs that keep it to do it again.
#include "runtime.h"

#include "hopper.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace shim {

struct Stream {
  Graph* captured = nullptr;
};
struct Graph {
  std::vector<std::function<void()>> work;
};
struct Event {};

namespace {

constexpr size_t kGuard = 256;
constexpr unsigned char kGuardByte = 0xA5, kUnset = 0xFF;

std::mutex mutex;
std::map<char*, size_t> blocks;  // that are allocated
thread_local std::string message;
thread_local Stream* capturing = nullptr;

bool damaged(const char* block, size_t bytes) {
  for (size_t i = 0; i < kGuard; i++)
    if (static_cast<unsigned char>(block[-1 - ptrdiff_t(i)]) != kGuardByte ||
        static_cast<unsigned char>(block[bytes + i]) != kGuardByte)
      return true;
  return false;
}

std::atomic<Order> chosen{Order::forward};

}  // namespace

Order order() { return chosen.load(std::memory_order_relaxed); }
void setOrder(Order order) { chosen = order; }

void fault(const char* format, ...) {
  if (!message.empty()) return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  message = text;
}
cudaError_t lastFault() { return message.empty() ? cudaSuccess : cudaErrorLaunchFailure; }

bool capture(std::function<void()> work) {
  if (!capturing) return false;
  capturing->captured->work.push_back(std::move(work));
  return true;
}

void checkGuards(const char* after) {
  const std::lock_guard<std::mutex> lock(mutex);
  for (const auto& entry : blocks)
    if (damaged(entry.first, entry.second)) fault("%s: a kernel wrote outside a buffer of %zu bytes", after, entry.second);
}

}  // namespace shim

using namespace shim;

const char* cudaGetErrorString(cudaError_t error) {
  static thread_local std::string last;
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      last = message.empty() ? "a kernel failed" : message;
      message.clear();
      return last.c_str();
    default: return "invalid argument";
  }
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaSuccess ? "cudaSuccess" : error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorUnknown";
}
cudaError_t cudaGetLastError() { return lastFault(); }
cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 2, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device < 2 ? cudaSuccess : cudaErrorInvalidDevice; }
// Four multiprocessors, so that a few blocks are many. The second GPU is an sm_90.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 4 : attribute == cudaDevAttrComputeCapabilityMajor ? 8 + device : 0;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** to, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  const bool known = std::strcmp(name, "cuTensorMapEncodeTiled") == 0;
  *to = known ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) { return *free = *total = size_t(1) << 31, cudaSuccess; }

cudaError_t cudaMalloc(void** to, size_t bytes) {
  char* block = nullptr;
  if (bytes > size_t(1) << 31 || posix_memalign(reinterpret_cast<void**>(&block), kGuard, bytes + 2 * kGuard) != 0)
    return cudaErrorMemoryAllocation;
  std::memset(block, kGuardByte, kGuard);
  std::memset(block + kGuard, kUnset, bytes);  // NaN for floats, wrong as an index
  std::memset(block + kGuard + bytes, kGuardByte, kGuard);
  const std::lock_guard<std::mutex> lock(mutex);
  blocks[block + kGuard] = bytes;
  *to = block + kGuard;
  return cudaSuccess;
}
cudaError_t cudaFree(void* address) {
  char* const block = static_cast<char*>(address);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = blocks.find(block);
  if (found == blocks.end()) return cudaErrorInvalidValue;
  if (damaged(block, found->second)) fault("a kernel wrote outside a buffer of %zu bytes", found->second);
  blocks.erase(found);
  std::free(block - kGuard);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** to, size_t bytes, unsigned) {
  *to = std::malloc(bytes);
  return *to ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* block) { return std::free(block), cudaSuccess; }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (!capture([=] { std::memcpy(to, from, bytes); })) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (!capture([=] { std::memset(to, value, bytes); })) std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return *stream = new Stream, cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  if (capturing) return cudaErrorInvalidValue;
  checkGuards("synchronize");
  return lastFault();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = new Event, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return lastFault(); }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (capturing) return cudaErrorInvalidValue;
  stream->captured = new Graph;
  capturing = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (capturing != stream) return cudaErrorInvalidValue;
  capturing = nullptr;
  *graph = stream->captured;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* to, cudaGraph_t graph, unsigned long long) {
  *to = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  info->result = cudaGraphExecUpdateSuccess;
  if (exec->work.size() != graph->work.size()) return cudaErrorInvalidValue;
  exec->work = graph->work;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  for (const auto& work : exec->work) work();
  return lastFault();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }

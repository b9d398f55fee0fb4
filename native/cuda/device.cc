// One GPU of one environment: its stream, its memory, copies through page-locked memory.
#include "device.h"

#include <algorithm>
#include <cstdlib>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "memory.h"
#include "replay.h"

namespace nabla {
namespace cuda {

namespace {

// Copies go through blocks of at most this size, so that filling one and sending another overlap.
constexpr int64_t kChunk = int64_t(4) << 20;

class Cuda;
thread_local Cuda* inUse = nullptr;

class Cuda : public Device {
 public:
  explicit Cuda(int index) {
    check(cudaSetDevice(index), "cudaSetDevice");
    int major = 0, minor = 0;
    properties_.index = index;
    check(cudaDeviceGetAttribute(&properties_.processors, cudaDevAttrMultiProcessorCount, index), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "cudaDeviceGetAttribute");
    properties_.architecture = 10 * major + minor;
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    check(cudaEventCreateWithFlags(&arrived_, cudaEventDisableTiming | cudaEventBlockingSync), "cudaEventCreate");
    reports_ = std::make_unique<Block>(pool_, int64_t(sizeof(Reports)));
    const Reports none = {};
    write(reports_->data(), &none, sizeof none);
  }
  ~Cuda() override {
    cudaSetDevice(properties_.index);
    cudaStreamSynchronize(stream_);
    cudaEventDestroy(arrived_);
    cudaStreamDestroy(stream_);
    if (inUse == this) inUse = nullptr;
  }

  Pool& pool() override { return pool_; }
  void enter() override {
    inUse = this;
    check(cudaSetDevice(properties_.index), "cudaSetDevice");
  }
  void write(char* to, const void* from, int64_t bytes) override {
    const std::lock_guard<std::recursive_mutex> lock(order_);
    for (int64_t at = 0; at < bytes; at += kChunk) {
      const int64_t n = std::min(kChunk, bytes - at);
      char* const block = staging_.take(n);
      std::memcpy(block, static_cast<const char*>(from) + at, size_t(n));
      const cudaError_t status = cudaMemcpyAsync(to + at, block, size_t(n), cudaMemcpyHostToDevice, stream_);
      staging_.give(block, stream_);
      check(status, "cudaMemcpyAsync");
    }
  }
  // Two blocks in turn: one arrives while the other is copied out. The thread sleeps meanwhile.
  void read(void* to, const char* from, int64_t bytes) override {
    struct Turns {
      Cuda& cuda;
      char* blocks[2];
      ~Turns() {
        for (char* block : blocks)
          if (block) cuda.staging_.give(block, cuda.stream_);
      }
    } turns = {*this, {}};
    const auto& blocks = turns.blocks;
    const auto send = [&](int64_t at) {
      const int64_t n = std::min(kChunk, bytes - at);
      char*& block = turns.blocks[at / kChunk % 2];
      if (!block) block = staging_.take(n);
      check(cudaMemcpyAsync(block, from + at, size_t(n), cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
    };
    send(0);
    for (int64_t at = 0; at < bytes; at += kChunk) {
      wait();
      if (at + kChunk < bytes) send(at + kChunk);
      std::memcpy(static_cast<char*>(to) + at, blocks[at / kChunk % 2], size_t(std::min(kChunk, bytes - at)));
    }
  }
  void synchronize() override { check(cudaStreamSynchronize(stream_), "the GPU"); }

  bool replay(Program& program, uint64_t changes, const std::function<void()>& run) override {
    const std::lock_guard<std::recursive_mutex> lock(order_);
    if (!program.replayed()) program.replayed() = std::make_unique<Replays>();
    write(reinterpret_cast<char*>(&reports()->changes), &changes, sizeof changes);
    if (!static_cast<Replays&>(*program.replayed()).run(program, pool_, stream_, run)) return false;
    reported_ = reported_ || !checks_.empty();
    return true;
  }
  bool fault(Fault& fault) override {
    if (!reported_) return false;
    reported_ = false;
    Report report;
    read(&report, reinterpret_cast<const char*>(&reports()->report), sizeof report);
    if (report.number == 0) return false;
    const Report none = {};
    write(reinterpret_cast<char*>(&reports()->report), &none, sizeof none);
    char text[512];
    std::snprintf(text, sizeof text, checks_[size_t(report.number - 1)].c_str(), static_cast<long long>(report.value));
    fault = {text, report.changes};
    return true;
  }
  int32_t expectReport(const std::string& text, Report** to, const uint64_t** changes) {
    *to = &reports()->report;
    *changes = &reports()->changes;
    const auto found = std::find(checks_.begin(), checks_.end(), text);
    if (found != checks_.end()) return int32_t(found - checks_.begin()) + 1;
    checks_.push_back(text);
    return int32_t(checks_.size());
  }
  bool readsHost() const override { return false; }
  std::string kind() const override { return "sm_" + std::to_string(properties_.architecture); }

  cudaStream_t stream() const { return stream_; }
  const Properties& properties() const { return properties_; }

 private:
  // In the GPU's memory.
  struct Reports {
    Report report;
    uint64_t changes;  // of the replay that runs
  };
  Reports* reports() const { return reinterpret_cast<Reports*>(reports_->data()); }

  void wait() {
    check(cudaEventRecord(arrived_, stream_), "cudaEventRecord");
    check(cudaEventSynchronize(arrived_), "the GPU");
  }

  // JavaScript's thread stages data while the executor's runs programs; into a stream from which a graph is being made
  // only what belongs to the graph may go.
  std::recursive_mutex order_;
  Properties properties_{};
  cudaStream_t stream_ = nullptr;
  cudaEvent_t arrived_ = nullptr;
  DevicePool pool_;
  Staging staging_;
  std::unique_ptr<Block> reports_;
  std::vector<std::string> checks_;  // formats of messages; for as long as the device is open
  bool reported_ = false;            // a replay with checks ran since they were looked at
};

Cuda& current() {
  if (!inUse) fail("PROGRAM", "no CUDA device is in use on this thread");
  return *inUse;
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const std::string why = cudaGetErrorString(status);
  fail(status == cudaErrorMemoryAllocation ? "MEMORY" : "PROGRAM", "CUDA: %s: %s (error %d)", what, why.c_str(), int(status));
}

cudaStream_t stream() { return current().stream(); }
const Properties& properties() { return current().properties(); }
bool wantsTf32() {
  const char* const text = std::getenv("NABLA_CUDA_TF32");
  return text && text[0] == '1';
}

Temporary::Temporary(int64_t bytes)
    : pool_(current().pool()), graph_(workspaceInUse()), bytes_(bytes),
      data_(graph_ ? graph_->allocate(bytes) : pool_.allocate(bytes)) {}
Temporary::~Temporary() {
  if (graph_) graph_->release(data_);
  else pool_.release(data_, bytes_);
}

void copy(void* to, const void* from, int64_t bytes) {
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync");
}
void fill(void* to, int byte, int64_t bytes) {
  if (bytes > 0) check(cudaMemsetAsync(to, byte, size_t(bytes), stream()), "cudaMemsetAsync");
}
void readBack(void* to, const void* from, int64_t bytes) {
  if (capturing()) throw NotCapturable();
  current().read(to, static_cast<const char*>(from), bytes);
}

int32_t expectReport(const std::string& text, Report** to, const uint64_t** changes) {
  return current().expectReport(text, to, changes);
}

Found probe() {
  Found found;
  if (cudaDriverGetVersion(&found.driver) != cudaSuccess) found.driver = 0;
  if (cudaRuntimeGetVersion(&found.runtime) != cudaSuccess) found.runtime = 0;
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    found.error = std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ", error " + std::to_string(int(status)) + ")";
    cudaGetLastError();
    return found;
  }
  if (count == 0) found.error = "the driver shows no GPU";
  for (int i = 0; i < count; i++) {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, i);
    found.gpus.push_back({"sm_" + std::to_string(10 * major + minor)});
  }
  return found;
}

}  // namespace cuda

std::unique_ptr<Device> openCuda(int index) {
  const cuda::Found found = cuda::probe();
  if (!found.error.empty()) fail("PROGRAM", "%s", found.error.c_str());
  if (index < 0 || index >= int(found.gpus.size()))
    fail("PROGRAM", "there is no GPU %d; there are %d", index, int(found.gpus.size()));
  return std::make_unique<cuda::Cuda>(index);
}

}  // namespace nabla

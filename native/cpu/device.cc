// The CPU as a device: kernels run where they are called, on memory that the host reads.
#include "device.h"

#include <cstring>

#include "../core/cpu.h"
#include "../core/threads.h"

namespace nabla {

namespace {

class Cpu : public Device {
 public:
  Pool& pool() override { return pool_; }
  void write(char* to, const void* from, int64_t bytes) override { std::memcpy(to, from, size_t(bytes)); }
  void read(void* to, const char* from, int64_t bytes) override { std::memcpy(to, from, size_t(bytes)); }
  bool readsHost() const override { return true; }
  std::string kind() const override { return nameOf(isa()); }
  int threads() const override { return getThreads(); }
  void setThreads(int n) override { nabla::setThreads(n); }

 private:
  HostPool pool_;
};

}  // namespace

std::unique_ptr<Device> openCpu() { return std::make_unique<Cpu>(); }

}  // namespace nabla

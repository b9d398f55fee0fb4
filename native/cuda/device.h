// A CUDA device as the executor sees it, and what kernels ask of the one that is in use on this thread.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "../graph/device.h"
#include "../graph/kernel.h"
#include "launch.h"

namespace nabla {

std::unique_ptr<Device> openCuda(int index);  // throws an Error that says why it cannot be used

namespace cuda {

struct Found {
  std::string error;        // why there are no devices; empty when there are
  int driver = 0, runtime = 0;  // versions as CUDA writes them, 13000 for 13.0; 0 when there is no driver
  struct Gpu {
    std::string architecture;  // "sm_90"
  };
  std::vector<Gpu> gpus;
};
Found probe();

struct Properties {
  int index, processors, architecture;  // multiprocessors; 90 for sm_90
};
const Properties& properties();
// float32 products are of float32 unless somebody says, by NABLA_CUDA_TF32=1, that 10 bits of mantissa will do.
bool wantsTf32();

// Memory for the kernels of one call; in a graph it stays theirs.
class Workspace;
class Temporary {
 public:
  explicit Temporary(int64_t bytes);
  ~Temporary();
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  template <typename T>
  T* get() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  Pool& pool_;
  Workspace* const graph_;  // that owns it; null outside of graphs
  int64_t bytes_;
  char* data_;
};

// Copies of the device's memory in the order of the kernels.
void copy(void* to, const void* from, int64_t bytes);
void fill(void* to, int byte, int64_t bytes);
// Waits for the kernels so far and reads what they wrote. A graph cannot be made of a call that does.
void readBack(void* to, const void* from, int64_t bytes);

// While a graph is made, wrong indices cannot be waited for: a kernel reports the first one it finds, and those after it
// take care that nothing outside of a buffer is touched. The executor asks at the next read.
struct Report {
  int32_t number;  // of the check, from 1 on; 0: nothing wrong
  int32_t unused;
  int64_t value;
  uint64_t changes;  // see Device::replay
};
bool capturing();
// A check whose message is `text` with the value in the place of its %lld. `changes` is where the running replay's is.
int32_t expectReport(const std::string& text, Report** to, const uint64_t** changes);

}  // namespace cuda
}  // namespace nabla

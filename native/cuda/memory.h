// Pools of the device's memory, and of page-locked memory of the host through which copies go.
#pragma once
#include <map>
#include <mutex>
#include <vector>

#include "../core/pool.h"
#include "launch.h"

namespace nabla {
namespace cuda {

// Everything runs in the order of one stream, so a block that is given back may be given out at once: whoever gets it
// comes later in the stream. Small blocks are cut from slabs, larger ones are allocated one by one; both by size class.
// The device must be the one in use (Device::enter).
class DevicePool : public Pool {
 public:
  DevicePool() = default;
  ~DevicePool() override;
  DevicePool(const DevicePool&) = delete;
  DevicePool& operator=(const DevicePool&) = delete;

  char* allocate(int64_t bytes) override;
  void release(char* block, int64_t bytes) override;
  void empty() override;
  Statistics statistics() override;

 private:
  struct Slab {
    char* memory;
    int64_t size;
    int used;  // blocks
  };
  char* reserve(int64_t bytes);
  void emptyLocked();

  std::mutex mutex_;
  std::map<int64_t, std::vector<char*>> free_;  // by size
  std::map<char*, Slab> slabs_;                 // by where they begin
  Statistics statistics_ = {0, 0, 0};
  int64_t reserved_ = 0;  // from CUDA
};

// Page-locked memory of the host. A block is free again once the copies that it is for are done.
class Staging {
 public:
  ~Staging();
  // A block of at least so many bytes, and its size.
  char* take(int64_t bytes);
  void give(char* block, cudaStream_t stream);  // after the work that is now in the stream

 private:
  struct Block {
    int64_t size;
    cudaEvent_t event;
    bool taken, pending;
  };
  std::mutex mutex_;
  std::map<char*, Block> blocks_;
};

int64_t memoryLimit();  // of each device: NABLA_CUDA_MEMORY_LIMIT, in bytes or with a unit; else what is there

}  // namespace cuda
}  // namespace nabla

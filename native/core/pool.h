// Recycling pool of buffers: fresh memory costs page faults, ten times what filling a recycled block does.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace nabla {

// Each environment has its own pool, so that its figures are its own and its memory goes with it. Blocks are aligned to
// 64 bytes and rounded up to a size class (at most 1/8 more than asked for). All functions are safe from any thread.
class Pool {
 public:
  struct Statistics {
    int64_t inUse, pooled, peak;  // bytes
  };

  virtual ~Pool() = default;  // frees what is pooled; blocks in use must have been given back
  virtual char* allocate(int64_t bytes) = 0;             // throws Error("MEMORY"); never null, also for 0 bytes
  virtual void release(char* block, int64_t bytes) = 0;  // `bytes` as given to allocate
  virtual void empty() = 0;                              // returns everything pooled to the system
  virtual Statistics statistics() = 0;
};

// Of the host's memory.
class HostPool : public Pool {
 public:
  HostPool() = default;
  ~HostPool() override;
  HostPool(const HostPool&) = delete;
  HostPool& operator=(const HostPool&) = delete;

  char* allocate(int64_t bytes) override;
  void release(char* block, int64_t bytes) override;
  void empty() override;
  Statistics statistics() override;

 private:
  struct Free {
    Free* next;
  };
  static constexpr int kClasses = 8 + 8 * 40;  // up to 2^49 bytes

  char* take(int64_t size);
  void emptyLocked();

  std::mutex mutex_;
  Free* lists_[kClasses] = {};
  Statistics statistics_ = {0, 0, 0};
};

// A block for the length of a scope.
class Block {
 public:
  Block(Pool& pool, int64_t bytes) : pool_(pool), bytes_(bytes), data_(pool.allocate(bytes)) {}
  ~Block() { if (data_) pool_.release(data_, bytes_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  char* detach() {  // the caller gives it back
    char* data = data_;
    data_ = nullptr;
    return data;
  }

 private:
  Pool& pool_;
  int64_t bytes_;
  char* data_;
};

}  // namespace nabla

// Runs eager batches and loaded programs of one environment: the slot table, poison and the pending error.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "device.h"
#include "instruction.h"
#include "program.h"

namespace nabla {

constexpr int32_t kMaxSlots = 1 << 22;  // a wild slot number must not become a huge table

// An error that happened while instructions ran, kept by the buffers that it spoilt.
struct Failure {
  const char* code;
  std::string message;
  int64_t number;  // errors are counted, see Slot::born
};
using FailurePtr = std::shared_ptr<const Failure>;

// One thread at a time may run, read, synchronize or throwPending; the other functions are safe beside it.
class Executor {
 public:
  explicit Executor(std::unique_ptr<Device> device)
      : device_(std::move(device)), pool_(device_->pool()), scratch_(std::make_unique<Instruction>()) {}
  ~Executor();

  // Runs the instructions of words[0, length). Nothing is thrown: errors become poison and the pending error.
  void run(const int32_t* words, int64_t length);
  // Copies from a slot's buffer; throws the pending error, the slot's poison, or what is wrong with the request.
  void read(int32_t slot, int64_t offset, void* to, int64_t bytes);
  void throwPending();  // and forget it
  void synchronize();   // waits for the device, then throws the pending error
  void unload(int32_t id);

  int32_t stage(const void* from, int64_t bytes);
  int32_t load(const int32_t* words, int64_t length);
  void interrupt() { interrupted_.store(true, std::memory_order_relaxed); }  // stop before the next kernel, for good
  Pool& pool() { return pool_; }
  Device& device() { return *device_; }

 private:
  struct Slot {
    FailurePtr poison;
    int64_t bytes = 0;     // as allocated
    int64_t born = 0;      // errors that had happened before its alloc
    uint64_t generation = 0;  // see Executor::changes; never that of another buffer
    uint64_t bound = 0;    // the last replay that bound it,
    int32_t boundAs = 0;   // and as which
    bool live = false;     // between alloc or adopt, and free; without a buffer when that failed
    bool written = false;  // since its alloc
  };
  struct Staged {
    char* data;
    int64_t bytes;
  };

  void execute(const int32_t* words, int64_t length);
  void control(int32_t op, const int32_t* words, int64_t length);
  void occupy(int32_t slot);
  void changes(int32_t slot) { slots_[slot].generation = ++changes_; }  // or may change, from now on
  void give(int32_t slot, char* data, int64_t bytes, bool written);
  void release(int32_t slot);
  void replay(const int32_t* attributes, int32_t count);
  bool bind(Program& program, const int32_t* slots);
  void replayAround(Program& program, const int32_t* slots, size_t from, FailurePtr failure);
  bool isLive(int32_t slot) const { return slot >= 0 && size_t(slot) < slots_.size() && slots_[slot].live; }
  FailurePtr caught();
  void collectFault();
  void poison(int32_t slot, const FailurePtr& failure);
  void spoil(const int32_t* words, int64_t length, FailurePtr failure);
  FailurePtr inherited(const int32_t* words, int64_t length);

  const std::unique_ptr<Device> device_;
  Pool& pool_;
  std::vector<Buffer> buffers_;  // by slot, beside slots_
  std::vector<Slot> slots_;
  uint64_t replays_ = 0, changes_ = 0;
  FailurePtr pending_;
  int64_t failures_ = 0;
  std::unique_ptr<Instruction> scratch_;
  std::atomic<bool> interrupted_{false};

  std::mutex mutex_;  // of what follows
  std::unordered_map<int32_t, Staged> staged_;
  std::unordered_map<int32_t, std::shared_ptr<Program>> programs_;
  int32_t nextStaged_ = 1, nextProgram_ = 1;
};

}  // namespace nabla

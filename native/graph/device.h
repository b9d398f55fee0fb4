// What an executor asks of the device that its kernels run on: cpu/device.cc, cuda/device.cc.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "../core/pool.h"

namespace nabla {

class Program;

class Device {
 public:
  virtual ~Device() = default;
  virtual Pool& pool() = 0;
  virtual void enter() {}  // before anything else here, on each thread
  // Copies from and to the host, in order with the kernels. `from` is read when `write` returns, `to` written when
  // `read` does.
  virtual void write(char* to, const void* from, int64_t bytes) = 0;
  virtual void read(void* to, const char* from, int64_t bytes) = 0;
  virtual void synchronize() {}           // waits for the kernels; throws when one of them broke down
  // Runs a program, whose operands are in place, faster than `run`, which runs its nodes, does; false: it did not.
  // `changes` is a number that grows, of the writes so far.
  virtual bool replay(Program&, uint64_t /*changes*/, const std::function<void()>& /*run*/) { return false; }
  // What went wrong in a replay that was not waited for. Nothing that was written since `changes` is to be trusted.
  struct Fault {
    std::string message;  // of an index error
    uint64_t changes;
  };
  virtual bool fault(Fault&) { return false; }
  virtual bool readsHost() const = 0;     // kernels read numbers in the host's memory
  virtual std::string kind() const = 0;   // the instruction set or architecture in use
  virtual int threads() const { return 1; }
  virtual void setThreads(int) {}
};

}  // namespace nabla

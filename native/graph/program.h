// A loaded program: nodes decoded and verified once, replayed with nothing but fresh addresses and numbers.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "../core/pool.h"
#include "device.h"
#include "instruction.h"

namespace nabla {

// One instruction of a program: its kernel with views and attributes that live as long as the program.
struct Node {
  const Kernel* kernel;
  Call call;
  int32_t operands;  // index of its first operand in Program::operands
};

class Program {
 public:
  Program(const int32_t* words, int64_t length, Device& device);  // throws Error("PROGRAM"), Error("MEMORY")
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // A slot whose buffer is given at every replay, in the order of the table.
  struct Bound {
    int32_t slot;
    int64_t bytes;             // the least its buffer must have
    char* data;                // of the last replay
    uint64_t generation;
    bool written;              // by some node
    std::vector<int32_t> views;  // that lie in it
  };

  const std::vector<Node>& nodes() const { return nodes_; }
  const Operand& operand(const Node& node, int i) const { return operands_[node.operands + i]; }
  int32_t slots() const { return int32_t(buffers_.size()); }
  std::vector<Bound>& bound() { return bound_; }
  const std::vector<Bound>& bound() const { return bound_; }
  int32_t boundOf(int32_t slot) const { return boundOf_[slot]; }  // index in bound(), −1 for a slot of the arena
  int32_t parameters() const { return parameters_; }
  std::unique_ptr<Prepared>& replayed() { return replayed_; }

  // Points the views of a bound slot at its buffer.
  void bind(Bound& slot, char* data, uint64_t generation);
  // Writes the parameters, two words each, where the operands that use them read them.
  void setParameters(const int32_t* words);

 private:
  struct Use {
    int32_t view, parameter;
  };

  int64_t readTable(const int32_t* words, int64_t length);
  void readNodes(int64_t at);

  Device& device_;
  std::vector<int32_t> words_;  // attributes are read from here
  int32_t parameters_ = 0;
  std::vector<Buffer> buffers_;
  std::vector<Bound> bound_;
  std::vector<int32_t> boundOf_;
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<Prepared>> kept_;  // by kernels, for each node
  std::vector<View> views_;
  std::vector<Operand> operands_;
  std::vector<uint64_t> inlined_;
  std::vector<Use> uses_;
  std::vector<uint64_t> values_;    // of the uses, where kernels cannot read them here, and
  std::unique_ptr<Block> numbers_;  // the device's copy
  int64_t arenaBytes_ = 0;
  std::unique_ptr<Block> arena_;
  std::unique_ptr<Prepared> replayed_;  // by the device, for the whole
};

}  // namespace nabla

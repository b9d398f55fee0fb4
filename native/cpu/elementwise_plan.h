// What one element-wise instruction becomes before it runs: the space that its operands share, with as few dimensions
// as possible, and a list of operations on blocks. Nothing here is allocated on the heap; a plan lives on the stack.
#pragma once
#include <cstdint>

#include "../graph/kernel.h"
#include "simd/elementwise_table.h"

namespace nabla {

constexpr int kMaxSteps = 64, kMaxIns = 32, kMaxOuts = 16;
constexpr int kMaxRegisters = kMaxIns + kMaxSteps, kMaxOperands = kMaxOuts + kMaxIns;
// A step; a conversion (in two, by way of float32) of each register that a step or output reads; a load an input; a
// copy and a store an output.
constexpr int kMaxOps = kMaxSteps + 3 * kMaxSteps + kMaxIns + 2 * kMaxIns + 5 * kMaxOuts;
constexpr int kMaxConstants = kMaxIns * (kCTypes + 1);
constexpr int kMaxValues = kMaxOps + kMaxIns + kMaxConstants;

inline CType ctypeOf(DType t) {  // of float16 and bfloat16: what they are computed in
  constexpr CType types[kDTypes] = {kF32, kF64, kF32, kF32, kI32, kI64, kU8, kBool};
  return types[static_cast<int>(t)];
}

// The attributes of an instruction.
struct Steps {
  const int32_t* words;
  int n;
  explicit Steps(const Call& call) : words(call.attr + 1), n(call.attr[0]) {}
  int fn(int k) const { return words[5 * k]; }
  DType dtype(int k) const { return static_cast<DType>(words[5 * k + 1]); }
  int source(int k, int s) const { return words[5 * k + 2 + s]; }
  int output(int j) const { return words[5 * n + j]; }
};

int arityOf(int fn);
bool isPredicate(int fn);
int ctypesOf(int fn);
int costOf(int fn);

// How blocks cover the space: `rows` are runs of the last dimension; `flat` blocks run over short rows; `tiles` are
// rectangles of the last two dimensions, for operands that are contiguous along another dimension than the first
// output.
enum class Walk : uint8_t { rows, flat, tiles };

struct Space {
  int ndim = 0;
  Walk walk = Walk::rows;
  int64_t count = 1;
  int64_t shape[kMaxDims];
  int64_t stride[kMaxOperands][kMaxDims];  // outputs, then inputs
  int nOut, operands;

  explicit Space(const Call& call);  // ndim is at least 1
  bool direct(int operand) const;    // its elements of a block lie next to each other
  bool constant(int operand) const;  // all its elements are one

 private:
  void chooseWalk();
};

struct Value {
  int16_t operand;  // where it lies: in an operand's memory, or (−1)
  int16_t buffer;   // in a block buffer
  int16_t lastUse;
  int8_t size;  // bytes an element
};

struct Op {
  enum Kind : uint8_t { call, load, store, stream } kind;
  int16_t operand;  // of load, store, stream
  int16_t to, from[3];  // values
  BlockFn fn;
};

struct Constant {
  int16_t value;
  uint64_t bits;
};

struct Plan {
  const ElementwiseTable& table;
  int nValues = 0, nOps = 0, nConstants = 0, nBuffers = 0;
  int width = 1;      // bytes of the widest element in a buffer
  int64_t cost = 0;   // of an element, roughly, in additions
  Value values[kMaxValues];
  Op ops[kMaxOps];
  Constant constants[kMaxConstants];

  Plan(const Call& call, const Space& space, const ElementwiseTable& table);
};

}  // namespace nabla

// What one element-wise instruction becomes before it runs: the space that its operands share, with as few dimensions
// as possible, and a list of operations on blocks. Made on the stack; what a program keeps is copied to the heap,
// no larger than it needs to be (ElementwiseJob).
#pragma once
#include <cstdint>

#include "../graph/elementwise.h"
#include "../graph/kernel.h"
#include "simd/elementwise_table.h"

namespace nabla {

// A step; a conversion (in two, by way of float32) of each register that a step or output reads; a load an input; a
// copy and a store an output.
constexpr int kMaxOps = kMaxSteps + 3 * kMaxSteps + kMaxIns + 2 * kMaxIns + 5 * kMaxOuts;
constexpr int kMaxConstants = kMaxIns * (kCTypes + 1);
constexpr int kMaxValues = kMaxOps + kMaxIns + 2 * kMaxConstants;
constexpr int kMaxArgs = 4 * kMaxOps;  // a recipe has no more than the steps that it stands for

// How blocks cover the space: `rows` are runs of the last dimension; `flat` blocks run over short rows; `tiles` are
// rectangles of the last two dimensions, for operands that are contiguous along another dimension than the first
// output.
enum class Walk : uint8_t { rows, flat, tiles };

struct Space {
  int ndim = 0;
  Walk walk = Walk::rows;
  bool swapped = false;  // a plane whose columns are the call's rows
  int64_t count = 1;
  int64_t shape[kMaxDims];
  int64_t (*stride)[kMaxDims];  // of outputs, then inputs
  int nOut, operands;

  struct Memory {
    int64_t stride[kMaxOperands][kMaxDims];
  };
  enum Kind { whole, plane, planeOfWholeRows };
  // `plane`: the call has two dimensions, which stay as they are, or change places where the first output's rows are
  // what lies together. `planeOfWholeRows`: and its blocks are flat where that can be.
  Space(const Call& call, Kind kind, Memory& memory);  // ndim is at least 1

  bool direct(int operand) const;    // its elements of a block lie next to each other
  bool constant(int operand) const;  // all its elements are one

 private:
  void merge(const Call& call);
  void keepPlane(const Call& call, bool wholeRows);
  void chooseWalk();
};

// Where a value lies: in an operand's memory, in a block buffer, or (−1, −1) as a constant, once.
struct Value {
  int16_t operand, buffer;
  int16_t lastUse;
  int8_t size;  // bytes an element
};

struct Op {
  enum Kind : uint8_t { call, recipe, load, store, stream } kind;
  int8_t reads, writes;
  int16_t operand;  // of load, store, stream
  int16_t args;     // index of its values in Plan::args: those it reads, then those it writes
  union {
    BlockFn fn;
    RecipeFn whole;
  };
};

// A value that is the same everywhere. Its bits are read when the plan runs: they may be a parameter.
struct Constant {
  int16_t input;           // the operand among the inputs
  int16_t value, filled;   // where it lies once, and (unless −1) a block full of it
  BlockFn widen, convert;  // applied in turn; null: nothing to do
};

struct Plan {
  const ElementwiseTable& table;
  int nValues = 0, nOps = 0, nConstants = 0, nBuffers = 0, nArgs = 0;
  int width = 1;      // bytes of the widest element in a buffer
  int64_t cost = 0;   // of an element, roughly, in additions
  bool streams = false;
  Value* values;
  Op* ops;
  Constant* constants;
  int16_t* args;

  struct Memory {
    Value values[kMaxValues];
    Op ops[kMaxOps];
    Constant constants[kMaxConstants];
    int16_t args[kMaxArgs];
  };
  Plan(const Call& call, const Space& space, Space::Kind kind, const ElementwiseTable& table, Memory& memory);
};

}  // namespace nabla

// The element-wise instruction as every device reads it: its functions, types, limits and attributes.
#pragma once
#include <cstdint>

#include "kernel.h"

namespace nabla {

constexpr int kMaxSteps = 64, kMaxIns = 32, kMaxOuts = 16;
constexpr int kMaxRegisters = kMaxIns + kMaxSteps, kMaxOperands = kMaxOuts + kMaxIns;

enum ElementwiseFn {
#define ELEMENTWISE(name, arity, result, ctypes, cost) kFn_##name,
#include "elementwise.def"
#undef ELEMENTWISE
  kElementwiseFns
};

enum CType { kF32, kF64, kI32, kI64, kU8, kBool, kCTypes };

// The bits of CType of which a row of elementwise.def speaks.
namespace ctypes {
constexpr int floats = 1 << kF32 | 1 << kF64, ints = 1 << kI32 | 1 << kI64 | 1 << kU8, numbers = floats | ints,
              bits = ints | 1 << kBool, all = numbers | 1 << kBool;
}

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

// Of a function.
int arityOf(int fn);
bool isPredicate(int fn);
int ctypesOf(int fn);
int costOf(int fn);

// In the order of elementwise.def: what a step's `fn` indexes.
extern const char* const elementwiseNames[kElementwiseFns];

}  // namespace nabla

// The element-wise engine: an instruction as an argument of a kernel, and the register program that a thread runs.
#pragma once
#include "functions.cuh"
#include "view.cuh"

namespace nabla {
namespace cuda {

// One instruction. Registers that are no longer read are used again, so that there are few.
struct ElementwiseArgs {
  struct Operand {
    union {
      char* data;
      uint64_t bits;  // of a constant
    };
    DType dtype;
    enum Kind : uint8_t { constant, number, view } kind;
    uint8_t reg;
  };
  struct Step {
    uint8_t fn;
    bool predicate;
    DType ctype;
    uint8_t source[3], target;
    DType from[3];  // of the sources
  };
  uint32_t count;
  uint8_t nIn, nOut, nSteps, ndim;
  Operand in[kMaxIns], out[kMaxOuts];
  Step steps[kMaxSteps];
  DType outFrom[kMaxOuts];  // of the registers that are stored
  int32_t size[kMaxDims];
  int32_t stride[kMaxOuts + kMaxIns][kMaxDims];  // of outputs, then inputs

  DEVICE int64_t offset(int operand, uint32_t position) const {
    int64_t at = 0;
    for (int d = ndim - 1; d >= 0; d--) {
      const uint32_t index = d == 0 ? position : position % uint32_t(size[d]);
      position /= uint32_t(size[d]);
      at += int64_t(index) * stride[operand][d];
    }
    return at;
  }
};
static_assert(sizeof(ElementwiseArgs) <= 4000, "arguments of a kernel have 4 KB");

struct ElementwisePlan {
  ElementwiseArgs args;
  int registers;
  bool floats;      // all steps compute in float32, and what they read can be float32 from the start
  bool contiguous;  // every view is, in the same order
  explicit ElementwisePlan(const Call& call);
};

void runElementwise(const Call& call);

constexpr int kFloatRegisters = 16;  // of the engine for float32

// Runs the steps on V elements in float32.
template <int V>
DEVICE void runSteps(const ElementwiseArgs& p, float (&r)[kFloatRegisters][V]) {
  for (int k = 0; k < p.nSteps; k++) {
    const ElementwiseArgs::Step& s = p.steps[k];
    float d[V];
    apply<float, V>(s.fn, r[s.source[0]], r[s.source[1]], r[s.source[2]], d);
    for (int v = 0; v < V; v++) r[s.target][v] = d[v];
  }
}

}  // namespace cuda
}  // namespace nabla

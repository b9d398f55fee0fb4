// The element-wise part of `matmulFused` as a call of its own.
#pragma once
#include <algorithm>

#include "instruction.h"

namespace nabla {

// The product is its first input, which has no memory (its strides are 0 until somebody gives it some).
struct EpilogueCall {
  View outs[kMaxOutputs], ins[kMaxInputs];
  Call call;

  explicit EpilogueCall(const Call& all) {
    const View &a = all.in[0], &b = all.in[1];
    std::copy(all.out, all.out + all.nOut, outs);
    std::copy(all.in + 2, all.in + all.nIn, ins + 1);
    View& c = ins[0];
    c.dtype = DType::f32;
    c.present = true;
    c.ndim = 3;
    c.shape[0] = a.shape[0], c.shape[1] = a.shape[1], c.shape[2] = b.shape[2];
    std::fill_n(c.strides, 3, 0);
    call = all;
    call.out = outs;
    call.in = ins;
    call.nIn = all.nIn - 1;
  }
  EpilogueCall(const EpilogueCall&) = delete;
  EpilogueCall& operator=(const EpilogueCall&) = delete;
};

}  // namespace nabla

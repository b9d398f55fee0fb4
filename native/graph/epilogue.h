// The parts of a kernel whose results go through an element-wise program, as calls of their own.
#pragma once
#include <algorithm>

#include "instruction.h"

namespace nabla {

// The element-wise part. Its first input is the result of the first two, planes[batch, rows, cols], which has no memory
// (its strides are 0 until somebody gives it some). The program follows the first `attrs` attributes.
struct EpilogueCall {
  View outs[kMaxOutputs], ins[kMaxInputs];
  Call call;

  EpilogueCall(const Call& all, int64_t batch, int64_t rows, int64_t cols, int attrs) {
    std::copy(all.out, all.out + all.nOut, outs);
    std::copy(all.in + 2, all.in + all.nIn, ins + 1);
    View& c = ins[0];
    c.dtype = DType::f32;
    c.present = true;
    c.ndim = 3;
    c.shape[0] = int32_t(batch), c.shape[1] = int32_t(rows), c.shape[2] = int32_t(cols);
    std::fill_n(c.strides, 3, 0);
    call = all;
    call.out = outs;
    call.in = ins;
    call.nIn = all.nIn - 1;
    call.attr = all.attr + attrs;
    call.nAttr = all.nAttr - attrs;
  }
  EpilogueCall(const EpilogueCall&) = delete;
  EpilogueCall& operator=(const EpilogueCall&) = delete;

  void contiguous() {
    View& c = ins[0];
    c.strides[2] = 1, c.strides[1] = c.shape[2], c.strides[0] = int64_t(c.shape[1]) * c.shape[2];
  }
};

struct FusedMatmul : EpilogueCall {
  explicit FusedMatmul(const Call& c) : EpilogueCall(c, c.in[0].shape[0], c.in[0].shape[1], c.in[1].shape[2], 0) {}
};

// `conv2dFused` and `conv2dInputGradFused`: planes[batch, channels, height · width]. `attr` holds those of the convolution,
// then height and width of its result.
enum class Convolution { forward, inputGrad };
struct FusedConvolution : EpilogueCall {
  static constexpr int kAttrs = 7, kSizes = 2;
  View result;  // of the convolution, of four dimensions
  Call convolution;

  static int64_t channels(const Call& c, Convolution which) {
    const View& w = c.in[1];
    return which == Convolution::forward ? w.shape[0] : int64_t(w.shape[1]) * c.attr[6];
  }
  FusedConvolution(const Call& c, Convolution which)
      : EpilogueCall(c, c.in[0].shape[0], channels(c, which), int64_t(c.attr[kAttrs]) * c.attr[kAttrs + 1],
                     kAttrs + kSizes),
        convolution(c) {
    result.dtype = DType::f32;
    result.present = true;
    result.ndim = 4;
    std::copy_n(ins[0].shape, 2, result.shape);
    std::copy_n(c.attr + kAttrs, 2, result.shape + 2);
    result.strides[3] = 1;
    for (int d = 2; d >= 0; d--) result.strides[d] = result.strides[d + 1] * std::max(1, result.shape[d + 1]);
    convolution.out = &result;
    convolution.nOut = 1;
    convolution.nIn = 2;
    convolution.nAttr = kAttrs;
  }
};

}  // namespace nabla

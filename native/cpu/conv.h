// The convolution with an epilogue, and what its files share: its shape, and the direct algorithm of conv_direct.cc.
#pragma once
#include <algorithm>

#include "../graph/epilogue.h"
#include "gemm.h"
#include "layout.h"

namespace nabla {

// The convolution of contiguous float32 that `c` says, whose result is handed on in blocks while they are in the cache: as
// planes[N, channels, height · width] that lie where the result does.
void convolve(const Call& c, Convolution which, const Epilogue& epilogue);

struct ConvShape {
  int64_t N, C, H, W, O, P, Q, R, S;
  int64_t strideH, strideW, padH, padW, dilationH, dilationW, groups;
  int64_t Cg, Og;     // channels of a group
  int64_t K, pixels;  // Cg·R·S, P·Q
  ConvShape(const Call& c, const View& x, const View& w, const View& y)
      : N(x.shape[0]), C(x.shape[1]), H(x.shape[2]), W(x.shape[3]), O(y.shape[1]), P(y.shape[2]), Q(y.shape[3]),
        R(w.shape[2]), S(w.shape[3]), strideH(c.attr[0]), strideW(c.attr[1]), padH(c.attr[2]), padW(c.attr[3]),
        dilationH(c.attr[4]), dilationW(c.attr[5]), groups(c.attr[6]), Cg(C / groups), Og(O / groups), K(Cg * R * S),
        pixels(P * Q) {}
  bool pointwise() const {  // the columns are the image itself
    return R == 1 && S == 1 && strideH == 1 && strideW == 1 && padH == 0 && padW == 0 && P == H && Q == W;
  }
  bool depthwise() const { return Cg == 1 && groups > 1 && Og <= 2; }
  // With stride 1 the adjoint in x is a convolution of dy, with the window mirrored and the channels exchanged. (A
  // negative padding cuts dy.)
  ConvShape adjoint() const {
    ConvShape a = *this;
    a.C = O, a.H = P, a.W = Q, a.O = C, a.P = H, a.Q = W, a.Cg = Og, a.Og = Cg;
    a.padH = (R - 1) * dilationH - padH, a.padW = (S - 1) * dilationW - padW;
    a.K = Og * R * S, a.pixels = H * W;
    return a;
  }
  // Output rows (columns) [from, to) whose window row r (column t) is inside the image.
  static void inside(int64_t results, int64_t size, int64_t stride, int64_t shift, int64_t& from, int64_t& to) {
    from = shift >= 0 ? 0 : ceilDiv(-shift, stride);
    to = shift >= size ? 0 : std::min(results, (size - 1 - shift) / stride + 1);
  }
  void insideRows(int64_t r, int64_t& from, int64_t& to) const { inside(P, H, strideH, r * dilationH - padH, from, to); }
  void insideColumns(int64_t t, int64_t& from, int64_t& to) const {
    inside(Q, W, strideW, t * dilationW - padW, from, to);
  }
  int64_t column(int64_t q, int64_t s) const { return q * strideW + s * dilationW - padW; }
  int64_t row(int64_t p, int64_t r) const { return p * strideH + r * dilationH - padH; }
};

// Convolutions that read the image itself (with its padding) rather than columns; float and double. `fits` says where
// that is the better way.
struct DirectConv {
  static bool fits(const ConvShape& s);
  static bool inputGradFits(const ConvShape& s);
  static bool weightGradFits(const ConvShape& s);
  // The input gradient takes an epilogue with stride 1 only.
  template <typename C>
  static void forward(const ConvShape& s, const Call& c, const C* x, const C* w, C* y, const Epilogue* epilogue);
  template <typename C>
  static void inputGrad(const ConvShape& s, const Call& c, const C* dy, const C* w, C* dx, const Epilogue* epilogue);
  template <typename C>
  static void depthwiseWeightGrad(const ConvShape& s, const Call& c, const C* x, const C* dy, C* dw);
  template <typename C>
  static void weightGrad(const ConvShape& s, const Call& c, const C* x, const C* dy, C* dw);
};

// Convolutions of a batch of small images, a lane of a vector for each: conv_batch.cc.
struct BatchConv {
  static bool fits(const ConvShape& s, DType type);
  template <typename C>
  static void forward(const ConvShape& s, const Call& c, const C* x, const C* w, C* y, const Epilogue* epilogue);
};

}  // namespace nabla

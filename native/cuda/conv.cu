// Convolutions of NCHW images as products whose factors are never formed (implicit GEMM): an element of the matrix of
// columns is read from the image where the tile is filled. A batch is a group.
#include "gather.cuh"
#include "gemm.cuh"
#include "matmul_mma.cuh"
#include "matmul_simt.cuh"

namespace nabla {
using namespace cuda;
namespace {

// A convolution's attributes and shapes: x [N, C, H, W], w [O, C / groups, R, S], y [N, O, P, Q].
struct Shape {
  View x, w, y;
  int N, C, H, W, O, P, Q, R, S, groups, Cg, Og;
  int strideH, strideW, padH, padW, dilationH, dilationW;
  Shape(const Call& c, const View& x, const View& w, const View& y)
      : x(x), w(w), y(y), N(x.shape[0]), C(x.shape[1]), H(x.shape[2]), W(x.shape[3]), O(y.shape[1]), P(y.shape[2]),
        Q(y.shape[3]), R(w.shape[2]), S(w.shape[3]), groups(c.attr[6]), Cg(C / groups), Og(O / groups), strideH(c.attr[0]),
        strideW(c.attr[1]), padH(c.attr[2]), padW(c.attr[3]), dilationH(c.attr[4]), dilationW(c.attr[5]) {}

  // The tensors as matrices: what one of the outer index is, and the two of a group to begin with.
  Gather of(const View& v, int64_t batch, int H, int W) const {
    Gather g{Data(v), batch, v.strides[2], v.strides[3], H, W, 1, 1, {}, {}, true};
    return g;
  }
  Gather image() const { return of(x, x.strides[1] * Cg, H, W); }
  Gather filter() const { return of(w, w.strides[0] * Og, R, S); }
  Gather result() const { return of(y, y.strides[1] * Og, P, Q); }
  // Index parts: channels alone; (outer, element of a filter) and (image, place), seen as that element or place itself.
  static Axis3 alone(int64_t step) { return {1, 1, step, 0, 0, 0, 0}; }
  Axis3 taps(int64_t step) const { return {R, S, step, 1, 1, 0, 0}; }
  Axis3 tapsOfImage(int64_t step) const { return {R, S, step, dilationH, dilationW, 0, 0}; }
  Axis3 tapsBack(int64_t step) const { return {R, S, step, -dilationH, -dilationW, 0, 0}; }
  Axis3 places(int64_t step) const { return {P, Q, step, 1, 1, 0, 0}; }
  Axis3 placesOfImage(int64_t step) const { return {P, Q, step, strideH, strideW, -padH, -padW}; }
  Axis3 pixels(int64_t step, int shiftH, int shiftW) const { return {H, W, step, 1, 1, shiftH, shiftW}; }
};

// c = a·b, element (i, j) of c being the sum of a(i, k) · b(j, k).
struct Problem {
  int M;
  int64_t N, K;
  Gather a, b, c;
};
Gather with(Gather g, const Axis3& rows, const Axis3& columns, bool alongK) {
  g.rows = rows, g.columns = columns, g.alongK = alongK;
  return g;
}

// y[o, (n, p, q)] = Σ w[o, (c, r, t)] · x[n, c, p·stride + r·dilation − pad, …]
Problem forward(const Shape& s) {
  return {s.Og, int64_t(s.N) * s.P * s.Q, int64_t(s.Cg) * s.R * s.S,
          with(s.filter(), Shape::alone(s.w.strides[0]), s.taps(s.w.strides[1]), true),
          with(s.image(), s.placesOfImage(s.x.strides[0]), s.tapsOfImage(s.x.strides[1]), false),
          with(s.result(), Shape::alone(s.y.strides[1]), s.places(s.y.strides[0]), true)};
}
// dx[c, (n, h, v)] = Σ w[(o, r, t), c] · dy[n, o, (h + pad − r·dilation) / stride, …] where that is a whole number
Problem inputGrad(const Shape& s) {
  Problem p = {s.Cg, int64_t(s.N) * s.H * s.W, int64_t(s.Og) * s.R * s.S,
               with(s.filter(), Shape::alone(s.w.strides[1]), s.taps(s.w.strides[0]), true),
               with(s.result(), s.pixels(s.y.strides[0], s.padH, s.padW), s.tapsBack(s.y.strides[1]), false),
               with(s.image(), Shape::alone(s.x.strides[1]), s.pixels(s.x.strides[0], 0, 0), true)};
  p.b.divideH = s.strideH, p.b.divideW = s.strideW;
  return p;
}
// dw[o, (c, r, t)] = Σ dy[o, (n, p, q)] · x[n, c, p·stride + r·dilation − pad, …]
Problem weightGrad(const Shape& s) {
  return {s.Og, int64_t(s.Cg) * s.R * s.S, int64_t(s.N) * s.P * s.Q,
          with(s.result(), Shape::alone(s.y.strides[1]), s.places(s.y.strides[0]), true),
          with(s.image(), s.tapsOfImage(s.x.strides[1]), s.placesOfImage(s.x.strides[0]), true),
          with(s.filter(), Shape::alone(s.w.strides[0]), s.taps(s.w.strides[1]), true)};
}

// For the plain kernel.
template <typename V>
struct Plain {
  using Value = V;
  int M, N, K, batches, first;
  bool alongK;
  Gather x, y, z;
  DEVICE V a(int n, int i, int k) const { return x.load<V>(first + n, x.rows.digits(i), x.columns.digits(k)); }
  DEVICE V b(int n, int k, int j) const { return y.load<V>(first + n, y.rows.digits(j), y.columns.digits(k)); }
  DEVICE void store(int n, int i, int j, V v) const {
    int64_t at;
    if (z.at(first + n, z.rows.digits(i), z.columns.digits(j), at)) z.data.store(at, v);
  }
};

// A thread a result, for few channels a group (depthwise convolutions): a tile would be empty but for a row or two.
template <typename V>
__global__ void directKernel(Gather a, Gather b, Gather c, uint32_t M, uint32_t N, int K, uint32_t count) {
  const uint32_t e = threadPosition();
  if (e >= count) return;
  const int n = int(e / (M * N)), i = int(e / N % M), j = int(e % N);
  const Digits row = a.rows.digits(i), column = b.rows.digits(j);
  Digits ka = {0, 0, 0}, kb = {0, 0, 0};
  V sum = 0;
  for (int k = 0; k < K; k++) {
    sum += a.load<V>(n, row, ka) * b.load<V>(n, column, kb);
    a.columns.next(ka);
    b.columns.next(kb);
  }
  int64_t to;
  if (c.at(n, c.rows.digits(i), c.columns.digits(j), to)) c.data.store(to, sum);
}

// Blocks enough for the GPU are left to the tensor cores or the warps' tiles; the rest, and float64, to the plain kernel.
void run(const Problem& p, DType dtype, int groups) {
  const ProductSize size = {p.M, int(p.N), int(p.K), groups};
  const StoreGathered to = {p.c};
  const int64_t tiles = int64_t(groups) * blocksFor(size.M, kMmaTile) * blocksFor(size.N, kMmaTile);
  if (properties().architecture >= 80 && tiles >= properties().processors / 2) {
    if (dtype == DType::f16 && mmaRun<Half>(size, p.a, p.b, to)) return;
    if (dtype == DType::bf16 && mmaRun<BFloat>(size, p.a, p.b, to)) return;
    if (dtype == DType::f32 && wantsTf32() && mmaRun<float>(size, p.a, p.b, to)) return;
  }
  if (size.M <= 4 && size.N > 0 && size.K <= 512) {
    const uint32_t count = uint32_t(groups) * uint32_t(size.M) * uint32_t(size.N);
    withComputeFloat(dtype, [&](auto tag) {
      LAUNCH(directKernel<TypeOf<decltype(tag)>>, blocksFor(count), kThreads, 0, p.a, p.b, p.c, uint32_t(size.M),
             uint32_t(size.N), size.K, count);
    });
    return;
  }
  if (dtype == DType::f32 && simtRun(size, p.a, p.b, to)) return;
  withComputeFloat(dtype, [&](auto tag) {
    gemm(Plain<TypeOf<decltype(tag)>>{size.M, size.N, size.K, groups, 0, true, p.a, p.b, p.c});
  });
}

}  // namespace

void run_conv2d(const Call& c) { run(forward(Shape(c, c.in[0], c.in[1], c.out[0])), c.in[0].dtype, c.attr[6]); }
void run_conv2dInputGrad(const Call& c) {
  run(inputGrad(Shape(c, c.out[0], c.in[1], c.in[0])), c.in[0].dtype, c.attr[6]);
}
void run_conv2dWeightGrad(const Call& c) {
  run(weightGrad(Shape(c, c.in[0], c.out[0], c.in[1])), c.in[0].dtype, c.attr[6]);
}

}  // namespace nabla

// Convolutions of NCHW images as products whose factors are never formed (implicit GEMM): an element of the matrix of
// columns is read from the image where the tile is filled.
#include "gemm.cuh"

namespace nabla {
using namespace cuda;
namespace {

struct Shape {
  int N, C, H, W, O, P, Q, R, S, Cg, Og, groups;
  int strideH, strideW, padH, padW, dilationH, dilationW;
  Shape(const Call& c, const View& x, const View& w, const View& y)
      : N(x.shape[0]), C(x.shape[1]), H(x.shape[2]), W(x.shape[3]), O(y.shape[1]), P(y.shape[2]), Q(y.shape[3]),
        R(w.shape[2]), S(w.shape[3]), groups(c.attr[6]), strideH(c.attr[0]), strideW(c.attr[1]), padH(c.attr[2]),
        padW(c.attr[3]), dilationH(c.attr[4]), dilationW(c.attr[5]) {
    Cg = C / groups, Og = O / groups;
  }
};

struct Tensor4 {
  Data data;
  int64_t stride[4];
  explicit Tensor4(const View& v) : data(v) { std::copy(v.strides, v.strides + 4, stride); }
  DEVICE int64_t at(int n, int c, int h, int w) const {
    return n * stride[0] + c * stride[1] + h * stride[2] + w * stride[3];
  }
};

// A batch is a group.
template <typename V>
struct Common {
  using Value = V;
  int M, N, K, batches, first;
  bool alongK;
  Shape s;
  Tensor4 x, w, y;

  DEVICE V image(int n, int c, int h, int v) const {
    return h >= 0 && h < s.H && v >= 0 && v < s.W ? x.data.template load<V>(x.at(n, c, h, v)) : V(0);
  }
  DEVICE V weight(int o, int c, int r, int t) const { return w.data.template load<V>(w.at(o, c, r, t)); }
};

// y[o, (n, p, q)] = Σ w[o, (c, r, t)] · x[n, c, p·stride + r·dilation − pad, …]
template <typename V>
struct Forward : Common<V> {
  DEVICE V a(int g, int o, int k) const {
    const auto& s = this->s;
    g += this->first;
    return this->weight(g * s.Og + o, k / (s.R * s.S), k / s.S % s.R, k % s.S);
  }
  DEVICE V b(int g, int k, int j) const {
    const auto& s = this->s;
    g += this->first;
    const int q = j % s.Q, p = j / s.Q % s.P, n = j / (s.Q * s.P), t = k % s.S, r = k / s.S % s.R, c = k / (s.R * s.S);
    return this->image(n, g * s.Cg + c, p * s.strideH + r * s.dilationH - s.padH, q * s.strideW + t * s.dilationW - s.padW);
  }
  DEVICE void store(int g, int o, int j, V v) const {
    const auto& s = this->s;
    g += this->first;
    this->y.data.store(this->y.at(j / (s.Q * s.P), g * s.Og + o, j / s.Q % s.P, j % s.Q), v);
  }
};

// dx[c, (n, h, v)] = Σ w[(o, r, t), c] · dy[n, o, (h + pad − r·dilation) / stride, …] where that is a whole number
template <typename V>
struct InputGrad : Common<V> {
  DEVICE V a(int g, int c, int k) const {
    const auto& s = this->s;
    g += this->first;
    return this->weight(g * s.Og + k / (s.R * s.S), c, k / s.S % s.R, k % s.S);
  }
  DEVICE V b(int g, int k, int j) const {
    const auto& s = this->s;
    g += this->first;
    const int v = j % s.W, h = j / s.W % s.H, n = j / (s.W * s.H), t = k % s.S, r = k / s.S % s.R, o = k / (s.R * s.S);
    const int p = h + s.padH - r * s.dilationH, q = v + s.padW - t * s.dilationW;
    if (p < 0 || q < 0 || p % s.strideH != 0 || q % s.strideW != 0 || p / s.strideH >= s.P || q / s.strideW >= s.Q) return V(0);
    return this->y.data.template load<V>(this->y.at(n, g * s.Og + o, p / s.strideH, q / s.strideW));
  }
  DEVICE void store(int g, int c, int j, V v) const {
    const auto& s = this->s;
    g += this->first;
    this->x.data.store(this->x.at(j / (s.W * s.H), g * s.Cg + c, j / s.W % s.H, j % s.W), v);
  }
};

// dw[o, (c, r, t)] = Σ dy[o, (n, p, q)] · x[n, c, p·stride + r·dilation − pad, …]
template <typename V>
struct WeightGrad : Common<V> {
  DEVICE V a(int g, int o, int k) const {
    const auto& s = this->s;
    g += this->first;
    return this->y.data.template load<V>(this->y.at(k / (s.Q * s.P), g * s.Og + o, k / s.Q % s.P, k % s.Q));
  }
  DEVICE V b(int g, int k, int j) const {
    const auto& s = this->s;
    g += this->first;
    const int q = k % s.Q, p = k / s.Q % s.P, n = k / (s.Q * s.P), t = j % s.S, r = j / s.S % s.R, c = j / (s.R * s.S);
    return this->image(n, g * s.Cg + c, p * s.strideH + r * s.dilationH - s.padH, q * s.strideW + t * s.dilationW - s.padW);
  }
  DEVICE void store(int g, int o, int j, V v) const {
    const auto& s = this->s;
    g += this->first;
    this->w.data.store(this->w.at(g * s.Og + o, j / (s.R * s.S), j / s.S % s.R, j % s.S), v);
  }
};

template <template <typename> class Problem>
void run(const Call& c, const View& x, const View& w, const View& y, int M, int64_t N, int64_t K) {
  const Shape s(c, x, w, y);
  withComputeFloat(x.dtype, [&](auto tag) {
    using V = TypeOf<decltype(tag)>;
    gemm(Problem<V>{{M, int(N), int(K), s.groups, 0, true, s, Tensor4(x), Tensor4(w), Tensor4(y)}});
  });
}

}  // namespace

void run_conv2d(const Call& c) {
  const View &x = c.in[0], &w = c.in[1], &y = c.out[0];
  const int groups = c.attr[6];
  run<Forward>(c, x, w, y, y.shape[1] / groups, int64_t(y.shape[0]) * y.shape[2] * y.shape[3],
               int64_t(x.shape[1] / groups) * w.shape[2] * w.shape[3]);
}
void run_conv2dInputGrad(const Call& c) {
  const View &dy = c.in[0], &w = c.in[1], &dx = c.out[0];
  const int groups = c.attr[6];
  run<InputGrad>(c, dx, w, dy, dx.shape[1] / groups, int64_t(dx.shape[0]) * dx.shape[2] * dx.shape[3],
                 int64_t(dy.shape[1] / groups) * w.shape[2] * w.shape[3]);
}
void run_conv2dWeightGrad(const Call& c) {
  const View &x = c.in[0], &dy = c.in[1], &dw = c.out[0];
  const int groups = c.attr[6];
  run<WeightGrad>(c, x, dw, dy, dy.shape[1] / groups, int64_t(x.shape[1] / groups) * dw.shape[2] * dw.shape[3],
                  int64_t(dy.shape[0]) * dy.shape[2] * dy.shape[3]);
}

}  // namespace nabla

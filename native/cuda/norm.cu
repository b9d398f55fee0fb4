// normalize (zero mean and unit variance) and its gradient, of x [A, R, C] over the first and last dimension: a block
// for each of the R.
#include "view.cuh"

namespace nabla {
using namespace cuda;
namespace {

// Where element i of A·C is.
struct Plane {
  Data data;
  int64_t outer, row, inner;
  explicit Plane(const View& v) : data(v), outer(v.strides[0]), row(v.strides[1]), inner(v.strides[2]) {}
  DEVICE int64_t at(uint32_t r, uint32_t i, uint32_t C) const {
    return int64_t(r) * row + (outer == int64_t(C) * inner ? int64_t(i) * inner : int64_t(i / C) * outer + int64_t(i % C) * inner);
  }
};

template <typename T>
__global__ void normalizeKernel(Plane x, Plane xhat, Data mean, int64_t meanStep, Data rstd, int64_t rstdStep, uint32_t n,
                                uint32_t C, Number eps) {
  DYN_SHARED(T, memory);
  const uint32_t r = blockIdx.x;
  const auto value = [&](uint32_t i) { return x.data.load<T>(x.at(r, i, C)); };
  T sum = 0;
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) sum += value(i);
  const T m = combineSum(sum, memory) / T(n);
  T squares = 0;
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    const T d = value(i) - m;
    squares += d * d;
  }
  const T s = T(1) / rootOf(combineSum(squares, memory) / T(n) + eps.get<T>());
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) xhat.data.store(xhat.at(r, i, C), (value(i) - m) * s);
  if (threadIdx.x == 0) {
    mean.store(r * meanStep, m);
    rstd.store(r * rstdStep, s);
  }
}

template <typename T>
__global__ void normalizeGradKernel(Plane dy, Plane xhat, Data rstd, int64_t rstdStep, Plane dx, uint32_t n, uint32_t C) {
  DYN_SHARED(T, memory);
  const uint32_t r = blockIdx.x;
  T a = 0, b = 0;
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    const T g = dy.data.load<T>(dy.at(r, i, C));
    a += g;
    b += g * xhat.data.load<T>(xhat.at(r, i, C));
  }
  a = combineSum(a, memory) / T(n);
  b = combineSum(b, memory) / T(n);
  const T s = rstd.load<T>(r * rstdStep);
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    const T g = dy.data.load<T>(dy.at(r, i, C)), h = xhat.data.load<T>(xhat.at(r, i, C));
    dx.data.store(dx.at(r, i, C), s * (g - a - h * b));
  }
}

}  // namespace

void run_normalize(const Call& c) {
  const View &x = c.in[0], &xhat = c.out[0], &mean = c.out[1], &rstd = c.out[2];
  const int64_t R = x.shape[1], n = int64_t(x.shape[0]) * x.shape[2];
  if (R == 0) return;
  const int threads = threadsForRow(n);
  withComputeFloat(x.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    LAUNCH(normalizeKernel<T>, unsigned(R), threads, threads * sizeof(T), Plane(x), Plane(xhat), Data(mean),
           mean.strides[0], Data(rstd), rstd.strides[0], uint32_t(n), uint32_t(x.shape[2]), Number(c.in[1]));
  });
}

void run_normalizeGrad(const Call& c) {
  const View &dy = c.in[0], &xhat = c.in[1], &rstd = c.in[2], &dx = c.out[0];
  const int64_t R = dy.shape[1], n = int64_t(dy.shape[0]) * dy.shape[2];
  if (R == 0 || n == 0) return;
  const int threads = threadsForRow(n);
  withComputeFloat(dy.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    LAUNCH(normalizeGradKernel<T>, unsigned(R), threads, threads * sizeof(T), Plane(dy), Plane(xhat), Data(rstd),
           rstd.strides[0], Plane(dx), uint32_t(n), uint32_t(dy.shape[2]));
  });
}

}  // namespace nabla

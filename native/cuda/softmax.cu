// softmax and logSoftmax along the last dimension, and their gradients: a block a row.
#include "view.cuh"

namespace nabla {
using namespace cuda;
namespace {

struct Rows {
  Data a, b, y;  // b: the second input of a gradient
  Layout<3> rows;
  int64_t stepA, stepB, stepY;  // along a row
  uint32_t n;
};

template <typename C, bool logarithm>
__global__ void softmaxKernel(Rows p) {
  DYN_SHARED(C, memory);
  int64_t at[3];
  locate(p.rows, blockIdx.x, at);
  const auto x = [&](uint32_t i) { return p.a.load<C>(at[0] + i * p.stepA); };
  C most, sum;
  maxAndSum(x, p.n, memory, most, sum);
  const C shift = logarithm ? logOf(sum) : C(0);
  for (uint32_t i = threadIdx.x; i < p.n; i += blockDim.x) {
    const C v = x(i) - most;
    p.y.store(at[2] + i * p.stepY, logarithm ? v - shift : expOf(v) / sum);
  }
}

// dx = y·(dy − Σ y·dy), or dy − eʸ·Σ dy.
template <typename C, bool logarithm>
__global__ void softmaxGradKernel(Rows p) {
  DYN_SHARED(C, memory);
  int64_t at[3];
  locate(p.rows, blockIdx.x, at);
  const auto dy = [&](uint32_t i) { return p.a.load<C>(at[0] + i * p.stepA); };
  const auto y = [&](uint32_t i) { return p.b.load<C>(at[1] + i * p.stepB); };
  C sum = 0;
  for (uint32_t i = threadIdx.x; i < p.n; i += blockDim.x) sum += logarithm ? dy(i) : dy(i) * y(i);
  sum = combineSum(sum, memory);
  for (uint32_t i = threadIdx.x; i < p.n; i += blockDim.x)
    p.y.store(at[2] + i * p.stepY, logarithm ? dy(i) - expOf(y(i)) * sum : y(i) * (dy(i) - sum));
}

template <bool logarithm>
void run(const Call& c) {
  const View &a = c.in[0], &b = c.in[c.nIn - 1], &y = c.out[0];
  const int last = a.ndim - 1;
  const int64_t n = a.shape[last], rows = n == 0 ? 0 : a.numel() / n;
  if (rows == 0) return;
  const Rows p = {Data(a), Data(b), Data(y), rowsOf(a, b, y), a.strides[last], b.strides[last], y.strides[last], uint32_t(n)};
  const int threads = threadsForRow(n);
  withComputeFloat(a.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    const size_t shared = threads * sizeof(C);
    if (c.nIn == 1) LAUNCH((softmaxKernel<C, logarithm>), unsigned(rows), threads, shared, p);
    else LAUNCH((softmaxGradKernel<C, logarithm>), unsigned(rows), threads, shared, p);
  });
}

}  // namespace

void run_softmax(const Call& c) { run<false>(c); }
void run_logSoftmax(const Call& c) { run<true>(c); }
void run_softmaxGrad(const Call& c) { run<false>(c); }
void run_logSoftmaxGrad(const Call& c) { run<true>(c); }

}  // namespace nabla

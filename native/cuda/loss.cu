// Cross-entropy of logits against class indices, and its gradient: a block a row of classes.
#include "../graph/checks.h"
#include "indices.cuh"

namespace nabla {
using namespace cuda;
namespace {

// Not the ignored label, and no class.
struct NoClass {
  int64_t classes, ignored;
  DEVICE bool operator()(int64_t v) const { return v != ignored && (v < 0 || v >= classes); }
};

// As an int64: labels are, whatever holds the ignored one.
int64_t ignoredLabel(const View& v) {
  if (!v.inlined) {
    char bytes[8];
    readBack(bytes, v.data, int64_t(sizeOf(v.dtype)));
    View here = v;
    here.data = bytes;
    return int64_t(scalar(here));
  }
  return int64_t(scalar(v));
}

void checkLabels(const Call& c, const View& target, int64_t classes, int64_t ignored) {
  checkIndices(target, NoClass{classes, ignored},
               std::string(c.op) + ": label %lld is out of range for " + std::to_string(classes) + " classes");
}

struct Rows {
  Data x, target, parts;
  Layout<3> rows;  // of x, target, parts
  int64_t step, partStep;
  uint32_t n;
  int64_t ignored;
};
Rows rowsFor(const View& x, const View& target, const View& parts, int64_t ignored) {
  Rows p = {Data(x), Data(target), Data(parts), {}, x.strides[x.ndim - 1], parts.strides[x.ndim - 1],
            uint32_t(x.shape[x.ndim - 1]), ignored};
  for (int d = 0; d < x.ndim - 1; d++) p.rows.push(x.shape[d], x.strides[d], target.strides[d], parts.strides[d]);
  return p;
}

// loss[row], in row-major order, and the parts of log Σ eˣ.
template <typename C>
__global__ void lossKernel(Rows p, C* loss) {
  DYN_SHARED(C, memory);
  int64_t at[3];
  locate(p.rows, blockIdx.x, at);
  const auto x = [&](uint32_t i) { return p.x.load<C>(at[0] + i * p.step); };
  C most, sum;
  maxAndSum(x, p.n, memory, most, sum);
  if (threadIdx.x != 0) return;
  const C log = logOf(sum);
  p.parts.store(at[2], most);
  p.parts.store(at[2] + p.partStep, log);
  const int64_t label = p.target.load<int64_t>(at[1]);
  // In a graph a label may be wrong.
  const bool counts = label != p.ignored && label >= 0 && label < int64_t(p.n);
  loss[blockIdx.x] = counts ? log - (x(uint32_t(label)) - most) : C(0);
}

// The count of rows that are not ignored, and the sum or mean of their losses, by one block; or the losses as they are.
template <typename C>
__global__ void lossSum(Rows p, const C* loss, uint32_t rows, LossReduction reduction, Data y, Layout<1> layout, Data count) {
  DYN_SHARED(C, memory);
  C sum = 0, counted = 0;
  for (uint32_t r = threadIdx.x; r < rows; r += blockDim.x) {
    int64_t at[3];
    locate(p.rows, r, at);
    if (p.target.load<int64_t>(at[1]) != p.ignored) counted += 1;
    sum += loss[r];
    if (reduction == kNone) y.store(locate(layout, r), loss[r]);
  }
  counted = combineSum(counted, memory);
  sum = combineSum(sum, memory);
  if (threadIdx.x != 0) return;
  count.store(0, counted);
  if (reduction != kNone) y.store(0, reduction == kMean ? sum / counted : sum);
}

template <typename C>
__global__ void lossGradKernel(Rows p, Data g, Layout<1> gLayout, bool each, Data dx, Layout<1> dxRows, int64_t dxStep,
                               Number divisor, Number single) {
  int64_t at[3];
  locate(p.rows, blockIdx.x, at);
  const int64_t to = locate(dxRows, blockIdx.x), label = p.target.load<int64_t>(at[1]);
  const C most = p.parts.load<C>(at[2]), log = p.parts.load<C>(at[2] + p.partStep);
  const C weight = (each ? g.load<C>(locate(gLayout, blockIdx.x)) : single.get<C>()) / divisor.get<C>();
  for (uint32_t i = threadIdx.x; i < p.n; i += blockDim.x) {
    C d = 0;
    if (label != p.ignored) d = (expOf(p.x.load<C>(at[0] + i * p.step) - most - log) - C(int64_t(i) == label)) * weight;
    dx.store(to + i * dxStep, d);
  }
}

}  // namespace

void run_crossEntropy(const Call& c) {
  const View &x = c.in[0], &target = c.in[1], &parts = c.out[1];
  const int64_t n = x.shape[x.ndim - 1], rows = target.numel(), ignored = ignoredLabel(c.in[2]);
  checkLabels(c, target, n, ignored);
  const LossReduction reduction = LossReduction(c.attr[0]);
  withComputeFloat(x.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    const Rows p = rowsFor(x, target, parts, ignored);
    const Temporary memory(std::max<int64_t>(1, rows) * int64_t(sizeof(C)));
    C* const loss = memory.get<C>();
    const int threads = threadsForRow(n);
    if (rows > 0) LAUNCH(lossKernel<C>, unsigned(rows), threads, threads * sizeof(C), p, loss);
    LAUNCH(lossSum<C>, 1, kThreads, kThreads * sizeof(C), p, static_cast<const C*>(loss), uint32_t(rows), reduction,
           Data(c.out[0]), layoutOf(c.out[0]), Data(c.out[2]));
  });
}

void run_crossEntropyGrad(const Call& c) {
  const View &g = c.in[0], &x = c.in[1], &dx = c.out[0], &target = c.in[3];
  const int64_t n = x.shape[x.ndim - 1], rows = target.numel(), ignored = ignoredLabel(c.in[4]);
  checkLabels(c, target, n, ignored);
  if (rows == 0 || n == 0) return;
  withComputeFloat(x.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    LAUNCH(lossGradKernel<C>, unsigned(rows), threadsForRow(n), 0, rowsFor(x, target, c.in[2], ignored), Data(g), layoutOf(g),
           g.ndim > 0, Data(dx), rowsOf(dx), dx.strides[dx.ndim - 1], Number(c.in[5]), Number(g));
  });
}

}  // namespace nabla

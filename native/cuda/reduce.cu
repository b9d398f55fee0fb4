// Reductions over the last dimensions: sum, prod, mean, max, min, any, all, argmax, argmin.
//
// The elements of one result are dealt to some lanes and, where results are few, to some parts (blocks); lanes and parts
// are joined pairwise. How many there are depends on shape and strides alone, so the bits are the same every time.
#include "../graph/checks.h"
#include "view.cuh"

namespace nabla {
using namespace cuda;
namespace {

// ---- The reductions: accumulator, neutral element, one more element, and the join of two accumulators.

template <typename C>
struct Sum {
  using Acc = C;
  DEVICE static Acc neutral() { return 0; }
  DEVICE static Acc step(Acc a, C x, uint32_t) { return add(a, x); }
  DEVICE static Acc join(Acc a, Acc b) { return add(a, b); }
};
template <typename C>
struct Prod {
  using Acc = C;
  DEVICE static Acc neutral() { return 1; }
  DEVICE static Acc step(Acc a, C x, uint32_t) { return multiply(a, x); }
  DEVICE static Acc join(Acc a, Acc b) { return multiply(a, b); }
};
template <typename C, bool largest>
struct Extreme {
  using Acc = C;
  DEVICE static Acc neutral() {
    if constexpr (isReal<C>) return largest ? -infinity<C>() : infinity<C>();
    else return largest ? C(uint64_t(1) << 63) : C(~(uint64_t(1) << 63));
  }
  DEVICE static Acc step(Acc a, C x, uint32_t) { return join(a, x); }
  DEVICE static Acc join(Acc a, Acc b) { return (largest ? b > a : b < a) || isNan(b) ? b : a; }
};
template <typename C>
using Max = Extreme<C, true>;
template <typename C>
using Min = Extreme<C, false>;
template <typename C>
struct Any {
  using Acc = int32_t;
  DEVICE static Acc neutral() { return 0; }
  DEVICE static Acc step(Acc a, C x, uint32_t) { return a | int32_t(x != C(0)); }
  DEVICE static Acc join(Acc a, Acc b) { return a | b; }
};
template <typename C>
struct All {
  using Acc = int32_t;
  DEVICE static Acc neutral() { return 1; }
  DEVICE static Acc step(Acc a, C x, uint32_t) { return a & int32_t(x != C(0)); }
  DEVICE static Acc join(Acc a, Acc b) { return a & b; }
};
// The first of the best ones; NaN is better than any number.
template <typename C, bool largest>
struct Best {
  struct Acc {
    C value;
    uint32_t place;
  };
  static constexpr uint32_t kNone = ~uint32_t(0);
  DEVICE static Acc neutral() { return {C(0), kNone}; }
  DEVICE static Acc step(Acc a, C x, uint32_t i) { return join(a, Acc{x, i}); }
  DEVICE static Acc join(Acc a, Acc b) {
    if (b.place == kNone) return a;
    if (a.place == kNone) return b;
    if (isNan(a.value) || isNan(b.value)) {
      if (isNan(a.value) != isNan(b.value)) return isNan(a.value) ? a : b;
    } else if (a.value != b.value) {
      return (largest ? b.value > a.value : b.value < a.value) ? b : a;
    }
    return b.place < a.place ? b : a;
  }
};
template <typename C>
using ArgMax = Best<C, true>;
template <typename C>
using ArgMin = Best<C, false>;

// ---- The walk.

struct Reduction {
  Data x, y;
  Layout<2> outer;  // of x and y
  Layout<1> inner;  // of x
  uint32_t results, n, parts, perPart;  // elements of a result; of a part
  int lanes;        // a power of two
  bool across;      // neighbouring threads take neighbouring results, not neighbouring elements
  double divisor;   // 0: none
};

template <typename Acc>
DEVICE void finish(const Reduction& p, uint32_t result, Acc a) {
  int64_t offset[2];
  locate(p.outer, result, offset);
  if constexpr (std::is_class<Acc>::value) p.y.store(offset[1], int64_t(a.place));
  else if constexpr (isReal<Acc>) p.y.store(offset[1], p.divisor != 0 ? a / Acc(p.divisor) : a);
  else p.y.store(offset[1], a);
}

// Joins what the lanes of a result have; threads of lane 0 get it.
template <typename Op>
DEVICE typename Op::Acc joinLanes(typename Op::Acc a, typename Op::Acc* memory, int lane, int lanes, int step) {
  const int t = int(threadIdx.x);
  memory[t] = a;
  __syncthreads();
  for (int half = lanes / 2; half > 0; half /= 2) {
    if (lane < half) memory[t] = Op::join(memory[t], memory[t + half * step]);
    __syncthreads();
  }
  return memory[t];
}

// One part of some results a block; the accumulators go to `partial`, [parts, results], or, with one part, to y.
template <typename Op, typename C>
__global__ void __launch_bounds__(kThreads) reduceKernel(Reduction p, typename Op::Acc* partial) {
  DYN_SHARED(typename Op::Acc, memory);
  const int t = int(threadIdx.x), perBlock = int(blockDim.x) / p.lanes;
  const int lane = p.across ? t / perBlock : t % p.lanes, slot = p.across ? t % perBlock : t / p.lanes;
  const uint32_t result = blockIdx.x * perBlock + slot;
  auto a = Op::neutral();
  if (result < p.results) {
    int64_t offset[2];
    locate(p.outer, result, offset);
    const uint32_t begin = blockIdx.y * p.perPart, end = begin + p.perPart < p.n ? begin + p.perPart : p.n;
    if (p.inner.n <= 1) {
      const int64_t stride = p.inner.n == 1 ? p.inner.stride[0][0] : 0;
      for (uint32_t i = begin + lane; i < end; i += p.lanes) a = Op::step(a, p.x.load<C>(offset[0] + i * stride), i);
    } else {
      for (uint32_t i = begin + lane; i < end; i += p.lanes) a = Op::step(a, p.x.load<C>(offset[0] + locate(p.inner, i)), i);
    }
  }
  a = joinLanes<Op>(a, memory, lane, p.lanes, p.across ? perBlock : 1);
  if (lane != 0 || result >= p.results) return;
  if (partial) partial[uint64_t(blockIdx.y) * p.results + result] = a;
  else finish(p, result, a);
}

template <typename Op>
__global__ void __launch_bounds__(kThreads) joinParts(Reduction p, const typename Op::Acc* partial) {
  DYN_SHARED(typename Op::Acc, memory);
  const int t = int(threadIdx.x), perBlock = int(blockDim.x) / p.lanes, lane = t / perBlock;
  const uint32_t result = blockIdx.x * perBlock + t % perBlock;
  auto a = Op::neutral();
  if (result < p.results)
    for (uint32_t i = lane; i < p.parts; i += p.lanes) a = Op::join(a, partial[uint64_t(i) * p.results + result]);
  a = joinLanes<Op>(a, memory, lane, p.lanes, perBlock);
  if (lane == 0 && result < p.results) finish(p, result, a);
}

constexpr int kPerLane = 32;  // elements of a lane that are worth a part

template <typename Op, typename C>
void reduce(const Call& c, bool mean) {
  using Acc = typename Op::Acc;
  const View &x = c.in[0], &y = c.out[0];
  Reduction p;
  p.x = Data(x), p.y = Data(y);
  for (int d = 0; d < y.ndim; d++) p.outer.push(x.shape[d], x.strides[d], y.strides[d]);
  for (int d = y.ndim; d < x.ndim; d++) p.inner.push(x.shape[d], x.strides[d]);
  p.results = uint32_t(y.numel());
  if (p.results == 0) return;
  p.n = uint32_t(p.inner.count());
  p.divisor = mean ? double(p.n) : 0;
  if (mean && p.n == 0) p.divisor = NAN;
  const auto step = [](auto& layout, int64_t none) { return layout.n > 0 ? std::abs(layout.stride[layout.n - 1][0]) : none; };
  p.across = p.results > 1 && step(p.outer, INT64_MAX) < step(p.inner, INT64_MAX);
  // Across results a warp reads 32 of them; the other lanes share the elements. Along the elements of one result all do.
  p.lanes = powerOfTwo(p.n, 1, p.across ? kThreads / powerOfTwo(p.results, 8, 32) : kThreads);
  const int64_t perBlock = kThreads / p.lanes, blocks = ceilDiv(p.results, perBlock);
  const int64_t room = std::max<int64_t>(1, 4 * properties().processors / blocks);
  p.parts = uint32_t(std::max<int64_t>(1, std::min({room, ceilDiv(p.n, int64_t(p.lanes) * kPerLane), int64_t(1024)})));
  p.perPart = uint32_t(ceilDiv(p.n, p.parts));
  const size_t shared = kThreads * sizeof(Acc);
  const dim3 grid(unsigned(blocks), p.parts);
  if (p.parts == 1) {
    LAUNCH((reduceKernel<Op, C>), grid, kThreads, shared, p, static_cast<Acc*>(nullptr));
    return;
  }
  const Temporary memory(int64_t(p.parts) * p.results * int64_t(sizeof(Acc)));
  Acc* const partial = memory.get<Acc>();
  LAUNCH((reduceKernel<Op, C>), grid, kThreads, shared, p, partial);
  p.lanes = powerOfTwo(p.parts, 1, 32);
  LAUNCH(joinParts<Op>, blocksFor(p.results, kThreads / p.lanes), kThreads, shared, p, static_cast<const Acc*>(partial));
}

template <template <typename> class Op>
void reduceAny(const Call& c, bool mean = false) {
  withCompute(c.in[0].dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    reduce<Op<C>, C>(c, mean);
  });
}

}  // namespace

void run_sum(const Call& c) { reduceAny<Sum>(c); }
void run_prod(const Call& c) { reduceAny<Prod>(c); }
void run_mean(const Call& c) { reduceAny<Sum>(c, true); }
void run_max(const Call& c) { reduceAny<Max>(c); }
void run_min(const Call& c) { reduceAny<Min>(c); }
void run_any(const Call& c) { reduceAny<Any>(c); }
void run_all(const Call& c) { reduceAny<All>(c); }
void run_argmax(const Call& c) { reduceAny<ArgMax>(c); }
void run_argmin(const Call& c) { reduceAny<ArgMin>(c); }

}  // namespace nabla

// arange and the random numbers: uniform, normal, randint. Compiled without contraction into fused multiply-adds, so
// that every device gives the same bits (docs/kernels.md, "arange, random").
#include <cmath>

#include "../core/philox.h"
#include "../graph/checks.h"
#include "view.cuh"

namespace nabla {
using namespace cuda;
namespace {

__global__ void arangeKernel(Data y, Layout<1> layout, uint32_t n, Number start, Number step) {
  const uint32_t i = threadPosition();
  if (i >= n) return;
  const int64_t at = locate(layout, i);
  if (isFloat(y.dtype)) y.store(at, start.get<double>() + double(i) * step.get<double>());
  else y.store(at, add(start.get<int64_t>(), multiply(int64_t(i), step.get<int64_t>())));
}

enum Kind { kUniform, kNormal, kRandint };

// A thread makes the elements of one Philox block: four of one word, or two of two.
__global__ void randomKernel(Kind kind, Data y, Layout<1> layout, uint32_t n, Number seed, Number offset, Number low,
                             Number high) {
  const bool words = kind == kUniform && y.dtype != DType::f64;
  const uint32_t block = threadPosition(), each = words ? 4 : 2, first = block * each;
  if (first >= n) return;
  const PhiloxBlock b = philox(uint64_t(seed.get<double>()), uint64_t(offset.get<double>()) + block);
  for (uint32_t j = 0; j < each && first + j < n; j++) {
    const int64_t at = locate(layout, first + j);
    if (words) {
      y.store(at, uniform32(b.word[j]));
      continue;
    }
    const uint32_t w0 = b.word[2 * j], w1 = b.word[2 * j + 1];
    if (kind == kUniform) y.store(at, uniform64(w0, w1));
    else if (kind == kNormal) y.store(at, normal64(w0, w1));
    else y.store(at, low.get<double>() + floor(uniform64(w0, w1) * (high.get<double>() - low.get<double>())));
  }
}

// Of immediates; what lies in the device's memory is not looked at.
void expectCounter(const Call& c, const char* what, const View& v) {
  if (!v.inlined) return;
  const double value = scalar(v);
  if (!(value >= 0 && value < 0x1p53 && std::floor(value) == value))
    fail("PROGRAM", "%s: %s must be an integer from 0 to 2^53 - 1, got %g", c.op, what, value);
}

void random(const Call& c, Kind kind) {
  const View &y = c.out[0], &low = c.in[c.nIn - 2], &high = c.in[c.nIn - 1];
  expectCounter(c, "seed", c.in[0]);
  expectCounter(c, "offset", c.in[1]);
  if (kind == kRandint && low.inlined && high.inlined) {
    const double l = scalar(low), h = scalar(high);
    if (!(l < h) || std::isinf(h - l))
      fail("PROGRAM", "randint: low must be less than high, both finite, got %g and %g", l, h);
  }
  const int64_t n = y.numel();
  if (n == 0) return;
  const int each = kind == kUniform && y.dtype != DType::f64 ? 4 : 2;
  LAUNCH(randomKernel, blocksFor(ceilDiv(n, each)), kThreads, 0, kind, Data(y), layoutOf(y), uint32_t(n), Number(c.in[0]),
         Number(c.in[1]), Number(low), Number(high));
}

}  // namespace

void run_arange(const Call& c) {
  const View& y = c.out[0];
  if (y.numel() == 0) return;
  LAUNCH(arangeKernel, blocksFor(y.numel()), kThreads, 0, Data(y), layoutOf(y), uint32_t(y.numel()), Number(c.in[0]),
         Number(c.in[1]));
}
void run_uniform(const Call& c) { random(c, kUniform); }
void run_normal(const Call& c) { random(c, kNormal); }
void run_randint(const Call& c) { random(c, kRandint); }

}  // namespace nabla

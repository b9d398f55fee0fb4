// arange and the random numbers: uniform, normal, randint. Compiled without contraction into fused multiply-adds, so
// that every device gives the same bits (docs/kernels.md, "arange, random").
#include <cmath>

#include "../core/cpu.h"
#include "../core/philox.h"
#include "rows.h"
#include "simd/random.h"

namespace nabla {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a chunk; a multiple of 4
constexpr int kBlock = kNormals;   // elements made at a time, on the stack; a multiple of 4

const RandomKernels& randomKernels() {
#if defined(__x86_64__) || defined(_M_X64)
  return isa() == Isa::avx512 ? avx512::random : isa() == Isa::avx2 ? avx2::random : baseline::random;
#else
  return baseline::random;  // on arm64 the baseline has NEON
#endif
}

// Fills y in row-major order: make(first, count, values) writes the elements first … first + count − 1.
template <typename T, typename Make>
void fill(const View& y, Make make) {
  Layout<1> layout;
  for (int i = 0; i < y.ndim; i++) layout.push(y.shape[i], y.strides[i]);
  const bool direct = y.contiguous();
  T* const data = y.as<T>();
  parallelRange(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (direct) {
      for (int64_t i = begin; i < end; i += kBlock) make(i, std::min<int64_t>(kBlock, end - i), data + i);
      return;
    }
    Cursor<1> at(layout, begin);
    T values[kBlock];
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t count = std::min<int64_t>(kBlock, end - i);
      make(i, count, values);
      for (int64_t j = 0; j < count; j++, at.next()) data[at.offset[0]] = values[j];
    }
  });
}

int64_t integer(const View& v) { return v.dtype == DType::i64 ? *v.as<int64_t>() : convert<int64_t>(scalar(v)); }

uint64_t counter(const Call& c, const char* what, const View& v) {
  const double value = scalar(v);
  if (!(value >= 0 && value < 0x1p53 && std::floor(value) == value))
    fail("PROGRAM", "%s: %s must be an integer from 0 to 2^53 - 1, got %g", c.op, what, value);
  return uint64_t(value);
}

// Calls set(j, w0, w1) for two words an element.
template <typename Set>
void wordPairs(uint64_t seed, uint64_t offset, int64_t first, int64_t count, Set set) {
  for (int64_t j = 0; j < count; j += 2) {
    const PhiloxBlock b = philox(seed, offset + uint64_t(first + j) / 2);
    set(j, b.word[0], b.word[1]);
    if (j + 1 < count) set(j + 1, b.word[2], b.word[3]);
  }
}

}  // namespace

void run_arange(const Call& c) {
  withType(c.out[0].dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    if constexpr (std::is_integral_v<Compute<T>>) {
      const int64_t start = integer(c.in[0]), step = integer(c.in[1]);
      fill<T>(c.out[0], [&](int64_t first, int64_t count, T* values) {
        for (int64_t j = 0; j < count; j++) values[j] = convert<T>(add(start, multiply(first + j, step)));
      });
    } else {
      const double start = scalar(c.in[0]), step = scalar(c.in[1]);
      fill<T>(c.out[0], [&](int64_t first, int64_t count, T* values) {
        for (int64_t j = 0; j < count; j++) values[j] = convert<T>(start + double(first + j) * step);
      });
    }
  });
}

void run_uniform(const Call& c) {
  const uint64_t seed = counter(c, "seed", c.in[0]), offset = counter(c, "offset", c.in[1]);
  withFloat(c.out[0].dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    fill<T>(c.out[0], [&](int64_t first, int64_t count, T* values) {
      if constexpr (std::is_same_v<T, double>) {
        wordPairs(seed, offset, first, count,
                  [&](int64_t j, uint32_t w0, uint32_t w1) { values[j] = uniform64(w0, w1); });
      } else {
        float made[kBlock];  // whole blocks of four
        rowKernels().uniform(seed, offset + uint64_t(first) / 4, ceilDiv(count, 4), made);
        for (int64_t j = 0; j < count; j++) values[j] = convert<T>(made[j]);
      }
    });
  });
}

void run_normal(const Call& c) {
  const uint64_t seed = counter(c, "seed", c.in[0]), offset = counter(c, "offset", c.in[1]);
  withFloat(c.out[0].dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    fill<T>(c.out[0], [&](int64_t first, int64_t count, T* values) {
      double made[kNormals + 8];  // whole blocks of two
      randomKernels().normal(seed, offset + uint64_t(first) / 2, ceilDiv(count, 2), made);
      for (int64_t j = 0; j < count; j++) values[j] = convert<T>(made[j]);
    });
  });
}

void run_randint(const Call& c) {
  const uint64_t seed = counter(c, "seed", c.in[0]), offset = counter(c, "offset", c.in[1]);
  const double low = scalar(c.in[2]), high = scalar(c.in[3]);
  if (!(low < high) || std::isinf(high - low))
    fail("PROGRAM", "randint: low must be less than high, both finite, got %g and %g", low, high);
  withType(c.out[0].dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    fill<T>(c.out[0], [&](int64_t first, int64_t count, T* values) {
      wordPairs(seed, offset, first, count, [&](int64_t j, uint32_t w0, uint32_t w1) {
        values[j] = convert<T>(low + std::floor(uniform64(w0, w1) * (high - low)));
      });
    });
  });
}

}  // namespace nabla

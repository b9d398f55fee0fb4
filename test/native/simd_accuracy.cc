// Accuracy of the element-wise functions in float32 and float64, in units in the last place against the C library one
// precision up, over the whole range, on every instruction set that this machine runs. For each set, compile
// native/cpu/simd/elementwise_table.cc with its flags of native/sources.json and -DNABLA_ISA=<name>, then:
//   c++ -std=c++17 -O2 -DHAVE_AVX2 -DHAVE_AVX512 test/native/simd_accuracy.cc baseline.o avx2.o avx512.o -o accuracy
//   ./accuracy [step]       (every step-th float32; default 1021, 1 takes minutes)
// Prints one line a function and set; the exit code is 1 when a bound is exceeded.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../native/cpu/simd/elementwise_table.h"

namespace nabla {
namespace baseline {
extern const ElementwiseTable elementwiseTable;
}
namespace avx2 {
extern const ElementwiseTable elementwiseTable;
}
namespace avx512 {
extern const ElementwiseTable elementwiseTable;
}
}  // namespace nabla

using namespace nabla;

namespace {

struct Set {
  const char* name;
  const ElementwiseTable* table;
};

std::vector<Set> sets() {
  std::vector<Set> s = {{"baseline", &baseline::elementwiseTable}};
#if defined(HAVE_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) s.push_back({"avx2", &avx2::elementwiseTable});
#endif
#if defined(HAVE_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    s.push_back({"avx512", &avx512::elementwiseTable});
#endif
  return s;
}

// |got - want| in units in the last place of T at `want`; 1e9 when one is NaN or infinite and the other is not.
template <typename T, typename Wide>
double ulps(T got, Wide want) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) && std::isnan(want) ? 0 : 1e9;
  const T rounded = T(want);
  if (got == rounded) return std::signbit(got) == std::signbit(rounded) ? 0 : got == 0 ? 1e9 : 0;
  if (std::isinf(got) || std::isinf(rounded)) {
    // One step across the threshold of overflow is an error of one unit, no more.
    const T largest = std::numeric_limits<T>::max();
    const bool both = std::fabs(got) >= largest && std::fabs(rounded) >= largest;
    return both && std::signbit(got) == std::signbit(rounded) ? 1 : 1e9;
  }
  int exponent;
  std::frexp(double(rounded), &exponent);
  const int digits = std::numeric_limits<T>::digits, least = std::numeric_limits<T>::min_exponent;
  if (exponent < least) exponent = least;
  return double(std::fabs(Wide(got) - want) / std::ldexp(Wide(1), exponent - digits));
}

template <typename T, typename Wide>
struct Case {
  ElementwiseFn fn;
  const char* name;
  Wide (*reference)(Wide);
  double bound;
};

double sigmoid64(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
long double sigmoid80(long double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
double rsqrt64(double x) { return 1 / std::sqrt(x); }
double square64(double x) { return x * x; }

using F64 = double (*)(double);
using F80 = long double (*)(long double);

const Case<float, double> kFloat32[] = {
    {kFn_exp, "exp", F64(std::exp), 2},         {kFn_log, "log", F64(std::log), 2},
    {kFn_tanh, "tanh", F64(std::tanh), 2},      {kFn_erf, "erf", F64(std::erf), 2},
    {kFn_sigmoid, "sigmoid", sigmoid64, 2},     {kFn_expm1, "expm1", F64(std::expm1), 2},
    {kFn_log1p, "log1p", F64(std::log1p), 2},   {kFn_exp2, "exp2", F64(std::exp2), 1},
    {kFn_log2, "log2", F64(std::log2), 1},      {kFn_log10, "log10", F64(std::log10), 1},
    {kFn_sin, "sin", F64(std::sin), 1},         {kFn_cos, "cos", F64(std::cos), 1},
    {kFn_tan, "tan", F64(std::tan), 1.5},         {kFn_asin, "asin", F64(std::asin), 1},
    {kFn_acos, "acos", F64(std::acos), 1},      {kFn_atan, "atan", F64(std::atan), 1},
    {kFn_sinh, "sinh", F64(std::sinh), 1},      {kFn_cosh, "cosh", F64(std::cosh), 1},
    {kFn_asinh, "asinh", F64(std::asinh), 1},   {kFn_acosh, "acosh", F64(std::acosh), 1},
    {kFn_atanh, "atanh", F64(std::atanh), 1},   {kFn_erfc, "erfc", F64(std::erfc), 1},
    {kFn_sqrt, "sqrt", F64(std::sqrt), 0.5},    {kFn_rsqrt, "rsqrt", rsqrt64, 1.5},
    {kFn_square, "square", square64, 0.5},
    {kFn_floor, "floor", F64(std::floor), 0},   {kFn_ceil, "ceil", F64(std::ceil), 0},
    {kFn_round, "round", F64(std::rint), 0},    {kFn_trunc, "trunc", F64(std::trunc), 0},
};
const Case<double, long double> kFloat64[] = {
    {kFn_exp, "exp", F80(std::exp), 2},       {kFn_log, "log", F80(std::log), 2},
    {kFn_tanh, "tanh", F80(std::tanh), 3},    {kFn_sigmoid, "sigmoid", sigmoid80, 2},
    {kFn_expm1, "expm1", F80(std::expm1), 2.5}, {kFn_log1p, "log1p", F80(std::log1p), 2},
};

template <typename T, typename Wide>
bool report(const char* set, const char* name, const char* dtype, double worst, T at, double bound) {
  const bool ok = worst <= bound;
  std::printf("%-9s %-8s %s: %.3f ulp (bound %.1f) at %.9g%s\n", set, name, dtype, worst, bound, double(at),
              ok ? "" : "  EXCEEDED");
  return ok;
}

// All floats whose bits are `first`, `first` + step, …, in blocks.
template <typename F>
void sweep32(uint32_t step, F&& block) {
  constexpr int kBlock = 1 << 14;
  std::vector<float> x;
  x.reserve(kBlock);
  for (uint64_t bits = 0; bits < uint64_t(1) << 32; bits += step) {
    const uint32_t b = uint32_t(bits);
    float v;
    std::memcpy(&v, &b, 4);
    x.push_back(v);
    if (x.size() == kBlock) block(x), x.clear();
  }
  const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-45f, 1e-38f, 3.4e38f,
                           -3.4e38f};
  x.insert(x.end(), special, special + sizeof special / sizeof *special);
  block(x);
}

template <typename F>
void sweep64(uint32_t step, F&& block) {
  constexpr int kBlock = 1 << 14;
  std::vector<double> x;
  const uint64_t wide = (uint64_t(step) << 32) + 0x9E3779B97F4A7C15u % 4294967291u;
  for (uint64_t i = 0, bits = 0; i < (uint64_t(1) << 32) / step; i++, bits += wide) {
    double v;
    std::memcpy(&v, &bits, 8);
    x.push_back(v);
    x.push_back(double(int64_t(bits)) * 0x1p-53);  // most doubles are tiny or huge: also the middle
    if (x.size() >= kBlock) block(x), x.clear();
  }
  const double special[] = {0.0, -0.0, 1.0, -1.0, HUGE_VAL, -HUGE_VAL, NAN, 5e-324, -5e-324, 1e-308, 1.7e308, -1.7e308};
  x.insert(x.end(), special, special + sizeof special / sizeof *special);
  block(x);
}

bool pow32(const Set& set, uint32_t step) {
  double worst = 0;
  float at = 0;
  uint64_t random = 1;
  std::vector<float> x(4096), y(4096), got(4096);
  const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, 2.0f, -2.0f, 3.0f, -3.0f, 0.5f, -0.5f,
                           1e-40f, -1e-40f, 3e38f};
  for (uint64_t block = 0; block < 4 + (uint64_t(1) << 32) / step / 4096; block++) {
    for (size_t i = 0; i < x.size(); i++) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      const uint32_t bx = uint32_t(random >> 32);
      random = random * 6364136223846793005u + 1442695040888963407u;
      std::memcpy(&x[i], &bx, 4);
      if (block == 0) {
        x[i] = special[i / 16 % 16], y[i] = special[i % 16];
      } else if (block % 2) {
        y[i] = float(int32_t(random >> 32)) * 0x1p-29f;
      } else {  // results of every size
        const double l = std::log(std::fabs(double(x[i])));
        y[i] = float((double(random >> 32) * 0x1p-32 * 200 - 105) / (l == 0 ? 1 : l));
        if (random >> 20 & 1) y[i] = std::rint(y[i]);
      }
    }
    set.table->fn[kFn_pow][kF32](x.data(), y.data(), nullptr, got.data(), int64_t(x.size()));
    for (size_t i = 0; i < x.size(); i++) {
      const double u = ulps<float, double>(got[i], std::pow(double(x[i]), double(y[i])));
      if (u > worst) {
        worst = u, at = x[i];
        if (u > 4) std::printf("pow(%.9g, %.9g) = %.9g\n", double(x[i]), double(y[i]), double(got[i]));
      }
    }
  }
  return report<float, double>(set.name, "pow", "float32", worst, at, 1);
}

bool atan232(const Set& set) {
  double worst = 0;
  float at = 0;
  uint64_t random = 1;
  std::vector<float> x(4096), y(4096), got(4096);
  const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, 2.0f, -2.0f, 1e-40f, -1e-40f, 3e38f,
                           -3e38f, 1e-30f, -1e30f, 7.0f};
  for (int block = 0; block < 200; block++) {
    for (size_t i = 0; i < x.size(); i++) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      x[i] = block == 0 ? special[i / 16 % 16] : float(int32_t(random >> 32)) * (block % 2 ? 1.0f : 0x1p-31f);
      random = random * 6364136223846793005u + 1442695040888963407u;
      y[i] = block == 0 ? special[i % 16] : float(int32_t(random >> 32)) * 0x1p-31f;
    }
    set.table->fn[kFn_atan2][kF32](y.data(), x.data(), nullptr, got.data(), int64_t(x.size()));
    for (size_t i = 0; i < x.size(); i++) {
      const double u = ulps<float, double>(got[i], std::atan2(double(y[i]), double(x[i])));
      if (u > worst) {
        worst = u, at = x[i];
        if (u > 4) std::printf("atan2(%.9g, %.9g) = %.9g\n", double(y[i]), double(x[i]), double(got[i]));
      }
    }
  }
  return report<float, double>(set.name, "atan2", "float32", worst, at, 1);
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t step = argc > 1 ? uint32_t(std::strtoul(argv[1], nullptr, 10)) : 1021;
  bool ok = true;
  for (const Set& set : sets()) {
    for (const auto& c : kFloat32) {
      double worst = 0;
      float at = 0;
      std::vector<float> got;
      sweep32(step, [&](const std::vector<float>& x) {
        got.resize(x.size());
        set.table->fn[c.fn][kF32](x.data(), nullptr, nullptr, got.data(), int64_t(x.size()));
        for (size_t i = 0; i < x.size(); i++) {
          const double u = ulps<float, double>(got[i], c.reference(double(x[i])));
          if (u > worst) worst = u, at = x[i];
        }
      });
      ok &= report<float, double>(set.name, c.name, "float32", worst, at, c.bound);
    }
    ok &= pow32(set, step);
    ok &= atan232(set);
    for (const auto& c : kFloat64) {
      double worst = 0, at = 0;
      std::vector<double> got;
      sweep64(step, [&](const std::vector<double>& x) {
        got.resize(x.size());
        set.table->fn[c.fn][kF64](x.data(), nullptr, nullptr, got.data(), int64_t(x.size()));
        for (size_t i = 0; i < x.size(); i++) {
          const double u = ulps<double, long double>(got[i], c.reference((long double)(x[i])));
          if (u > worst) worst = u, at = x[i];
        }
      });
      ok &= report<double, long double>(set.name, c.name, "float64", worst, at, c.bound);
    }
  }
  return ok ? 0 : 1;
}

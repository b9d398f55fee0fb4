// Standard normal numbers with a Philox block a lane, compiled once per instruction set (see rows.cc for what such a file
// must not contain). Every operation is that of core/philox.h in its order, so that the bits are too; nothing may be
// contracted into a fused multiply-add.
#include "random.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 8
#elif defined(__AVX2__)
#define LANES 4
#else
#define LANES 2
#endif

namespace nabla {
namespace NABLA_ISA {
namespace {

typedef double D __attribute__((vector_size(8 * LANES)));
typedef uint64_t W __attribute__((vector_size(8 * LANES)));
typedef double DAny __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

inline D load(const double* p) { return *reinterpret_cast<const DAny*>(p); }
inline void store(double* p, D v) { *reinterpret_cast<DAny*>(p) = v; }

// Products of the low halves.
inline W multiplyLow(W a, W b) {
#if LANES == 8
  return (W)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);  // unmasked, gcc 12 warns
#elif LANES == 4
  return (W)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (W)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}
inline D root(D v) {
#if LANES == 8
  return (D)_mm512_maskz_sqrt_pd(0xFF, (__m512d)v);
#elif LANES == 4
  return (D)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__)
  return (D)_mm_sqrt_pd((__m128d)v);
#else
  return D{__builtin_sqrt(v[0]), __builtin_sqrt(v[1])};
#endif
}
// Integers below 2^52.
inline D toDouble(W v) { return (D)(v | 0x4330000000000000u) - 0x1p52; }

inline D polynomial(const double (&c)[8], D r) {
  D v = D{} + c[0];
  for (int i = 1; i < 8; i++) v = v * r + c[i];
  return v;
}
// Numerators and denominators of AS 241: the centre, the tails, the far tails.
constexpr double kCentreA[8] = {2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0};
constexpr double kCentreB[8] = {5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0};
constexpr double kTailC[8] = {7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0};
constexpr double kTailD[8] = {1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0};
constexpr double kFarE[8] = {2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0};
constexpr double kFarF[8] = {2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0};

inline D logOf(D x) {  // detLog
  const W bits = (W)x;
  D k = toDouble(bits >> 52) - 1023.0;
  D m = (D)((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u);
  const auto large = m > 1.4142135623730951;
  m = large ? m * 0.5 : m;
  k = large ? k + 1.0 : k;
  const D f = m - 1.0;
  const D s = f / (m + 1.0);
  const D z = s * s;
  D p = D{} + 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  p = p * z;
  const D tail = (s + s) * p + k * 1.90821492927058770002e-10;
  return k * 6.93147180369123816490e-01 + (f - (s * f - tail));
}

inline D tails(D p) {
  const D q = p - 0.5;
  D tail = q < 0.0 ? p : 1.0 - p;
  tail = tail == 0.0 ? D{} + 0x1p-54 : tail;
  const D r = root(-logOf(tail));
  D x = polynomial(kTailC, r - 1.6) / polynomial(kTailD, r - 1.6);
  bool far = false;
  for (int l = 0; l < LANES; l++) far |= r[l] > 5.0;
  if (far) x = r <= 5.0 ? x : polynomial(kFarE, r - 5.0) / polynomial(kFarF, r - 5.0);
  return q < 0.0 ? -x : x;
}

// Probabilities, two a block.
void probabilities(uint64_t seed, uint64_t block, int64_t blocks, double* y) {
  constexpr int kGroups = 2;  // two groups of blocks at a time hide the latency of the products
  W lane;
  for (int l = 0; l < LANES; l++) lane[l] = uint64_t(l);
  const W m0 = W{} + 0xD2511F53u, m1 = W{} + 0xCD9E8D57u;
  for (int64_t first = 0; first < blocks; first += kGroups * LANES) {
    W c0[kGroups], c1[kGroups], c2[kGroups], c3[kGroups];  // the words are the low halves
    for (int g = 0; g < kGroups; g++) {
      c0[g] = lane + (block + uint64_t(first) + uint64_t(g * LANES));
      c1[g] = c0[g] >> 32;
      c2[g] = c3[g] = W{};
    }
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; round++) {
      for (int g = 0; g < kGroups; g++) {
        const W p0 = multiplyLow(c0[g], m0), p1 = multiplyLow(c2[g], m1);
        c0[g] = (p1 >> 32) ^ c1[g] ^ (W{} + k0);
        c1[g] = p1;
        c2[g] = (p0 >> 32) ^ c3[g] ^ (W{} + k1);
        c3[g] = p0;
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const auto probability = [](W w0, W w1) {
      return (toDouble((w0 & 0xFFFFFFFFu) >> 5) * 67108864.0 + toDouble((w1 & 0xFFFFFFFFu) >> 6) + 0.5) * 0x1p-53;
    };
    for (int g = 0; g < kGroups; g++) {
      double even[LANES], odd[LANES];
      store(even, probability(c0[g], c1[g]));
      store(odd, probability(c2[g], c3[g]));
      const int64_t from = first + g * LANES, count = blocks - from < LANES ? blocks - from : LANES;
      for (int64_t b = 0; b < count; b++) {
        y[2 * (from + b)] = even[b];
        y[2 * (from + b) + 1] = odd[b];
      }
    }
  }
}

// The centre in place; what lies outside is gathered, computed side by side and put back.
void normal(uint64_t seed, uint64_t block, int64_t blocks, double* y) {
  probabilities(seed, block, blocks, y);
  const int64_t n = 2 * blocks;
  for (int64_t i = n; i < (n + LANES - 1) / LANES * LANES; i++) y[i] = 0.5;
  double outside[kNormals + LANES];
  int32_t place[kNormals + LANES];
  int64_t found = 0;
  for (int64_t i = 0; i < n; i += LANES) {
    const D p = load(y + i);
    const D q = p - 0.5;
    const D r = 0.180625 - q * q;
    double size[LANES];
    store(size, q < 0.0 ? -q : q);
    for (int l = 0; l < LANES; l++) {
      outside[found] = p[l];
      place[found] = int32_t(i + l);
      found += !(size[l] <= 0.425);
    }
    store(y + i, q * polynomial(kCentreA, r) / polynomial(kCentreB, r));
  }
  for (int64_t i = found; i < found + LANES; i++) outside[i] = 0.25;
  for (int64_t i = 0; i < found; i += LANES) {
    double x[LANES];
    store(x, tails(load(outside + i)));
    for (int64_t l = 0; l < LANES && i + l < found; l++) y[place[i + l]] = x[l];
  }
}

}  // namespace

const RandomKernels random = {normal};

}  // namespace NABLA_ISA
}  // namespace nabla

// Counter-based random numbers (Philox 4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
// and the inverse normal distribution (Wichura, Algorithm AS 241, PPND16, Applied Statistics 37, 1988).
//
// The JS and CUDA devices repeat these functions line by line and must agree bit for bit: every float64 operation
// below is one IEEE operation, in the order written, and none may be contracted into a fused multiply-add.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define NABLA_HOST_DEVICE __host__ __device__
#else
#define NABLA_HOST_DEVICE
#endif

namespace nabla {

struct PhiloxBlock {
  uint32_t word[4];
};

// One block of four words. counter = (block lo, block hi, 0, 0), key = (seed lo, seed hi) for every op of
// docs/kernels.md; the general form is here for the known-answer tests.
NABLA_HOST_DEVICE inline PhiloxBlock philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                                                uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c0;
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * c2;
    c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
    c1 = uint32_t(p1);
    c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c3 = uint32_t(p0);
    k0 += 0x9E3779B9u;  // the golden ratio
    k1 += 0xBB67AE85u;  // sqrt(3) − 1
  }
  return {{c0, c1, c2, c3}};
}

NABLA_HOST_DEVICE inline PhiloxBlock philox(uint64_t seed, uint64_t block) {
  return philox4x32(uint32_t(block), uint32_t(block >> 32), 0, 0, uint32_t(seed), uint32_t(seed >> 32));
}

// [0, 1) in steps of 2^-24.
NABLA_HOST_DEVICE inline float uniform32(uint32_t u) { return float(u >> 8) * 0x1p-24f; }

// [0, 1) in steps of 2^-53.
NABLA_HOST_DEVICE inline double uniform64(uint32_t w0, uint32_t w1) {
  return (double(w0 >> 5) * 67108864.0 + double(w1 >> 6)) * 0x1p-53;
}

// Natural logarithm of a positive normal float64, within 2 ulp.
// x = m·2^k with m in [√½, √2); s = (m − 1) / (m + 1), |s| < 0.1716;
// log m = 2·artanh s = 2s·(1 + z/3 + z²/5 + …), z = s², whose terms from z¹¹/23 on are below 2^-60.
NABLA_HOST_DEVICE inline double detLog(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  int k = int(bits >> 52) - 1023;
  bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
  double m;  // in [1, 2)
  std::memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) {
    m = m * 0.5;
    k = k + 1;
  }
  const double f = m - 1.0;  // exact
  const double s = f / (m + 1.0);
  const double z = s * s;
  double p = 1.0 / 21.0;
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
  // 2s = f − s·f, so that the large term f is exact; log 2 is split so that k·hi is exact (32 bits in hi).
  const double e = double(k);
  const double tail = (s + s) * p + e * 1.90821492927058770002e-10;
  return e * 6.93147180369123816490e-01 + (f - (s * f - tail));
}

// The value below which a standard normal variable lies with probability p, 0 < p <= 1 (p = 1 stands for the largest
// p below it, 1 − 2^-54, which float64 cannot hold).
NABLA_HOST_DEVICE inline double inverseNormal(double p) {
  const double q = p - 0.5;
  const double size = q < 0.0 ? -q : q;
  if (size <= 0.425) {
    const double r = 0.180625 - q * q;
    double a = 2.5090809287301226727e3;
    a = a * r + 3.3430575583588128105e4;
    a = a * r + 6.7265770927008700853e4;
    a = a * r + 4.5921953931549871457e4;
    a = a * r + 1.3731693765509461125e4;
    a = a * r + 1.9715909503065514427e3;
    a = a * r + 1.3314166789178437745e2;
    a = a * r + 3.3871328727963666080e0;
    double b = 5.2264952788528545610e3;
    b = b * r + 2.8729085735721942674e4;
    b = b * r + 3.9307895800092710610e4;
    b = b * r + 2.1213794301586595867e4;
    b = b * r + 5.3941960214247511077e3;
    b = b * r + 6.8718700749205790830e2;
    b = b * r + 4.2313330701600911252e1;
    b = b * r + 1.0;
    return q * a / b;
  }
  double tail = q < 0.0 ? p : 1.0 - p;
  if (tail == 0.0) tail = 0x1p-54;
  double r = sqrt(-detLog(tail));
  double x;
  if (r <= 5.0) {
    r = r - 1.6;
    double c = 7.74545014278341407640e-4;
    c = c * r + 2.27238449892691845833e-2;
    c = c * r + 2.41780725177450611770e-1;
    c = c * r + 1.27045825245236838258e0;
    c = c * r + 3.64784832476320460504e0;
    c = c * r + 5.76949722146069140550e0;
    c = c * r + 4.63033784615654529590e0;
    c = c * r + 1.42343711074968357734e0;
    double d = 1.05075007164441684324e-9;
    d = d * r + 5.47593808499534494600e-4;
    d = d * r + 1.51986665636164571966e-2;
    d = d * r + 1.48103976427480074590e-1;
    d = d * r + 6.89767334985100004550e-1;
    d = d * r + 1.67638483018380384940e0;
    d = d * r + 2.05319162663775882187e0;
    d = d * r + 1.0;
    x = c / d;
  } else {
    r = r - 5.0;
    double e = 2.01033439929228813265e-7;
    e = e * r + 2.71155556874348757815e-5;
    e = e * r + 1.24266094738807843860e-3;
    e = e * r + 2.65321895265761230930e-2;
    e = e * r + 2.96560571828504891230e-1;
    e = e * r + 1.78482653991729133580e0;
    e = e * r + 5.46378491116411436990e0;
    e = e * r + 6.65790464350110377720e0;
    double f = 2.04426310338993978564e-15;
    f = f * r + 1.42151175831644588870e-7;
    f = f * r + 1.84631831751005468180e-5;
    f = f * r + 7.86869131145613259100e-4;
    f = f * r + 1.48753612908506148525e-2;
    f = f * r + 1.36929880922735805310e-1;
    f = f * r + 5.99832206555887937690e-1;
    f = f * r + 1.0;
    x = e / f;
  }
  return q < 0.0 ? -x : x;
}

// Standard normal from two words; the half keeps 0 out. (n + ½ rounds to even from n = 2^52 on.)
NABLA_HOST_DEVICE inline double normal64(uint32_t w0, uint32_t w1) {
  return inverseNormal((double(w0 >> 5) * 67108864.0 + double(w1 >> 6) + 0.5) * 0x1p-53);
}

}  // namespace nabla

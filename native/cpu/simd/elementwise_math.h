// Elementary functions on one float32 or float64, written without branches so that a loop over them becomes vector
// code on every instruction set. Included once per instruction set, inside that set's namespace.
//
// Methods: Cody and Waite's two-part reduction; log and log1p as in fdlibm (s = f/(2+f)); erfc as
// exp(-x²)·erfcx(x) with x mapped to (x-3)/(x+3) (Schonfelder 1978).
// All polynomials are our own minimax fits (Remez exchange, 40 digits); the bound of each is given beside it.
// Functions that are not hot compute float32 in float64, which leaves only the final rounding.
#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#define NABLA_INLINE static __forceinline
#else
#define NABLA_INLINE static inline __attribute__((always_inline))
#endif

template <typename T>
struct Float;
template <>
struct Float<float> {
  using Bits = uint32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float toInt = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits
  static constexpr float log2e = 0x1.715476p+0f, ln2Hi = 0x1.63p-1f, ln2Lo = -0x1.bd0106p-13f;
  static constexpr float expMin = -104, expMax = 89, expm1Min = -20;
  static constexpr float minNormal = 0x1p-126f;
  static constexpr Bits sqrtHalf = 0x3F3504F3, sign = 0x80000000;
};
template <>
struct Float<double> {
  using Bits = uint64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double toInt = 0x1.8p52;
  static constexpr double log2e = 0x1.71547652b82fep+0, ln2Hi = 0x1.62e42feep-1, ln2Lo = 0x1.a39ef35793c76p-33;
  static constexpr double expMin = -746, expMax = 710, expm1Min = -40;
  static constexpr double minNormal = 0x1p-1022;
  static constexpr Bits sqrtHalf = 0x3FE6A09E00000000, sign = 0x8000000000000000;
};

template <typename To, typename From>
NABLA_INLINE To bitCast(From x) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
template <typename T>
NABLA_INLINE typename Float<T>::Bits bitsOf(T x) { return bitCast<typename Float<T>::Bits>(x); }
template <typename T>
NABLA_INLINE T ofBits(typename Float<T>::Bits b) { return bitCast<T>(b); }

// a·b + c, fused where that is one instruction. The rest of the code is compiled with contraction off.
NABLA_INLINE float madd(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
NABLA_INLINE double madd(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

template <typename T>
NABLA_INLINE T absOf(T x) { return ofBits<T>(bitsOf(x) & ~Float<T>::sign); }
template <typename T>
NABLA_INLINE T withSign(T x, T sign) {
  return ofBits<T>((bitsOf(x) & ~Float<T>::sign) | (bitsOf(sign) & Float<T>::sign));
}
NABLA_INLINE float rootOf(float x) { return sqrtf(x); }
NABLA_INLINE double rootOf(double x) { return sqrt(x); }

// The four roundings to an integer. Without instructions for them: values below 2^mantissa are rounded by adding and
// subtracting that power, larger ones are integers already.
#if defined(__SSE4_1__) || defined(__aarch64__)
NABLA_INLINE float roundOf(float x) { return rintf(x); }
NABLA_INLINE double roundOf(double x) { return rint(x); }
NABLA_INLINE float floorOf(float x) { return floorf(x); }
NABLA_INLINE double floorOf(double x) { return floor(x); }
NABLA_INLINE float ceilOf(float x) { return ceilf(x); }
NABLA_INLINE double ceilOf(double x) { return ceil(x); }
NABLA_INLINE float truncOf(float x) { return truncf(x); }
NABLA_INLINE double truncOf(double x) { return trunc(x); }
#else
template <typename T>
NABLA_INLINE T roundOf(T x) {
  const T big = Float<T>::toInt / T(1.5), a = absOf(x);
  return a < big ? withSign((a + big) - big, x) : x;
}
template <typename T>
NABLA_INLINE T floorOf(T x) {
  const T r = roundOf(x);
  return withSign(r > x ? r - 1 : r, x);
}
template <typename T>
NABLA_INLINE T ceilOf(T x) {
  const T r = roundOf(x);
  return withSign(r < x ? r + 1 : r, x);
}
template <typename T>
NABLA_INLINE T truncOf(T x) {
  const T a = absOf(x), r = roundOf(a);
  return withSign(r > a ? r - 1 : r, x);
}
#endif

// c0 + c1·x + c2·x² + …
template <typename T>
NABLA_INLINE T polynomial(T, T c) { return c; }
template <typename T, typename... C>
NABLA_INLINE T polynomial(T x, T c, C... rest) { return madd(polynomial(x, rest...), x, c); }

// (e^r - 1 - r)/r² on |r| ≤ ½ ln 2; its error times r² is below 2^-28.2 and 2^-57.3.
NABLA_INLINE float expTail(float r) {
  return polynomial(r, 0.5f, 0x1.55549p-3f, 0x1.5554cp-5f, 0x1.123a3ep-7f, 0x1.6d7b58p-10f);
}
NABLA_INLINE double expTail(double r) {
  return polynomial(r, 0.5, 0x1.555555555555cp-3, 0x1.555555555314bp-5, 0x1.111111110e55ep-7, 0x1.6c16c17cff7e0p-10,
                    0x1.a01a01b67e430p-13, 0x1.a019aa6eb54f0p-16, 0x1.71dde866ddb1ap-19, 0x1.28a04888e608ap-22,
                    0x1.af795cddc8dbep-26);
}

// x = n·ln 2 + r with |r| ≤ ½ ln 2; returns r. shifted = n + toInt.
template <typename T>
NABLA_INLINE T expReduce(T x, T& shifted) {
  using F = Float<T>;
  shifted = madd(x, F::log2e, F::toInt);
  const T n = shifted - F::toInt;
  return madd(n, -F::ln2Lo, madd(n, -F::ln2Hi, x));
}

template <typename T>
NABLA_INLINE T expOf(T x) {
  using F = Float<T>;
  using B = typename F::Bits;
  x = x < F::expMin ? F::expMin : x;
  x = x > F::expMax ? F::expMax : x;
  T shifted;
  const T r = expReduce(x, shifted);
  const T p = madd(r * r, expTail(r), r) + 1;
  // Times 2^n in two steps, so that results beyond the normal range round and overflow as they should.
  constexpr B offset = 4 * (F::bias + 1);
  const B n = bitsOf(shifted) - bitsOf(F::toInt) + offset, half = n >> 1;
  const T first = ofBits<T>((half - offset / 2 + F::bias) << F::mantissa);
  const T second = ofBits<T>((n - half - offset / 2 + F::bias) << F::mantissa);
  return p * first * second;
}

template <typename T>
NABLA_INLINE T expm1Of(T x) {
  using F = Float<T>;
  const T y0 = x < F::expm1Min ? F::expm1Min : x;
  const T y = y0 > F::expMax ? F::expMax : y0;
  T shifted;
  const T r = expReduce(y, shifted);
  const T p = madd(r * r, expTail(r), r);
  const auto n = bitsOf(shifted) - bitsOf(F::toInt);
  const T half = ofBits<T>((n + (F::bias - 1)) << F::mantissa);  // 2^(n-1), as 2^n could overflow
  const T e = T(2) * madd(half, p, half - T(0.5));
  return withSign(n == 0 ? p : e, x);
}

// e^x - 1 where 2^n and its reciprocal are normal: |x| < 80.
template <typename T>
NABLA_INLINE T expm1Near(T x) {
  using F = Float<T>;
  T shifted;
  const T r = expReduce(x, shifted);
  const T scale = ofBits<T>((bitsOf(shifted) - bitsOf(F::toInt) + F::bias) << F::mantissa);
  return madd(scale, madd(r * r, expTail(r), r), scale - 1);
}

// From 20 on tanh is 1. The quotient alone would have an error of 2.5 units for small float32 arguments: below 0.55 a
// polynomial takes over (relative error 2^-29.9).
NABLA_INLINE float tanhOf(float x) {
  const float a = absOf(x), z = a * a, e = expm1Near(2 * (a > 20 ? 20.0f : a));
  const float small = madd(a * z, polynomial(z, -0.333333194f, 0.133326024f, -0.0538538583f, 0.0210777614f,
                                             -0.00628247624f), a);
  return withSign(a < 0.55f ? small : e / (e + 2), x);
}
NABLA_INLINE double tanhOf(double x) {
  const double a = absOf(x), e = expm1Near(2 * (a > 20 ? 20.0 : a));
  return withSign(e / (e + 2), x);
}

// 1/(1 + e^-x), where 1 + 2^n·e^r is (1 + 2^n) + 2^n·(e^r - 1) with one rounding while 1 + 2^n is exact, and beyond that
// 2^n + (1 + 2^n·(e^r - 1)); all of it times 2^-shift, so that nothing overflows where the result is denormal.
template <typename T>
NABLA_INLINE T sigmoidOf(T x) {
  using F = Float<T>;
  using B = typename F::Bits;
  constexpr int shift = sizeof(T) == 4 ? 32 : 64;
  const T y0 = x > -F::expm1Min ? -F::expm1Min : x;
  const T y = y0 < F::expMin ? F::expMin : y0;
  T shifted;
  const T r = expReduce(-y, shifted);
  const T small = ofBits<T>(B(F::bias - shift) << F::mantissa);
  const T scale = ofBits<T>((bitsOf(shifted) - bitsOf(F::toInt) + B(F::bias - shift)) << F::mantissa);
  const T limit = ofBits<T>(B(F::bias - shift + F::mantissa) << F::mantissa);
  const T late = scale > limit ? small : T(0);
  return T(1) / (madd(scale, madd(r * r, expTail(r), r), late) + (scale + (small - late))) * small;
}

// (2 atanh(s)/s - 2)/s² as a polynomial in z = s², for |s| ≤ (√2-1)/(√2+1); its error times z is below
// 2^-29.2 and 2^-58.4.
NABLA_INLINE float logTail(float z) { return polynomial(z, 0.666667759f, 0.399774969f, 0.298730463f); }
NABLA_INLINE double logTail(double z) {
  return polynomial(z, 0.66666666666667351, 0.39999999999411334, 0.28571428743217669, 0.2222219848000403,
                    0.18183569553395401, 0.15313907583330366, 0.14797467718702587);
}

// log(x) + c for x > 0 and a small correction c; any value elsewhere.
template <typename T>
NABLA_INLINE T logPositive(T x, T c) {
  using F = Float<T>;
  using B = typename F::Bits;
  const bool tiny = x < F::minNormal;
  const B b = bitsOf(tiny ? x * ofBits<T>(B(F::bias + F::mantissa + 2) << F::mantissa) : x) +
              ((B(F::bias) << F::mantissa) - F::sqrtHalf);
  const B e = (b >> F::mantissa) - B(tiny ? F::bias + F::mantissa + 2 : F::bias);
  const T n = ofBits<T>(bitsOf(F::toInt) + e) - F::toInt;
  const T f = ofBits<T>((b & ((B(1) << F::mantissa) - 1)) + F::sqrtHalf) - 1;
  const T s = f / (f + 2), z = s * s, h = T(0.5) * f * f;
  const T low = madd(s, madd(z, logTail(z), h), madd(n, F::ln2Lo, c));
  return madd(n, F::ln2Hi, f - (h - low));
}

template <typename T>
NABLA_INLINE T logOf(T x) {
  const T inf = ofBits<T>(typename Float<T>::Bits(2 * Float<T>::bias + 1) << Float<T>::mantissa);
  const T y = logPositive(x, T(0));
  return x > 0 ? (x < inf ? y : x) : (x == 0 ? -inf : inf - inf);
}

template <typename T>
NABLA_INLINE T log1pOf(T x) {
  const T inf = ofBits<T>(typename Float<T>::Bits(2 * Float<T>::bias + 1) << Float<T>::mantissa);
  const T u = x + 1;
  const T c = (x > 1 ? 1 - (u - x) : x - (u - 1)) / u;  // what was lost in u
  const T y = withSign(logPositive(u, c), x);
  return x > -1 ? (x < inf ? y : x) : (x == -1 ? -inf : inf - inf);
}

// float32 results through float64.

constexpr double kPi = 0x1.921fb54442d18p+1, kHalfPi = kPi / 2;

// x = q·π/2 + r with |r| ≤ π/4, for |x| < kTrigMax; the low bits of `quadrant` are q's.
constexpr float kTrigMax = 0x1p20f;
NABLA_INLINE double trigReduce(double x, uint64_t& quadrant) {
  const double shifted = madd(x, 2 / kPi, Float<double>::toInt);
  const double n = shifted - Float<double>::toInt;
  quadrant = bitsOf(shifted);
  return madd(n, -0x1.0b4611a626331p-34, madd(n, -0x1.921fb544p+0, x));  // n·(first 33 bits of π/2) is exact
}
// sin and cos on |r| ≤ π/4: relative errors 2^-37 and 2^-43.
NABLA_INLINE double sinTail(double r) {
  const double z = r * r;
  return r * madd(z, polynomial(z, -0.16666666641426983, 0.0083333293623213955, -0.00019839327146586861,
                                2.7182373501269129e-06), 1.0);
}
NABLA_INLINE double cosTail(double r) {
  const double z = r * r;
  return madd(z * z, polynomial(z, 0.041666666622478955, -0.0013888883722746426, 2.4799511789214328e-05,
                                -2.7209549448571015e-07), madd(z, -0.5, 1.0));
}
// sin(x + turn·π/2)
NABLA_INLINE float sineOf(float x, uint64_t turn) {
  uint64_t q;
  const double r = trigReduce(double(x), q);
  q += turn;
  const double s = sinTail(r), c = cosTail(r);
  return float(ofBits<double>(bitsOf((q & 1) != 0 ? c : s) ^ (q & 2) << 62));
}
NABLA_INLINE float tanOf(float x) {
  uint64_t q;
  const double r = trigReduce(double(x), q);
  const double s = sinTail(r), c = cosTail(r);
  const bool odd = (q & 1) != 0;
  return float((odd ? -c : s) / (odd ? s : c));
}

// atan on [0, 1], relative error 2^-34.
NABLA_INLINE double atanTail(double v) {
  const double z = v * v;
  return madd(v * z, polynomial(z, -0.33333332235463042, 0.19999932204207052, -0.14284250979111182,
                                0.11095203404651768, -0.089887966922377174, 0.072693981295212221,
                                -0.054704753232671766, 0.034704984892877308, -0.016471705361349155,
                                0.0049994230875803477, -0.00071132436102250317), v);
}
NABLA_INLINE float atanOf(float x) {
  const double a = absOf(double(x));
  const bool inverse = a > 1;
  const double p = atanTail(inverse ? 1 / a : a);
  return withSign(float(inverse ? kHalfPi - p : p), x);
}
NABLA_INLINE float atan2Of(float y, float x) {
  const double ax = absOf(double(x)), ay = absOf(double(y));
  const double most = ax > ay ? ax : ay, least = ax > ay ? ay : ax;
  const double v = most == 0 ? 0.0 : least == most ? 1.0 : least / most;  // 0/0 and ∞/∞ included
  const double p = atanTail(v);
  const double first = ay > ax ? kHalfPi - p : p;
  const float r = withSign(float((bitsOf(x) & Float<float>::sign) != 0 ? kPi - first : first), y);
  return x == x && y == y ? r : x + y;
}

// asin on [0, ½], relative error 2^-39; beyond it asin(x) = π/2 - 2·asin(√((1-x)/2)).
NABLA_INLINE double asinTail(double v) {
  const double z = v * v;
  return madd(v * z, polynomial(z, 0.16666666626726842, 0.075000050418756015, 0.044640687763189905,
                                0.030426841983790493, 0.021863006220633096, 0.020659054666846383,
                                0.0019484022257083527, 0.032941817747677696), v);
}
NABLA_INLINE float asinOf(float x) {
  const double a = absOf(double(x));
  const bool big = a > 0.5;
  const double p = asinTail(big ? rootOf((1 - a) * 0.5) : a);
  return withSign(float(big ? kHalfPi - 2 * p : p), x);
}
NABLA_INLINE float acosOf(float x) {
  const double a = absOf(double(x));
  const bool big = a > 0.5;
  const double p = asinTail(big ? rootOf((1 - a) * 0.5) : a);
  return float(big ? (x < 0 ? kPi - 2 * p : 2 * p) : kHalfPi - withSign(p, double(x)));
}

NABLA_INLINE double atMost(double x, double limit) { return x > limit ? limit : x; }
NABLA_INLINE float sinhOf(float x) {
  const double e = expm1Of(atMost(absOf(double(x)), 100));
  return withSign(float(0.5 * (e + e / (e + 1))), x);
}
NABLA_INLINE float coshOf(float x) {
  const double e = expOf(atMost(absOf(double(x)), 100));
  return float(0.5 * (e + 1 / e));
}
NABLA_INLINE float asinhOf(float x) {
  const double a = absOf(double(x)), t = a * a;
  const double y = log1pOf(a + t / (1 + rootOf(1 + t)));
  return withSign(a < 0x1p200 ? float(y) : float(a), x);
}
NABLA_INLINE float acoshOf(float x) {
  const double t = double(x) - 1;
  const double y = log1pOf(t + rootOf(t * (double(x) + 1)));
  return x >= 1 ? float(y) : (x - x) / (x - x);
}
NABLA_INLINE float atanhOf(float x) {
  const double a = absOf(double(x));
  return withSign(float(0.5 * log1pOf(2 * a / (1 - a))), x);
}

// x^y through |x|^y, whose sign is then x's for odd integers y.
NABLA_INLINE float powOf(float x, float y) {
  const double dx = double(x), dy = double(y);
  const double p = expOf(dy * logOf(absOf(dx)));
  const bool integer = roundOf(y) == y, odd = integer && roundOf(0.5f * y) != 0.5f * y;
  const bool negative = (bitsOf(x) & Float<float>::sign) != 0;
  const float r = float(negative && odd ? -p : p);
  const float s = x < 0 && !integer && absOf(x) < HUGE_VALF ? (y - y) / (y - y) : r;
  return y == 0 || x == 1 || (x == -1 && absOf(y) == HUGE_VALF) ? 1.0f : s;
}

// erf(x) = 1 - e^-q for x ≥ 0, where q = x·(2/√π + …) is smooth; the error of q moves erf by 2^-27.9 of it at
// most. From 3.9 on erf is 1. (The leading 1 of 2/√π is kept apart to round once; what that loses of q, whose units can
// be twice as large as those of erf, is added to e^-q - 1.)
// The polynomial goes by pairs: it is in the way of everything else, and half as deep then.
NABLA_INLINE float erfOf(float x) {
  const float a = absOf(x), b = a > 3.9f ? 3.9f : a, b2 = b * b, b4 = b2 * b2;
  const float low = madd(b2, polynomial(b, 0.102777831f, -0.019153066f), polynomial(b, 0.128379167f, 0.636619389f));
  const float high = madd(b2, polynomial(b, -0.000632832234f, 0.000117639844f),
                          polynomial(b, -0.000160390075f, 0.00166702014f));
  const float t = b * madd(b4, madd(b4, -9.25609311e-06f, high), low), q = b + t, lost = t - (q - b);
  float shifted;
  const float r = expReduce(-q, shifted);
  const float scale = ofBits<float>((bitsOf(shifted) - bitsOf(Float<float>::toInt) + 127) << 23);
  return withSign(madd(scale, madd(r * r, expTail(r), -lost) + r, scale - 1), x);
}
// erfcx on [0, 11] has relative error 2^-34; erfc(11) is 0 in float32.
NABLA_INLINE float erfcOf(float x) {
  const double a = atMost(absOf(double(x)), 11), t = (a - 3) / (a + 3);
  const double scaled = polynomial(t, 0.17900115118186474, -0.32623356015340288, 0.24560380181403293,
                                   -0.15011593072238982, 0.071665832270397037, -0.024392586014282985,
                                   0.0042691846138775249, 0.00070831877635906535, -0.00059718428642928562,
                                   4.3357142801818315e-05, 6.3840017816156101e-05, -9.7393757420023816e-06,
                                   -6.7659925694756866e-06);
  const double r = scaled * expOf(-a * a);
  return float(x < 0 ? 2 - r : r);
}

NABLA_INLINE float exp2Of(float x) { return float(expOf(double(x) * 0x1.62e42fefa39efp-1)); }
NABLA_INLINE float log2Of(float x) { return float(logOf(double(x)) * 0x1.71547652b82fep+0); }
NABLA_INLINE float log10Of(float x) { return float(logOf(double(x)) * 0x1.bcb7b1526e50ep-2); }

// The functions of graph/elementwise.def on one element, one struct a row, with PyTorch's semantics. Included once per
// instruction set, inside that set's namespace. For bool only `add` and `bitwiseNot` differ from uint8 (see the table).
#pragma once

template <typename T>
constexpr bool isReal = false;
template <>
constexpr bool isReal<float> = true;
template <>
constexpr bool isReal<double> = true;

// Signed arithmetic that may wrap is done in the unsigned type of the same size (of 64 bits for small ones: the
// product of two promoted uint8 or uint16 could overflow int).
template <typename T>
struct Wrap;
template <>
struct Wrap<int32_t> {
  using type = uint32_t;
};
template <>
struct Wrap<int64_t> {
  using type = uint64_t;
};
template <>
struct Wrap<uint8_t> {
  using type = uint8_t;
};

// Most functions need no more than a loop. A guarded one has a fast form `f` for elements that are `easy` and a slow
// one for the rest.
struct Plain {
  static constexpr bool guarded = false;
};

// UNARY, BINARY and TEST open a struct and the head of its function; the function's body and the struct's end follow.
#define UNARY(name) struct name##_ : Plain { template <typename T> NABLA_INLINE T f(T x)
#define BINARY(name) struct name##_ : Plain { template <typename T> NABLA_INLINE T f(T a, T b)
#define TEST(name) struct name##_ : Plain { template <typename T> NABLA_INLINE uint8_t f(T x)
#define COMPARE(name, op) \
  struct name##_ : Plain { template <typename T> NABLA_INLINE uint8_t f(T a, T b) { return uint8_t(a op b); } };
#define BOTH(name, op)                             \
  struct name##_ : Plain {                         \
    template <typename T>                          \
    NABLA_INLINE uint8_t f(T a, T b) {             \
      return uint8_t((a != T(0)) op (b != T(0)));  \
    }                                              \
  };
#define INTEGERS(op) using U = typename Wrap<T>::type; return T(U(U(a) op U(b)))
// A float function: our own for float32; the C library's for float64.
#define FLOATS(name, of32, of64)                                 \
  struct name##_ : Plain {                                       \
    NABLA_INLINE float f(float x) { return of32(x); }            \
    NABLA_INLINE double f(double x) { return of64(x); }          \
  };

UNARY(copy) { return x; } };
UNARY(neg) {
  if constexpr (isReal<T>) return -x;
  else return T(typename Wrap<T>::type(0) - typename Wrap<T>::type(x));
} };
UNARY(abs) {
  if constexpr (isReal<T>) return absOf(x);
  else return x < T(0) ? neg_::f(x) : x;
} };
UNARY(sign) { return T(T(x > T(0)) - T(x < T(0))); } };  // 0 for NaN
BINARY(add) {
  if constexpr (isReal<T>) return a + b;
  else { INTEGERS(+); }
} };
BINARY(sub) {
  if constexpr (isReal<T>) return a - b;
  else { INTEGERS(-); }
} };
BINARY(mul) {
  if constexpr (isReal<T>) return a * b;
  else { INTEGERS(*); }
} };
BINARY(div) { return a / b; } };
UNARY(square) { return mul_::f(x, x); } };
UNARY(sqrt) { return rootOf(x); } };
UNARY(rsqrt) { return T(1) / rootOf(x); } };
UNARY(reciprocal) { return T(1) / x; } };

FLOATS(exp, expOf, expOf)
FLOATS(exp2, exp2Of, exp2)
FLOATS(expm1, expm1Of, expm1Of)
FLOATS(log, logOf, logOf)
FLOATS(log2, log2Of, log2)
FLOATS(log10, log10Of, log10)
FLOATS(log1p, log1pOf, log1pOf)
FLOATS(asin, asinOf, asin)
FLOATS(acos, acosOf, acos)
FLOATS(atan, atanOf, atan)
FLOATS(sinh, sinhOf, sinh)
FLOATS(cosh, coshOf, cosh)
FLOATS(tanh, tanhOf, tanhOf)
FLOATS(asinh, asinhOf, asinh)
FLOATS(acosh, acoshOf, acosh)
FLOATS(atanh, atanhOf, atanh)
FLOATS(erf, erfOf, erf)
FLOATS(erfc, erfcOf, erfc)
FLOATS(sigmoid, sigmoidOf, sigmoidOf)

// Large arguments need a longer π than trigReduce has: the C library takes them.
#define TRIG(name, of32)                                                       \
  struct name##_ {                                                             \
    static constexpr bool guarded = true;                                      \
    NABLA_INLINE bool easy(float x) { return !(absOf(x) >= kTrigMax); }        \
    NABLA_INLINE float f(float x) { return of32; }                             \
    NABLA_INLINE float slow(float x) { return name##f(x); }                    \
    NABLA_INLINE bool easy(double) { return true; }                            \
    NABLA_INLINE double f(double x) { return name(x); }                        \
    NABLA_INLINE double slow(double x) { return name(x); }                     \
  };
TRIG(sin, sineOf(x, 0))
TRIG(cos, sineOf(x, 1))
TRIG(tan, tanOf(x))

#define ROUNDING(name)                           \
  UNARY(name) {                                  \
    if constexpr (isReal<T>) return name##Of(x); \
    else return x;                               \
  } };
ROUNDING(floor)
ROUNDING(ceil)
ROUNDING(round)
ROUNDING(trunc)

UNARY(relu) { return x < T(0) ? T(0) : x; } };  // keeps NaN and -0
UNARY(bitwiseNot) { return T(~x); } };

TEST(logicalNot) { return uint8_t(x == T(0)); } };
TEST(isNan) { return uint8_t(x != x); } };
TEST(isFinite) {
  if constexpr (isReal<T>) return uint8_t(absOf(x) < T(HUGE_VALF));
  else return uint8_t(x == x);
} };
TEST(isInf) {
  if constexpr (isReal<T>) return uint8_t(absOf(x) == T(HUGE_VALF));
  else return uint8_t(x != x);
} };

BINARY(maximum) { return a != a ? a : (a > b ? a : b); } };
BINARY(minimum) { return a != a ? a : (a < b ? a : b); } };

struct atan2_ : Plain {
  NABLA_INLINE float f(float y, float x) { return atan2Of(y, x); }
  NABLA_INLINE double f(double y, double x) { return atan2(y, x); }
};
struct pow_ : Plain {
  NABLA_INLINE float f(float a, float b) { return powOf(a, b); }
  NABLA_INLINE double f(double a, double b) { return pow(a, b); }
  template <typename T>
  NABLA_INLINE T f(T a, T b) {
    using U = typename Wrap<T>::type;
    if (b < T(0)) return a == T(1) ? T(1) : a == T(-1) ? T((b & 1) != 0 ? -1 : 1) : T(0);
    U result = 1, power = U(a);
    for (U n = U(b); n != 0; n = U(n >> 1)) {
      if ((n & 1) != 0) result = U(result * power);
      power = U(power * power);
    }
    return T(result);
  }
};

template <typename T>
NABLA_INLINE bool minusOne(T x) { return T(-1) < T(0) && x == T(-1); }
NABLA_INLINE float fmodOf(float a, float b) { return fmodf(a, b); }
NABLA_INLINE double fmodOf(double a, double b) { return fmod(a, b); }

BINARY(truncDivide) {
  if constexpr (isReal<T>) return truncOf(a / b);
  else return b == T(0) ? T(0) : minusOne(b) ? neg_::f(a) : T(a / b);  // the smallest integer wraps
} };
BINARY(fmod) {
  if constexpr (isReal<T>) return fmodOf(a, b);
  else return b == T(0) || minusOne(b) ? T(0) : T(a % b);
} };
BINARY(remainder) {
  const T r = fmod_::f(a, b);
  return r != T(0) && (r < T(0)) != (b < T(0)) ? add_::f(r, b) : r;
} };
// For floats Python's rule: from the exact remainder, so that a/b just below an integer does not round up to it.
BINARY(floorDivide) {
  if constexpr (isReal<T>) {
    if (b == 0) return a / b;
    const T r = fmodOf(a, b);
    T q = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;
    if (q == 0) return withSign(T(0), a / b);
    const T whole = floorOf(q);
    return q - whole > T(0.5) ? whole + 1 : whole;
  } else {
    const T q = truncDivide_::f(a, b), r = fmod_::f(a, b);
    return r != T(0) && (r < T(0)) != (b < T(0)) ? T(q - 1) : q;
  }
} };

BINARY(bitwiseAnd) { return T(a & b); } };
BINARY(bitwiseOr) { return T(a | b); } };
BINARY(bitwiseXor) { return T(a ^ b); } };
BINARY(leftShift) {
  using U = typename Wrap<T>::type;
  constexpr T width = 8 * sizeof(T);
  return b < T(0) || b >= width ? T(0) : T(U(U(a) << b));
} };
BINARY(rightShift) {
  constexpr T width = 8 * sizeof(T);
  return b < T(0) || b >= width ? T(a < T(0) ? -1 : 0) : T(a >> b);
} };
BINARY(copysign) { return withSign(a, b); } };

COMPARE(eq, ==)
COMPARE(ne, !=)
COMPARE(lt, <)
COMPARE(le, <=)
COMPARE(gt, >)
COMPARE(ge, >=)
BOTH(logicalAnd, &)
BOTH(logicalOr, |)
BOTH(logicalXor, ^)

struct where_ : Plain {
  template <typename T>
  NABLA_INLINE T f(uint8_t a, T b, T c) { return a != 0 ? b : c; }
};
struct clamp_ : Plain {
  template <typename T>
  NABLA_INLINE T f(T a, T b, T c) {
    const T low = a < b ? b : a, r = low > c ? c : low;  // NaN passes from a
    if constexpr (isReal<T>) return ((b != b) | (c != c)) != 0 ? b + c : r;
    else return r;
  }
};

// The conversions of docs/kernels.md.
struct Truth {};  // stands for bool as a target

template <typename T>
struct To {
  template <typename S>
  NABLA_INLINE T f(S x) {
    if constexpr (!isReal<S> || isReal<T>) {
      return T(x);
    } else if constexpr (sizeof(T) == 1) {
      return T(To<int64_t>::f(x));
    } else {
      constexpr S bound = S(uint64_t(1) << (8 * sizeof(T) - 1));
      constexpr T least = T(uint64_t(1) << (8 * sizeof(T) - 1));
      const bool fits = x >= -bound && x < bound;
      return fits ? T(fits ? x : S(0)) : x > S(0) ? T(~least) : x < S(0) ? least : T(0);
    }
  }
};
template <>
struct To<Truth> {
  template <typename S>
  NABLA_INLINE uint8_t f(S x) { return uint8_t(x != S(0)); }
};

NABLA_INLINE float halfToFloat(uint16_t h) {
  const uint32_t body = h & 0x7FFFu, shifted = (body << 13) + (112u << 23);
  const float tiny = float(int32_t(body)) * 0x1p-24f;
  const uint32_t b = body >= 0x7C00u ? shifted + (112u << 23) : body >= 0x0400u ? shifted : bitsOf(tiny);
  return ofBits<float>(b | uint32_t(h & 0x8000u) << 16);
}
NABLA_INLINE uint16_t floatToHalf(float x) {
  const uint32_t b = bitsOf(x), body = b & 0x7FFFFFFFu;
  // Below 2^-14 adding ½ leaves the multiple of 2^-24 in the low bits.
  const uint32_t tiny = bitsOf(ofBits<float>(body) + 0.5f) - 0x3F000000u;
  const uint32_t normal = (body + 0xFFFu + (body >> 13 & 1u) - (112u << 23)) >> 13;
  const uint32_t r = body < 0x38800000u ? tiny : body < 0x477FF000u ? normal : body > 0x7F800000u ? 0x7E00u : 0x7C00u;
  return uint16_t(r | (b >> 16 & 0x8000u));
}
NABLA_INLINE float bfloatToFloat(uint16_t h) { return ofBits<float>(uint32_t(h) << 16); }
NABLA_INLINE uint16_t floatToBfloat(float x) {
  const uint32_t b = bitsOf(x);
  const uint32_t rounded = (b + 0x7FFFu + (b >> 16 & 1u)) >> 16;
  return uint16_t((b & 0x7FFFFFFFu) > 0x7F800000u ? (b >> 16 & 0x8000u) | 0x7FC0u : rounded);
}

#undef UNARY
#undef BINARY
#undef TEST
#undef COMPARE
#undef BOTH
#undef INTEGERS
#undef FLOATS
#undef TRIG
#undef ROUNDING

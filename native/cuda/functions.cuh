// The functions of graph/elementwise.def on one element, with PyTorch's semantics (docs/kernels.md, "elementwise").
#pragma once
#include <cmath>

#include "../graph/elementwise.h"
#include "values.cuh"

namespace nabla {
namespace cuda {

// The C++ type of a ctype; that of bool is bool.
template <typename T>
constexpr int ctypeIndex = kBool;
template <>
constexpr int ctypeIndex<float> = kF32;
template <>
constexpr int ctypeIndex<double> = kF64;
template <>
constexpr int ctypeIndex<int32_t> = kI32;
template <>
constexpr int ctypeIndex<int64_t> = kI64;
template <>
constexpr int ctypeIndex<uint8_t> = kU8;

namespace fn {

// Signed arithmetic that may wrap is done in an unsigned type.
template <typename T>
using Unsigned = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

#define UNARY(name) template <typename T> DEVICE T name(T x)
#define BINARY(name) template <typename T> DEVICE T name(T a, T b)
#define PREDICATE(name) template <typename T> DEVICE bool name(T x)
#define COMPARE(name, expression) template <typename T> DEVICE bool name(T a, T b) { return expression; }
#define FLOATS(name, call) template <typename T> DEVICE T name(T x) { return call; }

UNARY(copy) { return x; }
UNARY(neg) {
  if constexpr (isReal<T>) return -x;
  else return T(Unsigned<T>(0) - Unsigned<T>(x));
}
UNARY(abs) {
  if constexpr (isReal<T>) return std::fabs(x);
  else if constexpr (std::is_signed<T>::value) return x < T(0) ? neg(x) : x;
  else return x;
}
UNARY(sign) { return T(int(x > T(0)) - int(x < T(0))); }  // 0 for NaN
BINARY(add) {
  if constexpr (isReal<T>) return a + b;
  else if constexpr (std::is_same<T, bool>::value) return a || b;
  else return T(Unsigned<T>(a) + Unsigned<T>(b));
}
BINARY(sub) {
  if constexpr (isReal<T>) return a - b;
  else return T(Unsigned<T>(a) - Unsigned<T>(b));
}
BINARY(mul) {
  if constexpr (isReal<T>) return a * b;
  else if constexpr (std::is_same<T, bool>::value) return a && b;
  else return T(Unsigned<T>(a) * Unsigned<T>(b));
}
BINARY(div) { return a / b; }
UNARY(square) { return mul(x, x); }
FLOATS(sqrt, std::sqrt(x))
FLOATS(rsqrt, T(1) / std::sqrt(x))
FLOATS(reciprocal, T(1) / x)
FLOATS(exp, std::exp(x))
FLOATS(exp2, std::exp2(x))
FLOATS(expm1, std::expm1(x))
FLOATS(log, std::log(x))
FLOATS(log2, std::log2(x))
FLOATS(log10, std::log10(x))
FLOATS(log1p, std::log1p(x))
FLOATS(sin, std::sin(x))
FLOATS(cos, std::cos(x))
FLOATS(tan, std::tan(x))
FLOATS(asin, std::asin(x))
FLOATS(acos, std::acos(x))
FLOATS(atan, std::atan(x))
FLOATS(sinh, std::sinh(x))
FLOATS(cosh, std::cosh(x))
FLOATS(tanh, std::tanh(x))
FLOATS(asinh, std::asinh(x))
FLOATS(acosh, std::acosh(x))
FLOATS(atanh, std::atanh(x))
FLOATS(erf, std::erf(x))
FLOATS(erfc, std::erfc(x))
FLOATS(sigmoid, T(1) / (T(1) + std::exp(-x)))
#define ROUNDING(name, of)                   \
  UNARY(name) {                              \
    if constexpr (isReal<T>) return of(x);   \
    else return x;                           \
  }
ROUNDING(floor, std::floor)
ROUNDING(ceil, std::ceil)
ROUNDING(round, std::rint)
ROUNDING(trunc, std::trunc)
UNARY(relu) { return x < T(0) ? T(0) : x; }  // keeps NaN and -0
UNARY(bitwiseNot) {
  if constexpr (std::is_same<T, bool>::value) return !x;
  else return T(~x);
}
PREDICATE(logicalNot) { return x == T(0); }
PREDICATE(isNan) { return cuda::isNan(x); }
PREDICATE(isInf) {
  if constexpr (isReal<T>) return std::fabs(x) == T(INFINITY);
  else return false;
}
PREDICATE(isFinite) {
  if constexpr (isReal<T>) return std::fabs(x) < T(INFINITY);
  else return true;
}
BINARY(maximum) { return cuda::isNan(a) ? a : (a > b ? a : b); }
BINARY(minimum) { return cuda::isNan(a) ? a : (a < b ? a : b); }
BINARY(atan2) { return std::atan2(a, b); }
BINARY(pow) {
  if constexpr (isReal<T>) {
    return std::pow(a, b);
  } else {
    if constexpr (std::is_signed<T>::value) {
      if (b < T(0)) return a == T(1) ? T(1) : a == T(-1) ? T((b & 1) != 0 ? -1 : 1) : T(0);
    }
    using U = Unsigned<T>;
    U result = 1, power = U(a);
    for (U n = U(b); n != 0; n >>= 1) {
      if ((n & 1) != 0) result *= power;
      power *= power;
    }
    return T(result);
  }
}
// The smallest integer divided by −1 wraps.
template <typename T>
DEVICE bool minusOne(T x) {
  return std::is_signed<T>::value && x == T(-1);
}
BINARY(truncDivide) {
  if constexpr (isReal<T>) return std::trunc(a / b);
  else return b == T(0) ? T(0) : minusOne(b) ? neg(a) : T(a / b);
}
BINARY(fmod) {
  if constexpr (isReal<T>) return std::fmod(a, b);
  else return b == T(0) || minusOne(b) ? T(0) : T(a % b);
}
BINARY(remainder) {
  const T r = fmod(a, b);
  return r != T(0) && (r < T(0)) != (b < T(0)) ? add(r, b) : r;
}
// For floats Python's rule: from the exact remainder, so that a/b just below an integer does not round up to it.
BINARY(floorDivide) {
  if constexpr (isReal<T>) {
    if (b == 0) return a / b;
    const T r = std::fmod(a, b);
    T q = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;
    if (q == 0) return std::copysign(T(0), a / b);
    const T whole = std::floor(q);
    return q - whole > T(0.5) ? whole + 1 : whole;
  } else {
    const T q = truncDivide(a, b), r = fmod(a, b);
    return r != T(0) && (r < T(0)) != (b < T(0)) ? T(q - 1) : q;
  }
}
BINARY(bitwiseAnd) { return T(a & b); }
BINARY(bitwiseOr) { return T(a | b); }
BINARY(bitwiseXor) { return T(a ^ b); }
BINARY(leftShift) {
  constexpr int width = 8 * sizeof(T);
  return b < T(0) || b >= T(width) ? T(0) : T(Unsigned<T>(a) << b);
}
BINARY(rightShift) {
  constexpr int width = 8 * sizeof(T);
  return b < T(0) || b >= T(width) ? T(a < T(0) ? -1 : 0) : T(a >> b);
}
BINARY(copysign) { return std::copysign(a, b); }
COMPARE(eq, a == b)
COMPARE(ne, a != b)
COMPARE(lt, a < b)
COMPARE(le, a <= b)
COMPARE(gt, a > b)
COMPARE(ge, a >= b)
COMPARE(logicalAnd, (a != T(0)) & (b != T(0)))
COMPARE(logicalOr, (a != T(0)) | (b != T(0)))
COMPARE(logicalXor, (a != T(0)) != (b != T(0)))
template <typename T>
DEVICE T where(T a, T b, T c) {  // a is 0 or 1 in whatever type the others have
  return a != T(0) ? b : c;
}
template <typename T>
DEVICE T clamp(T a, T b, T c) {
  const T low = a < b ? b : a, r = low > c ? c : low;  // NaN passes from a
  if constexpr (isReal<T>) return b != b || c != c ? b + c : r;
  else return r;
}

#undef UNARY
#undef BINARY
#undef PREDICATE
#undef COMPARE
#undef FLOATS
#undef ROUNDING

}  // namespace fn

// d = f(a, b, c) for V elements; the choice of f is made once for all of them. Predicates give 0 or 1.
template <typename T, int V>
DEVICE void apply(int f, const T (&a)[V], const T (&b)[V], const T (&c)[V], T (&d)[V]) {
  switch (f) {
#define ARGUMENTS1 a[v]
#define ARGUMENTS2 a[v], b[v]
#define ARGUMENTS3 a[v], b[v], c[v]
#define ELEMENTWISE(name, arity, result, types, cost)                            \
  case kFn_##name:                                                               \
    if constexpr ((ctypes::types >> ctypeIndex<T> & 1) != 0)                     \
      for (int v = 0; v < V; v++) d[v] = T(fn::name<T>(ARGUMENTS##arity));       \
    break;
#include "../graph/elementwise.def"
#undef ELEMENTWISE
#undef ARGUMENTS1
#undef ARGUMENTS2
#undef ARGUMENTS3
    default: break;
  }
}

}  // namespace cuda
}  // namespace nabla

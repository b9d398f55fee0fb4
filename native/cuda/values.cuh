// Elements of every dtype in kernels: how they are read, computed with and written (docs/kernels.md, "Data").
#pragma once
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "../core/dtype.h"
#include "launch.h"

namespace nabla {
namespace cuda {

struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};
struct Bool {
  uint8_t bits;
};

DEVICE float toFloat(Half h) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(h.bits));
#elif defined(NABLA_SHIM)
  return halfToFloat(h.bits);
#else
  return 0;
#endif
}
DEVICE float toFloat(BFloat b) {
  const uint32_t bits = uint32_t(b.bits) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
DEVICE Half toHalf(float f) {
#if defined(__CUDA_ARCH__)
  return {__half_as_ushort(__float2half_rn(f))};
#elif defined(NABLA_SHIM)
  return {floatToHalf(f)};
#else
  return {};
#endif
}
DEVICE BFloat toBFloat(float f) {
#if defined(__CUDA_ARCH__)
  return {__bfloat16_as_ushort(__float2bfloat16_rn(f))};
#elif defined(NABLA_SHIM)
  return {floatToBfloat(f)};
#else
  return {};
#endif
}

// A stored element as the number that is computed with, and back.
template <typename T>
DEVICE T valueOf(T x) {
  return x;
}
DEVICE float valueOf(Half x) { return toFloat(x); }
DEVICE float valueOf(BFloat x) { return toFloat(x); }
DEVICE uint8_t valueOf(Bool x) { return uint8_t(x.bits != 0); }

template <typename T>
constexpr bool isReal = std::is_floating_point<T>::value;

template <typename To, typename From>
DEVICE To convert(From v) {
  if constexpr (std::is_same<To, Bool>::value) {
    return Bool{uint8_t(v != From(0))};
  } else if constexpr (std::is_same<To, Half>::value) {
    return toHalf(float(v));
  } else if constexpr (std::is_same<To, BFloat>::value) {
    return toBFloat(float(v));
  } else if constexpr (isReal<From> && std::is_same<To, uint8_t>::value) {
    return uint8_t(convert<int64_t>(v));
  } else if constexpr (isReal<From> && !isReal<To>) {
    constexpr From bound = From(uint64_t(1) << (8 * sizeof(To) - 1));  // a power of two: exact
    constexpr To least = To(uint64_t(1) << (8 * sizeof(To) - 1));
    if (!(v < bound)) return v != v ? To(0) : To(~least);
    return v < -bound ? least : To(v);
  } else {
    return To(v);
  }
}

// The element at an offset from where a view begins, as a C.
template <typename C>
DEVICE C load(const void* data, DType t, int64_t at) {
  switch (t) {
    case DType::f32: return convert<C>(static_cast<const float*>(data)[at]);
    case DType::f64: return convert<C>(static_cast<const double*>(data)[at]);
    case DType::f16: return convert<C>(valueOf(static_cast<const Half*>(data)[at]));
    case DType::bf16: return convert<C>(valueOf(static_cast<const BFloat*>(data)[at]));
    case DType::i32: return convert<C>(static_cast<const int32_t*>(data)[at]);
    case DType::i64: return convert<C>(static_cast<const int64_t*>(data)[at]);
    case DType::u8: return convert<C>(static_cast<const uint8_t*>(data)[at]);
    default: return convert<C>(valueOf(static_cast<const Bool*>(data)[at]));
  }
}
template <typename C>
DEVICE void store(void* data, DType t, int64_t at, C v) {
  switch (t) {
    case DType::f32: static_cast<float*>(data)[at] = convert<float>(v); break;
    case DType::f64: static_cast<double*>(data)[at] = convert<double>(v); break;
    case DType::f16: static_cast<Half*>(data)[at] = convert<Half>(v); break;
    case DType::bf16: static_cast<BFloat*>(data)[at] = convert<BFloat>(v); break;
    case DType::i32: static_cast<int32_t*>(data)[at] = convert<int32_t>(v); break;
    case DType::i64: static_cast<int64_t*>(data)[at] = convert<int64_t>(v); break;
    case DType::u8: static_cast<uint8_t*>(data)[at] = convert<uint8_t>(v); break;
    default: static_cast<Bool*>(data)[at] = convert<Bool>(v); break;
  }
}

// The bits of a value, in the low end of 64.
template <typename T>
DEVICE uint64_t bitsOf(T v) {
  uint64_t bits = 0;
  memcpy(&bits, &v, sizeof v);
  return bits;
}

// Integer arithmetic that wraps; the ordinary one for floats.
template <typename T>
DEVICE T add(T a, T b) {
  if constexpr (isReal<T>) return a + b;
  else return T(uint64_t(a) + uint64_t(b));
}
template <typename T>
DEVICE T multiply(T a, T b) {
  if constexpr (isReal<T>) return a * b;
  else return T(uint64_t(a) * uint64_t(b));
}
template <typename T>
DEVICE bool isNan(T v) {
  if constexpr (isReal<T>) return v != v;
  else return false;
}
template <typename T>
DEVICE T infinity() {
  return T(INFINITY);
}
// Of float32 the fast and still exact enough ones of CUDA (2 ulp); of float64 the library's.
DEVICE float expOf(float x) { return expf(x); }
DEVICE double expOf(double x) { return exp(x); }
DEVICE float logOf(float x) { return logf(x); }
DEVICE double logOf(double x) { return log(x); }
DEVICE float rootOf(float x) { return sqrtf(x); }
DEVICE double rootOf(double x) { return sqrt(x); }

// On the host: a type as the argument of a generic lambda, and back.
template <typename T>
struct Tag {
  using type = T;
};
template <typename TagT>
using TypeOf = typename std::remove_reference_t<TagT>::type;

// Calls f(Tag<double>) for float64 and f(Tag<float>) for the other floats.
template <typename F>
void withComputeFloat(DType t, F&& f) {
  if (t == DType::f64) f(Tag<double>{});
  else f(Tag<float>{});
}
// Calls f with the type that values of a dtype are computed in; int64 for all integers and bool.
template <typename F>
void withCompute(DType t, F&& f) {
  if (t == DType::f64) f(Tag<double>{});
  else if (isFloat(t)) f(Tag<float>{});
  else f(Tag<int64_t>{});
}
// Moving values without looking at them needs only their size.
template <typename F>
void withSize(DType t, F&& f) {
  switch (sizeOf(t)) {
    case 1: return f(Tag<uint8_t>{});
    case 2: return f(Tag<uint16_t>{});
    case 4: return f(Tag<uint32_t>{});
    default: return f(Tag<uint64_t>{});
  }
}

}  // namespace cuda
}  // namespace nabla

// Elements of every dtype as C++ types, the conversions of docs/kernels.md between them, and the dispatch on a dtype.
#pragma once
#include <cstdint>
#include <limits>
#include <type_traits>

#include "../core/dtype.h"

namespace nabla {

struct Half {
  uint16_t bits;
  operator float() const { return halfToFloat(bits); }
};
struct BFloat {
  uint16_t bits;
  operator float() const { return bfloatToFloat(bits); }
};
struct Bool {
  uint8_t bits;
  operator uint8_t() const { return bits != 0; }
};

// The type in which values of a storage type are computed.
template <typename T>
struct ComputeOf {
  using type = T;
};
template <>
struct ComputeOf<Half> {
  using type = float;
};
template <>
struct ComputeOf<BFloat> {
  using type = float;
};
template <>
struct ComputeOf<Bool> {
  using type = uint8_t;
};
template <typename T>
using Compute = typename ComputeOf<T>::type;

// A computed value (float, double or an integer) as storage type To.
template <typename To, typename From>
inline To convert(From v) {
  if constexpr (std::is_same_v<To, Bool>) {
    return Bool{uint8_t(v != From(0))};
  } else if constexpr (std::is_same_v<To, Half>) {
    return Half{floatToHalf(float(v))};
  } else if constexpr (std::is_same_v<To, BFloat>) {
    return BFloat{floatToBfloat(float(v))};
  } else if constexpr (std::is_floating_point_v<From> && std::is_same_v<To, uint8_t>) {
    return uint8_t(convert<int64_t>(v));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr From bound = From(uint64_t(1) << (8 * sizeof(To) - 1));  // a power of two: exact
    if (!(v < bound)) return v != v ? To(0) : std::numeric_limits<To>::max();
    return v < -bound ? std::numeric_limits<To>::min() : To(v);
  } else {
    return To(v);
  }
}

// Integer arithmetic that wraps; the ordinary one for floats. (Products of small types are formed in 64 bits, where
// promotion to a signed int could overflow.)
template <typename T>
inline T add(T a, T b) {
  if constexpr (std::is_integral_v<T>) return T(uint64_t(a) + uint64_t(b));
  else return a + b;
}
template <typename T>
inline T multiply(T a, T b) {
  if constexpr (std::is_integral_v<T>) return T(uint64_t(a) * uint64_t(b));
  else return a * b;
}

template <typename T>
inline bool isNan(T v) {
  if constexpr (std::is_floating_point_v<T>) return v != v;
  else return false;
}

// A type as the argument of a generic lambda, and back: using T = TypeOf<decltype(tag)>.
template <typename T>
struct Tag {
  using type = T;
};
template <typename TagT>
using TypeOf = typename std::remove_reference_t<TagT>::type;

// Calls f(Tag<T>) with the storage type of a dtype.
template <typename F>
inline void withType(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(Tag<float>{});
    case DType::f64: return f(Tag<double>{});
    case DType::f16: return f(Tag<Half>{});
    case DType::bf16: return f(Tag<BFloat>{});
    case DType::i32: return f(Tag<int32_t>{});
    case DType::i64: return f(Tag<int64_t>{});
    case DType::u8: return f(Tag<uint8_t>{});
    case DType::boolean: return f(Tag<Bool>{});
  }
}
template <typename F>
inline void withFloat(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(Tag<float>{});
    case DType::f64: return f(Tag<double>{});
    case DType::f16: return f(Tag<Half>{});
    case DType::bf16: return f(Tag<BFloat>{});
    default: return;
  }
}
// Moving values without looking at them needs only their size: f(Tag<unsigned integer of that size>).
template <typename F>
inline void withSize(DType t, F&& f) {
  switch (sizeOf(t)) {
    case 1: return f(Tag<uint8_t>{});
    case 2: return f(Tag<uint16_t>{});
    case 4: return f(Tag<uint32_t>{});
    default: return f(Tag<uint64_t>{});
  }
}

}  // namespace nabla

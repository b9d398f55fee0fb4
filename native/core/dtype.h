// The dtypes of docs/kernels.md: codes, sizes and the 16-bit float conversions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nabla {

enum class DType : uint8_t { f32 = 0, f64 = 1, f16 = 2, bf16 = 3, i32 = 4, i64 = 5, u8 = 6, boolean = 7 };
constexpr int kDTypes = 8;

constexpr size_t sizeOf(DType t) {
  constexpr size_t sizes[kDTypes] = {4, 8, 2, 2, 4, 8, 1, 1};
  return sizes[static_cast<int>(t)];
}
constexpr const char* nameOf(DType t) {
  constexpr const char* names[kDTypes] = {"float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool"};
  return names[static_cast<int>(t)];
}
constexpr bool isFloat(DType t) { return static_cast<int>(t) <= 3; }

}  // namespace nabla

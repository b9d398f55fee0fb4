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

// The 16-bit floats by their bits. Rounding is to nearest, ties to even; NaN stays NaN. Flushing float32 denormals
// (FTZ/DAZ) does not change a result.
inline float floatOfBits(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
inline uint32_t bitsOfFloat(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}
inline float halfToFloat(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, body = h & 0x7FFF;
  if (body >= 0x7C00) return floatOfBits(sign | 0x7F800000 | body << 13);
  if (body >= 0x0400) return floatOfBits(sign | ((body << 13) + (112u << 23)));
  return floatOfBits(sign | bitsOfFloat(float(body) * 0x1p-24f));
}
inline uint16_t floatToHalf(float f) {
  const uint32_t bits = bitsOfFloat(f), sign = bits >> 16 & 0x8000;
  uint32_t body = bits & 0x7FFFFFFF;
  if (body > 0x7F800000) return uint16_t(sign | 0x7E00);
  if (body >= 0x477FF000) return uint16_t(sign | 0x7C00);  // from 65520 on
  if (body < 0x38800000)  // below 2^-14: adding ½ leaves the multiple of 2^-24 in the low bits
    return uint16_t(sign | (bitsOfFloat(floatOfBits(body) + 0.5f) - 0x3F000000));
  body += 0xFFF + (body >> 13 & 1);
  return uint16_t(sign | (body - (112u << 23)) >> 13);
}
inline float bfloatToFloat(uint16_t b) { return floatOfBits(uint32_t(b) << 16); }
inline uint16_t floatToBfloat(float f) {
  const uint32_t bits = bitsOfFloat(f);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return uint16_t((bits >> 16 & 0x8000) | 0x7FC0);
  return uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace nabla

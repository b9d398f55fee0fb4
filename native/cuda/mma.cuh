// The tensor cores' mma.sync (sm_80 on), with a twin for the shim. PTX ISA, "Matrix fragments for mma.m16n8k16" and
// "…k8": with g = lane / 4 and t = lane % 4, a lane's results are (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
#pragma once
#include "values.cuh"

namespace nabla {
namespace cuda {

#if defined(NABLA_SHIM)
// Two 16-bit values of a register as floats.
template <typename T>
void unpackPair(uint32_t bits, float* to) {
  to[0] = toFloat(T{uint16_t(bits)});
  to[1] = toFloat(T{uint16_t(bits >> 16)});
}
// The six registers of a fragment pair, of all lanes.
inline void gatherRegisters(const uint32_t (&a)[4], const uint32_t (&b)[2], uint32_t (&all)[6][32]) {
  const uint32_t own[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  shim::gather(own, all);
}
// d += A·B with A [16, K] and B [K, 8] gathered from all lanes: element k of a row is in the lane and register that the
// layouts below say.
template <int K, typename Get>
void multiplyFragments(float (&d)[4], Get get) {
  const int lane = int(shim::laneId()), g = lane / 4, t = lane % 4;
  for (int k = 0; k < K; k++) {
    float low, high, left, right;
    get(k, g, t, low, high, left, right);
    d[0] += low * left, d[1] += low * right, d[2] += high * left, d[3] += high * right;
  }
}
#endif

// d += A·B, A [16, 16] and B [16, 8] of 16-bit floats. a: (g, 2t…), (g + 8, 2t…), (g, 2t + 8…), (g + 8, 2t + 8…), two
// neighbours along k each; b: (2t…, g), (2t + 8…, g).
template <typename T>
DEVICE void mma16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same<T, Half>::value) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#elif defined(NABLA_SHIM)
  uint32_t all[6][32];
  gatherRegisters(a, b, all);
  multiplyFragments<16>(d, [&](int k, int g, int t, float& low, float& high, float& left, float& right) {
    const int half = k / 8, from = k % 8 / 2, which = k % 2;
    float pair[2];
    unpackPair<T>(all[2 * half][4 * g + from], pair), low = pair[which];
    unpackPair<T>(all[2 * half + 1][4 * g + from], pair), high = pair[which];
    unpackPair<T>(all[4 + half][4 * (2 * t) + from], pair), left = pair[which];
    unpackPair<T>(all[4 + half][4 * (2 * t + 1) + from], pair), right = pair[which];
  });
#else
  (void)d, (void)a, (void)b;
#endif
}

// d += A·B, A [16, 8] and B [8, 8] of float32 rounded to TF32. a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); b: (t, g),
// (t + 4, g).
DEVICE void mmaTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(NABLA_SHIM)
  uint32_t all[6][32];
  gatherRegisters(a, b, all);
  multiplyFragments<8>(d, [&](int k, int g, int t, float& low, float& high, float& left, float& right) {
    const int half = k / 4, from = k % 4;
    low = floatOfBits(all[2 * half][4 * g + from]), high = floatOfBits(all[2 * half + 1][4 * g + from]);
    left = floatOfBits(all[4 + half][4 * (2 * t) + from]), right = floatOfBits(all[4 + half][4 * (2 * t + 1) + from]);
  });
#else
  (void)d, (void)a, (void)b;
#endif
}

// The nearest TF32 (10 bits of mantissa; ties away from zero) as the bits of a float.
DEVICE uint32_t toTf32(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & ~0x1FFFu;
#endif
}

}  // namespace cuda
}  // namespace nabla

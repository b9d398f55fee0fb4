// Matrix-product kernels for arm64: 32 registers of 4 floats, tiles of 8 rows × 3 vectors.
#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>

#if defined(_MSC_VER)
#define INLINE __forceinline
#else
#define INLINE inline __attribute__((always_inline))
#endif

namespace {

// The last vector may be partial: it goes through memory, element by element.
struct F32 {
  using T = float;
  using V = float32x4_t;
  using M = int;
  static constexpr int kLanes = 4, kVectors = 3, kRows[] = {12, 12, 8}, kDotRows = 4, kDotCols = 4, kCombine = 8,
                       kBlock = 4, kWideBlock = 0;
  static INLINE V zero() { return vdupq_n_f32(0); }
  static INLINE V set1(T x) { return vdupq_n_f32(x); }
  static INLINE V load(const T* p) { return vld1q_f32(p); }
  static INLINE void store(T* p, V v) { vst1q_f32(p, v); }
  static INLINE M mask(int n) { return n; }
  static INLINE V loadMask(const T* p, M n) {
    T v[4] = {};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return load(v);
  }
  static INLINE void storeMask(T* p, M n, V x) {
    T v[4];
    store(v, x);
    for (int i = 0; i < n; i++) p[i] = v[i];
  }
  static INLINE V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
  static INLINE V add(V a, V b) { return vaddq_f32(a, b); }
  static constexpr int kSums = 1;
  static INLINE void sum(const V* v, T* to) { *to = vaddvq_f32(*v); }
  static INLINE void transposeBlock(const T* src, int64_t s, T* dst, int64_t d) {
    const float32x4x2_t low = vtrnq_f32(load(src), load(src + s));
    const float32x4x2_t high = vtrnq_f32(load(src + 2 * s), load(src + 3 * s));
    for (int i = 0; i < 2; i++) {
      store(dst + i * d, vcombine_f32(vget_low_f32(low.val[i]), vget_low_f32(high.val[i])));
      store(dst + (i + 2) * d, vcombine_f32(vget_high_f32(low.val[i]), vget_high_f32(high.val[i])));
    }
  }
};

struct F64 {
  using T = double;
  using V = float64x2_t;
  using M = int;
  static constexpr int kLanes = 2, kVectors = 3, kRows[] = {12, 12, 8}, kDotRows = 4, kDotCols = 4, kCombine = 8,
                       kBlock = 2, kWideBlock = 0;
  static INLINE V zero() { return vdupq_n_f64(0); }
  static INLINE V set1(T x) { return vdupq_n_f64(x); }
  static INLINE V load(const T* p) { return vld1q_f64(p); }
  static INLINE void store(T* p, V v) { vst1q_f64(p, v); }
  static INLINE M mask(int n) { return n; }
  static INLINE V loadMask(const T* p, M n) { return n == 2 ? load(p) : vcombine_f64(vld1_f64(p), vdup_n_f64(0)); }
  static INLINE void storeMask(T* p, M n, V v) {
    if (n == 2) store(p, v);
    else vst1_f64(p, vget_low_f64(v));
  }
  static INLINE V fma(V a, V b, V c) { return vfmaq_f64(c, a, b); }
  static INLINE V add(V a, V b) { return vaddq_f64(a, b); }
  static constexpr int kSums = 1;
  static INLINE void sum(const V* v, T* to) { *to = vaddvq_f64(*v); }
  static INLINE void transposeBlock(const T* src, int64_t s, T* dst, int64_t d) {
    const V r0 = load(src), r1 = load(src + s);
    store(dst, vzip1q_f64(r0, r1));
    store(dst + d, vzip2q_f64(r0, r1));
  }
};

void widenF16(int64_t n, const uint16_t* src, float* dst) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(dst + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(src + i))));
  if (i == n) return;
  uint16_t rest[4] = {};
  float wide[4];
  for (int64_t j = i; j < n; j++) rest[j - i] = src[j];
  vst1q_f32(wide, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(rest))));
  for (int64_t j = i; j < n; j++) dst[j] = wide[j - i];
}

void narrowF16(int64_t n, const float* src, uint16_t* dst) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1_u16(dst + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(src + i))));
  if (i == n) return;
  float rest[4] = {};
  uint16_t narrow[4];
  for (int64_t j = i; j < n; j++) rest[j - i] = src[j];
  vst1_u16(narrow, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(rest))));
  for (int64_t j = i; j < n; j++) dst[j] = narrow[j - i];
}

}  // namespace

#include "matmul_kernels.h"

namespace nabla {
namespace neon {
const MatmulIsa matmul = {&kF32, &kF64, widenF16, narrowF16};
}
}  // namespace nabla
#endif

// The 256-bit parts that the AVX2 and AVX-512 matrix kernels share: transposition, float16 conversion.
#pragma once
#include <immintrin.h>

#include <cstdint>

#if defined(_MSC_VER)
#define INLINE __forceinline
#else
#define INLINE inline __attribute__((always_inline))
#endif

namespace {

struct Transpose8x8 {
  static constexpr int kBlock = 8, kWideBlock = 0;
  static INLINE __m256 halves(const float* low, const float* high) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
  }
  // Rows i and i + 4 are loaded as the two halves of a register, so that only in-lane shuffles remain.
  static INLINE void transposeBlock(const float* src, int64_t s, float* dst, int64_t d) {
    for (int half = 0; half < 8; half += 4) {
      const __m256 r0 = halves(src + half, src + 4 * s + half), r1 = halves(src + s + half, src + 5 * s + half);
      const __m256 r2 = halves(src + 2 * s + half, src + 6 * s + half);
      const __m256 r3 = halves(src + 3 * s + half, src + 7 * s + half);
      const __m256 t0 = _mm256_unpacklo_ps(r0, r1), t1 = _mm256_unpackhi_ps(r0, r1);
      const __m256 t2 = _mm256_unpacklo_ps(r2, r3), t3 = _mm256_unpackhi_ps(r2, r3);
      float* to = dst + half * d;
      _mm256_storeu_ps(to, _mm256_shuffle_ps(t0, t2, 0x44));
      _mm256_storeu_ps(to + d, _mm256_shuffle_ps(t0, t2, 0xee));
      _mm256_storeu_ps(to + 2 * d, _mm256_shuffle_ps(t1, t3, 0x44));
      _mm256_storeu_ps(to + 3 * d, _mm256_shuffle_ps(t1, t3, 0xee));
    }
  }
};

struct Transpose4x4 {
  static constexpr int kBlock = 4, kWideBlock = 0;
  static INLINE __m256d halves(const double* low, const double* high) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(low)), _mm_loadu_pd(high), 1);
  }
  static INLINE void transposeBlock(const double* src, int64_t s, double* dst, int64_t d) {
    for (int half = 0; half < 4; half += 2) {
      const __m256d r0 = halves(src + half, src + 2 * s + half), r1 = halves(src + s + half, src + 3 * s + half);
      _mm256_storeu_pd(dst + half * d, _mm256_unpacklo_pd(r0, r1));
      _mm256_storeu_pd(dst + (half + 1) * d, _mm256_unpackhi_pd(r0, r1));
    }
  }
};

void widenF16(int64_t n, const uint16_t* src, float* dst) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i))));
  }
  for (; i < n; i++) dst[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(src[i])));
}

void narrowF16(int64_t n, const float* src, uint16_t* dst) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), 0));
  }
  for (; i < n; i++) dst[i] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(src[i]), 0)));
}

}  // namespace

// Matrix-product kernels for AVX-512 (F, VL, DQ, BW): 32 registers of 16 floats, tiles of 6 rows × 4 vectors.
#if defined(__x86_64__) || defined(_M_X64)
#include "matmul_x86.h"

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12's own headers
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace {

struct F32 : Transpose8x8 {
  using T = float;
  using V = __m512;
  using M = __mmask16;
  static constexpr int kLanes = 16, kVectors = 4, kRows[] = {12, 12, 8, 6}, kDotRows = 6, kDotCols = 4, kCombine = 8;
  static INLINE V zero() { return _mm512_setzero_ps(); }
  static INLINE V set1(T x) { return _mm512_set1_ps(x); }
  static INLINE V load(const T* p) { return _mm512_loadu_ps(p); }
  static INLINE void store(T* p, V v) { _mm512_storeu_ps(p, v); }
  static INLINE M mask(int n) { return static_cast<M>((1u << n) - 1); }
  static INLINE V loadMask(const T* p, M m) { return _mm512_maskz_loadu_ps(m, p); }
  static INLINE void storeMask(T* p, M m, V v) { _mm512_mask_storeu_ps(p, m, v); }
  static INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static INLINE V add(V a, V b) { return _mm512_add_ps(a, b); }
  static constexpr int kSums = 4;
  static INLINE void sum(const V* v, T* to) {
    const V ab = add(_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xee));
    const V cd = add(_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xee));
    const V quarters = add(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));  // of each vector
    const V pairs = add(quarters, _mm512_permute_ps(quarters, 0x4e));
    const V sums = add(pairs, _mm512_permute_ps(pairs, 0xb1));
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm_storeu_ps(to, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, sums)));
  }

  static constexpr int kWideBlock = 16;
  // Lane l of register m is a piece of row 4 l + m, so that only in-lane shuffles remain.
  static INLINE void transposeWideBlock(const T* src, int64_t s, T* dst, int64_t d) {
    for (int i = 0; i < 16; i += 4) {
      V r[4];
      for (int m = 0; m < 4; m++) {
        const T* from = src + m * s + i;
        r[m] = _mm512_castps128_ps512(_mm_loadu_ps(from));
        r[m] = _mm512_insertf32x4(r[m], _mm_loadu_ps(from + 4 * s), 1);
        r[m] = _mm512_insertf32x4(r[m], _mm_loadu_ps(from + 8 * s), 2);
        r[m] = _mm512_insertf32x4(r[m], _mm_loadu_ps(from + 12 * s), 3);
      }
      const V t0 = _mm512_unpacklo_ps(r[0], r[1]), t1 = _mm512_unpackhi_ps(r[0], r[1]);
      const V t2 = _mm512_unpacklo_ps(r[2], r[3]), t3 = _mm512_unpackhi_ps(r[2], r[3]);
      T* to = dst + i * d;
      store(to, _mm512_shuffle_ps(t0, t2, 0x44));
      store(to + d, _mm512_shuffle_ps(t0, t2, 0xee));
      store(to + 2 * d, _mm512_shuffle_ps(t1, t3, 0x44));
      store(to + 3 * d, _mm512_shuffle_ps(t1, t3, 0xee));
    }
  }
};

struct F64 : Transpose4x4 {
  using T = double;
  using V = __m512d;
  using M = __mmask8;
  static constexpr int kLanes = 8, kVectors = 4, kRows[] = {12, 12, 8, 6}, kDotRows = 6, kDotCols = 4, kCombine = 8;
  static INLINE V zero() { return _mm512_setzero_pd(); }
  static INLINE V set1(T x) { return _mm512_set1_pd(x); }
  static INLINE V load(const T* p) { return _mm512_loadu_pd(p); }
  static INLINE void store(T* p, V v) { _mm512_storeu_pd(p, v); }
  static INLINE M mask(int n) { return static_cast<M>((1u << n) - 1); }
  static INLINE V loadMask(const T* p, M m) { return _mm512_maskz_loadu_pd(m, p); }
  static INLINE void storeMask(T* p, M m, V v) { _mm512_mask_storeu_pd(p, m, v); }
  static INLINE V fma(V a, V b, V c) { return _mm512_fmadd_pd(a, b, c); }
  static INLINE V add(V a, V b) { return _mm512_add_pd(a, b); }
  static constexpr int kSums = 4;
  static INLINE void sum(const V* v, T* to) {
    const V ab = add(_mm512_shuffle_f64x2(v[0], v[1], 0x44), _mm512_shuffle_f64x2(v[0], v[1], 0xee));
    const V cd = add(_mm512_shuffle_f64x2(v[2], v[3], 0x44), _mm512_shuffle_f64x2(v[2], v[3], 0xee));
    const V pairs = add(_mm512_shuffle_f64x2(ab, cd, 0x88), _mm512_shuffle_f64x2(ab, cd, 0xdd));
    const V sums = add(pairs, _mm512_permute_pd(pairs, 0x55));
    const __m512i firsts = _mm512_setr_epi64(0, 2, 4, 6, 0, 0, 0, 0);
    _mm256_storeu_pd(to, _mm512_castpd512_pd256(_mm512_permutexvar_pd(firsts, sums)));
  }

  static constexpr int kWideBlock = 8;
  static INLINE void transposeWideBlock(const T* src, int64_t s, T* dst, int64_t d) {
    for (int i = 0; i < 8; i += 2) {
      V r[2];
      for (int m = 0; m < 2; m++) {
        const T* from = src + m * s + i;
        r[m] = _mm512_castpd128_pd512(_mm_loadu_pd(from));
        r[m] = _mm512_insertf64x2(r[m], _mm_loadu_pd(from + 2 * s), 1);
        r[m] = _mm512_insertf64x2(r[m], _mm_loadu_pd(from + 4 * s), 2);
        r[m] = _mm512_insertf64x2(r[m], _mm_loadu_pd(from + 6 * s), 3);
      }
      store(dst + i * d, _mm512_unpacklo_pd(r[0], r[1]));
      store(dst + (i + 1) * d, _mm512_unpackhi_pd(r[0], r[1]));
    }
  }
};

}  // namespace

#include "matmul_kernels.h"

namespace nabla {
namespace avx512 {
const MatmulIsa matmul = {&kF32, &kF64, widenF16, narrowF16};
}
}  // namespace nabla
#endif

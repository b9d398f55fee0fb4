// Matrix-product kernels for AVX-512 (F, VL, DQ, BW): 32 registers of 16 floats, tiles of 6 rows × 4 vectors.
#if defined(__x86_64__) || defined(_M_X64)
#include "matmul_x86.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12's own headers, in the halves of a 512-bit register
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
  static INLINE T sum(V v) {
    return sum8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
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
  static INLINE T sum(V v) {
    return sum4(_mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1)));
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

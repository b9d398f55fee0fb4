// Matrix-product kernels for AVX2 + FMA + F16C: 16 registers of 8 floats, tiles of 4 rows × 3 vectors.
#if defined(__x86_64__) || defined(_M_X64)
#include "matmul_x86.h"

namespace {

alignas(64) constexpr int32_t kLaneMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

struct F32 : Transpose8x8 {
  using T = float;
  using V = __m256;
  using M = __m256i;
  static constexpr int kLanes = 8, kVectors = 3, kRows[] = {12, 6, 4}, kDotRows = 3, kDotCols = 3, kCombine = 8;
  static INLINE V zero() { return _mm256_setzero_ps(); }
  static INLINE V set1(T x) { return _mm256_set1_ps(x); }
  static INLINE V load(const T* p) { return _mm256_loadu_ps(p); }
  static INLINE void store(T* p, V v) { _mm256_storeu_ps(p, v); }
  static INLINE M mask(int n) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask + 8 - n)); }
  static INLINE V loadMask(const T* p, M m) { return _mm256_maskload_ps(p, m); }
  static INLINE void storeMask(T* p, M m, V v) { _mm256_maskstore_ps(p, m, v); }
  static INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static INLINE V add(V a, V b) { return _mm256_add_ps(a, b); }
  static constexpr int kSums = 4;
  static INLINE void sum(const V* v, T* to) {
    const V ab = _mm256_add_ps(_mm256_permute2f128_ps(v[0], v[1], 0x20), _mm256_permute2f128_ps(v[0], v[1], 0x31));
    const V cd = _mm256_add_ps(_mm256_permute2f128_ps(v[2], v[3], 0x20), _mm256_permute2f128_ps(v[2], v[3], 0x31));
    const V acbd = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    const V sums = _mm256_hadd_ps(acbd, acbd);
    _mm_storeu_ps(to, _mm_unpacklo_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
  }
};

struct F64 : Transpose4x4 {
  using T = double;
  using V = __m256d;
  using M = __m256i;
  static constexpr int kLanes = 4, kVectors = 3, kRows[] = {12, 6, 4}, kDotRows = 3, kDotCols = 3, kCombine = 8;
  static INLINE V zero() { return _mm256_setzero_pd(); }
  static INLINE V set1(T x) { return _mm256_set1_pd(x); }
  static INLINE V load(const T* p) { return _mm256_loadu_pd(p); }
  static INLINE void store(T* p, V v) { _mm256_storeu_pd(p, v); }
  static INLINE M mask(int n) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask + 8 - 2 * n)); }
  static INLINE V loadMask(const T* p, M m) { return _mm256_maskload_pd(p, m); }
  static INLINE void storeMask(T* p, M m, V v) { _mm256_maskstore_pd(p, m, v); }
  static INLINE V fma(V a, V b, V c) { return _mm256_fmadd_pd(a, b, c); }
  static INLINE V add(V a, V b) { return _mm256_add_pd(a, b); }
  static constexpr int kSums = 4;
  static INLINE void sum(const V* v, T* to) {
    const V ab = _mm256_add_pd(_mm256_permute2f128_pd(v[0], v[1], 0x20), _mm256_permute2f128_pd(v[0], v[1], 0x31));
    const V cd = _mm256_add_pd(_mm256_permute2f128_pd(v[2], v[3], 0x20), _mm256_permute2f128_pd(v[2], v[3], 0x31));
    store(to, _mm256_permute4x64_pd(_mm256_hadd_pd(ab, cd), 0xd8));
  }
};

}  // namespace

#include "matmul_kernels.h"

namespace nabla {
namespace avx2 {
const MatmulIsa matmul = {&kF32, &kF64, widenF16, narrowF16};
}
}  // namespace nabla
#endif

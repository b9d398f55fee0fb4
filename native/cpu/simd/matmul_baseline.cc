// Matrix-product kernels for every machine: SSE2 where it is sure to exist (x86-64), else plain C++.
#include "../../core/dtype.h"

#if defined(_MSC_VER)
#define INLINE __forceinline
#else
#define INLINE inline __attribute__((always_inline))
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <emmintrin.h>
#include <xmmintrin.h>

namespace {

// The last vector may be partial: it goes through memory, element by element.
struct F32 {
  using T = float;
  using V = __m128;
  using M = int;
  static constexpr int kLanes = 4, kVectors = 2, kRows[] = {8, 6}, kDotRows = 2, kDotCols = 4, kCombine = 8, kBlock = 4, kWideBlock = 0;
  static INLINE V zero() { return _mm_setzero_ps(); }
  static INLINE V set1(T x) { return _mm_set1_ps(x); }
  static INLINE V load(const T* p) { return _mm_loadu_ps(p); }
  static INLINE void store(T* p, V v) { _mm_storeu_ps(p, v); }
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
  static INLINE V fma(V a, V b, V c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
  static INLINE V add(V a, V b) { return _mm_add_ps(a, b); }
  static constexpr int kSums = 1;
  static INLINE void sum(const V* v, T* to) {
    const V s = _mm_add_ps(*v, _mm_movehl_ps(*v, *v));
    *to = _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  static INLINE void transposeBlock(const T* src, int64_t s, T* dst, int64_t d) {
    V r0 = load(src), r1 = load(src + s), r2 = load(src + 2 * s), r3 = load(src + 3 * s);
    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    store(dst, r0);
    store(dst + d, r1);
    store(dst + 2 * d, r2);
    store(dst + 3 * d, r3);
  }
};

struct F64 {
  using T = double;
  using V = __m128d;
  using M = int;
  static constexpr int kLanes = 2, kVectors = 2, kRows[] = {8, 6}, kDotRows = 2, kDotCols = 4, kCombine = 8, kBlock = 2, kWideBlock = 0;
  static INLINE V zero() { return _mm_setzero_pd(); }
  static INLINE V set1(T x) { return _mm_set1_pd(x); }
  static INLINE V load(const T* p) { return _mm_loadu_pd(p); }
  static INLINE void store(T* p, V v) { _mm_storeu_pd(p, v); }
  static INLINE M mask(int n) { return n; }
  static INLINE V loadMask(const T* p, M n) { return n == 2 ? load(p) : _mm_load_sd(p); }
  static INLINE void storeMask(T* p, M n, V v) {
    if (n == 2) store(p, v);
    else _mm_store_sd(p, v);
  }
  static INLINE V fma(V a, V b, V c) { return _mm_add_pd(_mm_mul_pd(a, b), c); }
  static INLINE V add(V a, V b) { return _mm_add_pd(a, b); }
  static constexpr int kSums = 1;
  static INLINE void sum(const V* v, T* to) { *to = _mm_cvtsd_f64(_mm_add_sd(*v, _mm_unpackhi_pd(*v, *v))); }
  static INLINE void transposeBlock(const T* src, int64_t s, T* dst, int64_t d) {
    const V r0 = load(src), r1 = load(src + s);
    store(dst, _mm_unpacklo_pd(r0, r1));
    store(dst + d, _mm_unpackhi_pd(r0, r1));
  }
};

}  // namespace

#else

namespace {

template <typename Element>
struct Scalar {
  using T = Element;
  using V = Element;
  using M = int;
  static constexpr int kLanes = 1, kVectors = 4, kRows[] = {4, 4, 4, 4}, kDotRows = 2, kDotCols = 4, kCombine = 4,
                       kBlock = 1, kWideBlock = 0;
  static INLINE V zero() { return 0; }
  static INLINE V set1(T x) { return x; }
  static INLINE V load(const T* p) { return *p; }
  static INLINE void store(T* p, V v) { *p = v; }
  static INLINE M mask(int n) { return n; }
  static INLINE V loadMask(const T* p, M n) { return n ? *p : 0; }
  static INLINE void storeMask(T* p, M n, V v) {
    if (n) *p = v;
  }
  static INLINE V fma(V a, V b, V c) { return a * b + c; }
  static INLINE V add(V a, V b) { return a + b; }
  static constexpr int kSums = 1;
  static INLINE void sum(const V* v, T* to) { *to = *v; }
  static INLINE void transposeBlock(const T* src, int64_t, T* dst, int64_t) { *dst = *src; }
};
using F32 = Scalar<float>;
using F64 = Scalar<double>;

}  // namespace

#endif

#include "matmul_kernels.h"

namespace {

void widenF16(int64_t n, const uint16_t* src, float* dst) {
  for (int64_t i = 0; i < n; i++) dst[i] = nabla::halfToFloat(src[i]);
}
void narrowF16(int64_t n, const float* src, uint16_t* dst) {
  for (int64_t i = 0; i < n; i++) dst[i] = nabla::floatToHalf(src[i]);
}

}  // namespace

namespace nabla {
namespace baseline {
const MatmulIsa matmul = {&kF32, &kF64, widenF16, narrowF16};
}
}  // namespace nabla

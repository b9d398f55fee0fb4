// Register tiles of the convolutions, compiled once per instruction set. As in rows.cc: no standard containers, and
// nothing with external linkage but the table.
//
// A result is always summed in one order, whatever tile it falls in.
#include "conv.h"

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define WIDEST 4
#define ROWS {12, 12, 8, 6}
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define WIDEST 3
#define ROWS {12, 6, 4}
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define WIDEST 4
#define ROWS {12, 12, 8, 6}
#else
#define VECTOR_BYTES 16
#define WIDEST 3
#define ROWS {12, 6, 4}
#endif

#if defined(__GNUC__) || defined(__clang__)
#define UNROLL _Pragma("GCC unroll 64")
#define INLINE inline __attribute__((always_inline))
#else
#define UNROLL
#define INLINE inline
#endif

namespace nabla {
namespace NABLA_ISA {
namespace {

template <typename T>
struct Vector {
  typedef T V __attribute__((vector_size(VECTOR_BYTES)));
  typedef T Any __attribute__((vector_size(VECTOR_BYTES), aligned(alignof(T)), may_alias));
  static constexpr int64_t kLanes = VECTOR_BYTES / sizeof(T);
  static INLINE V load(const T* p) { return *reinterpret_cast<const Any*>(p); }
  static INLINE void store(T* p, V v) { *reinterpret_cast<Any*>(p) = v; }
};

// a·b + c in one rounding where the instruction set has it.
typedef Vector<float>::V F;
typedef Vector<double>::V D;
#if defined(__AVX512F__)
INLINE F fma(F a, F b, F c) { return (F)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE D fma(D a, D b, D c) { return (D)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE F fma(float a, F b, F c) { return (F)_mm512_fmadd_ps(_mm512_set1_ps(a), (__m512)b, (__m512)c); }
INLINE D fma(double a, D b, D c) { return (D)_mm512_fmadd_pd(_mm512_set1_pd(a), (__m512d)b, (__m512d)c); }
#elif defined(__AVX2__)
INLINE F fma(F a, F b, F c) { return (F)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE D fma(D a, D b, D c) { return (D)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE F fma(float a, F b, F c) { return (F)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c); }
INLINE D fma(double a, D b, D c) { return (D)_mm256_fmadd_pd(_mm256_set1_pd(a), (__m256d)b, (__m256d)c); }
#elif defined(__aarch64__)
INLINE F fma(F a, F b, F c) { return (F)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE D fma(D a, D b, D c) { return (D)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
INLINE F fma(float a, F b, F c) { return (F)vfmaq_n_f32((float32x4_t)c, (float32x4_t)b, a); }
INLINE D fma(double a, D b, D c) { return (D)vfmaq_n_f64((float64x2_t)c, (float64x2_t)b, a); }
#else
INLINE F fma(F a, F b, F c) { return a * b + c; }
INLINE D fma(D a, D b, D c) { return a * b + c; }
INLINE F fma(float a, F b, F c) { return b * a + c; }
INLINE D fma(double a, D b, D c) { return b * a + c; }
#endif

constexpr int kRows[] = ROWS, kMostRows = 12;

template <typename T, int R, int N>
void correlateTile(int64_t runs, int64_t depth, int64_t step, const T* w, int64_t wRow, const T* x,
                   const int64_t* offset, T* y, int64_t yRow, bool accumulate) {
  using S = Vector<T>;
  typename S::V acc[R][N];
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) acc[i][j] = typename S::V{};
  }
  constexpr int kGroups = (R + 2) / 3;  // rows are addressed as base, base + row, base + 2·row
  for (int64_t run = 0; run < runs; run++, w += step, offset += step) {
    const T* a[kGroups];
    UNROLL for (int g = 0; g < kGroups; g++) a[g] = w + 3 * g * wRow;
    for (int64_t k = 0; k < depth; k++) {
      const T* const from = x + offset[k];
      typename S::V row[N];
      UNROLL for (int j = 0; j < N; j++) row[j] = S::load(from + j * S::kLanes);
      UNROLL for (int i = 0; i < R; i++) {
        const T value = a[i / 3][(i % 3) * wRow];
        UNROLL for (int j = 0; j < N; j++) acc[i][j] = fma(value, row[j], acc[i][j]);
      }
      UNROLL for (int g = 0; g < kGroups; g++) a[g]++;
    }
  }
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) {
      T* const to = y + i * yRow + j * S::kLanes;
      S::store(to, accumulate ? S::load(to) + acc[i][j] : acc[i][j]);
    }
  }
}

template <typename T, int R, int N>
void gradientTile(int64_t P, int64_t Q, const T* dy, int64_t dyRow, const T* x, int64_t xP, int64_t xQ,
                  const int64_t* offset, T* sum, int64_t sumRow) {
  using S = Vector<T>;
  typename S::V acc[R][N];
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) acc[i][j] = S::load(sum + i * sumRow + j * S::kLanes);
  }
  constexpr int kGroups = (R + 2) / 3;
  const T* a[kGroups];
  UNROLL for (int g = 0; g < kGroups; g++) a[g] = dy + 3 * g * dyRow;
  for (int64_t p = 0; p < P; p++) {
    const T* b[N];
    UNROLL for (int j = 0; j < N; j++) b[j] = x + p * xP + offset[j];
    for (int64_t q = 0; q < Q; q++) {
      typename S::V row[N];
      UNROLL for (int j = 0; j < N; j++) row[j] = S::load(b[j]);
      UNROLL for (int j = 0; j < N; j++) b[j] += xQ;
      UNROLL for (int i = 0; i < R; i++) {
        const T value = a[i / 3][(i % 3) * dyRow];
        UNROLL for (int j = 0; j < N; j++) acc[i][j] = fma(value, row[j], acc[i][j]);
      }
      UNROLL for (int g = 0; g < kGroups; g++) a[g]++;
    }
  }
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) S::store(sum + i * sumRow + j * S::kLanes, acc[i][j]);
  }
}

// Integers as wide as the elements, for masks.
template <typename T>
struct Mask {
  typedef int32_t V __attribute__((vector_size(VECTOR_BYTES)));
};
template <>
struct Mask<double> {
  typedef int64_t V __attribute__((vector_size(VECTOR_BYTES)));
};

template <typename T, int N>
void dotsTile(int64_t rows, int64_t n, const T* dy, int64_t dyRow, const T* x, int64_t xRow, const int64_t* offset,
              T* sum) {
  using S = Vector<T>;
  using M = typename Mask<T>::V;
  const int64_t rest = n % S::kLanes, whole = n - rest;
  M mask;
  for (int l = 0; l < S::kLanes; l++) mask[l] = l < rest ? -1 : 0;
  typename S::V acc[N];
  const T* at[N];
  UNROLL for (int k = 0; k < N; k++) acc[k] = typename S::V{}, at[k] = x + offset[k];
  for (int64_t r = 0; r < rows; r++, dy += dyRow) {
    int64_t i = 0;
    for (; i < whole; i += S::kLanes) {
      const typename S::V d = S::load(dy + i);
      UNROLL for (int k = 0; k < N; k++) acc[k] = fma(d, S::load(at[k] + i), acc[k]);
    }
    if (rest > 0) {
      const typename S::V d = S::load(dy + i);
      UNROLL for (int k = 0; k < N; k++)
        acc[k] = fma(d, (typename S::V)((M)S::load(at[k] + i) & mask), acc[k]);
    }
    UNROLL for (int k = 0; k < N; k++) at[k] += xRow;
  }
  UNROLL for (int k = 0; k < N; k++) {
    T lane[S::kLanes];
    S::store(lane, acc[k]);
    for (int64_t half = S::kLanes / 2; half > 0; half /= 2)
      for (int64_t l = 0; l < half; l++) lane[l] += lane[l + half];
    sum[k] += lane[0];
  }
}

constexpr int kDots = 9;

template <typename T>
struct Tiles {
  decltype(&correlateTile<T, 1, 1>) correlate[kMostRows][WIDEST] = {};
  decltype(&gradientTile<T, 1, 1>) gradient[kMostRows][WIDEST] = {};
  decltype(&dotsTile<T, 1>) dots[kDots] = {};
  template <int R, int N>
  constexpr void fill() {
    correlate[R - 1][N - 1] = correlateTile<T, R, N>;
    gradient[R - 1][N - 1] = gradientTile<T, R, N>;
    if constexpr (R > 1) fill<R - 1, N>();
    else if constexpr (N > 1) fill<kRows[N - 2], N - 1>();
  }
  template <int N>
  constexpr void fillDots() {
    dots[N - 1] = dotsTile<T, N>;
    if constexpr (N > 1) fillDots<N - 1>();
  }
  constexpr Tiles() {
    fill<kRows[WIDEST - 1], WIDEST>();
    fillDots<kDots>();
  }
};
template <typename T>
constexpr Tiles<T> kTiles{};

// Cuts `count` evenly in parts of at most `most`: calls body(begin, size).
template <typename Body>
INLINE void evenly(int64_t count, int64_t most, Body body) {
  if (count <= most) return body(0, count);
  const int64_t parts = (count + most - 1) / most, each = count / parts, rest = count - each * parts;
  int64_t at = 0;
  for (int64_t i = 0; i < parts; i++) {
    const int64_t size = each + (i < rest);
    body(at, size);
    at += size;
  }
}

template <typename T>
void correlate(int64_t rows, int64_t n, int64_t runs, int64_t depth, int64_t step, const T* w, int64_t wRow, const T* x,
               const int64_t* offset, T* y, int64_t yRow, bool accumulate) {
  constexpr int64_t kLanes = Vector<T>::kLanes;
  evenly((n + kLanes - 1) / kLanes, WIDEST, [&](int64_t vector, int64_t width) {
    const int64_t at = vector * kLanes;
    evenly(rows, kRows[width - 1], [&](int64_t row, int64_t height) {
      kTiles<T>.correlate[height - 1][width - 1](runs, depth, step, w + row * wRow, wRow, x + at, offset,
                                                 y + row * yRow + at, yRow, accumulate);
    });
  });
}

template <typename T>
void gradient(int64_t rows, int64_t vectors, int64_t P, int64_t Q, const T* dy, int64_t dyRow, const T* x, int64_t xP,
              int64_t xQ, const int64_t* offset, T* sum, int64_t sumRow) {
  evenly(rows, kRows[vectors < WIDEST ? vectors - 1 : WIDEST - 1], [&](int64_t row, int64_t height) {
    evenly(vectors, WIDEST, [&](int64_t vector, int64_t width) {
      kTiles<T>.gradient[height - 1][width - 1](P, Q, dy + row * dyRow, dyRow, x, xP, xQ, offset + vector,
                                                sum + row * sumRow + vector * Vector<T>::kLanes, sumRow);
    });
  });
}

template <typename T>
void dots(int64_t taps, int64_t rows, int64_t n, const T* dy, int64_t dyRow, const T* x, int64_t xRow,
          const int64_t* offset, T* sum) {
  evenly(taps, kDots, [&](int64_t first, int64_t count) {
    kTiles<T>.dots[count - 1](rows, n, dy, dyRow, x, xRow, offset + first, sum + first);
  });
}

// The even lanes of two vectors; and one lane of each in turn, low half and high half.
template <int n>
struct Lanes;
template <>
struct Lanes<16> {
  template <typename V>
  static INLINE V even(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  }
  template <typename V>  // b's odd lanes stay
  static INLINE V low(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 17, 1, 19, 2, 21, 3, 23, 4, 25, 5, 27, 6, 29, 7, 31);
  }
  template <typename V>
  static INLINE V high(V a, V b) {
    return __builtin_shufflevector(a, b, 8, 17, 9, 19, 10, 21, 11, 23, 12, 25, 13, 27, 14, 29, 15, 31);
  }
};
template <>
struct Lanes<8> {
  template <typename V>
  static INLINE V even(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  }
  template <typename V>
  static INLINE V low(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 9, 1, 11, 2, 13, 3, 15);
  }
  template <typename V>
  static INLINE V high(V a, V b) {
    return __builtin_shufflevector(a, b, 4, 9, 5, 11, 6, 13, 7, 15);
  }
};
template <>
struct Lanes<4> {
  template <typename V>
  static INLINE V even(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 2, 4, 6);
  }
  template <typename V>
  static INLINE V low(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 5, 1, 7);
  }
  template <typename V>
  static INLINE V high(V a, V b) {
    return __builtin_shufflevector(a, b, 2, 5, 3, 7);
  }
};
template <>
struct Lanes<2> {
  template <typename V>
  static INLINE V even(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 2);
  }
  template <typename V>
  static INLINE V low(V a, V b) {
    return __builtin_shufflevector(a, b, 0, 3);
  }
  template <typename V>
  static INLINE V high(V a, V b) {
    return __builtin_shufflevector(a, b, 1, 3);
  }
};

#if defined(__AVX512F__)
INLINE F loadSome(const float* p, unsigned mask) { return (F)_mm512_maskz_loadu_ps((__mmask16)mask, p); }
INLINE D loadSome(const double* p, unsigned mask) { return (D)_mm512_maskz_loadu_pd((__mmask8)mask, p); }
INLINE void storeSome(float* p, unsigned mask, F v) { _mm512_mask_storeu_ps(p, (__mmask16)mask, (__m512)v); }
INLINE void storeSome(double* p, unsigned mask, D v) { _mm512_mask_storeu_pd(p, (__mmask8)mask, (__m512d)v); }

// y[i] = x[2·i] and y[2·i] = x[i] for i in [0, n), in every row.
template <typename T>
INLINE void takeEven(int64_t rows, int64_t n, const T* x, int64_t xRow, T* y, int64_t yRow) {
  using S = Vector<T>;
  constexpr unsigned kAll = (1u << S::kLanes) - 1;
  for (int64_t i = 0; i < n; i += S::kLanes) {
    const int64_t count = n - i < S::kLanes ? n - i : S::kLanes;
    const uint64_t read = (uint64_t(1) << (2 * count - 1)) - 1;
    const unsigned low = unsigned(read) & kAll, high = unsigned(read >> S::kLanes);
    const unsigned written = unsigned((uint64_t(1) << count) - 1);
    for (int64_t r = 0; r < rows; r++) {
      const T* const from = x + r * xRow + 2 * i;
      storeSome(y + r * yRow + i, written, Lanes<S::kLanes>::even(loadSome(from, low), loadSome(from + S::kLanes, high)));
    }
  }
}

template <typename T>
INLINE void putEven(int64_t rows, int64_t n, const T* x, int64_t xRow, T* y, int64_t yRow) {
  using S = Vector<T>;
  constexpr unsigned kAll = (1u << S::kLanes) - 1;
  for (int64_t i = 0; i < n; i += S::kLanes) {
    const int64_t count = n - i < S::kLanes ? n - i : S::kLanes;
    const uint64_t written = ((uint64_t(1) << (2 * count - 1)) - 1) & 0x55555555u;
    const unsigned low = unsigned(written) & kAll, high = unsigned(written >> S::kLanes);
    const unsigned read = unsigned((uint64_t(1) << count) - 1);
    for (int64_t r = 0; r < rows; r++) {
      T* const to = y + r * yRow + 2 * i;
      const typename S::V v = loadSome(x + r * xRow + i, read);
      storeSome(to, low, Lanes<S::kLanes>::low(v, v));
      storeSome(to + S::kLanes, high, Lanes<S::kLanes>::high(v, v));
    }
  }
}
#else
// y[i] = x[2·i] and y[2·i] = x[i] for i in [i, n): by `kLanes`, then by half as many, and so on. Never the last one by
// vectors: it would touch one element too many.
template <typename T, int kLanes = Vector<T>::kLanes>
INLINE void takeEven(int64_t n, const T* x, T* y, int64_t i) {
  if constexpr (kLanes > 1) {
    typedef T Any __attribute__((vector_size(kLanes * sizeof(T)), aligned(alignof(T)), may_alias));
    for (; i + kLanes < n; i += kLanes)
      *reinterpret_cast<Any*>(y + i) = Lanes<kLanes>::even(*reinterpret_cast<const Any*>(x + 2 * i),
                                                           *reinterpret_cast<const Any*>(x + 2 * i + kLanes));
    takeEven<T, kLanes / 2>(n, x, y, i);
  } else {
    for (; i < n; i++) y[i] = x[2 * i];
  }
}

template <typename T, int kLanes = Vector<T>::kLanes>
INLINE void putEven(int64_t n, const T* x, T* y, int64_t i) {
  if constexpr (kLanes > 1) {
    typedef T Any __attribute__((vector_size(kLanes * sizeof(T)), aligned(alignof(T)), may_alias));
    for (; i + kLanes < n; i += kLanes) {
      const Any v = *reinterpret_cast<const Any*>(x + i);
      Any* const to = reinterpret_cast<Any*>(y + 2 * i);
      Any* const next = reinterpret_cast<Any*>(y + 2 * i + kLanes);
      *to = Lanes<kLanes>::low(v, *to);
      *next = Lanes<kLanes>::high(v, *next);
    }
    putEven<T, kLanes / 2>(n, x, y, i);
  } else {
    for (; i < n; i++) y[2 * i] = x[i];
  }
}

template <typename T>
INLINE void takeEven(int64_t rows, int64_t n, const T* x, int64_t xRow, T* y, int64_t yRow) {
  for (int64_t r = 0; r < rows; r++) takeEven(n, x + r * xRow, y + r * yRow, 0);
}
template <typename T>
INLINE void putEven(int64_t rows, int64_t n, const T* x, int64_t xRow, T* y, int64_t yRow) {
  for (int64_t r = 0; r < rows; r++) putEven(n, x + r * xRow, y + r * yRow, 0);
}
#endif

template <typename T>
void take(int64_t rows, int64_t n, const T* x, int64_t xRow, int64_t step, T* y, int64_t yRow) {
  if (step == 2) return takeEven(rows, n, x, xRow, y, yRow);
  for (int64_t r = 0; r < rows; r++, x += xRow, y += yRow)
    for (int64_t i = 0; i < n; i++) y[i] = x[i * step];
}

template <typename T>
void put(int64_t rows, int64_t n, const T* x, int64_t xRow, T* y, int64_t yRow, int64_t step) {
  if (step == 2) return putEven(rows, n, x, xRow, y, yRow);
  for (int64_t r = 0; r < rows; r++, x += xRow, y += yRow)
    for (int64_t i = 0; i < n; i++) y[i * step] = x[i];
}

template <typename T>
constexpr ConvKernels<T> kernels = {Vector<T>::kLanes, correlate<T>, gradient<T>, dots<T>, take<T>, put<T>};

}  // namespace

const ConvIsa conv = {kernels<float>, kernels<double>};

}  // namespace NABLA_ISA
}  // namespace nabla

// Float32 row loops, compiled once per instruction set. No standard containers or templates here, and nothing with
// external linkage but the table: an inline function shared with other sources could end up in the binary in this
// file's instruction set.
#include "rows.h"

#include <math.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

namespace nabla {
namespace NABLA_ISA {
namespace {

typedef float F __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef uint64_t W __attribute__((vector_size(4 * LANES)));
typedef float FAny __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline F load(const float* p) { return *reinterpret_cast<const FAny*>(p); }
inline void store(float* p, F v) { *reinterpret_cast<FAny*>(p) = v; }
inline F all(float v) { return F{} + v; }

// A tail of n < LANES values, the rest filled with `other`.
inline F loadTail(const float* p, int64_t n, float other) {
#if LANES == 16
  return (F)_mm512_mask_loadu_ps((__m512)all(other), __mmask16((1u << n) - 1), p);
#elif LANES == 8
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return (F)_mm256_blendv_ps((__m256)all(other), _mm256_maskload_ps(p, mask), (__m256)mask);
#else
  return F{p[0], n > 1 ? p[1] : other, n > 2 ? p[2] : other, other};
#endif
}
inline void storeTail(float* p, int64_t n, F v) {
#if LANES == 16
  _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
#elif LANES == 8
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  _mm256_maskstore_ps(p, mask, (__m256)v);
#else
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

// Runs body(load, store) over a row, whole vectors first and then the tail.
template <typename Body>
inline void overRow(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    body([=](const float* p, float) { return load(p + i); }, [=](float* p, F v) { store(p + i, v); });
  if (i < n)
    body([=](const float* p, float other) { return loadTail(p + i, n - i, other); },
         [=](float* p, F v) { storeTail(p + i, n - i, v); });
}

// The three reductions: their neutral element, their step and how two results are combined.
struct Sum {
  static constexpr float neutral = 0;
  static F step(F a, F x) { return a + x; }
  static float join(float a, float b) { return a + b; }
};
struct Max {
  static constexpr float neutral = -__builtin_inff();
  static F step(F a, F x) { return ((x > a) | (x != x)) ? x : a; }
  static float join(float a, float b) { return b > a || b != b ? b : a; }
};
struct Min {
  static constexpr float neutral = __builtin_inff();
  static F step(F a, F x) { return ((x < a) | (x != x)) ? x : a; }
  static float join(float a, float b) { return b < a || b != b ? b : a; }
};

// A number known to the compiler, as an argument.
template <int n>
struct Constant {
  static constexpr int value = n;
};

// 64 lanes on every instruction set, joined by halves: lane l takes elements l, l + 64, … of the leaf.
constexpr int kWide = 64, kVectors = kWide / LANES;

// Lane l of the result is lane l + half of v, for l below half.
template <int half>
inline F upper(F v) {
#if LANES == 16
  return __builtin_shufflevector(v, v, half, half + 1, (half + 2) % 16, (half + 3) % 16, (half + 4) % 16,
                                 (half + 5) % 16, (half + 6) % 16, (half + 7) % 16, 8, 9, 10, 11, 12, 13, 14, 15);
#elif LANES == 8
  return __builtin_shufflevector(v, v, half, half + 1, (half + 2) % 8, (half + 3) % 8, 4, 5, 6, 7);
#else
  return __builtin_shufflevector(v, v, half, half + 1, 2, 3);
#endif
}

template <typename R>
inline float foldLanes(F a) {
#if LANES == 16
  a = R::step(a, upper<8>(a));
#endif
#if LANES >= 8
  a = R::step(a, upper<4>(a));
#endif
  a = R::step(a, upper<2>(a));
  a = R::step(a, upper<1>(a));
  return a[0];
}
template <typename R>
inline float joinLanes(F* acc) {
  for (int half = kVectors / 2; half > 0; half /= 2)
    for (int v = 0; v < half; v++) acc[v] = R::step(acc[v], acc[v + half]);
  return foldLanes<R>(acc[0]);
}

// R over at(i) for i in [0, n), where vector(i) gives LANES of them and tail(i, count) fewer.
template <typename R, typename Vector, typename Tail>
inline float leaf(int64_t n, Vector vector, Tail tail) {
  F acc[kVectors];
  for (int v = 0; v < kVectors; v++) acc[v] = all(R::neutral);
  int64_t i = 0;
  for (; i + kWide <= n; i += kWide)
    for (int v = 0; v < kVectors; v++) acc[v] = R::step(acc[v], vector(i + v * LANES));
  for (int v = 0; v < kVectors && i < n; v++, i += LANES)
    acc[v] = R::step(acc[v], i + LANES <= n ? vector(i) : tail(i, n - i));
  return joinLanes<R>(acc);
}

template <typename R>
float reduceRow(const float* x, int64_t n) {
  return leaf<R>(
      n, [=](int64_t i) { return load(x + i); },
      [=](int64_t i, int64_t count) { return loadTail(x + i, count, R::neutral); });
}

template <typename R>
void reduceRows(const float* x, int64_t rows, int64_t stride, int64_t n, float* y) {
  if (n >= LANES) {
    for (int64_t r = 0; r < rows; r++) y[r] = reduceRow<R>(x + r * stride, n);
  } else {  // the other accumulators of `leaf` would stay neutral
    for (int64_t r = 0; r < rows; r++)
      y[r] = foldLanes<R>(R::step(all(R::neutral), loadTail(x + r * stride, n, R::neutral)));
  }
}

// The rows of a few columns lie in memory without gaps: as many of them as fill whole groups of 16 values are summed as
// one long row, which is folded at the end.
template <typename R>
void reducePacked(const float* x, int64_t rows, int64_t columns, float* y) {
  const int64_t period = packedRows(columns), length = period * columns, whole = rows / period * period;
  float acc[16 * kPacked];
  for (int64_t j = 0; j < length; j++) acc[j] = R::neutral;
  int64_t v = 0;
  const auto sweep = [&](auto width) {  // `width` vectors stay in registers for all rows
    constexpr int kWidth = decltype(width)::value;
    for (; v + kWidth * LANES <= length; v += kWidth * LANES) {
      F a[kWidth];
      for (int k = 0; k < kWidth; k++) a[k] = load(acc + v + k * LANES);
      for (int64_t i = 0; i < whole * columns; i += length)
        for (int k = 0; k < kWidth; k++) a[k] = R::step(a[k], load(x + i + v + k * LANES));
      for (int k = 0; k < kWidth; k++) store(acc + v + k * LANES, a[k]);
    }
  };
  sweep(Constant<8>{});
  sweep(Constant<4>{});
  sweep(Constant<1>{});
  for (int64_t i = whole * columns; i < rows * columns; i++) acc[i - whole * columns] = R::join(acc[i - whole * columns], x[i]);
  for (int64_t half = period / 2; half > 0; half /= 2)
    for (int64_t j = 0; j < half * columns; j++) acc[j] = R::join(acc[j], acc[j + half * columns]);
  for (int64_t j = 0; j < columns; j++) y[j] = acc[j];
}

// Eight rows at a time are read forward and joined in pairs: y is touched once for them.
template <typename R>
void reduceColumns(const float* x, int64_t rows, int64_t stride, int64_t columns, float* y) {
  if (stride == columns && columns <= kPacked && rows >= packedRows(columns)) return reducePacked<R>(x, rows, columns, y);
  const auto pass = [&](int64_t i, auto group) {
    constexpr int kGroup = decltype(group)::value;
    const float* const at = x + i * stride;
    const auto combine = [&](auto get) {
      F v[kGroup];
      for (int k = 0; k < kGroup; k++) v[k] = get(at + k * stride);
      for (int half = kGroup / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) v[k] = R::step(v[k], v[k + half]);
      return v[0];
    };
    int64_t j = 0;
    for (; j + LANES <= columns; j += LANES) {
      const F sum = combine([=](const float* p) { return load(p + j); });
      store(y + j, i == 0 ? sum : R::step(load(y + j), sum));
    }
    if (j < columns) {
      const int64_t rest = columns - j;
      const F sum = combine([=](const float* p) { return loadTail(p + j, rest, 0); });
      storeTail(y + j, rest, i == 0 ? sum : R::step(loadTail(y + j, rest, 0), sum));
    }
  };
  int64_t i = 0;
  for (; i + 8 <= rows; i += 8) pass(i, Constant<8>{});
  for (; i + 2 <= rows; i += 2) pass(i, Constant<2>{});
  if (i < rows) pass(i, Constant<1>{});
}

// Sum of a long row: leaves of kLeaf, joined pairwise. sumLeaf(i, count) sums a leaf.
template <typename Leaf>
float pairwise(int64_t begin, int64_t n, const Leaf& sumLeaf) {
  if (n <= kLeaf) return sumLeaf(begin, n);
  const int64_t left = (n / 2 + kLeaf - 1) / kLeaf * kLeaf;
  return pairwise(begin, left, sumLeaf) + pairwise(begin + left, n - left, sumLeaf);
}
inline float sumAll(const float* x, int64_t n) {
  return pairwise(0, n, [=](int64_t i, int64_t count) { return reduceRow<Sum>(x + i, count); });
}
// Σ (a − shift)·(b − shift), where what lies behind the end counts 0.
inline float dotAll(const float* a, const float* b, float shift, int64_t n) {
  const F s = all(shift);
  return pairwise(0, n, [=](int64_t begin, int64_t count) {
    return leaf<Sum>(
        count, [=](int64_t i) { return (load(a + begin + i) - s) * (load(b + begin + i) - s); },
        [=](int64_t i, int64_t rest) {
          return (loadTail(a + begin + i, rest, shift) - s) * (loadTail(b + begin + i, rest, shift) - s);
        });
  });
}
float maxAll(const float* x, int64_t n) {
  float m = Max::neutral;
  for (int64_t i = 0; i < n; i += kLeaf) m = Max::join(m, reduceRow<Max>(x + i, n - i < kLeaf ? n - i : kLeaf));
  return m;
}

// e^x within 2 ulp for x up to 88; 0 below the normal numbers. x = n·log 2 + r, |r| <= ½ log 2, Taylor's series to r⁷/7!
// (the next term is below 2^-27).
inline F exp(F x) {
  const F lowest = all(-87.33f);
  const F clamped = x < lowest ? lowest : x;
  const F shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5·2^23: the integer n lands in the low bits
  const F n = shifted - 12582912.0f;
  const F r = (clamped - n * 0.693145752f) - n * 1.42860677e-6f;
  F p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const F power = reinterpret_cast<F>((reinterpret_cast<U>(shifted) + 127u) << 23);
  return x < lowest ? F{} : p * power;
}

// Σ e^(x − m), each term also stored when y is given.
template <bool keep>
float sumExp(const float* x, float m, float* y, int64_t n) {
  F acc[4] = {};
  int64_t i = 0;
  const auto step = [&](int64_t at, int v) {
    const F e = exp(load(x + at) - m);
    if (keep) store(y + at, e);
    acc[v] += e;
  };
  for (; i + 4 * LANES <= n; i += 4 * LANES)
    for (int v = 0; v < 4; v++) step(i + v * LANES, v);
  for (; i + LANES <= n; i += LANES) step(i, 0);
  if (i < n) {
    const F e = exp(loadTail(x + i, n - i, -__builtin_inff()) - m);  // a row of −∞ alone is NaN here, as it should be
    if (keep) storeTail(y + i, n - i, e);
    float t[LANES];
    store(t, e);
    acc[1] += loadTail(t, n - i, 0);  // only the terms of the row
  }
  const F total = (acc[0] + acc[1]) + (acc[2] + acc[3]);
  float lane[LANES];
  store(lane, total);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lane[l] += lane[l + half];
  return lane[0];
}

void softmax(const float* x, float* y, int64_t n) {
  const float m = maxAll(x, n);
  const float scale = 1.0f / sumExp<true>(x, m, y, n);
  overRow(n, [=](auto get, auto put) { put(y, get(y, 0) * scale); });
}

void logSoftmax(const float* x, float* y, int64_t n) {
  const float m = maxAll(x, n);
  const float log = logf(sumExp<false>(x, m, nullptr, n));
  overRow(n, [=](auto get, auto put) { put(y, (get(x, 0) - m) - log); });
}

void softmaxGrad(const float* dy, const float* y, float* dx, int64_t n) {
  const float dot = dotAll(dy, y, 0, n);
  overRow(n, [=](auto get, auto put) { put(dx, get(y, 0) * (get(dy, 0) - dot)); });
}

void logSoftmaxGrad(const float* dy, const float* y, float* dx, int64_t n) {
  const float sum = sumAll(dy, n);
  overRow(n, [=](auto get, auto put) { put(dx, get(dy, 0) - exp(get(y, 0)) * sum); });
}

void scoresGrad(const float* p, float dot, float* d, int64_t n) {
  overRow(n, [=](auto get, auto put) { put(d, get(p, 0) * (get(d, 0) - dot)); });
}

// Sum of at(row) over rows, joined pairwise.
template <typename At>
float overRows(int64_t begin, int64_t rows, const At& at) {
  if (rows == 1) return at(begin);
  const int64_t left = rows / 2;
  return overRows(begin, left, at) + overRows(begin + left, rows - left, at);
}

void normalize(const float* x, int64_t xStride, int64_t rows, int64_t n, float eps, float* xhat, int64_t yStride,
               float* mean, float* rstd) {
  const float count = float(rows * n);
  const float m = overRows(0, rows, [=](int64_t r) { return sumAll(x + r * xStride, n); }) / count;
  const float squares = overRows(0, rows, [=](int64_t r) { return dotAll(x + r * xStride, x + r * xStride, m, n); });
  const float scale = 1.0f / sqrtf(squares / count + eps);
  for (int64_t r = 0; r < rows; r++, x += xStride, xhat += yStride)
    overRow(n, [=](auto get, auto put) { put(xhat, (get(x, 0) - m) * scale); });
  *mean = m;
  *rstd = scale;
}

void normalizeGrad(const float* dy, int64_t dyStride, const float* xhat, int64_t xStride, int64_t rows, int64_t n,
                   float rstd, float* dx, int64_t dxStride) {
  const float count = float(rows * n);
  const float a = overRows(0, rows, [=](int64_t r) { return sumAll(dy + r * dyStride, n); }) / count;
  const float b = overRows(0, rows, [=](int64_t r) { return dotAll(dy + r * dyStride, xhat + r * xStride, 0, n); }) / count;
  for (int64_t r = 0; r < rows; r++, dy += dyStride, xhat += xStride, dx += dxStride)
    overRow(n, [=](auto get, auto put) { put(dx, (get(dy, 0) - a - get(xhat, 0) * b) * rstd); });
}

// Calls body(j, load, store) for each vector of columns.
template <typename Body>
inline void overColumns(int64_t columns, Body body) {
  int64_t j = 0;
  for (; j + LANES <= columns; j += LANES)
    body(j, [=](const float* p) { return load(p + j); }, [=](float* p, F v) { store(p + j, v); });
  if (j < columns) {
    const int64_t n = columns - j;
    body(j, [=](const float* p) { return loadTail(p + j, n, 0); }, [=](float* p, F v) { storeTail(p + j, n, v); });
  }
}
// Σ at(row), a vector of columns: four sums over runs of 64 rows, the runs joined pairwise.
template <typename At>
F sumRowsOf(int64_t begin, int64_t rows, const At& at) {
  constexpr int64_t kRun = 64;
  if (rows > kRun) {
    const int64_t left = (rows / 2 + kRun - 1) / kRun * kRun;
    return sumRowsOf(begin, left, at) + sumRowsOf(begin + left, rows - left, at);
  }
  F acc[4] = {};
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4)
    for (int k = 0; k < 4; k++) acc[k] += at(begin + i + k);
  for (; i < rows; i++) acc[0] += at(begin + i);
  return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

void normalizeColumns(const float* x, int64_t xStride, int64_t rows, int64_t columns, float eps, float* xhat,
                      int64_t yStride, float* mean, float* rstd) {
  const float count = float(rows);
  overColumns(columns, [=](int64_t, auto get, auto put) {
    const F m = sumRowsOf(0, rows, [=](int64_t r) { return get(x + r * xStride); }) / count;
    const F var = sumRowsOf(0, rows, [=](int64_t r) {
      const F d = get(x + r * xStride) - m;
      return d * d;
    }) / count;
    F scale = var + eps;
    for (int l = 0; l < LANES; l++) scale[l] = 1.0f / sqrtf(scale[l]);
    for (int64_t r = 0; r < rows; r++) put(xhat + r * yStride, (get(x + r * xStride) - m) * scale);
    put(mean, m);
    put(rstd, scale);
  });
}

void normalizeGradColumns(const float* dy, int64_t dyStride, const float* xhat, int64_t xStride, int64_t rows,
                          int64_t columns, const float* rstd, float* dx, int64_t dxStride) {
  const float count = float(rows);
  overColumns(columns, [=](int64_t, auto get, auto put) {
    const F a = sumRowsOf(0, rows, [=](int64_t r) { return get(dy + r * dyStride); }) / count;
    const F b = sumRowsOf(0, rows, [=](int64_t r) { return get(dy + r * dyStride) * get(xhat + r * xStride); }) / count;
    const F scale = get(rstd);
    for (int64_t r = 0; r < rows; r++)
      put(dx + r * dxStride, (get(dy + r * dyStride) - a - get(xhat + r * xStride) * b) * scale);
  });
}

// Up to LANES short rows side by side, a row a lane.
constexpr int64_t kNarrow = 16;
inline void loadLanes(const float* x, int64_t pitch, int64_t rows, int64_t n, float (&t)[kNarrow][LANES]) {
  for (int64_t r = 0; r < LANES; r++)
    for (int64_t j = 0; j < n; j++) t[j][r] = x[(r < rows ? r : 0) * pitch + j];
}

void crossEntropy(const float* x, int64_t pitch, const int32_t* label, int64_t rows, int64_t n, float* loss,
                  float* parts) {
  const auto finish = [=](int64_t r, const float* row, float m, float sum) {
    const float log = logf(sum);
    parts[2 * r] = m;
    parts[2 * r + 1] = log;
    loss[r] = label[r] < 0 ? 0.0f : log - (row[label[r]] - m);
  };
  if (n > kNarrow) {
    for (int64_t r = 0; r < rows; r++, x += pitch) {
      const float m = maxAll(x, n);
      finish(r, x, m, sumExp<false>(x, m, nullptr, n));
    }
    return;
  }
  for (int64_t r = 0; r < rows; r += LANES, x += LANES * pitch) {
    const int64_t count = rows - r < LANES ? rows - r : LANES;
    float t[kNarrow][LANES], most[LANES], sums[LANES];
    loadLanes(x, pitch, count, n, t);
    F m = all(Max::neutral), sum = {};
    for (int64_t j = 0; j < n; j++) m = Max::step(m, load(t[j]));
    for (int64_t j = 0; j < n; j++) sum += exp(load(t[j]) - m);
    store(most, m);
    store(sums, sum);
    for (int64_t l = 0; l < count; l++) finish(r + l, x + l * pitch, most[l], sums[l]);
  }
}

void crossEntropyGrad(const float* x, int64_t pitch, const int32_t* label, const float* weight, const float* parts,
                      int64_t rows, int64_t n, float* dx, int64_t dxPitch) {
  if (n > kNarrow) {
    for (int64_t r = 0; r < rows; r++, x += pitch, dx += dxPitch) {
      if (label[r] < 0) {
        for (int64_t i = 0; i < n; i++) dx[i] = 0;
        continue;
      }
      const float m = parts[2 * r], log = parts[2 * r + 1], w = weight[r];
      const float own = exp(all((x[label[r]] - m) - log))[0];
      overRow(n, [=](auto get, auto put) { put(dx, exp((get(x, 0) - m) - log) * w); });
      dx[label[r]] = (own - 1) * w;
    }
    return;
  }
  for (int64_t r = 0; r < rows; r += LANES, x += LANES * pitch, dx += LANES * dxPitch) {
    const int64_t count = rows - r < LANES ? rows - r : LANES;
    float t[kNarrow][LANES], lane[3][LANES] = {};
    loadLanes(x, pitch, count, n, t);
    for (int64_t l = 0; l < count; l++) {
      lane[0][l] = parts[2 * (r + l)];
      lane[1][l] = parts[2 * (r + l) + 1];
      lane[2][l] = weight[r + l];
    }
    const F m = load(lane[0]), log = load(lane[1]), w = load(lane[2]);
    for (int64_t j = 0; j < n; j++) store(t[j], exp((load(t[j]) - m) - log));
    for (int64_t l = 0; l < count; l++)
      if (label[r + l] >= 0) t[label[r + l]][l] -= 1;
    for (int64_t j = 0; j < n; j++) store(t[j], load(t[j]) * w);
    for (int64_t l = 0; l < count; l++) {
      const bool counts = label[r + l] >= 0;
      for (int64_t j = 0; j < n; j++) dx[l * dxPitch + j] = counts ? t[j][l] : 0.0f;
    }
  }
}

void copyBlock(const float* x, int64_t xStride, int64_t rows, int64_t n, float* y, int64_t yStride) {
  for (int64_t r = 0; r < rows; r++, x += xStride, y += yStride) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store(y + i, load(x + i));
    if (i < n) storeTail(y + i, n - i, loadTail(x + i, n - i, 0));
  }
}

// Products of the low halves of 64-bit lanes.
inline W multiplyLow(W a, W b) {
#if LANES == 16
  return (W)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);  // unmasked, gcc 12 warns
#elif LANES == 8
  return (W)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (W)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// Philox 4x32-10 as in core/philox.h with a block a lane: its words are the low halves of c0 … c3, whatever the high
// halves hold. Two groups of blocks at a time hide the latency of the products.
void uniform(uint64_t seed, uint64_t block, int64_t blocks, float* y) {
  constexpr int kGroups = 2, kLanes = LANES / 2;
  W lane;
  for (int l = 0; l < kLanes; l++) lane[l] = uint64_t(l);
  const W m0 = W{} + 0xD2511F53u, m1 = W{} + 0xCD9E8D57u;
  for (int64_t first = 0; first < blocks; first += kGroups * kLanes) {
    W c0[kGroups], c1[kGroups], c2[kGroups], c3[kGroups];
    for (int g = 0; g < kGroups; g++) {
      c0[g] = lane + (block + uint64_t(first) + uint64_t(g * kLanes));
      c1[g] = c0[g] >> 32;
      c2[g] = c3[g] = W{};
    }
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; round++) {
      for (int g = 0; g < kGroups; g++) {
        const W p0 = multiplyLow(c0[g], m0), p1 = multiplyLow(c2[g], m1);
        c0[g] = (p1 >> 32) ^ c1[g] ^ (W{} + k0);
        c1[g] = p1;
        c2[g] = (p0 >> 32) ^ c3[g] ^ (W{} + k1);
        c3[g] = p0;
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    for (int g = 0; g < kGroups; g++) {
      const W low = (c0[g] & 0xFFFFFFFFu) | c1[g] << 32, high = (c2[g] & 0xFFFFFFFFu) | c3[g] << 32;
      float words[2][LANES];
      store(words[0], __builtin_convertvector((I)((U)low >> 8), F) * 0x1p-24f);
      store(words[1], __builtin_convertvector((I)((U)high >> 8), F) * 0x1p-24f);
      const int64_t from = first + g * kLanes, count = blocks - from < kLanes ? blocks - from : kLanes;
      for (int64_t b = 0; b < count; b++)
        for (int w = 0; w < 4; w++) y[4 * (from + b) + w] = words[w / 2][2 * b + w % 2];
    }
  }
}

}  // namespace

const RowKernels rows = {reduceRow<Sum>,
                         reduceRow<Max>,
                         reduceRow<Min>,
                         reduceRows<Sum>,
                         reduceRows<Max>,
                         reduceRows<Min>,
                         reduceColumns<Sum>,
                         reduceColumns<Max>,
                         reduceColumns<Min>,
                         softmax,
                         logSoftmax,
                         softmaxGrad,
                         logSoftmaxGrad,
                         normalize,
                         normalizeGrad,
                         normalizeColumns,
                         normalizeGradColumns,
                         crossEntropy,
                         crossEntropyGrad,
                         sumExp<true>,
                         scoresGrad,
                         copyBlock,
                         uniform};

}  // namespace NABLA_ISA
}  // namespace nabla

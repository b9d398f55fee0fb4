// Float32 rows of pooling windows, compiled once per instruction set. As in rows.cc: no standard containers, and nothing
// with external linkage but the table.
#include "pool.h"

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
typedef int32_t I __attribute__((vector_size(4 * LANES)));
typedef int32_t HalfI __attribute__((vector_size(2 * LANES)));
typedef int64_t L __attribute__((vector_size(4 * LANES)));
typedef float FAny __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t IAny __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int64_t LAny __attribute__((vector_size(4 * LANES), aligned(8), may_alias));

inline F load(const float* p) { return *reinterpret_cast<const FAny*>(p); }
inline I load(const int32_t* p) { return *reinterpret_cast<const IAny*>(p); }
inline void store(float* p, F v) { *reinterpret_cast<FAny*>(p) = v; }
inline void store(int64_t* p, L v) { *reinterpret_cast<LAny*>(p) = v; }

inline void storeTail(float* p, int64_t n, F v) {
#if LANES == 16
  _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
#else
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
#endif
}
inline F loadTail(const float* p, int64_t n) {
#if LANES == 16
  return (F)_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p);
#else
  F v = {};
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
#endif
}

// Lanes of two vectors: every second one from lane `odd` on, and one of each in turn from the half `high` on.
template <int odd>
inline F everySecond(F a, F b) {
#if LANES == 16
  return __builtin_shufflevector(a, b, odd, odd + 2, odd + 4, odd + 6, odd + 8, odd + 10, odd + 12, odd + 14, odd + 16,
                                 odd + 18, odd + 20, odd + 22, odd + 24, odd + 26, odd + 28, odd + 30);
#elif LANES == 8
  return __builtin_shufflevector(a, b, odd, odd + 2, odd + 4, odd + 6, odd + 8, odd + 10, odd + 12, odd + 14);
#else
  return __builtin_shufflevector(a, b, odd, odd + 2, odd + 4, odd + 6);
#endif
}
template <int high>
inline F inTurn(F a, F b) {
  constexpr int h = high * LANES / 2, o = h + LANES;
#if LANES == 16
  return __builtin_shufflevector(a, b, h, o, h + 1, o + 1, h + 2, o + 2, h + 3, o + 3, h + 4, o + 4, h + 5, o + 5, h + 6,
                                 o + 6, h + 7, o + 7);
#elif LANES == 8
  return __builtin_shufflevector(a, b, h, o, h + 1, o + 1, h + 2, o + 2, h + 3, o + 3);
#else
  return __builtin_shufflevector(a, b, h, o, h + 1, o + 1);
#endif
}

void split(const float* x, int64_t n, int64_t step, float* y, int64_t pitch) {
  int64_t i = 0;
  if (step == 1) {
    for (; i + LANES <= n; i += LANES) store(y + i, load(x + i));
    if (i < n) storeTail(y + i, n - i, loadTail(x + i, n - i));
    return;
  }
  if (step == 2) {
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
      const F a = load(x + i), b = load(x + i + LANES);
      store(y + i / 2, everySecond<0>(a, b));
      store(y + pitch + i / 2, everySecond<1>(a, b));
    }
#if LANES == 16
    if (i < n) {
      const int64_t rest = n - i;
      const F a = rest > LANES ? load(x + i) : loadTail(x + i, rest), b = rest > LANES ? loadTail(x + i + LANES, rest - LANES) : F{};
      storeTail(y + i / 2, (rest + 1) / 2, everySecond<0>(a, b));
      storeTail(y + pitch + i / 2, rest / 2, everySecond<1>(a, b));
      return;
    }
#endif
    for (; i < n; i++) y[i % 2 * pitch + i / 2] = x[i];
    return;
  }
  for (int64_t f = 0; f < step; f++)
    for (int64_t j = f; j < n; j += step) y[f * pitch + j / step] = x[j];
}

void join(const float* x, int64_t pitch, int64_t step, int64_t n, float* y) {
  int64_t i = 0;
  if (step == 1) return split(x, n, 1, y, n);
  if (step == 2) {
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
      const F a = load(x + i / 2), b = load(x + pitch + i / 2);
      store(y + i, inTurn<0>(a, b));
      store(y + i + LANES, inTurn<1>(a, b));
    }
    for (; i < n; i++) y[i] = x[i % 2 * pitch + i / 2];
    return;
  }
  for (int64_t f = 0; f < step; f++)
    for (int64_t j = f; j < n; j += step) y[j] = x[f * pitch + j / step];
}

void max(const float* const* tap, const int32_t* place, int64_t taps, int32_t move, const int32_t* first, int32_t row,
         int64_t n, float* y, int64_t* index) {
  I lane;
  for (int l = 0; l < LANES; l++) lane[l] = l * move;
  for (int64_t q = 0; q < n; q += LANES) {
    F best = F{} - __builtin_inff();
    I at = load(first + q) + row;
    const I here = lane + int32_t(q) * move;
    for (int64_t t = 0; t < taps; t++) {
      const F v = load(tap[t] + q);
      const I candidate = here + place[t];
#if LANES == 16
      const __mmask16 better = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask((__m512)best, (__m512)best, _CMP_ORD_Q),
                                                       (__m512)v, (__m512)best, _CMP_NLE_UQ);
      best = (F)_mm512_mask_mov_ps((__m512)best, better, (__m512)v);
      at = (I)_mm512_mask_mov_epi32((__m512i)at, better, (__m512i)candidate);
#else
      const I better = ~(v <= best) & (best == best);
      best = better ? v : best;
      at = better ? candidate : at;
#endif
    }
    const L low = __builtin_convertvector(*reinterpret_cast<HalfI*>(&at), L);
    const L high = __builtin_convertvector(*(reinterpret_cast<HalfI*>(&at) + 1), L);
    if (q + LANES <= n) {
      store(y + q, best);
      store(index + q, low);
      store(index + q + LANES / 2, high);
    } else {
      const int64_t rest = n - q;
      storeTail(y + q, rest, best);
#if LANES == 16
      _mm512_mask_storeu_epi64(index + q, __mmask8((1u << (rest < 8 ? rest : 8)) - 1), (__m512i)low);
      if (rest > 8) _mm512_mask_storeu_epi64(index + q + 8, __mmask8((1u << (rest - 8)) - 1), (__m512i)high);
#else
      for (int64_t i = 0; i < rest; i++) index[q + i] = at[i];
#endif
    }
  }
}

void mean(const float* const* tap, int64_t taps, float rows, const float* columns, int64_t n, float* y) {
  for (int64_t q = 0; q < n; q += LANES) {
    F sum = {};
    for (int64_t t = 0; t < taps; t++) sum += load(tap[t] + q);
    sum /= load(columns + q) * rows;
    if (q + LANES <= n) store(y + q, sum);
    else storeTail(y + q, n - q, sum);
  }
}

void share(const float* x, float rows, const float* columns, int64_t n, float* y) {
  for (int64_t q = 0; q < n; q += LANES) {
    const F divisor = load(columns + q) * rows;
    if (q + LANES <= n) store(y + q, load(x + q) / divisor);
    else storeTail(y + q, n - q, loadTail(x + q, n - q) / divisor);
  }
}

void spread(float* const* tap, int64_t taps, const float* x, int64_t n) {
  for (int64_t t = 0; t < taps; t++) {
    float* const y = tap[t];
    int64_t q = 0;
    for (; q + LANES <= n; q += LANES) store(y + q, load(y + q) + load(x + q));
    if (q < n) storeTail(y + q, n - q, loadTail(y + q, n - q) + loadTail(x + q, n - q));
  }
}

}  // namespace

const PoolKernels pool = {split, join, max, mean, share, spread};

}  // namespace NABLA_ISA
}  // namespace nabla

// The matrix-product kernels, once for all instruction sets. A file that includes this page first defines, in its
// anonymous namespace, the vectors F32 and F64:
//
//   using T, V, M            element, vector, mask of the first n lanes
//   kLanes, kVectors, kRows  lanes; widest tile; rows of a tile 1, 2, … vectors wide (so that rows × vectors
//                            accumulators, one row of b and a broadcast fit in the registers)
//   kDotRows, kDotCols       the dot tile; kCombine: rows of b that `combine` reads together
//   zero set1 load store mask loadMask storeMask fma(a, b, c) = a·b + c, add
//   sum(v, to), kSums        the sums of the lanes of kSums vectors
//   kBlock, transposeBlock   a square of kBlock elements; kWideBlock, transposeWideBlock: a larger one, or 0
//
// Everything here has internal linkage: no code of one instruction set can be picked by the linker for another.
// An element of the result is always formed in the same order, whatever tile it falls in.
#pragma once
#include <cstdint>

#include "matmul.h"

#if defined(__GNUC__) || defined(__clang__)
#define UNROLL _Pragma("GCC unroll 64")
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define UNROLL
#define PREFETCH(p) ((void)(p))
#endif

namespace {

using nabla::MatmulKernels;
using nabla::Tile;

constexpr int kAhead = 12;  // rows of b that a packing tile prefetches ahead

template <typename T>
const T* step(const T* p, int64_t bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(p) + bytes);
}

template <class S, int R, int N, bool kPack>
void tile(const Tile<typename S::T>& t) {
  using T = typename S::T;
  using V = typename S::V;
  constexpr int kGroups = (R + 2) / 3;  // rows are addressed as base, base + row, base + 2·row
  const int64_t aRow = t.aRow, aCol = t.aCol, bRow = t.bRow;
  const T* a[kGroups];
  UNROLL for (int g = 0; g < kGroups; g++) a[g] = step(t.a, 3 * g * aRow);
  const T* b = t.b;
  [[maybe_unused]] T* pack = t.pack;
  [[maybe_unused]] const typename S::M last = S::mask(static_cast<int>(t.tail));

  V acc[R][N];
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) acc[i][j] = S::zero();
  }
  for (int64_t k = t.k; k > 0; k--) {
    V row[N];
    if constexpr (kPack) {
      UNROLL for (int j = 0; j < N - 1; j++) row[j] = S::load(b + j * S::kLanes);
      row[N - 1] = S::loadMask(b + (N - 1) * S::kLanes, last);
      UNROLL for (int j = 0; j < N; j++) S::store(pack + j * S::kLanes, row[j]);
      if (k > kAhead) {
        const T* ahead = step(b, kAhead * bRow);
        UNROLL for (int64_t j = 0; j < int64_t(N * S::kLanes * sizeof(T)); j += 64) PREFETCH(step(ahead, j));
      }
      pack += t.packRow;
    } else {
      UNROLL for (int j = 0; j < N; j++) row[j] = S::load(b + j * S::kLanes);
    }
    UNROLL for (int i = 0; i < R; i++) {
      const V x = S::set1(*step(a[i / 3], (i % 3) * aRow));
      UNROLL for (int j = 0; j < N; j++) acc[i][j] = S::fma(x, row[j], acc[i][j]);
    }
    UNROLL for (int g = 0; g < kGroups; g++) a[g] = step(a[g], aCol);
    b = step(b, bRow);
  }

  T* c = t.c;
  const bool whole = t.tail == S::kLanes;
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) {
      T* to = c + j * S::kLanes;
      if (j < N - 1 || whole) {
        S::store(to, t.accumulate ? S::add(S::load(to), acc[i][j]) : acc[i][j]);
      } else {
        S::storeMask(to, last, t.accumulate ? S::add(S::loadMask(to, last), acc[i][j]) : acc[i][j]);
      }
    }
    c += t.cRow;
  }
}

template <class S, int R, int N>
void dotTile(int64_t k, const typename S::T* a, int64_t aRow, const typename S::T* b, int64_t bCol,
             typename S::T* c, int64_t cRow, int64_t cCol, bool accumulate) {
  using V = typename S::V;
  V acc[R][N];
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) acc[i][j] = S::zero();
  }
  int64_t p = 0;
  for (; p + S::kLanes <= k; p += S::kLanes) {
    V y[N];
    UNROLL for (int j = 0; j < N; j++) y[j] = S::load(b + j * bCol + p);
    UNROLL for (int i = 0; i < R; i++) {
      const V x = S::load(a + i * aRow + p);
      UNROLL for (int j = 0; j < N; j++) acc[i][j] = S::fma(x, y[j], acc[i][j]);
    }
  }
  if (p < k) {
    const typename S::M rest = S::mask(static_cast<int>(k - p));
    V y[N];
    UNROLL for (int j = 0; j < N; j++) y[j] = S::loadMask(b + j * bCol + p, rest);
    UNROLL for (int i = 0; i < R; i++) {
      const V x = S::loadMask(a + i * aRow + p, rest);
      UNROLL for (int j = 0; j < N; j++) acc[i][j] = S::fma(x, y[j], acc[i][j]);
    }
  }
  // Adding up lanes takes as long as 100 steps of k: some accumulators at a time, all in one order.
  constexpr int kSums = S::kSums, kAll = (R * N + kSums - 1) / kSums * kSums;
  typename S::T sums[kAll];
  UNROLL for (int n = 0; n < kAll; n += kSums) {
    V some[kSums];
    UNROLL for (int m = 0; m < kSums; m++) some[m] = n + m < R * N ? acc[(n + m) / N][(n + m) % N] : S::zero();
    S::sum(some, sums + n);
  }
  UNROLL for (int i = 0; i < R; i++) {
    UNROLL for (int j = 0; j < N; j++) {
      typename S::T* to = c + i * cRow + j * cCol;
      *to = accumulate ? *to + sums[i * N + j] : sums[i * N + j];
    }
  }
}

template <class S>
struct DotTiles {
  using T = typename S::T;
  using Fn = void (*)(int64_t, const T*, int64_t, const T*, int64_t, T*, int64_t, int64_t, bool);
  Fn fn[S::kDotRows][S::kDotCols] = {};
  template <int R, int N>
  constexpr void fill() {
    fn[R - 1][N - 1] = dotTile<S, R, N>;
    if constexpr (N > 1) fill<R, N - 1>();
    else if constexpr (R > 1) fill<R - 1, S::kDotCols>();
  }
  constexpr DotTiles() { fill<S::kDotRows, S::kDotCols>(); }
};
template <class S>
constexpr DotTiles<S> kDotTiles{};

template <class S>
void dot(int64_t rows, int64_t cols, int64_t k, const typename S::T* a, int64_t aRow, const typename S::T* b,
         int64_t bCol, typename S::T* c, int64_t cRow, int64_t cCol, bool accumulate) {
  // Evenly high and wide tiles, rather than full ones and a thin rest.
  const int64_t down = (rows + S::kDotRows - 1) / S::kDotRows, across = (cols + S::kDotCols - 1) / S::kDotCols;
  const int64_t height = rows / down, higher = rows % down, width = cols / across, wider = cols % across;
  for (int64_t j = 0; j < across; j++) {
    const int64_t w = width + (j < wider);
    const typename S::T* x = a;
    typename S::T* y = c;
    for (int64_t i = 0; i < down; i++) {
      const int64_t h = height + (i < higher);
      kDotTiles<S>.fn[h - 1][w - 1](k, x, aRow, b, bCol, y, cRow, cCol, accumulate);
      x += h * aRow;
      y += h * cRow;
    }
    b += w * bCol;
    c += w * cCol;
  }
}

// Adds R rows of b to c; reading whole rows side by side keeps the hardware prefetchers on long streams.
template <class S, int R>
void combineRows(int64_t n, const typename S::T* a, const typename S::T* b, int64_t bRow, typename S::T* c,
                 bool accumulate) {
  using V = typename S::V;
  V x[R];
  UNROLL for (int r = 0; r < R; r++) x[r] = S::set1(a[r]);
  int64_t j = 0;
  for (; j + S::kLanes <= n; j += S::kLanes) {
    V sum = accumulate ? S::load(c + j) : S::zero();
    UNROLL for (int r = 0; r < R; r++) sum = S::fma(x[r], S::load(b + r * bRow + j), sum);
    S::store(c + j, sum);
  }
  if (j < n) {
    const typename S::M rest = S::mask(static_cast<int>(n - j));
    V sum = accumulate ? S::loadMask(c + j, rest) : S::zero();
    UNROLL for (int r = 0; r < R; r++) sum = S::fma(x[r], S::loadMask(b + r * bRow + j, rest), sum);
    S::storeMask(c + j, rest, sum);
  }
}

template <class S>
void combine(int64_t rows, int64_t n, int64_t k, const typename S::T* a, int64_t aRow, const typename S::T* b,
             int64_t bRow, typename S::T* c, int64_t cRow) {
  constexpr int R = S::kCombine;
  int64_t p = 0;
  for (; p + R <= k; p += R, b += R * bRow) {
    for (int64_t i = 0; i < rows; i++) combineRows<S, R>(n, a + i * aRow + p, b, bRow, c + i * cRow, p > 0);
  }
  for (; p < k; p++, b += bRow) {
    for (int64_t i = 0; i < rows; i++) combineRows<S, 1>(n, a + i * aRow + p, b, bRow, c + i * cRow, p > 0);
  }
}

// As many whole blocks of B columns as there are; returns how many columns that makes.
template <class S, int B, void (*block)(const typename S::T*, int64_t, typename S::T*, int64_t)>
int64_t transposeBlocks(int64_t rows, int64_t cols, const typename S::T* src, int64_t srcCol, typename S::T* dst,
                        int64_t dstRow) {
  int64_t j = 0;
  for (; j + B <= cols; j += B) {
    const typename S::T* from = src + j * srcCol;
    int64_t i = 0;
    for (; i + B <= rows; i += B) block(from + i, srcCol, dst + i * dstRow + j, dstRow);
    for (; i < rows; i++) {
      for (int jj = 0; jj < B; jj++) dst[i * dstRow + j + jj] = from[jj * srcCol + i];
    }
  }
  return j;
}

template <class S>
void transpose(int64_t rows, int64_t cols, const typename S::T* src, int64_t srcCol, typename S::T* dst,
               int64_t dstRow) {
  int64_t j = 0;
  // A line of the result at a time, where the instruction set can.
  if constexpr (S::kWideBlock > 0)
    j = transposeBlocks<S, S::kWideBlock, S::transposeWideBlock>(rows, cols, src, srcCol, dst, dstRow);
  j += transposeBlocks<S, S::kBlock, S::transposeBlock>(rows, cols - j, src + j * srcCol, srcCol, dst + j, dstRow);
  for (; j < cols; j++) {
    for (int64_t i = 0; i < rows; i++) dst[i * dstRow + j] = src[j * srcCol + i];
  }
}

template <class S, int N, int R>
constexpr void tilesUpTo(MatmulKernels<typename S::T>& out) {
  if constexpr (R > 0) {
    out.plain[R - 1][N - 1] = tile<S, R, N, false>;
    out.packing[R - 1][N - 1] = tile<S, R, N, true>;
    tilesUpTo<S, N, R - 1>(out);
  }
}

template <class S, int N>
constexpr void tilesOfWidth(MatmulKernels<typename S::T>& out) {
  if constexpr (N > 0) {
    out.rows[N] = S::kRows[N - 1];
    tilesUpTo<S, N, S::kRows[N - 1]>(out);
    tilesOfWidth<S, N - 1>(out);
  }
}

template <class S>
constexpr MatmulKernels<typename S::T> kernels() {
  MatmulKernels<typename S::T> out{};
  out.lanes = S::kLanes;
  out.vectors = S::kVectors;
  tilesOfWidth<S, S::kVectors>(out);
  out.dot = dot<S>;
  out.combine = combine<S>;
  out.transpose = transpose<S>;
  return out;
}

constexpr MatmulKernels<float> kF32 = kernels<F32>();
constexpr MatmulKernels<double> kF64 = kernels<F64>();

}  // namespace

// Kernels that work on whole rows (the last dimension) of tensors of any strides and dtypes: they get each row
// contiguous and in their compute type.
#pragma once
#include "layout.h"
#include "simd/rows.h"
#include "values.h"

namespace nabla {

const RowKernels& rowKernels();  // for the instruction set in use

constexpr int64_t kRowGrain = 16384;  // elements of a chunk
constexpr int64_t kSideBySide = 16;   // rows that are copied together, so that neighbours across rows are read together

// Copies `rows` rows of n elements (row r begins at offset[r]) from or to rows that are `pitch` apart, with conversion.
template <typename C>
void loadRows(const View& v, const int64_t* offset, int64_t rows, int64_t n, int64_t stride, C* to, int64_t pitch) {
  withType(v.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    const T* const x = v.as<T>();
    const auto value = [&](int64_t at) { return convert<C>(Compute<T>(x[at])); };
    if (stride == 1 || rows == 1) {
      for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) to[r * pitch + i] = value(offset[r] + i * stride);
    } else {
      for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < rows; r++) to[r * pitch + i] = value(offset[r] + i * stride);
    }
  });
}
template <typename C>
void storeRows(const View& v, const int64_t* offset, int64_t rows, int64_t n, int64_t stride, const C* from,
               int64_t pitch) {
  withType(v.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    T* const y = v.as<T>();
    if (stride == 1 || rows == 1) {
      for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) y[offset[r] + i * stride] = convert<T>(from[r * pitch + i]);
    } else {
      for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < rows; r++) y[offset[r] + i * stride] = convert<T>(from[r * pitch + i]);
    }
  });
}

template <typename C>
constexpr DType dtypeOf() {
  if constexpr (std::is_same_v<C, float>) return DType::f32;
  else if constexpr (std::is_same_v<C, double>) return DType::f64;
  else return DType::i64;
}

// Calls body(row, in, out) for every row of views of one shape with at least one dimension, where in[k] and out[k]
// point to the n >= 1 elements of the row in type C (float, double or int64_t).
template <typename C, int I, int O, typename Body>
void overRows(const Call& c, const View* const (&ins)[I], const View* const (&outs)[O], Body body) {
  constexpr int K = I + O;
  const View* views[K];
  std::copy(ins, ins + I, views);
  std::copy(outs, outs + O, views + I);
  const View& first = *views[0];
  const int last = first.ndim - 1;
  const int64_t n = first.shape[last];

  Layout<K> outer;  // not merged: merging would need the strides as a pack
  outer.n = last;
  bool direct[K];
  int copies = 0;
  for (int k = 0; k < K; k++) {
    for (int d = 0; d < last; d++) {
      outer.size[d] = first.shape[d];
      outer.stride[d][k] = views[k]->strides[d];
    }
    direct[k] = views[k]->dtype == dtypeOf<C>() && (views[k]->strides[last] == 1 || n == 1);
    copies += !direct[k];
  }
  const int64_t rows = outer.count();
  if (rows == 0 || n == 0) return;
  // Side by side unless the copies would be huge.
  // The pitch is an odd number of cache lines: no two rows begin in the same set.
  const int64_t line = 64 / int64_t(sizeof(C)), pitch = (ceilDiv(n, line) | 1) * line;
  const int64_t group = copies > 0 && pitch * copies * kSideBySide * int64_t(sizeof(C)) <= (8 << 20) ? kSideBySide : 1;
  const int64_t grain = ceilDiv(std::max<int64_t>(1, kRowGrain / n), group) * group;
  parallelRange(rows, grain, [&](int64_t begin, int64_t end) {
    Scratch scratch(c, size_t(copies * group * pitch) * sizeof(C));
    Cursor<K> at(outer, begin);
    for (int64_t from = begin; from < end; from += group) {
      const int64_t count = std::min(group, end - from);
      int64_t offset[K][kSideBySide];
      for (int64_t r = 0; r < count; r++, at.next())
        for (int k = 0; k < K; k++) offset[k][r] = at.offset[k];
      C* block[K];
      C* next = scratch.get<C>();
      for (int k = 0; k < K; k++) {
        block[k] = next;
        if (direct[k]) continue;
        next += group * pitch;
        if (k < I) loadRows(*views[k], offset[k], count, n, views[k]->strides[last], block[k], pitch);
      }
      for (int64_t r = 0; r < count; r++) {
        const C* in[I] = {};
        C* out[O] = {};
        for (int k = 0; k < K; k++) {
          const View* const v = views[k];
          C* const row = direct[k] ? v->as<C>() + offset[k][r] : block[k] + r * pitch;
          if (k < I) in[k] = row;
          else out[k - I] = row;
        }
        body(from + r, in, out);
      }
      for (int k = I; k < K; k++)
        if (!direct[k]) storeRows(*views[k], offset[k], count, n, views[k]->strides[last], block[k], pitch);
    }
  });
}

// Calls f(Tag<double>) for float64 and f(Tag<float>) for the other floats.
template <typename F>
void withComputeFloat(DType t, F&& f) {
  if (t == DType::f64) f(Tag<double>{});
  else f(Tag<float>{});
}

// Σ term(i) for i in [0, n): eight accumulators over runs of 1024, the runs joined pairwise.
template <typename C, typename Term>
C sumTerms(int64_t begin, int64_t n, const Term& term) {
  constexpr int64_t kRun = 1024;
  if (n > kRun) {
    const int64_t left = ceilDiv(n / 2, kRun) * kRun;
    return sumTerms<C>(begin, left, term) + sumTerms<C>(begin + left, n - left, term);
  }
  C acc[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int l = 0; l < 8; l++) acc[l] += term(begin + i + l);
  for (int l = 0; i < n; i++, l++) acc[l] += term(begin + i);
  return ((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7]));
}

}  // namespace nabla

// gather, scatter, indexSelect and indexAdd: elements and rows addressed by index tensors.
//
// Every index is checked before anything is written. Sums go to each target in ascending order of the index position,
// whatever the number of threads.
#include <atomic>
#include <cstring>

#include "layout.h"
#include "values.h"

namespace nabla {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a chunk

int64_t indexAt(const View& index, int64_t offset) {
  return index.dtype == DType::i64 ? index.as<int64_t>()[offset] : index.as<int32_t>()[offset];
}

// Calls f(pointer to the indices), typed.
template <typename F>
void withIndex(const View& index, F&& f) {
  if (index.dtype == DType::i64) f(index.as<const int64_t>());
  else f(index.as<const int32_t>());
}

// The values of an index tensor in row-major order, each in [0, n).
class Indices {
 public:
  Indices(const Call& c, const View& index, int dim, int64_t n)
      : count(index.numel()), memory_(c, size_t(count) * sizeof(int32_t)), values(memory_.get<int32_t>()) {
    Layout<1> layout;
    for (int i = 0; i < index.ndim; i++) layout.push(index.shape[i], index.strides[i]);
    if (index.contiguous() && loadPlain(index, n)) return;
    std::atomic<int64_t> wrong{count};  // position of the first wrong value
    withIndex(index, [&](const auto* from) {
      parallelRange(count, kGrain, [&](int64_t begin, int64_t end) {
        Cursor<1> at(layout, begin);
        for (int64_t i = begin; i < end; i++, at.next()) {
          const int64_t v = from[at.offset[0]];
          if (v < -n || v >= n) {
            for (int64_t seen = wrong; i < seen && !wrong.compare_exchange_weak(seen, i);) {
            }
            return;
          }
          values[i] = int32_t(v < 0 ? v + n : v);
        }
      });
    });
    if (wrong == count) return;
    const long long value = indexAt(index, Cursor<1>(layout, wrong).offset[0]), size = n;
    if (n == 0) fail("INDEX", "%s: index %lld is out of range for dimension %d of size 0", c.op, value, dim);
    fail("INDEX", "%s: index %lld is out of range for dimension %d of size %lld (allowed: %lld to %lld)", c.op, value,
         dim, size, -size, size - 1);
  }

  const int64_t count;

 private:
  // Of contiguous indices, without a branch an index; false when one is wrong.
  bool loadPlain(const View& index, int64_t n) const {
    std::atomic<bool> right{true};
    withIndex(index, [&](const auto* from) {
      parallelRange(count, kGrain, [&](int64_t begin, int64_t end) {
        bool wrong = false;
        for (int64_t i = begin; i < end; i++) {
          const int64_t v = from[i], place = v < 0 ? v + n : v;
          wrong |= uint64_t(place) >= uint64_t(n);
          values[i] = int32_t(place);
        }
        if (wrong) right = false;
      });
    });
    return right;
  }
  Scratch memory_;

 public:
  int32_t* const values;
};

// ---- gather and scatter: one index an element.

// Calls visit(offset in x, offset in other) for every element of the index. Positions that differ outside `dim` never
// meet in x, so they are spread over threads; along `dim` the order is ascending.
template <typename Visit>
void overElements(const Call& c, const View& x, const View& index, const View& other, Visit visit) {
  const int dim = c.attr[0];
  const Indices indices(c, index, dim, x.shape[dim]);
  if (indices.count == 0) return;
  Layout<3> outside;  // x, other, index in row-major order
  int64_t indexStrides[kMaxDims], stride = 1, independent = 1;
  for (int d = index.ndim - 1; d >= 0; d--) {
    indexStrides[d] = stride;
    stride *= index.shape[d];
  }
  for (int d = 0; d < index.ndim; d++) {
    if (d == dim) continue;
    outside.push(index.shape[d], x.strides[d], other.strides[d], indexStrides[d]);
    independent *= index.shape[d];
  }
  const int64_t length = index.shape[dim], xStep = x.strides[dim], otherStep = other.strides[dim];
  const int64_t indexStep = indexStrides[dim];
  const int32_t* const values = indices.values;
  // n elements whose indices are `apart`.
  const auto visitRow = [&](int64_t n, const int32_t* at, int64_t apart, int64_t from, int64_t fromStep, int64_t to,
                            int64_t toStep) {
    for (int64_t k = 0; k < n; k++) visit(from + k * fromStep + at[k * apart] * xStep, to + k * toStep);
  };
  const int64_t grain = std::max<int64_t>(1, kGrain / length);
  if (indexStep == 1) {
    parallelRange(independent, grain, [&](int64_t begin, int64_t end) {
      Cursor<3> at(outside, begin);
      for (int64_t p = begin; p < end; p++, at.next())
        visitRow(length, values + at.offset[2], 1, at.offset[0], 0, at.offset[1], otherStep);
    });
    return;
  }
  // Memory is read in order with `dim` outside.
  int64_t width, step[3];
  outside.pop(width, step);
  parallelRange(independent, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < length; i++) {
      Cursor<3> at(outside, begin / width);
      int64_t n;
      for (int64_t p = begin, j = begin % width; p < end; p += n, j = 0, at.next()) {
        n = std::min(width - j, end - p);
        visitRow(n, values + at.offset[2] + i * indexStep + j * step[2], step[2], at.offset[0] + j * step[0], step[0],
                 at.offset[1] + i * otherStep + j * step[1], step[1]);
      }
    }
  });
}

// ---- indexSelect and indexAdd: one index a row, a row being all of x at one place of `dim`.

struct RowsOf {
  Layout<2> outer, inner;  // dimensions before and after `dim`, with the strides of two operands; `inner` without…
  int64_t length;          // … its last dimension
  int64_t step[2];
  bool contiguous;         // that dimension, in both
  int64_t elements;        // of a row

  RowsOf(const View& a, const View& b, int dim) {
    for (int d = 0; d < dim; d++) outer.push(a.shape[d], a.strides[d], b.strides[d]);
    for (int d = dim + 1; d < a.ndim; d++) inner.push(a.shape[d], a.strides[d], b.strides[d]);
    elements = inner.count();
    inner.pop(length, step);
    contiguous = step[0] == 1 && step[1] == 1;
  }
};

template <typename T>
void select(const Call& c) {
  const View &x = c.in[0], &index = c.in[1], &y = c.out[0];
  const int dim = c.attr[0];
  const Indices indices(c, index, dim, x.shape[dim]);
  const RowsOf rows(x, y, dim);
  const int64_t count = rows.outer.count() * indices.count, runs = rows.inner.count();
  if (count == 0 || rows.elements == 0) return;
  parallelRange(count, std::max<int64_t>(1, kGrain / rows.elements), [&](int64_t begin, int64_t end) {
    Cursor<2> outer(rows.outer, begin / indices.count);
    int64_t j = begin % indices.count;
    for (int64_t i = begin; i < end; i++) {
      const T* const from = x.as<T>() + outer.offset[0] + indices.values[j] * x.strides[dim];
      T* const to = y.as<T>() + outer.offset[1] + j * y.strides[dim];
      Cursor<2> inner(rows.inner);
      for (int64_t r = 0; r < runs; r++, inner.next()) {
        const T* const p = from + inner.offset[0];
        T* const q = to + inner.offset[1];
        if (rows.contiguous) std::memcpy(q, p, size_t(rows.length) * sizeof(T));
        else
          for (int64_t k = 0; k < rows.length; k++) q[k * rows.step[1]] = p[k * rows.step[0]];
      }
      if (++j == indices.count) {
        j = 0;
        outer.next();
      }
    }
  });
}

template <typename T>
inline void addTo(T& to, T value) {
  to = convert<T>(add(Compute<T>(to), Compute<T>(value)));
}

// Rows of x are dealt out in bands; a band takes the positions that fall into it, in ascending order.
template <typename T>
void addRows(const Call& c) {
  const View &x = c.out[0], &index = c.in[0], &src = c.in[1];
  const int dim = c.attr[0];
  const int64_t n = x.shape[dim];
  const Indices indices(c, index, dim, n);
  const RowsOf rows(x, src, dim);
  const int64_t runs = rows.inner.count(), outers = rows.outer.count();
  if (indices.count == 0 || outers == 0 || rows.elements == 0) return;

  constexpr int kMostBands = 16;
  const int64_t work = indices.count * rows.elements / kGrain;
  const int64_t perBand = ceilDiv(n, std::max<int64_t>(1, std::min<int64_t>(kMostBands, work)));
  const int64_t bands = ceilDiv(n, perBand);
  Scratch memory(c, size_t(indices.count) * sizeof(int32_t));
  int32_t* const positions = memory.get<int32_t>();  // sorted by band
  int64_t first[kMostBands + 1] = {};
  for (int64_t j = 0; j < indices.count; j++) first[indices.values[j] / perBand + 1]++;
  for (int64_t b = 0; b < bands; b++) first[b + 1] += first[b];
  int64_t next[kMostBands];
  std::copy(first, first + bands, next);
  for (int64_t j = 0; j < indices.count; j++) positions[next[indices.values[j] / perBand]++] = int32_t(j);

  parallelRange(outers * bands, work == 0 ? outers * bands : 1, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; job++) {
      const Cursor<2> outer(rows.outer, job / bands);
      const int64_t band = job % bands;
      for (int64_t k = first[band]; k < first[band + 1]; k++) {
        const int64_t j = positions[k];
        T* const to = x.as<T>() + outer.offset[0] + indices.values[j] * x.strides[dim];
        const T* const from = src.as<T>() + outer.offset[1] + j * src.strides[dim];
        Cursor<2> inner(rows.inner);
        for (int64_t r = 0; r < runs; r++, inner.next()) {
          T* const q = to + inner.offset[0];
          const T* const p = from + inner.offset[1];
          if (rows.contiguous)
            for (int64_t i = 0; i < rows.length; i++) addTo(q[i], p[i]);
          else
            for (int64_t i = 0; i < rows.length; i++) addTo(q[i * rows.step[0]], p[i * rows.step[1]]);
        }
      }
    }
  });
}

}  // namespace

void run_gather(const Call& c) {
  withSize(c.in[0].dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    const T* const x = c.in[0].as<T>();
    T* const y = c.out[0].as<T>();
    overElements(c, c.in[0], c.in[1], c.out[0], [=](int64_t from, int64_t to) { y[to] = x[from]; });
  });
}

void run_scatter(const Call& c) {
  const View &x = c.out[0], &src = c.in[1];
  if (c.attr[1] == 0) {
    withSize(x.dtype, [&](auto tag) {
      using T = TypeOf<decltype(tag)>;
      overElements(c, x, c.in[0], src, [p = x.as<T>(), q = src.as<T>()](int64_t to, int64_t from) { p[to] = q[from]; });
    });
  } else {
    withType(x.dtype, [&](auto tag) {
      using T = TypeOf<decltype(tag)>;
      overElements(c, x, c.in[0], src,
                   [p = x.as<T>(), q = src.as<T>()](int64_t to, int64_t from) { addTo(p[to], q[from]); });
    });
  }
}

void run_indexSelect(const Call& c) {
  withSize(c.in[0].dtype, [&](auto tag) { select<TypeOf<decltype(tag)>>(c); });
}

void run_indexAdd(const Call& c) {
  withType(c.out[0].dtype, [&](auto tag) { addRows<TypeOf<decltype(tag)>>(c); });
}

}  // namespace nabla

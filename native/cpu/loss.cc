// Cross-entropy of logits against class indices, and its gradient: a row of classes at a time, never a matrix of
// probabilities.
#include <cmath>

#include "rows.h"

namespace nabla {
namespace {

template <typename C>
struct Parts {  // of log Σ eˣ of a row; kept apart they lose nothing to a large maximum
  C largest, logSum;
};

void lossRows(const float* x, int64_t pitch, const int32_t* label, int64_t rows, int64_t n, float* loss,
              Parts<float>* parts) {
  rowKernels().crossEntropy(x, pitch, label, rows, n, loss, &parts->largest);
}
void lossRows(const double* x, int64_t pitch, const int32_t* label, int64_t rows, int64_t n, double* loss,
              Parts<double>* parts) {
  for (int64_t r = 0; r < rows; r++, x += pitch) {
    double m = x[0];
    for (int64_t i = 1; i < n; i++)
      if (x[i] > m || isNan(x[i])) m = x[i];
    const double log = std::log(sumTerms<double>(0, n, [=](int64_t i) { return std::exp(x[i] - m); }));
    parts[r] = {m, log};
    loss[r] = label[r] < 0 ? 0 : log - (x[label[r]] - m);
  }
}

void gradRows(const float* x, int64_t pitch, const int32_t* label, const float* weight, const Parts<float>* parts,
              int64_t rows, int64_t n, float* dx, int64_t dxPitch) {
  rowKernels().crossEntropyGrad(x, pitch, label, weight, &parts->largest, rows, n, dx, dxPitch);
}
void gradRows(const double* x, int64_t pitch, const int32_t* label, const double* weight, const Parts<double>* parts,
              int64_t rows, int64_t n, double* dx, int64_t dxPitch) {
  for (int64_t r = 0; r < rows; r++, x += pitch, dx += dxPitch) {
    for (int64_t i = 0; i < n; i++) {
      if (label[r] < 0) dx[i] = 0;
      else dx[i] = (std::exp(x[i] - parts[r].largest - parts[r].logSum) - double(i == label[r])) * weight[r];
    }
  }
}

// The labels in row-major order, −1 for those that count nothing. Throws before anything is written.
int64_t loadLabels(const Call& c, const View& target, int64_t ignored, int64_t classes, int32_t* to) {
  Layout<1> layout;
  for (int d = 0; d < target.ndim; d++) layout.push(target.shape[d], target.strides[d]);
  const int64_t rows = layout.count();
  if (rows == 0) return 0;
  int64_t counted = 0;
  const auto load = [&](const auto* from) {
    Cursor<1> at(layout);
    for (int64_t r = 0; r < rows; r++, at.next()) {
      const int64_t v = from[at.offset[0]];
      if (v == ignored) {
        to[r] = -1;
        continue;
      }
      if (v < 0 || v >= classes)
        fail("INDEX", "%s: label %lld is out of range for %lld classes", c.op, static_cast<long long>(v),
             static_cast<long long>(classes));
      to[r] = int32_t(v);
      counted++;
    }
  };
  if (target.dtype == DType::i64) load(target.as<const int64_t>());
  else load(target.as<const int32_t>());
  return counted;
}

// All elements of a view in row-major order, from or to an array.
template <typename C>
void loadAll(const View& v, C* to) {
  if (v.numel() == 0) return;
  Layout<1> layout;
  for (int d = 0; d < v.ndim; d++) layout.push(v.shape[d], v.strides[d]);
  int64_t n, stride[1];
  layout.pop(n, stride);
  Cursor<1> at(layout);
  for (int64_t r = layout.count(); r > 0; r--, at.next(), to += n) loadRows(v, at.offset, 1, n, stride[0], to, n);
}
template <typename C>
void storeAll(const View& v, const C* from) {
  if (v.numel() == 0) return;
  Layout<1> layout;
  for (int d = 0; d < v.ndim; d++) layout.push(v.shape[d], v.strides[d]);
  int64_t n, stride[1];
  layout.pop(n, stride);
  Cursor<1> at(layout);
  for (int64_t r = layout.count(); r > 0; r--, at.next(), from += n)
    storeRows(v, at.offset, 1, n, stride[0], from, n);
}

// Calls body(first, rows, x, pitch, y, pitch) for blocks of rows whose elements are contiguous and of type C; they are
// copied where they are not so in memory. y, if there is one, is written.
template <typename C, typename Body>
void overBlocks(const Call& c, const View& x, const View* y, Body body) {
  const int last = x.ndim - 1;
  const int64_t n = x.shape[last];
  Layout<2> outer;
  for (int d = 0; d < last; d++) outer.push(x.shape[d], x.strides[d], y ? y->strides[d] : 0);
  const int64_t rows = outer.count();
  if (rows == 0 || n == 0) return;
  const auto direct = [&](const View& v) {
    return outer.n <= 1 && v.dtype == dtypeOf<C>() && (v.strides[last] == 1 || n == 1);
  };
  const bool copyX = !direct(x), copyY = y && !direct(*y);
  const int64_t pitch = ceilDiv(n, 64 / int64_t(sizeof(C))) * (64 / int64_t(sizeof(C)));
  const int64_t xPitch = copyX ? pitch : outer.n == 1 ? outer.stride[0][0] : n;
  const int64_t yPitch = copyY ? pitch : outer.n == 1 ? outer.stride[0][1] : n;
  const int64_t block = copyX || copyY ? kSideBySide : rows;
  parallelRange(rows, ceilDiv(std::max<int64_t>(1, kRowGrain / n), kSideBySide) * kSideBySide, [&](int64_t begin, int64_t end) {
    Scratch memory(c, size_t((copyX + copyY) * kSideBySide * pitch) * sizeof(C));
    C *const xCopy = memory.get<C>(), *const yCopy = xCopy + copyX * kSideBySide * pitch;
    Cursor<2> at(outer, begin);
    for (int64_t from = begin; from < end; from += block) {
      const int64_t count = std::min(block, end - from);
      const int64_t first[2] = {at.offset[0], at.offset[1]};
      int64_t offset[2][kSideBySide];
      if (copyX || copyY) {
        for (int64_t r = 0; r < count; r++, at.next())
          for (int k = 0; k < 2; k++) offset[k][r] = at.offset[k];
      }
      if (copyX) loadRows(x, offset[0], count, n, x.strides[last], xCopy, pitch);
      body(from, count, copyX ? xCopy : x.as<C>() + first[0], xPitch,
           copyY ? yCopy : y ? y->as<C>() + first[1] : nullptr, yPitch);
      if (copyY) storeRows(*y, offset[1], count, n, y->strides[last], yCopy, pitch);
    }
  });
}

}  // namespace

void run_crossEntropy(const Call& c) {
  const View &x = c.in[0], &target = c.in[1];
  const int64_t n = x.shape[x.ndim - 1], rows = target.numel();
  withComputeFloat(x.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    Scratch memory(c, size_t(rows) * (3 * sizeof(C) + sizeof(int32_t)));
    Parts<C>* const parts = memory.get<Parts<C>>();
    C* const loss = reinterpret_cast<C*>(parts + rows);
    int32_t* const label = reinterpret_cast<int32_t*>(loss + rows);
    const C count = C(loadLabels(c, target, convert<int64_t>(scalar(c.in[2])), n, label));
    if (n == 0) {
      std::fill(loss, loss + rows, C(0));
      std::fill(parts, parts + rows, Parts<C>{C(-INFINITY), C(-INFINITY)});
    }
    overBlocks<C>(c, x, nullptr, [=](int64_t first, int64_t some, const C* from, int64_t pitch, C*, int64_t) {
      lossRows(from, pitch, label + first, some, n, loss + first, parts + first);
    });
    storeAll(c.out[1], &parts->largest);
    storeAll(c.out[2], &count);
    if (c.attr[0] == kNone) {
      storeAll(c.out[0], loss);
    } else {
      const C sum = rows == 0 ? C(0) : sumTerms<C>(0, rows, [=](int64_t r) { return loss[r]; });
      const C result = c.attr[0] == kMean ? sum / count : sum;
      storeAll(c.out[0], &result);
    }
  });
}

void run_crossEntropyGrad(const Call& c) {
  const View &g = c.in[0], &x = c.in[1], &target = c.in[3];
  const int64_t n = x.shape[x.ndim - 1], rows = target.numel();
  withComputeFloat(x.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    Scratch memory(c, size_t(rows) * (3 * sizeof(C) + sizeof(int32_t)));
    Parts<C>* const parts = memory.get<Parts<C>>();
    C* const weight = reinterpret_cast<C*>(parts + rows);
    int32_t* const label = reinterpret_cast<int32_t*>(weight + rows);
    loadLabels(c, target, convert<int64_t>(scalar(c.in[4])), n, label);
    loadAll(c.in[2], &parts->largest);
    const C divisor = C(scalar(c.in[5]));
    if (g.ndim == 0) {
      std::fill(weight, weight + rows, C(scalar(g)) / divisor);
    } else {
      loadAll(g, weight);
      for (int64_t r = 0; r < rows; r++) weight[r] /= divisor;
    }
    overBlocks<C>(c, x, &c.out[0], [=](int64_t first, int64_t some, const C* from, int64_t pitch, C* to, int64_t toPitch) {
      gradRows(from, pitch, label + first, weight + first, parts + first, some, n, to, toPitch);
    });
  });
}

}  // namespace nabla

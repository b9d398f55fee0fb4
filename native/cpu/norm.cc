// normalize (zero mean and unit variance) and its gradient, of x [A, R, C] over the first and last dimension: rows of
// samples, or the channels of a batch of images as they lie in memory.
#include <cmath>

#include "rows.h"

namespace nabla {
namespace {

// n contiguous elements as one row.
void normalizeRow(const float* x, double eps, float* xhat, float* mean, float* rstd, int64_t n) {
  rowKernels().normalize(x, n, 1, n, float(eps), xhat, n, mean, rstd);
}
void normalizeRow(const double* x, double eps, double* xhat, double* mean, double* rstd, int64_t n) {
  const double m = sumTerms<double>(0, n, [=](int64_t i) { return x[i]; }) / double(n);
  const double var = sumTerms<double>(0, n, [=](int64_t i) { return (x[i] - m) * (x[i] - m); }) / double(n);
  const double r = 1 / std::sqrt(var + eps);
  for (int64_t i = 0; i < n; i++) xhat[i] = (x[i] - m) * r;
  *mean = m;
  *rstd = r;
}

void normalizeGradRow(const float* dy, const float* xhat, float rstd, float* dx, int64_t n) {
  rowKernels().normalizeGrad(dy, n, xhat, n, 1, n, rstd, dx, n);
}
void normalizeGradRow(const double* dy, const double* xhat, double rstd, double* dx, int64_t n) {
  const double a = sumTerms<double>(0, n, [=](int64_t i) { return dy[i]; }) / double(n);
  const double b = sumTerms<double>(0, n, [=](int64_t i) { return dy[i] * xhat[i]; }) / double(n);
  for (int64_t i = 0; i < n; i++) dx[i] = rstd * (dy[i] - a - xhat[i] * b);
}

// A [A, R, C] view as rows [R, A·C] where it is one, C or A being 1.
View asRows(const View& v) {
  View rows = v;
  const int other = v.shape[0] == 1 ? 2 : 0;
  rows.ndim = 2;
  rows.shape[0] = v.shape[1], rows.strides[0] = v.strides[1];
  rows.shape[1] = v.shape[other], rows.strides[1] = v.strides[other];
  return rows;
}
enum class Form { kRows, kColumns, kPieces, kCopied };
// How the loops go: over rows; over float32 columns side by side; over float32 rows in contiguous pieces; over copies.
template <int K>
Form formOf(const View* const (&views)[K]) {
  const View& first = *views[0];
  bool vectors = true, columns = true, pieces = true;
  for (const View* v : views) {
    vectors = vectors && v->dtype == DType::f32;
    columns = columns && (v->strides[1] == 1 || v->shape[1] == 1);
    pieces = pieces && v->strides[2] == 1;
  }
  if (first.shape[0] == 1) return Form::kRows;
  if (first.shape[2] == 1) return vectors && columns ? Form::kColumns : Form::kRows;
  return vectors && pieces ? Form::kPieces : Form::kCopied;
}

constexpr int64_t kStrip = 64;  // columns of a chunk
template <typename Body>
void overStrips(const View& x, Body body) {
  const int64_t most = std::max<int64_t>(1, kRowGrain / std::max(1, x.shape[0]) / kStrip);
  parallelRange(x.shape[1], most * kStrip, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j += kStrip) body(j, std::min(kStrip, end - j));
  });
}
template <typename Body>
void overChannels(const View& x, Body body) {
  const int64_t n = int64_t(x.shape[0]) * x.shape[2];
  parallelRange(x.shape[1], std::max<int64_t>(1, kRowGrain / n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) body(r);
  });
}
// One channel of [A, R, C] from or to contiguous memory.
template <typename C>
void loadChannel(const View& v, int64_t r, C* to) {
  for (int64_t a = 0; a < v.shape[0]; a++) {
    const int64_t at = a * v.strides[0] + r * v.strides[1];
    loadRows(v, &at, 1, v.shape[2], v.strides[2], to + a * v.shape[2], 0);
  }
}
template <typename C>
void storeChannel(const View& v, int64_t r, const C* from) {
  for (int64_t a = 0; a < v.shape[0]; a++) {
    const int64_t at = a * v.strides[0] + r * v.strides[1];
    storeRows(v, &at, 1, v.shape[2], v.strides[2], from + a * v.shape[2], 0);
  }
}

}  // namespace

void run_normalize(const Call& c) {
  const View &x = c.in[0], &xhat = c.out[0], &mean = c.out[1], &rstd = c.out[2];
  const double eps = scalar(c.in[1]);
  const int64_t A = x.shape[0], R = x.shape[1], C = x.shape[2], n = A * C;
  withComputeFloat(x.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    const auto finish = [&](int64_t row, int64_t count, const T* m, const T* r) {
      const int64_t at[2] = {row * mean.strides[0], row * rstd.strides[0]};
      storeRows(mean, &at[0], 1, count, mean.strides[0], m, 0);
      storeRows(rstd, &at[1], 1, count, rstd.strides[0], r, 0);
    };
    if (n == 0) {  // the mean of nothing
      const T none = T(NAN);
      for (int64_t row = 0; row < R; row++) finish(row, 1, &none, &none);
      return;
    }
    const Form form = formOf<2>({&x, &xhat});
    if constexpr (std::is_same_v<T, float>) {
      if (form == Form::kColumns) {
        overStrips(x, [&](int64_t j, int64_t width) {
          float m[kStrip], r[kStrip];
          rowKernels().normalizeColumns(x.as<float>() + j, x.strides[0], A, width, float(eps), xhat.as<float>() + j,
                                        xhat.strides[0], m, r);
          finish(j, width, m, r);
        });
        return;
      }
      if (form == Form::kPieces) {
        overChannels(x, [&](int64_t j) {
          float m, r;
          rowKernels().normalize(x.as<float>() + j * x.strides[1], x.strides[0], A, C, float(eps),
                                 xhat.as<float>() + j * xhat.strides[1], xhat.strides[0], &m, &r);
          finish(j, 1, &m, &r);
        });
        return;
      }
    }
    if (form == Form::kCopied) {
      overChannels(x, [&](int64_t j) {
        T m, r;
        Scratch memory(c, size_t(n) * sizeof(T));
        T* const row = memory.get<T>();
        loadChannel(x, j, row);
        normalizeRow(row, eps, row, &m, &r, n);
        storeChannel(xhat, j, row);
        finish(j, 1, &m, &r);
      });
      return;
    }
    const View from = asRows(x), to = asRows(xhat);
    overRows<T, 1, 1>(c, {&from}, {&to}, [&](int64_t row, const T* const* in, T* const* out) {
      T m, r;
      normalizeRow(in[0], eps, out[0], &m, &r, n);
      finish(row, 1, &m, &r);
    });
  });
}

void run_normalizeGrad(const Call& c) {
  const View &dy = c.in[0], &xhat = c.in[1], &rstd = c.in[2], &dx = c.out[0];
  const int64_t A = dy.shape[0], C = dy.shape[2], n = A * C;
  if (dy.numel() == 0) return;
  withComputeFloat(dy.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    const auto loadScale = [&](int64_t row, int64_t count, T* r) {
      const int64_t at = row * rstd.strides[0];
      loadRows(rstd, &at, 1, count, rstd.strides[0], r, 0);
    };
    const Form form = formOf<3>({&dy, &xhat, &dx});
    if constexpr (std::is_same_v<T, float>) {
      if (form == Form::kColumns) {
        overStrips(dy, [&](int64_t j, int64_t width) {
          float r[kStrip];
          loadScale(j, width, r);
          rowKernels().normalizeGradColumns(dy.as<float>() + j, dy.strides[0], xhat.as<float>() + j, xhat.strides[0], A,
                                            width, r, dx.as<float>() + j, dx.strides[0]);
        });
        return;
      }
      if (form == Form::kPieces) {
        overChannels(dy, [&](int64_t j) {
          float r;
          loadScale(j, 1, &r);
          rowKernels().normalizeGrad(dy.as<float>() + j * dy.strides[1], dy.strides[0],
                                     xhat.as<float>() + j * xhat.strides[1], xhat.strides[0], A, C, r,
                                     dx.as<float>() + j * dx.strides[1], dx.strides[0]);
        });
        return;
      }
    }
    if (form == Form::kCopied) {
      overChannels(dy, [&](int64_t j) {
        Scratch memory(c, size_t(2 * n) * sizeof(T));
        T *const g = memory.get<T>(), *const h = g + n;
        T r;
        loadScale(j, 1, &r);
        loadChannel(dy, j, g);
        loadChannel(xhat, j, h);
        normalizeGradRow(g, h, r, g, n);
        storeChannel(dx, j, g);
      });
      return;
    }
    const View g = asRows(dy), h = asRows(xhat), to = asRows(dx);
    overRows<T, 2, 1>(c, {&g, &h}, {&to}, [&](int64_t row, const T* const* in, T* const* out) {
      T r;
      loadScale(row, 1, &r);
      normalizeGradRow(in[0], in[1], r, out[0], n);
    });
  });
}

}  // namespace nabla

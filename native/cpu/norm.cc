// normalize (zero mean and unit variance along rows) and its gradient.
#include <cmath>

#include "rows.h"

namespace nabla {
namespace {

void normalizeRow(const float* x, double eps, float* xhat, float* mean, float* rstd, int64_t n) {
  rowKernels().normalize(x, float(eps), xhat, mean, rstd, n);
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
  rowKernels().normalizeGrad(dy, xhat, rstd, dx, n);
}
void normalizeGradRow(const double* dy, const double* xhat, double rstd, double* dx, int64_t n) {
  const double a = sumTerms<double>(0, n, [=](int64_t i) { return dy[i]; }) / double(n);
  const double b = sumTerms<double>(0, n, [=](int64_t i) { return dy[i] * xhat[i]; }) / double(n);
  for (int64_t i = 0; i < n; i++) dx[i] = rstd * (dy[i] - a - xhat[i] * b);
}

// A vector of one value a row; its dtype may be another float than x's.
void expectPerRow(const Call& c, const char* what, const View& v, const View& x) {
  expectFloat(c, what, v);
  if (v.ndim != 1 || v.shape[0] != x.shape[0])
    fail("PROGRAM", "%s: %s must have shape [%d], got %s", c.op, what, x.shape[0], shapeText(v).c_str());
}
void expectLike(const Call& c, const char* what, const View& v, const View& x) {
  expectDType(c, what, v, x.dtype);
  expectShape(c, what, v, x);
}

}  // namespace

void check_normalize(const Call& c) {
  expectCounts(c, 3, 2, 0);
  const View& x = c.in[0];
  expectFloat(c, "x", x);
  expectDims(c, "x", x, 2);
  expectDims(c, "eps", c.in[1], 0);
  expectLike(c, "xhat", c.out[0], x);
  expectPerRow(c, "mean", c.out[1], x);
  expectPerRow(c, "rstd", c.out[2], x);
}

void run_normalize(const Call& c) {
  const View &x = c.in[0], &mean = c.out[1], &rstd = c.out[2];
  const double eps = scalar(c.in[1]);
  const int64_t n = x.shape[1];
  withComputeFloat(x.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    const auto finish = [&](int64_t row, C m, C r) {
      const int64_t at[2] = {row * mean.strides[0], row * rstd.strides[0]};
      storeRows(mean, &at[0], 1, 1, 1, &m, 1);
      storeRows(rstd, &at[1], 1, 1, 1, &r, 1);
    };
    if (n == 0) {  // the mean of nothing
      for (int64_t row = 0; row < x.shape[0]; row++) finish(row, C(NAN), C(NAN));
      return;
    }
    overRows<C, 1, 1>(c, {&x}, {&c.out[0]}, [&](int64_t row, const C* const* in, C* const* out) {
      C m, r;
      normalizeRow(in[0], eps, out[0], &m, &r, n);
      finish(row, m, r);
    });
  });
}

void check_normalizeGrad(const Call& c) {
  expectCounts(c, 1, 3, 0);
  const View& dy = c.in[0];
  expectFloat(c, "dy", dy);
  expectDims(c, "dy", dy, 2);
  expectLike(c, "xhat", c.in[1], dy);
  expectPerRow(c, "rstd", c.in[2], dy);
  expectLike(c, "dx", c.out[0], dy);
}

void run_normalizeGrad(const Call& c) {
  const View &dy = c.in[0], &rstd = c.in[2];
  const int64_t n = dy.shape[1];
  withComputeFloat(dy.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    overRows<C, 2, 1>(c, {&dy, &c.in[1]}, {&c.out[0]}, [&](int64_t row, const C* const* in, C* const* out) {
      const int64_t at = row * rstd.strides[0];
      C r;
      loadRows(rstd, &at, 1, 1, 1, &r, 1);
      normalizeGradRow(in[0], in[1], r, out[0], n);
    });
  });
}

}  // namespace nabla

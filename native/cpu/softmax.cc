// softmax and logSoftmax along the last dimension, and their gradients.
#include <cmath>

#include "rows.h"

namespace nabla {
namespace {

template <typename C>
C largest(const C* x, int64_t n) {
  C m = x[0];
  for (int64_t i = 1; i < n; i++)
    if (x[i] > m || isNan(x[i])) m = x[i];
  return m;
}

void softmaxRow(const float* x, float* y, int64_t n) { rowKernels().softmax(x, y, n); }
void softmaxRow(const double* x, double* y, int64_t n) {
  const double m = largest(x, n);
  for (int64_t i = 0; i < n; i++) y[i] = std::exp(x[i] - m);
  const double sum = sumTerms<double>(0, n, [=](int64_t i) { return y[i]; });
  for (int64_t i = 0; i < n; i++) y[i] /= sum;
}

void logSoftmaxRow(const float* x, float* y, int64_t n) { rowKernels().logSoftmax(x, y, n); }
void logSoftmaxRow(const double* x, double* y, int64_t n) {
  const double m = largest(x, n);
  const double log = std::log(sumTerms<double>(0, n, [=](int64_t i) { return std::exp(x[i] - m); }));
  for (int64_t i = 0; i < n; i++) y[i] = x[i] - m - log;
}

void softmaxGradRow(const float* dy, const float* y, float* dx, int64_t n) { rowKernels().softmaxGrad(dy, y, dx, n); }
void softmaxGradRow(const double* dy, const double* y, double* dx, int64_t n) {
  const double dot = sumTerms<double>(0, n, [=](int64_t i) { return dy[i] * y[i]; });
  for (int64_t i = 0; i < n; i++) dx[i] = y[i] * (dy[i] - dot);
}

void logSoftmaxGradRow(const float* dy, const float* y, float* dx, int64_t n) {
  rowKernels().logSoftmaxGrad(dy, y, dx, n);
}
void logSoftmaxGradRow(const double* dy, const double* y, double* dx, int64_t n) {
  const double sum = sumTerms<double>(0, n, [=](int64_t i) { return dy[i]; });
  for (int64_t i = 0; i < n; i++) dx[i] = dy[i] - std::exp(y[i]) * sum;
}

}  // namespace

void run_softmax(const Call& c) {
  withComputeFloat(c.in[0].dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    const int64_t n = c.in[0].shape[c.in[0].ndim - 1];
    overRows<C, 1, 1>(c, {&c.in[0]}, {&c.out[0]},
                      [=](int64_t, const C* const* in, C* const* out) { softmaxRow(in[0], out[0], n); });
  });
}
void run_logSoftmax(const Call& c) {
  withComputeFloat(c.in[0].dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    const int64_t n = c.in[0].shape[c.in[0].ndim - 1];
    overRows<C, 1, 1>(c, {&c.in[0]}, {&c.out[0]},
                      [=](int64_t, const C* const* in, C* const* out) { logSoftmaxRow(in[0], out[0], n); });
  });
}
void run_softmaxGrad(const Call& c) {
  withComputeFloat(c.in[0].dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    const int64_t n = c.in[0].shape[c.in[0].ndim - 1];
    overRows<C, 2, 1>(c, {&c.in[0], &c.in[1]}, {&c.out[0]},
                      [=](int64_t, const C* const* in, C* const* out) { softmaxGradRow(in[0], in[1], out[0], n); });
  });
}
void run_logSoftmaxGrad(const Call& c) {
  withComputeFloat(c.in[0].dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    const int64_t n = c.in[0].shape[c.in[0].ndim - 1];
    overRows<C, 2, 1>(c, {&c.in[0], &c.in[1]}, {&c.out[0]},
                      [=](int64_t, const C* const* in, C* const* out) { logSoftmaxGradRow(in[0], in[1], out[0], n); });
  });
}

}  // namespace nabla

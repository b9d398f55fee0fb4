// Attention, softmax(scale·q·kᵀ + mask)·v, and its gradient, a block of queries against a block of keys at a time: the
// matrix of scores is never formed. The maximum and the sum of a row are brought up to date from block to block
// (Milakov and Gimelshein, 2018; Dao et al., 2022); the gradient forms the scores again from the logarithm of the sum.
#include <cmath>

#include "gemm.h"
#include "rows.h"

namespace nabla {
namespace {

constexpr int64_t kKeys = 512;          // of a block, at most kLeaf
constexpr int64_t kScores = 32 << 10;   // of a block: a part of the L2 cache
constexpr int64_t kQueries = 128;       // of a block, at most
static_assert(kKeys <= kLeaf, "the maximum of a row of a block is that of a leaf");

float largest(const float* x, int64_t n) { return rowKernels().max(x, n); }
double largest(const double* x, int64_t n) {
  double m = x[0];
  for (int64_t i = 1; i < n; i++)
    if (x[i] > m || isNan(x[i])) m = x[i];
  return m;
}

// x = e^(x − shift), and their sum.
float exponentials(float* x, float shift, int64_t n) { return rowKernels().exponentials(x, shift, x, n); }
double exponentials(double* x, double shift, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = std::exp(x[i] - shift);
  return sumTerms<double>(0, n, [=](int64_t i) { return x[i]; });
}

// d = p·(d − dot)
void scoresGrad(const float* p, float dot, float* d, int64_t n) { rowKernels().scoresGrad(p, dot, d, n); }
void scoresGrad(const double* p, double dot, double* d, int64_t n) {
  for (int64_t i = 0; i < n; i++) d[i] = p[i] * (d[i] - dot);
}

struct Sizes {
  int64_t batches, L, S, E, F;
  int64_t keys, queries;  // of a block
  int64_t pitch;          // of a row of a block of scores: an odd number of cache lines

  Sizes(const View& q, const View& v, int64_t itemSize) {
    const int n = q.ndim;
    batches = 1;
    for (int d = 0; d < n - 2; d++) batches *= q.shape[d];
    L = q.shape[n - 2], E = q.shape[n - 1], S = v.shape[n - 2], F = v.shape[n - 1];
    keys = std::min(S, kKeys);
    queries = std::min({L, kQueries, std::max<int64_t>(32, kScores / keys)});
    const int64_t line = 64 / itemSize;
    pitch = (ceilDiv(keys, line) | 1) * line;
  }
};

// One matrix (or, of lse, vector) of a view: that of batch `index`.
template <typename T>
struct Part {
  T* data;
  int64_t row, col;
  Part(const View& v, int64_t index, int inner = 2) : data(v.as<T>()), row(v.strides[v.ndim - inner]), col(v.strides[v.ndim - 1]) {
    for (int d = v.ndim - inner - 1; d >= 0; d--) {
      data += index % v.shape[d] * int64_t(v.strides[d]);
      index /= v.shape[d];
    }
  }
  T* at(int64_t i) const { return data + i * row; }
};

// What is common to both directions: the scores of some queries against some keys.
template <typename T>
struct Scores {
  const Sizes& size;
  Part<T> q, k;
  const View* mask;
  int64_t batch;
  T scale;
  bool causal;

  // The keys that the queries before `end` may see.
  int64_t seen(int64_t end) const { return causal ? std::min(size.S, end) : size.S; }

  void loadQueries(int64_t i0, int64_t rows, T* to) const {
    for (int64_t i = 0; i < rows; i++, to += size.E) {
      const T* const from = q.at(i0 + i);
      for (int64_t e = 0; e < size.E; e++) to[e] = from[e * q.col] * scale;
    }
  }

  void form(const T* queries, int64_t i0, int64_t rows, int64_t j0, int64_t n, T* to) const {
    gemm(dtypeOf<T>(), rows, n, size.E, queries, size.E, 1, k.at(j0), k.col, k.row, to, size.pitch, 1, false);
    if (mask && mask->dtype == DType::boolean) {
      const Part<const uint8_t> m(*mask, batch);
      each(m, i0, rows, j0, n, to, [](uint8_t see, T s) { return see ? s : -T(INFINITY); });
    } else if (mask) {
      const Part<const T> m(*mask, batch);
      each(m, i0, rows, j0, n, to, [](T add, T s) { return s + add; });
    }
    if (!causal) return;
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = std::max<int64_t>(0, i0 + i + 1 - j0); j < n; j++) to[i * size.pitch + j] = -T(INFINITY);
  }

 private:
  template <typename M, typename Change>
  void each(const Part<M>& m, int64_t i0, int64_t rows, int64_t j0, int64_t n, T* to, Change change) const {
    for (int64_t i = 0; i < rows; i++, to += size.pitch) {
      M* const from = m.at(i0 + i) + j0 * m.col;
      if (m.col == 1) {
        for (int64_t j = 0; j < n; j++) to[j] = change(from[j], to[j]);
      } else {
        for (int64_t j = 0; j < n; j++) to[j] = change(from[j * m.col], to[j]);
      }
    }
  }
};

template <typename T>
void attend(const Call& c) {
  const View &v = c.in[2], *mask = c.nIn > 4 ? &c.in[4] : nullptr;
  const Sizes size(c.in[0], v, sizeof(T));
  const T scale = T(scalar(c.in[3]));
  const int64_t blocks = ceilDiv(size.L, size.queries);
  parallel(size.batches * blocks, [&](int64_t task) {
    const int64_t batch = task / blocks, i0 = task % blocks * size.queries, rows = std::min(size.queries, size.L - i0);
    const Scores<T> scores = {size, {c.in[0], batch}, {c.in[1], batch}, mask, batch, scale, c.attr[0] != 0};
    const Part<T> values(v, batch), y(c.out[0], batch), lse(c.out[1], batch, 1);
    Scratch memory(c, size_t(rows * (size.E + size.pitch + size.F + 2)) * sizeof(T));
    T *const s = memory.get<T>(), *const q = s + rows * size.pitch, *const sum = q + rows * size.E;
    T *const most = sum + rows * size.F, *const total = most + rows;
    scores.loadQueries(i0, rows, q);
    const int64_t end = scores.seen(i0 + rows);
    for (int64_t j0 = 0; j0 < end; j0 += size.keys) {
      const int64_t n = std::min(size.keys, end - j0);
      scores.form(q, i0, rows, j0, n, s);
      for (int64_t i = 0; i < rows; i++) {
        T* const row = s + i * size.pitch;
        T m = largest(row, n);
        if (j0 > 0 && !(m > most[i] || isNan(m))) m = most[i];
        // Where nothing has been seen yet the weights are 0, not those of −∞ − (−∞).
        const T shift = m == -T(INFINITY) ? T(0) : m;
        const T part = exponentials(row, shift, n);
        if (j0 == 0) {
          total[i] = part;
        } else {
          const T factor = std::exp(most[i] - shift);
          total[i] = total[i] * factor + part;
          if (factor != 1)
            for (int64_t f = 0; f < size.F; f++) sum[i * size.F + f] *= factor;
        }
        most[i] = m;
      }
      gemm(dtypeOf<T>(), rows, size.F, n, s, size.pitch, 1, values.at(j0), values.row, values.col, sum, size.F, 1, j0 > 0);
    }
    for (int64_t i = 0; i < rows; i++) {
      const T factor = 1 / total[i];
      T* const to = y.at(i0 + i);
      for (int64_t f = 0; f < size.F; f++) to[f * y.col] = sum[i * size.F + f] * factor;
      *lse.at(i0 + i) = most[i] + std::log(total[i]);
    }
  });
}

template <typename T>
void clear(const Part<T>& to, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) to.at(i)[j * to.col] = 0;
}

// A batch a task: the gradients of keys and values are sums over all queries, formed in one order.
template <typename T>
void attendGrad(const Call& c) {
  const View* const mask = c.nIn > 7 ? &c.in[7] : nullptr;
  const Sizes size(c.in[0], c.in[2], sizeof(T));
  const T scale = T(scalar(c.in[6]));
  const DType t = dtypeOf<T>();
  parallel(size.batches, [&](int64_t batch) {
    const Scores<T> scores = {size, {c.in[0], batch}, {c.in[1], batch}, mask, batch, scale, c.attr[0] != 0};
    const Part<T> k(c.in[1], batch), v(c.in[2], batch), y(c.in[3], batch), lse(c.in[4], batch, 1), dy(c.in[5], batch);
    const Part<T> dq(c.out[0], batch), dk(c.out[1], batch), dv(c.out[2], batch);
    Scratch memory(c, size_t(size.queries * (2 * size.E + 2 * size.pitch)) * sizeof(T));
    T *const p = memory.get<T>(), *const d = p + size.queries * size.pitch;
    T *const q = d + size.queries * size.pitch, *const sum = q + size.queries * size.E;
    T dot[kQueries];
    clear(dk, size.S, size.E);
    clear(dv, size.S, size.F);
    for (int64_t i0 = 0; i0 < size.L; i0 += size.queries) {
      const int64_t rows = std::min(size.queries, size.L - i0), end = scores.seen(i0 + rows);
      scores.loadQueries(i0, rows, q);
      for (int64_t i = 0; i < rows; i++) {
        const T *const a = y.at(i0 + i), *const b = dy.at(i0 + i);
        dot[i] = sumTerms<T>(0, size.F, [&](int64_t f) { return a[f * y.col] * b[f * dy.col]; });
      }
      for (int64_t j0 = 0; j0 < end; j0 += size.keys) {
        const int64_t n = std::min(size.keys, end - j0);
        scores.form(q, i0, rows, j0, n, p);
        gemm(t, rows, n, size.F, dy.at(i0), dy.row, dy.col, v.at(j0), v.col, v.row, d, size.pitch, 1, false);
        for (int64_t i = 0; i < rows; i++) {
          exponentials(p + i * size.pitch, *lse.at(i0 + i), n);
          scoresGrad(p + i * size.pitch, dot[i], d + i * size.pitch, n);
        }
        gemm(t, n, size.F, rows, p, 1, size.pitch, dy.at(i0), dy.row, dy.col, dv.at(j0), dv.row, dv.col, true);
        gemm(t, n, size.E, rows, d, 1, size.pitch, q, size.E, 1, dk.at(j0), dk.row, dk.col, true);
        gemm(t, rows, size.E, n, d, size.pitch, 1, k.at(j0), k.row, k.col, sum, size.E, 1, j0 > 0);
      }
      for (int64_t i = 0; i < rows; i++)
        for (int64_t e = 0; e < size.E; e++) dq.at(i0 + i)[e * dq.col] = sum[i * size.E + e] * scale;
    }
  });
}

}  // namespace

void run_attention(const Call& c) {
  if (c.in[0].dtype == DType::f64) attend<double>(c);
  else attend<float>(c);
}

void run_attentionGrad(const Call& c) {
  if (c.in[0].dtype == DType::f64) attendGrad<double>(c);
  else attendGrad<float>(c);
}

}  // namespace nabla

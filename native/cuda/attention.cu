// Attention, softmax(scale·q·kᵀ + mask)·v, and its gradient, a tile of scores at a time: the matrix of scores is never
// formed. The maximum and the sum of a row are brought up to date from tile to tile (Milakov and Gimelshein, 2018; Dao et
// al., 2022); the gradient forms the scores again from the logarithm of the sum.
#include "view.cuh"

namespace nabla {
using namespace cuda;
namespace {

constexpr int kQueries = 16, kKeys = 32;  // of a tile
constexpr int kDepth = 32;                // of the factors of a score that are in shared memory at a time
constexpr int kWide = 64;                 // columns of the result that a block makes
constexpr int kBlock = 128;               // threads
constexpr int kPitch = kDepth + 1;

// A matrix for each batch; of lse and the like, vectors (col is then their step).
template <typename T>
struct Part {
  T* data = nullptr;
  Layout<1> batches;
  int64_t row = 0, col = 0;
  Part() = default;
  explicit Part(const View& v, int inner = 2) : data(v.as<T>()), row(v.strides[v.ndim - inner]), col(v.strides[v.ndim - 1]) {
    for (int d = 0; d < v.ndim - inner; d++) batches.push(v.shape[d], v.strides[d]);
  }
  DEVICE Part of(uint32_t batch) const {
    Part part = *this;
    part.data += locate(batches, batch);
    return part;
  }
  DEVICE T& at(int64_t i, int64_t j) const { return data[i * row + j * col]; }
};

template <typename T>
struct Problem {
  int L, S, E, F;
  uint32_t batches;
  bool causal, masked;
  Number scale;
  Part<T> q, k, v, mask;
  Part<const uint8_t> see;  // a mask of bools, instead
};

// The tile of X·Yᵀ with rows from i0 of X (of `rows`) and from j0 of Y (of `columns`), both `depth` wide: thread t has
// columns t % 8 + 8u of row t / 8.
template <typename T>
DEVICE void tileProduct(const Part<T>& x, int i0, int rows, const Part<T>& y, int j0, int columns, int depth, T* memory,
                        T (&sum)[4]) {
  T *const a = memory, *const b = memory + kQueries * kPitch;
  const int t = int(threadIdx.x), row = t / 8, column = t % 8;
  for (int u = 0; u < 4; u++) sum[u] = 0;
  for (int e0 = 0; e0 < depth; e0 += kDepth) {
    __syncthreads();
    for (int k = t; k < kQueries * kDepth; k += kBlock) {
      const int i = k / kDepth, e = k % kDepth;
      a[i * kPitch + e] = i0 + i < rows && e0 + e < depth ? x.at(i0 + i, e0 + e) : T(0);
    }
    for (int k = t; k < kKeys * kDepth; k += kBlock) {
      const int j = k / kDepth, e = k % kDepth;
      b[j * kPitch + e] = j0 + j < columns && e0 + e < depth ? y.at(j0 + j, e0 + e) : T(0);
    }
    __syncthreads();
    for (int e = 0; e < kDepth; e++)
      for (int u = 0; u < 4; u++) sum[u] += a[row * kPitch + e] * b[(column + 8 * u) * kPitch + e];
  }
}
constexpr int kTileMemory = (kQueries + kKeys) * kPitch;

// The scores of a tile; −∞ where nothing may be seen.
template <typename T>
DEVICE void tileScores(const Problem<T>& p, const Part<T>& q, const Part<T>& k, uint32_t batch, int i0, int j0, T* memory,
                       T (&s)[4]) {
  tileProduct(q, i0, p.L, k, j0, p.S, p.E, memory, s);
  const int i = i0 + int(threadIdx.x) / 8;
  for (int u = 0; u < 4; u++) {
    const int j = j0 + int(threadIdx.x) % 8 + 8 * u;
    s[u] *= p.scale.template get<T>();
    if (i >= p.L || j >= p.S || (p.causal && j > i)) s[u] = -infinity<T>();
    else if (p.masked && p.see.data) s[u] = p.see.of(batch).at(i, j) ? s[u] : -infinity<T>();
    else if (p.masked) s[u] += p.mask.of(batch).at(i, j);
  }
}

// Loads `rows` rows of the columns from f0 on, kWide of them; zeros beyond the matrix.
template <typename T>
DEVICE void loadWide(const Part<T>& from, int i0, int rows, int limit, int f0, int width, T* to) {
  for (int k = int(threadIdx.x); k < rows * kWide; k += kBlock) {
    const int i = k / kWide, f = k % kWide;
    to[k] = i0 + i < limit && f0 + f < width ? from.at(i0 + i, f0 + f) : T(0);
  }
}

template <typename T>
__global__ void attendKernel(Problem<T> p, Part<T> y, Part<T> lse) {
  DYN_SHARED(T, memory);
  T* const weights = memory + kTileMemory;               // [kQueries, kKeys + 1]
  T* const values = weights + kQueries * (kKeys + 1);    // [kKeys, kWide]
  T* const most = values + kKeys * kWide;                // of a query, so far
  T* const total = most + kQueries;
  T* const factor = total + kQueries;                    // by which what was summed before counts now
  const int t = int(threadIdx.x), row = t / 8, column = t % 8;
  const int tiles = (p.L + kQueries - 1) / kQueries, i0 = int(blockIdx.x % tiles) * kQueries, f0 = int(blockIdx.y) * kWide;
  const uint32_t batch = blockIdx.x / tiles;
  const Part<T> q = p.q.of(batch), k = p.k.of(batch), v = p.v.of(batch);
  T sum[kWide / 8] = {};
  if (t < kQueries) {
    most[t] = -infinity<T>();
    total[t] = 0;
  }
  const int end = p.causal && i0 + kQueries < p.S ? i0 + kQueries : p.S;
  for (int j0 = 0; j0 < end; j0 += kKeys) {
    T s[4];
    tileScores(p, q, k, batch, i0, j0, memory, s);
    for (int u = 0; u < 4; u++) weights[row * (kKeys + 1) + column + 8 * u] = s[u];
    __syncthreads();
    if (t < kQueries) {
      T* const w = weights + t * (kKeys + 1);
      T m = most[t];
      for (int j = 0; j < kKeys; j++)
        if (w[j] > m || isNan(w[j])) m = w[j];
      const bool seen = m != -infinity<T>();  // else all of it is −∞, whose difference is no number
      factor[t] = seen ? expOf(most[t] - m) : T(1);
      T all = total[t] * factor[t];
      for (int j = 0; j < kKeys; j++) {
        w[j] = seen ? expOf(w[j] - m) : T(0);
        all += w[j];
      }
      most[t] = m;
      total[t] = all;
    }
    loadWide(v, j0, kKeys, p.S, f0, p.F, values);
    __syncthreads();
    for (int c = 0; c < kWide / 8; c++) {
      T add = 0;
      for (int j = 0; j < kKeys; j++) add += weights[row * (kKeys + 1) + j] * values[j * kWide + column + 8 * c];
      sum[c] = sum[c] * factor[row] + add;
    }
    __syncthreads();
  }
  const int i = i0 + row;
  if (i >= p.L) return;
  const bool seen = most[row] != -infinity<T>();
  const Part<T> to = y.of(batch);
  for (int c = 0; c < kWide / 8; c++) {
    const int f = f0 + column + 8 * c;
    if (f < p.F) to.at(i, f) = seen ? sum[c] / total[row] : T(NAN);
  }
  if (blockIdx.y == 0 && column == 0) lse.of(batch).at(0, i) = seen ? most[row] + logOf(total[row]) : -infinity<T>();
}

// Σ y·dy of every query, [batches, L].
template <typename T>
__global__ void dotKernel(Problem<T> p, Part<T> y, Part<T> dy, T* dot) {
  DYN_SHARED(T, memory);
  const uint32_t batch = blockIdx.x / uint32_t(p.L);
  const int i = int(blockIdx.x % uint32_t(p.L));
  const Part<T> a = y.of(batch), b = dy.of(batch);
  T sum = 0;
  for (int f = int(threadIdx.x); f < p.F; f += int(blockDim.x)) sum += a.at(i, f) * b.at(i, f);
  sum = combineSum(sum, memory);
  if (threadIdx.x == 0) dot[blockIdx.x] = sum;
}

// Probabilities of a tile and, unless only those are wanted, scale·p·(dy·vᵀ − dot), to shared memory [kQueries, kKeys + 1].
template <typename T>
DEVICE void tileSlopes(const Problem<T>& p, const Part<T>& dy, const Part<T>& lse, const T* dot, uint32_t batch, int i0,
                       int j0, bool slopes, T* memory, T* to) {
  const int t = int(threadIdx.x), row = t / 8, column = t % 8, i = i0 + row;
  T s[4], d[4];
  tileScores(p, p.q.of(batch), p.k.of(batch), batch, i0, j0, memory, s);
  if (slopes) tileProduct(dy.of(batch), i0, p.L, p.v.of(batch), j0, p.S, p.F, memory, d);
  for (int u = 0; u < 4; u++) {
    T x = 0;
    if (i < p.L && j0 + column + 8 * u < p.S) {
      x = expOf(s[u] - lse.of(batch).at(0, i));
      if (slopes) x *= (d[u] - dot[int64_t(batch) * p.L + i]) * p.scale.template get<T>();
    }
    to[row * (kKeys + 1) + column + 8 * u] = x;
  }
  __syncthreads();
}

// dq = d·k, a tile of queries a block.
template <typename T>
__global__ void queryGradKernel(Problem<T> p, Part<T> lse, Part<T> dy, const T* dot, Part<T> dq) {
  DYN_SHARED(T, memory);
  T *const slopes = memory + kTileMemory, *const keys = slopes + kQueries * (kKeys + 1);
  const int t = int(threadIdx.x), row = t / 8, column = t % 8;
  const int tiles = (p.L + kQueries - 1) / kQueries, i0 = int(blockIdx.x % tiles) * kQueries, e0 = int(blockIdx.y) * kWide;
  const uint32_t batch = blockIdx.x / tiles;
  T sum[kWide / 8] = {};
  const int end = p.causal && i0 + kQueries < p.S ? i0 + kQueries : p.S;
  for (int j0 = 0; j0 < end; j0 += kKeys) {
    tileSlopes(p, dy, lse, dot, batch, i0, j0, true, memory, slopes);
    loadWide(p.k.of(batch), j0, kKeys, p.S, e0, p.E, keys);
    __syncthreads();
    for (int c = 0; c < kWide / 8; c++)
      for (int j = 0; j < kKeys; j++) sum[c] += slopes[row * (kKeys + 1) + j] * keys[j * kWide + column + 8 * c];
    __syncthreads();
  }
  const Part<T> to = dq.of(batch);
  for (int c = 0; c < kWide / 8; c++) {
    const int e = e0 + column + 8 * c;
    if (i0 + row < p.L && e < p.E) to.at(i0 + row, e) = sum[c];
  }
}

// dk = dᵀ·q (the first blocks of y) or dv = pᵀ·dy, a tile of keys a block.
template <typename T>
__global__ void keyGradKernel(Problem<T> p, Part<T> lse, Part<T> dy, const T* dot, Part<T> dk, Part<T> dv) {
  DYN_SHARED(T, memory);
  T *const slopes = memory + kTileMemory, *const rows = slopes + kQueries * (kKeys + 1);
  const int t = int(threadIdx.x), row = t / 4, column = t % 4;
  const int tiles = (p.S + kKeys - 1) / kKeys, j0 = int(blockIdx.x % tiles) * kKeys, forKeys = (p.E + kWide - 1) / kWide;
  const uint32_t batch = blockIdx.x / tiles;
  const bool keys = int(blockIdx.y) < forKeys;
  const int f0 = (int(blockIdx.y) - (keys ? 0 : forKeys)) * kWide, width = keys ? p.E : p.F;
  const Part<T> from = keys ? p.q.of(batch) : dy.of(batch), to = keys ? dk.of(batch) : dv.of(batch);
  T sum[kWide / 4] = {};
  for (int i0 = p.causal ? j0 / kQueries * kQueries : 0; i0 < p.L; i0 += kQueries) {
    tileSlopes(p, dy, lse, dot, batch, i0, j0, keys, memory, slopes);
    loadWide(from, i0, kQueries, p.L, f0, width, rows);
    __syncthreads();
    for (int c = 0; c < kWide / 4; c++)
      for (int i = 0; i < kQueries; i++) sum[c] += slopes[i * (kKeys + 1) + row] * rows[i * kWide + column + 4 * c];
    __syncthreads();
  }
  for (int c = 0; c < kWide / 4; c++) {
    const int f = f0 + column + 4 * c;
    if (j0 + row < p.S && f < width) to.at(j0 + row, f) = sum[c];
  }
}

template <typename T>
Problem<T> problemOf(const Call& c, const View& scale, const View* mask) {
  const View &q = c.in[0], &k = c.in[1], &v = c.in[2];
  const int n = q.ndim;
  int64_t batches = 1;
  for (int d = 0; d < n - 2; d++) batches *= q.shape[d];
  Problem<T> p = {q.shape[n - 2], k.shape[n - 2], q.shape[n - 1], v.shape[n - 1], uint32_t(batches), c.attr[0] != 0,
                  mask != nullptr, Number(scale), Part<T>(q), Part<T>(k), Part<T>(v), {}, {}};
  if (mask && mask->dtype == DType::boolean) p.see = Part<const uint8_t>(*mask);
  else if (mask) p.mask = Part<T>(*mask);
  return p;
}
unsigned tilesOf(uint32_t batches, int n, int tile) { return batches * unsigned(ceilDiv(n, tile)); }

template <typename T>
void attend(const Call& c) {
  const Problem<T> p = problemOf<T>(c, c.in[3], c.nIn > 4 ? &c.in[4] : nullptr);
  const size_t shared = (kTileMemory + kQueries * (kKeys + 1) + kKeys * kWide + 3 * kQueries) * sizeof(T);
  LAUNCH(attendKernel<T>, dim3(tilesOf(p.batches, p.L, kQueries), blocksFor(p.F, kWide)), kBlock, shared, p, Part<T>(c.out[0]),
         Part<T>(c.out[1], 1));
}

template <typename T>
void attendGrad(const Call& c) {
  const Problem<T> p = problemOf<T>(c, c.in[6], c.nIn > 7 ? &c.in[7] : nullptr);
  const Part<T> y(c.in[3]), lse(c.in[4], 1), dy(c.in[5]);
  const Temporary memory(int64_t(p.batches) * p.L * int64_t(sizeof(T)));
  T* const dot = memory.get<T>();
  LAUNCH(dotKernel<T>, p.batches * unsigned(p.L), 64, 64 * sizeof(T), p, y, dy, dot);
  const size_t shared = (kTileMemory + kQueries * (kKeys + 1) + kKeys * kWide) * sizeof(T);
  LAUNCH(queryGradKernel<T>, dim3(tilesOf(p.batches, p.L, kQueries), blocksFor(p.E, kWide)), kBlock, shared, p, lse, dy, dot,
         Part<T>(c.out[0]));
  LAUNCH(keyGradKernel<T>, dim3(tilesOf(p.batches, p.S, kKeys), blocksFor(p.E, kWide) + blocksFor(p.F, kWide)), kBlock, shared,
         p, lse, dy, dot, Part<T>(c.out[1]), Part<T>(c.out[2]));
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

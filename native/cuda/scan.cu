// Along the last dimension: cumulative sums and products, and the stable sort.
#include "sort.cuh"

namespace nabla {
using namespace cuda;
namespace {

struct Row {
  Data x, y;
  Layout<2> rows;
  int64_t stepX, stepY;
  uint32_t n;
};

// A block a row, a tile of it at a time, in float64 or int64.
template <typename C, bool product>
__global__ void scanKernel(Row p) {
  DYN_SHARED(C, memory);
  int64_t at[2];
  locate(p.rows, blockIdx.x, at);
  const int t = int(threadIdx.x), threads = int(blockDim.x);
  const auto join = [](C a, C b) { return product ? multiply(a, b) : add(a, b); };
  C before = product ? C(1) : C(0);
  for (uint32_t first = 0; first < p.n; first += threads) {
    const uint32_t i = first + t;
    memory[t] = i < p.n ? p.x.load<C>(at[0] + i * p.stepX) : product ? C(1) : C(0);
    __syncthreads();
    for (int step = 1; step < threads; step *= 2) {
      const C left = t >= step ? memory[t - step] : C(0);
      __syncthreads();
      if (t >= step) memory[t] = join(left, memory[t]);
      __syncthreads();
    }
    if (i < p.n) p.y.store(at[1] + i * p.stepY, join(before, memory[t]));
    before = join(before, memory[threads - 1]);
    __syncthreads();
  }
}

template <bool product>
void scan(const Call& c) {
  const View &x = c.in[0], &y = c.out[0];
  const int last = x.ndim - 1;
  const int64_t n = x.shape[last], rows = n == 0 ? 0 : x.numel() / n;
  if (rows == 0) return;
  const Row p = {Data(x), Data(y), rowsOf(x, y), x.strides[last], y.strides[last], uint32_t(n)};
  const int threads = powerOfTwo(n, 32, kThreads);
  if (isFloat(x.dtype)) LAUNCH((scanKernel<double, product>), unsigned(rows), threads, threads * 8, p);
  else LAUNCH((scanKernel<int64_t, product>), unsigned(rows), threads, threads * 8, p);
}

// ---- Sort

// An unsigned integer in the order of the values: NaN above all, −0 equal to +0.
DEVICE uint64_t keyOf(const Data& x, int64_t at) {
  constexpr uint64_t sign = uint64_t(1) << 63;
  if (!isFloat(x.dtype)) return uint64_t(x.load<int64_t>(at)) ^ sign;
  const double value = x.load<double>(at);
  if (value != value) return ~uint64_t(0);
  const uint64_t bits = bitsOf(value == 0 ? 0.0 : value);
  return bits & sign ? ~bits : bits | sign;
}

struct SortArgs {
  Data x, values, indices;
  Layout<3> rows;
  int64_t stepX, stepValues, stepIndices;
  uint32_t n, padded;  // to a power of two
  bool descending;
};

__global__ void makeEntries(SortArgs p, Entry* entries, uint32_t count) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const uint32_t row = i / p.padded, place = i % p.padded;
  Entry e = {~uint64_t(0), place};  // padding comes last: its places do
  if (place < p.n) {
    int64_t at[3];
    locate(p.rows, row, at);
    const uint64_t key = keyOf(p.x, at[0] + place * p.stepX);
    e.key = p.descending ? ~key : key;
  }
  entries[i] = e;
}

template <typename T>
__global__ void writeSorted(SortArgs p, const Entry* entries, uint32_t count) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const uint32_t row = i / p.n, place = i % p.n;
  int64_t at[3];
  locate(p.rows, row, at);
  const uint64_t from = entries[uint64_t(row) * p.padded + place].place;
  reinterpret_cast<T*>(p.values.data)[at[1] + place * p.stepValues] =
      reinterpret_cast<const T*>(p.x.data)[at[0] + int64_t(from) * p.stepX];
  reinterpret_cast<int64_t*>(p.indices.data)[at[2] + place * p.stepIndices] = int64_t(from);
}

}  // namespace

void run_cumsum(const Call& c) { scan<false>(c); }
void run_cumprod(const Call& c) { scan<true>(c); }

void run_sort(const Call& c) {
  const View &x = c.in[0], &values = c.out[0], &indices = c.out[1];
  const int last = x.ndim - 1;
  const int64_t n = x.shape[last], rows = n == 0 ? 0 : x.numel() / n;
  if (rows == 0) return;
  const int64_t padded = paddedForSort(n);
  if (padded * rows > INT32_MAX) fail("MEMORY", "sort: %lld rows of %lld elements are too many", (long long)rows, (long long)n);
  SortArgs p = {Data(x), Data(values), Data(indices), rowsOf(x, values, indices), x.strides[last], values.strides[last],
                indices.strides[last], uint32_t(n), uint32_t(padded), c.attr[0] != 0};
  const uint32_t all = uint32_t(padded * rows);
  const Temporary memory(int64_t(all) * int64_t(sizeof(Entry)));
  Entry* const entries = memory.get<Entry>();
  LAUNCH(makeEntries, blocksFor(all), kThreads, 0, p, entries, all);
  sortEntries(entries, p.padded, uint32_t(rows));
  withSize(x.dtype, [&](auto tag) {
    LAUNCH(writeSorted<TypeOf<decltype(tag)>>, blocksFor(n * rows), kThreads, 0, p, entries, uint32_t(n * rows));
  });
}

}  // namespace nabla

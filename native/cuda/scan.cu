// Along the last dimension: cumulative sums and products, and the stable sort.
#include "view.cuh"

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

// ---- Sort: a bitonic network (Batcher 1968) over pairs of key and place, which differ all, so that it is stable.

struct Entry {
  uint64_t key;
  uint64_t place;
};
DEVICE bool after(const Entry& a, const Entry& b) { return a.key != b.key ? a.key > b.key : a.place > b.place; }

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

// One comparison of the network: elements i and i ^ distance; runs of length 2·`run` ascend and descend in turn.
DEVICE void compare(Entry* e, uint32_t i, uint32_t other, bool ascending) {
  if (after(e[i], e[other]) == ascending) {
    const Entry swapped = e[i];
    e[i] = e[other];
    e[other] = swapped;
  }
}
// The pair that thread t compares.
DEVICE uint32_t lowerOf(uint32_t t, uint32_t distance) { return (t / distance) * 2 * distance + t % distance; }

constexpr uint32_t kTile = 1024;  // entries of a block

// All steps whose distance stays within a tile: from the beginning (run = 0), or the end of one run length.
__global__ void sortTile(Entry* entries, uint32_t padded, uint32_t tile, uint32_t run) {
  DYN_SHARED(Entry, memory);
  const uint32_t t = threadIdx.x, base = blockIdx.x * tile;
  memory[t] = entries[base + t];
  memory[t + tile / 2] = entries[base + t + tile / 2];
  __syncthreads();
  for (uint32_t length = run == 0 ? 2 : run; length <= (run == 0 ? tile : run); length *= 2) {
    for (uint32_t distance = length / 2 < tile / 2 ? length / 2 : tile / 2; distance > 0; distance /= 2) {
      const uint32_t i = lowerOf(t, distance);
      compare(memory, i, i + distance, ((base + i) % padded & length) == 0 || length == padded);
      __syncthreads();
    }
  }
  entries[base + t] = memory[t];
  entries[base + t + tile / 2] = memory[t + tile / 2];
}
__global__ void sortStep(Entry* entries, uint32_t padded, uint32_t length, uint32_t distance, uint32_t pairs) {
  const uint32_t t = threadPosition();
  if (t >= pairs) return;
  const uint32_t i = lowerOf(t, distance);
  compare(entries, i, i + distance, (i % padded & length) == 0 || length == padded);
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
  int64_t padded = 2;
  while (padded < n) padded *= 2;
  if (padded * rows > INT32_MAX) fail("MEMORY", "sort: %lld rows of %lld elements are too many", (long long)rows, (long long)n);
  SortArgs p = {Data(x), Data(values), Data(indices), rowsOf(x, values, indices), x.strides[last], values.strides[last],
                indices.strides[last], uint32_t(n), uint32_t(padded), c.attr[0] != 0};
  const uint32_t all = uint32_t(padded * rows), tile = uint32_t(std::min<int64_t>(padded, kTile)), pairs = all / 2;
  const Temporary memory(int64_t(all) * int64_t(sizeof(Entry)));
  Entry* const entries = memory.get<Entry>();
  LAUNCH(makeEntries, blocksFor(all), kThreads, 0, p, entries, all);
  LAUNCH(sortTile, all / tile, tile / 2, tile * sizeof(Entry), entries, p.padded, tile, 0u);
  for (uint32_t length = 2 * tile; length <= p.padded; length *= 2) {
    for (uint32_t distance = length / 2; distance >= tile; distance /= 2)
      LAUNCH(sortStep, blocksFor(pairs), kThreads, 0, entries, p.padded, length, distance, pairs);
    LAUNCH(sortTile, all / tile, tile / 2, tile * sizeof(Entry), entries, p.padded, tile, length);
  }
  withSize(x.dtype, [&](auto tag) {
    LAUNCH(writeSorted<TypeOf<decltype(tag)>>, blocksFor(n * rows), kThreads, 0, p, entries, uint32_t(n * rows));
  });
}

}  // namespace nabla

// gather, scatter, indexSelect and indexAdd: elements and rows addressed by index tensors.
//
// Every index is checked before anything is written. Sums go to each target in ascending order of the index position: the
// positions are sorted by target, and whoever has the first of a target adds all of them.
#include "indices.cuh"
#include "sort.cuh"

namespace nabla {
using namespace cuda;
namespace {

// The values of an index tensor in row-major order, each in [0, n); −1 for a wrong one, which only a graph has.
__global__ void loadIndices(Data index, Layout<1> layout, uint32_t count, int64_t n, int32_t* to) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const int64_t v = index.load<int64_t>(locate(layout, i));
  to[i] = v < -n || v >= n ? -1 : int32_t(v < 0 ? v + n : v);
}

class Indices {
 public:
  Indices(const Call& c, const View& index, int dim, int64_t n)
      : count(uint32_t(index.numel())), memory_(std::max<int64_t>(1, count) * 4), values(memory_.get<int32_t>()) {
    std::string text = std::string(c.op) + ": index %lld is out of range for dimension " + std::to_string(dim) +
                       " of size " + std::to_string(n);
    if (n > 0) text += " (allowed: " + std::to_string(-n) + " to " + std::to_string(n - 1) + ")";
    checkIndices(index, OutOfRange{n}, text);
    if (count > 0) LAUNCH(loadIndices, blocksFor(count), kThreads, 0, Data(index), layoutOf(index), count, n, values);
  }
  const uint32_t count;

 private:
  Temporary memory_;

 public:
  int32_t* const values;
};

constexpr uint64_t kNowhere = ~uint64_t(0);  // the key of what is added nowhere: wrong indices, and what fills up

// ---- gather and scatter: one index an element.

// Positions of the index but for `dim`, with the strides of x, the other operand and the values; and those along it.
struct Elements {
  Layout<3> outside;
  uint32_t positions, length;
  int64_t xStep, otherStep, indexStep;
  Elements(const View& x, const View& index, const View& other, int dim) {
    int64_t strides[kMaxDims], stride = 1;
    for (int d = index.ndim - 1; d >= 0; d--) {
      strides[d] = stride;
      stride *= index.shape[d];
    }
    for (int d = 0; d < index.ndim; d++)
      if (d != dim) outside.push(index.shape[d], x.strides[d], other.strides[d], strides[d]);
    positions = uint32_t(outside.count());
    length = uint32_t(index.shape[dim]);
    xStep = x.strides[dim], otherStep = other.strides[dim], indexStep = strides[dim];
  }
};

template <typename T>
__global__ void gatherKernel(Elements p, const int32_t* index, const T* x, T* y) {
  const uint32_t i = threadPosition();
  if (i >= p.positions * p.length) return;
  int64_t at[3];
  locate(p.outside, i % p.positions, at);
  const uint32_t j = i / p.positions;
  const int32_t from = index[at[2] + j * p.indexStep];
  if (from >= 0) y[at[1] + j * p.otherStep] = x[at[0] + from * p.xStep];
}

// Positions that differ outside `dim` never meet in x, so each has a thread, which goes along `dim` in order.
template <typename T>
__global__ void scatterKernel(Elements p, const int32_t* index, T* x, const T* src) {
  const uint32_t i = threadPosition();
  if (i >= p.positions) return;
  int64_t at[3];
  locate(p.outside, i, at);
  for (uint32_t j = 0; j < p.length; j++) {
    const int32_t to = index[at[2] + j * p.indexStep];
    if (to >= 0) x[at[0] + to * p.xStep] = src[at[1] + j * p.otherStep];
  }
}
template <typename C>
__global__ void scatterAddKernel(Elements p, const int32_t* index, Data x, Data src) {
  const uint32_t i = threadPosition();
  if (i >= p.positions) return;
  int64_t at[3];
  locate(p.outside, i, at);
  for (uint32_t j = 0; j < p.length; j++) {
    const int32_t place = index[at[2] + j * p.indexStep];
    if (place < 0) continue;
    const int64_t to = at[0] + place * p.xStep;
    x.store(to, add(x.load<C>(to), src.load<C>(at[1] + j * p.otherStep)));
  }
}

// The same with a thread for each target, for few positions outside `dim`: entries with targets as keys.
template <typename C>
__global__ void scatterSortedKernel(Elements p, const Entry* entries, uint32_t count, int64_t n, Data x, Data src) {
  const uint32_t s = threadPosition();
  if (s >= count) return;
  const uint64_t target = entries[s].key;
  if (target == kNowhere || (s > 0 && entries[s - 1].key == target)) return;
  int64_t at[3];
  locate(p.outside, uint32_t(target / uint64_t(n)), at);
  const int64_t to = at[0] + int64_t(target % uint64_t(n)) * p.xStep;
  for (uint32_t k = s; k < count && entries[k].key == target; k++)
    x.store(to, add(x.load<C>(to), src.load<C>(at[1] + int64_t(entries[k].place / p.positions) * p.otherStep)));
}
__global__ void scatterEntries(Elements p, const int32_t* index, int64_t n, Entry* entries, uint32_t padded) {
  const uint32_t e = threadPosition();
  if (e >= padded) return;
  const uint32_t i = e % p.positions, j = e / p.positions;
  entries[e] = {kNowhere, e};
  if (j >= p.length) return;
  int64_t at[3];
  locate(p.outside, i, at);
  const int32_t to = index[at[2] + j * p.indexStep];
  if (to >= 0) entries[e].key = uint64_t(i) * uint64_t(n) + uint64_t(to);
}

// ---- indexSelect and indexAdd: one index a row, a row being all of x at one place of `dim`.

struct RowArgs {
  Layout<2> row;  // a row's elements, with the strides of two operands
  uint32_t elements;
  int64_t step[2];  // from row to row
  RowArgs(const View& a, const View& b, int dim) {
    for (int d = 0; d < a.ndim; d++)
      if (d != dim) row.push(a.shape[d], a.strides[d], b.strides[d]);
    elements = uint32_t(row.count());
    step[0] = a.strides[dim], step[1] = b.strides[dim];
  }
};

template <typename T>
__global__ void selectKernel(RowArgs p, const int32_t* index, uint32_t count, const T* x, T* y) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const uint32_t j = i / p.elements;
  int64_t at[2];
  locate(p.row, i % p.elements, at);
  if (index[j] >= 0) y[at[1] + j * p.step[1]] = x[at[0] + index[j] * p.step[0]];
}

// Thread e of those of the sorted position s: adds all rows of a target to it, if s is the first of them.
template <typename C>
__global__ void addRowsKernel(RowArgs p, const Entry* entries, uint32_t count, Data x, Data src) {
  const uint32_t i = threadPosition(), s = i / p.elements;
  if (s >= count) return;
  const uint64_t target = entries[s].key;
  if (target == kNowhere || (s > 0 && entries[s - 1].key == target)) return;
  int64_t at[2];
  locate(p.row, i % p.elements, at);
  const int64_t to = at[0] + int64_t(target) * p.step[0];
  for (uint32_t k = s; k < count && entries[k].key == target; k++)
    x.store(to, add(x.load<C>(to), src.load<C>(at[1] + int64_t(entries[k].place) * p.step[1])));
}
__global__ void rowEntries(const int32_t* index, uint32_t count, Entry* entries, uint32_t padded) {
  const uint32_t j = threadPosition();
  if (j < padded) entries[j] = {j < count && index[j] >= 0 ? uint64_t(index[j]) : kNowhere, j};
}

}  // namespace

void run_gather(const Call& c) {
  const View &x = c.in[0], &index = c.in[1], &y = c.out[0];
  const int dim = c.attr[0];
  const Indices indices(c, index, dim, x.shape[dim]);
  if (indices.count == 0) return;
  withSize(x.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    LAUNCH(gatherKernel<T>, blocksFor(indices.count), kThreads, 0, Elements(x, index, y, dim), indices.values, x.as<T>(), y.as<T>());
  });
}

void run_scatter(const Call& c) {
  const View &x = c.out[0], &index = c.in[0], &src = c.in[1];
  const int dim = c.attr[0];
  const Indices indices(c, index, dim, x.shape[dim]);
  if (indices.count == 0) return;
  const Elements p(x, index, src, dim);
  if (c.attr[1] == 0) {
    withSize(x.dtype, [&](auto tag) {
      using T = TypeOf<decltype(tag)>;
      LAUNCH(scatterKernel<T>, blocksFor(p.positions, 64), 64, 0, p, indices.values, x.as<T>(), src.as<T>());
    });
  } else if (p.length > 32 && p.positions < 4096) {
    const int64_t padded = paddedForSort(indices.count);
    const Temporary memory(padded * int64_t(sizeof(Entry)));
    Entry* const entries = memory.get<Entry>();
    LAUNCH(scatterEntries, blocksFor(padded), kThreads, 0, p, indices.values, int64_t(x.shape[dim]), entries, uint32_t(padded));
    sortEntries(entries, uint32_t(padded), 1);
    withCompute(x.dtype, [&](auto tag) {
      LAUNCH(scatterSortedKernel<TypeOf<decltype(tag)>>, blocksFor(indices.count), kThreads, 0, p, entries, indices.count,
             int64_t(x.shape[dim]), Data(x), Data(src));
    });
  } else {
    withCompute(x.dtype, [&](auto tag) {
      LAUNCH(scatterAddKernel<TypeOf<decltype(tag)>>, blocksFor(p.positions, 64), 64, 0, p, indices.values, Data(x), Data(src));
    });
  }
}

void run_indexSelect(const Call& c) {
  const View &x = c.in[0], &index = c.in[1], &y = c.out[0];
  const int dim = c.attr[0];
  const Indices indices(c, index, dim, x.shape[dim]);
  const uint32_t count = uint32_t(y.numel());
  if (count == 0) return;
  withSize(x.dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    LAUNCH(selectKernel<T>, blocksFor(count), kThreads, 0, RowArgs(x, y, dim), indices.values, count, x.as<T>(), y.as<T>());
  });
}

void run_indexAdd(const Call& c) {
  const View &x = c.out[0], &index = c.in[0], &src = c.in[1];
  const int dim = c.attr[0];
  const Indices indices(c, index, dim, x.shape[dim]);
  const RowArgs p(x, src, dim);
  if (indices.count == 0 || p.elements == 0) return;
  const int64_t padded = paddedForSort(indices.count);
  const Temporary memory(padded * int64_t(sizeof(Entry)));
  Entry* const entries = memory.get<Entry>();
  LAUNCH(rowEntries, blocksFor(padded), kThreads, 0, indices.values, indices.count, entries, uint32_t(padded));
  sortEntries(entries, uint32_t(padded), 1);
  withCompute(x.dtype, [&](auto tag) {
    LAUNCH(addRowsKernel<TypeOf<decltype(tag)>>, blocksFor(int64_t(indices.count) * p.elements), kThreads, 0, p, entries,
           indices.count, Data(x), Data(src));
  });
}

}  // namespace nabla

// gather, scatter, indexSelect and indexAdd: elements and rows addressed by index tensors.
//
// Every index is checked before anything is written. Sums go to each target in ascending order of the index position.
#include "indices.cuh"

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

// The block of the first position with some index adds the rows of all positions that have it.
template <typename C>
__global__ void addRowsKernel(RowArgs p, const int32_t* index, uint32_t count, Data x, Data src) {
  DYN_SHARED(int32_t, memory);
  const uint32_t j = blockIdx.x, t = threadIdx.x;
  const int32_t target = index[j];
  if (target < 0) return;
  int earlier = 0;
  for (uint32_t k = t; k < j && !earlier; k += blockDim.x) earlier = index[k] == target;
  if (combine(earlier, memory, int(blockDim.x), [](int a, int b) { return a | b; })) return;
  for (uint32_t first = j; first < count; first += blockDim.x) {
    __syncthreads();
    memory[t] = first + t < count ? index[first + t] : -1;  // which is nobody's target
    __syncthreads();
    for (uint32_t k = 0; k < blockDim.x; k++) {
      if (memory[k] != target) continue;
      for (uint32_t e = t; e < p.elements; e += blockDim.x) {
        int64_t at[2];
        locate(p.row, e, at);
        const int64_t to = at[0] + target * p.step[0];
        x.store(to, add(x.load<C>(to), src.load<C>(at[1] + int64_t(first + k) * p.step[1])));
      }
    }
  }
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
  const int threads = powerOfTwo(p.elements, 64, kThreads);
  withCompute(x.dtype, [&](auto tag) {
    LAUNCH(addRowsKernel<TypeOf<decltype(tag)>>, indices.count, threads, threads * 4, p, indices.values, indices.count, Data(x), Data(src));
  });
}

}  // namespace nabla

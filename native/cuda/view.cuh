// Operands as arguments of kernels, and the arithmetic of grids and positions.
#pragma once
#include <algorithm>

#include "../graph/layout.h"
#include "device.h"
#include "values.cuh"

namespace nabla {
namespace cuda {

// Memory and dtype of a view; where its elements are, a Layout says.
struct Data {
  char* data;
  DType dtype;
  Data() = default;
  Data(const View& v) : data(v.data), dtype(v.dtype) {}
  template <typename C>
  DEVICE C load(int64_t at) const {
    return cuda::load<C>(data, dtype, at);
  }
  template <typename C>
  DEVICE void store(int64_t at, C v) const {
    cuda::store<C>(data, dtype, at, v);
  }
};

// A 0-dimensional operand: an immediate, or one number in the device's memory.
struct Number {
  const char* data = nullptr;
  DType dtype;
  uint64_t bits = 0;
  Number(const View& v) : dtype(v.dtype) {
    if (v.inlined) std::memcpy(&bits, v.data, sizeOf(v.dtype));
    else data = v.data;
  }
  template <typename C>
  DEVICE C get() const {
    return cuda::load<C>(data ? data : reinterpret_cast<const char*>(&bits), dtype, 0);
  }
};

// Where the element at a row-major position of a layout is in each operand.
template <int K>
DEVICE void locate(const Layout<K>& layout, uint32_t position, int64_t (&offset)[K]) {
  for (int k = 0; k < K; k++) offset[k] = 0;
  for (int i = layout.n - 1; i >= 0; i--) {
    const uint32_t size = uint32_t(layout.size[i]), index = i == 0 ? position : position % size;
    position /= size;
    for (int k = 0; k < K; k++) offset[k] += int64_t(index) * layout.stride[i][k];
  }
}
DEVICE int64_t locate(const Layout<1>& layout, uint32_t position) {
  int64_t offset[1];
  locate(layout, position, offset);
  return offset[0];
}

constexpr int kThreads = 256;

// The position of this thread in a one-dimensional grid of blocks of any size.
DEVICE uint32_t threadPosition() { return blockIdx.x * blockDim.x + threadIdx.x; }

inline unsigned blocksFor(int64_t count, int64_t perBlock = kThreads) { return unsigned(ceilDiv(count, perBlock)); }

// The least power of two that is at least n, between low and high.
inline int powerOfTwo(int64_t n, int low, int high) {
  int p = low;
  while (p < n && p < high) p *= 2;
  return p;
}

// All dimensions of some views of one shape.
template <typename... V>
Layout<int(sizeof...(V)) + 1> layoutOf(const View& first, const V&... more) {
  Layout<int(sizeof...(V)) + 1> layout;
  for (int d = 0; d < first.ndim; d++) layout.push(first.shape[d], first.strides[d], more.strides[d]...);
  return layout;
}
// All but the last.
template <typename... V>
Layout<int(sizeof...(V)) + 1> rowsOf(const View& first, const V&... more) {
  Layout<int(sizeof...(V)) + 1> layout;
  for (int d = 0; d < first.ndim - 1; d++) layout.push(first.shape[d], first.strides[d], more.strides[d]...);
  return layout;
}

// Combines the values of the first `size` threads of a block, a power of two of them, or more of which the others bring
// the neutral value; every thread gets the result. `memory` has room for one value a thread and may be used again after.
template <typename T, typename Join>
DEVICE T combine(T value, T* memory, int size, Join join) {
  const int t = int(threadIdx.x);
  __syncthreads();
  memory[t] = value;
  __syncthreads();
  for (int half = size / 2; half > 0; half /= 2) {
    if (t < half) memory[t] = join(memory[t], memory[t + half]);
    __syncthreads();
  }
  return memory[0];
}
template <typename T>
DEVICE T combineSum(T value, T* memory) {
  return combine(value, memory, int(blockDim.x), [](T a, T b) { return add(a, b); });
}
// NaN wins.
template <typename T>
DEVICE T combineMax(T value, T* memory) {
  return combine(value, memory, int(blockDim.x), [](T a, T b) { return b > a || isNan(b) ? b : a; });
}


// Of the row x(0) … x(n − 1) that a block works on: its largest element, and Σ eˣ⁻ᵐᵃˣ. For every thread.
template <typename C, typename Row>
DEVICE void maxAndSum(const Row& x, uint32_t n, C* memory, C& most, C& sum) {
  C own = -infinity<C>();
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
    const C v = x(i);
    if (v > own || isNan(v)) own = v;
  }
  most = combineMax(own, memory);
  C part = 0;
  for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) part += expOf(x(i) - most);
  sum = combineSum(part, memory);
}
// Threads of a block that works on a row of n elements.
inline int threadsForRow(int64_t n) { return powerOfTwo(ceilDiv(n, 4), 32, 512); }

}  // namespace cuda
}  // namespace nabla

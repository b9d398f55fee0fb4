// Operands of the fast products: matrices with one contiguous dimension, read into tiles in shared memory.
#pragma once
#include "epilogue.cuh"

namespace nabla {
namespace cuda {

// Element (i, k) of batch n is at n·batch + i·row + k, or, lying on its side, at n·batch + i + k·row.
template <typename T>
struct TileSource {
  const T* data;
  int64_t batch, row;
  bool alongK;
  bool wide;  // rows begin at multiples of 16 bytes, so four floats (eight halves) can be read at once
};

struct ProductSize {
  int M, N, K, batches;
};

// Views as a TileSource; false when neither dimension is contiguous. `k` is the dimension that is summed over.
template <typename T>
bool tileSource(const View& v, int k, TileSource<T>& to) {
  const int other = k == 2 ? 1 : 2;
  const auto unit = [&](int d) { return v.strides[d] == 1 || v.shape[d] == 1; };
  to.data = v.as<const T>();
  to.batch = v.strides[0];
  to.alongK = unit(k);
  if (!to.alongK && !unit(other)) return false;
  to.row = v.strides[to.alongK ? other : k];
  constexpr int64_t each = 16 / sizeof(T);
  to.wide = reinterpret_cast<uintptr_t>(v.data) % 16 == 0 && to.row % each == 0 && to.batch % each == 0;
  return true;
}

}  // namespace cuda
}  // namespace nabla

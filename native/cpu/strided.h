// Small strided planes to and from packed memory, for blocks that stay in the first-level cache.
#pragma once
#include <cstdint>
#include <cstring>

namespace nabla {

template <typename T>
inline void fill(T* to, T value, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = value;
}

// packed[r·cols + c] = plane[r·rowStride + c·colStride]
template <typename T>
void gatherPlane(const T* plane, int64_t rowStride, int64_t colStride, int64_t rows, int64_t cols, T* packed) {
  if (rowStride == 0 && rows > 1) {  // one row, doubled until it fills the block
    gatherPlane(plane, 0, colStride, 1, cols, packed);
    const int64_t all = rows * cols;
    for (int64_t have = cols; have < all; have *= 2)
      std::memcpy(packed + have, packed, sizeof(T) * size_t(have < all - have ? have : all - have));
  } else if (colStride == 1) {
    for (int64_t r = 0; r < rows; r++) {
      const T* from = plane + r * rowStride;
      T* to = packed + r * cols;
      if (cols >= 32) std::memcpy(to, from, sizeof(T) * size_t(cols));
      else for (int64_t c = 0; c < cols; c++) to[c] = from[c];
    }
  } else if (colStride == 0) {
    for (int64_t r = 0; r < rows; r++) fill(packed + r * cols, plane[r * rowStride], cols);
  } else if (rows > 1 && (rowStride == 1 || rowStride == -1)) {  // transposed: read along the columns
    int64_t c = 0;
    for (; c + 4 <= cols; c += 4)
      for (int64_t r = 0; r < rows; r++) {
        const T* from = plane + r * rowStride + c * colStride;
        T* to = packed + r * cols + c;
        const T x0 = from[0], x1 = from[colStride], x2 = from[2 * colStride], x3 = from[3 * colStride];
        to[0] = x0, to[1] = x1, to[2] = x2, to[3] = x3;
      }
    for (; c < cols; c++)
      for (int64_t r = 0; r < rows; r++) packed[r * cols + c] = plane[r * rowStride + c * colStride];
  } else {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < cols; c++) packed[r * cols + c] = plane[r * rowStride + c * colStride];
  }
}

// plane[r·rowStride + c·colStride] = packed[r·cols + c]
template <typename T>
void scatterPlane(const T* packed, int64_t rows, int64_t cols, T* plane, int64_t rowStride, int64_t colStride) {
  if (colStride == 1) {
    for (int64_t r = 0; r < rows; r++) {
      const T* from = packed + r * cols;
      T* to = plane + r * rowStride;
      if (cols >= 32) std::memcpy(to, from, sizeof(T) * size_t(cols));
      else for (int64_t c = 0; c < cols; c++) to[c] = from[c];
    }
  } else if (rowStride == 1 || rowStride == -1) {
    for (int64_t c = 0; c < cols; c++)
      for (int64_t r = 0; r < rows; r++) plane[r * rowStride + c * colStride] = packed[r * cols + c];
  } else {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < cols; c++) plane[r * rowStride + c * colStride] = packed[r * cols + c];
  }
}

}  // namespace nabla

// The float matrix product as plain C++, for kernels that are made of products (matmul, convolution).
#pragma once
#include <cstdint>

#include "../core/dtype.h"

namespace nabla {

// c[M, N] = a[M, K] · b[K, N], or += with `accumulate`; float32 and float64; strides in elements, any sign, 0 allowed
// in a and b. c overlaps neither input. Uses all compute threads, or the calling one alone inside a parallel loop;
// the result does not depend on the number of threads. Throws Error("MEMORY") when packing buffers cannot be had.
void gemm(DType t, int64_t M, int64_t N, int64_t K, const void* a, int64_t aRow, int64_t aCol, const void* b,
          int64_t bRow, int64_t bCol, void* c, int64_t cRow, int64_t cCol, bool accumulate);

// The same for a batch of products, also of float16 and bfloat16 (computed in float32).
struct Matrix {
  const void* data;
  int64_t batch, row, col;  // strides
};
struct Product {
  DType type;
  int64_t batch, M, N, K;
  Matrix a, b, c;  // c is written
  bool accumulate;
};
void gemm(Product);

}  // namespace nabla

// The float matrix product as plain C++, for kernels that are made of products (matmul, convolution).
#pragma once
#include <cstdint>
#include <memory>

#include "../core/dtype.h"
#include "../core/pool.h"

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
  uint64_t generation = 0;  // of the values, see View
};
// What becomes of the product's values instead of their being stored in c: any element-wise work while they are in the
// cache. Not together with `accumulate`.
struct Epilogue {
  void* context;
  // Called once for each block of c, from any compute thread. The blocks are disjoint and cover c of every product of the
  // batch; how c is cut in blocks has no influence on the values. Rows [row, row + rows) and columns [col, col + cols) of
  // product `batch`, as given to gemm(); element (i, j) of the block is static_cast<T*>(block)[i * blockRow +
  // j * blockCol], T the type that the product is computed in, and may be overwritten. One of the strides is 1: that of
  // the direction in which c is contiguous by its strides (its data is not used).
  void (*run)(void* context, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols, void* block,
              int64_t blockRow, int64_t blockCol);
};
// What a product that is computed again and again keeps of its second factor (the first, where gemm swaps them): the
// panels that tiles read, as long as it stays what it was. They are packed when a generation is seen for the second
// time, so that a factor that changes from run to run costs nothing.
class KeptPanels {
 public:
  explicit KeptPanels(Pool& pool) : pool_(pool) {}
  // Memory for `bytes` of panels; null when they should not be kept (yet). `filled`: with those of this generation.
  char* get(uint64_t generation, int64_t bytes, bool& filled);

 private:
  Pool& pool_;
  uint64_t generation_ = 0;  // the last one seen
  bool filled_ = false;      // with its panels
  std::unique_ptr<Block> block_;
};
struct Product {
  DType type;
  int64_t batch, M, N, K;
  Matrix a, b, c;  // c is written
  bool accumulate;
  const Epilogue* epilogue = nullptr;
  KeptPanels* kept = nullptr;
};
void gemm(Product);

}  // namespace nabla

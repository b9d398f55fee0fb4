// What a matrix-product kernel of one instruction set offers to cpu/gemm.cc: one table of plain functions per element
// type. The functions live in simd/matmul_<isa>.cc, all from the one source matmul_kernels.h.
#pragma once
#include <cstdint>

namespace nabla {

constexpr int kTileVectors = 4, kTileRows = 12;  // upper bounds of a register tile over all instruction sets

// One register tile: c[rows, n] = or += a[rows, k] · b[k, n], n columns in whole vectors but for the last.
// Strides of a and b are in bytes (gcc makes a second copy of every loop for stride 1 of a known element size).
template <typename T>
struct Tile {
  const T* a;
  int64_t aRow, aCol;
  const T* b;  // columns are contiguous
  int64_t bRow;
  T* pack;  // packing tiles only: receives b's rows as whole vectors, the last one padded with zeros,
  int64_t packRow;  // this far apart (0 keeps nothing: b is read once)
  T* c;  // columns are contiguous
  int64_t cRow;
  int64_t k;
  int64_t tail;  // columns in the last vector, 1 … lanes
  bool accumulate;
};

template <typename T>
struct MatmulKernels {
  using TileFn = void (*)(const Tile<T>&);

  int lanes;                        // elements in a vector
  int vectors;                      // widest tile
  int rows[kTileVectors + 1];       // most rows of a tile that is v vectors wide
  // [rows - 1][vectors - 1]. Plain tiles read whole vectors of b; packing tiles read exactly n columns, prefetch
  // rows further down and store what they read.
  TileFn plain[kTileRows][kTileVectors], packing[kTileRows][kTileVectors];

  // c[rows, cols] = or += a[rows, k] · b[cols, k]ᵀ, both contiguous along k; any rows and cols.
  void (*dot)(int64_t rows, int64_t cols, int64_t k, const T* a, int64_t aRow, const T* b, int64_t bCol, T* c,
              int64_t cRow, int64_t cCol, bool accumulate);
  // c[rows, n] = a[rows, k] · b[k, n], a few rows; contiguous along n, a along k.
  void (*combine)(int64_t rows, int64_t n, int64_t k, const T* a, int64_t aRow, const T* b, int64_t bRow, T* c,
                  int64_t cRow);
  // dst[i * dstRow + j] = src[j * srcCol + i], i < rows, j < cols.
  void (*transpose)(int64_t rows, int64_t cols, const T* src, int64_t srcCol, T* dst, int64_t dstRow);
};

struct MatmulIsa {
  const MatmulKernels<float>* f32;
  const MatmulKernels<double>* f64;
  void (*widenF16)(int64_t n, const uint16_t* src, float* dst);
  void (*narrowF16)(int64_t n, const float* src, uint16_t* dst);
};

namespace baseline { extern const MatmulIsa matmul; }
namespace avx2 { extern const MatmulIsa matmul; }
namespace avx512 { extern const MatmulIsa matmul; }
namespace neon { extern const MatmulIsa matmul; }

}  // namespace nabla

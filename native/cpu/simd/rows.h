// Float32 loops over contiguous rows, strips of columns and blocks: reductions, softmax, normalisation, convolution.
// rows.cc is compiled once per instruction set, each time into a namespace of its own; this is the table it exports.
#pragma once
#include <cstdint>

namespace nabla {

constexpr int64_t kLeaf = 2048;      // the longest run that `sum`, `max` and `min` take: a leaf of the tree of chunks
constexpr int64_t kColumns = 512;    // the widest strip
constexpr int64_t kLeafRows = 32;    // the longest strip, but for…
constexpr int64_t kPacked = 32;      // …strips of at most so many columns without gaps between the rows

// The fewest rows of `columns` values that are a multiple of 16 values: a power of two.
constexpr int64_t packedRows(int64_t columns) {
  int64_t rows = 16;
  while (rows > 1 && columns * (rows / 2) % 16 == 0) rows /= 2;
  return rows;
}

struct RowKernels {
  // Of x[0 … n), n from 1 to kLeaf. The same bits on every instruction set. max and min give NaN when there is one.
  float (*sum)(const float* x, int64_t n);
  float (*max)(const float* x, int64_t n);
  float (*min)(const float* x, int64_t n);
  // y[r] = the same of the row x[r·stride … + n).
  void (*sumRows)(const float* x, int64_t rows, int64_t stride, int64_t n, float* y);
  void (*maxRows)(const float* x, int64_t rows, int64_t stride, int64_t n, float* y);
  void (*minRows)(const float* x, int64_t rows, int64_t stride, int64_t n, float* y);
  // y[j] = the same of x[i·stride + j] over i in [0, rows), for j in [0, columns).
  void (*sumColumns)(const float* x, int64_t rows, int64_t stride, int64_t columns, float* y);
  void (*maxColumns)(const float* x, int64_t rows, int64_t stride, int64_t columns, float* y);
  void (*minColumns)(const float* x, int64_t rows, int64_t stride, int64_t columns, float* y);
  // Whole rows of any length n >= 1; y may be x.
  void (*softmax)(const float* x, float* y, int64_t n);
  void (*logSoftmax)(const float* x, float* y, int64_t n);
  void (*softmaxGrad)(const float* dy, const float* y, float* dx, int64_t n);
  void (*logSoftmaxGrad)(const float* dy, const float* y, float* dx, int64_t n);
  // Of `rows` pieces of n elements, xStride apart, as one row.
  void (*normalize)(const float* x, int64_t xStride, int64_t rows, int64_t n, float eps, float* xhat, int64_t yStride,
                    float* mean, float* rstd);
  void (*normalizeGrad)(const float* dy, int64_t dyStride, const float* xhat, int64_t xStride, int64_t rows, int64_t n,
                        float rstd, float* dx, int64_t dxStride);
  // Of each of `columns` columns.
  void (*normalizeColumns)(const float* x, int64_t xStride, int64_t rows, int64_t columns, float eps, float* xhat,
                           int64_t yStride, float* mean, float* rstd);
  void (*normalizeGradColumns)(const float* dy, int64_t dyStride, const float* xhat, int64_t xStride, int64_t rows,
                               int64_t columns, const float* rstd, float* dx, int64_t dxStride);
  // Cross-entropy of `rows` rows, `pitch` apart, with a label each, −1 where a row counts nothing: loss[r] =
  // log Σ e^x − x[label[r]] or 0, and parts[2r], parts[2r + 1] = max x, log Σ e^(x − max x). Its gradient:
  // dx = (e^(x − parts) − [i = label])·weight[r] or 0.
  void (*crossEntropy)(const float* x, int64_t pitch, const int32_t* label, int64_t rows, int64_t n, float* loss,
                       float* parts);
  void (*crossEntropyGrad)(const float* x, int64_t pitch, const int32_t* label, const float* weight, const float* parts,
                           int64_t rows, int64_t n, float* dx, int64_t dxPitch);
  // y = e^(x − shift) and the sum of it; d = p·(d − dot). Rows of any length n >= 1; y may be x.
  float (*exponentials)(const float* x, float shift, float* y, int64_t n);
  void (*scoresGrad)(const float* p, float dot, float* d, int64_t n);
  // y = x, for blocks of rows of n elements, xStride and yStride apart.
  void (*copyBlock)(const float* x, int64_t xStride, int64_t rows, int64_t n, float* y, int64_t yStride);
  // The uniform float32 numbers (core/philox.h) of `blocks` Philox blocks from `block` on: four each.
  void (*uniform)(uint64_t seed, uint64_t block, int64_t blocks, float* y);
};

namespace baseline {
extern const RowKernels rows;
}
namespace avx2 {
extern const RowKernels rows;
}
namespace avx512 {
extern const RowKernels rows;
}

}  // namespace nabla

// Register tiles of the convolutions. conv.cc is compiled once per instruction set, each time into a namespace of its
// own; this is the table it exports, one for each element type.
#pragma once
#include <cstdint>

namespace nabla {

template <typename T>
struct ConvKernels {
  int64_t lanes;  // elements in a vector

  // y[o][j] = or += Σ w[o][k]·x[offset[k] + j] over `runs` runs of `depth` successive k that begin `step` apart, for o in
  // [0, rows) and j in [0, n) rounded up to whole vectors, up to which x can be read and y written.
  void (*correlate)(int64_t rows, int64_t n, int64_t runs, int64_t depth, int64_t step, const T* w, int64_t wRow,
                    const T* x, const int64_t* offset, T* y, int64_t yRow, bool accumulate);

  // sum[o][v][lane] += Σ dy[o][p·Q + q] · x[p·xP + q·xQ + offset[v] + lane] over p in [0, P) and q in [0, Q), for o in
  // [0, rows) and v in [0, vectors); all vectors of x can be read. sum is contiguous but for rows sumRow apart.
  void (*gradient)(int64_t rows, int64_t vectors, int64_t P, int64_t Q, const T* dy, int64_t dyRow, const T* x,
                   int64_t xP, int64_t xQ, const int64_t* offset, T* sum, int64_t sumRow);

  // sum[k] += Σ dy[r·dyRow + i] · x[r·xRow + offset[k] + i] over r in [0, rows) and i in [0, n), for k in [0, taps). Both
  // can be read up to whole vectors, where dy is 0 and x anything.
  void (*dots)(int64_t taps, int64_t rows, int64_t n, const T* dy, int64_t dyRow, const T* x, int64_t xRow,
               const int64_t* offset, T* sum);

  // y[r·yRow + i] = x[r·xRow + i·step], and y[r·yRow + i·step] = x[r·xRow + i].
  void (*take)(int64_t rows, int64_t n, const T* x, int64_t xRow, int64_t step, T* y, int64_t yRow);
  void (*put)(int64_t rows, int64_t n, const T* x, int64_t xRow, T* y, int64_t yRow, int64_t step);
};

struct ConvIsa {
  ConvKernels<float> f32;
  ConvKernels<double> f64;
};

namespace baseline {
extern const ConvIsa conv;
}
namespace avx2 {
extern const ConvIsa conv;
}
namespace avx512 {
extern const ConvIsa conv;
}

}  // namespace nabla

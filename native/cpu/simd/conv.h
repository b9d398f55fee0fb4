// Register tiles of the convolutions. conv.cc is compiled once per instruction set, each time into a namespace of its
// own; this is the table it exports, one for each element type.
#pragma once
#include <cstdint>

namespace nabla {

template <typename T>
struct ConvKernels {
  int64_t lanes;  // elements in a vector
  int64_t rows;   // results that are formed together in `gradient`

  // y[o][j] = or += Σ w[o][k]·x[offset[k] + j] over k in [0, depth), for o in [0, rows) and j in [0, n) rounded up to
  // whole vectors, up to which x can be read and y written.
  void (*correlate)(int64_t rows, int64_t n, int64_t depth, const T* w, int64_t wRow, const T* x,
                    const int64_t* offset, T* y, int64_t yRow, bool accumulate);

  // sum[o][v][lane] += Σ dy[o][p·Q + q] · x[p·xP + q·xQ + offset[v] + lane] over p in [0, P) and q in [0, Q), for o in
  // [0, rows) and v in [0, vectors); all vectors of x can be read. sum is contiguous but for rows sumRow apart.
  void (*gradient)(int64_t rows, int64_t vectors, int64_t P, int64_t Q, const T* dy, int64_t dyRow, const T* x,
                   int64_t xP, int64_t xQ, const int64_t* offset, T* sum, int64_t sumRow);
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

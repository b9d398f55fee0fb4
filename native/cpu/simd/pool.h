// Float32 loops over rows of pooling windows. pool.cc is compiled once per instruction set, each time into a namespace of
// its own; this is the table it exports.
//
// A row of the image is split by the stride first: its elements i, i + step, i + 2·step … lie side by side, so that a
// window element of neighbouring results is always a run of adjacent values, `tap`.
#pragma once
#include <cstdint>

namespace nabla {

struct PoolKernels {
  // y[(i % step)·pitch + i / step] = x[i] for i in [0, n), and back.
  void (*split)(const float* x, int64_t n, int64_t step, float* y, int64_t pitch);
  void (*join)(const float* x, int64_t pitch, int64_t step, int64_t n, float* y);
  // y[q] = the greatest of tap[t][q], index[q] = the place[t] + q·move of the first such t. NaN wins; where nothing
  // exceeds −∞, index[q] = first[q] + row.
  void (*max)(const float* const* tap, const int32_t* place, int64_t taps, int32_t move, const int32_t* first,
              int32_t row, int64_t n, float* y, int64_t* index);
  // y[q] = Σ tap[t][q] / (rows·columns[q]).
  void (*mean)(const float* const* tap, int64_t taps, float rows, const float* columns, int64_t n, float* y);
  // y[q] = x[q] / (rows·columns[q]).
  void (*share)(const float* x, float rows, const float* columns, int64_t n, float* y);
  // tap[t][q] += x[q].
  void (*spread)(float* const* tap, int64_t taps, const float* x, int64_t n);
};

namespace baseline {
extern const PoolKernels pool;
}
namespace avx2 {
extern const PoolKernels pool;
}
namespace avx512 {
extern const PoolKernels pool;
}

}  // namespace nabla

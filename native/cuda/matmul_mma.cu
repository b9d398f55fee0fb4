// Products of matrices with one contiguous dimension by mma.sync.
#include "matmul_mma.h"

#include "matmul_mma.cuh"

namespace nabla {
namespace cuda {
namespace {

template <typename T, typename Epilogue>
bool run(const View& a, const View& b, const Epilogue& epilogue) {
  TileSource<T> x, y;
  return tileSource(a, 2, x) && tileSource(b, 1, y) &&
         mmaRun<T>(ProductSize{a.shape[1], b.shape[2], a.shape[2], a.shape[0]}, x, y, epilogue);
}

}  // namespace

bool mmaProduct(const View& c, const View& a, const View& b) {
  if (properties().architecture < 80) return false;
  const StoreProduct to = {Data(c), c.strides[0], c.strides[1], c.strides[2]};
  switch (c.dtype) {
    case DType::f16: return run<Half>(a, b, to);
    case DType::bf16: return run<BFloat>(a, b, to);
    case DType::f32: return wantsTf32() && run<float>(a, b, to);
    default: return false;
  }
}
bool mmaThrough(const ElementwiseArgs& program, const View& a, const View& b) {
  if (properties().architecture < 80 || !wantsTf32()) return false;
  return run<float>(a, b, RunProgram{program, uint32_t(a.shape[1]), uint32_t(b.shape[2])});
}

}  // namespace cuda
}  // namespace nabla

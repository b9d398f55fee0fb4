// float32 products of matrices with one contiguous dimension.
#include "matmul_simt.h"

#include "matmul_simt.cuh"

namespace nabla {
namespace cuda {
namespace {

template <typename Epilogue>
bool run(const View& a, const View& b, const Epilogue& epilogue) {
  TileSource<float> x, y;
  return tileSource(a, 2, x) && tileSource(b, 1, y) &&
         simtRun(ProductSize{a.shape[1], b.shape[2], a.shape[2], a.shape[0]}, x, y, epilogue);
}

}  // namespace

bool simtProduct(const View& c, const View& a, const View& b) {
  return run(a, b, StoreProduct{Data(c), c.strides[0], c.strides[1], c.strides[2]});
}
bool simtThrough(const ElementwiseArgs& program, const View& a, const View& b) {
  return run(a, b, RunProgram{program, uint32_t(a.shape[1]), uint32_t(b.shape[2])});
}

}  // namespace cuda
}  // namespace nabla

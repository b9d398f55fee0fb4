// float32 products on the ordinary cores. Both give false when the shapes are not for them.
#pragma once
#include "matmul_tiles.cuh"

namespace nabla {
namespace cuda {

bool simtProduct(const View& c, const View& a, const View& b);
bool simtThrough(const ElementwiseArgs& program, const View& a, const View& b);

}  // namespace cuda
}  // namespace nabla

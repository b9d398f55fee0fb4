// Products on the tensor cores by mma.sync, sm_80 on: float16 and bfloat16 always, float32 as TF32 where NABLA_CUDA_TF32 asks
// for it. Both give false when the shapes, the dtype or the GPU are not for them.
#pragma once
#include "matmul_tiles.cuh"

namespace nabla {
namespace cuda {

bool mmaProduct(const View& c, const View& a, const View& b);
bool mmaThrough(const ElementwiseArgs& program, const View& a, const View& b);

}  // namespace cuda
}  // namespace nabla

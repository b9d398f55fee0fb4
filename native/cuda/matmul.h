// The product as other kernels use it.
#pragma once
#include "../graph/kernel.h"

namespace nabla {
namespace cuda {

struct ElementwiseArgs;

// c = a·b, all [batch, rows, columns] of one dtype, of any strides.
void product(const View& c, const View& a, const View& b);

// a·b of float32 through an element-wise program, of which it is input 0, without being in memory; false when there is no
// kernel for these shapes that can.
bool productThrough(const ElementwiseArgs& program, const View& a, const View& b);

}  // namespace cuda
}  // namespace nabla

// The product as other kernels use it.
#pragma once
#include "../graph/kernel.h"

namespace nabla {
namespace cuda {

// c = a·b, all [batch, rows, columns] of one dtype, of any strides.
void product(const View& c, const View& a, const View& b);

}  // namespace cuda
}  // namespace nabla

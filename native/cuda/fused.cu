// The kernel `matmulFused`: a product, and an element-wise program over it.
#include "../graph/epilogue.h"
#include "elementwise.cuh"
#include "matmul.h"

namespace nabla {
using namespace cuda;

void run_matmulFused(const Call& call) {
  if (call.out[0].numel() == 0) return;
  EpilogueCall rest(call);
  View& c = rest.ins[0];
  const Temporary memory(c.numel() * 4);
  c.data = memory.get<char>();
  c.strides[2] = 1, c.strides[1] = c.shape[2], c.strides[0] = int64_t(c.shape[1]) * c.shape[2];
  product(c, call.in[0], call.in[1]);
  run_elementwise(rest.call);
}

}  // namespace nabla

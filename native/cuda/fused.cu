// The kernel `matmulFused`: a product whose results go through an element-wise program where they are made, or, where the
// product has no kernel that can do that, on their way from memory to memory.
#include "../graph/epilogue.h"
#include "elementwise.cuh"
#include "matmul.h"

namespace nabla {
using namespace cuda;

void run_matmulFused(const Call& call) {
  if (call.out[0].numel() == 0) return;
  EpilogueCall rest(call);
  View& c = rest.ins[0];
  c.strides[2] = 1, c.strides[1] = c.shape[2], c.strides[0] = int64_t(c.shape[1]) * c.shape[2];
  const ElementwisePlan plan(rest.call);
  if (plan.floats && productThrough(plan.args, call.in[0], call.in[1])) return;
  const Temporary memory(c.numel() * 4);
  c.data = memory.get<char>();
  product(c, call.in[0], call.in[1]);
  runElementwise(rest.call);
}

}  // namespace nabla

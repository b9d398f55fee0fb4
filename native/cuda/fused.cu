// Products and convolutions whose results go through an element-wise program: where they are made, or, where no kernel can
// do that, as for convolutions, on their way from memory to memory.
#include "../graph/epilogue.h"
#include "elementwise.cuh"
#include "matmul.h"

namespace nabla {
using namespace cuda;

void run_matmulFused(const Call& call) {
  if (call.out[0].numel() == 0) return;
  FusedMatmul rest(call);
  rest.contiguous();
  View& c = rest.ins[0];
  const ElementwisePlan plan(rest.call);
  if (plan.floats && productThrough(plan.args, call.in[0], call.in[1])) return;
  const Temporary memory(c.numel() * 4);
  c.data = memory.get<char>();
  product(c, call.in[0], call.in[1]);
  runElementwise(rest.call);
}

static void throughMemory(const Call& call, Convolution which, Run run) {
  if (call.out[0].numel() == 0) return;
  FusedConvolution parts(call, which);
  parts.contiguous();
  const Temporary memory(parts.result.numel() * 4);
  parts.result.data = parts.ins[0].data = memory.get<char>();
  run(parts.convolution);
  runElementwise(parts.call);
}

void run_conv2dFused(const Call& call) { throughMemory(call, Convolution::forward, run_conv2d); }
void run_conv2dInputGradFused(const Call& call) { throughMemory(call, Convolution::inputGrad, run_conv2dInputGrad); }

}  // namespace nabla

// The kernel `matmulFused`: a product whose blocks go through an element-wise program instead of to memory.
#include <algorithm>

#include "gemm.h"
#include "layout.h"

namespace nabla {
namespace {

Matrix matrix(const View& v) { return {v.data, v.strides[0], v.strides[1], v.strides[2]}; }

// The element-wise part as a call of its own, the product its first input.
struct Rest {
  View ins[32];
  Call call;
  Rest(const Call& all, char* product) {
    const View &a = all.in[0], &b = all.in[1];
    View& c = ins[0];
    c.data = product;
    c.dtype = a.dtype;
    c.present = true;
    c.ndim = 3;
    const int32_t shape[] = {a.shape[0], a.shape[1], b.shape[2]};
    int64_t step = 1;
    for (int d = 2; d >= 0; d--) {
      c.shape[d] = shape[d];
      c.strides[d] = step;
      step *= shape[d];
    }
    std::copy(all.in + 2, all.in + all.nIn, ins + 1);
    call = all;
    call.in = ins;
    call.nIn = all.nIn - 1;
  }
};

}  // namespace

void check_matmulFused(const Call& call) {
  if (call.nIn < 2 || !call.in[0].present || !call.in[1].present) fail("PROGRAM", "%s: takes two matrices", call.op);
  const View &a = call.in[0], &b = call.in[1];
  expectDims(call, "the first input", a, 3);
  expectDims(call, "the second input", b, 3);
  expectDType(call, "the first input", a, DType::f32);
  expectDType(call, "the second input", b, DType::f32);
  if (a.shape[0] != b.shape[0] || a.shape[2] != b.shape[1])
    fail("PROGRAM", "%s: shapes %s and %s do not match", call.op, shapeText(a).c_str(), shapeText(b).c_str());
  check_elementwise(Rest(call, nullptr).call);
}

void run_matmulFused(const Call& call) {
  const View &a = call.in[0], &b = call.in[1];
  if (call.out[0].numel() == 0) return;
  Scratch scratch(call, size_t(call.out[0].numel()) * 4);
  const Rest rest(call, scratch.get<char>());
  const View& c = rest.ins[0];
  gemm({c.dtype, c.shape[0], c.shape[1], c.shape[2], a.shape[2], matrix(a), matrix(b), matrix(c), false});
  run_elementwise(rest.call);
}

}  // namespace nabla

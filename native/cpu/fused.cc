// The kernel `matmulFused`: a product whose blocks go through an element-wise program while they are in the cache,
// instead of to memory.
#include <algorithm>

#include "../graph/instruction.h"
#include "gemm.h"
#include "layout.h"

namespace nabla {
namespace {

Matrix matrix(const View& v) { return {v.data, v.strides[0], v.strides[1], v.strides[2]}; }

// The element-wise part as a call of its own: the product is its first input.
struct Rest {
  View outs[kMaxOutputs], ins[kMaxInputs];
  Call call;
  explicit Rest(const Call& all) {
    const View &a = all.in[0], &b = all.in[1];
    std::copy(all.out, all.out + all.nOut, outs);
    std::copy(all.in + 2, all.in + all.nIn, ins + 1);
    View& c = ins[0];
    c.dtype = DType::f32;
    c.present = true;
    c.ndim = 3;
    c.shape[0] = a.shape[0], c.shape[1] = a.shape[1], c.shape[2] = b.shape[2];
    call = all;
    call.out = outs;
    call.in = ins;
    call.nIn = all.nIn - 1;
  }
};

// Rows and columns of one product of the batch.
void cut(View& v, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  if (v.ndim == 0) return;
  const int64_t offset = batch * v.strides[0] + row * v.strides[1] + col * v.strides[2];
  v.data += offset * int64_t(sizeOf(v.dtype));
  v.ndim = 2;
  v.shape[0] = int32_t(rows), v.shape[1] = int32_t(cols);
  v.strides[0] = v.strides[1], v.strides[1] = v.strides[2];
}

void runBlock(void* context, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols, void* block,
              int64_t blockRow, int64_t blockCol) {
  Rest rest(*static_cast<const Call*>(context));
  const Call& call = rest.call;
  for (int j = 0; j < call.nOut; j++) cut(call.out[j], batch, row, rows, col, cols);
  for (int i = 0; i < call.nIn; i++) cut(call.in[i], batch, row, rows, col, cols);
  View& c = call.in[0];
  c.data = static_cast<char*>(block);
  c.strides[0] = blockRow, c.strides[1] = blockCol;
  run_elementwise(call);
}

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
  check_elementwise(Rest(call).call);
}

void run_matmulFused(const Call& call) {
  const View &a = call.in[0], &b = call.in[1];
  const int64_t M = a.shape[1], N = b.shape[2];
  // Row-major, as the result of `matmul` would be, so that the same bits come out.
  const Matrix c = {nullptr, M * N, N, 1};
  const Epilogue epilogue = {const_cast<Call*>(&call), runBlock};
  gemm({DType::f32, a.shape[0], M, N, a.shape[2], matrix(a), matrix(b), c, false, &epilogue});
}

}  // namespace nabla

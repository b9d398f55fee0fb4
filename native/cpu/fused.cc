// The kernel `matmulFused`: a product whose blocks go through an element-wise program while they are in the cache,
// instead of to memory.
#include <algorithm>

#include "../graph/epilogue.h"
#include "elementwise.h"
#include "gemm.h"
#include "layout.h"

namespace nabla {
namespace {

Matrix matrix(const View& v) { return {v.data, v.strides[0], v.strides[1], v.strides[2], v.generation}; }

struct Kept : Prepared {
  std::unique_ptr<ElementwisePlane> plane;
  KeptPanels panels;
  Kept(std::unique_ptr<ElementwisePlane> plane, Pool& pool) : plane(std::move(plane)), panels(pool) {}
};

// The element-wise part of one product of the batch.
struct Rest : EpilogueCall {
  using EpilogueCall::EpilogueCall;

  // Makes it that of one product of the batch: a plane, which lies on its side when `column`.
  void toPlane(int64_t batch, bool column) {
    const auto plane = [&](View& v) {
      if (v.ndim == 0) return;
      if (v.data != nullptr) v.data += batch * v.strides[0] * int64_t(sizeOf(v.dtype));
      const int rows = column ? 2 : 1, cols = column ? 1 : 2;
      const int32_t shape[] = {v.shape[rows], v.shape[cols]};
      const int64_t strides[] = {v.strides[rows], v.strides[cols]};
      v.ndim = 2;
      std::copy_n(shape, 2, v.shape);
      std::copy_n(strides, 2, v.strides);
    };
    for (int j = 0; j < call.nOut; j++) plane(outs[j]);
    for (int i = 0; i < call.nIn; i++) plane(ins[i]);
  }
};

struct Context {
  const Call& call;
  const Rest& first;  // of the first product of the batch
  const ElementwisePlane& plane;
  bool column;  // the product is a single column, and its blocks lie along it
};

void runBlock(void* context, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols, void* block,
              int64_t blockRow, int64_t blockCol) {
  const Context& c = *static_cast<const Context*>(context);
  ElementwisePlane::Rectangle where = {row, rows, col, cols};
  ElementwisePlane::Block from = {static_cast<float*>(block), blockRow, blockCol};
  if (c.column) where = {col, cols, row, rows}, from = {from.data, blockCol, blockRow};
  if (batch == 0) return c.plane.run(c.first.call, where, from);
  Rest rest(c.call);
  rest.toPlane(batch, c.column);
  c.plane.run(rest.call, where, from);
}

}  // namespace

void run_matmulFused(const Call& call) {
  const View &a = call.in[0], &b = call.in[1];
  if (call.out[0].numel() == 0) return;
  const int64_t M = a.shape[1], N = b.shape[2];
  const bool column = N == 1;
  Rest first(call);
  first.toPlane(0, column);
  if (call.keep && !*call.keep)
    *call.keep = std::make_unique<Kept>(ElementwisePlane::prepare(first.call, 0, false), *call.pool);
  Kept* const kept = call.keep ? static_cast<Kept*>(call.keep->get()) : nullptr;
  std::unique_ptr<ElementwisePlane> once;
  if (!kept) once = ElementwisePlane::prepare(first.call, 0, false);
  const Context context = {call, first, kept ? *kept->plane : *once, column};
  const Epilogue epilogue = {const_cast<Context*>(&context), runBlock};
  // Row-major, as the result of `matmul` would be, so that the same bits come out.
  const Matrix c = {nullptr, M * N, N, 1};
  gemm({DType::f32, a.shape[0], M, N, a.shape[2], matrix(a), matrix(b), c, false, &epilogue,
        kept ? &kept->panels : nullptr});
}

}  // namespace nabla

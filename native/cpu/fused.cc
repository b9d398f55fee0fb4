// Products and convolutions whose blocks go through an element-wise program while they are in the cache, instead of to
// memory.
#include <algorithm>

#include "../graph/epilogue.h"
#include "conv.h"
#include "elementwise.h"
#include "gemm.h"
#include "layout.h"

namespace nabla {
namespace {

Matrix matrix(const View& v) { return {v.data, v.strides[0], v.strides[1], v.strides[2], v.generation}; }

struct Kept : Prepared {
  std::unique_ptr<ElementwisePlanes> planes;
  KeptPanels panels;
  Kept(std::unique_ptr<ElementwisePlanes> planes, Pool& pool) : planes(std::move(planes)), panels(pool) {}
};

// What the producer of planes[batch, rows, cols] hands its blocks to.
class Rest {
 public:
  // `wholeRows`: most blocks are whole rows of a plane without a gap.
  Rest(const Call& call, const EpilogueCall& parts, bool wholeRows)
      : rest_(parts.call), column_(parts.ins[0].shape[2] == 1) {
    const auto prepare = [&] { return ElementwisePlanes::prepare(rest_, 0, column_, wholeRows); };
    if (call.keep && !*call.keep) *call.keep = std::make_unique<Kept>(prepare(), *call.pool);
    kept_ = call.keep ? static_cast<Kept*>(call.keep->get()) : nullptr;
    if (!kept_) once_ = prepare();
  }
  Epilogue epilogue() const { return {const_cast<Rest*>(this), runBlock}; }
  KeptPanels* panels() const { return kept_ ? &kept_->panels : nullptr; }

 private:
  static void runBlock(void* context, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols, void* block,
                       int64_t blockRow, int64_t blockCol) {
    const Rest& rest = *static_cast<const Rest*>(context);
    const ElementwisePlanes& planes = rest.kept_ ? *rest.kept_->planes : *rest.once_;
    float* const data = static_cast<float*>(block);
    if (rest.column_) planes.run(rest.rest_, {batch, col, cols, row, rows}, {data, blockCol, blockRow});
    else planes.run(rest.rest_, {batch, row, rows, col, cols}, {data, blockRow, blockCol});
  }

  const Call& rest_;
  const bool column_;  // planes are a single column, and blocks lie along it
  Kept* kept_;
  std::unique_ptr<ElementwisePlanes> once_;
};

constexpr int64_t kShortRow = 128;  // elements; beginning a row costs as much

// An output where the result can lie while the program runs over its blocks; or null.
const View* placeIn(const Call& call) {
  for (int j = 0; j < call.nOut; j++) {
    const View& y = call.out[j];
    const auto apart = [&](const View& x) { return x.ndim == 0 || x.data != y.data; };  // else they are the same view
    if (y.dtype == DType::f32 && y.contiguous() && std::all_of(call.in, call.in + call.nIn, apart)) return &y;
  }
  return nullptr;
}

void run(const Call& call, Convolution which) {
  if (call.out[0].numel() == 0) return;
  FusedConvolution parts(call, which);
  parts.contiguous();
  const View* const place = placeIn(parts.call);
  const Scratch memory(call, place ? 0 : size_t(parts.result.numel()) * sizeof(float));
  parts.result.data = parts.ins[0].data = place ? place->data : memory.get<char>();
  const Rest rest(call, parts, parts.ins[0].shape[2] < kShortRow);
  convolve(parts.convolution, which, rest.epilogue());
}

}  // namespace

void run_matmulFused(const Call& call) {
  const View &a = call.in[0], &b = call.in[1];
  if (call.out[0].numel() == 0) return;
  const int64_t M = a.shape[1], N = b.shape[2];
  const FusedMatmul parts(call);
  const Rest rest(call, parts, false);
  const Epilogue epilogue = rest.epilogue();
  // Row-major, as the result of `matmul` would be, so that the same bits come out.
  const Matrix c = {nullptr, M * N, N, 1};
  gemm({DType::f32, a.shape[0], M, N, a.shape[2], matrix(a), matrix(b), c, false, &epilogue, rest.panels()});
}

void run_conv2dFused(const Call& call) { run(call, Convolution::forward); }
void run_conv2dInputGradFused(const Call& call) { run(call, Convolution::inputGrad); }

}  // namespace nabla

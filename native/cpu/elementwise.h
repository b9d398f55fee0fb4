// The element-wise engine as other kernels use it.
#pragma once
#include <cstdint>
#include <memory>

#include "../graph/kernel.h"

namespace nabla {

// An element-wise instruction over planes[batch, rows, cols], run on one rectangle at a time, as the epilogue of a product
// does: one of its inputs is then wherever the caller computed that rectangle.
class ElementwisePlanes : public Prepared {
 public:
  struct Rectangle {
    int64_t batch, row, rows, col, cols;
  };
  // The float32 input `call.in[input]` as it will be given: its element (r, c) of the rectangle is
  // data[r·rowStride + c·colStride].
  struct Block {
    float* data;
    int64_t rowStride, colStride;
  };

  // `call` obeys check_elementwise, all its outputs have three dimensions; inputs have three (broadcast ones strides of
  // 0) or none. Rows and columns change places when `turned`. Blocks will be contiguous along the columns; `wholeRows`:
  // and most of them whole rows without a gap, which then pays. The view call.in[input] gives its dtype and shape; its
  // data is null, or that of an output in whose memory the blocks will lie (that same place).
  static std::unique_ptr<ElementwisePlanes> prepare(const Call& call, int input, bool turned, bool wholeRows);

  // Everything of `call` but addresses and the values of numbers is as it was for `prepare`. On the calling thread.
  virtual void run(const Call& call, const Rectangle& where, const Block& block) const = 0;
};

}  // namespace nabla

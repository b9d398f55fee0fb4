// The element-wise engine as other kernels use it.
#pragma once
#include <cstdint>
#include <memory>

#include "../graph/kernel.h"

namespace nabla {

// An element-wise instruction over a plane of rows × columns, run on one rectangle at a time, as the epilogue of a
// product does: one of its inputs is then wherever the caller computed that rectangle.
class ElementwisePlane : public Prepared {
 public:
  struct Rectangle {
    int64_t row, rows, col, cols;
  };
  // The float32 input `call.in[input]` as it will be given: its element (r, c) of the rectangle is
  // data[r·rowStride + c·colStride].
  struct Block {
    float* data;
    int64_t rowStride, colStride;
  };

  // `call` obeys check_elementwise, all its outputs have two dimensions; inputs have two (broadcast ones strides of 0)
  // or none. `transposed`: the blocks will be contiguous along the rows, not the columns. The view call.in[input] gives
  // its dtype and shape; its data is null, or that of an output in whose memory the blocks will lie (that same place).
  static std::unique_ptr<ElementwisePlane> prepare(const Call& call, int input, bool transposed);

  // Everything of `call` but addresses and the values of numbers is as it was for `prepare`. On the calling thread.
  virtual void run(const Call& call, const Rectangle& where, const Block& block) const = 0;
};

}  // namespace nabla

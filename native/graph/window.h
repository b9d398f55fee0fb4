// The windows of pooling.
#pragma once
#include <algorithm>

#include "kernel.h"

namespace nabla {

// The window along one axis.
struct Axis {
  int64_t size, results;  // extent of the image and of the result
  int64_t kernel, stride, pad, dilation;

  int64_t start(int64_t p) const { return p * stride - pad; }
  // The first window element inside the image, for one that exists.
  int64_t firstInside(int64_t p) const {
    const int64_t s = start(p);
    return s >= 0 ? 0 : ceilDiv(-s, dilation);
  }
  // Results [from, to) whose k-th window element is inside the image.
  void range(int64_t k, int64_t& from, int64_t& to) const {
    const int64_t shift = k * dilation - pad;
    from = shift >= 0 ? 0 : ceilDiv(-shift, stride);
    to = shift >= size ? 0 : std::min(results, (size - 1 - shift) / stride + 1);
  }
  int64_t inside() const { return std::min(kernel, size); }  // window elements inside the image, at most
  // Elements of the p-th window that an average divides by.
  int64_t divisor(int64_t p, bool countPad) const {
    const int64_t from = start(p), to = std::min(from + kernel, size + (countPad ? pad : 0));
    return to - (countPad ? from : std::max<int64_t>(from, 0));
  }
};

inline Axis axisOf(const Call& c, const View& x, const View& y, int axis, bool dilated) {
  return {x.shape[2 + axis], y.shape[2 + axis], c.attr[axis], c.attr[2 + axis], c.attr[4 + axis],
          dilated ? c.attr[6 + axis] : 1};
}

}  // namespace nabla

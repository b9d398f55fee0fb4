// Factors and results of convolutions as matrices that are never formed: where an element of one is in a tensor.
#pragma once
#include "view.cuh"

namespace nabla {
namespace cuda {

// An index of a matrix as the three that it is made of: (channel, row, column) of a filter, (image, row, column), or the
// outer one alone.
struct Digits {
  int outer, middle, inner;
};
struct Axis3 {
  int middle = 1, inner = 1;  // sizes
  int64_t step = 0;           // elements of the tensor from one of the outer to the next
  int scaleH = 0, scaleW = 0, shiftH = 0, shiftW = 0;  // to a place of the image
  DEVICE Digits digits(int i) const {
    const uint32_t u = uint32_t(i), rest = u / uint32_t(inner);
    return {int(rest / uint32_t(middle)), int(rest % uint32_t(middle)), int(u % uint32_t(inner))};
  }
  DEVICE void next(Digits& d) const {
    if (++d.inner < inner) return;
    d.inner = 0;
    if (++d.middle < middle) return;
    d.middle = 0;
    d.outer++;
  }
};

// Element (i, k) of a batch: the two say the place in an image [H, W] together; outside of it, or between its elements
// where places are divided by a stride, is 0.
struct Gather {
  Data data;
  int64_t batch, stepH, stepW;
  int H, W, divideH = 1, divideW = 1;
  Axis3 rows, columns;  // of i, and of k
  bool alongK;          // neighbours in memory are along k
  // The offset of an element; false when there is none.
  DEVICE bool at(int n, const Digits& i, const Digits& k, int64_t& to) const {
    int h = i.middle * rows.scaleH + rows.shiftH + k.middle * columns.scaleH + columns.shiftH;
    int w = i.inner * rows.scaleW + rows.shiftW + k.inner * columns.scaleW + columns.shiftW;
    if (h < 0 || w < 0) return false;
    if (divideH != 1) {
      if (h % divideH != 0) return false;
      h /= divideH;
    }
    if (divideW != 1) {
      if (w % divideW != 0) return false;
      w /= divideW;
    }
    if (h >= H || w >= W) return false;
    to = n * batch + i.outer * rows.step + k.outer * columns.step + h * stepH + w * stepW;
    return true;
  }
  template <typename V>
  DEVICE V load(int n, const Digits& i, const Digits& k) const {
    int64_t from;
    return at(n, i, k, from) ? data.template load<V>(from) : V(0);
  }
};

// Puts results where a Gather says.
struct StoreGathered {
  Gather to;
  template <int V>
  DEVICE void operator()(int n, int i, int j, int count, const float (&x)[V]) const {
    const Digits row = to.rows.digits(i);
    Digits column = to.columns.digits(j);
    UNROLL
    for (int v = 0; v < V; v++) {
      int64_t at;
      if (v < count && to.at(n, row, column, at)) to.data.store(at, x[v]);
      to.columns.next(column);
    }
  }
};

}  // namespace cuda
}  // namespace nabla

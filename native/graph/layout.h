// The dimensions that several operands share.
#pragma once
#include <cstdint>

#include "kernel.h"

namespace nabla {

// Dimensions with K strides each (one an operand), in elements.
template <int K>
struct Layout {
  int n = 0;
  int64_t size[kMaxDims];
  int64_t stride[kMaxDims][K];

  int64_t count() const {
    int64_t c = 1;
    for (int i = 0; i < n; i++) c *= size[i];
    return c;
  }

  // Appends a dimension; those of size 1 are left out, and one that continues its predecessor in every operand is
  // merged with it. Indices in row-major order keep their meaning.
  template <typename... S>
  void push(int64_t length, S... strides) {
    static_assert(sizeof...(S) == K, "one stride an operand");
    if (length == 1) return;
    const int64_t s[K] = {int64_t(strides)...};
    bool merge = n > 0;
    for (int k = 0; k < K && merge; k++) merge = stride[n - 1][k] == s[k] * length;
    if (!merge) {
      size[n] = length;
      n++;
    } else {
      size[n - 1] *= length;
    }
    for (int k = 0; k < K; k++) stride[n - 1][k] = s[k];
  }

  // Takes the last dimension off: the loop that a kernel runs itself. Gives size 1 and strides 0 when there is none.
  void pop(int64_t& length, int64_t (&strides)[K]) {
    length = 1;
    for (int k = 0; k < K; k++) strides[k] = 0;
    if (n == 0) return;
    n--;
    length = size[n];
    for (int k = 0; k < K; k++) strides[k] = stride[n][k];
  }
};

}  // namespace nabla

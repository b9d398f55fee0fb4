// Walking over dimensions: what kernels of any strides share.
#pragma once
#include <algorithm>
#include <cstdlib>

#include "../core/threads.h"
#include "../graph/checks.h"
#include "../graph/kernel.h"

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

// A position in a layout, moved through it in row-major order.
template <int K>
struct Cursor {
  const Layout<K>& layout;
  int64_t index[kMaxDims];
  int64_t offset[K];

  explicit Cursor(const Layout<K>& layout, int64_t position = 0) : layout(layout) {
    for (int k = 0; k < K; k++) offset[k] = 0;
    for (int i = layout.n - 1; i >= 0; i--) {
      index[i] = position % layout.size[i];
      position /= layout.size[i];
      for (int k = 0; k < K; k++) offset[k] += index[i] * layout.stride[i][k];
    }
  }
  void next() {
    for (int i = layout.n - 1; i >= 0; i--) {
      for (int k = 0; k < K; k++) offset[k] += layout.stride[i][k];
      if (++index[i] < layout.size[i]) return;
      for (int k = 0; k < K; k++) offset[k] -= layout.stride[i][k] * layout.size[i];
      index[i] = 0;
    }
  }
};

// Splits [0, count) in chunks of `grain` and calls body(begin, end) for each, in parallel.
template <typename F>
inline void parallelRange(int64_t count, int64_t grain, F&& body) {
  parallel(ceilDiv(count, grain), [&](int64_t chunk) { body(chunk * grain, std::min(count, (chunk + 1) * grain)); });
}

// Memory for the time of a chunk, aligned on 64 bytes.
class Scratch {
 public:
  Scratch(const Call& call, size_t bytes) : block_(std::malloc(bytes + 63)) {
    if (!block_) fail("MEMORY", "%s: no memory for %zu bytes of temporary values", call.op, bytes);
  }
  ~Scratch() { std::free(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <typename T>
  T* get() const {
    return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(block_) + 63) & ~uintptr_t(63));
  }

 private:
  void* block_;
};

}  // namespace nabla

// Walking over dimensions: what kernels of any strides share.
#pragma once
#include <algorithm>
#include <cstdlib>

#include "../core/threads.h"
#include "../graph/checks.h"
#include "../graph/kernel.h"
#include "../graph/layout.h"

namespace nabla {

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

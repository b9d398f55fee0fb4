// Walking over dimensions: what kernels of any strides share. Also the checks that many kernels begin with.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <string>

#include "../core/threads.h"
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

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

inline std::string shapeText(const View& v) {
  std::string text = "[";
  for (int i = 0; i < v.ndim; i++) text += (i ? ", " : "") + std::to_string(v.shape[i]);
  return text + "]";
}

inline bool sameShape(const View& a, const View& b) {
  return a.ndim == b.ndim && std::equal(a.shape, a.shape + a.ndim, b.shape);
}

// Every operand is there and the counts are those of the kernel's row in docs/kernels.md.
inline void expectCounts(const Call& c, int nOut, int nIn, int nAttr) {
  if (c.nOut != nOut || c.nIn != nIn || c.nAttr != nAttr)
    fail("PROGRAM", "%s: takes %d outputs, %d inputs and %d attributes, got %d, %d and %d", c.op, nOut, nIn, nAttr,
         c.nOut, c.nIn, c.nAttr);
  for (int i = 0; i < nOut; i++)
    if (!c.out[i].present) fail("PROGRAM", "%s: output %d is absent", c.op, i);
  for (int i = 0; i < nIn; i++)
    if (!c.in[i].present) fail("PROGRAM", "%s: input %d is absent", c.op, i);
}
inline void expectDType(const Call& c, const char* what, const View& v, DType t) {
  if (v.dtype != t) fail("PROGRAM", "%s: %s must be %s, got %s", c.op, what, nameOf(t), nameOf(v.dtype));
}
inline void expectFloat(const Call& c, const char* what, const View& v) {
  if (!isFloat(v.dtype)) fail("PROGRAM", "%s: %s must be a float, got %s", c.op, what, nameOf(v.dtype));
}
inline void expectShape(const Call& c, const char* what, const View& v, const View& like) {
  if (!sameShape(v, like))
    fail("PROGRAM", "%s: %s must have shape %s, got %s", c.op, what, shapeText(like).c_str(), shapeText(v).c_str());
}
inline void expectDims(const Call& c, const char* what, const View& v, int ndim) {
  if (v.ndim != ndim)
    fail("PROGRAM", "%s: %s must have %d dimensions, got shape %s", c.op, what, ndim, shapeText(v).c_str());
}

}  // namespace nabla

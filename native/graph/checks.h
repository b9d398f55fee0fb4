// What the checks of kernels begin with; kernels use some of it for messages.
#pragma once
#include <algorithm>
#include <string>

#include "kernel.h"

namespace nabla {

enum LossReduction { kNone, kSum, kMean };  // the attribute of crossEntropy

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

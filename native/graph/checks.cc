// The rules of docs/kernels.md for every kernel, the same on every device: counts, shapes, dtypes, attributes.
#include "checks.h"

#include <algorithm>

#include "elementwise.h"
#include "epilogue.h"
#include "window.h"

namespace nabla {

// ---- elementwise

void check_elementwise(const Call& call) {
  if (call.nOut < 1 || call.nOut > kMaxOuts || call.nIn < 0 || call.nIn > kMaxIns)
    fail("PROGRAM", "elementwise: %d outputs and %d inputs: at most %d and %d", call.nOut, call.nIn, kMaxOuts, kMaxIns);
  if (call.nAttr < 1 || call.attr[0] < 0 || call.attr[0] > kMaxSteps || call.nAttr != 1 + 5 * call.attr[0] + call.nOut)
    fail("PROGRAM", "elementwise: wrong number of attributes (%d)", call.nAttr);
  for (int j = 0; j < call.nOut; j++) {
    const View& out = call.out[j];
    if (!out.present) fail("PROGRAM", "elementwise: output %d is absent", j);
    if (!sameShape(out, call.out[0]))
      fail("PROGRAM", "elementwise: output %d has another shape than the first", j);
  }
  for (int i = 0; i < call.nIn; i++) {
    const View& in = call.in[i];
    if (!in.present) fail("PROGRAM", "elementwise: input %d is absent", i);
    if (in.ndim != 0 && !sameShape(in, call.out[0]))
      fail("PROGRAM", "elementwise: input %d has another shape than the outputs", i);
  }
  const Steps steps(call);
  for (int k = 0; k < steps.n; k++) {
    const int fn = steps.fn(k);
    if (fn < 0 || fn >= kElementwiseFns) fail("PROGRAM", "elementwise: step %d names an unknown function (%d)", k, fn);
    const int code = steps.words[5 * k + 1];
    if (code < 0 || code >= kDTypes || code == int(DType::f16) || code == int(DType::bf16))
      fail("PROGRAM", "elementwise: step %d has no valid type (%d)", k, code);
    if ((ctypesOf(fn) >> ctypeOf(steps.dtype(k)) & 1) == 0)
      fail("PROGRAM", "elementwise: %s does not exist for %s", elementwiseNames[fn], nameOf(steps.dtype(k)));
    for (int s = 0; s < arityOf(fn); s++) {
      const int r = steps.source(k, s);
      if (r < 0 || r >= call.nIn + k) fail("PROGRAM", "elementwise: step %d reads register %d", k, r);
    }
  }
  for (int j = 0; j < call.nOut; j++) {
    const int r = steps.output(j);
    if (r < 0 || r >= call.nIn + steps.n) fail("PROGRAM", "elementwise: output %d is register %d", j, r);
  }
}

// ---- arange, random

namespace {

void expectScalar(const Call& c, const char* what, const View& v) {
  if (v.ndim != 0 || (v.dtype != DType::f64 && v.dtype != DType::i64))
    fail("PROGRAM", "%s: %s must be a float64 or int64 scalar, got %s of shape %s", c.op, what, nameOf(v.dtype),
         shapeText(v).c_str());
}

void checkRandom(const Call& c, int nIn) {
  expectCounts(c, 1, nIn, 0);
  static const char* const names[] = {"seed", "offset", "low", "high"};
  for (int i = 0; i < nIn; i++) expectScalar(c, names[i], c.in[i]);
}

}  // namespace

void check_arange(const Call& c) {
  expectCounts(c, 1, 2, 0);
  expectDims(c, "the output", c.out[0], 1);
  expectScalar(c, "start", c.in[0]);
  expectScalar(c, "step", c.in[1]);
}

void check_uniform(const Call& c) {
  checkRandom(c, 2);
  expectFloat(c, "the output", c.out[0]);
}

void check_normal(const Call& c) {
  checkRandom(c, 2);
  expectFloat(c, "the output", c.out[0]);
}

void check_randint(const Call& c) { checkRandom(c, 4); }

// ---- Reductions

namespace {

// Counts, the attribute, and y's shape = x's without the last r dimensions.
void checkReduce(const Call& c, bool emptyAllowed) {
  expectCounts(c, 1, 1, 1);
  const View& x = c.in[0];
  const View& y = c.out[0];
  const int32_t r = c.attr[0];
  if (r < 0 || r > x.ndim)
    fail("PROGRAM", "%s: cannot reduce the last %d dimensions of shape %s", c.op, r, shapeText(x).c_str());
  if (y.ndim != x.ndim - r || !std::equal(y.shape, y.shape + y.ndim, x.shape))
    fail("PROGRAM", "%s: reducing the last %d dimensions of shape %s does not give shape %s", c.op, r,
         shapeText(x).c_str(), shapeText(y).c_str());
  if (!emptyAllowed && x.numel() == 0 && y.numel() != 0)
    fail("PROGRAM", "%s: no value for the empty reduction of shape %s", c.op, shapeText(x).c_str());
}

void checkWider(const Call& c) {
  checkReduce(c, true);
  if (isFloat(c.in[0].dtype) != isFloat(c.out[0].dtype))
    fail("PROGRAM", "%s: cannot reduce %s to %s", c.op, nameOf(c.in[0].dtype), nameOf(c.out[0].dtype));
}

void checkExtreme(const Call& c) {
  checkReduce(c, false);
  expectDType(c, "the output", c.out[0], c.in[0].dtype);
}

void checkLogic(const Call& c) {
  checkReduce(c, true);
  expectDType(c, "the output", c.out[0], DType::boolean);
}

void checkIndex(const Call& c) {
  checkReduce(c, false);
  expectDType(c, "the output", c.out[0], DType::i64);
}

}  // namespace

void check_sum(const Call& c) { checkWider(c); }
void check_prod(const Call& c) { checkWider(c); }
void check_mean(const Call& c) {
  checkWider(c);
  expectFloat(c, "the input", c.in[0]);
}

void check_max(const Call& c) { checkExtreme(c); }
void check_min(const Call& c) { checkExtreme(c); }
void check_any(const Call& c) { checkLogic(c); }
void check_all(const Call& c) { checkLogic(c); }
void check_argmax(const Call& c) { checkIndex(c); }
void check_argmin(const Call& c) { checkIndex(c); }

// ---- Scans, sort

namespace {

void expectRows(const Call& c, const View& x) {
  if (x.ndim == 0) fail("PROGRAM", "%s: needs at least one dimension", c.op);
}

void checkScan(const Call& c) {
  expectCounts(c, 1, 1, 0);
  const View& x = c.in[0];
  expectRows(c, x);
  expectShape(c, "the output", c.out[0], x);
  if (isFloat(x.dtype) != isFloat(c.out[0].dtype))
    fail("PROGRAM", "%s: cannot turn %s into %s", c.op, nameOf(x.dtype), nameOf(c.out[0].dtype));
}

}  // namespace

void check_cumsum(const Call& c) { checkScan(c); }
void check_cumprod(const Call& c) { checkScan(c); }
void check_sort(const Call& c) {
  expectCounts(c, 2, 1, 1);
  const View& x = c.in[0];
  expectRows(c, x);
  if (c.attr[0] != 0 && c.attr[0] != 1)
    fail("PROGRAM", "sort: the attribute `descending` must be 0 or 1, got %d", c.attr[0]);
  expectDType(c, "values", c.out[0], x.dtype);
  expectShape(c, "values", c.out[0], x);
  expectDType(c, "indices", c.out[1], DType::i64);
  expectShape(c, "indices", c.out[1], x);
}

// ---- Matrix products

void check_matmul(const Call& call) {
  expectCounts(call, 1, 2, 0);
  const View &c = call.out[0], &a = call.in[0], &b = call.in[1];
  expectDims(call, "the output", c, 3);
  expectDims(call, "the first input", a, 3);
  expectDims(call, "the second input", b, 3);
  expectDType(call, "the second input", b, a.dtype);
  expectDType(call, "the output", c, a.dtype);
  if (a.shape[0] != b.shape[0] || a.shape[2] != b.shape[1])
    fail("PROGRAM", "%s: shapes %s and %s do not match", call.op, shapeText(a).c_str(), shapeText(b).c_str());
  if (c.shape[0] != a.shape[0] || c.shape[1] != a.shape[1] || c.shape[2] != b.shape[2])
    fail("PROGRAM", "%s: the product of %s and %s does not have shape %s", call.op, shapeText(a).c_str(),
         shapeText(b).c_str(), shapeText(c).c_str());
}

void check_matmulFused(const Call& call) {
  if (call.nIn < 2 || !call.in[0].present || !call.in[1].present) fail("PROGRAM", "%s: takes two matrices", call.op);
  const View &a = call.in[0], &b = call.in[1];
  expectDims(call, "the first input", a, 3);
  expectDims(call, "the second input", b, 3);
  expectDType(call, "the first input", a, DType::f32);
  expectDType(call, "the second input", b, DType::f32);
  if (a.shape[0] != b.shape[0] || a.shape[2] != b.shape[1])
    fail("PROGRAM", "%s: shapes %s and %s do not match", call.op, shapeText(a).c_str(), shapeText(b).c_str());
  const FusedMatmul parts(call);
  check_elementwise(parts.call);
}

// ---- softmax

namespace {

void checkAll(const Call& c, int nIn) {
  expectCounts(c, 1, nIn, 0);
  const View& x = c.in[0];
  expectFloat(c, "the input", x);
  if (x.ndim == 0) fail("PROGRAM", "%s: needs at least one dimension", c.op);
  for (int i = 1; i < nIn; i++) {
    expectDType(c, "the second input", c.in[i], x.dtype);
    expectShape(c, "the second input", c.in[i], x);
  }
  expectDType(c, "the output", c.out[0], x.dtype);
  expectShape(c, "the output", c.out[0], x);
}

}  // namespace

void check_softmax(const Call& c) { checkAll(c, 1); }
void check_logSoftmax(const Call& c) { checkAll(c, 1); }
void check_softmaxGrad(const Call& c) { checkAll(c, 2); }
void check_logSoftmaxGrad(const Call& c) { checkAll(c, 2); }

// ---- Normalisation

namespace {

// A vector of one value a row; its dtype may be another float than x's.
void expectPerRow(const Call& c, const char* what, const View& v, const View& x) {
  expectFloat(c, what, v);
  if (v.ndim != 1 || v.shape[0] != x.shape[1])
    fail("PROGRAM", "%s: %s must have shape [%d], got %s", c.op, what, x.shape[1], shapeText(v).c_str());
}

void expectLike(const Call& c, const char* what, const View& v, const View& x) {
  expectDType(c, what, v, x.dtype);
  expectShape(c, what, v, x);
}

}  // namespace

void check_normalize(const Call& c) {
  expectCounts(c, 3, 2, 0);
  const View& x = c.in[0];
  expectFloat(c, "x", x);
  expectDims(c, "x", x, 3);
  expectDims(c, "eps", c.in[1], 0);
  expectLike(c, "xhat", c.out[0], x);
  expectPerRow(c, "mean", c.out[1], x);
  expectPerRow(c, "rstd", c.out[2], x);
}

void check_normalizeGrad(const Call& c) {
  expectCounts(c, 1, 3, 0);
  const View& dy = c.in[0];
  expectFloat(c, "dy", dy);
  expectDims(c, "dy", dy, 3);
  expectLike(c, "xhat", c.in[1], dy);
  expectPerRow(c, "rstd", c.in[2], dy);
  expectLike(c, "dx", c.out[0], dy);
}

// ---- Cross-entropy

namespace {

void expectRowShape(const Call& c, const char* what, const View& v, const View& x) {
  if (v.ndim != x.ndim - 1 || !std::equal(v.shape, v.shape + v.ndim, x.shape))
    fail("PROGRAM", "%s: %s must have the shape of x without its last dimension, got %s for %s", c.op, what,
         shapeText(v).c_str(), shapeText(x).c_str());
}

// x, its parts and the target.
void checkLoss(const Call& c, const View& x, const View& parts, const View& target, const View& ignored) {
  expectFloat(c, "x", x);
  if (x.ndim == 0) fail("PROGRAM", "%s: needs at least one dimension", c.op);
  if (target.dtype != DType::i64 && target.dtype != DType::i32)
    fail("PROGRAM", "%s: the target must be int64 or int32, got %s", c.op, nameOf(target.dtype));
  expectRowShape(c, "the target", target, x);
  expectDims(c, "the ignored label", ignored, 0);
  expectDType(c, "the parts", parts, x.dtype == DType::f64 ? DType::f64 : DType::f32);
  if (parts.ndim != x.ndim || !std::equal(x.shape, x.shape + x.ndim - 1, parts.shape) || parts.shape[x.ndim - 1] != 2)
    fail("PROGRAM", "%s: two parts are needed for each row of %s, got %s", c.op, shapeText(x).c_str(),
         shapeText(parts).c_str());
}

}  // namespace

void check_crossEntropy(const Call& c) {
  expectCounts(c, 3, 3, 1);
  const View &x = c.in[0], &loss = c.out[0], &count = c.out[2];
  checkLoss(c, x, c.out[1], c.in[1], c.in[2]);
  if (c.attr[0] < kNone || c.attr[0] > kMean) fail("PROGRAM", "%s: the reduction must be 0, 1 or 2, got %d", c.op, c.attr[0]);
  expectDType(c, "the loss", loss, x.dtype);
  if (c.attr[0] == kNone) expectRowShape(c, "the loss", loss, x);
  else expectDims(c, "the loss", loss, 0);
  expectDType(c, "the count", count, c.out[1].dtype);
  expectDims(c, "the count", count, 0);
}

void check_crossEntropyGrad(const Call& c) {
  expectCounts(c, 1, 6, 0);
  const View &g = c.in[0], &x = c.in[1], &dx = c.out[0];
  checkLoss(c, x, c.in[2], c.in[3], c.in[4]);
  expectFloat(c, "g", g);
  if (g.ndim != 0) expectRowShape(c, "g", g, x);
  expectFloat(c, "the divisor", c.in[5]);
  expectDims(c, "the divisor", c.in[5], 0);
  expectDType(c, "dx", dx, x.dtype);
  expectShape(c, "dx", dx, x);
}

// ---- Attention

namespace {

// A view of dtype t with the leading dimensions of q, then those given.
void expectPart(const Call& c, const char* what, const View& v, const View& q, DType t, std::initializer_list<int32_t> inner) {
  expectDType(c, what, v, t);
  const int outer = q.ndim - 2;
  if (v.ndim != outer + int(inner.size()) || !std::equal(v.shape, v.shape + outer, q.shape) ||
      !std::equal(inner.begin(), inner.end(), v.shape + outer))
    fail("PROGRAM", "%s: the shape %s of %s does not go with that of q, %s", c.op, shapeText(v).c_str(), what,
         shapeText(q).c_str());
}

// With `given` inputs and perhaps a mask after them, of which the one before is the scale.
void checkAttention(const Call& c, int nOut, int given) {
  expectCounts(c, nOut, c.nIn == given + 1 ? given + 1 : given, 1);
  if (c.attr[0] != 0 && c.attr[0] != 1) fail("PROGRAM", "%s: causal must be 0 or 1, got %d", c.op, c.attr[0]);
  const View &q = c.in[0], &k = c.in[1], &v = c.in[2];
  if (q.dtype != DType::f32 && q.dtype != DType::f64)
    fail("PROGRAM", "%s: takes float32 and float64, got %s", c.op, nameOf(q.dtype));
  if (q.ndim < 2 || k.ndim != q.ndim || v.ndim != q.ndim || q.numel() == 0 || k.numel() == 0 || v.numel() == 0)
    fail("PROGRAM", "%s: takes matrices that are not empty, got %s, %s and %s", c.op, shapeText(q).c_str(),
         shapeText(k).c_str(), shapeText(v).c_str());
  const int32_t L = q.shape[q.ndim - 2], S = k.shape[q.ndim - 2];
  expectPart(c, "k", k, q, q.dtype, {S, q.shape[q.ndim - 1]});
  expectPart(c, "v", v, q, q.dtype, {S, v.shape[q.ndim - 1]});
  expectDims(c, "the scale", c.in[given - 1], 0);
  if (c.nIn > given)
    expectPart(c, "the mask", c.in[given], q, c.in[given].dtype == DType::boolean ? DType::boolean : q.dtype, {L, S});
}

}  // namespace

void check_attention(const Call& c) {
  checkAttention(c, 2, 4);
  const View &q = c.in[0], &v = c.in[2];
  const int32_t L = q.shape[q.ndim - 2];
  expectPart(c, "y", c.out[0], q, q.dtype, {L, v.shape[q.ndim - 1]});
  expectPart(c, "lse", c.out[1], q, q.dtype, {L});
}

void check_attentionGrad(const Call& c) {
  checkAttention(c, 3, 7);
  const View &q = c.in[0], &v = c.in[2];
  const int32_t L = q.shape[q.ndim - 2];
  for (int i : {3, 5}) expectPart(c, i == 3 ? "y" : "dy", c.in[i], q, q.dtype, {L, v.shape[q.ndim - 1]});
  expectPart(c, "lse", c.in[4], q, q.dtype, {L});
  for (int i = 0; i < 3; i++) {
    expectDType(c, "a gradient", c.out[i], q.dtype);
    expectShape(c, "a gradient", c.out[i], c.in[i]);
  }
}

// ---- Indexing

namespace {

void expectIndex(const Call& c, const View& index) {
  if (index.dtype != DType::i64 && index.dtype != DType::i32)
    fail("PROGRAM", "%s: the index must be int64 or int32, got %s", c.op, nameOf(index.dtype));
}

int dimOf(const Call& c, const View& x) {
  const int32_t dim = c.attr[0];
  if (dim < 0 || dim >= x.ndim)
    fail("PROGRAM", "%s: dimension %d does not exist in shape %s", c.op, dim, shapeText(x).c_str());
  return dim;
}

// index may be smaller than x in all dimensions but `dim`; `other` (y or src) has the shape of index.
void checkElements(const Call& c, const View& x, const View& index, const View& other, const char* what) {
  const int dim = dimOf(c, x);
  expectIndex(c, index);
  expectDType(c, what, other, x.dtype);
  expectShape(c, what, other, index);
  expectDims(c, "the index", index, x.ndim);
  for (int d = 0; d < x.ndim; d++)
    if (d != dim && index.shape[d] > x.shape[d])
      fail("PROGRAM", "%s: index of shape %s is larger than shape %s in dimension %d", c.op, shapeText(index).c_str(),
           shapeText(x).c_str(), d);
}

// y has x's shape but for `dim`, where it has index's length.
void checkRows(const Call& c, const View& x, const View& index, const View& y, const char* what) {
  const int dim = dimOf(c, x);
  expectIndex(c, index);
  expectDims(c, "the index", index, 1);
  expectDType(c, what, y, x.dtype);
  bool fits = y.ndim == x.ndim;
  for (int d = 0; fits && d < x.ndim; d++) fits = y.shape[d] == (d == dim ? index.shape[0] : x.shape[d]);
  if (!fits)
    fail("PROGRAM", "%s: %s of shape %s does not fit shape %s and %d indices in dimension %d", c.op, what,
         shapeText(y).c_str(), shapeText(x).c_str(), index.shape[0], dim);
}

}  // namespace

void check_gather(const Call& c) {
  expectCounts(c, 1, 2, 1);
  checkElements(c, c.in[0], c.in[1], c.out[0], "the output");
}

void check_scatter(const Call& c) {
  expectCounts(c, 1, 2, 2);
  checkElements(c, c.out[0], c.in[0], c.in[1], "src");
  if (c.attr[1] != 0 && c.attr[1] != 1) fail("PROGRAM", "scatter: the mode must be 0 or 1, got %d", c.attr[1]);
}

void check_indexSelect(const Call& c) {
  expectCounts(c, 1, 2, 1);
  checkRows(c, c.in[0], c.in[1], c.out[0], "the output");
}

void check_indexAdd(const Call& c) {
  expectCounts(c, 1, 2, 1);
  checkRows(c, c.out[0], c.in[0], c.in[1], "src");
}

// ---- Convolution

namespace {

void checkShapes(const Call& c, const View& x, const View& w, const View& y) {
  expectDims(c, "the image", x, 4);
  expectDims(c, "the weight", w, 4);
  expectDims(c, "the result", y, 4);
  expectFloat(c, "the first input", c.in[0]);
  expectDType(c, "the second input", c.in[1], c.in[0].dtype);
  expectDType(c, "the output", c.out[0], c.in[0].dtype);
  static const char* const names[] = {"strideH", "strideW", "padH", "padW", "dilationH", "dilationW", "groups"};
  for (int i = 0; i < 7; i++)
    if (c.attr[i] < (i == 2 || i == 3 ? 0 : 1)) fail("PROGRAM", "%s: %s is %d: out of range", c.op, names[i], c.attr[i]);
  const int64_t groups = c.attr[6];
  if (x.shape[0] != y.shape[0] || w.shape[0] != y.shape[1] || x.shape[1] != w.shape[1] * groups ||
      w.shape[0] % groups != 0)
    fail("PROGRAM", "%s: image %s, weight %s and result %s do not fit together with %d groups", c.op,
         shapeText(x).c_str(), shapeText(w).c_str(), shapeText(y).c_str(), int(groups));
  for (int axis = 0; axis < 2; axis++) {
    const int64_t size = x.shape[2 + axis], kernel = w.shape[2 + axis], results = y.shape[2 + axis];
    if (kernel < 1) fail("PROGRAM", "%s: a weight of shape %s has no elements", c.op, shapeText(w).c_str());
    const int64_t stride = c.attr[axis], pad = c.attr[2 + axis], dilation = c.attr[4 + axis];
    const int64_t room = size + 2 * pad - dilation * (kernel - 1) - 1;
    const int64_t most = room < 0 ? 0 : room / stride + 1;
    if (results > most)
      fail("PROGRAM", "%s: %s %lld with kernel %lld, stride %lld, padding %lld, dilation %lld gives %lld results, not %lld",
           c.op, axis == 0 ? "height" : "width", (long long)size, (long long)kernel, (long long)stride, (long long)pad,
           (long long)dilation, (long long)most, (long long)results);
  }
}

}  // namespace

void check_conv2d(const Call& c) {
  expectCounts(c, 1, 2, 7);
  checkShapes(c, c.in[0], c.in[1], c.out[0]);
}

void check_conv2dInputGrad(const Call& c) {
  expectCounts(c, 1, 2, 7);
  checkShapes(c, c.out[0], c.in[1], c.in[0]);
}

void check_conv2dWeightGrad(const Call& c) {
  expectCounts(c, 1, 2, 7);
  checkShapes(c, c.in[0], c.out[0], c.in[1]);
}

namespace {

void checkFused(const Call& c, Convolution which) {
  constexpr int kAttrs = FusedConvolution::kAttrs + FusedConvolution::kSizes;
  if (c.nIn < 2 || !c.in[0].present || !c.in[1].present || c.nAttr < kAttrs)
    fail("PROGRAM", "%s: takes an image, a weight and %d attributes", c.op, kAttrs);
  for (int i = 0; i < 2; i++) {
    expectDims(c, i == 0 ? "the first input" : "the second input", c.in[i], 4);
    expectDType(c, i == 0 ? "the first input" : "the second input", c.in[i], DType::f32);
  }
  const int64_t height = c.attr[kAttrs - 2], width = c.attr[kAttrs - 1];
  const int64_t channels = FusedConvolution::channels(c, which);
  if (height < 0 || width < 0 || height * width > INT32_MAX || channels < 0 || channels > INT32_MAX)
    fail("PROGRAM", "%s: the result has %lld channels of %lld × %lld: out of range", c.op, (long long)channels,
         (long long)height, (long long)width);
  const FusedConvolution parts(c, which);
  if (which == Convolution::forward) checkShapes(parts.convolution, c.in[0], c.in[1], parts.result);
  else checkShapes(parts.convolution, parts.result, c.in[1], c.in[0]);
  check_elementwise(parts.call);
}

}  // namespace

void check_conv2dFused(const Call& c) { checkFused(c, Convolution::forward); }
void check_conv2dInputGradFused(const Call& c) { checkFused(c, Convolution::inputGrad); }

// ---- Pooling

namespace {

void checkAxis(const Call& c, const View& x, const View& y, int axis, bool dilated) {
  const Axis a = axisOf(c, x, y, axis, dilated);
  const char* const name = axis == 0 ? "height" : "width";
  if (a.kernel < 1 || a.stride < 1 || a.pad < 0 || a.dilation < 1)
    fail("PROGRAM", "%s: %s: kernel %lld, stride %lld, padding %lld, dilation %lld: out of range", c.op, name,
         (long long)a.kernel, (long long)a.stride, (long long)a.pad, (long long)a.dilation);
  // ⌊(size + 2·pad − reach) / stride⌋ + 1 results, and perhaps one more.
  const int64_t room = a.size + 2 * a.pad - (a.kernel - 1) * a.dilation - 1;
  const int64_t most = std::max<int64_t>(0, (room >= 0 ? room / a.stride : -ceilDiv(-room, a.stride)) + 2);
  if (a.results > most)
    fail("PROGRAM", "%s: %s %lld with kernel %lld, stride %lld, padding %lld gives at most %lld results, not %lld", c.op,
         name, (long long)a.size, (long long)a.kernel, (long long)a.stride, (long long)a.pad, (long long)most,
         (long long)a.results);
  // No window may lie outside the image as a whole: it would have no maximum and no elements to average.
  for (int64_t p = 0; p < a.results; p++) {
    const int64_t k = a.firstInside(p);
    if (k >= a.kernel || a.start(p) + k * a.dilation >= a.size)
      fail("PROGRAM", "%s: %s: window %lld has no element inside the image of %s %lld", c.op, name, (long long)p, name,
           (long long)a.size);
  }
}

// Shapes and attributes; x is the image, y the result.
void checkPool(const Call& c, const View& x, const View& y, bool dilated) {
  expectDims(c, "the image", x, 4);
  expectDims(c, "the result", y, 4);
  expectDType(c, "the output", c.out[0], c.in[0].dtype);
  if (x.shape[0] != y.shape[0] || x.shape[1] != y.shape[1])
    fail("PROGRAM", "%s: shapes %s and %s differ in batch or channels", c.op, shapeText(x).c_str(),
         shapeText(y).c_str());
  if (y.numel() == 0) {  // no windows to look at, but a gradient still divides by nothing less than 1
    for (int i = 0; i < (dilated ? 8 : 6); i++)
      if (c.attr[i] < (i == 4 || i == 5 ? 0 : 1))
        fail("PROGRAM", "%s: attribute %d is %d: out of range", c.op, i, c.attr[i]);
    return;
  }
  checkAxis(c, x, y, 0, dilated);
  checkAxis(c, x, y, 1, dilated);
}

void checkAverage(const Call& c, const View& x, const View& y) {
  expectFloat(c, "the input", c.in[0]);
  checkPool(c, x, y, false);
  if (c.attr[6] != 0 && c.attr[6] != 1)
    fail("PROGRAM", "%s: the attribute countPad must be 0 or 1, got %d", c.op, c.attr[6]);
}

}  // namespace

void check_maxPool2d(const Call& c) {
  expectCounts(c, 2, 1, 8);
  checkPool(c, c.in[0], c.out[0], true);
  expectDType(c, "index", c.out[1], DType::i64);
  expectShape(c, "index", c.out[1], c.out[0]);
}

void check_maxPool2dGrad(const Call& c) {
  expectCounts(c, 1, 2, 0);
  const View &dy = c.in[0], &index = c.in[1], &dx = c.out[0];
  expectFloat(c, "the gradient", dy);
  expectDims(c, "the gradient", dy, 4);
  expectDims(c, "the output", dx, 4);
  expectDType(c, "the output", dx, dy.dtype);
  expectDType(c, "index", index, DType::i64);
  expectShape(c, "index", index, dy);
  if (dx.shape[0] != dy.shape[0] || dx.shape[1] != dy.shape[1])
    fail("PROGRAM", "%s: shapes %s and %s differ in batch or channels", c.op, shapeText(dx).c_str(),
         shapeText(dy).c_str());
}

void check_avgPool2d(const Call& c) {
  expectCounts(c, 1, 1, 7);
  checkAverage(c, c.in[0], c.out[0]);
}

void check_avgPool2dGrad(const Call& c) {
  expectCounts(c, 1, 1, 7);
  checkAverage(c, c.out[0], c.in[0]);
}

}  // namespace nabla

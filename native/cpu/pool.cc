// Pooling over windows of NCHW images: maxPool2d, avgPool2d and its gradient.
//
// A row of results is made at once: window element by window element over the whole row, so that the inner loop runs
// along the row without branches.
#include "layout.h"
#include "values.h"

namespace nabla {
namespace {

constexpr int64_t kGrain = 16384;  // window elements of a chunk

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

Axis axisOf(const Call& c, const View& x, const View& y, int axis, bool dilated) {
  return {x.shape[2 + axis], y.shape[2 + axis], c.attr[axis], c.attr[2 + axis], c.attr[4 + axis],
          dilated ? c.attr[6 + axis] : 1};
}

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

// Offsets of the planes (images × channels) of two operands.
struct Planes {
  int64_t count, channels;
  const View &a, &b;
  Planes(const View& a, const View& b) : count(int64_t(a.shape[0]) * a.shape[1]), channels(a.shape[1]), a(a), b(b) {}
  int64_t offset(const View& v, int64_t plane) const {
    return plane / channels * v.strides[0] + plane % channels * v.strides[1];
  }
};

// Calls f with the step between neighbours, as a constant for the usual ones, so that the loop inside becomes vectors.
template <typename F>
void withStep(int64_t step, F&& f) {
  if (step == 1) f(std::integral_constant<int64_t, 1>{});
  else if (step == 2) f(std::integral_constant<int64_t, 2>{});
  else f(step);
}

template <typename T>
void maxPool(const Call& c) {
  using C = Compute<T>;
  const View &x = c.in[0], &y = c.out[0], &index = c.out[1];
  if (y.numel() == 0) return;
  const Axis h = axisOf(c, x, y, 0, true), w = axisOf(c, x, y, 1, true);
  const Planes planes(x, y);
  const int64_t rowWork = w.results * h.inside() * w.inside();
  parallelRange(planes.count * h.results, std::max<int64_t>(1, kGrain / rowWork), [&](int64_t begin, int64_t end) {
    Scratch bestRow(c, size_t(w.results) * sizeof(C)), placeRow(c, size_t(w.results) * sizeof(int32_t));
    C* const best = bestRow.get<C>();
    int32_t* const place = placeRow.get<int32_t>();  // h·width + w
    for (int64_t job = begin; job < end; job++) {
      const int64_t plane = job / h.results, p = job % h.results;
      const T* const image = x.as<T>() + planes.offset(x, plane);
      const int64_t firstRow = h.firstInside(p);
      for (int64_t q = 0; q < w.results; q++) {  // begin with the first element of each window
        const int64_t row = h.start(p) + firstRow * h.dilation;
        const int64_t column = w.start(q) + w.firstInside(q) * w.dilation;
        best[q] = image[row * x.strides[2] + column * x.strides[3]];
        place[q] = int32_t(row * w.size + column);
      }
      for (int64_t r = firstRow; r < h.kernel; r++) {
        const int64_t row = h.start(p) + r * h.dilation;
        if (row >= h.size) break;
        for (int64_t s = 0; s < w.kernel; s++) {
          int64_t from, to;
          w.range(s, from, to);
          if (from >= to) continue;
          const int64_t column = w.start(from) + s * w.dilation;
          const T* const at = image + row * x.strides[2] + column * x.strides[3];
          const int32_t here = int32_t(row * w.size + column), move = int32_t(w.stride);
          withStep(w.stride * x.strides[3], [&](auto step) {
            for (int32_t i = 0; i < int32_t(to - from); i++) {
              const C v = at[i * step], b = best[from + i];
              const bool better = int(v > b) | (int(isNan(v)) & int(!isNan(b)));  // no branches
              best[from + i] = better ? v : b;
              place[from + i] = better ? here + i * move : place[from + i];
            }
          });
        }
      }
      T* const to = y.as<T>() + planes.offset(y, plane) + p * y.strides[2];
      int64_t* const places = index.as<int64_t>() + planes.offset(index, plane) + p * index.strides[2];
      for (int64_t q = 0; q < w.results; q++) {
        to[q * y.strides[3]] = convert<T>(best[q]);
        places[q * index.strides[3]] = place[q];
      }
    }
  });
}

template <typename T>
void averagePool(const Call& c) {
  using C = Compute<T>;
  const View &x = c.in[0], &y = c.out[0];
  if (y.numel() == 0) return;
  const Axis h = axisOf(c, x, y, 0, false), w = axisOf(c, x, y, 1, false);
  const bool countPad = c.attr[6] != 0;
  const Planes planes(x, y);
  const int64_t rowWork = w.results * h.inside() * w.inside();
  parallelRange(planes.count * h.results, std::max<int64_t>(1, kGrain / rowWork), [&](int64_t begin, int64_t end) {
    Scratch sums(c, size_t(w.results) * sizeof(C));
    C* const sum = sums.get<C>();
    for (int64_t job = begin; job < end; job++) {
      const int64_t plane = job / h.results, p = job % h.results;
      const T* const image = x.as<T>() + planes.offset(x, plane);
      std::fill(sum, sum + w.results, C(0));
      for (int64_t r = h.firstInside(p); r < h.kernel && h.start(p) + r < h.size; r++) {
        for (int64_t s = 0; s < w.kernel; s++) {
          int64_t from, to;
          w.range(s, from, to);
          if (from >= to) continue;
          const T* const at = image + (h.start(p) + r) * x.strides[2] + (w.start(from) + s) * x.strides[3];
          withStep(w.stride * x.strides[3], [&](auto step) {
            for (int64_t i = 0; i < to - from; i++) sum[from + i] += C(at[i * step]);
          });
        }
      }
      T* const to = y.as<T>() + planes.offset(y, plane) + p * y.strides[2];
      const C rows = C(h.divisor(p, countPad));
      for (int64_t q = 0; q < w.results; q++)
        to[q * y.strides[3]] = convert<T>(sum[q] / (rows * C(w.divisor(q, countPad))));
    }
  });
}

template <typename T>
void averagePoolGrad(const Call& c) {
  using C = Compute<T>;
  const View &dy = c.in[0], &dx = c.out[0];
  if (dx.numel() == 0) return;
  const Axis h = axisOf(c, dx, dy, 0, false), w = axisOf(c, dx, dy, 1, false);
  const bool countPad = c.attr[6] != 0;
  const Planes planes(dx, dy);
  const int64_t planeWork = h.size * w.size + h.results * w.results * h.inside() * w.inside();
  parallelRange(planes.count, std::max<int64_t>(1, kGrain / planeWork), [&](int64_t begin, int64_t end) {
    Scratch imageMemory(c, size_t(h.size * w.size) * sizeof(C)), shareMemory(c, size_t(w.results) * sizeof(C));
    C* const image = imageMemory.get<C>();
    C* const share = shareMemory.get<C>();  // what each element of a window gets
    for (int64_t plane = begin; plane < end; plane++) {
      std::fill(image, image + h.size * w.size, C(0));
      for (int64_t p = 0; p < (w.results == 0 ? 0 : h.results); p++) {
        const T* const from = dy.as<T>() + planes.offset(dy, plane) + p * dy.strides[2];
        const C rows = C(h.divisor(p, countPad));
        for (int64_t q = 0; q < w.results; q++)
          share[q] = C(from[q * dy.strides[3]]) / (rows * C(w.divisor(q, countPad)));
        for (int64_t r = h.firstInside(p); r < h.kernel && h.start(p) + r < h.size; r++) {
          for (int64_t s = 0; s < w.kernel; s++) {
            int64_t first, last;
            w.range(s, first, last);
            if (first >= last) continue;
            C* const at = image + (h.start(p) + r) * w.size + w.start(first) + s;
            withStep(w.stride, [&](auto step) {
              for (int64_t i = 0; i < last - first; i++) at[i * step] += share[first + i];
            });
          }
        }
      }
      T* const to = dx.as<T>() + planes.offset(dx, plane);
      for (int64_t i = 0; i < h.size; i++)
        for (int64_t j = 0; j < w.size; j++)
          to[i * dx.strides[2] + j * dx.strides[3]] = convert<T>(image[i * w.size + j]);
    }
  });
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
void run_maxPool2d(const Call& c) {
  withType(c.in[0].dtype, [&](auto tag) { maxPool<TypeOf<decltype(tag)>>(c); });
}

void check_avgPool2d(const Call& c) {
  expectCounts(c, 1, 1, 7);
  checkAverage(c, c.in[0], c.out[0]);
}
void run_avgPool2d(const Call& c) {
  withFloat(c.in[0].dtype, [&](auto tag) { averagePool<TypeOf<decltype(tag)>>(c); });
}

void check_avgPool2dGrad(const Call& c) {
  expectCounts(c, 1, 1, 7);
  checkAverage(c, c.out[0], c.in[0]);
}
void run_avgPool2dGrad(const Call& c) {
  withFloat(c.in[0].dtype, [&](auto tag) { averagePoolGrad<TypeOf<decltype(tag)>>(c); });
}

}  // namespace nabla

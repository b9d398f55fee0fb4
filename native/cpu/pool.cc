// Pooling over windows of NCHW images: maxPool2d, avgPool2d and their gradients.
//
// A row of results is made at once: window element by window element over the whole row, so that the inner loop runs
// along the row without branches. What is computed in float32 goes through the kernels of the instruction set, on rows
// that were split by the stride (simd/pool.h); other types through plain loops.
#include <optional>
#include <vector>

#include "../core/cpu.h"
#include "../graph/window.h"
#include "layout.h"
#include "simd/pool.h"
#include "values.h"

namespace nabla {
namespace {

constexpr int64_t kGrain = 4096;  // window elements of a chunk
constexpr int64_t kTaps = 64;      // elements of a window whose addresses need no memory of their own
constexpr int64_t kWidest = 16;    // lanes of a vector: what rows are padded to

const PoolKernels& poolKernels() {
#if defined(__x86_64__) || defined(_M_X64)
  static const PoolKernels& kernels = isa() == Isa::avx512 ? avx512::pool : isa() == Isa::avx2 ? avx2::pool : baseline::pool;
  return kernels;
#else
  return baseline::pool;  // on arm64 the baseline has NEON
#endif
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

// The rows of an image as the kernels read them. Element i of a row with its padding is at (i % stride)·pitch +
// i / stride, so that window element k of result q is at tap(k) + q.
struct SplitRows {
  const PoolKernels& simd = poolKernels();
  const Axis& w;
  int64_t pitch, size, lead;  // of a part; of a row; elements before one falls in part 0
  std::vector<int64_t> taps;
  explicit SplitRows(const Axis& w)
      : w(w),
        pitch((ceilDiv(w.results, kWidest) + ceilDiv((w.kernel - 1) * w.dilation / w.stride + 1, kWidest)) * kWidest),
        size(pitch * w.stride),
        lead(std::min(w.size, (w.stride - w.pad % w.stride) % w.stride)) {
    for (int64_t k = 0; k < w.kernel; k++) taps.push_back(at(k * w.dilation));
  }
  // False where padding, dilation or stride are out of all proportion.
  static bool fit(const Axis& w) {
    const int64_t most = 4 * w.size + 1024;
    return w.pad <= most && w.stride <= most && (w.kernel - 1) * w.dilation <= most;
  }
  int64_t at(int64_t i) const { return i % w.stride * pitch + i / w.stride; }
  int64_t tap(int64_t k) const { return taps[size_t(k)]; }
  int64_t used() const {  // columns of the image that a window reaches
    return std::min(w.size, (w.results - 1) * w.stride + (w.kernel - 1) * w.dilation + 1 - w.pad);
  }
  void split(const float* x, float* y) const {
    const int64_t n = used(), before = std::min(lead, n);
    for (int64_t i = 0; i < before; i++) y[at(w.pad + i)] = x[i];
    if (n > before) simd.split(x + before, n - before, w.stride, y + at(w.pad + before), pitch);
  }
  void join(const float* y, float* x) const {
    const int64_t n = used(), before = std::min(lead, n);
    for (int64_t i = 0; i < before; i++) x[i] = y[at(w.pad + i)];
    if (n > before) simd.join(y + at(w.pad + before), pitch, w.stride, n - before, x + before);
    std::fill(x + n, x + w.size, 0.0f);
  }
  // The divisors of averages, for whole vectors.
  void divisors(bool countPad, float* y) const {
    for (int64_t q = 0; q < ceilDiv(w.results, kWidest) * kWidest; q++)
      y[q] = q < w.results ? float(w.divisor(q, countPad)) : 1.0f;
  }
};

// A row of n elements as float32: where it lies, or converted in a copy.
template <typename T>
const float* readRow(const T* x, int64_t stride, int64_t n, float* copy) {
  if constexpr (std::is_same_v<T, float>)
    if (stride == 1) return x;
  for (int64_t i = 0; i < n; i++) copy[i] = x[i * stride];
  return copy;
}
// Where a row can be written as float32, and its way to its place from there.
template <typename T>
float* rowFor(T* y, int64_t stride, float* copy) {
  if constexpr (std::is_same_v<T, float>)
    if (stride == 1) return y;
  return copy;
}
template <typename T>
void writeRow(T* y, int64_t stride, int64_t n, const float* copy) {
  if constexpr (std::is_same_v<T, float>)
    if (stride == 1) return;
  for (int64_t i = 0; i < n; i++) y[i * stride] = convert<T>(copy[i]);
}

// Calls results(plane, p0, p1, rows) for bands of rows of results, where `rows` has the split rows of the image that their
// windows reach: row i of the image is rows + i·size.
template <typename T, typename Results>
void overWindowRows(const Call& c, const View& x, const Planes& planes, const Axis& h, const SplitRows& split,
                    float border, Results results) {
  const int64_t rowWork = split.w.results * h.inside() * split.w.inside();
  const int64_t band = std::clamp<int64_t>(kGrain / rowWork, 1, h.results), bands = ceilDiv(h.results, band);
  const int64_t reach = (h.kernel - 1) * h.dilation;
  const int64_t most = std::min(h.size, (band - 1) * h.stride + reach + 1);
  parallelRange(planes.count * bands, std::max<int64_t>(1, kGrain / (rowWork * band)), [&](int64_t begin, int64_t end) {
    Scratch memory(c, size_t(most * split.size + split.w.size) * sizeof(float));
    float* const rows = memory.get<float>();
    float* const copy = rows + most * split.size;
    std::fill(rows, copy, border);  // stays where no element of the image comes
    for (int64_t job = begin; job < end; job++) {
      const int64_t plane = job / bands, p0 = job % bands * band, p1 = std::min(h.results, p0 + band);
      const int64_t top = std::max<int64_t>(0, h.start(p0)), bottom = std::min(h.size, h.start(p1 - 1) + reach + 1);
      const T* const image = x.as<T>() + planes.offset(x, plane);
      for (int64_t row = top; row < bottom; row++)
        split.split(readRow(image + row * x.strides[2], x.strides[3], split.w.size, copy), rows + (row - top) * split.size);
      results(plane, p0, p1, rows - top * split.size);
    }
  });
}

template <typename T>
void maxPoolRows(const Call& c) {
  const View &x = c.in[0], &y = c.out[0], &index = c.out[1];
  const Axis h = axisOf(c, x, y, 0, true), w = axisOf(c, x, y, 1, true);
  const Planes planes(x, y);
  const SplitRows split(w);
  const int64_t whole = ceilDiv(w.results, kWidest) * kWidest;
  Scratch firsts(c, size_t(whole) * sizeof(int32_t));  // the first column of each window
  int32_t* const first = firsts.get<int32_t>();
  for (int64_t q = 0; q < whole; q++)
    first[q] = q < w.results ? int32_t(w.start(q) + w.firstInside(q) * w.dilation) : 0;
  overWindowRows<T>(c, x, planes, h, split, -std::numeric_limits<float>::infinity(),
                    [&](int64_t plane, int64_t p0, int64_t p1, const float* rows) {
    const float* nearTaps[kTaps];
    int32_t nearPlaces[kTaps];
    const int64_t taps = h.inside() * w.kernel;
    std::optional<Scratch> far, copies;
    if (taps > kTaps) far.emplace(c, size_t(taps) * (sizeof(float*) + sizeof(int32_t)));
    const float** const tap = far ? far->get<const float*>() : nearTaps;
    int32_t* const place = far ? reinterpret_cast<int32_t*>(tap + taps) : nearPlaces;
    const bool direct = index.strides[3] == 1;
    T* const to = y.as<T>() + planes.offset(y, plane);
    int64_t* const places = index.as<int64_t>() + planes.offset(index, plane);
    if (!direct || !rowFor<T>(to, y.strides[3], nullptr))
      copies.emplace(c, size_t(w.results) * (sizeof(int64_t) + sizeof(float)));
    int64_t* const indexCopy = copies ? copies->get<int64_t>() : nullptr;
    float* const copy = copies ? reinterpret_cast<float*>(indexCopy + w.results) : nullptr;
    for (int64_t p = p0; p < p1; p++) {
      const int64_t firstRow = h.start(p) + h.firstInside(p) * h.dilation;
      const int64_t lastRow = std::min(h.size - 1, h.start(p) + (h.kernel - 1) * h.dilation);
      int64_t n = 0;
      for (int64_t row = firstRow; row <= lastRow; row += h.dilation)
        for (int64_t s = 0; s < w.kernel; s++, n++) {
          tap[n] = rows + row * split.size + split.tap(s);
          place[n] = int32_t(row * w.size + s * w.dilation - w.pad);
        }
      T* const values = to + p * y.strides[2];
      int64_t* const indices = places + p * index.strides[2];
      split.simd.max(tap, place, n, int32_t(w.stride), first, int32_t(firstRow * w.size), w.results,
                     rowFor(values, y.strides[3], copy), direct ? indices : indexCopy);
      writeRow(values, y.strides[3], w.results, copy);
      for (int64_t q = 0; !direct && q < w.results; q++) indices[q * index.strides[3]] = indexCopy[q];
    }
  });
}

template <typename T>
void maxPool(const Call& c) {
  using C = Compute<T>;
  if (std::is_same_v<C, float> && c.out[0].numel() > 0 && SplitRows::fit(axisOf(c, c.in[0], c.out[0], 1, true)))
    return maxPoolRows<T>(c);
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

// The gradient goes to the element whose index the maximum kept.
template <typename T>
void maxPoolGrad(const Call& c) {
  using C = Compute<T>;
  const View &dy = c.in[0], &index = c.in[1], &dx = c.out[0];
  const Planes planes(dx, dy);
  const int64_t P = dy.shape[2], Q = dy.shape[3], width = dx.shape[3], size = dx.shape[2] * width;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, size + P * Q));
  parallelRange(planes.count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; plane++)
      for (int64_t p = 0; p < P; p++) {
        const int64_t* const at = index.as<int64_t>() + planes.offset(index, plane) + p * index.strides[2];
        int64_t sign = 0;  // negative as soon as one is outside [0, size)
        if (index.strides[3] == 1)
          for (int64_t q = 0; q < Q; q++) sign |= at[q] | (size - 1 - at[q]);
        else
          for (int64_t q = 0; q < Q; q++) sign |= at[q * index.strides[3]] | (size - 1 - at[q * index.strides[3]]);
        if (sign >= 0) continue;
        for (int64_t q = 0; q < Q; q++)
          if (const int64_t i = at[q * index.strides[3]]; i < 0 || i >= size)
            fail("INDEX", "%s: index %lld is out of range for an image of %lld elements", c.op, (long long)i,
                 (long long)size);
      }
  });
  if (size == 0) return;
  const bool direct = std::is_same_v<T, C> && dx.strides[3] == 1 && dx.strides[2] == width;
  parallelRange(planes.count, grain, [&](int64_t begin, int64_t end) {
    Scratch memory(c, direct ? 0 : size_t(size) * sizeof(C));
    for (int64_t plane = begin; plane < end; plane++) {
      T* const to = dx.as<T>() + planes.offset(dx, plane);
      C* const image = direct ? reinterpret_cast<C*>(to) : memory.get<C>();
      std::fill(image, image + size, C(0));
      for (int64_t p = 0; p < P; p++) {
        const T* const from = dy.as<T>() + planes.offset(dy, plane) + p * dy.strides[2];
        const int64_t* const at = index.as<int64_t>() + planes.offset(index, plane) + p * index.strides[2];
        for (int64_t q = 0; q < Q; q++) image[at[q * index.strides[3]]] += C(from[q * dy.strides[3]]);
      }
      for (int64_t i = 0; !direct && i < size; i++)
        to[i / width * dx.strides[2] + i % width * dx.strides[3]] = convert<T>(image[i]);
    }
  });
}

template <typename T>
void averagePoolRows(const Call& c) {
  const View &x = c.in[0], &y = c.out[0];
  const Axis h = axisOf(c, x, y, 0, false), w = axisOf(c, x, y, 1, false);
  const bool countPad = c.attr[6] != 0;
  const Planes planes(x, y);
  const SplitRows split(w);
  Scratch columns(c, size_t(w.results + kWidest) * sizeof(float));
  split.divisors(countPad, columns.get<float>());
  overWindowRows<T>(c, x, planes, h, split, 0, [&](int64_t plane, int64_t p0, int64_t p1, const float* rows) {
    const float* nearTaps[kTaps];
    const int64_t taps = h.inside() * w.kernel;
    T* const to = y.as<T>() + planes.offset(y, plane);
    std::optional<Scratch> far, copies;
    if (taps > kTaps) far.emplace(c, size_t(taps) * sizeof(float*));
    if (!rowFor<T>(to, y.strides[3], nullptr)) copies.emplace(c, size_t(w.results) * sizeof(float));
    const float** const tap = far ? far->get<const float*>() : nearTaps;
    float* const copy = copies ? copies->get<float>() : nullptr;
    for (int64_t p = p0; p < p1; p++) {
      int64_t n = 0;
      for (int64_t row = std::max<int64_t>(0, h.start(p)); row < std::min(h.size, h.start(p) + h.kernel); row++)
        for (int64_t s = 0; s < w.kernel; s++) tap[n++] = rows + row * split.size + split.tap(s);
      T* const means = to + p * y.strides[2];
      split.simd.mean(tap, n, float(h.divisor(p, countPad)), columns.get<float>(), w.results,
                      rowFor(means, y.strides[3], copy));
      writeRow(means, y.strides[3], w.results, copy);
    }
  });
}

template <typename T>
void averagePool(const Call& c) {
  using C = Compute<T>;
  if (std::is_same_v<C, float> && c.out[0].numel() > 0 && SplitRows::fit(axisOf(c, c.in[0], c.out[0], 1, false)))
    return averagePoolRows<T>(c);
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
void averagePoolGradRows(const Call& c) {
  const View &dy = c.in[0], &dx = c.out[0];
  const Axis h = axisOf(c, dx, dy, 0, false), w = axisOf(c, dx, dy, 1, false);
  const bool countPad = c.attr[6] != 0;
  const Planes planes(dx, dy);
  const SplitRows split(w);
  Scratch columns(c, size_t(w.results + kWidest) * sizeof(float));
  split.divisors(countPad, columns.get<float>());
  const int64_t planeWork = h.size * w.size + h.results * w.results * h.inside() * w.inside();
  parallelRange(planes.count, std::max<int64_t>(1, kGrain / planeWork), [&](int64_t begin, int64_t end) {
    Scratch memory(c, size_t(h.size * split.size + w.results + std::max(w.size, w.results)) * sizeof(float));
    Scratch list(c, size_t(w.kernel) * sizeof(float*));
    float* const rows = memory.get<float>();
    float* const share = rows + h.size * split.size;  // what each element of a window gets
    float* const copy = share + w.results;
    float** const tap = list.get<float*>();
    for (int64_t plane = begin; plane < end; plane++) {
      std::fill(rows, share, 0.0f);
      for (int64_t p = 0; p < h.results; p++) {
        const T* const from = dy.as<T>() + planes.offset(dy, plane) + p * dy.strides[2];
        split.simd.share(readRow(from, dy.strides[3], w.results, copy), float(h.divisor(p, countPad)),
                         columns.get<float>(), w.results, share);
        for (int64_t r = h.firstInside(p); r < h.kernel && h.start(p) + r < h.size; r++) {
          for (int64_t s = 0; s < w.kernel; s++) tap[s] = rows + (h.start(p) + r) * split.size + split.tap(s);
          split.simd.spread(tap, w.kernel, share, w.results);
        }
      }
      for (int64_t i = 0; i < h.size; i++) {
        T* const to = dx.as<T>() + planes.offset(dx, plane) + i * dx.strides[2];
        split.join(rows + i * split.size, rowFor(to, dx.strides[3], copy));
        writeRow(to, dx.strides[3], w.size, copy);
      }
    }
  });
}

template <typename T>
void averagePoolGrad(const Call& c) {
  using C = Compute<T>;
  if (std::is_same_v<C, float> && c.in[0].numel() > 0 && SplitRows::fit(axisOf(c, c.out[0], c.in[0], 1, false)))
    return averagePoolGradRows<T>(c);
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

}  // namespace

void run_maxPool2d(const Call& c) {
  withType(c.in[0].dtype, [&](auto tag) { maxPool<TypeOf<decltype(tag)>>(c); });
}

void run_maxPool2dGrad(const Call& c) {
  withFloat(c.in[0].dtype, [&](auto tag) { maxPoolGrad<TypeOf<decltype(tag)>>(c); });
}

void run_avgPool2d(const Call& c) {
  withFloat(c.in[0].dtype, [&](auto tag) { averagePool<TypeOf<decltype(tag)>>(c); });
}

void run_avgPool2dGrad(const Call& c) {
  withFloat(c.in[0].dtype, [&](auto tag) { averagePoolGrad<TypeOf<decltype(tag)>>(c); });
}

}  // namespace nabla

// Convolutions that read the image itself.
//
// Forward and input gradient: a task copies some rows of an image into planes with their padding, one plane for each
// remainder of the coordinates by the stride. In a plane the pixels of a result are adjacent whatever the stride, so that
// window element k of all of them is the run of values at offset[k]; the gaps between the rows are computed with them
// and thrown away. The input gradient is one such correlation of dy for each remainder of the image's coordinates.
//
// Weight gradient: the image is copied with its channels last, so that the window elements of a row of the window are
// adjacent; a register tile of (result, window element) sums over the pixels.
#include <cstdlib>
#include <vector>

#include "conv.h"
#include "conv_simd.h"
#include "rows.h"

namespace nabla {
namespace {

constexpr int64_t kCopyBytes = 256 << 10;    // of an image, or of results, in a task: parts of the L2 cache
constexpr int64_t kEpilogueBytes = 64 << 10; // of results that an epilogue gets at a time
constexpr int64_t kDepth = 256;              // window elements that are summed before results are stored
constexpr int64_t kWidest = 64;              // elements of the widest tile
constexpr int64_t kTasks = 16;               // tasks that are wanted, whatever the number of threads
constexpr int64_t kWork = 1 << 18;           // multiplications of a chunk
constexpr int64_t kRowsOfTask = 12;          // results of a task, at least, where the results are shared out
constexpr int64_t kCopyCost = 6;             // of a row of a plane, in vectors of multiplications

void copyRows(const float* x, int64_t xStride, int64_t rows, int64_t n, float* y, int64_t yStride) {
  rowKernels().copyBlock(x, xStride, rows, n, y, yStride);
}
void copyRows(const double* x, int64_t xStride, int64_t rows, int64_t n, double* y, int64_t yStride) {
  for (int64_t r = 0; r < rows; r++) std::copy(x + r * xStride, x + r * xStride + n, y + r * yStride);
}

// Each thread keeps its memory, so that pages are touched once and not in every call: one block for tasks, one for calls.
class Memory {
 public:
  ~Memory() { std::free(block_); }
  template <typename C>
  C* get(const Call& c, int64_t count) {
    const size_t bytes = size_t(count) * sizeof(C);
    if (bytes > size_) {
      std::free(block_);
      size_ = 0;
      block_ = std::malloc(bytes + 63);
      if (!block_) fail("MEMORY", "%s: no memory for %zu bytes of temporary values", c.op, bytes);
      size_ = bytes;
    }
    return reinterpret_cast<C*>((reinterpret_cast<uintptr_t>(block_) + 63) & ~uintptr_t(63));
  }
  void trim() {  // at the end of a call: large blocks are not worth keeping
    if (size_ <= (8 << 20)) return;
    std::free(block_);
    block_ = nullptr;
    size_ = 0;
  }

 private:
  void* block_ = nullptr;
  size_t size_ = 0;
};
thread_local Memory memory, callMemory;

int64_t rounded(int64_t n) { return ceilDiv(n, kWidest) * kWidest; }
int64_t floorDiv(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceilDiv(-a, b); }

// The window along one axis: element t of the window of result p is element p + shift[t] of the plane `plane[t]`, which
// has the elements remainder[plane] + i·step of the image.
struct Window {
  int64_t size, step, results;
  int64_t spread = 1;  // only every so many of the image's elements are stored, the others are zeros
  std::vector<int64_t> plane, shift, remainder;
  int64_t least = 0, most = 0;  // shift
  Window(int64_t size, int64_t step, int64_t results) : size(size), step(step), results(results) {}
  void push(int64_t shiftBy, int64_t rest) {
    size_t i = 0;
    while (i < remainder.size() && remainder[i] != rest) i++;
    if (i == remainder.size()) remainder.push_back(rest);
    if (shift.empty()) least = most = shiftBy;
    least = std::min(least, shiftBy), most = std::max(most, shiftBy);
    plane.push_back(int64_t(i));
    shift.push_back(shiftBy);
  }
  int64_t taps() const { return int64_t(shift.size()); }
  int64_t planes() const { return int64_t(remainder.size()); }
  int64_t span() const { return most - least; }
  int64_t stored() const { return (size - 1) / spread + 1; }
  // Of the n elements of a plane from result `first` + least on, those inside the image: the one at `to` is element
  // `from` of what is stored, and so on, `count` in all.
  struct Inside {
    int64_t from, to, count;
  };
  Inside inside(int64_t first, int64_t which, int64_t n) const {
    const int64_t start = (first + least) * step + remainder[size_t(which)];  // of element 0, in the image
    int64_t to = start >= 0 ? 0 : ceilDiv(-start, step);
    to += (spread - (start + to) % spread) % spread;  // step or spread is 1
    const int64_t end = std::min(n, start >= size ? 0 : (size - 1 - start) / step + 1);
    return {(start + to * step) / spread, to, to < end ? ceilDiv(end - to, spread) : 0};
  }
};

Window forwardWindow(int64_t size, int64_t results, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  Window w(size, stride, results);
  for (int64_t r = 0; r < kernel; r++) {
    const int64_t at = r * dilation - pad, shift = floorDiv(at, stride);
    w.push(shift, at - shift * stride);
  }
  return w;
}
// The same window with a plane for each element, so that no shift and hence no gap between the rows remains.
Window withoutGaps(const Window& w) {
  Window to(w.size, w.step, w.results);
  to.spread = w.spread;
  for (size_t t = 0; t < w.shift.size(); t++) to.push(0, w.shift[t] * w.step + w.remainder[size_t(w.plane[t])]);
  return to;
}
// Whether the gaps cost more than those planes do, for `results` values of each pixel.
bool gapsMatter(const Window& h, const Window& w, int64_t results, int64_t lanes) {
  if (w.span() == 0 || w.results > kWidest) return false;
  const int64_t gaps = ceilDiv((h.results - 1) * (w.results + w.span()) + w.results, lanes);
  const int64_t saved = (gaps - ceilDiv(h.results * w.results, lanes)) * results * h.taps() * w.taps();
  const int64_t rows = (w.taps() - w.planes()) * h.planes() * (h.results + h.span());
  return saved > rows * ceilDiv(w.results, lanes) * kCopyCost;
}
// That of the elements first, first + step, … of the image in the gradient, where the step is the stride, or 1 and the
// results have zeros between them; `used` gets the elements of the kernel.
Window gradientWindow(int64_t size, int64_t results, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                      int64_t step, int64_t first, std::vector<int64_t>& used) {
  const int64_t spread = stride / step;
  Window w((results - 1) * spread + 1, 1, ceilDiv(size - first, step));
  w.spread = spread;
  used.clear();
  for (int64_t r = 0; r < kernel; r++) {
    const int64_t at = first + pad - r * dilation, shift = floorDiv(at, step);
    if (at != shift * step) continue;
    w.push(shift, 0);
    used.push_back(r);
  }
  return w;
}

// The planes that results are read from: for `channels` channels, row and column remainders, rows of pitch elements.
template <typename C>
struct Planes {
  const Window &h, &w;
  int64_t channels, pitch, plane;  // elements of a row, of a plane
  int64_t size() const { return channels * h.planes() * w.planes() * plane; }
  // Offsets of the window elements of one channel after the other.
  void offsets(int64_t channels, int64_t* offset) const {
    for (int64_t ch = 0; ch < channels; ch++)
      for (size_t r = 0; r < h.shift.size(); r++)
        for (size_t s = 0; s < w.shift.size(); s++)
          *offset++ = ((ch * h.planes() + h.plane[r]) * w.planes() + w.plane[s]) * plane + (h.shift[r] - h.least) * pitch +
                      w.shift[s] - w.least;
  }
  // What results [p, p + height) × [q, q + wide) need of a plane and lies inside the image: `rows` × `columns` from `from`
  // in an image to `to` in the planes of a channel.
  struct Part {
    int64_t from, to, rows, columns;
  };
  std::vector<Part> partsOf(int64_t p, int64_t height, int64_t q, int64_t wide) const {
    std::vector<Part> parts;
    for (int64_t i = 0; i < h.planes(); i++)
      for (int64_t j = 0; j < w.planes(); j++) {
        const Window::Inside row = h.inside(p, i, height + h.span()), column = w.inside(q, j, wide + w.span());
        if (row.count == 0 || column.count == 0) continue;
        parts.push_back({row.from * w.stored() + column.from,
                         (i * w.planes() + j) * plane + row.to * pitch + column.to, row.count, column.count});
      }
    return parts;
  }
  int64_t area() const { return h.stored() * w.stored(); }
  // What is outside the image keeps its zeros.
  void load(const C* image, const std::vector<Part>& parts, C* copy) const {
    const int64_t from = h.step * w.stored(), to = h.spread * pitch;  // from row to row
    for (int64_t ch = 0; ch < channels; ch++, image += area(), copy += h.planes() * w.planes() * plane)
      for (const Part& part : parts) {
        const C* const x = image + part.from;
        C* const y = copy + part.to;
        if (w.step != 1) kernelsOf(C()).take(part.rows, part.columns, x, from, w.step, y, to);
        else if (w.spread != 1) kernelsOf(C()).put(part.rows, part.columns, x, from, y, to, w.spread);
        else copyRows(x, from, part.rows, part.columns, y, to);
      }
  }
};

// Part of the work that is not wasted on gaps and on lanes behind the end; 0 where windows are out of all proportion.
double utilisation(int64_t rows, int64_t columns, int64_t spanH, int64_t spanW) {
  if (spanH > 4 * rows + 64 || spanW > 4 * columns + 64) return 0;
  const int64_t n = (rows - 1) * (columns + spanW) + columns;
  return double(rows * columns) / double(ceilDiv(n, 16) * 16);
}
constexpr double kLeastUse = 0.4;

// y[n, o, first + p·step…] = Σ w[o, c, t] · x[n, c, window element t of p]
template <typename C>
struct Correlation {
  int64_t N, groups, Cg, Og;
  const Window &h, &gapped;
  const C* x;
  const C* weight;  // [groups·Og, Cg, taps]
  C* y;
  int64_t outH, outW;            // of the image that y is
  int64_t firstH, firstW, stepH, stepW;
  const Epilogue* epilogue;      // of a result without steps, or null

  void run(const Call& c) const {
    const ConvKernels<C>& simd = kernelsOf(C());
    const bool packed = gapsMatter(h, gapped, Og, simd.lanes);
    const Window w = packed ? withoutGaps(gapped) : gapped;
    const int64_t taps = h.taps() * w.taps(), planes = h.planes() * w.planes(), depth = Cg * taps;
    // Tiles of whole rows, or, where one is too long, of parts of a row.
    const int64_t perColumn = Cg * planes * int64_t(sizeof(C));
    const int64_t most = std::max(kWidest, kCopyBytes / (perColumn * (h.span() + 1)) - w.span());
    const int64_t across = ceilDiv(w.results, most), width = ceilDiv(w.results, across), pitch = width + w.span();
    const int64_t fit = std::max<int64_t>(1, kCopyBytes / (perColumn * pitch) - h.span());
    const int64_t down = across > 1 ? h.results : ceilDiv(h.results, fit), rows = ceilDiv(h.results, down);
    const int64_t plane = (rows + h.span()) * pitch, flat = rounded((rows - 1) * pitch + width);
    const int64_t images = N * groups, tiles = down * across;
    const int64_t parts = std::clamp<int64_t>(ceilDiv(kTasks / 2, images * tiles), 1, std::max<int64_t>(1, Og / kRowsOfTask));
    const int64_t fitting = (epilogue ? kEpilogueBytes : kCopyBytes) / (flat * int64_t(sizeof(C)));
    const int64_t block = std::clamp(fitting, std::min(kRowsOfTask, Og), Og);
    const int64_t slices = ceilDiv(Cg, std::max<int64_t>(1, kDepth / taps)), slice = ceilDiv(Cg, slices);

    const Planes<C> from{h, w, Cg, pitch, plane};
    Scratch table(c, size_t(slice * taps) * sizeof(int64_t));
    int64_t* const offset = table.get<int64_t>();
    from.offsets(slice, offset);

    const int64_t work = ceilDiv(Og, parts) * depth * rows * width;
    parallelRange(images * tiles * parts, std::max<int64_t>(1, kWork / work), [&](int64_t begin, int64_t end) {
      const int64_t copySize = rounded(from.size()) + kWidest;
      C* const copy = memory.get<C>(c, copySize + block * flat);
      C* const results = copy + copySize;
      int64_t last = -1;    // the tile whose zeros the copy has, and these parts
      std::vector<typename Planes<C>::Part> inside;
      int64_t waiting = 0;  // channels that the epilogue has not seen
      for (int64_t job = begin; job < end; job++) {
        const int64_t part = job % parts, tile = job / parts % tiles, image = job / parts / tiles;
        const int64_t g = image % groups;
        const int64_t p = tile / across * rows, q = tile % across * width;
        const int64_t height = std::min(rows, h.results - p), wide = std::min(width, w.results - q);
        if (height <= 0 || wide <= 0) continue;
        if (tile != last) {
          std::fill(copy, copy + copySize, C(0));
          inside = from.partsOf(p, height, q, wide);
          last = tile;
        }
        from.load(x + image * Cg * from.area(), inside, copy);
        const int64_t n = (height - 1) * pitch + wide;
        // Whole vectors of adjacent results go straight to their place.
        const bool inPlace = pitch == outW && stepH == 1 && stepW == 1 && n % simd.lanes == 0;
        const int64_t o1 = Og * (part + 1) / parts;
        for (int64_t o = Og * part / parts; o < o1; o += block) {
          const int64_t count = std::min(block, o1 - o);
          C* const first = y + ((image * Og + o) * outH + firstH + p * stepH) * outW + firstW + q * stepW;
          C* const made = inPlace ? first : results;
          const int64_t madeRow = inPlace ? outH * outW : flat;
          for (int64_t ch = 0; ch < Cg; ch += slice)
            simd.correlate(count, n, 1, std::min(slice, Cg - ch) * taps, 0, weight + ((g * Og + o) * Cg + ch) * taps, depth,
                           copy + ch * planes * plane, offset, made, madeRow, ch > 0);
          for (int64_t i = 0; i < count && !inPlace; i++) {
            C* const to = first + i * outH * outW;
            if (stepW == 1) copyRows(made + i * flat, pitch, height, wide, to, stepH * outW);
            else simd.put(height, wide, made + i * flat, pitch, to, stepH * outW, stepW);
          }
          if (!epilogue) continue;
          // Small groups together.
          waiting += count;
          if (tiles == 1 && parts == 1 && waiting + Og <= fitting && g + 1 < groups && job + 1 < end) continue;
          const int64_t channel = outH * outW;
          epilogue->run(epilogue->context, image / groups, g * Og + o + count - waiting, waiting, p * outW + q,
                        height * wide, first - (waiting - count) * channel, channel, 1);
          waiting = 0;
        }
      }
    });
  }
};

// A copy of the image with its channels last and its padding: what the windows reach.
struct Channels {
  int64_t H, W, row, size;  // of the copy; elements of a row and of an image (one group)
  explicit Channels(const ConvShape& s)
      : H((s.P - 1) * s.strideH + (s.R - 1) * s.dilationH + 1),
        W((s.Q - 1) * s.strideW + (s.S - 1) * s.dilationW + 1),
        row(W * s.Cg),
        size(H * row) {}
};

template <typename C>
void channelsLast(const ConvShape& s, const Channels& to, const C* x, C* copy) {
  const int64_t h0 = std::max<int64_t>(0, -s.padH), w0 = std::max<int64_t>(0, -s.padW);
  const int64_t h1 = std::min(s.H, to.H - s.padH), w1 = std::min(s.W, to.W - s.padW);
  std::fill(copy, copy + to.size, C(0));
  if (h1 <= h0 || w1 <= w0) return;
  C* const at = copy + (h0 + s.padH) * to.row + (w0 + s.padW) * s.Cg;
  if (s.Cg == 1) return copyRows(x + h0 * s.W + w0, s.W, h1 - h0, w1 - w0, at, to.row);
  for (int64_t h = h0; h < h1; h++)
    transposeBlock(w1 - w0, s.Cg, x + h * s.W + w0, s.H * s.W, at + (h - h0) * to.row, s.Cg);
}

}  // namespace

bool DirectConv::fits(const ConvShape& s) {
  return !s.pointwise() &&
         utilisation(s.P, s.Q, (s.R - 1) * s.dilationH / s.strideH, (s.S - 1) * s.dilationW / s.strideW) >= kLeastUse;
}

bool DirectConv::inputGradFits(const ConvShape& s) {
  return !s.pointwise() &&
         utilisation(ceilDiv(s.H, s.strideH), ceilDiv(s.W, s.strideW), (s.R - 1) * s.dilationH / s.strideH,
                     (s.S - 1) * s.dilationW / s.strideW) >= kLeastUse;
}

bool DirectConv::weightGradFits(const ConvShape& s) {
  const Channels copy(s);
  return !s.pointwise() && copy.H <= 2 * s.H + 64 && copy.W <= 2 * s.W + 64;
}

template <typename C>
void DirectConv::forward(const ConvShape& s, const Call& c, const C* x, const C* w, C* y,
                         const Epilogue* epilogue) {
  const Window rows = forwardWindow(s.H, s.P, s.R, s.strideH, s.padH, s.dilationH);
  const Window columns = forwardWindow(s.W, s.Q, s.S, s.strideW, s.padW, s.dilationW);
  Correlation<C>{s.N, s.groups, s.Cg, s.Og, rows, columns, x, w, y, s.P, s.Q, 0, 0, 1, 1, epilogue}.run(c);
}

// A sum for each window element and image.
template <typename C>
void DirectConv::depthwiseWeightGrad(const ConvShape& s, const Call& c, const C* x, const C* dy, C* dw) {
  const ConvKernels<C>& simd = kernelsOf(C());
  const Window h = forwardWindow(s.H, s.P, s.R, s.strideH, s.padH, s.dilationH);
  const Window w = forwardWindow(s.W, s.Q, s.S, s.strideW, s.padW, s.dilationW);
  const int64_t pitch = s.Q + w.span(), row = rounded(s.Q);
  const int64_t rows = std::clamp<int64_t>(kCopyBytes / (h.planes() * w.planes() * pitch * int64_t(sizeof(C))), 1, s.P);
  const Planes<C> from{h, w, 1, pitch, (rows + h.span()) * pitch};
  Scratch table(c, size_t(s.K) * sizeof(int64_t));
  int64_t* const offset = table.get<int64_t>();
  from.offsets(1, offset);
  parallelRange(s.O, std::max<int64_t>(1, kWork / (s.N * s.pixels * s.K)), [&](int64_t begin, int64_t end) {
    const int64_t copySize = rounded(from.size()) + kWidest, sums = rounded(s.K);
    C* const sum = memory.get<C>(c, sums + copySize + rows * row);
    C* const copy = sum + sums;
    C* const gradient = copy + copySize;
    std::fill(gradient, gradient + rows * row, C(0));
    int64_t last = -1;  // first row of the tile whose zeros the copy has, and these parts
    std::vector<typename Planes<C>::Part> inside;
    for (int64_t o = begin; o < end; o++) {
      std::fill(sum, sum + s.K, C(0));
      for (int64_t n = 0; n < s.N; n++)
        for (int64_t p = 0; p < s.P; p += rows) {
          const int64_t height = std::min(rows, s.P - p);
          if (last != p) {
            std::fill(copy, copy + copySize, C(0));
            inside = from.partsOf(p, height, 0, s.Q);
            last = p;
          }
          from.load(x + (n * s.C + o / s.Og) * s.H * s.W, inside, copy);
          copyRows(dy + ((n * s.O + o) * s.P + p) * s.Q, s.Q, height, s.Q, gradient, row);
          simd.dots(s.K, height, s.Q, gradient, row, copy, pitch, offset, sum);
        }
      std::copy(sum, sum + s.K, dw + o * s.K);
    }
  });
}

template <typename C>
void DirectConv::inputGrad(const ConvShape& s, const Call& c, const C* dy, const C* w, C* dx,
                           const Epilogue* epilogue) {
  const int64_t window = s.R * s.S;
  std::vector<int64_t> usedRows, usedColumns;
  C* const weight = callMemory.get<C>(c, s.O * s.K);  // [groups·Cg, Og, elements of the window]
  // For single channels it is quicker to multiply the zeros between the elements of dy than to go through them four times.
  const bool spreads = s.depthwise() && s.strideH <= 2 && s.strideW <= 2;
  const int64_t stepH = spreads ? 1 : s.strideH, stepW = spreads ? 1 : s.strideW;
  bool whole = s.strideH <= (s.R - 1) * s.dilationH + 1 && s.strideW <= (s.S - 1) * s.dilationW + 1;
  whole &= (s.dilationH == 1 || s.strideH == 1) && (s.dilationW == 1 || s.strideW == 1);
  if (!whole && !spreads) std::fill(dx, dx + s.N * s.C * s.H * s.W, C(0));  // some elements are in no window
  for (int64_t a = 0; a < std::min(stepH, s.H); a++) {
    const Window rows = gradientWindow(s.H, s.P, s.R, s.strideH, s.padH, s.dilationH, stepH, a, usedRows);
    for (int64_t b = 0; b < std::min(stepW, s.W); b++) {
      const Window columns = gradientWindow(s.W, s.Q, s.S, s.strideW, s.padW, s.dilationW, stepW, b, usedColumns);
      const int64_t taps = rows.taps() * columns.taps();
      if (taps == 0) continue;
      parallelRange(s.groups * s.Cg, std::max<int64_t>(1, kRowGrain / (s.Og * taps)), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
          C* to = weight + i * s.Og * taps;
          for (int64_t o = 0; o < s.Og; o++) {
            const C* const from = w + ((i / s.Cg * s.Og + o) * s.Cg + i % s.Cg) * window;
            for (const int64_t r : usedRows)
              for (const int64_t t : usedColumns) *to++ = from[r * s.S + t];
          }
        }
      });
      Correlation<C>{s.N, s.groups, s.Og, s.Cg,   rows, columns, dy,        weight,
                     dx,  s.H,      s.W,  a, b, stepH, stepW, epilogue}
          .run(c);
    }
  }
  callMemory.trim();
}

// A task sums some results over some rows of some images; the sums of the parts are added in order.
template <typename C>
void DirectConv::weightGrad(const ConvShape& s, const Call& c, const C* x, const C* dy, C* dw) {
  const ConvKernels<C>& simd = kernelsOf(C());
  const Channels to(s);
  // Runs of adjacent window elements, in whole vectors.
  const bool joined = s.dilationW == 1;
  const int64_t runs = joined ? s.R : s.R * s.S, length = joined ? s.S * s.Cg : s.Cg;
  const int64_t vectors = ceilDiv(length, simd.lanes), pitch = runs * vectors * simd.lanes;  // of a result
  Scratch table(c, size_t(runs * vectors) * sizeof(int64_t));
  int64_t* const offset = table.get<int64_t>();
  for (int64_t i = 0; i < runs; i++)
    for (int64_t v = 0; v < vectors; v++)
      offset[i * vectors + v] = (joined ? i * s.dilationH * to.row : i / s.S * s.dilationH * to.row + i % s.S * s.dilationW * s.Cg) +
                                v * simd.lanes;

  const int64_t tile = std::clamp<int64_t>(kCopyBytes / (s.strideH * to.row * int64_t(sizeof(C))), 1, s.P);
  const int64_t tiles = ceilDiv(s.P, tile), units = s.N * tiles;  // of rows of pixels
  const int64_t blocks = ceilDiv(s.Og, kRowsOfTask), size = s.O * pitch;
  const int64_t enough = ceilDiv(s.O * s.K * s.N * s.pixels, kWork);
  const int64_t parts = std::max<int64_t>(1, std::min({ceilDiv(kTasks, blocks * s.groups), units, enough}));

  const int64_t images = s.N * s.groups, copySize = rounded(images * to.size + kWidest);
  C* const copy = callMemory.get<C>(c, copySize + parts * size);
  C* const sum = copy + copySize;
  std::fill(copy + images * to.size, sum, C(0));
  parallelRange(images, std::max<int64_t>(1, kRowGrain / to.size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) channelsLast(s, to, x + i * s.Cg * s.H * s.W, copy + i * to.size);
  });

  parallel(parts * s.groups * blocks, [&](int64_t job) {
    const int64_t block = job % blocks, g = job / blocks % s.groups, part = job / blocks / s.groups;
    const int64_t o0 = s.Og * block / blocks, o1 = s.Og * (block + 1) / blocks;
    C* const to0 = sum + part * size + (g * s.Og + o0) * pitch;
    std::fill(to0, to0 + (o1 - o0) * pitch, C(0));
    for (int64_t unit = units * part / parts; unit < units * (part + 1) / parts; unit++) {
      const int64_t n = unit / tiles, p = unit % tiles * tile;
      simd.gradient(o1 - o0, runs * vectors, std::min(tile, s.P - p), s.Q,
                    dy + ((n * s.O + g * s.Og + o0) * s.P + p) * s.Q, s.pixels,
                    copy + (n * s.groups + g) * to.size + p * s.strideH * to.row, s.strideH * to.row, s.strideW * s.Cg,
                    offset, to0, pitch);
    }
  });
  parallelRange(s.O, std::max<int64_t>(1, kRowGrain / (pitch * parts)), [&](int64_t begin, int64_t end) {
    for (int64_t part = 1; part < parts; part++)
      for (int64_t i = begin * pitch; i < end * pitch; i++) sum[i] += sum[part * size + i];
    for (int64_t o = begin; o < end; o++)
      for (int64_t r = 0; r < s.R; r++)
        for (int64_t t = 0; t < s.S; t++) {
          const C* const from = sum + o * pitch + (joined ? r * vectors * simd.lanes + t * s.Cg : (r * s.S + t) * vectors * simd.lanes);
          C* const element = dw + o * s.K + r * s.S + t;
          for (int64_t ch = 0; ch < s.Cg; ch++) element[ch * s.R * s.S] = from[ch];
        }
  });
  callMemory.trim();
}

template void DirectConv::forward(const ConvShape&, const Call&, const float*, const float*, float*, const Epilogue*);
template void DirectConv::forward(const ConvShape&, const Call&, const double*, const double*, double*, const Epilogue*);
template void DirectConv::inputGrad(const ConvShape&, const Call&, const float*, const float*, float*, const Epilogue*);
template void DirectConv::inputGrad(const ConvShape&, const Call&, const double*, const double*, double*, const Epilogue*);
template void DirectConv::depthwiseWeightGrad(const ConvShape&, const Call&, const float*, const float*, float*);
template void DirectConv::depthwiseWeightGrad(const ConvShape&, const Call&, const double*, const double*, double*);
template void DirectConv::weightGrad(const ConvShape&, const Call&, const float*, const float*, float*);
template void DirectConv::weightGrad(const ConvShape&, const Call&, const double*, const double*, double*);

}  // namespace nabla

// conv2d and its adjoints in the input and in the weights, as matrix products.
//
// For one image and one group, a result is w[O, K] · columns[K, P·Q], where column j holds the K = C·R·S input values
// under the window of pixel j. The columns are never formed as a whole: a task makes a tile of pixels that stays in the
// L2 cache, and multiplies it. Convolutions with one input channel a group (depthwise) are summed directly.
#include "gemm.h"
#include "rows.h"

namespace nabla {
namespace {

constexpr int64_t kTileBytes = 512 << 10;  // of columns
constexpr int64_t kLeastPixels = 128;      // of a tile, however many rows it has
constexpr int64_t kWork = 1 << 19;         // multiplications of a chunk
constexpr int64_t kParts = 16;             // partial sums of a weight gradient, at most …
constexpr int64_t kPartBytes = 64 << 20;   // … and their memory

struct Shape {
  int64_t N, C, H, W, O, P, Q, R, S;
  int64_t strideH, strideW, padH, padW, dilationH, dilationW, groups;
  int64_t Cg, Og;     // channels of a group
  int64_t K, pixels;  // Cg·R·S, P·Q
  Shape(const Call& c, const View& x, const View& w, const View& y)
      : N(x.shape[0]), C(x.shape[1]), H(x.shape[2]), W(x.shape[3]), O(y.shape[1]), P(y.shape[2]), Q(y.shape[3]),
        R(w.shape[2]), S(w.shape[3]), strideH(c.attr[0]), strideW(c.attr[1]), padH(c.attr[2]), padW(c.attr[3]),
        dilationH(c.attr[4]), dilationW(c.attr[5]), groups(c.attr[6]), Cg(C / groups), Og(O / groups), K(Cg * R * S),
        pixels(P * Q) {}
  bool pointwise() const {  // the columns are the image itself
    return R == 1 && S == 1 && strideH == 1 && strideW == 1 && padH == 0 && padW == 0 && P == H && Q == W;
  }
  bool depthwise() const { return Cg == 1 && groups > 1 && Og <= 2; }
  int64_t tilePixels(size_t itemSize) const {
    const int64_t most = std::max(kLeastPixels, kTileBytes / std::max<int64_t>(1, K * int64_t(itemSize)));
    return ceilDiv(ceilDiv(pixels, ceilDiv(pixels, most)), 64) * 64;
  }
  // Pixels [from, to) of an output row whose window column s is inside the image.
  void inside(int64_t s, int64_t& from, int64_t& to) const {
    const int64_t shift = s * dilationW - padW;
    from = std::min(Q, shift >= 0 ? 0 : ceilDiv(-shift, strideW));
    to = shift >= W ? from : std::max(from, std::min(Q, (W - 1 - shift) / strideW + 1));
  }
  int64_t column(int64_t q, int64_t s) const { return q * strideW + s * dilationW - padW; }
  int64_t row(int64_t p, int64_t r) const { return p * strideH + r * dilationH - padH; }
};

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

// A 4-dimensional operand as contiguous values of type C: where it lies, or a converted copy.
template <typename C>
class Input {
 public:
  Input(const Call& c, const View& v)
      : direct_(v.dtype == dtypeOf<C>() && v.contiguous()),
        copy_(c, direct_ ? 0 : size_t(v.numel()) * sizeof(C)),
        data(direct_ ? v.as<C>() : copy_.template get<C>()) {
    if (direct_ || v.numel() == 0) return;
    C* const to = copy_.template get<C>();
    overRowsOf(v, [&](int64_t row, int64_t offset) {
      loadRows(v, &offset, 1, v.shape[3], v.strides[3], to + row * v.shape[3]);
    });
  }

  // Calls body(row, its offset) for the rows of a view, in parallel.
  template <typename Body>
  static void overRowsOf(const View& v, Body body) {
    Layout<1> rows;
    for (int d = 0; d < 3; d++) rows.push(v.shape[d], v.strides[d]);
    parallelRange(rows.count(), std::max<int64_t>(1, kRowGrain / std::max(1, v.shape[3])),
                  [&](int64_t begin, int64_t end) {
                    Cursor<1> at(rows, begin);
                    for (int64_t i = begin; i < end; i++, at.next()) body(i, at.offset[0]);
                  });
  }

 private:
  bool direct_;
  Scratch copy_;

 public:
  const C* const data;
};

// The output likewise; `finish` brings a copy to its place.
template <typename C>
class Output {
 public:
  Output(const Call& c, const View& v)
      : direct_(v.dtype == dtypeOf<C>() && v.contiguous()),
        view_(v),
        copy_(c, direct_ ? 0 : size_t(v.numel()) * sizeof(C)),
        data(direct_ ? v.as<C>() : copy_.template get<C>()) {}
  void finish() {
    if (direct_ || view_.numel() == 0) return;
    Input<C>::overRowsOf(view_, [&](int64_t row, int64_t offset) {
      storeRows(view_, &offset, 1, view_.shape[3], view_.strides[3], data + row * view_.shape[3]);
    });
  }

 private:
  bool direct_;
  const View& view_;
  Scratch copy_;

 public:
  C* const data;
};

// Splits the pixels [first, last) at the ends of output rows: body(p, from q, to q, position in the tile).
template <typename Body>
inline void overPixelRows(const Shape& s, int64_t first, int64_t last, Body body) {
  for (int64_t j = first; j < last;) {
    const int64_t p = j / s.Q, from = j % s.Q, to = std::min(s.Q, from + last - j);
    body(p, from, to, j - first);
    j += to - from;
  }
}

// The columns of pixels [first, last), `channels` channels of R·S rows each with `width` elements between rows.
template <typename C>
void makeColumns(const Shape& s, const C* image, int64_t channels, int64_t first, int64_t last, int64_t width, C* columns) {
  for (int64_t c = 0; c < channels; c++, image += s.H * s.W) {
    for (int64_t r = 0; r < s.R; r++) {
      for (int64_t t = 0; t < s.S; t++, columns += width) {
        int64_t lo, hi;
        s.inside(t, lo, hi);
        overPixelRows(s, first, last, [&](int64_t p, int64_t from, int64_t to, int64_t at) {
          C* const y = columns + at - from;
          const int64_t h = s.row(p, r);
          if (h < 0 || h >= s.H) {
            std::fill(y + from, y + to, C(0));
            return;
          }
          const int64_t a = std::min(std::max(lo, from), to), b = std::max(a, std::min(hi, to));
          std::fill(y + from, y + a, C(0));
          if (a < b) {
            const C* const x = image + h * s.W + s.column(a, t);
            if (s.strideW == 1) std::copy(x, x + (b - a), y + a);
            else
              for (int64_t q = 0; q < b - a; q++) y[a + q] = x[q * s.strideW];
          }
          std::fill(y + b, y + to, C(0));
        });
      }
    }
  }
}

// The adjoint of makeColumns: adds each column to the image.
template <typename C>
void addColumns(const Shape& s, const C* columns, int64_t channels, int64_t first, int64_t last, int64_t width, C* image) {
  for (int64_t c = 0; c < channels; c++, image += s.H * s.W) {
    for (int64_t r = 0; r < s.R; r++) {
      for (int64_t t = 0; t < s.S; t++, columns += width) {
        int64_t lo, hi;
        s.inside(t, lo, hi);
        overPixelRows(s, first, last, [&](int64_t p, int64_t from, int64_t to, int64_t at) {
          const int64_t h = s.row(p, r);
          const int64_t a = std::max(lo, from), b = std::min(hi, to);
          if (h < 0 || h >= s.H || a >= b) return;
          const C* const y = columns + at + (a - from);
          C* const x = image + h * s.W + s.column(a, t);
          if (s.strideW == 1)
            for (int64_t q = 0; q < b - a; q++) x[q] += y[q];
          else
            for (int64_t q = 0; q < b - a; q++) x[q * s.strideW] += y[q];
        });
      }
    }
  }
}

int64_t grainOf(int64_t work) { return std::max<int64_t>(1, kWork / std::max<int64_t>(1, work)); }

// ---- Depthwise: body(p, from q, to q, row of the image at `from`) for each output row under window element (r, t).
template <typename C, typename Body>
inline void overWindow(const Shape& s, C* image, int64_t r, int64_t t, Body body) {
  int64_t lo, hi;
  s.inside(t, lo, hi);
  if (lo >= hi) return;
  for (int64_t p = 0; p < s.P; p++) {
    const int64_t h = s.row(p, r);
    if (h >= 0 && h < s.H) body(p, lo, hi, image + h * s.W + s.column(lo, t));
  }
}

template <typename C>
void depthwise(const Shape& s, const C* x, const C* w, C* y) {
  parallelRange(s.N * s.O, grainOf(s.pixels * s.R * s.S), [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; job++) {
      const int64_t n = job / s.O, o = job % s.O;
      const C* const image = x + (n * s.C + o / s.Og) * s.H * s.W;
      C* const to = y + job * s.pixels;
      std::fill(to, to + s.pixels, C(0));
      for (int64_t r = 0; r < s.R; r++)
        for (int64_t t = 0; t < s.S; t++) {
          const C weight = w[(o * s.R + r) * s.S + t];
          overWindow(s, image, r, t, [&](int64_t p, int64_t lo, int64_t hi, const C* from) {
            C* const row = to + p * s.Q + lo;
            if (s.strideW == 1)
              for (int64_t q = 0; q < hi - lo; q++) row[q] += weight * from[q];
            else
              for (int64_t q = 0; q < hi - lo; q++) row[q] += weight * from[q * s.strideW];
          });
        }
    }
  });
}

template <typename C>
void depthwiseInputGrad(const Shape& s, const C* dy, const C* w, C* dx) {
  parallelRange(s.N * s.C, grainOf(s.Og * s.pixels * s.R * s.S), [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; job++) {
      const int64_t n = job / s.C, c = job % s.C;
      C* const image = dx + job * s.H * s.W;
      std::fill(image, image + s.H * s.W, C(0));
      for (int64_t o = c * s.Og; o < (c + 1) * s.Og; o++) {
        const C* const from = dy + (n * s.O + o) * s.pixels;
        for (int64_t r = 0; r < s.R; r++)
          for (int64_t t = 0; t < s.S; t++) {
            const C weight = w[(o * s.R + r) * s.S + t];
            overWindow(s, image, r, t, [&](int64_t p, int64_t lo, int64_t hi, C* to) {
              const C* const row = from + p * s.Q + lo;
              if (s.strideW == 1)
                for (int64_t q = 0; q < hi - lo; q++) to[q] += weight * row[q];
              else
                for (int64_t q = 0; q < hi - lo; q++) to[q * s.strideW] += weight * row[q];
            });
          }
      }
    }
  });
}

// A sum for each window element and image, and those of the images in pairs.
template <typename C>
void depthwiseWeightGrad(const Shape& s, const C* x, const C* dy, C* dw) {
  parallelRange(s.O, grainOf(s.N * s.pixels * s.R * s.S), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++)
      for (int64_t r = 0; r < s.R; r++)
        for (int64_t t = 0; t < s.S; t++)
          dw[(o * s.R + r) * s.S + t] = sumTerms<C>(0, s.N, [&](int64_t n) {
            C lanes[8] = {};
            const C* const from = dy + (n * s.O + o) * s.pixels;
            overWindow(s, x + (n * s.C + o / s.Og) * s.H * s.W, r, t,
                       [&](int64_t p, int64_t lo, int64_t hi, const C* image) {
                         const C* const row = from + p * s.Q + lo;
                         int64_t q = 0;
                         for (; q + 8 <= hi - lo; q += 8)
                           for (int l = 0; l < 8; l++) lanes[l] += row[q + l] * image[(q + l) * s.strideW];
                         for (int l = 0; q < hi - lo; q++, l++) lanes[l] += row[q] * image[q * s.strideW];
                       });
            return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
          });
  });
}

// ---- Products.

template <typename C>
void forward(const Shape& s, const Call& c, const C* x, const C* w, C* y) {
  const bool pointwise = s.pointwise();
  const int64_t tile = s.tilePixels(sizeof(C)), tiles = ceilDiv(s.pixels, tile);
  parallelRange(s.N * s.groups * tiles, grainOf(s.Og * s.K * std::min(tile, s.pixels)), [&](int64_t begin, int64_t end) {
    Scratch scratch(c, pointwise ? 0 : size_t(s.K * tile) * sizeof(C));
    C* const columns = scratch.get<C>();
    for (int64_t job = begin; job < end; job++) {
      const int64_t n = job / tiles / s.groups, g = job / tiles % s.groups, first = job % tiles * tile;
      const int64_t last = std::min(s.pixels, first + tile);
      const C* const image = x + (n * s.C + g * s.Cg) * s.H * s.W;
      if (!pointwise) makeColumns(s, image, s.Cg, first, last, tile, columns);
      gemm(dtypeOf<C>(), s.Og, last - first, s.K, w + g * s.Og * s.K, s.K, 1, pointwise ? image + first : columns,
           pointwise ? s.pixels : tile, 1, y + (n * s.O + g * s.Og) * s.pixels + first, s.pixels, 1, false);
    }
  });
}

// A task owns some channels of one image, so that windows which overlap are added by one thread, in one order.
template <typename C>
void inputGrad(const Shape& s, const Call& c, const C* dy, const C* w, C* dx) {
  const int64_t window = s.R * s.S, tile = s.tilePixels(sizeof(C));
  Scratch transposed(c, size_t(s.O * s.K) * sizeof(C));  // per group [K, Og]: the product reads it along Og
  C* const wt = transposed.get<C>();
  parallelRange(s.groups * s.K, std::max<int64_t>(1, kRowGrain / s.Og), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t o = 0; o < s.Og; o++) wt[i * s.Og + o] = w[(i / s.K * s.Og + o) * s.K + i % s.K];
  });
  // All channels at once when there are images enough, else blocks of them.
  const int64_t block = s.N * s.groups >= 8 ? s.Cg : std::min(s.Cg, std::max(ceilDiv(64, window), ceilDiv(s.Cg, 8)));
  const int64_t blocks = ceilDiv(s.Cg, block);
  parallelRange(s.N * s.groups * blocks, grainOf(s.Og * block * window * s.pixels), [&](int64_t begin, int64_t end) {
    Scratch scratch(c, s.pointwise() ? 0 : size_t(block * window * tile) * sizeof(C));
    C* const columns = scratch.get<C>();
    for (int64_t job = begin; job < end; job++) {
      const int64_t n = job / blocks / s.groups, g = job / blocks % s.groups, from = job % blocks * block;
      const int64_t channels = std::min(block, s.Cg - from);
      C* const image = dx + (n * s.C + g * s.Cg + from) * s.H * s.W;
      const C* const a = wt + (g * s.K + from * window) * s.Og;
      const C* const b = dy + (n * s.O + g * s.Og) * s.pixels;
      if (s.pointwise()) {
        gemm(dtypeOf<C>(), channels, s.pixels, s.Og, a, s.Og, 1, b, s.pixels, 1, image, s.pixels, 1, false);
        continue;
      }
      std::fill(image, image + channels * s.H * s.W, C(0));
      for (int64_t first = 0; first < s.pixels; first += tile) {
        const int64_t last = std::min(s.pixels, first + tile);
        gemm(dtypeOf<C>(), channels * window, last - first, s.Og, a, s.Og, 1, b + first, s.pixels, 1, columns, tile, 1,
             false);
        addColumns(s, columns, channels, first, last, tile, image);
      }
    }
  });
}

// The tiles of all images are dealt out to parts in order; the sums of the parts are added in order.
template <typename C>
void weightGrad(const Shape& s, const Call& c, const C* x, const C* dy, C* dw) {
  const bool pointwise = s.pointwise();
  const int64_t tile = s.tilePixels(sizeof(C)), tiles = ceilDiv(s.pixels, tile), units = s.N * tiles;
  const int64_t size = s.O * s.K, groupSize = s.Og * s.K;
  const int64_t enough = ceilDiv(units, grainOf(groupSize * std::min(tile, s.pixels)));
  const int64_t parts =
      std::max<int64_t>(1, std::min({kParts, enough, kPartBytes / std::max<int64_t>(1, size * int64_t(sizeof(C)))}));
  Scratch memory(c, parts == 1 ? 0 : size_t(parts * size) * sizeof(C));
  C* const partial = parts == 1 ? dw : memory.get<C>();
  parallel(parts * s.groups, [&](int64_t job) {
    const int64_t part = job / s.groups, g = job % s.groups;
    C* const sum = partial + part * size + g * groupSize;
    Scratch scratch(c, pointwise ? 0 : size_t(s.K * tile) * sizeof(C));
    C* const columns = scratch.get<C>();
    const int64_t begin = units * part / parts, end = units * (part + 1) / parts;
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t n = unit / tiles, first = unit % tiles * tile, last = std::min(s.pixels, first + tile);
      const C* const image = x + (n * s.C + g * s.Cg) * s.H * s.W;
      if (!pointwise) makeColumns(s, image, s.Cg, first, last, tile, columns);
      gemm(dtypeOf<C>(), s.Og, s.K, last - first, dy + (n * s.O + g * s.Og) * s.pixels + first, s.pixels, 1,
           pointwise ? image + first : columns, 1, pointwise ? s.pixels : tile, sum, s.K, 1, unit > begin);
    }
  });
  if (parts == 1) return;
  parallelRange(size, kRowGrain, [&](int64_t begin, int64_t end) {
    std::copy(partial + begin, partial + end, dw + begin);
    for (int64_t part = 1; part < parts; part++)
      for (int64_t i = begin; i < end; i++) dw[i] += partial[part * size + i];
  });
}

template <typename C>
void zero(Output<C>& out, const View& v) {
  std::fill(out.data, out.data + v.numel(), C(0));
  out.finish();
}

}  // namespace

void check_conv2d(const Call& c) {
  expectCounts(c, 1, 2, 7);
  checkShapes(c, c.in[0], c.in[1], c.out[0]);
}
void run_conv2d(const Call& c) {
  const View &x = c.in[0], &w = c.in[1], &y = c.out[0];
  if (y.numel() == 0) return;
  const Shape s(c, x, w, y);
  withComputeFloat(y.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    Output<C> to(c, y);
    if (s.K == 0) return zero(to, y);
    const Input<C> image(c, x), weight(c, w);
    if (s.depthwise()) depthwise(s, image.data, weight.data, to.data);
    else forward(s, c, image.data, weight.data, to.data);
    to.finish();
  });
}

void check_conv2dInputGrad(const Call& c) {
  expectCounts(c, 1, 2, 7);
  checkShapes(c, c.out[0], c.in[1], c.in[0]);
}
void run_conv2dInputGrad(const Call& c) {
  const View &dy = c.in[0], &w = c.in[1], &dx = c.out[0];
  if (dx.numel() == 0) return;
  const Shape s(c, dx, w, dy);
  withComputeFloat(dx.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    Output<C> to(c, dx);
    if (dy.numel() == 0) return zero(to, dx);
    const Input<C> gradient(c, dy), weight(c, w);
    if (s.depthwise()) depthwiseInputGrad(s, gradient.data, weight.data, to.data);
    else inputGrad(s, c, gradient.data, weight.data, to.data);
    to.finish();
  });
}

void check_conv2dWeightGrad(const Call& c) {
  expectCounts(c, 1, 2, 7);
  checkShapes(c, c.in[0], c.out[0], c.in[1]);
}
void run_conv2dWeightGrad(const Call& c) {
  const View &x = c.in[0], &dy = c.in[1], &dw = c.out[0];
  if (dw.numel() == 0) return;
  const Shape s(c, x, dw, dy);
  withComputeFloat(dw.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    Output<C> to(c, dw);
    if (dy.numel() == 0) return zero(to, dw);
    const Input<C> image(c, x), gradient(c, dy);
    if (s.depthwise()) depthwiseWeightGrad(s, image.data, gradient.data, to.data);
    else weightGrad(s, c, image.data, gradient.data, to.data);
    to.finish();
  });
}

}  // namespace nabla

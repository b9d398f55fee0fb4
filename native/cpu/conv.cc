// conv2d and its adjoints in the input and in the weights, as matrix products.
//
// For one image and one group, a result is w[O, K] · columns[K, P·Q], where column j holds the K = C·R·S input values
// under the window of pixel j. The columns are never formed as a whole: a task makes a tile of pixels that stays in the
// L2 cache, and multiplies it. That is the way for 1×1 windows, whose columns are the image, for images too small to fill
// vectors and for windows out of all proportion; all others are in conv_direct.cc.
#include "conv.h"
#include "rows.h"

namespace nabla {
namespace {

constexpr int64_t kTileBytes = 512 << 10;  // of columns
constexpr int64_t kLeastPixels = 256;      // of a tile, however many rows it has
constexpr int64_t kLeastRows = 64;         // of a product, where it is cut
constexpr int64_t kWork = 1 << 19;         // multiplications of a chunk
constexpr int64_t kSumBytes = 256 << 10;   // of a weight gradient that a task adds to
constexpr int64_t kParts = 16;             // partial sums of a weight gradient, at most …
constexpr int64_t kPartBytes = 64 << 20;   // … and their memory

using Shape = ConvShape;

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
      loadRows(v, &offset, 1, v.shape[3], v.strides[3], to + row * v.shape[3], v.shape[3]);
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
      storeRows(view_, &offset, 1, view_.shape[3], view_.strides[3], data + row * view_.shape[3],
                view_.shape[3]);
    });
  }

 private:
  bool direct_;
  const View& view_;
  Scratch copy_;

 public:
  C* const data;
};

// How the pixels of the batch are cut in tiles: whole rows of an image, or, where a row is too long, parts of one, or,
// where images are small, several whole images side by side.
struct Tiling {
  int64_t rows, width, acrossRow, perImage, images;
  int64_t count, pitch;  // of tiles; elements between the rows of a tile of columns
  // For columns of `depth` elements of itemSize bytes.
  Tiling(const Shape& s, int64_t depth, size_t itemSize) {
    const int64_t most = std::max(kLeastPixels, kTileBytes / std::max<int64_t>(1, depth * int64_t(itemSize)));
    acrossRow = ceilDiv(s.Q, most);
    width = ceilDiv(s.Q, acrossRow);
    rows = acrossRow > 1 ? 1 : ceilDiv(s.P, ceilDiv(s.P, std::max<int64_t>(1, most / s.Q)));  // evenly
    perImage = ceilDiv(s.P, rows) * acrossRow;
    images = perImage > 1 ? 1 : std::min(s.N, std::max<int64_t>(1, kLeastPixels / s.pixels));
    count = ceilDiv(s.N, images) * perImage;
    pitch = ceilDiv(images * rows * width, 16) * 16;
  }
};
struct Tile {
  int64_t n, images;          // images [n, n + images)
  int64_t p, rows, q, width;  // output pixels [p, p + rows) × [q, q + width) of each
  int64_t first, pixels;      // their place in an image: contiguous
  Tile(const Shape& s, const Tiling& t, int64_t index)
      : n(index / t.perImage * t.images),
        images(std::min(t.images, s.N - n)),
        p(index % t.perImage / t.acrossRow * t.rows),
        rows(std::min(t.rows, s.P - p)),
        q(index % t.acrossRow * t.width),
        width(std::min(t.width, s.Q - q)),
        first(p * s.Q + q),
        pixels(rows * width) {}
};

// The kernels of the instruction set, or plain loops for float64.
void copyBlock(const float* x, int64_t xStride, int64_t rows, int64_t n, float* y, int64_t yStride) {
  rowKernels().copyBlock(x, xStride, rows, n, y, yStride);
}
void copyBlock(const double* x, int64_t xStride, int64_t rows, int64_t n, double* y, int64_t yStride) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < n; i++) y[r * yStride + i] = x[r * xStride + i];
}

// Where window element (r, t) of the pixels of a tile falls inside the image: rows [p0, p1), columns [q0, q1) of the
// tile, the first of which is at `at` in the image.
struct Inside {
  int64_t p0, p1, q0, q1, at;
  Inside(const Shape& s, const Tile& tile, int64_t r, int64_t t) {
    s.insideRows(r, p0, p1);
    s.insideColumns(t, q0, q1);
    p0 = std::max(p0 - tile.p, int64_t(0));
    p1 = std::min(p1 - tile.p, tile.rows);
    q0 = std::max(q0 - tile.q, int64_t(0));
    q1 = std::min(q1 - tile.q, tile.width);
    if (p0 >= p1 || q0 >= q1) p0 = p1 = q0 = q1 = at = 0;
    else at = s.row(tile.p + p0, r) * s.W + s.column(tile.q + q0, t);
  }
};

// The columns of a tile: `channels` channels of R·S rows of pixels, `pitch` apart, from channel `channel` on.
template <typename C>
void makeColumns(const Shape& s, const Tile& tile, const C* x, int64_t channel, int64_t channels, int64_t pitch,
                 C* columns) {
  for (int64_t c = 0; c < channels; c++) {
    for (int64_t r = 0; r < s.R; r++) {
      for (int64_t t = 0; t < s.S; t++, columns += pitch) {
        const Inside in(s, tile, r, t);
        const int64_t rows = in.p1 - in.p0, n = in.q1 - in.q0;
        if (rows * n < tile.pixels) std::fill(columns, columns + tile.images * tile.pixels, C(0));
        if (rows == 0) continue;
        for (int64_t i = 0; i < tile.images; i++) {
          C* const y = columns + i * tile.pixels + in.p0 * tile.width + in.q0;
          const C* const from = x + ((tile.n + i) * s.C + channel + c) * s.H * s.W + in.at;
          if (s.strideW == 1) copyBlock(from, s.strideH * s.W, rows, n, y, tile.width);
          else
            for (int64_t p = 0; p < rows; p++)
              for (int64_t q = 0; q < n; q++) y[p * tile.width + q] = from[p * s.strideH * s.W + q * s.strideW];
        }
      }
    }
  }
}

// The adjoint of makeColumns: adds each column to the image.
template <typename C>
void addColumns(const Shape& s, const Tile& tile, const C* columns, int64_t channels, int64_t pitch, C* image) {
  for (int64_t c = 0; c < channels; c++, image += s.H * s.W) {
    for (int64_t r = 0; r < s.R; r++) {
      for (int64_t t = 0; t < s.S; t++, columns += pitch) {
        const Inside in(s, tile, r, t);
        const int64_t rows = in.p1 - in.p0, n = in.q1 - in.q0;
        if (rows == 0) continue;
        const C* const y = columns + in.p0 * tile.width + in.q0;
        C* const x = image + in.at;
        for (int64_t i = 0; i < rows; i++)
          for (int64_t q = 0; q < n; q++) x[i * s.strideH * s.W + q * s.strideW] += y[i * tile.width + q];
      }
    }
  }
}

int64_t grainOf(int64_t work) { return std::max<int64_t>(1, kWork / std::max<int64_t>(1, work)); }

template <typename C>
void forward(const Shape& s, const Call& c, const C* x, const C* w, C* y, const Epilogue* epilogue) {
  const Tiling tiles(s, s.K, sizeof(C));
  const bool direct = s.pointwise() && tiles.images == 1, together = tiles.images > 1;
  const int64_t work = s.Og * s.K * tiles.images * tiles.rows * tiles.width;
  // Results for an epilogue are made in blocks that stay in the cache.
  const int64_t fitting = std::max(kLeastRows, kTileBytes / 4 / (tiles.pitch * int64_t(sizeof(C))));
  const int64_t block = epilogue ? ceilDiv(s.Og, ceilDiv(s.Og, fitting)) : s.Og;
  parallelRange(s.groups * tiles.count, grainOf(work), [&](int64_t begin, int64_t end) {
    Scratch scratch(c, direct ? 0 : size_t(s.K * tiles.pitch) * sizeof(C));
    Scratch results(c, together ? size_t(block * tiles.pitch) * sizeof(C) : 0);
    C* const columns = scratch.get<C>();
    C* const result = results.get<C>();
    for (int64_t job = begin; job < end; job++) {
      const int64_t g = job % s.groups;
      const Tile tile(s, tiles, job / s.groups);
      if (!direct) makeColumns(s, tile, x, g * s.Cg, s.Cg, tiles.pitch, columns);
      const C* const image = direct ? x + (tile.n * s.C + g * s.Cg) * s.pixels + tile.first : columns;
      for (int64_t from = 0; from < s.Og; from += block) {
        const int64_t o = g * s.Og + from, count = std::min(block, s.Og - from);
        const auto outputOf = [&](int64_t n) { return y + (n * s.O + o) * s.pixels + tile.first; };
        gemm(dtypeOf<C>(), count, tile.images * tile.pixels, s.K, w + o * s.K, s.K, 1, image,
             direct ? s.pixels : tiles.pitch, 1, together ? result : outputOf(tile.n), together ? tiles.pitch : s.pixels, 1,
             false);
        for (int64_t n = tile.n; n < tile.n + tile.images; n++) {
          if (together)
            copyBlock(result + (n - tile.n) * s.pixels, tiles.pitch, count, s.pixels, outputOf(n), s.pixels);
          if (epilogue)
            epilogue->run(epilogue->context, n, o, count, tile.first, tile.pixels, outputOf(n), s.pixels, 1);
        }
      }
    }
  });
}

template <typename C>
void convolve(const Shape& s, const Call& c, const C* x, const C* w, C* y, const Epilogue* epilogue) {
  if (BatchConv::fits(s, dtypeOf<C>())) BatchConv::forward(s, c, x, w, y, epilogue);
  else if (DirectConv::fits(s)) DirectConv::forward(s, c, x, w, y, epilogue);
  else forward(s, c, x, w, y, epilogue);
}

// Whether the input gradient is a convolution with mirrored windows, rather than products that are added up. The former
// makes Og·H·W columns (none where they are the image); the latter Cg·P·Q, each more costly.
bool mirrors(const Shape& s, DType type) {
  return s.strideH == 1 && s.strideW == 1 &&
         (s.pointwise() || s.Og * s.H * s.W <= 2 * s.Cg * s.pixels || BatchConv::fits(s.adjoint(), type));
}

bool directInputGrad(const Shape& s, DType type) {
  if (s.strideH == 1 && s.strideW == 1 && BatchConv::fits(s.adjoint(), type)) return false;
  return DirectConv::inputGradFits(s);
}

// With an epilogue only where it mirrors.
template <typename C>
void inputGrad(const Shape& s, const Call& c, const C* dy, const C* w, C* dx, const Epilogue* epilogue) {
  const int64_t window = s.R * s.S;
  const bool mirrored = mirrors(s, dtypeOf<C>());
  Scratch transposed(c, size_t(s.O * s.K) * sizeof(C));
  C* const wt = transposed.get<C>();  // per group: [Cg, Og, R·S] mirrored, or [Cg, R·S, Og]
  parallelRange(s.groups * s.Cg, std::max<int64_t>(1, kRowGrain / (s.Og * window)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t o = 0; o < s.Og; o++) {
        const C* const from = w + ((i / s.Cg * s.Og + o) * s.Cg + i % s.Cg) * window;
        C* const to = wt + i * s.Og * window;
        if (mirrored) std::reverse_copy(from, from + window, to + o * window);
        else
          for (int64_t k = 0; k < window; k++) to[k * s.Og + o] = from[k];
      }
  });
  if (mirrored) return convolve(s.adjoint(), c, dy, wt, dx, epilogue);

  // A task owns some channels of one image, so that windows which overlap are added by one thread, in one order: all
  // channels at once when there are images enough, else blocks of them.
  const int64_t block = s.N * s.groups >= 8 ? s.Cg : std::min(s.Cg, std::max(ceilDiv(64, window), ceilDiv(s.Cg, 8)));
  const int64_t blocks = ceilDiv(s.Cg, block);
  Shape one = s;  // tiles of one image
  one.N = 1;
  const Tiling tiles(one, block * window, sizeof(C));
  parallelRange(s.N * s.groups * blocks, grainOf(s.Og * block * window * s.pixels), [&](int64_t begin, int64_t end) {
    Scratch scratch(c, size_t(block * window * tiles.pitch) * sizeof(C));
    C* const columns = scratch.get<C>();
    for (int64_t job = begin; job < end; job++) {
      const int64_t n = job / blocks / s.groups, g = job / blocks % s.groups, from = job % blocks * block;
      const int64_t channels = std::min(block, s.Cg - from);
      C* const image = dx + (n * s.C + g * s.Cg + from) * s.H * s.W;
      std::fill(image, image + channels * s.H * s.W, C(0));
      for (int64_t i = 0; i < tiles.count; i++) {
        const Tile tile(one, tiles, i);
        gemm(dtypeOf<C>(), channels * window, tile.pixels, s.Og, wt + (g * s.Cg + from) * window * s.Og, s.Og, 1,
             dy + (n * s.O + g * s.Og) * s.pixels + tile.first, s.pixels, 1, columns, tiles.pitch, 1, false);
        addColumns(s, tile, columns, channels, tiles.pitch, image);
      }
    }
  });
}

// A task owns some channels of a group, so that its sums stay in the cache, and the tiles of some images; the sums of
// the parts of the batch are added in order.
template <typename C>
void weightGrad(const Shape& s, const Call& c, const C* x, const C* dy, C* dw) {
  const int64_t window = s.R * s.S, size = s.O * s.K;
  const int64_t block = std::min(s.Cg, std::max<int64_t>(1, kSumBytes / (s.Og * window * int64_t(sizeof(C)))));
  const int64_t blocks = ceilDiv(s.Cg, block);
  const Tiling tiles(s, block * window, sizeof(C));
  const bool direct = s.pointwise() && tiles.images == 1, together = tiles.images > 1;
  const int64_t work = s.Og * block * window * tiles.images * tiles.rows * tiles.width;
  const int64_t enough = ceilDiv(tiles.count, grainOf(work));
  const int64_t parts =
      std::max<int64_t>(1, std::min({kParts, enough, kPartBytes / std::max<int64_t>(1, size * int64_t(sizeof(C)))}));
  Scratch memory(c, parts == 1 ? 0 : size_t(parts * size) * sizeof(C));
  C* const partial = parts == 1 ? dw : memory.get<C>();
  parallel(parts * s.groups * blocks, [&](int64_t job) {
    const int64_t part = job / blocks / s.groups, g = job / blocks % s.groups, from = job % blocks * block;
    const int64_t channels = std::min(block, s.Cg - from);
    C* const sum = partial + part * size + g * s.Og * s.K + from * window;
    Scratch scratch(c, direct ? 0 : size_t(block * window * tiles.pitch) * sizeof(C));
    Scratch gradients(c, together ? size_t(s.Og * tiles.pitch) * sizeof(C) : 0);
    C* const columns = scratch.get<C>();
    C* const gradient = gradients.get<C>();
    const int64_t begin = tiles.count * part / parts, end = tiles.count * (part + 1) / parts;
    for (int64_t index = begin; index < end; index++) {
      const Tile tile(s, tiles, index);
      const auto gradientOf = [&](int64_t n) { return dy + (n * s.O + g * s.Og) * s.pixels + tile.first; };
      if (!direct) makeColumns(s, tile, x, g * s.Cg + from, channels, tiles.pitch, columns);
      for (int64_t i = 0; together && i < tile.images; i++)
        copyBlock(gradientOf(tile.n + i), s.pixels, s.Og, s.pixels, gradient + i * s.pixels, tiles.pitch);
      gemm(dtypeOf<C>(), s.Og, channels * window, tile.images * tile.pixels, together ? gradient : gradientOf(tile.n),
           together ? tiles.pitch : s.pixels, 1,
           direct ? x + (tile.n * s.C + g * s.Cg + from) * s.pixels + tile.first : columns, 1,
           direct ? s.pixels : tiles.pitch, sum, s.K, 1, index > begin);
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

void run_conv2d(const Call& c) {
  const View &x = c.in[0], &w = c.in[1], &y = c.out[0];
  if (y.numel() == 0) return;
  const Shape s(c, x, w, y);
  withComputeFloat(y.dtype, [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    Output<C> to(c, y);
    if (s.K == 0) return zero(to, y);
    const Input<C> image(c, x), weight(c, w);
    convolve(s, c, image.data, weight.data, to.data, nullptr);
    to.finish();
  });
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
    if (directInputGrad(s, dtypeOf<C>())) DirectConv::inputGrad(s, c, gradient.data, weight.data, to.data, nullptr);
    else inputGrad(s, c, gradient.data, weight.data, to.data, nullptr);
    to.finish();
  });
}

void convolve(const Call& c, Convolution which, const Epilogue& epilogue) {
  const View &from = c.in[0], &w = c.in[1], &to = c.out[0];
  const bool forward = which == Convolution::forward;
  const Shape s(c, forward ? from : to, w, forward ? to : from);
  const bool direct = forward || directInputGrad(s, DType::f32);
  const bool byBlocks = forward || (direct ? s.strideH == 1 && s.strideW == 1 : mirrors(s, DType::f32));
  if (byBlocks && from.numel() > 0 && w.numel() > 0) {
    const Input<float> x(c, from), weight(c, w);
    float* const y = to.as<float>();
    if (forward) convolve(s, c, x.data, weight.data, y, &epilogue);
    else if (direct) DirectConv::inputGrad(s, c, x.data, weight.data, y, &epilogue);
    else inputGrad(s, c, x.data, weight.data, y, &epilogue);
    return;
  }
  (forward ? run_conv2d : run_conv2dInputGrad)(c);
  const int64_t channels = to.shape[1], pixels = int64_t(to.shape[2]) * to.shape[3];
  parallelRange(to.shape[0] * channels, std::max<int64_t>(1, kRowGrain / pixels), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const int64_t n = i / channels, channel = i % channels, count = std::min(end - i, channels - channel);
      epilogue.run(epilogue.context, n, channel, count, 0, pixels, to.as<float>() + i * pixels, pixels, 1);
      i += count;
    }
  });
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
    if (s.depthwise() && DirectConv::fits(s)) DirectConv::depthwiseWeightGrad(s, c, image.data, gradient.data, to.data);
    else if (DirectConv::weightGradFits(s)) DirectConv::weightGrad(s, c, image.data, gradient.data, to.data);
    else weightGrad(s, c, image.data, gradient.data, to.data);
    to.finish();
  });
}

}  // namespace nabla

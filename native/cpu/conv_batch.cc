// Convolutions of small images, whose rows fill no vectors and whose padding is much of what windows see: each lane is an
// image. The batch is transposed to [channels, height, width, images]; a result is then the sum over the window elements
// that lie inside the image, no others, and the results are transposed back.
#include "../core/cpu.h"
#include "conv.h"
#include "conv_simd.h"
#include "rows.h"

namespace nabla {
namespace {

constexpr int64_t kImages = 64;               // that are multiplied together
constexpr int64_t kMostPixels = 256;          // of a result
constexpr int64_t kBlockBytes = 1 << 20;      // of images that are multiplied together: a part of the L2 cache
constexpr int64_t kMostBytes = 8 << 20;       // of all that is transposed
constexpr int64_t kTransposed = 8;            // the cost of transposing an element, in multiplications
constexpr int64_t kWork = 1 << 18;            // multiplications of a chunk

// Window elements inside the image, summed over the results of an axis.
int64_t countInside(int64_t results, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  int64_t n = 0;
  for (int64_t k = 0; k < kernel; k++) {
    int64_t from, to;
    ConvShape::inside(results, size, stride, k * dilation - pad, from, to);
    n += std::max<int64_t>(0, to - from);
  }
  return n;
}

// Elements of the window of one result of an axis that are inside the image: [from, to).
void windowInside(int64_t result, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                  int64_t& from, int64_t& to) {
  const int64_t at = result * stride - pad;
  from = at >= 0 ? 0 : std::min(kernel, ceilDiv(-at, dilation));
  to = at >= size ? from : std::max(from, std::min(kernel, (size - 1 - at) / dilation + 1));
}

}  // namespace

bool BatchConv::fits(const ConvShape& s, DType type) {
  const int64_t size = int64_t(sizeOf(type)), lanes = type == DType::f64 ? convIsa().f64.lanes : convIsa().f32.lanes;
  if (s.pixels > kMostPixels || s.N < lanes / 2) return false;
  const int64_t image = s.C * s.H * s.W, result = s.O * s.pixels;
  if (s.Cg * s.H * s.W * std::min(s.N, kImages) * size > kBlockBytes || (image + result) * s.N * size > kMostBytes)
    return false;
  const double inside = double(countInside(s.P, s.H, s.R, s.strideH, s.padH, s.dilationH)) *
                        double(countInside(s.Q, s.W, s.S, s.strideW, s.padW, s.dilationW));
  const double vectors = double(ceilDiv(s.N, lanes)) / double(s.N);  // of an image
  const double here = double(s.Og * s.C) * inside * vectors + double(kTransposed * (image + result)) * vectors;
  return here * 1.2 < double(s.Og * s.C * s.R * s.S * ceilDiv(s.pixels, lanes));
}

template <typename C>
void BatchConv::forward(const ConvShape& s, const Call& c, const C* x, const C* w, C* y, const Epilogue* epilogue) {
  const ConvKernels<C>& simd = kernelsOf(C());
  const int64_t blocks = ceilDiv(s.N, kImages), images = ceilDiv(ceilDiv(s.N, blocks), simd.lanes) * simd.lanes;
  const int64_t area = s.H * s.W, size = s.C * area, results = s.O * s.pixels, taps = s.R * s.S;
  // The window of a result begins at (−padH, −padW) at the least: so far before the first image.
  const int64_t before = std::max<int64_t>(0, s.padH * s.W + s.padW) * images;
  Scratch memory(c, size_t(before + blocks * (size + results) * images + s.O * s.K) * sizeof(C));
  Scratch table(c, size_t(s.K) * sizeof(int64_t));
  C* const in = memory.get<C>() + before;  // [blocks][C, H, W, images]
  C* const out = in + blocks * size * images;
  C* const weight = out + blocks * results * images;  // [O, R·S, Cg]
  int64_t* const offset = table.get<int64_t>();
  parallelRange(s.O, std::max<int64_t>(1, kRowGrain / s.K), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++)
      for (int64_t ch = 0; ch < s.Cg; ch++)
        for (int64_t t = 0; t < taps; t++) weight[o * s.K + t * s.Cg + ch] = w[o * s.K + ch * taps + t];
  });
  for (int64_t r = 0, k = 0; r < s.R; r++)
    for (int64_t t = 0; t < s.S; t++)
      for (int64_t ch = 0; ch < s.Cg; ch++)
        offset[k++] = (ch * area + r * s.dilationH * s.W + t * s.dilationW) * images;

  const int64_t inGrain = std::max<int64_t>(1, kRowGrain / (area * images));
  parallelRange(blocks * s.C, inGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t n = i / s.C * images, count = std::min(images, s.N - n);
      C* const to = in + i * area * images;
      if (count < images) std::fill(to, to + area * images, C(0));
      transposeBlock(area, count, x + n * size + i % s.C * area, size, to, images);
    }
  });

  const int64_t rows = blocks * s.groups * s.P;
  const int64_t work = s.Og * s.K * s.Q * images;
  parallelRange(rows, std::max<int64_t>(1, kWork / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t p = i % s.P, g = i / s.P % s.groups, block = i / s.P / s.groups;
      int64_t r0, r1;
      windowInside(p, s.H, s.R, s.strideH, s.padH, s.dilationH, r0, r1);
      for (int64_t q = 0; q < s.Q; q++) {
        int64_t t0, t1;
        windowInside(q, s.W, s.S, s.strideW, s.padW, s.dilationW, t0, t1);
        const C* const from = in + (block * size + g * s.Cg * area + (p * s.strideH - s.padH) * s.W + q * s.strideW - s.padW) * images;
        C* const to = out + ((block * s.O + g * s.Og) * s.pixels + p * s.Q + q) * images;
        const int64_t first = (r0 * s.S + t0) * s.Cg, length = (t1 - t0) * s.Cg;
        simd.correlate(s.Og, images, r1 - r0, length, s.S * s.Cg, weight + g * s.Og * s.K + first, s.K, from,
                       offset + first, to, s.pixels * images, false);
      }
    }
  });

  const int64_t outGrain = std::max<int64_t>(1, kRowGrain / (s.pixels * images));
  parallelRange(blocks * ceilDiv(s.O, outGrain), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t parts = ceilDiv(s.O, outGrain), block = i / parts, o = i % parts * outGrain;
      const int64_t n = block * images, count = std::min(images, s.N - n), channels = std::min(outGrain, s.O - o);
      C* const to = y + n * results + o * s.pixels;
      transposeBlock(count, channels * s.pixels, out + (block * s.O + o) * s.pixels * images, images, to, results);
      for (int64_t j = 0; epilogue && j < count; j++)
        epilogue->run(epilogue->context, n + j, o, channels, 0, s.pixels, to + j * results, s.pixels, 1);
    }
  });
}

template void BatchConv::forward(const ConvShape&, const Call&, const float*, const float*, float*, const Epilogue*);
template void BatchConv::forward(const ConvShape&, const Call&, const double*, const double*, double*, const Epilogue*);

}  // namespace nabla

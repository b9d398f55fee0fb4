// Pooling over windows of NCHW images: maxPool2d, avgPool2d and their gradients.
#include "../graph/window.h"
#include "indices.cuh"

namespace nabla {
using namespace cuda;
namespace {

struct Axes {
  Axis h, w;
  bool countPad;
};
// The window elements [from, to) of result p that are inside the image.
DEVICE void inside(const Axis& a, int p, int& from, int& to) {
  const int start = p * int(a.stride) - int(a.pad), dilation = int(a.dilation);
  from = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
  const int room = int(a.size) - start;
  to = room <= 0 ? 0 : (room + dilation - 1) / dilation;
  if (to > int(a.kernel)) to = int(a.kernel);
}
// Of which result `i` is, in row-major order, and the elements of its window inside the image: [r0, r1) × [s0, s1).
struct Window {
  uint32_t plane;
  int p, q, r0, r1, s0, s1;
  DEVICE Window(const Axes& a, uint32_t i) {
    const uint32_t P = uint32_t(a.h.results), Q = uint32_t(a.w.results);
    plane = i / (P * Q), p = int(i / Q % P), q = int(i % Q);
    inside(a.h, p, r0, r1);
    inside(a.w, q, s0, s1);
  }
};
DEVICE int divisorOf(const Axis& a, int p, bool countPad) {
  const int from = p * int(a.stride) - int(a.pad), end = int(a.size) + (countPad ? int(a.pad) : 0);
  const int to = from + int(a.kernel) < end ? from + int(a.kernel) : end;
  return to - (countPad || from > 0 ? from : 0);
}

struct Planes {
  Data data;
  int64_t stride[4];
  explicit Planes(const View& v) : data(v) { std::copy(v.strides, v.strides + 4, stride); }
  DEVICE int64_t at(uint32_t plane, uint32_t channels) const { return plane / channels * stride[0] + plane % channels * stride[1]; }
};

template <typename C>
__global__ void maxPoolKernel(Axes a, Planes x, Planes y, Planes index, uint32_t channels, uint32_t count) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const Window w(a, i);
  const int64_t from = x.at(w.plane, channels);
  C best = 0;
  int64_t where = -1;
  for (int r = w.r0; r < w.r1; r++)
    for (int s = w.s0; s < w.s1; s++) {
      const int row = w.p * int(a.h.stride) - int(a.h.pad) + r * int(a.h.dilation);
      const int column = w.q * int(a.w.stride) - int(a.w.pad) + s * int(a.w.dilation);
      const C v = x.data.load<C>(from + row * x.stride[2] + column * x.stride[3]);
      if (where < 0 || v > best || (isNan(v) && !isNan(best))) {
        best = v;
        where = int64_t(row) * a.w.size + column;
      }
    }
  y.data.store(y.at(w.plane, channels) + w.p * y.stride[2] + w.q * y.stride[3], best);
  index.data.store(index.at(w.plane, channels) + w.p * index.stride[2] + w.q * index.stride[3], where);
}

// A thread a result of the image: it takes the gradients of the windows that chose it, in their order. Which windows
// those are is not known here (the kernel has no attributes), so a block goes through the plane's indices together.
template <typename C>
__global__ void maxPoolGradKernel(Planes dy, Planes index, Planes dx, uint32_t channels, int P, int Q, int H, int W) {
  DYN_SHARED(int32_t, memory);
  const uint32_t plane = blockIdx.x;
  const int64_t fromDy = dy.at(plane, channels), fromIndex = index.at(plane, channels), to = dx.at(plane, channels);
  const int threads = int(blockDim.x), t = int(threadIdx.x);
  for (int first = 0; first < H * W; first += threads) {
    const int place = first + t;
    C sum = 0;
    for (int k0 = 0; k0 < P * Q; k0 += threads) {
      const int k = k0 + t;
      __syncthreads();
      memory[t] = k < P * Q ? int32_t(index.data.load<int64_t>(fromIndex + k / Q * index.stride[2] + k % Q * index.stride[3])) : -1;
      __syncthreads();
      for (int j = 0; j < threads; j++)
        if (memory[j] == place) {
          const int at = k0 + j;
          sum = convert<C>(sum + dy.data.load<C>(fromDy + at / Q * dy.stride[2] + at % Q * dy.stride[3]));
        }
    }
    if (place < H * W) dx.data.store(to + place / W * dx.stride[2] + place % W * dx.stride[3], sum);
  }
}

template <typename C>
__global__ void averageKernel(Axes a, Planes x, Planes y, uint32_t channels, uint32_t count) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const Window w(a, i);
  const int64_t from = x.at(w.plane, channels);
  C sum = 0;
  for (int r = w.r0; r < w.r1; r++)
    for (int s = w.s0; s < w.s1; s++)
      sum += x.data.load<C>(from + (w.p * a.h.stride - a.h.pad + r) * x.stride[2] + (w.q * a.w.stride - a.w.pad + s) * x.stride[3]);
  y.data.store(y.at(w.plane, channels) + w.p * y.stride[2] + w.q * y.stride[3],
               sum / C(divisorOf(a.h, w.p, a.countPad) * divisorOf(a.w, w.q, a.countPad)));
}

template <typename C>
__global__ void averageGradKernel(Axes a, Planes dy, Planes dx, uint32_t channels, uint32_t count) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const int H = int(a.h.size), W = int(a.w.size), w = int(i % W), h = int(i / W % H);
  const uint32_t plane = i / (uint32_t(H) * W);
  // The windows whose first element is at most here and whose last is not before.
  const auto windows = [](const Axis& axis, int at, int& first, int& end) {
    const int reach = at + int(axis.pad), stride = int(axis.stride);
    first = reach < int(axis.kernel) ? 0 : (reach - int(axis.kernel)) / stride + 1;
    end = reach / stride + 1;
    if (end > int(axis.results)) end = int(axis.results);
  };
  int p0, p1, q0, q1;
  windows(a.h, h, p0, p1);
  windows(a.w, w, q0, q1);
  const int64_t from = dy.at(plane, channels);
  C sum = 0;
  for (int p = p0; p < p1; p++)
    for (int q = q0; q < q1; q++)
      sum += dy.data.load<C>(from + p * dy.stride[2] + q * dy.stride[3]) /
             C(divisorOf(a.h, p, a.countPad) * divisorOf(a.w, q, a.countPad));
  dx.data.store(dx.at(plane, channels) + h * dx.stride[2] + w * dx.stride[3], sum);
}

Axes axesOf(const Call& c, const View& x, const View& y, bool dilated) {
  return {axisOf(c, x, y, 0, dilated), axisOf(c, x, y, 1, dilated), !dilated && c.attr[6] != 0};
}

struct OutsideImage {
  int64_t size;
  DEVICE bool operator()(int64_t v) const { return v < 0 || v >= size; }
};

}  // namespace

void run_maxPool2d(const Call& c) {
  const View &x = c.in[0], &y = c.out[0], &index = c.out[1];
  if (y.numel() == 0) return;
  withCompute(x.dtype, [&](auto tag) {
    LAUNCH(maxPoolKernel<TypeOf<decltype(tag)>>, blocksFor(y.numel()), kThreads, 0, axesOf(c, x, y, true), Planes(x),
           Planes(y), Planes(index), uint32_t(x.shape[1]), uint32_t(y.numel()));
  });
}

void run_maxPool2dGrad(const Call& c) {
  const View &dy = c.in[0], &index = c.in[1], &dx = c.out[0];
  const int H = dx.shape[2], W = dx.shape[3];
  const int64_t size = int64_t(H) * W;
  checkIndices(index, OutsideImage{size},
               std::string(c.op) + ": index %lld is out of range for an image of " + std::to_string(size) + " elements");
  if (dx.numel() == 0) return;
  const int threads = powerOfTwo(int64_t(H) * W, 32, kThreads);
  withComputeFloat(dy.dtype, [&](auto tag) {
    LAUNCH(maxPoolGradKernel<TypeOf<decltype(tag)>>, unsigned(dx.shape[0]) * unsigned(dx.shape[1]), threads, threads * 4,
           Planes(dy), Planes(index), Planes(dx), uint32_t(dx.shape[1]), dy.shape[2], dy.shape[3], H, W);
  });
}

void run_avgPool2d(const Call& c) {
  const View &x = c.in[0], &y = c.out[0];
  if (y.numel() == 0) return;
  withComputeFloat(x.dtype, [&](auto tag) {
    LAUNCH(averageKernel<TypeOf<decltype(tag)>>, blocksFor(y.numel()), kThreads, 0, axesOf(c, x, y, false), Planes(x),
           Planes(y), uint32_t(x.shape[1]), uint32_t(y.numel()));
  });
}

void run_avgPool2dGrad(const Call& c) {
  const View &dy = c.in[0], &dx = c.out[0];
  if (dx.numel() == 0) return;
  withComputeFloat(dy.dtype, [&](auto tag) {
    LAUNCH(averageGradKernel<TypeOf<decltype(tag)>>, blocksFor(dx.numel()), kThreads, 0, axesOf(c, dx, dy, false),
           Planes(dy), Planes(dx), uint32_t(dx.shape[1]), uint32_t(dx.numel()));
  });
}

}  // namespace nabla

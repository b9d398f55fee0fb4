// float32 products on the ordinary cores, as each thread's 8 × 8 (or 4 × 4) results in registers: tiles of both factors go
// through shared memory, the next ones on their way from memory while these are used. The threads of a warp share a part
// of the tile that is nearly square, so that each value read from shared memory serves as many of them as can be.
#pragma once
#include "gather.cuh"
#include "matmul_tiles.cuh"

namespace nabla {
namespace cuda {
namespace {

constexpr int kSimtThreads = 256, kDepth = 8;

// One tile [kDepth, kWidth] of a factor: what this thread brings, and where it puts it.
template <int kWidth>
struct Held {
  static constexpr int kEach = kWidth * kDepth / kSimtThreads;  // elements a thread
  static constexpr int kPitch = kWidth + 4;
  static_assert(kEach == 2 || kEach == 4, "two or four");
  float held[kEach];

  DEVICE static void place(bool alongK, int& i, int& k) {
    const int t = int(threadIdx.x) * kEach;
    i = alongK ? t / kDepth : t % kWidth, k = alongK ? t % kDepth : t / kWidth;
  }
  DEVICE void put(bool alongK, float* tile) const {
    int i, k;
    place(alongK, i, k);
    UNROLL
    for (int e = 0; e < kEach; e++) {
      if (alongK) tile[(k + e) * kPitch + i] = held[e];
      else tile[k * kPitch + i + e] = held[e];
    }
  }
};
template <int kWidth, typename Source>
struct Loader;
template <int kWidth>
struct Loader<kWidth, TileSource<float>> : Held<kWidth> {
  using Held<kWidth>::kEach;
  using Held<kWidth>::held;
  const float* base;
  int i, k, size;

  DEVICE Loader(const TileSource<float>& from, int n, int first, int size) : base(from.data + n * from.batch), size(size) {
    this->place(from.alongK, i, k);
    i += first;
  }
  DEVICE void fetch(const TileSource<float>& from, int k0, int K) {
    const int deep = k0 + k;
    const float* at = base + (from.alongK ? int64_t(i) * from.row + deep : int64_t(deep) * from.row + i);
    const bool inside = from.alongK ? i < size && deep + kEach <= K : deep < K && i + kEach <= size;
    if (inside && from.wide && kEach == 4) {
      const float4 x = *reinterpret_cast<const float4*>(at);
      held[0] = x.x, held[1] = x.y, held[kEach - 2] = x.z, held[kEach - 1] = x.w;
      return;
    }
    UNROLL
    for (int e = 0; e < kEach; e++) {
      const bool is = from.alongK ? i < size && deep + e < K : deep < K && i + e < size;
      held[e] = is ? at[e] : 0.0f;
    }
  }
};
template <int kWidth>
struct Loader<kWidth, Gather> : Held<kWidth> {
  using Held<kWidth>::kEach;
  using Held<kWidth>::held;
  Digits row;
  int n, i, k, size;

  DEVICE Loader(const Gather& from, int n, int first, int size) : n(n), size(size) {
    this->place(from.alongK, i, k);
    i += first;
    row = from.rows.digits(i);
  }
  DEVICE void fetch(const Gather& from, int k0, int K) {
    Digits a = row, b = from.columns.digits(k0 + k);
    UNROLL
    for (int e = 0; e < kEach; e++) {
      const bool is = from.alongK ? i < size && k0 + k + e < K : k0 + k < K && i + e < size;
      held[e] = is ? from.load<float>(n, a, b) : 0.0f;
      if (from.alongK) from.columns.next(b);
      else from.rows.next(a);
    }
  }
};

// B × B results a block; a thread has kParts × kParts groups of 4 × 4.
template <int B, typename Source, typename Epilogue>
__global__ void __launch_bounds__(kSimtThreads) simtKernel(ProductSize size, Source a, Source b, int first, Epilogue epilogue) {
  constexpr int kParts = B / 64, kPitch = Held<B>::kPitch;
  // Warps lie 2 × 4 on the tile, the threads of a warp 8 × 4 on its part: B/2 × B/4 results.
  constexpr int kWarpRows = B / 2, kWarpColumns = B / 4, kRowStep = 32, kColumnStep = 16;
  DYN_SHARED(float, memory);
  float *const tilesA = memory, *const tilesB = memory + 2 * kDepth * kPitch;
  const int t = int(threadIdx.x), warp = t / 32, lane = t % 32;
  const int across = (size.N + B - 1) / B, i0 = int(blockIdx.x) / across * B, j0 = int(blockIdx.x) % across * B;
  const int n = first + int(blockIdx.z);
  const int row = warp / 4 * kWarpRows + lane / 4 * 4, column = warp % 4 * kWarpColumns + lane % 4 * 4;

  float sum[kParts][4][kParts][4] = {};
  Loader<B, Source> loadA(a, n, i0, size.M), loadB(b, n, j0, size.N);
  loadA.fetch(a, 0, size.K);
  loadB.fetch(b, 0, size.K);
  loadA.put(a.alongK, tilesA);
  loadB.put(b.alongK, tilesB);
  __syncthreads();
  for (int k0 = 0, turn = 0; k0 < size.K; k0 += kDepth, turn ^= 1) {
    const bool more = k0 + kDepth < size.K;
    if (more) {
      loadA.fetch(a, k0 + kDepth, size.K);
      loadB.fetch(b, k0 + kDepth, size.K);
    }
    const float *const tileA = tilesA + turn * kDepth * kPitch, *const tileB = tilesB + turn * kDepth * kPitch;
      UNROLL
    for (int k = 0; k < kDepth; k++) {
      float x[kParts][4], y[kParts][4];
      UNROLL
      for (int p = 0; p < kParts; p++) {
        const float4 u = *reinterpret_cast<const float4*>(tileA + k * kPitch + row + p * kRowStep);
        x[p][0] = u.x, x[p][1] = u.y, x[p][2] = u.z, x[p][3] = u.w;
        const float4 v = *reinterpret_cast<const float4*>(tileB + k * kPitch + column + p * kColumnStep);
        y[p][0] = v.x, y[p][1] = v.y, y[p][2] = v.z, y[p][3] = v.w;
      }
      UNROLL
      for (int p = 0; p < kParts; p++)
      UNROLL
        for (int r = 0; r < 4; r++)
      UNROLL
          for (int q = 0; q < kParts; q++)
      UNROLL
            for (int c = 0; c < 4; c++) sum[p][r][q][c] += x[p][r] * y[q][c];
    }
    if (more) {
      loadA.put(a.alongK, tilesA + (turn ^ 1) * kDepth * kPitch);
      loadB.put(b.alongK, tilesB + (turn ^ 1) * kDepth * kPitch);
    }
    __syncthreads();
  }
  // By way of shared memory, each thread its own: what the epilogue does is much code, which is to be there once a group.
  float4* const own = reinterpret_cast<float4*>(memory) + t;
  UNROLL
  for (int p = 0; p < kParts; p++)
    UNROLL
    for (int q = 0; q < kParts; q++) {
      UNROLL
      for (int r = 0; r < 4; r++) {
        float4 four;
        four.x = sum[p][r][q][0], four.y = sum[p][r][q][1], four.z = sum[p][r][q][2], four.w = sum[p][r][q][3];
        own[r * kSimtThreads] = four;
      }
      ROLLED
      for (int r = 0; r < 4; r++) {
        const int i = i0 + row + p * kRowStep + r, j = j0 + column + q * kColumnStep;
        const float4 v = own[r * kSimtThreads];
        const float four[4] = {v.x, v.y, v.z, v.w};
        if (i < size.M && j < size.N) epilogue(n, i, j, size.N - j < 4 ? size.N - j : 4, four);
      }
    }
}

template <int B, typename Source, typename Epilogue>
void launchSimt(const ProductSize& size, const Source& a, const Source& b, const Epilogue& epilogue) {
  const unsigned blocks = blocksFor(size.M, B) * blocksFor(size.N, B);
  const size_t shared = std::max(4 * kDepth * Held<B>::kPitch * sizeof(float), 4 * kSimtThreads * sizeof(float4));
  for (int first = 0; first < size.batches; first += 65535)
    LAUNCH((simtKernel<B, Source, Epilogue>), dim3(blocks, 1, unsigned(std::min(65535, size.batches - first))), kSimtThreads,
           shared, size, a, b, first, epilogue);
}

// False where there would be too few blocks for the GPU: the plain kernel splits K.
template <typename Source, typename Epilogue>
bool simtRun(const ProductSize& size, const Source& a, const Source& b, const Epilogue& epilogue) {
  const auto blocks = [&](int tile) { return int64_t(size.batches) * blocksFor(size.M, tile) * blocksFor(size.N, tile); };
  if (size.M < 32 || size.N < 32 || size.K < kDepth || blocks(64) < properties().processors / 2) return false;
  if (blocks(128) >= properties().processors) launchSimt<128>(size, a, b, epilogue);
  else launchSimt<64>(size, a, b, epilogue);
  return true;
}

}  // namespace
}  // namespace cuda
}  // namespace nabla

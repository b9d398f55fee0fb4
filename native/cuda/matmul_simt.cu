// float32 products on the ordinary cores, as each thread's 8 × 8 (or 4 × 4) results in registers: tiles of both factors go
// through shared memory, the next ones on their way from memory while these are used. The threads of a warp share a part
// of the tile that is nearly square, so that each value read from shared memory serves as many of them as can be.
#include "matmul_simt.h"

namespace nabla {
namespace cuda {
namespace {

constexpr int kSimtThreads = 256, kDepth = 8;

// One tile [kDepth, kWidth] of a factor: what this thread brings, and where it puts it.
template <int kWidth>
struct Loader {
  static constexpr int kEach = kWidth * kDepth / kSimtThreads;  // elements a thread
  static constexpr int kPitch = kWidth + 4;
  static_assert(kEach == 2 || kEach == 4, "two or four");
  float held[kEach];

  DEVICE void fetch(const TileSource<float>& from, const float* base, int first, int size, int k0, int K) {
    const int t = int(threadIdx.x) * kEach;
    const int i = from.alongK ? t / kDepth : t % kWidth, k = from.alongK ? t % kDepth : t / kWidth;
    const float* at = base + (from.alongK ? int64_t(first + i) * from.row + k0 + k : int64_t(k0 + k) * from.row + first + i);
    const bool inside = from.alongK ? first + i < size && k0 + k + kEach <= K : k0 + k < K && first + i + kEach <= size;
    if (inside && from.wide && kEach == 4) {
      const float4 x = *reinterpret_cast<const float4*>(at);
      held[0] = x.x, held[1] = x.y, held[kEach - 2] = x.z, held[kEach - 1] = x.w;
      return;
    }
    for (int e = 0; e < kEach; e++) {
      const bool is = from.alongK ? first + i < size && k0 + k + e < K : k0 + k < K && first + i + e < size;
      held[e] = is ? at[e] : 0.0f;
    }
  }
  DEVICE void put(const TileSource<float>& from, float* tile) const {
    const int t = int(threadIdx.x) * kEach;
    const int i = from.alongK ? t / kDepth : t % kWidth, k = from.alongK ? t % kDepth : t / kWidth;
    for (int e = 0; e < kEach; e++) {
      if (from.alongK) tile[(k + e) * kPitch + i] = held[e];
      else tile[k * kPitch + i + e] = held[e];
    }
  }
};

// B × B results a block; a thread has kParts × kParts groups of 4 × 4.
template <int B, typename Epilogue>
__global__ void __launch_bounds__(kSimtThreads) simtKernel(ProductSize size, TileSource<float> a, TileSource<float> b,
                                                           int first, Epilogue epilogue) {
  constexpr int kParts = B / 64, kPitch = Loader<B>::kPitch;
  // Warps lie 2 × 4 on the tile, the threads of a warp 8 × 4 on its part: B/2 × B/4 results.
  constexpr int kWarpRows = B / 2, kWarpColumns = B / 4, kRowStep = 32, kColumnStep = 16;
  DYN_SHARED(float, memory);
  float *const tilesA = memory, *const tilesB = memory + 2 * kDepth * kPitch;
  const int t = int(threadIdx.x), warp = t / 32, lane = t % 32;
  const int across = (size.N + B - 1) / B, i0 = int(blockIdx.x) / across * B, j0 = int(blockIdx.x) % across * B;
  const int n = first + int(blockIdx.z);
  const int row = warp / 4 * kWarpRows + lane / 4 * 4, column = warp % 4 * kWarpColumns + lane % 4 * 4;
  const float *const baseA = a.data + n * a.batch, *const baseB = b.data + n * b.batch;

  float sum[kParts][4][kParts][4] = {};
  Loader<B> loadA, loadB;
  loadA.fetch(a, baseA, i0, size.M, 0, size.K);
  loadB.fetch(b, baseB, j0, size.N, 0, size.K);
  loadA.put(a, tilesA);
  loadB.put(b, tilesB);
  __syncthreads();
  for (int k0 = 0, turn = 0; k0 < size.K; k0 += kDepth, turn ^= 1) {
    const bool more = k0 + kDepth < size.K;
    if (more) {
      loadA.fetch(a, baseA, i0, size.M, k0 + kDepth, size.K);
      loadB.fetch(b, baseB, j0, size.N, k0 + kDepth, size.K);
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
      loadA.put(a, tilesA + (turn ^ 1) * kDepth * kPitch);
      loadB.put(b, tilesB + (turn ^ 1) * kDepth * kPitch);
    }
    __syncthreads();
  }
  for (int p = 0; p < kParts; p++)
    for (int r = 0; r < 4; r++)
      for (int q = 0; q < kParts; q++) {
        const int i = i0 + row + p * kRowStep + r, j = j0 + column + q * kColumnStep;
        if (i < size.M && j < size.N) epilogue(n, i, j, size.N - j < 4 ? size.N - j : 4, sum[p][r][q]);
      }
}

template <int B, typename Epilogue>
void launch(const ProductSize& size, const TileSource<float>& a, const TileSource<float>& b, const Epilogue& epilogue) {
  const unsigned blocks = blocksFor(size.M, B) * blocksFor(size.N, B);
  for (int first = 0; first < size.batches; first += 65535)
    LAUNCH((simtKernel<B, Epilogue>), dim3(blocks, 1, unsigned(std::min(65535, size.batches - first))), kSimtThreads,
           4 * kDepth * Loader<B>::kPitch * sizeof(float), size, a, b, first, epilogue);
}

template <typename Epilogue>
bool run(const View& a, const View& b, const Epilogue& epilogue) {
  const ProductSize size = {a.shape[1], b.shape[2], a.shape[2], a.shape[0]};
  TileSource<float> x, y;
  if (size.M < 32 || size.N < 32 || size.K < kDepth || !tileSource(a, 2, x) || !tileSource(b, 1, y)) return false;
  const auto blocks = [&](int tile) { return int64_t(size.batches) * blocksFor(size.M, tile) * blocksFor(size.N, tile); };
  // Too few blocks for the GPU: the plain kernel splits K instead.
  if (blocks(64) < properties().processors / 2) return false;
  if (blocks(128) >= properties().processors) launch<128>(size, x, y, epilogue);
  else launch<64>(size, x, y, epilogue);
  return true;
}

}  // namespace

bool simtProduct(const View& c, const View& a, const View& b) {
  return run(a, b, StoreProduct{Data(c), c.strides[0], c.strides[1], c.strides[2]});
}
bool simtThrough(const ElementwiseArgs& program, const View& a, const View& b) {
  return run(a, b, RunProgram{program, uint32_t(a.shape[1]), uint32_t(b.shape[2])});
}

}  // namespace cuda
}  // namespace nabla

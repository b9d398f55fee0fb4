// 128 × 256 (or 128 × 128) results at a time from a ring of tiles in shared memory. Four warps, of which one thread does
// anything, have TMA fill the ring; twice four multiply, 64 rows each, and give tiles back to be filled. A block makes one
// tile of results after the other, so that the ring is filled again while results are stored.
#include "matmul_wgmma.h"

#include <cstdlib>

#include "hopper.cuh"
#include "matmul_tiles.cuh"

namespace nabla {
namespace cuda {

bool tileMap(const View& v, int k, int width, TileMap& to) {
  const int other = k == 2 ? 1 : 2, size = int(sizeOf(v.dtype));
  to.side = v.strides[k] != 1;
  const int inner = to.side ? other : k, outer = to.side ? k : other;
  if (v.strides[inner] != 1 || (to.side && size != 2)) return false;
  to.batched = v.shape[0] > 1 && v.strides[0] != 0;
  const int64_t batch = to.batched ? int64_t(v.strides[0]) : int64_t(v.strides[outer]) * v.shape[outer];
  if (v.strides[outer] < v.shape[inner] || batch <= 0) return false;  // rows that overlap, or lie backwards
  to.size[0] = uint64_t(v.shape[inner]), to.size[1] = uint64_t(v.shape[outer]);
  to.size[2] = uint64_t(to.batched ? v.shape[0] : 1);
  to.stride[0] = uint64_t(v.strides[outer]) * uint64_t(size), to.stride[1] = uint64_t(batch) * uint64_t(size);
  to.box[0] = uint32_t(kSwizzle / size), to.box[1] = uint32_t(to.side ? kSwizzle / size : width), to.box[2] = 1;
  return reinterpret_cast<uintptr_t>(v.data) % 16 == 0 && to.stride[0] % 16 == 0 && to.stride[1] % 16 == 0 &&
         to.stride[0] < uint64_t(1) << 40 && to.stride[1] < uint64_t(1) << 40;
}

namespace {

constexpr int kRows = 128, kTeam = 128, kThreadsInAll = 3 * kTeam;  // a team: the four warps that wgmma takes
constexpr int kTileRow = kSwizzle, kGroupBytes = 8 * kTileRow;       // what the swizzle repeats after

// The ring for tiles of N columns; the piece of results, [16, piece], that a warp stores at a time.
template <int N, int piece>
struct Ring {
  static constexpr uint32_t kMost = 227 << 10;  // bytes that a block of sm_90 can have
  static constexpr uint32_t kBytesA = kRows * kTileRow, kBytesB = N * kTileRow, kStage = kBytesA + kBytesB;
  static constexpr int kPiece = piece, kPitch = kPiece + 4;
  static constexpr uint32_t kPieces = 8 * 16 * kPitch * sizeof(float), kRest = kGroupBytes + kPieces + 256;
  static constexpr int kStages = int((kMost - kRest) / kStage);
  static constexpr uint32_t kBytes = kRest + kStages * kStage;  // with room to align, and for barriers
  static_assert(kStages >= 4 && kStages <= 16, "a few steps ahead");
};
// An element-wise program is much code, which is to be there once: it takes a piece as wide as the tile.
template <int N, typename Epilogue>
using RingOf = Ring<N, std::is_same<Epilogue, StoreProduct>::value ? 32 : N>;

struct Operands {
  bool batchedA, batchedB;
  int rows, columns, tiles;  // of tiles; in all batches
};

// The boxes of a tile of one factor.
template <bool side>
DEVICE void copyFactor(uint32_t to, const CUtensorMap* map, int first, int width, int k, int depth, int batch, uint32_t barrier) {
  if constexpr (side) {
    for (int i = 0; i < width; i += depth) copyTile(to + uint32_t(i * kTileRow), map, first + i, k, batch, barrier);
  } else {
    copyTile(to, map, k, first, batch, barrier);
  }
}

template <typename T, bool sideA, bool sideB, int N, typename Epilogue>
__global__ void __launch_bounds__(kThreadsInAll, 1)
    wgmmaKernel(ProductSize size, const __grid_constant__ CUtensorMap mapA, const __grid_constant__ CUtensorMap mapB,
                Operands operands, Epilogue epilogue) {
  using R = RingOf<N, Epilogue>;
  constexpr int kDepth = kSwizzle / int(sizeof(T)), kSteps = 4;  // elements of k in a tile; products of 32 bytes of it
  // From product to product along k; from one 128 bytes of a row to the next, with k outside.
  constexpr uint32_t kStepA = sideA ? 16 * kTileRow : 32, kStepB = sideB ? 16 * kTileRow : 32;
  constexpr uint32_t kLead = kDepth * kTileRow;
  DYN_SHARED(unsigned char, memory);
  const uint32_t begin = sharedAddress(memory), ring = (begin + kGroupBytes - 1) / kGroupBytes * kGroupBytes;
  const uint32_t pieces = ring + R::kStages * R::kStage, full = pieces + R::kPieces, empty = full + 8 * R::kStages;
  const int t = int(threadIdx.x), team = t / kTeam, steps = (size.K + kDepth - 1) / kDepth;
  if (t == 0) {
    for (int s = 0; s < R::kStages; s++) {
      barrierInit(full + 8 * s, 1);
      barrierInit(empty + 8 * s, 8);  // one thread of each warp that multiplies
    }
    barrierFence();
  }
  __syncthreads();
  int stage = 0;
  uint32_t phase = 0;  // of the round through the ring
  const auto next = [&] {
    if (++stage < R::kStages) return;
    stage = 0;
    phase ^= 1;
  };

  if (team == 0) {
    giveRegisters<40>();
    if (t != 0) return;
    for (int tile = int(blockIdx.x); tile < operands.tiles; tile += int(gridDim.x)) {
      const TilePlace place = tilePlace(tile, operands.rows, operands.columns);
      const int batchA = operands.batchedA ? place.batch : 0, batchB = operands.batchedB ? place.batch : 0;
      for (int step = 0; step < steps; step++, next()) {
        const uint32_t to = ring + stage * R::kStage, barrier = full + 8 * stage;
        barrierWait(empty + 8 * stage, phase ^ 1);
        barrierArrive(barrier, R::kStage);
        copyFactor<sideA>(to, &mapA, place.row * kRows, kRows, step * kDepth, kDepth, batchA, barrier);
        copyFactor<sideB>(to + R::kBytesA, &mapB, place.column * N, N, step * kDepth, kDepth, batchB, barrier);
      }
    }
    return;
  }

  takeRegisters<232>();
  const int warp = t / 32 - 4, lane = t % 32, g = lane / 4, q = lane % 4;
  const uint32_t own = uint32_t(team - 1) * 64 * kTileRow;  // of a tile of A: its rows, or its columns of 64
  const auto giveBack = [&](int s) {
    if (lane == 0) barrierArrive(empty + 8 * s);
  };
  float* const piece = reinterpret_cast<float*>(memory + (pieces - begin)) + warp * 16 * R::kPitch;
  float sum[N / 2] = {};
  for (int tile = int(blockIdx.x); tile < operands.tiles; tile += int(gridDim.x)) {
    int before = 0;
    for (int step = 0; step < steps; step++, next()) {
      const uint32_t tileA = ring + stage * R::kStage + own, tileB = ring + stage * R::kStage + R::kBytesA;
      barrierWait(full + 8 * stage, phase);
      touch(sum);
      wgmmaFence();
      UNROLL
      for (int s = 0; s < kSteps; s++)
        wgmma<T, sideA, sideB, N>(sum, matrixDescriptor(tileA + s * kStepA, kLead, kGroupBytes),
                                  matrixDescriptor(tileB + s * kStepB, kLead, kGroupBytes), step > 0 || s > 0);
      wgmmaCommit();
      touch(sum);
      // The products before these are done: their tiles can be filled.
      if (step > 0) {
        wgmmaWait<1>();
        giveBack(before);
      }
      before = stage;
    }
    wgmmaWait<0>();
    touch(sum);
    giveBack(before);
    // By way of shared memory, so that a thread has four neighbours and eight threads a row of the piece.
    const TilePlace place = tilePlace(tile, operands.rows, operands.columns);
    const int i0 = place.row * kRows + warp * 16, j0 = place.column * N;
    UNROLL
    for (int c = 0; c < N; c += R::kPiece) {
      UNROLL
      for (int f = 0; f < R::kPiece / 8; f++)
        UNROLL
        for (int e = 0; e < 4; e++) piece[(g + e / 2 * 8) * R::kPitch + 8 * f + 2 * q + e % 2] = sum[c / 2 + 4 * f + e];
      __syncwarp();
      ROLLED
      for (int e = lane; e < 16 * R::kPiece / 4; e += 32) {
        const int row = e / (R::kPiece / 4), column = e % (R::kPiece / 4) * 4, i = i0 + row, j = j0 + c + column;
        const float4 v = *reinterpret_cast<const float4*>(piece + row * R::kPitch + column);
        const float four[4] = {v.x, v.y, v.z, v.w};
        if (i < size.M && j < size.N) epilogue(place.batch, i, j, size.N - j < 4 ? size.N - j : 4, four);
      }
      __syncwarp();
    }
  }
}

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's function, which nothing needs to be linked with; null where the driver has none.
Encode encoder() {
  static const Encode function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    const bool good = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result) == cudaSuccess;
    if (!good) cudaGetLastError();
    return good && result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(found) : nullptr;
  }();
  return function;
}

bool encode(const View& v, const TileMap& m, CUtensorMap& to) {
  // TMA rounds to TF32 what it brings as such.
  const CUtensorMapDataType type = v.dtype == DType::f16    ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                   : v.dtype == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                            : CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  const cuuint32_t every[3] = {1, 1, 1};
  const cuuint64_t sizes[3] = {m.size[0], m.size[1], m.size[2]}, strides[2] = {m.stride[0], m.stride[1]};
  return encoder()(&to, type, 3, v.data, sizes, strides, m.box, every, CU_TENSOR_MAP_INTERLEAVE_NONE,
                   CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <typename T, bool sideA, bool sideB, int N, typename Epilogue>
void launch(const ProductSize& size, const CUtensorMap& a, const CUtensorMap& b, const Operands& operands, const Epilogue& epilogue) {
  const auto kernel = wgmmaKernel<T, sideA, sideB, N, Epilogue>;
  constexpr uint32_t bytes = RingOf<N, Epilogue>::kBytes;
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)),
        "cudaFuncSetAttribute");
  LAUNCH((wgmmaKernel<T, sideA, sideB, N, Epilogue>), unsigned(std::min(operands.tiles, properties().processors)),
         kThreadsInAll, bytes, size, a, b, operands, epilogue);
}

template <typename T, int N, typename Epilogue>
bool runTiles(const ProductSize& size, const View& a, const View& b, const Epilogue& epilogue) {
  TileMap mapA, mapB;
  if (!tileMap(a, 2, kRows, mapA) || !tileMap(b, 1, N, mapB)) return false;
  if (mapA.side && !mapB.side) return false;  // aᵀ·bᵀ, which no layer needs
  const int rows = int(ceilDiv(size.M, kRows)), columns = int(ceilDiv(size.N, N));
  const int64_t tiles = int64_t(rows) * columns * size.batches;
  CUtensorMap x, y;
  if (tiles > INT32_MAX / 2 || !encode(a, mapA, x) || !encode(b, mapB, y)) return false;
  const Operands operands = {mapA.batched, mapB.batched, rows, columns, int(tiles)};
  if constexpr (sizeof(T) == 2) {
    if (mapA.side) launch<T, true, true, N>(size, x, y, operands, epilogue);
    else if (mapB.side) launch<T, false, true, N>(size, x, y, operands, epilogue);
    else launch<T, false, false, N>(size, x, y, operands, epilogue);
  } else {
    launch<T, false, false, N>(size, x, y, operands, epilogue);
  }
  return true;
}

template <typename T, typename Epilogue>
bool run(const View& a, const View& b, const Epilogue& epilogue) {
  const ProductSize size = {a.shape[1], b.shape[2], a.shape[2], a.shape[0]};
  if (size.M < 64 || size.N < 64 || size.K < 64) return false;
  // The wider tiles read less; the narrower ones keep more multiprocessors busy.
  const int64_t wide = ceilDiv(size.M, kRows) * ceilDiv(size.N, 256) * size.batches;
  if constexpr (std::is_same<Epilogue, StoreProduct>::value)
    if (wide >= properties().processors) return runTiles<T, 256>(size, a, b, epilogue);
  return runTiles<T, 128>(size, a, b, epilogue);
}

bool wanted() {
  const char* const text = std::getenv("NABLA_CUDA_WGMMA");
  return properties().architecture == 90 && !(text && text[0] == '0') && encoder();
}

}  // namespace

bool wgmmaProduct(const View& c, const View& a, const View& b) {
  if (!wanted()) return false;
  const StoreProduct to = {Data(c), c.strides[0], c.strides[1], c.strides[2]};
  switch (c.dtype) {
    case DType::f16: return run<Half>(a, b, to);
    case DType::bf16: return run<BFloat>(a, b, to);
    case DType::f32: return wantsTf32() && run<float>(a, b, to);
    default: return false;
  }
}
bool wgmmaThrough(const ElementwiseArgs& program, const View& a, const View& b) {
  if (!wanted() || !wantsTf32()) return false;
  return run<float>(a, b, RunProgram{program, uint32_t(a.shape[1]), uint32_t(b.shape[2])});
}

}  // namespace cuda
}  // namespace nabla

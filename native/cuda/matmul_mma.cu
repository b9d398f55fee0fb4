// 128 × 128 results a block of 8 warps, a warp 64 × 32 of them as 4 × 4 fragments. Both factors lie in shared memory with
// k inside, so that a register of a fragment is one read; rows are padded so that the reads of a warp meet all banks.
#include "matmul_mma.h"

#include "mma.cuh"

namespace nabla {
namespace cuda {
namespace {

constexpr int kBlock = 128, kMmaThreads = 256;

// 16-bit floats by 16 along k, pairs in a register; float32 by 8, one each.
template <typename T>
struct Kind {
  static constexpr int kDepth = 32, kStep = 16, kPitch = kDepth + 8;  // elements of k in a tile, an mma; of a row
  using Stored = uint16_t;
  DEVICE static Stored stored(T x) { return x.bits; }
  DEVICE static uint32_t pair(const Stored* tile, int row, int k, int t) {
    return *reinterpret_cast<const uint32_t*>(tile + row * kPitch + k + 2 * t);
  }
  static constexpr int kHalf = 8;  // from the first to the second register along k
  DEVICE static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma16<T>(d, a, b); }
};
template <>
struct Kind<float> {
  static constexpr int kDepth = 16, kStep = 8, kPitch = kDepth + 4;
  using Stored = uint32_t;
  DEVICE static Stored stored(float x) { return toTf32(x); }
  DEVICE static uint32_t pair(const Stored* tile, int row, int k, int t) { return tile[row * kPitch + k + t]; }
  static constexpr int kHalf = 4;
  DEVICE static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mmaTf32(d, a, b); }
};

// What a thread brings of a tile [kBlock, kDepth] of a factor: four pieces of 8 (or 4) bytes… of elements that are next to
// each other in memory, along k or across.
template <typename T>
struct Loader {
  using K = Kind<T>;
  static constexpr int kEach = 16 / int(sizeof(T));  // elements of a piece: 16 bytes
  static constexpr int kPieces = kBlock * K::kDepth / kEach / kMmaThreads;
  T held[kPieces][kEach];

  DEVICE static void place(bool alongK, int piece, int& i, int& k) {
    const int p = piece * kMmaThreads + int(threadIdx.x);
    if (alongK) i = p / (K::kDepth / kEach), k = p % (K::kDepth / kEach) * kEach;
    else i = p % (kBlock / kEach) * kEach, k = p / (kBlock / kEach);
  }
  DEVICE void fetch(const TileSource<T>& from, const T* base, int first, int size, int k0, int depth) {
    for (int p = 0; p < kPieces; p++) {
      int i, k;
      place(from.alongK, p, i, k);
      i += first, k += k0;
      const T* at = base + (from.alongK ? int64_t(i) * from.row + k : int64_t(k) * from.row + i);
      const bool inside = from.alongK ? i < size && k + kEach <= depth : k < depth && i + kEach <= size;
      if (inside && from.wide) {
        const uint4 x = *reinterpret_cast<const uint4*>(at);
        memcpy(held[p], &x, 16);
        continue;
      }
      for (int e = 0; e < kEach; e++) {
        const bool is = from.alongK ? i < size && k + e < depth : k < depth && i + e < size;
        held[p][e] = is ? at[e] : T{};
      }
    }
  }
  DEVICE void put(bool alongK, typename K::Stored* tile) const {
    for (int p = 0; p < kPieces; p++) {
      int i, k;
      place(alongK, p, i, k);
      for (int e = 0; e < kEach; e++) {
        if (alongK) tile[i * K::kPitch + k + e] = K::stored(held[p][e]);
        else tile[(i + e) * K::kPitch + k] = K::stored(held[p][e]);
      }
    }
  }
};

template <typename T, typename Epilogue>
__global__ void __launch_bounds__(kMmaThreads) mmaKernel(ProductSize size, TileSource<T> a, TileSource<T> b, int first,
                                                         Epilogue epilogue) {
  using K = Kind<T>;
  using Stored = typename K::Stored;
  constexpr int kTile = kBlock * K::kPitch;
  DYN_SHARED(Stored, memory);
  const int t = int(threadIdx.x), warp = t / 32, lane = t % 32, g = lane / 4, q = lane % 4;
  const int across = (size.N + kBlock - 1) / kBlock, i0 = int(blockIdx.x) / across * kBlock, j0 = int(blockIdx.x) % across * kBlock;
  const int n = first + int(blockIdx.z), row = warp / 4 * 64, column = warp % 4 * 32;
  const T *const baseA = a.data + n * a.batch, *const baseB = b.data + n * b.batch;

  float sum[4][4][4] = {};
  Loader<T> loadA, loadB;
  loadA.fetch(a, baseA, i0, size.M, 0, size.K);
  loadB.fetch(b, baseB, j0, size.N, 0, size.K);
  loadA.put(a.alongK, memory);
  loadB.put(b.alongK, memory + 2 * kTile);
  __syncthreads();
  for (int k0 = 0, turn = 0; k0 < size.K; k0 += K::kDepth, turn ^= 1) {
    const bool more = k0 + K::kDepth < size.K;
    if (more) {
      loadA.fetch(a, baseA, i0, size.M, k0 + K::kDepth, size.K);
      loadB.fetch(b, baseB, j0, size.N, k0 + K::kDepth, size.K);
    }
    const Stored *const tileA = memory + turn * kTile, *const tileB = memory + (2 + turn) * kTile;
      UNROLL
    for (int k = 0; k < K::kDepth; k += K::kStep) {
      uint32_t x[4][4], y[4][2];
      UNROLL
      for (int p = 0; p < 4; p++) {
        const int r = row + 16 * p + g, c = column + 8 * p + g;
        x[p][0] = K::pair(tileA, r, k, q), x[p][1] = K::pair(tileA, r + 8, k, q);
        x[p][2] = K::pair(tileA, r, k + K::kHalf, q), x[p][3] = K::pair(tileA, r + 8, k + K::kHalf, q);
        y[p][0] = K::pair(tileB, c, k, q), y[p][1] = K::pair(tileB, c, k + K::kHalf, q);
      }
      UNROLL
      for (int p = 0; p < 4; p++)
      UNROLL
        for (int c = 0; c < 4; c++) K::multiply(sum[p][c], x[p], y[c]);
    }
    if (more) {
      loadA.put(a.alongK, memory + (turn ^ 1) * kTile);
      loadB.put(b.alongK, memory + (2 + (turn ^ 1)) * kTile);
    }
    __syncthreads();
  }
  for (int p = 0; p < 4; p++)
    for (int c = 0; c < 4; c++)
      for (int half = 0; half < 2; half++) {
        const int i = i0 + row + 16 * p + 8 * half + g, j = j0 + column + 8 * c + 2 * q;
        const float two[2] = {sum[p][c][2 * half], sum[p][c][2 * half + 1]};
        if (i < size.M && j < size.N) epilogue(n, i, j, size.N - j < 2 ? 1 : 2, two);
      }
}

template <typename T, typename Epilogue>
bool run(const View& a, const View& b, const Epilogue& epilogue) {
  const ProductSize size = {a.shape[1], b.shape[2], a.shape[2], a.shape[0]};
  TileSource<T> x, y;
  if (size.M < 32 || size.N < 32 || size.K < 16 || !tileSource(a, 2, x) || !tileSource(b, 1, y)) return false;
  const unsigned blocks = blocksFor(size.M, kBlock) * blocksFor(size.N, kBlock);
  const size_t shared = 4 * kBlock * Kind<T>::kPitch * sizeof(typename Kind<T>::Stored);
  static_assert(4 * kBlock * Kind<T>::kPitch * sizeof(typename Kind<T>::Stored) <= 48 << 10, "what every kernel may have");
  for (int first = 0; first < size.batches; first += 65535)
    LAUNCH((mmaKernel<T, Epilogue>), dim3(blocks, 1, unsigned(std::min(65535, size.batches - first))), kMmaThreads, shared,
           size, x, y, first, epilogue);
  return true;
}

}  // namespace

bool mmaProduct(const View& c, const View& a, const View& b) {
  if (properties().architecture < 80) return false;
  const StoreProduct to = {Data(c), c.strides[0], c.strides[1], c.strides[2]};
  switch (c.dtype) {
    case DType::f16: return run<Half>(a, b, to);
    case DType::bf16: return run<BFloat>(a, b, to);
    case DType::f32: return wantsTf32() && run<float>(a, b, to);
    default: return false;
  }
}
bool mmaThrough(const ElementwiseArgs& program, const View& a, const View& b) {
  if (properties().architecture < 80 || !wantsTf32()) return false;
  return run<float>(a, b, RunProgram{program, uint32_t(a.shape[1]), uint32_t(b.shape[2])});
}

}  // namespace cuda
}  // namespace nabla

// Products on the tensor cores by mma.sync: 128 × 128 results a block of 8 warps, a warp 64 × 32 of them as 4 × 4 fragments.
// Both factors lie in shared memory with k inside, so that a register of a fragment is one read; rows are padded so that the
// reads of a warp meet all banks.
#pragma once
#include "gather.cuh"
#include "matmul_tiles.cuh"
#include "mma.cuh"

namespace nabla {
namespace cuda {
namespace {

constexpr int kMmaTile = 128, kMmaThreads = 256;

// 16-bit floats by 16 along k, pairs in a register; float32 by 8, one each.
template <typename T>
struct Kind {
  static constexpr int kMmaDepth = 32, kStep = 16, kPitch = kMmaDepth + 8;  // elements of k in a tile, an mma; of a row
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
  static constexpr int kMmaDepth = 16, kStep = 8, kPitch = kMmaDepth + 4;
  using Stored = uint32_t;
  DEVICE static Stored stored(float x) { return toTf32(x); }
  DEVICE static uint32_t pair(const Stored* tile, int row, int k, int t) { return tile[row * kPitch + k + t]; }
  static constexpr int kHalf = 4;
  DEVICE static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mmaTf32(d, a, b); }
};

// What a thread brings of a tile [kMmaTile, kMmaDepth] of a factor: pieces of 16 bytes, of elements that are next to each other
// in memory, along k or across.
template <typename T>
struct Pieces {
  using K = Kind<T>;
  static constexpr int kEach = 16 / int(sizeof(T));  // elements of a piece
  static constexpr int kPieces = kMmaTile * K::kMmaDepth / kEach / kMmaThreads;
  T held[kPieces][kEach];

  DEVICE static void place(bool alongK, int piece, int& i, int& k) {
    const int p = piece * kMmaThreads + int(threadIdx.x);
    if (alongK) i = p / (K::kMmaDepth / kEach), k = p % (K::kMmaDepth / kEach) * kEach;
    else i = p % (kMmaTile / kEach) * kEach, k = p / (kMmaTile / kEach);
  }
  DEVICE void put(bool alongK, typename K::Stored* tile) const {
    UNROLL
    for (int p = 0; p < kPieces; p++) {
      int i, k;
      place(alongK, p, i, k);
      UNROLL
      for (int e = 0; e < kEach; e++) {
        if (alongK) tile[i * K::kPitch + k + e] = K::stored(held[p][e]);
        else tile[(i + e) * K::kPitch + k] = K::stored(held[p][e]);
      }
    }
  }
};
template <typename T, typename Source>
struct MmaLoader;
template <typename T>
struct MmaLoader<T, TileSource<T>> : Pieces<T> {
  using Pieces<T>::kEach;
  const T* base;
  int first, size;

  DEVICE MmaLoader(const TileSource<T>& from, int n, int first, int size) : base(from.data + n * from.batch), first(first), size(size) {}
  DEVICE void fetch(const TileSource<T>& from, int k0, int depth) {
    UNROLL
    for (int p = 0; p < this->kPieces; p++) {
      int i, k;
      this->place(from.alongK, p, i, k);
      i += first, k += k0;
      const T* at = base + (from.alongK ? int64_t(i) * from.row + k : int64_t(k) * from.row + i);
      const bool inside = from.alongK ? i < size && k + kEach <= depth : k < depth && i + kEach <= size;
      if (inside && from.wide) {
        const uint4 x = *reinterpret_cast<const uint4*>(at);
        memcpy(this->held[p], &x, 16);
        continue;
      }
      UNROLL
      for (int e = 0; e < kEach; e++) {
        const bool is = from.alongK ? i < size && k + e < depth : k < depth && i + e < size;
        this->held[p][e] = is ? at[e] : T{};
      }
    }
  }
};
template <typename T>
struct MmaLoader<T, Gather> : Pieces<T> {
  using Pieces<T>::kEach;
  using Pieces<T>::kPieces;
  Digits rows[kPieces];
  int n, first, size;

  DEVICE MmaLoader(const Gather& from, int n, int first, int size) : n(n), first(first), size(size) {
    UNROLL
    for (int p = 0; p < kPieces; p++) {
      int i, k;
      this->place(from.alongK, p, i, k);
      rows[p] = from.rows.digits(first + i);
    }
  }
  DEVICE void fetch(const Gather& from, int k0, int depth) {
    UNROLL
    for (int p = 0; p < kPieces; p++) {
      int i, k;
      this->place(from.alongK, p, i, k);
      i += first, k += k0;
      Digits a = rows[p], b = from.columns.digits(k);
      UNROLL
      for (int e = 0; e < kEach; e++) {
        const bool is = from.alongK ? i < size && k + e < depth : k < depth && i + e < size;
        this->held[p][e] = convert<T>(is ? from.load<float>(n, a, b) : 0.0f);
        if (from.alongK) from.columns.next(b);
        else from.rows.next(a);
      }
    }
  }
};

template <typename T, typename Source, typename Epilogue>
__global__ void __launch_bounds__(kMmaThreads) mmaKernel(ProductSize size, Source a, Source b, int first, Epilogue epilogue) {
  using K = Kind<T>;
  using Stored = typename K::Stored;
  constexpr int kTile = kMmaTile * K::kPitch;
  DYN_SHARED(Stored, memory);
  const int t = int(threadIdx.x), warp = t / 32, lane = t % 32, g = lane / 4, q = lane % 4;
  const int across = (size.N + kMmaTile - 1) / kMmaTile, i0 = int(blockIdx.x) / across * kMmaTile, j0 = int(blockIdx.x) % across * kMmaTile;
  const int n = first + int(blockIdx.z), row = warp / 4 * 64, column = warp % 4 * 32;

  float sum[4][4][4] = {};
  MmaLoader<T, Source> loadA(a, n, i0, size.M), loadB(b, n, j0, size.N);
  loadA.fetch(a, 0, size.K);
  loadB.fetch(b, 0, size.K);
  loadA.put(a.alongK, memory);
  loadB.put(b.alongK, memory + 2 * kTile);
  __syncthreads();
  for (int k0 = 0, turn = 0; k0 < size.K; k0 += K::kMmaDepth, turn ^= 1) {
    const bool more = k0 + K::kMmaDepth < size.K;
    if (more) {
      loadA.fetch(a, k0 + K::kMmaDepth, size.K);
      loadB.fetch(b, k0 + K::kMmaDepth, size.K);
    }
    const Stored *const tileA = memory + turn * kTile, *const tileB = memory + (2 + turn) * kTile;
      UNROLL
    for (int k = 0; k < K::kMmaDepth; k += K::kStep) {
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
  // By way of shared memory, so that a thread has four neighbours, and what the epilogue does is there once for each p.
  constexpr int kPiecePitch = 32 + 4;
  static_assert(8 * 16 * kPiecePitch * sizeof(float) <= 4 * kTile * sizeof(Stored), "it lies where the tiles were");
  float* const piece = reinterpret_cast<float*>(memory) + warp * 16 * kPiecePitch;
  UNROLL
  for (int p = 0; p < 4; p++) {
    UNROLL
    for (int c = 0; c < 4; c++)
      UNROLL
      for (int e = 0; e < 4; e++) piece[(g + e / 2 * 8) * kPiecePitch + 8 * c + 2 * q + e % 2] = sum[p][c][e];
    __syncwarp();
    ROLLED
    for (int e = lane; e < 16 * 8; e += 32) {
      const int i = i0 + row + 16 * p + e / 8, j = j0 + column + e % 8 * 4;
      const float4 v = *reinterpret_cast<const float4*>(piece + e / 8 * kPiecePitch + e % 8 * 4);
      const float four[4] = {v.x, v.y, v.z, v.w};
      if (i < size.M && j < size.N) epilogue(n, i, j, size.N - j < 4 ? size.N - j : 4, four);
    }
    __syncwarp();
  }
}

template <typename T, typename Source, typename Epilogue>
bool mmaRun(const ProductSize& size, const Source& a, const Source& b, const Epilogue& epilogue) {
  if (size.M < 32 || size.N < 32 || size.K < 16) return false;
  const unsigned blocks = blocksFor(size.M, kMmaTile) * blocksFor(size.N, kMmaTile);
  constexpr size_t shared = 4 * kMmaTile * Kind<T>::kPitch * sizeof(typename Kind<T>::Stored);
  static_assert(shared <= 48 << 10, "what every kernel may have");
  for (int first = 0; first < size.batches; first += 65535)
    LAUNCH((mmaKernel<T, Source, Epilogue>), dim3(blocks, 1, unsigned(std::min(65535, size.batches - first))), kMmaThreads,
           shared, size, a, b, first, epilogue);
  return true;
}

}  // namespace
}  // namespace cuda
}  // namespace nabla

// The plain tiled product that matmul and the convolutions share: a problem says what its elements are and where results
// go. (The fast paths of matmul are in matmul_*.cu.)
#pragma once
#include "view.cuh"

namespace nabla {
namespace cuda {

// A problem P has `using Value` (float, double or int64_t), M, N, K, batches, of which it is at `first`, and
//   Value a(batch, i, k), Value b(batch, k, j), void store(batch, i, j, Value);
// alongK: the elements of a lie next to each other along k, not i.
// K may be split in parts, whose sums are then added in order (sumParts).
struct Split {
  int parts, length;  // elements of K in a part
};

// A block of (BM/TM)·(BN/TN) threads makes BM × BN results from tiles of depth BK; a thread has TM × TN of them, spread
// so that neighbouring threads have neighbouring columns.
template <typename P, int BM, int BN, int BK, int TM, int TN>
__global__ void __launch_bounds__((BM / TM) * (BN / TN)) gemmKernel(P p, Split split, typename P::Value* partial) {
  using V = typename P::Value;
  constexpr int kColumns = BN / TN, kRows = BM / TM, kBlock = kColumns * kRows, kPitch = BM + 1;
  DYN_SHARED(V, memory);
  V *const tileA = memory, *const tileB = memory + BK * kPitch;
  const int t = int(threadIdx.x), column = t % kColumns, row = t / kColumns;
  const int batch = int(blockIdx.z) / split.parts, part = int(blockIdx.z) % split.parts;
  const int across = (p.N + BN - 1) / BN, i0 = int(blockIdx.x) / across * BM, j0 = int(blockIdx.x) % across * BN;
  const int begin = part * split.length, end = begin + split.length < p.K ? begin + split.length : p.K;
  V sum[TM][TN] = {};
  for (int k0 = begin; k0 < end; k0 += BK) {
    for (int e = t; e < BM * BK; e += kBlock) {
      const int k = p.alongK ? e % BK : e / BM, i = p.alongK ? e / BK : e % BM;
      tileA[k * kPitch + i] = i0 + i < p.M && k0 + k < end ? p.a(batch, i0 + i, k0 + k) : V(0);
    }
    for (int e = t; e < BK * BN; e += kBlock) {
      const int k = e / BN, j = e % BN;
      tileB[e] = j0 + j < p.N && k0 + k < end ? p.b(batch, k0 + k, j0 + j) : V(0);
    }
    __syncthreads();
    for (int k = 0; k < BK; k++) {
      V x[TM], y[TN];
      for (int r = 0; r < TM; r++) x[r] = tileA[k * kPitch + row + r * kRows];
      for (int c = 0; c < TN; c++) y[c] = tileB[k * BN + column + c * kColumns];
      for (int r = 0; r < TM; r++)
        for (int c = 0; c < TN; c++) sum[r][c] = add(sum[r][c], multiply(x[r], y[c]));
    }
    __syncthreads();
  }
  for (int r = 0; r < TM; r++)
    for (int c = 0; c < TN; c++) {
      const int i = i0 + row + r * kRows, j = j0 + column + c * kColumns;
      if (i >= p.M || j >= p.N) continue;
      if (split.parts == 1) p.store(batch, i, j, sum[r][c]);
      else partial[((int64_t(batch) * split.parts + part) * p.M + i) * p.N + j] = sum[r][c];
    }
}

template <typename P>
__global__ void sumParts(P p, int parts, const typename P::Value* partial) {
  const uint32_t e = threadPosition();
  const int batch = int(blockIdx.z), j = int(e % uint32_t(p.N)), i = int(e / uint32_t(p.N));
  if (i >= p.M) return;
  const int64_t size = int64_t(p.M) * p.N;
  auto sum = typename P::Value(0);
  for (int part = 0; part < parts; part++) sum = add(sum, partial[(int64_t(batch) * parts + part) * size + e]);
  p.store(batch, i, j, sum);
}

template <typename P, int BM, int BN, int BK, int TM, int TN>
void launchGemm(const P& p, Split split) {
  using V = typename P::Value;
  const int64_t results = int64_t(p.batches) * split.parts * p.M * p.N;
  const Temporary memory(split.parts > 1 ? results * int64_t(sizeof(V)) : 1);
  const size_t shared = (BK * (BM + 1) + BK * BN) * sizeof(V);
  // More batches than a grid has planes go in several launches.
  const int most = std::max(1, 65535 / split.parts);
  for (int first = 0; first < p.batches; first += most) {
    P some = p;
    some.first += first;
    some.batches = std::min(most, p.batches - first);
    const dim3 grid(blocksFor(p.N, BN) * blocksFor(p.M, BM), 1, unsigned(some.batches * split.parts));
    V* const partial = memory.get<V>() + (split.parts > 1 ? int64_t(first) * split.parts * p.M * p.N : 0);
    LAUNCH((gemmKernel<P, BM, BN, BK, TM, TN>), grid, (BM / TM) * (BN / TN), shared, some, split, partial);
    if (split.parts > 1)
      LAUNCH(sumParts<P>, dim3(blocksFor(int64_t(p.M) * p.N), 1, unsigned(some.batches)), kThreads, 0, some, split.parts,
             static_cast<const V*>(partial));
  }
}

// Of how many parts K is made depends on shapes and the GPU alone.
inline Split splitFor(int64_t blocks, int64_t K, int64_t step) {
  const int64_t room = 2 * properties().processors / std::max<int64_t>(1, blocks);
  const int64_t parts = std::max<int64_t>(1, std::min({room, K / (8 * step), int64_t(64)}));
  const int64_t length = ceilDiv(ceilDiv(K, parts), step) * step;
  return {int(std::max<int64_t>(1, ceilDiv(K, std::max<int64_t>(1, length)))), int(std::max<int64_t>(1, length))};
}

template <typename P>
void gemm(const P& p) {
  if (p.M == 0 || p.N == 0 || p.batches == 0) return;
  const auto blocks = [&](int m, int n) { return int64_t(p.batches) * blocksFor(p.M, m) * blocksFor(p.N, n); };
  if (p.M <= 16 || p.N <= 16 || blocks(64, 64) < properties().processors) {
    launchGemm<P, 16, 32, 16, 2, 2>(p, splitFor(blocks(16, 32), p.K, 16));
  } else {
    launchGemm<P, 64, 64, 16, 4, 4>(p, splitFor(blocks(64, 64), p.K, 16));
  }
}

}  // namespace cuda
}  // namespace nabla

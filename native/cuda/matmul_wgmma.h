// Products on the tensor cores of sm_90 by wgmma, from tiles that TMA brings: float16 and bfloat16 always, float32 as TF32
// where NABLA_CUDA_TF32 asks for it; NABLA_CUDA_WGMMA=0 leaves them to mma.sync. Both give false when the shapes, the dtype,
// the alignment or the GPU are not for them.
#pragma once
#include <cstdint>

#include "../graph/kernel.h"

namespace nabla {
namespace cuda {

struct ElementwiseArgs;

bool wgmmaProduct(const View& c, const View& a, const View& b);
bool wgmmaThrough(const ElementwiseArgs& program, const View& a, const View& b);

// A factor as TMA reads it, and the boxes that a tile is made of: the arguments of cuTensorMapEncodeTiled. Dimension 0 is
// the one that is contiguous in memory, 2 the batch.
struct TileMap {
  uint64_t size[3];
  uint64_t stride[2];  // bytes, of dimensions 1 and 2
  uint32_t box[3];
  bool side;     // k is dimension 1
  bool batched;  // or the same matrix for every batch
};
constexpr int kSwizzle = 128;  // bytes of a row of a box

// For a factor [batch, …] that is summed over dimension `k`, in tiles of `width`; false when TMA cannot read it so.
bool tileMap(const View& v, int k, int width, TileMap& to);

// Which tile of a product is number `tile`: groups of eight rows of tiles, column by column, so that blocks that run at the
// same time share what they read in the L2 cache.
struct TilePlace {
  int batch, row, column;
};
#if defined(__CUDACC__)
__host__ __device__
#endif
inline TilePlace tilePlace(int tile, int rows, int columns) {
  constexpr int kGroup = 8;
  const int inBatch = tile % (rows * columns), first = inBatch / (kGroup * columns) * kGroup;
  const int left = rows - first, here = left < kGroup ? left : kGroup, at = inBatch - first * columns;
  return {tile / (rows * columns), first + at % here, at / here};
}

}  // namespace cuda
}  // namespace nabla

// The twins of what only sm_90 has (../hopper.cuh): tensor maps, copies that arrive when they like, barriers that count
// their bytes, products that are done when they are waited for.
#pragma once
#include <cstdint>
#include <functional>

#include "shim.h"

enum CUresult { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1 };
enum CUtensorMapDataType {
  CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6,
  CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9,
  CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 = 11,
};
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE = 0 };
enum CUtensorMapSwizzle { CU_TENSOR_MAP_SWIZZLE_128B = 3 };
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3 };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0 };
using cuuint32_t = uint32_t;
using cuuint64_t = uint64_t;
struct alignas(64) CUtensorMap {
  cuuint64_t opaque[16];
};
CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address,
                                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t* steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill);

namespace shim {

uint32_t sharedAddress(const void* p);

void barrierInit(uint32_t barrier, uint32_t count);
void barrierArrive(uint32_t barrier, uint32_t bytes);
void barrierWait(uint32_t barrier, uint32_t parity);

void copyTile(uint32_t to, const CUtensorMap* map, int x, int y, int z, uint32_t barrier);

// A product of two factors in shared memory.
struct Factors {
  uint64_t a, b;  // matrix descriptors
  bool sideA, sideB;
  int size, depth, N;  // bytes of an element; elements along k
  bool add;
  float (*value)(const void*);
};
void wgmmaFence();
void wgmma(const Factors& factors, float* results);
void wgmmaCommit();
void wgmmaWait(int groups);

}  // namespace shim

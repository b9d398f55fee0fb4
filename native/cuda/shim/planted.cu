// Kernels with the mistakes that the shim must show; test/cuda/shim.test.ts.
#include "planted.h"

#include "../hopper.cuh"

namespace shim {

using namespace nabla::cuda;

namespace {

constexpr int kThreads = 64;

// Reverses an array through shared memory; without the barrier a thread may read before another has written.
__global__ void reversed(int* x, bool barrier) {
  DYN_SHARED(int, memory);
  const int t = int(threadIdx.x);
  memory[t] = x[t];
  if (barrier) __syncthreads();
  x[t] = memory[kThreads - 1 - t];
}
// A barrier that some threads do not come to.
__global__ void leaving(int* x) {
  if (threadIdx.x >= kThreads / 2) return;
  __syncthreads();
  x[threadIdx.x] = 1;
}
// A warp function that some threads of the warp do not come to.
__global__ void leavingWarp(int* x) {
  if (threadIdx.x % 32 == 0) return;
  x[threadIdx.x] = __shfl_xor_sync(~0u, int(threadIdx.x), 1);
}
__global__ void beyondBuffer(int* x, int n) { x[threadIdx.x] = n; }
__global__ void beyondShared(int* x) {
  DYN_SHARED(int, memory);
  memory[threadIdx.x + 1] = 1;
  __syncthreads();
  x[threadIdx.x] = memory[threadIdx.x];
}
// The sum of a warp by shuffles, as it should be.
__global__ void summed(int* x) {
  int sum = x[threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  x[threadIdx.x] = sum;
}

// A tile [64, 32] of floats 0, 1, … by TMA, of which x gets the first row of the second group of eight, 256 and on; the
// mistakes: not waiting for the copy, announcing too few bytes.
__global__ void copied(int* x, const __grid_constant__ CUtensorMap map, bool wait, unsigned bytes) {
  DYN_SHARED(unsigned char, memory);
  const uint32_t begin = sharedAddress(memory), tile = (begin + 1023) / 1024 * 1024, barrier = tile + 8192;
  if (threadIdx.x == 0) {
    barrierInit(barrier, 1);
    barrierFence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    barrierArrive(barrier, bytes);
    copyTile(tile, &map, 0, 0, 0, barrier);
  }
  if (wait) barrierWait(barrier, 0);
  const float* const row = reinterpret_cast<const float*>(memory + (tile - begin) + 1024);
  const float first = threadIdx.x < 32 ? row[threadIdx.x] : 0;
  __syncthreads();
  barrierWait(barrier, 0);
  x[threadIdx.x] = threadIdx.x < 32 ? int(first) : 0;
}

CUtensorMap mapOf(float* data) {
  CUtensorMap map;
  const cuuint64_t sizes[3] = {32, 64, 1}, strides[2] = {128, 8192};
  const cuuint32_t box[3] = {32, 64, 1}, steps[3] = {1, 1, 1};
  cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 3, data, sizes, strides, box, steps,
                         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                         CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return map;
}

}  // namespace

std::string planted(const std::string& name) {
  int* x = nullptr;
  float* numbers = nullptr;
  cudaMalloc(reinterpret_cast<void**>(&numbers), 2048 * sizeof(float));
  cudaMalloc(reinterpret_cast<void**>(&x), kThreads * sizeof(int));
  for (int i = 0; i < kThreads; i++) x[i] = i;
  const size_t bytes = kThreads * sizeof(int);
  const dim3 one(1), threads(kThreads);
  if (name == "barrier" || name == "missing barrier") LAUNCH(reversed, one, threads, bytes, x, name == "barrier");
  else if (name == "left the block") LAUNCH(leaving, one, threads, 0, x);
  else if (name == "left the warp") LAUNCH(leavingWarp, one, threads, 0, x);
  else if (name == "beyond the buffer") LAUNCH(beyondBuffer, one, dim3(kThreads + 1), 0, x, 1);
  else if (name == "beyond shared memory") LAUNCH(beyondShared, one, threads, bytes, x);
  else if (name == "too large") LAUNCH(summed, one, dim3(2048), 0, x);
  else if (name == "copied" || name == "no wait for a copy" || name == "too few bytes") {
    for (int i = 0; i < 2048; i++) numbers[i] = float(i);
    LAUNCH(copied, one, threads, 1024 + 8192 + 8, x, mapOf(numbers), name != "no wait for a copy", name == "too few bytes" ? 4096 : 8192);
  } else LAUNCH(summed, one, threads, 0, x);
  checkGuards(name.c_str());
  std::string result;
  if (lastFault() != cudaSuccess) {
    result = cudaGetErrorString(lastFault());
  } else if (name == "copied" || name == "no wait for a copy") {
    for (int i = 0; i < 32; i++)
      if (x[i] != 256 + i) result = "wrong";
  } else if (name == "shuffles") {
    for (int i = 0; i < kThreads; i++)
      if (x[i] != (i < 32 ? 496 : 1520)) result = "wrong";
  } else {
    for (int i = 0; i < kThreads; i++)
      if (x[i] != kThreads - 1 - i) result = "wrong";
  }
  cudaFree(x);
  cudaFree(numbers);
  lastFault();
  cudaGetErrorString(cudaErrorLaunchFailure);  // and nothing is left behind
  return result;
}

}  // namespace shim

// Kernels with the mistakes that the shim must show; test/cuda/shim.test.ts.
#include "planted.h"

#include "../launch.h"

namespace shim {

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

}  // namespace

std::string planted(const std::string& name) {
  int* x = nullptr;
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
  else LAUNCH(summed, one, threads, 0, x);
  checkGuards(name.c_str());
  std::string result;
  if (lastFault() != cudaSuccess) {
    result = cudaGetErrorString(lastFault());
  } else if (name == "shuffles") {
    for (int i = 0; i < kThreads; i++)
      if (x[i] != (i < 32 ? 496 : 1520)) result = "wrong";
  } else {
    for (int i = 0; i < kThreads; i++)
      if (x[i] != kThreads - 1 - i) result = "wrong";
  }
  cudaFree(x);
  lastFault();
  cudaGetErrorString(cudaErrorLaunchFailure);  // and nothing is left behind
  return result;
}

}  // namespace shim

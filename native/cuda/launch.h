// The two macros through which every kernel is launched and gets its dynamic shared memory. With nvcc they are CUDA; with
// a C++ compiler the same sources run on the CPU, thread by thread (shim/).
//
//   __global__ void scale(float* x, float by, int n) { … }
//   LAUNCH(scale, blocks, threads, bytes, x, 2.0f, n);   // on the stream of the device that is in use
//   LAUNCH((fold<float, 4>), …);                         // a template in parentheses
#pragma once

#if !defined(NABLA_SHIM)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define DYN_SHARED(type, name)                                       \
  extern __shared__ __align__(16) unsigned char nablaSharedBytes[];  \
  type* const name = reinterpret_cast<type*>(nablaSharedBytes)
#define LAUNCH(kernel, grid, block, shared, ...)                                            \
  do {                                                                                      \
    kernel<<<(grid), (block), (shared), ::nabla::cuda::stream()>>>(__VA_ARGS__);            \
    ::nabla::cuda::check(cudaGetLastError(), #kernel);                                      \
  } while (false)
#else
#include "shim/shim.h"

#define DEVICE inline
#define UNROLL
#define ROLLED
#define DYN_SHARED(type, name) type* const name = static_cast<type*>(::shim::dynamicShared())
#define LAUNCH(kernel, grid, block, shared, ...) \
  ::shim::launchKernel(#kernel, (grid), (block), (shared), kernel, __VA_ARGS__)
#endif

namespace nabla {
namespace cuda {

cudaStream_t stream();                            // of the device in use on this thread
void check(cudaError_t status, const char* what);  // throws an Error that names what failed

}  // namespace cuda
}  // namespace nabla

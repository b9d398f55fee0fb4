// CUDA's kernel language for a C++ compiler, to run kernels on the CPU: the blocks of a grid one after the other, the
// threads of a block as fibres that change at barriers and warp functions. Which thread goes first is settable, so that
// a missing barrier shows; memory has guard bytes, so that a write beyond it does (shim.cc). What it cannot show: races
// between blocks and clusters. Units that only sm_90 has: hopper.h.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __grid_constant__
#define __syncthreads() ::shim::barrier()
#define __syncwarp(...) ::shim::warpBarrier()

namespace shim {

// What runs now on this thread of the host.
struct State {
  dim3 thread, block, blockSize, gridSize;
};
extern thread_local State state;

// Runs the body for every thread of the grid, or, while the stream is captured, appends that to the graph.
void launch(const char* name, dim3 grid, dim3 block, size_t shared, std::function<void()> body);
template <typename T>
struct Same {
  using type = T;
};
template <typename... P>
void launchKernel(const char* name, dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), typename Same<P>::type... arguments) {
  launch(name, grid, block, shared, [=] { kernel(arguments...); });
}
std::string launched();  // the names of the kernels that ran since it was last asked, a line each
void barrier();
void warpBarrier();
void* dynamicShared();
// Of the calling thread's warp: gives `value` and takes that of `lane`. All its threads must come.
uint64_t exchange(uint64_t value, int lane);
// And takes six registers of all of its lanes at once.
void gather(const uint32_t (&own)[6], uint32_t (&all)[6][32]);
unsigned laneId();

template <typename T>
T shuffle(T value, int lane) {
  static_assert(sizeof(T) <= 8, "one register, or two");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(bits, lane);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace shim

#define threadIdx (::shim::state.thread)
#define blockIdx (::shim::state.block)
#define blockDim (::shim::state.blockSize)
#define gridDim (::shim::state.gridSize)

template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  return shim::shuffle(value, lane & 31);
}
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return shim::shuffle(value, int(shim::laneId()) ^ mask);
}
template <typename T>
T __shfl_down_sync(unsigned, T value, int by) {
  const int lane = int(shim::laneId()) + by;
  return shim::shuffle(value, lane < 32 ? lane : int(shim::laneId()));
}
template <typename T>
T __shfl_up_sync(unsigned, T value, int by) {
  const int lane = int(shim::laneId()) - by;
  return shim::shuffle(value, lane >= 0 ? lane : int(shim::laneId()));
}
inline unsigned __ballot_sync(unsigned, bool predicate) {
  unsigned mask = 0;
  for (int lane = 0; lane < 32; lane++) mask |= unsigned(shim::shuffle(int(predicate), lane) != 0) << lane;
  return mask;
}

// One thread at a time runs: plain arithmetic is atomic.
template <typename T>
T atomicAdd(T* to, T value) {
  const T old = *to;
  *to = T(old + value);
  return old;
}
template <typename T>
T atomicCAS(T* to, T expected, T value) {
  const T old = *to;
  if (old == expected) *to = value;
  return old;
}
template <typename T>
T atomicMin(T* to, T value) {
  const T old = *to;
  if (value < old) *to = value;
  return old;
}
template <typename T>
T atomicMax(T* to, T value) {
  const T old = *to;
  if (value > old) *to = value;
  return old;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }

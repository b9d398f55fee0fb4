// What only sm_90 has: bulk copies of tiles that a tensor map describes (TMA), barriers in shared memory that count their
// bytes, and products of whole tiles in shared memory by four warps (wgmma). With twins for the shim (shim/hopper.cc).
// PTX ISA 8.0: "cp.async.bulk.tensor", "mbarrier", "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions".
#pragma once
#include "mma.cuh"
#if !defined(NABLA_SHIM)
#include <cuda.h>
#else
#include "shim/hopper.h"
#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define NABLA_HOPPER 1
#endif

namespace nabla {
namespace cuda {

// ---- shared memory as 32-bit addresses

DEVICE uint32_t sharedAddress(const void* p) {
#if defined(NABLA_SHIM)
  return shim::sharedAddress(p);
#else
  return uint32_t(__cvta_generic_to_shared(p));
#endif
}

// ---- barriers: a phase is over when as many threads as `count` have arrived and all bytes that were announced are there

DEVICE void barrierInit(uint32_t barrier, uint32_t count) {
#if defined(NABLA_SHIM)
  shim::barrierInit(barrier, count);
#elif defined(NABLA_HOPPER)
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
#else
  (void)barrier, (void)count;
#endif
}
// After barrierInit: for the unit that copies to see it.
DEVICE void barrierFence() {
#if defined(NABLA_HOPPER)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
DEVICE void barrierArrive(uint32_t barrier) {
#if defined(NABLA_SHIM)
  shim::barrierArrive(barrier, 0);
#elif defined(NABLA_HOPPER)
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
#else
  (void)barrier;
#endif
}
// And announces bytes.
DEVICE void barrierArrive(uint32_t barrier, uint32_t bytes) {
#if defined(NABLA_SHIM)
  shim::barrierArrive(barrier, bytes);
#elif defined(NABLA_HOPPER)
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
#else
  (void)barrier, (void)bytes;
#endif
}
// Waits for the end of the phase of this parity; phases begin with 0, and that before the first (1) is over.
DEVICE void barrierWait(uint32_t barrier, uint32_t parity) {
#if defined(NABLA_SHIM)
  shim::barrierWait(barrier, parity);
#elif defined(NABLA_HOPPER)
  uint32_t over;
  do {
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }"
        : "=r"(over)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (!over);
#else
  (void)barrier, (void)parity;
#endif
}

// ---- copies

// Brings the box of a tensor map at (x, y, z) to shared memory and tells the barrier. What lies outside is 0.
DEVICE void copyTile(uint32_t to, const CUtensorMap* map, int x, int y, int z, uint32_t barrier) {
#if defined(NABLA_SHIM)
  shim::copyTile(to, map, x, y, z, barrier);
#elif defined(NABLA_HOPPER)
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(to),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier)
      : "memory");
#else
  (void)to, (void)map, (void)x, (void)y, (void)z, (void)barrier;
#endif
}

// ---- registers move from the warps that copy to those that multiply

template <int count>
DEVICE void giveRegisters() {
#if defined(NABLA_HOPPER)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
#endif
}
template <int count>
DEVICE void takeRegisters() {
#if defined(NABLA_HOPPER)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
#endif
}

// ---- wgmma

// Where a factor of a product lies: tiles with the swizzle of 128 bytes, in groups of eight rows of 128 bytes. `stride`
// bytes lead from group to group, across (k inside) or along k (k outside); `lead` bytes, with k outside, from one 128
// bytes of a row to the next. PTX ISA, "Matrix Descriptor Format".
DEVICE uint64_t matrixDescriptor(uint32_t address, uint32_t lead, uint32_t stride) {
  const auto encode = [](uint32_t x) { return uint64_t((x & 0x3FFFF) >> 4); };
  return encode(address) | encode(lead) << 16 | encode(stride) << 32 | uint64_t(1) << 62;
}

// What was written to registers and shared memory before is there for the products that follow.
DEVICE void wgmmaFence() {
#if defined(NABLA_SHIM)
  shim::wgmmaFence();
#elif defined(NABLA_HOPPER)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
DEVICE void wgmmaCommit() {
#if defined(NABLA_SHIM)
  shim::wgmmaCommit();
#elif defined(NABLA_HOPPER)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Until at most so many of the groups that were committed are under way.
template <int groups>
DEVICE void wgmmaWait() {
#if defined(NABLA_SHIM)
  shim::wgmmaWait(groups);
#elif defined(NABLA_HOPPER)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
#endif
}
// For the compiler: these registers change here.
template <int N>
DEVICE void touch(float (&d)[N]) {
#if defined(NABLA_HOPPER)
  UNROLL
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
#else
  (void)d;
#endif
}

#define NABLA_D8(o) "+f"(d[o]), "+f"(d[o + 1]), "+f"(d[o + 2]), "+f"(d[o + 3]), "+f"(d[o + 4]), "+f"(d[o + 5]), "+f"(d[o + 6]), "+f"(d[o + 7])
#define NABLA_D32(o) NABLA_D8(o), NABLA_D8(o + 8), NABLA_D8(o + 16), NABLA_D8(o + 24)
#define NABLA_REGISTERS64 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"  \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"  \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"  \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define NABLA_REGISTERS128 \
  NABLA_REGISTERS64 "," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"  \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"  \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"  \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define NABLA_WGMMA(shape, list, a, b, scale, rest) \
  "{ .reg .pred p; setp.ne.b32 p, " scale ", 0; wgmma.mma_async.sync.aligned." shape " {" list "}, " a ", " b ", p, 1, 1" rest "; }"

// d (+)= A·B with A [64, K] and B [K, N] in shared memory, K · sizeof(T) = 32 bytes; d is not added to where `add` is 0.
// A thread's results are those of mma.sync (mma.cuh) for the 16 rows of its warp, from fragment to fragment of 8 columns.
// sideA, sideB: k lies outside, which only 16-bit factors may have.
template <typename T, bool sideA, bool sideB, int N>
DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, int add) {
  static_assert(N == 128 || N == 256, "the shapes that are written here");
  static_assert(sizeof(T) == 2 || (!sideA && !sideB), "float32 with k inside only");
#if defined(NABLA_SHIM)
  shim::Factors f = {a, b, sideA, sideB, int(sizeof(T)), 32 / int(sizeof(T)), N, add != 0,
                     [](const void* x) { return valueOf(*static_cast<const T*>(x)); }};
  shim::wgmma(f, d);
#elif defined(NABLA_HOPPER)
  if constexpr (N == 128 && std::is_same<T, Half>::value) {
    asm volatile(NABLA_WGMMA("m64n128k16.f32.f16.f16", NABLA_REGISTERS64, "%64", "%65", "%66", ", %67, %68")
                 : NABLA_D32(0), NABLA_D32(32)
                 : "l"(a), "l"(b), "r"(add), "n"(int(sideA)), "n"(int(sideB)));
  } else if constexpr (N == 128 && std::is_same<T, BFloat>::value) {
    asm volatile(NABLA_WGMMA("m64n128k16.f32.bf16.bf16", NABLA_REGISTERS64, "%64", "%65", "%66", ", %67, %68")
                 : NABLA_D32(0), NABLA_D32(32)
                 : "l"(a), "l"(b), "r"(add), "n"(int(sideA)), "n"(int(sideB)));
  } else if constexpr (N == 128 && std::is_same<T, float>::value) {
    asm volatile(NABLA_WGMMA("m64n128k8.f32.tf32.tf32", NABLA_REGISTERS64, "%64", "%65", "%66", "")
                 : NABLA_D32(0), NABLA_D32(32)
                 : "l"(a), "l"(b), "r"(add));
  } else if constexpr (N == 256 && std::is_same<T, Half>::value) {
    asm volatile(NABLA_WGMMA("m64n256k16.f32.f16.f16", NABLA_REGISTERS128, "%128", "%129", "%130", ", %131, %132")
                 : NABLA_D32(0), NABLA_D32(32), NABLA_D32(64), NABLA_D32(96)
                 : "l"(a), "l"(b), "r"(add), "n"(int(sideA)), "n"(int(sideB)));
  } else if constexpr (N == 256 && std::is_same<T, BFloat>::value) {
    asm volatile(NABLA_WGMMA("m64n256k16.f32.bf16.bf16", NABLA_REGISTERS128, "%128", "%129", "%130", ", %131, %132")
                 : NABLA_D32(0), NABLA_D32(32), NABLA_D32(64), NABLA_D32(96)
                 : "l"(a), "l"(b), "r"(add), "n"(int(sideA)), "n"(int(sideB)));
  } else if constexpr (N == 256 && std::is_same<T, float>::value) {
    asm volatile(NABLA_WGMMA("m64n256k8.f32.tf32.tf32", NABLA_REGISTERS128, "%128", "%129", "%130", "")
                 : NABLA_D32(0), NABLA_D32(32), NABLA_D32(64), NABLA_D32(96)
                 : "l"(a), "l"(b), "r"(add));
  }
#else
  (void)d, (void)a, (void)b, (void)add;
#endif
}

#undef NABLA_D8
#undef NABLA_D32
#undef NABLA_REGISTERS64
#undef NABLA_REGISTERS128
#undef NABLA_WGMMA

}  // namespace cuda
}  // namespace nabla

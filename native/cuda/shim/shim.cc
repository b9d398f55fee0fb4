// Blocks and fibres. A fibre that never waits leaves its stack to the next one, so a kernel without barriers costs little
// more than a loop.
#include "shim.h"

#include "hopper.h"
#include "machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace shim {

thread_local State state;

namespace {

constexpr size_t kStack = 128 << 10;
constexpr size_t kShared = 228 << 10, kGuard = 256;  // dynamic shared memory; what lies behind it
constexpr uint32_t kSharedBase = 1040;  // where it seems to begin: not at a multiple of what a swizzle needs
constexpr unsigned char kUnset = 0xFF, kGuardByte = 0xA5;

// Changing stacks.
#if defined(__x86_64__)
using Context = void*;  // the stack pointer, the callee's registers above it
extern "C" void nablaShimSwitch(Context* from, Context to);
__asm__(R"(
.text
.p2align 4
.type nablaShimSwitch, @function
nablaShimSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size nablaShimSwitch, .-nablaShimSwitch
)");
void change(Context& from, Context& to) { nablaShimSwitch(&from, to); }
void prepare(Context& context, char* stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + kStack) - 2;
  *top = reinterpret_cast<void*>(entry);  // 16 bytes below the aligned end: as after a call
  for (int i = 0; i < 6; i++) *--top = nullptr;
  context = top;
}
#else
using Context = ucontext_t;
void change(Context& from, Context& to) { swapcontext(&from, &to); }
void prepare(Context& context, char* stack, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}
#endif

enum class Wait { ready, block, warp, barrier, done };  // for what

struct Fibre {
  Context context;
  char* stack = nullptr;
  Wait wait = Wait::ready;
  unsigned exchanges = 0;
  uint32_t barrier = 0, parity = 0;  // that it waits for
};

// One thread of the host that runs kernels.
struct Machine {
  std::vector<Fibre> fibres;
  std::vector<char*> stacks;   // free ones
  std::vector<unsigned> sequence;
  std::vector<uint64_t> slots;  // two for every thread, in turns: none is overwritten before all have read
  std::vector<uint32_t> registers;  // the same, of gather
  std::vector<unsigned> arrived;  // by warp
  Context scheduler;
  unsigned current = 0, threads = 0;
  const std::function<void()>* body = nullptr;
  std::vector<unsigned char> shared;
  uint64_t seed = 0x9E3779B97F4A7C15u;

  ~Machine() {
    for (char* stack : stacks) munmap(stack, kStack);
  }
  uint64_t next() {  // xorshift64
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
  }
};
thread_local Machine machine;

std::mutex namesMutex;
std::string names;  // of the kernels that ran

void enter() {
  Machine& m = machine;
  (*m.body)();
  m.fibres[m.current].wait = Wait::done;
  change(m.fibres[m.current].context, m.scheduler);
}

void pause(Wait wait) {
  Machine& m = machine;
  Fibre& fibre = m.fibres[m.current];
  fibre.wait = wait;
  const unsigned self = m.current;
  change(fibre.context, m.scheduler);
  m.current = self;
}

void resume(unsigned t) {
  Machine& m = machine;
  Fibre& fibre = m.fibres[t];
  if (!fibre.stack) {
    if (m.stacks.empty()) {
      void* const stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (stack == MAP_FAILED) std::abort();
      m.stacks.push_back(static_cast<char*>(stack));
    }
    fibre.stack = m.stacks.back();
    m.stacks.pop_back();
    prepare(fibre.context, fibre.stack, enter);
  }
  m.current = t;
  state.thread = {t % state.blockSize.x, t / state.blockSize.x % state.blockSize.y,
                  t / (state.blockSize.x * state.blockSize.y)};
  change(m.scheduler, fibre.context);
  if (fibre.wait == Wait::done) {
    m.stacks.push_back(fibre.stack);
    fibre.stack = nullptr;
  }
}

// Lets go the warps all of whose threads wait in a warp function.
void releaseWarps(const char* name) {
  Machine& m = machine;
  for (unsigned first = 0; first < m.threads; first += 32) {
    const unsigned end = first + 32 < m.threads ? first + 32 : m.threads;
    unsigned waiting = 0, gone = 0;
    for (unsigned t = first; t < end; t++) {
      waiting += m.fibres[t].wait == Wait::warp;
      gone += m.fibres[t].wait == Wait::done;
    }
    if (waiting == 0) continue;
    if (waiting < end - first) {
      if (gone > 0) fault("%s: threads of a warp have left while others wait for them in a warp function", name);
      if (gone + waiting < end - first) continue;  // some are at the block's barrier
    }
    for (unsigned t = first; t < end; t++)
      if (m.fibres[t].wait == Wait::warp) m.fibres[t].wait = Wait::ready;
  }
}

void runBlock(const char* name) {
  Machine& m = machine;
  for (unsigned t = 0; t < m.threads; t++) {
    m.fibres[t].wait = Wait::ready;
    m.fibres[t].exchanges = 0;
  }
  std::memset(m.shared.data(), kUnset, m.shared.size() - kGuard);
  for (;;) {
    bool any = false;
    unsigned done = 0, blocked = 0, warps = 0;
    if (order() == Order::random)
      while (m.next() % 4 == 0 && deliverCopy()) {
      }
    for (unsigned i = 0; i < m.threads; i++) {
      const unsigned t = m.sequence[i];
      if (m.fibres[t].wait == Wait::barrier && barrierOver(m.fibres[t].barrier, m.fibres[t].parity)) m.fibres[t].wait = Wait::ready;
      if (m.fibres[t].wait == Wait::ready) {
        any = true;
        resume(t);
      }
      done += m.fibres[t].wait == Wait::done;
      blocked += m.fibres[t].wait == Wait::block;
      warps += m.fibres[t].wait == Wait::warp;
    }
    if (done == m.threads) break;
    if (!any) {
      if (deliverCopy()) continue;
      fault("%s: threads wait for each other: at the block's barrier, in a warp function, for a barrier in memory", name);
      for (unsigned t = 0; t < m.threads; t++)
        if (m.fibres[t].wait != Wait::done) m.fibres[t].wait = Wait::ready;
      continue;
    }
    if (warps > 0) releaseWarps(name);
    if (blocked > 0 && blocked + done == m.threads) {
      if (done > 0) fault("%s: threads have left while others wait for them at a barrier", name);
      for (unsigned t = 0; t < m.threads; t++)
        if (m.fibres[t].wait == Wait::block) m.fibres[t].wait = Wait::ready;
    }
  }
  endBlock(name);
  for (size_t i = m.shared.size() - kGuard; i < m.shared.size(); i++)
    if (m.shared[i] != kGuardByte) {
      fault("%s: wrote beyond its dynamic shared memory", name);
      break;
    }
}

void runGrid(const char* name, dim3 grid, dim3 block, size_t shared, const std::function<void()>& body) {
  Machine& m = machine;
  {
    const std::lock_guard<std::mutex> lock(namesMutex);
    if (names.size() < 4096) names += std::string(name) + "\n";
  }
  m.threads = block.x * block.y * block.z;
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  if (m.threads == 0 || m.threads > 1024 || blocks == 0 || grid.y > 65535 || grid.z > 65535 || grid.x > 0x7FFFFFFFu ||
      shared > kShared)
    return fault("%s: a grid of %u × %u × %u blocks of %u threads with %zu bytes cannot be launched", name, grid.x,
                 grid.y, grid.z, m.threads, shared);
  if (m.fibres.size() < m.threads) m.fibres.resize(m.threads);
  m.slots.assign(2 * 1024, 0);
  m.registers.resize(2 * 1024 * 6);
  m.shared.assign(shared + kGuard, kGuardByte);
  m.sequence.resize(m.threads);
  for (unsigned t = 0; t < m.threads; t++) m.sequence[t] = order() == Order::reverse ? m.threads - 1 - t : t;
  m.body = &body;
  state.blockSize = block;
  state.gridSize = grid;
  for (uint64_t b = 0; b < blocks; b++) {
    if (order() == Order::random)
      for (unsigned t = m.threads; t > 1; t--) std::swap(m.sequence[t - 1], m.sequence[m.next() % t]);
    const uint64_t at = order() == Order::reverse ? blocks - 1 - b : b;
    state.block = {unsigned(at % grid.x), unsigned(at / grid.x % grid.y), unsigned(at / grid.x / grid.y)};
    runBlock(name);
  }
}

}  // namespace

std::string launched() {
  const std::lock_guard<std::mutex> lock(namesMutex);
  return std::exchange(names, "");
}

void launch(const char* name, dim3 grid, dim3 block, size_t shared, std::function<void()> body) {
  if (capture([=] { runGrid(name, grid, block, shared, body); })) return;
  runGrid(name, grid, block, shared, body);
}

void barrier() { pause(Wait::block); }
void warpBarrier() { pause(Wait::warp); }
void* dynamicShared() { return machine.shared.data(); }
uint32_t sharedAddress(const void* p) { return kSharedBase + uint32_t(static_cast<const unsigned char*>(p) - machine.shared.data()); }
unsigned char* sharedAt(uint32_t address, size_t bytes) {
  Machine& m = machine;
  const size_t at = size_t(address) - kSharedBase;
  if (address >= kSharedBase && at + bytes <= m.shared.size() - kGuard) return m.shared.data() + at;
  fault("%zu bytes at %zu are not in the dynamic shared memory of %zu", bytes, at, m.shared.size() - kGuard);
  return m.shared.data();
}
unsigned currentThread() { return machine.current; }
void pauseForBarrier(uint32_t barrier, uint32_t parity) {
  Fibre& fibre = machine.fibres[machine.current];
  fibre.barrier = barrier, fibre.parity = parity;
  pause(Wait::barrier);
}
unsigned laneId() { return machine.current % 32; }

uint64_t exchange(uint64_t value, int lane) {
  Machine& m = machine;
  const unsigned self = m.current, warp = self / 32 * 32;
  const unsigned turn = m.fibres[self].exchanges++ & 1;
  m.slots[turn * 1024 + self] = value;
  pause(Wait::warp);
  const unsigned from = warp + unsigned(lane);
  return m.slots[turn * 1024 + (from < m.threads ? from : self)];
}

void gather(const uint32_t (&own)[6], uint32_t (&all)[6][32]) {
  Machine& m = machine;
  const unsigned self = m.current, turn = m.fibres[self].exchanges++ & 1;
  uint32_t* const registers = m.registers.data() + turn * 1024 * 6;
  std::copy(own, own + 6, registers + 6 * self);
  pause(Wait::warp);
  for (unsigned r = 0; r < 6; r++)
    for (unsigned lane = 0; lane < 32; lane++) all[r][lane] = registers[6 * (self / 32 * 32 + lane) + r];
}

}  // namespace shim

// Twins of sm_90's units, by the address rules of the PTX ISA. Copies are as late as they can be with the threads in forward
// order, at once in reverse, at random times in random; products happen when they are waited for. So a wait that is missing
// shows: a tile that is read before it is there, or filled again while it is still needed.
#include "hopper.h"

#include <cstdio>
#include <deque>
#include <vector>

#include "machine.h"

namespace shim {

namespace {

// ---- tensor maps: what the driver checks, and what TMA does with it

struct Tiles {
  const char* data;
  uint64_t size[3], stride[2];
  uint32_t box[3];
  int bytes;  // of an element
  bool rounds;  // to TF32
};
static_assert(sizeof(Tiles) <= sizeof(CUtensorMap), "it is kept in there");

// Bits 4 to 6 of an address change with bits 7 to 9.
uint32_t swizzled(uint32_t address) { return address ^ ((address >> 7 & 7) << 4); }

void roundToTf32(unsigned char* element) {
  uint32_t bits;
  std::memcpy(&bits, element, 4);
  if ((bits & 0x7F800000u) != 0x7F800000u) bits = (bits + 0x1000u) & ~0x1FFFu;
  std::memcpy(element, &bits, 4);
}

// ---- barriers, in their eight bytes

struct Barrier {
  uint64_t count : 20, pending : 20, phase : 1;
  int64_t bytes : 23;
};
static_assert(sizeof(Barrier) == 8, "as mbarrier's");

Barrier& barrierAt(uint32_t address) {
  if (address % 8 != 0) fault("a barrier at %u is not aligned", address);
  return *reinterpret_cast<Barrier*>(sharedAt(address, 8));
}
void finish(Barrier& b) {
  if (b.pending != 0 || b.bytes != 0) return;
  b.phase ^= 1;
  b.pending = b.count;
}

// ---- copies that are under way

struct Copy {
  uint32_t to, barrier;
  Tiles tiles;
  int at[3];
};
thread_local std::deque<Copy> copies;

void arrive(const Copy& c) {
  const Tiles& m = c.tiles;
  const uint32_t row = m.box[0] * uint32_t(m.bytes);
  for (uint32_t y = 0; y < m.box[1]; y++)
    for (uint32_t x = 0; x < m.box[0]; x++) {
      const int64_t i = c.at[0] + int64_t(x), j = c.at[1] + int64_t(y), k = c.at[2];
      unsigned char element[4] = {};
      if (i >= 0 && j >= 0 && k >= 0 && uint64_t(i) < m.size[0] && uint64_t(j) < m.size[1] && uint64_t(k) < m.size[2])
        std::memcpy(element, m.data + i * m.bytes + j * int64_t(m.stride[0]) + k * int64_t(m.stride[1]), size_t(m.bytes));
      if (m.rounds) roundToTf32(element);
      std::memcpy(sharedAt(swizzled(c.to + y * row + x * uint32_t(m.bytes)), size_t(m.bytes)), element, size_t(m.bytes));
    }
  Barrier& b = barrierAt(c.barrier);
  b.bytes -= int64_t(row) * m.box[1];
  finish(b);
}

// ---- products under way, of each thread

struct Product {
  Factors factors;
  float* results;
};
struct Threads {
  std::vector<std::vector<Product>> groups;  // committed, oldest first
  std::vector<Product> open;
  bool fenced = false;
};
thread_local std::vector<Threads> threads;

Threads& self() {
  if (threads.size() < 1024) threads.resize(1024);
  return threads[currentThread()];
}

// Element `at` across and `k` along k of a factor. PTX ISA, "Strides" and "Shared Memory Matrix Layout" for wgmma.
float element(const Factors& f, uint64_t descriptor, bool side, int at, int k) {
  const auto field = [&](int bit) { return uint32_t(descriptor >> bit & 0x3FFF) << 4; };
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) fault("a matrix descriptor without the swizzle of 128 bytes");
  const uint32_t lead = field(16), stride = field(32), across = uint32_t(at), depth = uint32_t(k), size = uint32_t(f.size);
  const uint32_t offset = side ? across * size % 128 + across * size / 128 * lead + depth % 8 * 128 + depth / 8 * stride
                               : across % 8 * 128 + across / 8 * stride + depth * size;
  return f.value(sharedAt(swizzled(field(0) + offset), size));
}

void multiply(const Product& p) {
  const Factors& f = p.factors;
  const int thread = int(currentThread()), lane = thread % 32, g = lane / 4, q = lane % 4, row = thread / 32 % 4 * 16 + g;
  float a[2][16];
  for (int k = 0; k < f.depth; k++)
    for (int half = 0; half < 2; half++) a[half][k] = element(f, f.a, f.sideA, row + 8 * half, k);
  for (int c = 0; c < f.N / 8; c++)
    for (int e = 0; e < 2; e++) {
      float sum[2] = {};
      for (int k = 0; k < f.depth; k++) {
        const float b = element(f, f.b, f.sideB, 8 * c + 2 * q + e, k);
        for (int half = 0; half < 2; half++) sum[half] += a[half][k] * b;
      }
      for (int half = 0; half < 2; half++) {
        float& d = p.results[4 * c + 2 * half + e];
        d = f.add ? d + sum[half] : sum[half];
      }
    }
}

}  // namespace

void barrierInit(uint32_t barrier, uint32_t count) {
  Barrier& b = barrierAt(barrier);
  b.count = b.pending = count;
  b.phase = 0;
  b.bytes = 0;
}
void barrierArrive(uint32_t barrier, uint32_t bytes) {
  Barrier& b = barrierAt(barrier);
  if (b.pending == 0) fault("more threads arrive at a barrier than it was made for");
  b.bytes += bytes;
  b.pending--;
  finish(b);
}
bool barrierOver(uint32_t barrier, uint32_t parity) { return barrierAt(barrier).phase != parity; }
void barrierWait(uint32_t barrier, uint32_t parity) {
  if (!barrierOver(barrier, parity)) pauseForBarrier(barrier, parity);
}

void copyTile(uint32_t to, const CUtensorMap* map, int x, int y, int z, uint32_t barrier) {
  Copy copy = {to, barrier, {}, {x, y, z}};
  std::memcpy(static_cast<void*>(&copy.tiles), map, sizeof copy.tiles);
  if (to % 1024 != 0) fault("a tile at %u: the swizzle of 128 bytes repeats after 1024", to);
  if (order() == Order::reverse) arrive(copy);
  else copies.push_back(copy);
}
bool deliverCopy() {
  if (copies.empty()) return false;
  const Copy copy = copies.front();
  copies.pop_front();
  arrive(copy);
  return true;
}
void endBlock(const char* name) {
  if (!copies.empty()) fault("%s: a block has ended while copies to its memory were under way", name);
  copies.clear();
  for (Threads& t : threads) {
    if (!t.groups.empty() || !t.open.empty()) fault("%s: a thread has ended before its products", name);
    t = Threads();
  }
}

void wgmmaFence() { self().fenced = true; }
void wgmma(const Factors& factors, float* results) {
  Threads& t = self();
  if (!t.fenced) fault("wgmma without a fence before it");
  t.open.push_back({factors, results});
}
void wgmmaCommit() {
  Threads& t = self();
  t.groups.push_back(std::move(t.open));
  t.open.clear();
  t.fenced = false;
}
void wgmmaWait(int groups) {
  Threads& t = self();
  while (int(t.groups.size()) > groups) {
    for (const Product& p : t.groups.front()) multiply(p);
    t.groups.erase(t.groups.begin());
  }
}

}  // namespace shim

using namespace shim;

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address,
                                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t* steps, CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  Tiles tiles = {};
  tiles.data = static_cast<const char*>(address);
  tiles.bytes = type == CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 ? 4 : 2;
  tiles.rounds = type == CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  if (rank != 3 || reinterpret_cast<uintptr_t>(address) % 16 != 0 || swizzle != CU_TENSOR_MAP_SWIZZLE_128B ||
      box[0] * uint32_t(tiles.bytes) != 128 || box[2] != 1)
    return CUDA_ERROR_INVALID_VALUE;
  for (int d = 0; d < 3; d++) {
    if (sizes[d] == 0 || sizes[d] > uint64_t(1) << 32 || box[d] == 0 || box[d] > 256 || steps[d] != 1) return CUDA_ERROR_INVALID_VALUE;
    if (d < 2 && (strides[d] % 16 != 0 || strides[d] >= uint64_t(1) << 40)) return CUDA_ERROR_INVALID_VALUE;
    tiles.size[d] = sizes[d], tiles.box[d] = box[d];
    if (d < 2) tiles.stride[d] = strides[d];
  }
  if (strides[0] < sizes[0] * uint64_t(tiles.bytes)) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(map->opaque, &tiles, sizeof tiles);
  return CUDA_SUCCESS;
}

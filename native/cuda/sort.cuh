// The stable sort that `sort` and the sums over indices share: a bitonic network (Batcher 1968) over pairs of key and place,
// which differ all.
#pragma once
#include "view.cuh"

namespace nabla {
namespace cuda {
namespace {

struct Entry {
  uint64_t key;
  uint64_t place;
};
DEVICE bool after(const Entry& a, const Entry& b) { return a.key != b.key ? a.key > b.key : a.place > b.place; }

// One comparison of the network: elements i and i ^ distance; runs of length 2·`run` ascend and descend in turn.
DEVICE void compare(Entry* e, uint32_t i, uint32_t other, bool ascending) {
  if (after(e[i], e[other]) == ascending) {
    const Entry swapped = e[i];
    e[i] = e[other];
    e[other] = swapped;
  }
}
// The pair that thread t compares.
DEVICE uint32_t lowerOf(uint32_t t, uint32_t distance) { return (t / distance) * 2 * distance + t % distance; }

constexpr uint32_t kTile = 1024;  // entries of a block

// All steps whose distance stays within a tile: from the beginning (run = 0), or the end of one run length.
__global__ void sortTile(Entry* entries, uint32_t padded, uint32_t tile, uint32_t run) {
  DYN_SHARED(Entry, memory);
  const uint32_t t = threadIdx.x, base = blockIdx.x * tile;
  memory[t] = entries[base + t];
  memory[t + tile / 2] = entries[base + t + tile / 2];
  __syncthreads();
  for (uint32_t length = run == 0 ? 2 : run; length <= (run == 0 ? tile : run); length *= 2) {
    for (uint32_t distance = length / 2 < tile / 2 ? length / 2 : tile / 2; distance > 0; distance /= 2) {
      const uint32_t i = lowerOf(t, distance);
      compare(memory, i, i + distance, ((base + i) % padded & length) == 0 || length == padded);
      __syncthreads();
    }
  }
  entries[base + t] = memory[t];
  entries[base + t + tile / 2] = memory[t + tile / 2];
}
__global__ void sortStep(Entry* entries, uint32_t padded, uint32_t length, uint32_t distance, uint32_t pairs) {
  const uint32_t t = threadPosition();
  if (t >= pairs) return;
  const uint32_t i = lowerOf(t, distance);
  compare(entries, i, i + distance, (i % padded & length) == 0 || length == padded);
}

// A network sorts a power of two of entries; those that fill it up have the largest key.
inline int64_t paddedForSort(int64_t n) {
  int64_t padded = 2;
  while (padded < n) padded *= 2;
  return padded;
}

// Sorts each row of `padded` entries.
inline void sortEntries(Entry* entries, uint32_t padded, uint32_t rows) {
  const uint32_t all = padded * rows, tile = std::min(padded, kTile), pairs = all / 2;
  LAUNCH(sortTile, all / tile, tile / 2, tile * sizeof(Entry), entries, padded, tile, 0u);
  for (uint32_t length = 2 * tile; length <= padded; length *= 2) {
    for (uint32_t distance = length / 2; distance >= tile; distance /= 2)
      LAUNCH(sortStep, blocksFor(pairs), kThreads, 0, entries, padded, length, distance, pairs);
    LAUNCH(sortTile, all / tile, tile / 2, tile * sizeof(Entry), entries, padded, tile, length);
  }
}

}  // namespace
}  // namespace cuda
}  // namespace nabla

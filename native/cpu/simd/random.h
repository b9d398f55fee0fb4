// Random numbers made a vector at a time. random.cc is compiled once per instruction set, each time into a namespace of its
// own; this is the table it exports.
#pragma once
#include <cstdint>

namespace nabla {

constexpr int64_t kNormals = 512;  // the most numbers at a time

struct RandomKernels {
  // The standard normal numbers (core/philox.h, bit for bit) of `blocks` Philox blocks from `block` on: two each. y has
  // room for eight more.
  void (*normal)(uint64_t seed, uint64_t block, int64_t blocks, double* y);
};

namespace baseline {
extern const RandomKernels random;
}
namespace avx2 {
extern const RandomKernels random;
}
namespace avx512 {
extern const RandomKernels random;
}

}  // namespace nabla

// Decoding of one instruction (docs/kernels.md, "Encoding"): every word is verified before a kernel sees it.
#pragma once
#include <cstdint>

#include "kernel.h"

namespace nabla {

constexpr int kMaxOutputs = 16;
constexpr int kMaxInputs = 32;
constexpr int kHeaderWords = 5;

// The kernels of ops.def, then the control instructions, in the order of their ids.
enum Control { kAlloc, kFree, kAdopt, kReplay, kControls };
extern const char* const controlNames[kControls];
extern const Kernel kernels[];
extern const int kernelCount;

// What the decoder knows of a slot. Slots that share memory, as those in an arena do, name the same region.
struct Buffer {
  char* data = nullptr;
  int64_t bytes = -1;  // −1: the slot has no buffer
  int64_t base = 0;    // where it begins in its region
  int32_t region = 0;
};

// Where an operand's bytes are.
struct Operand {
  int32_t slot;       // −1: an immediate, a parameter or nothing
  int32_t parameter;  // −1 unless it is one
  int32_t region;     // −1: touches no memory
  int64_t offset;     // of the first element in its buffer, in bytes
  int64_t low, high;  // the bytes touched are in [low, high) of the region
};

// A decoded instruction. Large, so it is kept and used again.
struct Instruction {
  const Kernel* kernel;
  Call call;
  View views[kMaxOutputs + kMaxInputs];  // outputs, then inputs
  Operand operands[kMaxOutputs + kMaxInputs];
  uint64_t inlined[kMaxOutputs + kMaxInputs];  // values of immediates and parameters
};

// Decodes the kernel instruction of words[0, length), whose length word was checked already; throws Error("PROGRAM").
// Slots index `buffers`; parameters are accepted below `parameters`. Ends with the kernel's own check.
void decode(Instruction& to, const int32_t* words, int64_t length, const Buffer* buffers, int32_t slots,
            int32_t parameters);

// Calls visit(slot, isOutput) for each view operand of an instruction that may be malformed, as far as it can be read.
template <typename Visit>
void eachSlot(const int32_t* words, int64_t length, Visit visit) {
  const int64_t nOut = words[2], operands = nOut + words[3];
  if (words[2] < 0 || words[3] < 0 || words[4] < 0) return;
  int64_t at = kHeaderWords + int64_t(words[4]);
  for (int64_t i = 0; i < operands && at < length; i++) {
    const int32_t word = words[at];
    switch (word & 0xFF) {
      case 0:
        if (at + 1 >= length) return;
        visit(words[at + 1], i < nOut);
        at += 3 + 2 * int64_t(uint32_t(word) >> 16);
        break;
      case 1: at += 3; break;
      case 2: at += 2; break;
      default: at += 1;
    }
  }
}

// Writes a number as `dtype`, converted as docs/kernels.md says.
void storeNumber(void* to, DType dtype, double value);

inline int64_t int64Of(const int32_t* words) {
  return int64_t(uint64_t(uint32_t(words[1])) << 32 | uint32_t(words[0]));
}
inline double float64Of(const int32_t* words) {
  const int64_t bits = int64Of(words);
  double value;
  std::memcpy(&value, &bits, 8);
  return value;
}

}  // namespace nabla

// Detection of the instruction set: CPUID and XGETBV (Intel SDM vol. 1, 13.3 and 14.3; vol. 2A, CPUID).
#include "cpu.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__) || defined(_M_X64)
#define NABLA_X86 1
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace nabla {

namespace {

#if defined(NABLA_X86)

struct Registers {
  uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf) {
  Registers r{};
#if defined(_MSC_VER)
  int values[4];
  __cpuidex(values, int(leaf), 0);
  r = {uint32_t(values[0]), uint32_t(values[1]), uint32_t(values[2]), uint32_t(values[3])};
#else
  __cpuid_count(leaf, 0, r.a, r.b, r.c, r.d);
#endif
  return r;
}

uint64_t enabledState() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ __volatile__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
#endif
}

constexpr bool all(uint64_t value, uint64_t bits) { return (value & bits) == bits; }
constexpr uint32_t bit(int i) { return uint32_t(1) << i; }

Isa best() {
  if (cpuid(0).a < 7) return Isa::baseline;
  const Registers one = cpuid(1), seven = cpuid(7);
  if (!all(one.c, bit(27) /* OSXSAVE */ | bit(28) /* AVX */)) return Isa::baseline;
  const uint64_t state = enabledState();
  const bool avx2 = all(state, 0x6 /* XMM, YMM */) && all(one.c, bit(12) /* FMA */ | bit(29) /* F16C */) &&
                    all(seven.b, bit(3) /* BMI1 */ | bit(5) /* AVX2 */ | bit(8) /* BMI2 */);
  if (!avx2) return Isa::baseline;
  const bool avx512 = all(state, 0xE6 /* and opmask, ZMM */) &&
                      all(seven.b, bit(16) /* F */ | bit(17) /* DQ */ | bit(30) /* BW */ | bit(31) /* VL */);
  return avx512 ? Isa::avx512 : Isa::avx2;
}
constexpr Isa levels[] = {Isa::baseline, Isa::avx2, Isa::avx512};

#elif defined(__aarch64__) || defined(_M_ARM64)

Isa best() { return Isa::neon; }  // part of the architecture
constexpr Isa levels[] = {Isa::baseline, Isa::neon};

#else

Isa best() { return Isa::baseline; }
constexpr Isa levels[] = {Isa::baseline};

#endif

Isa choose() {
  const Isa found = best();
  const char* wanted = std::getenv("NABLA_ISA");
  if (!wanted || !*wanted) return found;
  std::string names;
  for (Isa level : levels) {
    if (level > found) break;
    if (std::strcmp(wanted, nameOf(level)) == 0) return level;
    names += std::string(names.empty() ? "" : ", ") + nameOf(level);
  }
  throw std::runtime_error("NABLA_ISA=" + std::string(wanted).substr(0, 40) + ": this CPU has the levels " + names);
}

}  // namespace

const char* nameOf(Isa isa) {
  static constexpr const char* names[] = {"baseline", "neon", "avx2", "avx512"};
  return names[int(isa)];
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

}  // namespace nabla

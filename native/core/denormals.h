// Flush-to-zero within a scope: arithmetic on denormals is up to a hundred times slower, and training meets them
// (moments of parameters that no longer change).
#pragma once
#include <cstdint>

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#define NABLA_FLUSH_X86 1
#elif defined(__aarch64__) && defined(__GNUC__)
#define NABLA_FLUSH_ARM 1
#endif

namespace nabla {

// Results and operands that are denormal count as zero until the guard dies; then the former mode is back.
class FlushDenormals {
 public:
  FlushDenormals() : saved_(get()) { set(saved_ | kFlush); }
  ~FlushDenormals() { set(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(NABLA_FLUSH_X86)
  using Mode = unsigned int;
  static constexpr Mode kFlush = 0x8040;  // MXCSR: FTZ, DAZ
  static Mode get() { return _mm_getcsr(); }
  static void set(Mode mode) { _mm_setcsr(mode); }
#elif defined(NABLA_FLUSH_ARM)
  using Mode = uint64_t;
  static constexpr Mode kFlush = Mode(1) << 24;  // FPCR: FZ
  static Mode get() {
    Mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set(Mode mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }
#else
  using Mode = int;
  static constexpr Mode kFlush = 0;
  static Mode get() { return 0; }
  static void set(Mode) {}
#endif
  Mode saved_;
};

}  // namespace nabla

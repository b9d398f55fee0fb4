// What a product moves: the kernels of the instruction set in use, each thread's memory for packed factors, and elements
// on their way there and back.
#pragma once
#include <cstdlib>
#include <type_traits>

#include "../core/cpu.h"
#include "simd/matmul.h"
#include "values.h"

namespace nabla {
namespace packing {

inline const MatmulIsa& kernelsOfIsa() {
  switch (isa()) {
#if defined(__x86_64__) || defined(_M_X64)
    case Isa::avx512: return avx512::matmul;
    case Isa::avx2: return avx2::matmul;
#elif defined(__aarch64__) || defined(_M_ARM64)
    case Isa::neon: return neon::matmul;
#endif
    default: return baseline::matmul;
  }
}

template <typename T>
const MatmulKernels<T>& kernels() {
  if constexpr (std::is_same_v<T, float>) return *kernelsOfIsa().f32;
  else return *kernelsOfIsa().f64;
}

// Each thread keeps its packing memory: pages are touched once, not in every product.
class Workspace {
 public:
  ~Workspace() { std::free(block); }
  // Null when there is no memory.
  char* get(int64_t bytes) {
    if (bytes > size) {
      std::free(block);
      block = std::malloc(static_cast<size_t>(bytes) + 63);
      size = block ? bytes : 0;
      if (!block) return nullptr;
    }
    return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(block) + 63) & ~uintptr_t(63));
  }

 private:
  void* block = nullptr;
  int64_t size = 0;
};

// n elements of the source, `stride` apart, in the compute type.
template <typename S, typename T>
void widen(int64_t n, const S* src, int64_t stride, T* dst) {
  if constexpr (std::is_same_v<S, Half>) {
    if (stride == 1) return kernelsOfIsa().widenF16(n, &src->bits, dst);
  }
  if (stride == 1) {
    for (int64_t i = 0; i < n; i++) dst[i] = src[i];
  } else {
    for (int64_t i = 0; i < n; i++) dst[i] = src[i * stride];
  }
}

template <typename S, typename T>
void narrow(int64_t n, const T* src, S* dst, int64_t stride, bool accumulate) {
  if (accumulate) {
    for (int64_t i = 0; i < n; i++) dst[i * stride] = convert<S>(T(dst[i * stride]) + src[i]);
    return;
  }
  if constexpr (std::is_same_v<S, Half>) {
    if (stride == 1) return kernelsOfIsa().narrowF16(n, src, &dst->bits);
  }
  for (int64_t i = 0; i < n; i++) dst[i * stride] = convert<S>(src[i]);
}

// `n` stretches of memory, `stride` apart and each `length` long: too far from each other for the hardware to foresee.
template <typename T>
void prefetch(const T* src, int64_t n, int64_t stride, int64_t length) {
#if defined(__GNUC__)
  for (; n > 0; n--, src += stride)
    for (int64_t i = 0; i < length; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(src + i);
#else
  (void)src, (void)n, (void)stride, (void)length;
#endif
}

// dst[k][R] = src[R rows][k]: R rows of a side by side.
template <typename T, int R>
void interleave(int64_t n, const T* src, int64_t row, int64_t col, T* dst) {
  if (row == 1) {
    for (; n > 0; n--, src += col, dst += R)
      for (int i = 0; i < R; i++) dst[i] = src[i];
  } else {
    for (; n > 0; n--, src += col, dst += R)
      for (int i = 0; i < R; i++) dst[i] = src[i * row];
  }
}
template <typename T>
void interleave(int64_t rows, int64_t n, const T* src, int64_t row, int64_t col, T* dst) {
  switch (rows) {
    case 1: return interleave<T, 1>(n, src, row, col, dst);
    case 2: return interleave<T, 2>(n, src, row, col, dst);
    case 3: return interleave<T, 3>(n, src, row, col, dst);
    case 4: return interleave<T, 4>(n, src, row, col, dst);
    case 5: return interleave<T, 5>(n, src, row, col, dst);
    case 6: return interleave<T, 6>(n, src, row, col, dst);
    case 7: return interleave<T, 7>(n, src, row, col, dst);
    case 8: return interleave<T, 8>(n, src, row, col, dst);
    case 9: return interleave<T, 9>(n, src, row, col, dst);
    case 10: return interleave<T, 10>(n, src, row, col, dst);
    case 11: return interleave<T, 11>(n, src, row, col, dst);
    default: return interleave<T, 12>(n, src, row, col, dst);
  }
}

}  // namespace packing
}  // namespace nabla

// The register tiles of simd/conv.h and simd/matmul.h for the instruction set in use, as convolutions call them.
#pragma once
#include "../core/cpu.h"
#include "gemm_packing.h"
#include "simd/conv.h"

namespace nabla {

inline const ConvIsa& convIsa() {
#if defined(__x86_64__) || defined(_M_X64)
  return isa() == Isa::avx512 ? avx512::conv : isa() == Isa::avx2 ? avx2::conv : baseline::conv;
#else
  return baseline::conv;  // on arm64 the baseline has NEON
#endif
}
inline const ConvKernels<float>& kernelsOf(float) { return convIsa().f32; }
inline const ConvKernels<double>& kernelsOf(double) { return convIsa().f64; }

// dst[i·dstRow + j] = src[j·srcCol + i]
template <typename T>
void transposeBlock(int64_t rows, int64_t cols, const T* src, int64_t srcCol, T* dst, int64_t dstRow) {
  packing::kernels<T>().transpose(rows, cols, src, srcCol, dst, dstRow);
}

}  // namespace nabla

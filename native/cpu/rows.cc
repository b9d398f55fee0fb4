// Chooses the row kernels of the instruction set in use.
#include "rows.h"

#include "../core/cpu.h"

namespace nabla {

const RowKernels& rowKernels() {
#if defined(__x86_64__) || defined(_M_X64)
  static const RowKernels& kernels = isa() == Isa::avx512 ? avx512::rows : isa() == Isa::avx2 ? avx2::rows : baseline::rows;
  return kernels;
#else
  return baseline::rows;  // on arm64 the baseline has NEON
#endif
}

}  // namespace nabla

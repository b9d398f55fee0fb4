// The instruction set that kernels are chosen by, found at run time.
#pragma once

namespace nabla {

// In ascending order within an architecture. `avx2` stands for AVX2, FMA, F16C and BMI2; `avx512` for those and
// AVX-512 F, DQ, BW and VL.
enum class Isa { baseline, neon, avx2, avx512 };

const char* nameOf(Isa isa);

// The best level of this CPU, or the lower one that NABLA_ISA names. Throws std::runtime_error when NABLA_ISA is not a
// level of this CPU; the addon calls it when it is loaded, so that kernels may call it without care.
Isa isa();

}  // namespace nabla

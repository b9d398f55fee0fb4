// NVIDIA's library for products, where a machine has it and NABLA_CUDA_CUBLAS=1 asks for it: to compare with, or for who
// knows it to be faster. Found by dlopen (NABLA_CUBLAS_PATH, or libcublasLt.so where the system looks); never needed.
#pragma once
#include "../graph/kernel.h"

namespace nabla {
namespace cuda {

// c = a·b; false when it is not asked for, or does not take these strides or dtypes. An Error when it is asked for and is
// not there.
bool cublasProduct(const View& c, const View& a, const View& b);

}  // namespace cuda
}  // namespace nabla

// Batched matrix products of any strides and dtypes.
#include "matmul.h"

#include "cublaslt.h"
#include "gemm.cuh"
#include "matmul_mma.h"
#include "matmul_simt.h"
#include "matmul_wgmma.h"

namespace nabla {
namespace cuda {
namespace {

struct Matrix {
  Data data;
  int64_t batch, row, column;
  explicit Matrix(const View& v) : data(v), batch(v.strides[0]), row(v.strides[1]), column(v.strides[2]) {}
  DEVICE int64_t at(int b, int i, int j) const { return b * batch + i * row + j * column; }
};

template <typename V>
struct Product {
  using Value = V;
  int M, N, K, batches, first;
  bool alongK;
  Matrix x, y, z;
  DEVICE V a(int n, int i, int k) const { return x.data.template load<V>(x.at(first + n, i, k)); }
  DEVICE V b(int n, int k, int j) const { return y.data.template load<V>(y.at(first + n, k, j)); }
  DEVICE void store(int n, int i, int j, V v) const { z.data.store(z.at(first + n, i, j), v); }
};

}  // namespace

// From the fastest kernel that takes these shapes to the one that takes all.
void product(const View& c, const View& a, const View& b) {
  if (c.numel() == 0) return;
  if (cublasProduct(c, a, b) || wgmmaProduct(c, a, b) || mmaProduct(c, a, b)) return;
  if (c.dtype == DType::f32 && simtProduct(c, a, b)) return;
  withCompute(c.dtype, [&](auto tag) {
    using V = TypeOf<decltype(tag)>;
    gemm(Product<V>{c.shape[1], c.shape[2], a.shape[2], c.shape[0], 0, std::abs(a.strides[2]) <= std::abs(a.strides[1]),
                    Matrix(a), Matrix(b), Matrix(c)});
  });
}

bool productThrough(const ElementwiseArgs& program, const View& a, const View& b) {
  return wgmmaThrough(program, a, b) || mmaThrough(program, a, b) || simtThrough(program, a, b);
}

}  // namespace cuda

void run_matmul(const Call& call) { cuda::product(call.out[0], call.in[0], call.in[1]); }

}  // namespace nabla

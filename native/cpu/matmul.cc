// The kernel `matmul`: floats go to gemm, integers and bools through a plain blocked loop.
#include <algorithm>
#include <type_traits>

#include "gemm.h"
#include "layout.h"
#include "values.h"

namespace nabla {
namespace {

// An element of an integer product: sums wrap, so they are formed in unsigned arithmetic. For bool, + is or and · is
// and.
template <typename T>
struct Integer {
  using Sum = std::make_unsigned_t<T>;
  static void addScaled(int64_t n, Sum x, const Sum* b, Sum* sums) {
    if constexpr (sizeof(Sum) == 1) {
      for (int64_t j = 0; j < n; j++) sums[j] = Sum(sums[j] + unsigned(x) * b[j]);
    } else {
      for (int64_t j = 0; j < n; j++) sums[j] += x * b[j];
    }
  }
};
template <>
struct Integer<Bool> {
  using Sum = uint8_t;
  static void addScaled(int64_t n, Sum x, const Sum* b, Sum* sums) {
    for (int64_t j = 0; j < n; j++) sums[j] |= x & b[j];
  }
};

constexpr int64_t kRows = 64, kCols = 256, kDepth = 32;  // of c in a task; of K in a packed block of b

// c[rows, cols] of one product, with b packed block by block so that the inner loop runs over adjacent elements.
template <typename T>
void multiplyBlock(int64_t rows, int64_t cols, int64_t K, const T* a, const int64_t* aStride, const T* b,
                   const int64_t* bStride, T* c, const int64_t* cStride) {
  using Sum = typename Integer<T>::Sum;
  const auto value = [](T v) { return Sum(Compute<T>(v)); };
  Sum block[kDepth * kCols], sums[kCols];
  for (int64_t k0 = 0; k0 == 0 || k0 < K; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, K - k0);
    for (int64_t k = 0; k < depth; k++) {
      for (int64_t j = 0; j < cols; j++) block[k * kCols + j] = value(b[(k0 + k) * bStride[0] + j * bStride[1]]);
    }
    for (int64_t i = 0; i < rows; i++) {
      T* const to = c + i * cStride[0];
      for (int64_t j = 0; j < cols; j++) sums[j] = k0 == 0 ? Sum(0) : value(to[j * cStride[1]]);
      for (int64_t k = 0; k < depth; k++) {
        Integer<T>::addScaled(cols, value(a[i * aStride[0] + (k0 + k) * aStride[1]]), block + k * kCols, sums);
      }
      for (int64_t j = 0; j < cols; j++) to[j * cStride[1]] = convert<T>(Compute<T>(sums[j]));
    }
  }
}

template <typename T>
void multiplyIntegers(const View& c, const View& a, const View& b) {
  const int64_t batch = c.shape[0], M = c.shape[1], N = c.shape[2], K = a.shape[2];
  const int64_t down = ceilDiv(M, kRows), across = ceilDiv(N, kCols);
  const auto block = [&](int64_t chunk) {
    const int64_t n = chunk / (down * across), i = chunk / across % down * kRows, j = chunk % across * kCols;
    // With K = 0 they have no elements, and no memory.
    const T* const x = K > 0 ? a.as<T>() + n * a.strides[0] + i * a.strides[1] : nullptr;
    const T* const y = K > 0 ? b.as<T>() + n * b.strides[0] + j * b.strides[2] : nullptr;
    multiplyBlock(std::min(kRows, M - i), std::min(kCols, N - j), K, x, a.strides + 1, y, b.strides + 1,
                  c.as<T>() + n * c.strides[0] + i * c.strides[1] + j * c.strides[2], c.strides + 1);
  };
  const int64_t chunks = batch * down * across;
  if (double(batch) * double(M) * double(N) * double(K) < 5e4) {
    for (int64_t chunk = 0; chunk < chunks; chunk++) block(chunk);
  } else {
    parallel(chunks, block);
  }
}

Matrix matrix(const View& v) { return {v.data, v.strides[0], v.strides[1], v.strides[2], v.generation}; }

struct Panels : Prepared {
  KeptPanels kept;
  explicit Panels(Pool& pool) : kept(pool) {}
};

}  // namespace

void run_matmul(const Call& call) {
  const View &c = call.out[0], &a = call.in[0], &b = call.in[1];
  if (isFloat(c.dtype)) {
    if (call.keep && !*call.keep) *call.keep = std::make_unique<Panels>(*call.pool);
    gemm({c.dtype, c.shape[0], c.shape[1], c.shape[2], a.shape[2], matrix(a), matrix(b), matrix(c), false, nullptr,
          call.keep ? &static_cast<Panels&>(**call.keep).kept : nullptr});
    return;
  }
  withType(c.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!std::is_floating_point_v<Compute<T>>) multiplyIntegers<T>(c, a, b);
  });
}

}  // namespace nabla

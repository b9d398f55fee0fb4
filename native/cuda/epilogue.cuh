// What happens to the elements of a product where they are made: stored, or put through an element-wise program.
#pragma once
#include "elementwise.cuh"

namespace nabla {
namespace cuda {

// Runs the program on V elements at consecutive row-major positions, of which `count` exist; the product is its input 0.
template <int V>
DEVICE void runEpilogue(const ElementwiseArgs& p, uint32_t position, int count, const float (&product)[V]) {
  using Operand = ElementwiseArgs::Operand;
  float r[kFloatRegisters][V];
  for (int v = 0; v < V; v++) r[p.in[0].reg][v] = product[v];
  for (int i = 1; i < p.nIn; i++) {
    const Operand& in = p.in[i];
    if (in.kind == Operand::view) {
      for (int v = 0; v < V; v++) r[in.reg][v] = v < count ? load<float>(in.data, in.dtype, p.offset(p.nOut + i, position + v)) : 0.0f;
    } else {
      const float x = load<float>(in.kind == Operand::constant ? reinterpret_cast<const char*>(&in.bits) : in.data, in.dtype, 0);
      for (int v = 0; v < V; v++) r[in.reg][v] = x;
    }
  }
  runSteps<V>(p, r);
  for (int j = 0; j < p.nOut; j++)
    for (int v = 0; v < V; v++)
      if (v < count) store(p.out[j].data, p.out[j].dtype, p.offset(j, position + v), r[p.out[j].reg][v]);
}

// Stores the product itself, [batch, row, column] of any strides and float dtype.
struct StoreProduct {
  Data data;
  int64_t batch, row, column;
  // V elements of a row from (i, j) on, of which `count` exist.
  template <int V>
  DEVICE void operator()(int n, int i, int j, int count, const float (&x)[V]) const {
    const int64_t at = n * batch + i * row + j * column;
    if (count == V && column == 1) {
      if (data.dtype == DType::f32) {
        if (storeWide<float, V>(at, x)) return;
      } else if (data.dtype == DType::f16) {
        if (storeWide<Half, V>(at, x)) return;
      } else if (data.dtype == DType::bf16) {
        if (storeWide<BFloat, V>(at, x)) return;
      }
    }
    for (int v = 0; v < V; v++)
      if (v < count) data.store(at + v * column, x[v]);
  }

 private:
  // As one store; false when they do not lie at a multiple of their size.
  template <typename T, int V>
  DEVICE bool storeWide(int64_t at, const float (&x)[V]) const {
    struct alignas(V * sizeof(T)) Together {
      T values[V];
    };
    T* const to = reinterpret_cast<T*>(data.data) + at;
    if (reinterpret_cast<uintptr_t>(to) % sizeof(Together) != 0) return false;
    Together all;
    for (int v = 0; v < V; v++) all.values[v] = convert<T>(x[v]);
    *reinterpret_cast<Together*>(to) = all;
    return true;
  }
};

// Hands it on to a program over [batch, M, N].
struct RunProgram {
  ElementwiseArgs program;
  uint32_t M, N;
  template <int V>
  DEVICE void operator()(int n, int i, int j, int count, const float (&x)[V]) const {
    runEpilogue<V>(program, (uint32_t(n) * M + i) * N + j, count, x);
  }
};

}  // namespace cuda
}  // namespace nabla

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
    if (V == 4 && count == 4 && column == 1 && data.dtype == DType::f32 && (at & 3) == 0 &&
        (reinterpret_cast<uintptr_t>(data.data) & 15) == 0) {
      float4 all;
      all.x = x[0], all.y = x[1], all.z = x[2], all.w = x[3];
      reinterpret_cast<float4*>(data.data)[at / 4] = all;
      return;
    }
    for (int v = 0; v < V; v++)
      if (v < count) data.store(at + v * column, x[v]);
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

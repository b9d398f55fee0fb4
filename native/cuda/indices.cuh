// Index operands: every value is checked before anything is written.
#pragma once
#include <cstdio>
#include <string>

#include "view.cuh"

namespace nabla {
namespace cuda {

// The least position in row-major order whose value is wrong.
template <typename Wrong>
__global__ void findWrong(Data index, Layout<1> layout, uint32_t count, Wrong wrong, unsigned int* first) {
  const uint32_t i = threadPosition();
  if (i < count && wrong(index.load<int64_t>(locate(layout, i)))) atomicMin(first, i);
}

// Outside of [−n, n).
struct OutOfRange {
  int64_t n;
  DEVICE bool operator()(int64_t v) const { return v < -n || v >= n; }
};

// For a graph: the first one that is found, in whatever order.
template <typename Wrong>
__global__ void reportWrong(Data index, Layout<1> layout, uint32_t count, Wrong wrong, int32_t number, Report* report,
                            const uint64_t* changes) {
  const uint32_t i = threadPosition();
  if (i >= count) return;
  const int64_t v = index.load<int64_t>(locate(layout, i));
  if (!wrong(v) || atomicCAS(&report->number, 0, number) != 0) return;
  report->value = v;
  report->changes = *changes;
}

// Checks all values of an index operand before anything is written; a wrong one is an IndexError with this text, in which
// %lld stands for the value. While a graph is made, kernels that follow must bear with wrong values.
template <typename Wrong>
void checkIndices(const View& index, Wrong wrong, const std::string& text) {
  const int64_t count = index.numel();
  if (count == 0) return;
  if (capturing()) {
    Report* report;
    const uint64_t* changes;
    const int32_t number = expectReport(text, &report, &changes);
    LAUNCH(reportWrong<Wrong>, blocksFor(count), kThreads, 0, Data(index), layoutOf(index), uint32_t(count), wrong, number,
           report, changes);
    return;
  }
  const Temporary memory(8);
  fill(memory.get<char>(), 0xFF, 8);
  LAUNCH(findWrong<Wrong>, blocksFor(count), kThreads, 0, Data(index), layoutOf(index), uint32_t(count), wrong,
         memory.get<unsigned int>());
  unsigned int first;
  readBack(&first, memory.get<char>(), sizeof first);
  if (first == ~0u) return;
  int64_t at = 0, position = first, value = 0;
  for (int d = index.ndim - 1; d >= 0; d--) {
    at += position % index.shape[d] * index.strides[d];
    position /= index.shape[d];
  }
  const int64_t size = int64_t(sizeOf(index.dtype));
  int32_t narrow;
  void* const to = index.dtype == DType::i64 ? static_cast<void*>(&value) : &narrow;
  readBack(to, index.data + at * size, size);
  if (index.dtype != DType::i64) value = narrow;
  char message[512];
  std::snprintf(message, sizeof message, text.c_str(), static_cast<long long>(value));
  throw Error("INDEX", message);
}

}  // namespace cuda
}  // namespace nabla

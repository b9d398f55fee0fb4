// The table of kernels, and the decoder.
#include "instruction.h"

#include <algorithm>
#include <limits>

namespace nabla {

const Kernel kernels[] = {
#define KERNEL(name) {#name, check_##name, run_##name, false, 0},
#define ALIASING_KERNEL(name) {#name, check_##name, run_##name, true, 0},
#define EPILOGUE_KERNEL(name) {#name, check_##name, run_##name, true, 2},
#include "ops.def"
#undef KERNEL
#undef ALIASING_KERNEL
#undef EPILOGUE_KERNEL
};
const int kernelCount = int(sizeof kernels / sizeof kernels[0]);

const char* const controlNames[kControls] = {"alloc", "free", "adopt", "replay"};

namespace {

template <typename T>
T read(const View& view) {
  T value;
  std::memcpy(&value, view.data, sizeof value);
  return value;
}

template <typename T>
void write(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

template <typename T>
T saturated(double value) {
  constexpr double low = double(std::numeric_limits<T>::min());
  constexpr double high = -low;  // one more than the largest
  if (value != value) return 0;
  return value < low ? std::numeric_limits<T>::min() : value >= high ? std::numeric_limits<T>::max() : T(value);
}

void storeInteger(void* to, DType dtype, int64_t value) {
  switch (dtype) {
    case DType::i32: return write(to, int32_t(uint32_t(uint64_t(value))));
    case DType::i64: return write(to, value);
    case DType::u8: return write(to, uint8_t(value));
    default: return write(to, uint8_t(value != 0));
  }
}

// Verifies that every element lies inside the buffer and finds the bytes touched. Offset, extents and strides have 32
// bits, so a product fits int64; the sum is bounded by stopping as soon as it leaves the buffer.
void locate(const View& view, const int32_t* at, const Buffer& buffer, Operand& operand) {
  const int64_t size = int64_t(sizeOf(view.dtype));
  int64_t low = at[2], high = low;
  const int64_t elements = buffer.bytes / size;
  for (int i = 0; i < view.ndim; i++) {
    const int64_t reach = int64_t(view.shape[i] - 1) * view.strides[i];
    (reach < 0 ? low : high) += reach;
    if (low < 0 || high >= elements) break;
  }
  if (low < 0 || high >= elements) {
    fail("PROGRAM", "a view of slot %d reaches outside its %lld bytes", operand.slot,
         static_cast<long long>(buffer.bytes));
  }
  operand.region = buffer.region;
  operand.low = buffer.base + low * size;
  operand.high = buffer.base + (high + 1) * size;
}

// Reads the operand at words[at]; returns the position after it.
int64_t decodeOperand(Instruction& to, int index, bool output, const int32_t* words, int64_t at, int64_t length,
                      const Buffer* buffers, int32_t slots, int32_t parameters) {
  View& view = to.views[index];
  Operand& operand = to.operands[index];
  const auto need = [&](int64_t count) {
    if (at + count > length) fail("PROGRAM", "operand %d reaches beyond the instruction", index);
  };
  need(1);
  const uint32_t word = uint32_t(words[at]);
  const uint32_t kind = word & 0xFF, dtype = word >> 8 & 0xFF, ndim = word >> 16;
  if (dtype >= uint32_t(kDTypes)) fail("PROGRAM", "operand %d has dtype code %u", index, dtype);
  view.data = nullptr;
  view.dtype = DType(dtype);
  view.present = true;
  view.inlined = kind == 1 || kind == 2;
  view.ndim = 0;
  operand.slot = operand.parameter = operand.region = -1;
  if (kind == 0) {
    if (ndim > uint32_t(kMaxDims)) fail("PROGRAM", "operand %d has %u dimensions", index, ndim);
    need(3 + 2 * int64_t(ndim));
    const int32_t slot = words[at + 1];
    if (slot < 0 || slot >= slots || buffers[slot].bytes < 0) fail("PROGRAM", "slot %d has no buffer", slot);
    operand.slot = slot;
    view.ndim = int8_t(ndim);
    const int32_t* extents = words + at + 3;
    int64_t count = 1;
    bool empty = false;
    for (uint32_t i = 0; i < ndim; i++) {
      const int32_t extent = extents[i];
      view.shape[i] = extent;
      view.strides[i] = extents[ndim + i];
      if (extent < 0) fail("PROGRAM", "operand %d has the extent %d", index, extent);
      if (extent == 0) {
        empty = true;
        continue;
      }
      count *= extent;  // below 2^62: both factors are below 2^31
      if (count > std::numeric_limits<int32_t>::max()) fail("PROGRAM", "operand %d has 2^31 elements or more", index);
      if (output && view.strides[i] == 0 && extent > 1) fail("PROGRAM", "output %d overlaps itself", index);
    }
    if (!empty) {
      locate(view, words + at, buffers[slot], operand);
      operand.offset = words[at + 2] * int64_t(sizeOf(view.dtype));
      view.data = buffers[slot].data ? buffers[slot].data + operand.offset : nullptr;
    }
    return at + 3 + 2 * int64_t(ndim);
  }
  if (output && kind != 3) fail("PROGRAM", "output %d is not a view", index);
  void* const inlined = &to.inlined[index];
  switch (kind) {
    case 1: {
      need(3);
      view.data = static_cast<char*>(inlined);
      if (isFloat(view.dtype)) storeNumber(inlined, view.dtype, float64Of(words + at + 1));
      else storeInteger(inlined, view.dtype, int64Of(words + at + 1));
      return at + 3;
    }
    case 2: {
      need(2);
      const int32_t parameter = words[at + 1];
      if (parameter < 0 || parameter >= parameters) fail("PROGRAM", "there is no parameter %d", parameter);
      operand.parameter = parameter;
      view.data = static_cast<char*>(inlined);
      to.inlined[index] = 0;
      return at + 2;
    }
    case 3: view.present = false; return at + 1;
    default: fail("PROGRAM", "operand %d is of kind %u", index, kind);
  }
}

bool overlap(const Operand& a, const Operand& b) {
  return a.region >= 0 && a.region == b.region && a.low < b.high && b.low < a.high;
}

}  // namespace

void decode(Instruction& to, const int32_t* words, int64_t length, const Buffer* buffers, int32_t slots,
            int32_t parameters) {
  const int32_t op = words[0], nOut = words[2], nIn = words[3], nAttr = words[4];
  if (op < 0 || op >= kernelCount) fail("PROGRAM", "there is no op %d", op);
  to.kernel = &kernels[op];
  if (nOut < 0 || nOut > kMaxOutputs || nIn < 0 || nIn > kMaxInputs || nAttr < 0 || nAttr > length - kHeaderWords)
    fail("PROGRAM", "%s: %d outputs, %d inputs and %d attributes", to.kernel->name, nOut, nIn, nAttr);
  int64_t at = kHeaderWords + nAttr;
  for (int i = 0; i < nOut + nIn; i++)
    at = decodeOperand(to, i, i < nOut, words, at, length, buffers, slots, parameters);
  if (at != length)
    fail("PROGRAM", "%s: %lld words of operands are left over", to.kernel->name, static_cast<long long>(length - at));
  const bool aliasing = to.kernel->aliasing;
  const int end = nOut + (aliasing ? std::min(to.kernel->apart, nIn) : nIn);
  for (int i = 0; i < nOut; i++)
    for (int j = aliasing ? nOut : i + 1; j < end; j++)
      if (overlap(to.operands[i], to.operands[j]))
        fail("PROGRAM", "%s: output %d overlaps operand %d", to.kernel->name, i, j);
  to.call = {to.kernel->name, words + kHeaderWords, nAttr, to.views, nOut, to.views + nOut, nIn};
  to.kernel->check(to.call);
}

void storeNumber(void* to, DType dtype, double value) {
  switch (dtype) {
    case DType::f32: return write(to, float(value));
    case DType::f64: return write(to, value);
    case DType::f16: return write(to, floatToHalf(float(value)));
    case DType::bf16: return write(to, floatToBfloat(float(value)));
    case DType::i32: return write(to, saturated<int32_t>(value));
    case DType::i64: return write(to, saturated<int64_t>(value));
    case DType::u8: return write(to, uint8_t(saturated<int64_t>(value)));
    case DType::boolean: return write(to, uint8_t(value != 0));
  }
}

double scalar(const View& view) {
  switch (view.dtype) {
    case DType::f32: return double(read<float>(view));
    case DType::f64: return read<double>(view);
    case DType::f16: return double(halfToFloat(read<uint16_t>(view)));
    case DType::bf16: return double(bfloatToFloat(read<uint16_t>(view)));
    case DType::i32: return read<int32_t>(view);
    case DType::i64: return double(read<int64_t>(view));
    default: return read<uint8_t>(view);
  }
}

}  // namespace nabla

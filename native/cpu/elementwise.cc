// The element-wise engine: a small program over registers, run block by block so that what lies between an input and
// an output stays in the first-level cache.
#include "elementwise.h"

#include <algorithm>

#include "../core/cpu.h"
#include "../core/threads.h"
#include "elementwise_plan.h"
#include "strided.h"

namespace nabla {

namespace baseline {
extern const ElementwiseTable elementwiseTable;
}
namespace avx2 {
extern const ElementwiseTable elementwiseTable;
}
namespace avx512 {
extern const ElementwiseTable elementwiseTable;
}

namespace {

const ElementwiseTable& table() {
#if defined(__x86_64__) || defined(_M_X64)
  switch (isa()) {
    case Isa::avx512: return avx512::elementwiseTable;
    case Isa::avx2: return avx2::elementwiseTable;
    default: break;
  }
#endif
  return baseline::elementwiseTable;
}

constexpr int64_t kBufferBytes = 16 << 10;  // all block buffers together should fill no more than half of the cache
constexpr int64_t kMaxBlock = 4096, kMinBlock = 8;
constexpr int64_t kScratchBytes = std::max<int64_t>(2 * kBufferBytes, kMaxValues * 8 * kMinBlock);  // see Sizes
constexpr int64_t kMinChunk = 4096, kMaxChunk = 65536;              // elements that one thread takes at a time
constexpr int64_t kChunkCost = 1 << 18;                             // and their cost

// Sizes that follow from the plan alone, never from the number of threads.
struct Sizes {
  int64_t chunk, block, bufferBytes;
  int64_t tileRows = 0, tileCols = 0, rowTiles = 0, colTiles = 0, tilesPerChunk = 0, chunks;

  Sizes(const Space& space, const Plan& plan) {
    chunk = kMinChunk;
    if (space.count > chunk) chunk = std::clamp(kChunkCost / plan.cost, kMinChunk, kMaxChunk) & ~int64_t(1023);
    block = chunk;
    if (plan.nBuffers > 0) {
      block = std::min(kMaxBlock, kBufferBytes / (int64_t(plan.nBuffers) * plan.width));
      block = block >= 64 ? block & ~int64_t(63) : kMinBlock;
    }
    const int64_t inner = space.shape[space.ndim - 1];
    if (space.walk == Walk::flat && inner <= block) {
      block -= block % inner;
      chunk -= chunk % block;
    }
    // Large ones are kept from being a multiple of a page apart (such addresses get in each other's way): 64 bytes for
    // each of at most kBufferBytes / 64 of them.
    bufferBytes = ((block * plan.width + 63) & ~int64_t(63)) + (block >= 64 ? 64 : 0);
    chunks = (space.count + chunk - 1) / chunk;
    if (space.walk == Walk::tiles) {
      tileCols = block >= 4096 ? 64 : block >= 1024 ? 32 : block >= 256 ? 16 : 8;
      tileRows = std::min<int64_t>(64, block / tileCols);
      rowTiles = (space.shape[space.ndim - 2] + tileRows - 1) / tileRows;
      colTiles = (inner + tileCols - 1) / tileCols;
      const int64_t tiles = rowTiles * colTiles * (space.count / (inner * space.shape[space.ndim - 2]));
      tilesPerChunk = std::max<int64_t>(1, chunk / (tileRows * tileCols));
      chunks = (tiles + tilesPerChunk - 1) / tilesPerChunk;
    }
  }
};

// One thread's work on one chunk.
class Runner {
 public:
  Runner(const Call& call, const Space& space, const Plan& plan, const Sizes& sizes)
      : call_(call), space_(space), plan_(plan), sizes_(sizes) {}

  void run(int64_t chunk) {
    for (int v = 0; v < plan_.nValues; v++)
      if (plan_.values[v].operand < 0) address_[v] = scratch_ + plan_.values[v].buffer * sizes_.bufferBytes;
    const int64_t begin = chunk * sizes_.chunk, end = std::min(space_.count, begin + sizes_.chunk);
    const int64_t longest = space_.walk == Walk::tiles ? sizes_.tileRows * sizes_.tileCols : end - begin;
    for (int k = 0; k < plan_.nConstants; k++) fillConstant(plan_.constants[k], std::min(sizes_.block, longest));
    switch (space_.walk) {
      case Walk::rows: runRows(begin, end); break;
      case Walk::flat: runFlat(begin, end); break;
      case Walk::tiles: runTiles(chunk); break;
    }
    for (int k = 0; k < plan_.nOps; k++)
      if (plan_.ops[k].kind == Op::stream) return plan_.table.fence();
  }

 private:
  const View& view(int operand) const {
    return operand < call_.nOut ? call_.out[operand] : call_.in[operand - call_.nOut];
  }

  void fillConstant(const Constant& c, int64_t n) {
    char* to = address_[c.value];
    switch (plan_.values[c.value].size) {
      case 1: return fillWith<uint8_t>(to, c.bits, n);
      case 2: return fillWith<uint16_t>(to, c.bits, n);
      case 4: return fillWith<uint32_t>(to, c.bits, n);
      default: return fillWith<uint64_t>(to, c.bits, n);
    }
  }
  template <typename T>
  static void fillWith(char* to, uint64_t bits, int64_t n) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    fill(reinterpret_cast<T*>(to), value, n);
  }

  // Sets the index and every operand's offset to those of a position in row-major order.
  void seek(int64_t position) {
    for (int d = space_.ndim - 1; d > 0; d--) {
      index_[d] = position % space_.shape[d];
      position /= space_.shape[d];
    }
    index_[0] = position;
    for (int k = 0; k < space_.operands; k++) {
      offset_[k] = 0;
      for (int d = 0; d < space_.ndim; d++) offset_[k] += index_[d] * space_.stride[k][d];
    }
  }

  void runRows(int64_t begin, int64_t end) {
    const int last = space_.ndim - 1;
    seek(begin);
    while (begin < end) {
      const int64_t n = std::min({sizes_.block, space_.shape[last] - index_[last], end - begin});
      runBlock(n, 1, n);
      begin += n;
      advance(last, n);
      for (int d = last; d > 0 && index_[d] == space_.shape[d]; d--) {
        advance(d, -index_[d]);
        advance(d - 1, 1);
      }
    }
  }
  void advance(int d, int64_t n) {
    index_[d] += n;
    for (int k = 0; k < space_.operands; k++) offset_[k] += n * space_.stride[k][d];
  }

  void runFlat(int64_t begin, int64_t end) {
    for (; begin < end; begin += sizes_.block) {
      seek(begin);
      runBlock(std::min(sizes_.block, end - begin), 0, 0);
    }
  }

  void runTiles(int64_t chunk) {
    const int last = space_.ndim - 1;
    const int64_t plane = sizes_.rowTiles * sizes_.colTiles, area = space_.shape[last] * space_.shape[last - 1];
    const int64_t tiles = plane * (space_.count / area);
    const int64_t end = std::min(tiles, (chunk + 1) * sizes_.tilesPerChunk);
    for (int64_t t = chunk * sizes_.tilesPerChunk; t < end; t++) {
      const int64_t row = t % plane / sizes_.colTiles * sizes_.tileRows, col = t % sizes_.colTiles * sizes_.tileCols;
      seek(t / plane * area + row * space_.shape[last] + col);
      const int64_t rows = std::min(sizes_.tileRows, space_.shape[last - 1] - row);
      const int64_t cols = std::min(sizes_.tileCols, space_.shape[last] - col);
      runBlock(rows * cols, rows, cols);
    }
  }

  // n elements from the current position: `rows` × `cols` of the last two dimensions, or flat when rows is 0.
  void runBlock(int64_t n, int64_t rows, int64_t cols) {
    for (int v = 0; v < plan_.nValues; v++) {
      const Value& value = plan_.values[v];
      if (value.operand >= 0) address_[v] = at(value.operand, value.size);
    }
    for (int k = 0; k < plan_.nOps; k++) {
      const Op& op = plan_.ops[k];
      switch (op.kind) {
        case Op::call:
          op.fn(address_[op.from[0]], address_[op.from[1]], address_[op.from[2]], address_[op.to], n);
          break;
        case Op::load: transfer<true>(op.operand, address_[op.to], n, rows, cols); break;
        case Op::store: transfer<false>(op.operand, address_[op.from[0]], n, rows, cols); break;
        case Op::stream: {
          const int size = plan_.values[op.from[0]].size;
          op.fn(address_[op.from[0]], nullptr, nullptr, at(op.operand, size), n * size);
          break;
        }
      }
    }
  }
  char* at(int operand, int size) const { return view(operand).data + offset_[operand] * size; }

  // Between an operand's block and packed memory.
  template <bool kLoad>
  void transfer(int operand, char* packed, int64_t n, int64_t rows, int64_t cols) {
    switch (sizeOf(view(operand).dtype)) {
      case 1: return transferAs<kLoad, uint8_t>(operand, packed, n, rows, cols);
      case 2: return transferAs<kLoad, uint16_t>(operand, packed, n, rows, cols);
      case 4: return transferAs<kLoad, uint32_t>(operand, packed, n, rows, cols);
      default: return transferAs<kLoad, uint64_t>(operand, packed, n, rows, cols);
    }
  }
  template <bool kLoad, typename T>
  void transferAs(int operand, char* memory, int64_t n, int64_t rows, int64_t cols) {
    T* data = view(operand).as<T>() + offset_[operand];
    T* packed = reinterpret_cast<T*>(memory);
    const int last = space_.ndim - 1;
    const int64_t* stride = space_.stride[operand];
    const auto plane = [&](int64_t rows, int64_t cols) {
      const int64_t rowStride = last > 0 ? stride[last - 1] : 0;
      if constexpr (kLoad) gatherPlane(data, rowStride, stride[last], rows, cols, packed);
      else scatterPlane(packed, rows, cols, data, rowStride, stride[last]);
      packed += rows * cols;
    };
    if (rows > 0) return plane(rows, cols);
    // Flat: the rest of a row, whole rows of a plane, the next plane, …
    int64_t index[kMaxDims];
    for (int d = 0; d <= last; d++) index[d] = index_[d];
    const int64_t inner = space_.shape[last];
    const auto step = [&](int d, int64_t by) {
      index[d] += by;
      data += by * stride[d];
    };
    while (n > 0) {
      if (index[last] == 0 && n >= inner) {
        const int64_t whole = std::min(space_.shape[last - 1] - index[last - 1], n / inner);
        plane(whole, inner);
        n -= whole * inner;
        step(last - 1, whole);
      } else {
        const int64_t part = std::min(n, inner - index[last]);
        plane(1, part);
        n -= part;
        step(last, part);
      }
      for (int d = last; d > 0; d--) {
        if (index[d] < space_.shape[d]) continue;
        step(d, -index[d]);
        step(d - 1, 1);
      }
    }
  }

  const Call& call_;
  const Space& space_;
  const Plan& plan_;
  const Sizes& sizes_;
  int64_t index_[kMaxDims];
  int64_t offset_[kMaxOperands];
  char* address_[kMaxValues];
  alignas(64) char scratch_[kScratchBytes];
};

}  // namespace

const char* const* elementwiseNames(int* count) {
  static const char* const names[] = {
#define ELEMENTWISE(name, arity, result, types, cost) #name,
#include "../graph/elementwise.def"
#undef ELEMENTWISE
  };
  *count = kElementwiseFns;
  return names;
}

void check_elementwise(const Call& call) {
  int count;
  const char* const* names = elementwiseNames(&count);
  if (call.nOut < 1 || call.nOut > kMaxOuts || call.nIn < 0 || call.nIn > kMaxIns)
    fail("PROGRAM", "elementwise: %d outputs and %d inputs: at most %d and %d", call.nOut, call.nIn, kMaxOuts, kMaxIns);
  if (call.nAttr < 1 || call.attr[0] < 0 || call.attr[0] > kMaxSteps || call.nAttr != 1 + 5 * call.attr[0] + call.nOut)
    fail("PROGRAM", "elementwise: wrong number of attributes (%d)", call.nAttr);
  for (int j = 0; j < call.nOut; j++) {
    const View& out = call.out[j];
    if (!out.present) fail("PROGRAM", "elementwise: output %d is absent", j);
    if (out.ndim != call.out[0].ndim || !std::equal(out.shape, out.shape + out.ndim, call.out[0].shape))
      fail("PROGRAM", "elementwise: output %d has another shape than the first", j);
  }
  for (int i = 0; i < call.nIn; i++) {
    const View& in = call.in[i];
    if (!in.present) fail("PROGRAM", "elementwise: input %d is absent", i);
    if (in.ndim != 0 && (in.ndim != call.out[0].ndim || !std::equal(in.shape, in.shape + in.ndim, call.out[0].shape)))
      fail("PROGRAM", "elementwise: input %d has another shape than the outputs", i);
  }
  const Steps steps(call);
  for (int k = 0; k < steps.n; k++) {
    const int fn = steps.fn(k);
    if (fn < 0 || fn >= count) fail("PROGRAM", "elementwise: step %d names an unknown function (%d)", k, fn);
    const int code = steps.words[5 * k + 1];
    if (code < 0 || code >= kDTypes || code == int(DType::f16) || code == int(DType::bf16))
      fail("PROGRAM", "elementwise: step %d has no valid type (%d)", k, code);
    if ((ctypesOf(fn) >> ctypeOf(steps.dtype(k)) & 1) == 0)
      fail("PROGRAM", "elementwise: %s does not exist for %s", names[fn], nameOf(steps.dtype(k)));
    for (int s = 0; s < arityOf(fn); s++) {
      const int r = steps.source(k, s);
      if (r < 0 || r >= call.nIn + k) fail("PROGRAM", "elementwise: step %d reads register %d", k, r);
    }
  }
  for (int j = 0; j < call.nOut; j++) {
    const int r = steps.output(j);
    if (r < 0 || r >= call.nIn + steps.n) fail("PROGRAM", "elementwise: output %d is register %d", j, r);
  }
}

// One step on few elements that lie next to each other, as most instructions of small models are: nothing to plan.
static bool runPlain(const Call& call) {
  const Steps steps(call);
  const View& out = call.out[0];
  if (steps.n != 1 || call.nOut != 1 || steps.output(0) != call.nIn || !out.contiguous()) return false;
  const int64_t n = out.numel();
  const int fn = steps.fn(0);
  const DType type = steps.dtype(0);
  if (n > kMinChunk || out.dtype != (isPredicate(fn) ? DType::boolean : type)) return false;
  const void* from[3] = {};
  for (int s = 0; s < arityOf(fn); s++) {
    const View& in = call.in[steps.source(0, s)];
    const DType want = fn == kFn_where && s == 0 ? DType::boolean : type;
    if (in.dtype != want || in.ndim != out.ndim || !in.contiguous()) return false;
    from[s] = in.data;
  }
  table().fn[fn][ctypeOf(type)](from[0], from[1], from[2], out.data, n);
  return true;
}

void run_elementwise(const Call& call) {
  if (runPlain(call)) return;
  const Space space(call);
  if (space.count == 0) return;
  const Plan plan(call, space, table());
  const Sizes sizes(space, plan);
  const auto body = [&](int64_t chunk) {
    Runner runner(call, space, plan, sizes);
    runner.run(chunk);
  };
  if (sizes.chunks == 1) body(0);
  else parallel(sizes.chunks, body);
}

}  // namespace nabla

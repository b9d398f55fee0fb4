// The element-wise engine: a small program over registers, run block by block so that what lies between an input and
// an output stays in the first-level cache.
#include "elementwise.h"

#include <algorithm>
#include <vector>

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
constexpr int64_t kStreamedBlock = 1024;    // computing and streaming take turns: short ones
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
      block = std::min(plan.streams ? kStreamedBlock : kMaxBlock, kBufferBytes / (int64_t(plan.nBuffers) * plan.width));
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
      : call_(call), space_(space), plan_(plan), sizes_(sizes) {
    for (int k = 0; k < space.operands; k++) {
      base_[k] = k < call.nOut ? call.out[k].data : call.in[k - call.nOut].data;
      stride_[k] = space.stride[k];
    }
  }

  void run(int64_t chunk) {
    const int64_t begin = chunk * sizes_.chunk, end = std::min(space_.count, begin + sizes_.chunk);
    prepare(space_.walk == Walk::tiles ? sizes_.tileRows * sizes_.tileCols : end - begin);
    switch (space_.walk) {
      case Walk::rows: runRows(begin, end); break;
      case Walk::flat: runFlat(begin, end); break;
      case Walk::tiles: runTiles(chunk); break;
    }
    if (plan_.streams) plan_.table.fence();
  }

  // A rectangle of a plane, with operand `which` at `block` (whose element is the rectangle's first). Planes are
  // batchBytes apart.
  void run(int which, const int64_t* batchBytes, const ElementwisePlanes::Rectangle& where,
           const ElementwisePlanes::Block& block) {
    ElementwisePlanes::Rectangle r = where;
    int64_t stride[2] = {block.rowStride, block.colStride};
    if (space_.swapped) {
      r = {where.batch, where.col, where.cols, where.row, where.rows};
      std::swap(stride[0], stride[1]);
    }
    for (int k = 0; k < space_.operands; k++)
      if (base_[k] != nullptr) base_[k] += r.batch * batchBytes[k];
    base_[which] = reinterpret_cast<char*>(block.data);
    stride_[which] = stride;
    if (space_.walk == Walk::flat) return runRuns(which, r, stride[0]);
    const bool tiles = space_.walk == Walk::tiles;
    const int64_t rows = tiles ? sizes_.tileRows : 1, cols = tiles ? sizes_.tileCols : sizes_.block;
    prepare(std::min(rows, r.rows) * std::min(cols, r.cols));
    for (int64_t row = 0; row < r.rows; row += rows)
      for (int64_t col = 0; col < r.cols; col += cols) {
        place(r.row + row, r.col + col);
        offset_[which] = row * stride[0] + col * stride[1];
        const int64_t height = std::min(rows, r.rows - row), width = std::min(cols, r.cols - col);
        runBlock(height * width, height, width);
      }
  }

 private:
  // A rectangle of a plane in runs of adjacent elements: its rows, or, where they are whole and `step` apart, all of it.
  void runRuns(int which, ElementwisePlanes::Rectangle r, int64_t step) {
    if (r.cols == space_.shape[1] && step == r.cols) r.cols *= r.rows, r.rows = 1;
    prepare(std::min(sizes_.block, r.cols));
    for (int64_t row = 0; row < r.rows; row++)
      for (int64_t at = 0; at < r.cols; at += sizes_.block) {
        place(r.row + row + at / space_.shape[1], r.col + at % space_.shape[1]);
        offset_[which] = row * step + at;
        runBlock(std::min(sizes_.block, r.cols - at), 0, 0);
      }
  }

  int sizeOfOperand(int operand) const {
    return int(sizeOf((operand < call_.nOut ? call_.out[operand] : call_.in[operand - call_.nOut]).dtype));
  }

  // Addresses of what is in no operand's memory, and constants; no block is longer than `longest`.
  void prepare(int64_t longest) {
    for (int v = 0; v < plan_.nValues; v++)
      if (plan_.values[v].buffer >= 0) address_[v] = scratch_ + plan_.values[v].buffer * sizes_.bufferBytes;
    for (int k = 0; k < plan_.nConstants; k++) {
      const Constant& c = plan_.constants[k];
      uint64_t x = 0, y = 0;
      std::memcpy(&x, base_[call_.nOut + c.input], sizeOf(call_.in[c.input].dtype));
      if (c.widen != nullptr) c.widen(&x, nullptr, nullptr, &y, 1), x = y;
      if (c.convert != nullptr) y = 0, c.convert(&x, nullptr, nullptr, &y, 1), x = y;
      numbers_[k] = x;
      address_[c.value] = reinterpret_cast<char*>(&numbers_[k]);
      if (c.filled >= 0) fillConstant(c.filled, x, std::min(sizes_.block, longest));
    }
  }
  void fillConstant(int value, uint64_t bits, int64_t n) {
    char* to = address_[value];
    switch (plan_.values[value].size) {
      case 1: return fillWith<uint8_t>(to, bits, n);
      case 2: return fillWith<uint16_t>(to, bits, n);
      case 4: return fillWith<uint32_t>(to, bits, n);
      default: return fillWith<uint64_t>(to, bits, n);
    }
  }
  template <typename T>
  static void fillWith(char* to, uint64_t bits, int64_t n) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    fill(reinterpret_cast<T*>(to), value, n);
  }

  // Sets the index and every operand's offset to those of an element of a plane.
  void place(int64_t row, int64_t col) {
    index_[0] = row, index_[1] = col;
    for (int k = 0; k < space_.operands; k++) offset_[k] = row * stride_[k][0] + col * stride_[k][1];
  }
  // The same for a position in row-major order.
  void seek(int64_t position) {
    for (int d = space_.ndim - 1; d > 0; d--) {
      index_[d] = position % space_.shape[d];
      position /= space_.shape[d];
    }
    index_[0] = position;
    for (int k = 0; k < space_.operands; k++) {
      offset_[k] = 0;
      for (int d = 0; d < space_.ndim; d++) offset_[k] += index_[d] * stride_[k][d];
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
    for (int k = 0; k < space_.operands; k++) offset_[k] += n * stride_[k][d];
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
      const int16_t* args = plan_.args + op.args;
      switch (op.kind) {
        case Op::call:
          op.fn(address_[args[0]], address_[args[1]], address_[args[2]], address_[args[3]], n);
          break;
        case Op::recipe: {
          void* where[INT8_MAX];
          for (int i = 0; i < op.reads + op.writes; i++) where[i] = address_[args[i]];
          op.whole(where, where + op.reads, n);
          break;
        }
        case Op::load: transfer<true>(op.operand, address_[args[0]], n, rows, cols); break;
        case Op::store: transfer<false>(op.operand, address_[args[0]], n, rows, cols); break;
        case Op::stream: {
          const int size = plan_.values[args[0]].size;
          op.fn(address_[args[0]], nullptr, nullptr, at(op.operand, size), n * size);
          break;
        }
      }
    }
  }
  char* at(int operand, int size) const { return base_[operand] + offset_[operand] * size; }

  // Between an operand's block and packed memory.
  template <bool kLoad>
  void transfer(int operand, char* packed, int64_t n, int64_t rows, int64_t cols) {
    switch (sizeOfOperand(operand)) {
      case 1: return transferAs<kLoad, uint8_t>(operand, packed, n, rows, cols);
      case 2: return transferAs<kLoad, uint16_t>(operand, packed, n, rows, cols);
      case 4: return transferAs<kLoad, uint32_t>(operand, packed, n, rows, cols);
      default: return transferAs<kLoad, uint64_t>(operand, packed, n, rows, cols);
    }
  }
  template <bool kLoad, typename T>
  void transferAs(int operand, char* memory, int64_t n, int64_t rows, int64_t cols) {
    T* data = reinterpret_cast<T*>(base_[operand]) + offset_[operand];
    T* packed = reinterpret_cast<T*>(memory);
    const int last = space_.ndim - 1;
    const int64_t* stride = stride_[operand];
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
  char* base_[kMaxOperands];
  const int64_t* stride_[kMaxOperands];
  int64_t offset_[kMaxOperands];
  uint64_t numbers_[kMaxConstants];
  char* address_[kMaxValues];
  alignas(64) char scratch_[kScratchBytes];
};

// An instruction ready to run, in memory of the caller's.
struct Job {
  Space space;
  Plan plan;
  Sizes sizes;

  struct Memory {
    Space::Memory space;
    Plan::Memory plan;
  };
  Job(const Call& call, Space::Kind kind, Memory& memory)
      : space(call, kind, memory.space), plan(call, space, kind, table(), memory.plan), sizes(space, plan) {}

  void run(const Call& call) const {
    const auto body = [&](int64_t chunk) {
      Runner runner(call, space, plan, sizes);
      runner.run(chunk);
    };
    if (sizes.chunks == 1) body(0);
    else parallel(sizes.chunks, body);
  }
};

// One that is kept, in no more memory than it needs. Of planes, operand `which` is given, and all are batchBytes apart.
class KeptJob : public ElementwisePlanes {
 public:
  explicit KeptJob(const Job& job, int which = -1, const int64_t* batchBytes = nullptr) : job_(job), which_(which) {
    if (which >= 0) batchBytes_.assign(batchBytes, batchBytes + job.space.operands);
    Space& space = job_.space;
    Plan& plan = job_.plan;
    memory_.reset(new char[sizeof *space.stride * size_t(space.operands) + sizeof(Op) * size_t(plan.nOps) +
                           sizeof(Constant) * size_t(plan.nConstants) + sizeof(Value) * size_t(plan.nValues) +
                           sizeof(int16_t) * size_t(plan.nArgs)]);
    char* to = memory_.get();  // what needs the widest alignment comes first
    move(space.stride, space.operands, to);
    move(plan.ops, plan.nOps, to);
    move(plan.constants, plan.nConstants, to);
    move(plan.values, plan.nValues, to);
    move(plan.args, plan.nArgs, to);
  }
  void run(const Call& call) const { job_.run(call); }
  void run(const Call& call, const Rectangle& where, const Block& block) const override {
    Runner runner(call, job_.space, job_.plan, job_.sizes);
    runner.run(which_, batchBytes_.data(), where, block);
  }

 private:
  template <typename T>
  static void move(T*& items, int n, char*& to) {
    const size_t bytes = sizeof(T) * size_t(n);
    items = reinterpret_cast<T*>(std::memcpy(to, items, bytes));
    to += bytes;
  }

  Job job_;
  int which_;
  std::vector<int64_t> batchBytes_;
  std::unique_ptr<char[]> memory_;
};

}  // namespace

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
  if (call.keep != nullptr && *call.keep) return static_cast<const KeptJob&>(**call.keep).run(call);
  if ((call.keep == nullptr && runPlain(call)) || call.out[0].numel() == 0) return;
  Job::Memory memory;
  const Job job(call, Space::whole, memory);
  if (call.keep != nullptr) *call.keep = std::make_unique<KeptJob>(job);
  job.run(call);
}

std::unique_ptr<ElementwisePlanes> ElementwisePlanes::prepare(const Call& call, int input, bool turned, bool wholeRows) {
  View outs[kMaxOuts], ins[kMaxIns];
  int64_t batchBytes[kMaxOperands];
  for (int k = 0; k < call.nOut + call.nIn; k++) {
    const View& from = k < call.nOut ? call.out[k] : call.in[k - call.nOut];
    View& v = k < call.nOut ? outs[k] : ins[k - call.nOut];
    v = from;
    batchBytes[k] = from.ndim == 0 ? 0 : from.strides[0] * int64_t(sizeOf(v.dtype));
    if (from.ndim == 0) continue;
    const int row = turned ? 2 : 1, col = turned ? 1 : 2;
    v.ndim = 2;
    v.shape[0] = from.shape[row], v.shape[1] = from.shape[col];
    v.strides[0] = from.strides[row], v.strides[1] = from.strides[col];
  }
  // Any stride but 0 and 1 stands for one that is known later.
  ins[input].strides[0] = wholeRows ? ins[input].shape[1] : 2;
  ins[input].strides[1] = 1;
  Call plane = call;
  plane.out = outs;
  plane.in = ins;
  Job::Memory memory;
  return std::make_unique<KeptJob>(Job(plane, wholeRows ? Space::planeOfWholeRows : Space::plane, memory),
                                   call.nOut + input, batchBytes);
}

}  // namespace nabla

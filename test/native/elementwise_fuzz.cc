// Random element-wise programs over random layouts against a plain interpreter that takes one element at a time:
// results must agree bit for bit, whatever the strides, the block or the thread, run once or kept by a program; and
// planes given in rectangles against the whole. Some programs contain recipes. Links native/core,
// native/cpu/elementwise*.cc and the per-ISA tables; NABLA_ISA chooses the instruction set.
//   ./elementwise_fuzz [programs] [seed]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "../../native/core/cpu.h"
#include "../../native/core/denormals.h"
#include "../../native/core/threads.h"
#include "../../native/cpu/elementwise.h"
#include "../../native/cpu/elementwise_plan.h"

using namespace nabla;

namespace nabla {
namespace baseline {
extern const ElementwiseTable elementwiseTable;
}
#if defined(__x86_64__)
namespace avx2 {
extern const ElementwiseTable elementwiseTable;
}
namespace avx512 {
extern const ElementwiseTable elementwiseTable;
}
#endif
}  // namespace nabla

namespace {

#include "../../native/cpu/simd/elementwise_recipes.h"

const ElementwiseTable& tableInUse() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::elementwiseTable;
  if (isa() == Isa::avx2) return avx2::elementwiseTable;
#endif
  return baseline::elementwiseTable;
}

uint64_t state = 1;
uint32_t bits32() {
  state = state * 6364136223846793005u + 1442695040888963407u;
  uint64_t x = state ^ state >> 33;
  return uint32_t(x * 0xff51afd7ed558ccdu >> 32);
}
int upTo(int n) { return int(bits32() % uint32_t(n)); }  // in [0, n)

struct Memory {
  std::vector<char> bytes;
  std::vector<char> before;
  std::vector<char> moved;
};
char* movedTo(Memory& m, char* p) {
  return p >= m.bytes.data() && p < m.bytes.data() + m.bytes.size() ? m.moved.data() + (p - m.bytes.data()) : p;
}

float someFloat() {
  const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, 1e-40f, -3e38f, 0.5f, 2.5f, 1e10f};
  if (upTo(8) == 0) return special[upTo(12)];
  return float(int32_t(bits32())) * (upTo(2) ? 0x1p-29f : 0x1p-24f);
}

void someElement(DType t, char* p) {
  switch (t) {
    case DType::f32: { const float v = someFloat(); std::memcpy(p, &v, 4); break; }
    case DType::f64: { const double v = double(someFloat()) * (upTo(3) ? 1 : 1.0000001); std::memcpy(p, &v, 8); break; }
    case DType::f16: { const uint16_t v = floatToHalf(someFloat()); std::memcpy(p, &v, 2); break; }
    case DType::bf16: { const uint16_t v = floatToBfloat(someFloat()); std::memcpy(p, &v, 2); break; }
    case DType::i32: { const int32_t v = upTo(4) ? upTo(41) - 20 : int32_t(bits32()); std::memcpy(p, &v, 4); break; }
    case DType::i64: {
      const int64_t v = upTo(4) ? upTo(41) - 20 : int64_t(uint64_t(bits32()) << 33 | bits32());
      std::memcpy(p, &v, 8);
      break;
    }
    case DType::u8: *p = char(bits32()); break;
    case DType::boolean: *p = char(bits32() & 1); break;
  }
}

// A view of `shape` over new memory: contiguous, permuted, broadcast, reversed, with gaps, or of no dimensions.
View someView(DType t, int ndim, const int32_t* shape, bool output, Memory& memory) {
  View v;
  v.dtype = t;
  v.present = true;
  v.ndim = int8_t(ndim);
  const int kind = upTo(output ? 4 : 7);
  if (kind == 6) v.ndim = 0;
  int order[kMaxDims];
  for (int d = 0; d < v.ndim; d++) order[d] = d;
  if (kind == 1 || kind == 3)
    for (int d = v.ndim - 1; d > 0; d--) std::swap(order[d], order[upTo(d + 1)]);
  int64_t expect = 1, low = 0;
  for (int i = v.ndim - 1; i >= 0; i--) {
    const int d = order[i];
    v.shape[d] = shape[d];
    v.strides[d] = expect;
    if (kind == 4 && upTo(2)) { v.strides[d] = 0; continue; }
    if (kind == 5 && i > 0) { v.strides[d] = 0; continue; }
    if ((kind == 2 || kind == 3) && upTo(3) == 0) v.strides[d] *= 1 + upTo(2);
    expect = v.strides[d] * std::max(1, shape[d]);
    if ((kind == 2 || kind == 3) && upTo(3) == 0) {
      if (shape[d] > 0) low += v.strides[d] * (shape[d] - 1);
      v.strides[d] = -v.strides[d];
    }
  }
  const int size = int(sizeOf(t));
  const int64_t slack = upTo(5);
  memory.bytes.resize(size_t((expect + 2 * slack + 1) * size));
  for (int64_t k = 0; k * size < int64_t(memory.bytes.size()); k++) someElement(t, memory.bytes.data() + k * size);
  v.data = memory.bytes.data() + (low + slack) * size;
  return v;
}

int64_t offsetOf(const View& v, int ndim, const int64_t* index) {
  int64_t o = 0;
  if (v.ndim == 0) return 0;
  for (int d = 0; d < ndim; d++) o += index[d] * v.strides[d];
  return o * int64_t(sizeOf(v.dtype));
}

struct Cell {
  alignas(8) char bytes[8] = {};
};
Cell converted(const ElementwiseTable& t, Cell x, DType from, CType to) {
  Cell y;
  if (from == DType::f16) t.halfToFloat(&x, nullptr, nullptr, &y, 1), x = y;
  if (from == DType::bf16) t.bfloatToFloat(&x, nullptr, nullptr, &y, 1), x = y;
  if (ctypeOf(from) == to) return x;
  Cell z;
  t.convert[ctypeOf(from)][to](&x, nullptr, nullptr, &z, 1);
  return z;
}

const DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16,
                      DType::i32, DType::i64, DType::u8,  DType::boolean};
const DType kCompute[] = {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::boolean};

// Which NaN comes of two is the compiler's choice, and so is whether a minimum or a choice hands a denormal on, which
// arithmetic flushes to zero.
template <typename T, typename Bits>
bool sameFloat(T a, T b) {
  Bits x, y;
  std::memcpy(&x, &a, sizeof a), std::memcpy(&y, &b, sizeof b);
  if (x == y || (a != a && b != b)) return true;
  T least = std::numeric_limits<T>::min();
  Bits normal, sign = Bits(1) << (8 * sizeof(T) - 1);
  std::memcpy(&normal, &least, sizeof normal);
  return (x & ~sign) < normal && (y & ~sign) < normal && (x & sign) == (y & sign);
}
bool sameCell(const char* a, const char* b, DType t) {
  if (std::memcmp(a, b, sizeOf(t)) == 0) return true;
  Cell x, y;
  std::memcpy(&x, a, sizeOf(t)), std::memcpy(&y, b, sizeOf(t));
  if (t == DType::f64) {
    double p, q;
    std::memcpy(&p, &x, 8), std::memcpy(&q, &y, 8);
    return sameFloat<double, uint64_t>(p, q);
  }
  if (!isFloat(t)) return false;
  const Cell u = converted(tableInUse(), x, t, kF32), w = converted(tableInUse(), y, t, kF32);
  float p, q;
  std::memcpy(&p, &u, 4), std::memcpy(&q, &w, 4);
  return sameFloat<float, uint32_t>(p, q);
}

// Appends the steps of a recipe; its inputs are registers that exist, numbers are inputs (nIn of them) of no dimensions
// if there are such.
void appendRecipe(std::vector<int32_t>& attr, std::vector<DType>& type, const std::vector<View>& in, int nIn) {
  const Recipe& recipe = kRecipeRows[upTo(kRecipes)];
  if (attr[0] + recipe.nSteps > kMaxSteps) return;
  const int first = nIn + attr[0];
  int bound[kMaxRecipeIns];
  for (int i = 0; i < recipe.nIn; i++) {
    bound[i] = upTo(first);
    for (int tries = 0; recipe.number[i] && tries < 20 && (bound[i] >= nIn || in[size_t(bound[i])].ndim != 0); tries++)
      bound[i] = upTo(nIn);
  }
  for (int k = 0; k < recipe.nSteps; k++) {
    const Recipe::Step& step = recipe.steps[k];
    attr.push_back(step.fn);
    attr.push_back(int(DType::f32));
    for (int s = 0; s < 3; s++) {
      const int from = step.from[s];
      attr.push_back(s >= arityOf(step.fn) ? -1 : from < recipe.nIn ? bound[from] : first + from - recipe.nIn);
    }
    type.push_back(isPredicate(step.fn) ? DType::boolean : DType::f32);
  }
  attr[0] += recipe.nSteps;
}

bool one(int number) {
  const ElementwiseTable& table = tableInUse();
  int32_t shape[kMaxDims];
  int ndim = upTo(5);
  const int big = upTo(12) == 0;
  for (int d = 0; d < ndim; d++) {
    const int sides[] = {1, 2, 3, 5, 8, 10, 17, 33, 64, 70};
    shape[d] = sides[upTo(ndim <= 2 ? 10 : 7)];
    if (big && ndim <= 2) shape[d] = 130 + upTo(500);
    if (upTo(200) == 0) shape[d] = 0;
  }
  if (ndim == 1 && upTo(3) == 0) shape[0] = upTo(3) == 0 ? 100000 + upTo(100) : upTo(2000);
  const bool cooked = upTo(3) == 0;
  const int nIn = upTo(upTo(10) == 0 ? kMaxIns + 1 : cooked ? 10 : 4), nOut = 1 + upTo(upTo(10) == 0 ? kMaxOuts : 3);
  int nSteps = upTo(upTo(10) == 0 ? kMaxSteps + 1 : 6);
  if (nIn == 0) return true;
  std::vector<Memory> memory(size_t(nIn + nOut));
  std::vector<View> in(size_t(nIn) + 1), out(static_cast<size_t>(nOut));
  const bool oneType = upTo(2) == 0;
  const DType common = kCompute[upTo(6)];
  for (int i = 0; i < nIn; i++) in[i] = someView(oneType ? common : kAll[upTo(8)], ndim, shape, false, memory[i]);
  std::vector<int32_t> attr = {nSteps};
  std::vector<DType> type;
  for (int i = 0; i < nIn; i++) type.push_back(in[i].dtype);
  for (int k = 0; k < nSteps; k++) {
    int fn;
    DType t;
    do {
      fn = upTo(kElementwiseFns);
      t = oneType && upTo(8) ? common : kCompute[upTo(6)];
    } while ((ctypesOf(fn) >> ctypeOf(t) & 1) == 0);
    attr.push_back(fn);
    attr.push_back(int(t));
    for (int s = 0; s < 3; s++) attr.push_back(s < arityOf(fn) ? upTo(nIn + k) : -1);
    type.push_back(isPredicate(fn) ? DType::boolean : t);
  }
  if (cooked) appendRecipe(attr, type, in, nIn);
  nSteps = attr[0];
  for (int j = 0; j < nOut; j++) {
    const int r = upTo(3) ? nIn + nSteps - 1 : upTo(nIn + nSteps);
    attr.push_back(r);
    // In place when an input's layout has no overlap of its own and no other output took it.
    bool placed = false;
    if (nIn > 0 && upTo(3) == 0) {
      const int i = upTo(nIn);
      bool ok = in[i].ndim == ndim;
      for (int d = 0; ok && d < ndim; d++) ok = in[i].strides[d] != 0 || shape[d] <= 1;
      for (int e = 0; e < j; e++) ok = ok && out[e].data != in[i].data;
      if (ok) out[j] = in[i], placed = true;
    }
    const DType want = upTo(2) ? type[size_t(r)] : kAll[upTo(8)];
    if (!placed) out[j] = someView(want, ndim, shape, true, memory[size_t(nIn + j)]);
  }
  for (Memory& m : memory) m.before = m.bytes;
  Call call = {"elementwise", attr.data(), int32_t(attr.size()), out.data(), nOut, in.data(), nIn};
  check_elementwise(call);
  // What a program keeps is used with other addresses and numbers than those that it was made with.
  std::unique_ptr<Prepared> kept;
  if (upTo(2) == 0) {
    call.keep = &kept;
    run_elementwise(call);
    for (Memory& m : memory) {
      for (size_t k = 0; k < m.bytes.size(); k++) m.bytes[k] = m.before[k];
      m.moved = m.bytes;
      for (View* v = out.data(); v < out.data() + nOut; v++) v->data = movedTo(m, v->data);
      for (int i = 0; i < nIn; i++) in[i].data = movedTo(m, in[i].data);
      m.bytes.swap(m.moved);
    }
    for (int i = 0; i < nIn; i++)
      if (in[i].ndim == 0) {
        someElement(in[i].dtype, in[i].data);
        for (Memory& m : memory)
          if (in[i].data >= m.bytes.data() && in[i].data < m.bytes.data() + m.bytes.size())
            std::memcpy(m.before.data() + (in[i].data - m.bytes.data()), in[i].data, sizeOf(in[i].dtype));
      }
  }
  run_elementwise(call);

  // The interpreter writes into the copies.
  const auto twin = [&](const char* p) -> char* {
    for (Memory& m : memory)
      if (p >= m.bytes.data() && p < m.bytes.data() + m.bytes.size()) return m.before.data() + (p - m.bytes.data());
    return nullptr;
  };
  std::vector<char*> outTwin, inTwin;
  for (const View& v : out) outTwin.push_back(twin(v.data));
  for (int i = 0; i < nIn; i++) inTwin.push_back(twin(in[i].data));
  int64_t count = 1;
  for (int d = 0; d < ndim; d++) count *= shape[d];
  const Steps steps(call);
  std::vector<Cell> reg(size_t(nIn + nSteps));
  for (int64_t e = 0; e < count; e++) {
    int64_t index[kMaxDims], rest = e;
    for (int d = ndim - 1; d >= 0; d--) index[d] = rest % shape[d], rest /= shape[d];
    for (int i = 0; i < nIn; i++) std::memcpy(&reg[i], inTwin[i] + offsetOf(in[i], ndim, index), sizeOf(in[i].dtype));
    for (int k = 0; k < nSteps; k++) {
      Cell a[3];
      const CType t = ctypeOf(steps.dtype(k));
      for (int s = 0; s < arityOf(steps.fn(k)); s++) {
        const int r = steps.source(k, s);
        a[s] = converted(table, reg[r], type[size_t(r)], steps.fn(k) == kFn_where && s == 0 ? kBool : t);
      }
      table.fn[steps.fn(k)][t](&a[0], &a[1], &a[2], &reg[nIn + k], 1);
    }
    for (int j = 0; j < nOut; j++) {
      const int r = steps.output(j);
      const DType want = out[j].dtype, have = type[size_t(r)];
      Cell v = reg[r];
      if (want != have) {
        v = converted(table, v, have, ctypeOf(want));
        Cell w;
        if (want == DType::f16) table.floatToHalf(&v, nullptr, nullptr, &w, 1), v = w;
        if (want == DType::bf16) table.floatToBfloat(&v, nullptr, nullptr, &w, 1), v = w;
      }
      std::memcpy(outTwin[j] + offsetOf(out[j], ndim, index), &v, sizeOf(want));
    }
  }
  for (int j = 0; j < nOut; j++)
    for (int64_t e = 0; e < count; e++) {
      int64_t index[kMaxDims], rest = e;
      for (int d = ndim - 1; d >= 0; d--) index[d] = rest % shape[d], rest /= shape[d];
      const int64_t o = offsetOf(out[j], ndim, index);
      if (!sameCell(out[j].data + o, outTwin[j] + o, out[j].dtype)) {
        std::printf("program %d: output %d (%s) differs at element %lld of %lld\n", number, j, nameOf(out[j].dtype),
                    (long long)e, (long long)count);
        return false;
      }
      std::memcpy(outTwin[j] + o, out[j].data + o, sizeOf(out[j].dtype));
    }
  for (size_t m = 0; m < memory.size(); m++)
    if (memory[m].bytes != memory[m].before) {
      std::printf("program %d: wrote outside the outputs\n", number);
      return false;
    }
  return true;
}

// Planes in rectangles, one input given block by block, against the instruction run whole.
bool planes(int number) {
  const int sides[] = {1, 2, 5, 8, 17, 33, 64, 100, 257};
  const int32_t shape[3] = {1 + upTo(3), sides[upTo(9)], sides[upTo(9)]};
  const int nIn = 1 + upTo(8), nOut = 1 + upTo(3), input = upTo(nIn);
  std::vector<Memory> memory(size_t(nIn + 2 * nOut));
  std::vector<View> in(static_cast<size_t>(nIn)), out(static_cast<size_t>(nOut));
  std::vector<DType> type;
  for (int i = 0; i < nIn; i++) {
    in[i] = someView(upTo(3) || i == input ? DType::f32 : kAll[upTo(8)], 3, shape, i == input, memory[i]);
    type.push_back(in[i].dtype);
  }
  std::vector<int32_t> attr = {0};
  for (int k = 1 + upTo(2); k > 0; k--) appendRecipe(attr, type, in, nIn);
  for (int j = 0; j < nOut; j++) {
    attr.push_back(nIn + attr[0] - 1 - upTo(attr[0]));
    const DType own = type[size_t(attr.back())];
    out[j] = someView(upTo(3) ? own : kAll[upTo(8)], 3, shape, true, memory[size_t(nIn + j)]);
    memory[size_t(nIn + nOut + j)].bytes = memory[size_t(nIn + j)].bytes;
  }
  Call call = {"elementwise", attr.data(), int32_t(attr.size()), out.data(), nOut, in.data(), nIn};
  check_elementwise(call);
  run_elementwise(call);
  std::vector<View> again = out;
  for (int j = 0; j < nOut; j++)
    again[j].data = memory[size_t(nIn + nOut + j)].bytes.data() + (out[j].data - memory[size_t(nIn + j)].bytes.data());
  const View product = in[input];
  in[input].data = nullptr;
  call.out = again.data();
  // Blocks lie where an output does, or in memory of their own, in rows with or without gaps.
  const bool turned = upTo(2) != 0, wholeRows = upTo(2) != 0;
  const int r = turned ? 2 : 1, c = turned ? 1 : 2;
  const int64_t rows = shape[r], cols = shape[c], ld = cols + (wholeRows ? 0 : upTo(3));
  const View& first = again[0];
  const bool inPlace = upTo(2) == 0 && first.dtype == DType::f32 && first.strides[c] == 1;
  if (inPlace) in[input].data = first.data;
  const auto prepared = ElementwisePlanes::prepare(call, input, turned, wholeRows);
  const int64_t height = 1 + upTo(int(rows)), width = wholeRows && upTo(4) ? cols : 1 + upTo(int(cols));
  std::vector<float> own(size_t(ld * rows));
  for (int64_t batch = 0; batch < shape[0]; batch++)
    for (int64_t row = 0; row < rows; row += height)
      for (int64_t col = 0; col < cols; col += width) {
        const ElementwisePlanes::Rectangle where = {batch, row, std::min(height, rows - row), col,
                                                    std::min(width, cols - col)};
        ElementwisePlanes::Block block = {own.data(), ld, 1};
        if (inPlace) {
          const int64_t at = batch * first.strides[0] + row * first.strides[r] + col;
          block = {first.as<float>() + at, first.strides[r], 1};
        }
        for (int64_t i = 0; i < where.rows; i++)
          for (int64_t j = 0; j < where.cols; j++)
            block.data[i * block.rowStride + j * block.colStride] =
                product.as<float>()[batch * product.strides[0] + (row + i) * product.strides[r] + (col + j) * product.strides[c]];
        prepared->run(call, where, block);
      }
  for (int j = 0; j < nOut; j++)
    for (int64_t e = 0; e < int64_t(shape[0]) * shape[1] * shape[2]; e++) {
      const int64_t index[3] = {e / shape[2] / shape[1], e / shape[2] % shape[1], e % shape[2]};
      const int64_t o = offsetOf(out[j], 3, index);
      if (!sameCell(out[j].data + o, again[j].data + o, out[j].dtype)) {
        std::printf("planes %d of %d x %d x %d: output %d differs at (%lld, %lld, %lld)\n", number, shape[0], shape[1],
                    shape[2], j, (long long)index[0], (long long)index[1], (long long)index[2]);
        return false;
      }
    }
  return true;
}

// Every recipe is what its own steps become: one operation.
bool found(int id) {
  const Recipe& recipe = kRecipeRows[id];
  std::vector<float> data(size_t(recipe.nIn + recipe.nOut) * 64, 0.5f);
  std::vector<View> views(size_t(recipe.nIn + recipe.nOut));
  for (size_t k = 0; k < views.size(); k++) {
    views[k].data = reinterpret_cast<char*>(data.data() + 64 * k);
    views[k].present = true;
    views[k].ndim = int(k) < recipe.nIn && recipe.number[k] ? 0 : 1;
    views[k].shape[0] = 64;
    views[k].strides[0] = 1;
  }
  std::vector<int32_t> attr = {recipe.nSteps};
  for (int k = 0; k < recipe.nSteps; k++) {
    const Recipe::Step& step = recipe.steps[k];
    attr.insert(attr.end(), {step.fn, int32_t(DType::f32), step.from[0], step.from[1], step.from[2]});
  }
  for (int j = 0; j < recipe.nOut; j++) attr.push_back(recipe.out[j]);
  const Call call = {"elementwise", attr.data(), int32_t(attr.size()), views.data() + recipe.nIn,
                     recipe.nOut,   views.data(), recipe.nIn};
  check_elementwise(call);
  Space::Memory spaceMemory;
  Plan::Memory planMemory;
  const Space space(call, Space::whole, spaceMemory);
  const Plan plan(call, space, Space::whole, tableInUse(), planMemory);
  if (plan.nOps == 1 && plan.ops[0].kind == Op::recipe) return true;
  std::printf("recipe %d of %d steps becomes %d operations\n", id, recipe.nSteps, plan.nOps);
  return false;
}

// A recipe that streams its result computes what it does otherwise, around the sizes of vectors and groups of them, at
// addresses where it can stream and where it cannot, and nothing beyond.
bool streams(int id) {
  const Recipe& recipe = kRecipeRows[id];
  const ElementwiseTable& table = tableInUse();
  if (table.streaming[id] == nullptr) return true;
  constexpr size_t kMost = 300;
  std::vector<std::vector<float>> data(recipe.nIn, std::vector<float>(kMost));
  std::vector<const void*> in;
  for (std::vector<float>& values : data) {
    for (size_t i = 0; i < kMost; i++) values[i] = i % 37 == 5 ? NAN : i % 41 == 7 ? INFINITY : float(upTo(2000)) / 250 - 4;
    in.push_back(values.data());
  }
  std::vector<float> memory(2 * kMost);
  float* aligned = memory.data();
  while ((reinterpret_cast<uintptr_t>(aligned) & 63) != 0) aligned++;
  for (const int64_t n : {0, 1, 15, 63, 64, 65, 127, 192, 255, 300})
    for (int shift = 0; shift < 20; shift += 3) {
      std::vector<float> want(kMost + 1, -77.0f);
      std::fill(memory.begin(), memory.end(), -77.0f);
      void* expected = want.data();
      void* got = aligned + shift;
      table.recipe[id](in.data(), &expected, n);
      table.streaming[id](in.data(), &got, n);
      table.fence();
      for (int64_t i = 0; i <= n; i++) {
        const float a = want[size_t(i)], b = aligned[shift + i];
        if (a == b || (std::isnan(a) && std::isnan(b))) continue;
        std::printf("recipe %d, %lld elements, shift %d: [%lld] %g, not %g\n", id, (long long)n, shift, (long long)i, b, a);
        return false;
      }
    }
  return true;
}

// A result large enough is streamed, by the recipe itself or block by block, and is what a smaller one is.
bool streamsWhole(const int32_t* attr, int words, int inputs) {
  constexpr int64_t kCount = (int64_t(8) << 20) + 37, kPart = 1 << 16;
  std::vector<float> x(kCount), y(kCount + 16), part(kPart);
  for (size_t i = 0; i < x.size(); i++) x[i] = float(i % kPart % 4001) / 500 - 4;
  float numbers[] = {0.7f, 1.0f, 0.5f};
  View views[5];
  const auto set = [](View& v, float* data, int ndim, int64_t n) {
    v.data = reinterpret_cast<char*>(data);
    v.present = true;
    v.ndim = int8_t(ndim);
    v.shape[0] = int32_t(n);
    v.strides[0] = 1;
  };
  for (int k = 0; k < 3; k++) set(views[k + 2], numbers + k, 0, 1);
  const Call call = {"elementwise", attr, int32_t(words), views, 1, views + 1, inputs};
  set(views[0], part.data(), 1, kPart), set(views[1], x.data(), 1, kPart);
  run_elementwise(call);
  for (int shift = 0; shift < 2; shift++) {
    set(views[0], y.data() + shift, 1, kCount), set(views[1], x.data(), 1, kCount);
    check_elementwise(call);
    run_elementwise(call);
    for (int64_t i = 0; i < kCount; i++)
      if (y[size_t(i + shift)] != part[size_t(i % kPart)]) {
        std::printf("%d steps streamed at shift %d: [%lld]\n", attr[0], shift, (long long)i);
        return false;
      }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int programs = argc > 1 ? std::atoi(argv[1]) : 2000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  FlushDenormals flush;  // as the pool's threads do
  int failed = 0;
  for (int id = 0; id < kRecipes; id++) failed += !found(id) + !streams(id);
  const int32_t gelu[] = {5, kFn_mul, 0, 0, 1, -1, kFn_erf, 0, 4,  -1, -1, kFn_add, 0,
                          5, 2,       -1, kFn_mul, 0, 6, 3, -1, kFn_mul, 0,  0,  7,       -1, 8};
  const int32_t exponential[] = {1, kFn_exp, 0, 0, -1, -1, 1};
  failed += !streamsWhole(gelu, std::size(gelu), 4) + !streamsWhole(exponential, std::size(exponential), 1);
  for (int k = 0; k < programs && failed < 5; k++) {
    state = (seed * 1000003 + uint64_t(k)) * 0x9E3779B97F4A7C15u;
    failed += k % 4 == 3 ? !planes(k) : !one(k);
  }
  std::printf("%s, %d threads: %d programs, %d failed\n", nameOf(isa()), getThreads(), programs, failed);
  return failed != 0;
}

// How an element-wise instruction is turned into operations on blocks: common dimensions, conversions made once, each
// output written by the operation that computes it where no later one still reads what lies there.
#include "elementwise_plan.h"

#include <algorithm>

namespace nabla {

namespace {

struct Row {
  int8_t arity;
  bool predicate;
  int16_t ctypes, cost;
};
constexpr bool value = false, predicate = true;
constexpr Row kRows[] = {
#define ELEMENTWISE(name, arity, result, types, cost) {arity, result, ctypes::types, cost},
#include "../graph/elementwise.def"
#undef ELEMENTWISE
};

// A result this large will not be found in a cache by its reader anyway.
constexpr int64_t kStreamBytes = int64_t(32) << 20;

template <typename T>
void move(const void* a, const void*, const void*, void* out, int64_t n) {
  std::memmove(out, a, sizeof(T) * size_t(n));
}
BlockFn moveOf(int size) {
  return size == 1 ? move<uint8_t> : size == 2 ? move<uint16_t> : size == 4 ? move<uint32_t> : move<uint64_t>;
}

int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

class Planner {
 public:
  Planner(const Call& call, const Space& space, Plan& plan) : call_(call), space_(space), plan_(plan), steps_(call) {
    const int registers = call.nIn + steps_.n;
    for (int r = 0; r < registers; r++) {
      raw_[r] = -1;
      for (int t = 0; t < kCTypes; t++) as_[r][t] = -1;
    }
    for (int k = 0; k < steps_.n; k++) addStep(k);
    addOutputs();
    assignBuffers();
  }

 private:
  DType dtypeOf(int r) const {
    if (r < call_.nIn) return call_.in[r].dtype;
    const int k = r - call_.nIn;
    return isPredicate(steps_.fn(k)) ? DType::boolean : steps_.dtype(k);
  }

  int newValue(int size, int operand = -1) {
    plan_.values[plan_.nValues] = {int16_t(operand), -1, -1, int8_t(size)};
    return plan_.nValues++;
  }
  int add(Op::Kind kind, int operand, int to, BlockFn fn, int a, int b, int c) {
    plan_.cost++;
    plan_.ops[plan_.nOps++] = {kind, int16_t(operand), int16_t(to), {int16_t(a), int16_t(b), int16_t(c)}, fn};
    return to;
  }
  int apply(BlockFn fn, int a, int size) { return add(Op::call, -1, newValue(size), fn, a, a, a); }

  int constant(const void* data, int size) {
    Constant c = {int16_t(newValue(size)), 0};
    std::memcpy(&c.bits, data, size_t(size));
    plan_.constants[plan_.nConstants++] = c;
    return c.value;
  }
  bool isConstant(int r) const { return r < call_.nIn && space_.constant(call_.nOut + r); }

  // The value of a register in its own dtype.
  int raw(int r) {
    if (raw_[r] >= 0) return raw_[r];
    const View& in = call_.in[r];
    const int operand = call_.nOut + r, size = int(sizeOf(in.dtype));
    if (isConstant(r)) return raw_[r] = int16_t(constant(in.data, size));
    if (space_.direct(operand)) return raw_[r] = int16_t(newValue(size, operand));
    const int to = newValue(size);
    return raw_[r] = int16_t(add(Op::load, operand, to, nullptr, -1, -1, -1));
  }

  // The value of a register converted to a ctype. Bytes of a bool serve as uint8.
  int as(int r, CType type) {
    if (as_[r][type] >= 0) return as_[r][type];
    const DType dtype = dtypeOf(r);
    const CType own = ctypeOf(dtype);
    const BlockFn widen = dtype == DType::f16    ? plan_.table.halfToFloat
                          : dtype == DType::bf16 ? plan_.table.bfloatToFloat
                                                 : nullptr;
    const bool same = own == type || (own == kBool && type == kU8);
    int v;
    if (widen == nullptr && same) {
      v = raw(r);
    } else if (isConstant(r)) {  // convert the one element
      uint64_t x = 0, y = 0;
      std::memcpy(&x, call_.in[r].data, sizeOf(dtype));
      if (widen != nullptr) widen(&x, nullptr, nullptr, &y, 1), x = y;
      if (!same) plan_.table.convert[own][type](&x, nullptr, nullptr, &y, 1), x = y;
      v = constant(&x, sizeOfCType(type));
    } else if (same) {
      v = apply(widen, raw(r), 4);
    } else {
      v = apply(plan_.table.convert[own][type], widen == nullptr ? raw(r) : as(r, kF32), sizeOfCType(type));
    }
    return as_[r][type] = int16_t(v);
  }
  static int sizeOfCType(CType t) {
    constexpr int sizes[kCTypes] = {4, 8, 4, 8, 1, 1};
    return sizes[t];
  }

  void addStep(int k) {
    const int fn = steps_.fn(k), arity = arityOf(fn);
    const CType type = ctypeOf(steps_.dtype(k));
    int from[3] = {};
    for (int s = 0; s < arity; s++) from[s] = as(steps_.source(k, s), fn == kFn_where && s == 0 ? kBool : type);
    for (int s = arity; s < 3; s++) from[s] = from[0];
    if (fn == kFn_copy) {  // no more than a conversion
      raw_[call_.nIn + k] = int16_t(from[0]);
      return;
    }
    const int r = call_.nIn + k, to = newValue(int(sizeOf(dtypeOf(r))));
    add(Op::call, -1, to, plan_.table.fn[fn][type], from[0], from[1], from[2]);
    // float64 functions are slower than float32 ones, those of the C library most.
    plan_.cost += costOf(fn) * (type == kF64 && costOf(fn) > 2 ? 4 : 1);
    raw_[r] = int16_t(to);
  }

  bool aliasesInput(const View& out) const {
    for (int i = 0; i < call_.nIn; i++)
      if (call_.in[i].data == out.data) return true;
    return false;
  }
  // Whether an operation after the one that computes `v` reads input memory where `out` lies.
  bool readLater(const View& out, int v) const {
    if (!aliasesInput(out)) return false;
    const auto lies = [&](int operand) {
      return operand >= call_.nOut && call_.in[operand - call_.nOut].data == out.data;
    };
    for (int k = plan_.nOps - 1; k >= 0 && plan_.ops[k].to != v; k--) {
      const Op& op = plan_.ops[k];
      if (op.kind == Op::load && lies(op.operand)) return true;
      if (op.kind == Op::call)
        for (int a : op.from)
          if (lies(plan_.values[a].operand)) return true;
    }
    return false;
  }

  void addOutputs() {
    // First everything is read and computed …
    int value[kMaxOuts];
    for (int j = 0; j < call_.nOut; j++) {
      const int r = steps_.output(j);
      const DType want = call_.out[j].dtype;
      int v = want == dtypeOf(r)            ? raw(r)
              : want == DType::f16          ? apply(plan_.table.floatToHalf, as(r, kF32), 2)
              : want == DType::bf16         ? apply(plan_.table.floatToBfloat, as(r, kF32), 2)
                                            : as(r, ctypeOf(want));
      // An input or a value with two destinations gets a copy that only this output has.
      const bool computed = plan_.values[v].operand < 0 && !isConstantValue(v);
      const int size = plan_.values[v].size;
      if (!computed || std::find(value, value + j, v) != value + j) v = apply(moveOf(size), v, size);
      value[j] = v;
    }
    // … then written.
    for (int j = 0; j < call_.nOut; j++) {
      const View& out = call_.out[j];
      const int v = value[j];
      if (!space_.direct(j)) {
        add(Op::store, j, -1, nullptr, v, v, v);
      } else if (space_.count * int64_t(sizeOf(out.dtype)) >= kStreamBytes && !aliasesInput(out)) {
        add(Op::stream, j, -1, plan_.table.stream, v, v, v);
      } else if (!readLater(out, v)) {
        plan_.values[v].operand = int16_t(j);
      } else {
        const int size = plan_.values[v].size;
        add(Op::call, -1, newValue(size, j), moveOf(size), v, v, v);
      }
    }
  }
  bool isConstantValue(int v) const {
    for (int k = 0; k < plan_.nConstants; k++)
      if (plan_.constants[k].value == v) return true;
    return false;
  }

  // Buffers are handed on when their value has been read for the last time; constants keep theirs.
  void assignBuffers() {
    for (int k = 0; k < plan_.nOps; k++)
      if (plan_.ops[k].kind != Op::load)
        for (int v : plan_.ops[k].from) plan_.values[v].lastUse = int16_t(k);
    for (int k = 0; k < plan_.nConstants; k++) {
      Value& v = plan_.values[plan_.constants[k].value];
      v.lastUse = int16_t(plan_.nOps);
      take(v);
    }
    for (int k = 0; k < plan_.nOps; k++) {
      const Op& op = plan_.ops[k];
      if (op.to >= 0 && plan_.values[op.to].operand < 0) take(plan_.values[op.to]);
      if (op.kind == Op::load) continue;
      for (int s = 0; s < 3; s++) {
        Value& v = plan_.values[op.from[s]];
        if (v.buffer >= 0 && v.lastUse == k) {
          free_[nFree_++] = v.buffer;
          v.lastUse = -1;  // given back once
        }
      }
    }
  }
  void take(Value& v) {
    v.buffer = int16_t(nFree_ > 0 ? free_[--nFree_] : plan_.nBuffers++);
    plan_.width = std::max(plan_.width, int(v.size));
  }

  const Call& call_;
  const Space& space_;
  Plan& plan_;
  const Steps steps_;
  int16_t raw_[kMaxRegisters];
  int16_t as_[kMaxRegisters][kCTypes];
  int16_t free_[kMaxValues];
  int nFree_ = 0;
};

}  // namespace

int arityOf(int fn) { return kRows[fn].arity; }
bool isPredicate(int fn) { return kRows[fn].predicate; }
int ctypesOf(int fn) { return kRows[fn].ctypes; }
int costOf(int fn) { return kRows[fn].cost; }

Space::Space(const Call& call) : nOut(call.nOut), operands(call.nOut + call.nIn) {
  const auto view = [&](int k) -> const View& { return k < nOut ? call.out[k] : call.in[k - nOut]; };
  const View& first = call.out[0];
  count = first.numel();
  bool dense = true;
  for (int k = 0; k < operands && dense; k++) dense = (k >= nOut && view(k).ndim == 0) || view(k).contiguous();
  if (dense) {
    ndim = 1;
    shape[0] = count;
    for (int k = 0; k < operands; k++) stride[k][0] = k < nOut || view(k).ndim != 0 ? 1 : 0;
    return;
  }
  // Dimensions longer than 1, so that the first output is written as nearly in order of its memory as can be.
  int order[kMaxDims], n = 0;
  for (int d = 0; d < first.ndim; d++) {
    if (first.shape[d] == 1) continue;
    int at = n++;
    const int64_t step = magnitude(first.strides[d]);
    for (; at > 0 && magnitude(first.strides[order[at - 1]]) < step; at--) order[at] = order[at - 1];
    order[at] = d;
  }
  // Neighbours that every operand steps through alike become one.
  for (int i = 0; i < n; i++) {
    const int d = order[i];
    const int64_t size = first.shape[d];
    const auto step = [&](int k) { return view(k).ndim == 0 ? int64_t(0) : view(k).strides[d]; };
    bool merge = ndim > 0;
    for (int k = 0; k < operands && merge; k++) merge = stride[k][ndim - 1] == step(k) * size;
    if (!merge) shape[ndim++] = 1;
    shape[ndim - 1] *= size;
    for (int k = 0; k < operands; k++) stride[k][ndim - 1] = step(k);
  }
  if (ndim == 0) {
    ndim = 1;
    shape[0] = 1;
    for (int k = 0; k < operands; k++) stride[k][0] = k < nOut || view(k).ndim != 0 ? 1 : 0;
    return;
  }
  chooseWalk();
}

void Space::chooseWalk() {
  constexpr int64_t kLongRow = 128, kTileSide = 8;
  const int last = ndim - 1;
  if (ndim == 1) return;
  if (shape[last] >= kTileSide) {
    for (int k = 0; k < operands; k++) {
      if (magnitude(stride[k][last]) <= 1) continue;
      for (int d = 0; d < last; d++) {
        if (magnitude(stride[k][d]) != 1 || shape[d] < kTileSide) continue;
        for (int e = d; e + 1 < last; e++) {  // dimension d becomes the last but one
          std::swap(shape[e], shape[e + 1]);
          for (int o = 0; o < operands; o++) std::swap(stride[o][e], stride[o][e + 1]);
        }
        walk = Walk::tiles;
        return;
      }
    }
  }
  if (shape[last] < kLongRow) walk = Walk::flat;
}

bool Space::direct(int operand) const {
  const int64_t* s = stride[operand];
  if (walk == Walk::rows) return s[ndim - 1] == 1;
  if (walk == Walk::tiles) return false;
  int64_t expect = 1;
  for (int d = ndim - 1; d >= 0; d--) {
    if (s[d] != expect) return false;
    expect *= shape[d];
  }
  return true;
}

bool Space::constant(int operand) const {
  for (int d = 0; d < ndim; d++)
    if (stride[operand][d] != 0) return false;
  return true;
}

Plan::Plan(const Call& call, const Space& space, const ElementwiseTable& table) : table(table) {
  Planner(call, space, *this);
}

}  // namespace nabla

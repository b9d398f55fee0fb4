// How an element-wise instruction is turned into operations on blocks: common dimensions, conversions made once, each
// output written by the operation that computes it where no later one still reads what lies there.
#include "elementwise_plan.h"

#include <algorithm>

namespace nabla {

namespace {

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

#include "simd/elementwise_recipes.h"

// Which recipe the steps from `k` on follow; bound[i] is then the register that is its input i. Null if there is none.
struct Match {
  const Recipe* recipe = nullptr;
  int id, bound[kMaxRecipeIns];
};

class Planner {
 public:
  Planner(const Call& call, const Space& space, Space::Kind kind, Plan& plan)
      : call_(call), space_(space), kind_(kind), plan_(plan), steps_(call) {
    const int registers = call.nIn + steps_.n;
    for (int r = 0; r < registers; r++) {
      raw_[r] = -1;
      uses_[r] = 0;
      for (int t = 0; t < kCTypes; t++) as_[r][t] = -1;
    }
    for (int k = 0; k < steps_.n; k++)
      for (int s = 0; s < arityOf(steps_.fn(k)); s++) uses_[steps_.source(k, s)]++;
    for (int j = 0; j < call.nOut; j++) uses_[steps_.output(j)]++;
    for (int k = 0; k < steps_.n;) {
      const Match match = findRecipe(k);
      if (match.recipe != nullptr) {
        addRecipe(k, match);
        k += match.recipe->nSteps;
      } else {
        addStep(k++);
      }
    }
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
  void addArg(int v) { plan_.args[plan_.nArgs++] = int16_t(v); }
  Op& add(Op::Kind kind, int operand, int reads, int writes) {
    plan_.cost++;
    Op& op = plan_.ops[plan_.nOps++];
    op.kind = kind;
    op.operand = int16_t(operand);
    op.reads = int8_t(reads), op.writes = int8_t(writes);
    op.args = int16_t(plan_.nArgs);
    return op;
  }
  // A function of up to three values, which are blocks.
  int call(BlockFn fn, int a, int b, int c, int to) {
    a = block(a), b = block(b), c = block(c);
    add(Op::call, -1, 3, 1).fn = fn;
    addArg(a), addArg(b), addArg(c), addArg(to);
    return to;
  }
  int apply(BlockFn fn, int a, int size) { return call(fn, a, a, a, newValue(size)); }

  int constant(int r, BlockFn widen, BlockFn convert, int size) {
    const int v = newValue(size);
    plan_.constants[plan_.nConstants++] = {int16_t(r), int16_t(v), -1, widen, convert};
    return v;
  }
  bool isConstant(int r) const { return r < call_.nIn && space_.constant(call_.nOut + r); }
  Constant* constantOf(int v) const {
    for (int k = 0; k < plan_.nConstants; k++)
      if (plan_.constants[k].value == v || plan_.constants[k].filled == v) return &plan_.constants[k];
    return nullptr;
  }
  // A value as a block: a constant fills one.
  int block(int v) {
    if (plan_.values[v].operand >= 0) return v;
    Constant* c = constantOf(v);
    if (c == nullptr) return v;
    if (c->filled < 0) c->filled = int16_t(newValue(plan_.values[v].size));
    return c->filled;
  }

  // The value of a register in its own dtype.
  int raw(int r) {
    if (raw_[r] >= 0) return raw_[r];
    const View& in = call_.in[r];
    const int operand = call_.nOut + r, size = int(sizeOf(in.dtype));
    if (isConstant(r)) return raw_[r] = int16_t(constant(r, nullptr, nullptr, size));
    if (space_.direct(operand)) return raw_[r] = int16_t(newValue(size, operand));
    const int to = newValue(size);
    add(Op::load, operand, 0, 1);
    addArg(to);
    return raw_[r] = int16_t(to);
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
    const BlockFn convert = same ? nullptr : plan_.table.convert[own][type];
    int v;
    if (widen == nullptr && same) {
      v = raw(r);
    } else if (isConstant(r)) {  // convert the one element
      v = constant(r, widen, convert, sizeOfCType(type));
    } else if (same) {
      v = apply(widen, raw(r), 4);
    } else {
      v = apply(convert, widen == nullptr ? raw(r) : as(r, kF32), sizeOfCType(type));
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
    call(plan_.table.fn[fn][type], from[0], from[1], from[2], to);
    // float64 functions are slower than float32 ones, those of the C library most.
    plan_.cost += costOf(fn) * (type == kF64 && costOf(fn) > 2 ? 4 : 1);
    raw_[r] = int16_t(to);
  }

  // The longest recipe that the steps from `k` on follow.
  Match findRecipe(int k) const {
    Match best;
    for (int id = 0; id < kRecipes; id++) {
      const Recipe& recipe = kRecipeRows[id];
      if (recipe.steps[0].fn != steps_.fn(k) || k + recipe.nSteps > steps_.n) continue;
      if (best.recipe != nullptr && best.recipe->nSteps >= recipe.nSteps) continue;
      Match match;
      if (!follows(k, recipe, match.bound)) continue;
      match.recipe = &recipe;
      match.id = id;
      best = match;
    }
    return best;
  }
  bool follows(int k, const Recipe& recipe, int* bound) const {
    const int first = call_.nIn + k;
    int used[kMaxRecipeSteps] = {};
    std::fill(bound, bound + recipe.nIn, -1);
    for (int j = 0; j < recipe.nSteps; j++) {
      const Recipe::Step& step = recipe.steps[j];
      if (steps_.fn(k + j) != step.fn || steps_.dtype(k + j) != DType::f32) return false;
      for (int s = 0; s < arityOf(step.fn); s++) {
        const int r = steps_.source(k + j, s), from = step.from[s];
        if (from >= recipe.nIn) {
          if (r != first + from - recipe.nIn) return false;
          used[from - recipe.nIn]++;
        } else if (bound[from] < 0) {
          if (r >= first || recipe.number[from] != isConstant(r)) return false;
          bound[from] = r;
        } else if (bound[from] != r) {
          return false;
        }
      }
    }
    // What is no result must not be read elsewhere.
    for (int j = 0; j < recipe.nSteps; j++) {
      bool result = false;
      for (int o = 0; o < recipe.nOut; o++) result = result || recipe.out[o] == recipe.nIn + j;
      if (!result && uses_[first + j] != used[j]) return false;
    }
    return true;
  }
  void addRecipe(int k, const Match& match) {
    const Recipe& recipe = *match.recipe;
    int in[kMaxRecipeIns];
    for (int i = 0; i < recipe.nIn; i++) {
      in[i] = as(match.bound[i], kF32);
      if (!recipe.number[i]) in[i] = block(in[i]);
    }
    add(Op::recipe, -1, recipe.nIn, recipe.nOut).whole = plan_.table.recipe[match.id];
    for (int i = 0; i < recipe.nIn; i++) addArg(in[i]);
    for (int o = 0; o < recipe.nOut; o++) {
      const int to = newValue(4);
      raw_[call_.nIn + k + recipe.out[o] - recipe.nIn] = int16_t(to);
      addArg(to);
    }
    for (int j = 0; j < recipe.nSteps; j++) plan_.cost += costOf(recipe.steps[j].fn);
  }

  // Whether an input lies at an output's address, and the instruction works in place.
  bool aliases(const View& in, const View& out) const { return in.data == out.data && in.data != nullptr; }
  bool aliasesInput(const View& out) const {
    for (int i = 0; i < call_.nIn; i++)
      if (aliases(call_.in[i], out)) return true;
    return false;
  }
  // Whether an operation after the one that computes `v` reads input memory where `out` lies.
  bool readLater(const View& out, int v) const {
    if (!aliasesInput(out)) return false;
    const auto lies = [&](int operand) {
      return operand >= call_.nOut && aliases(call_.in[operand - call_.nOut], out);
    };
    for (int k = plan_.nOps - 1; k >= 0; k--) {
      const Op& op = plan_.ops[k];
      const int16_t* args = plan_.args + op.args;
      if (std::find(args + op.reads, args + op.reads + op.writes, v) != args + op.reads + op.writes) return false;
      if (op.kind == Op::load && lies(op.operand)) return true;
      for (int i = 0; i < op.reads; i++)
        if (lies(plan_.values[args[i]].operand)) return true;
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
      const bool computed = plan_.values[v].operand < 0 && constantOf(v) == nullptr;
      const int size = plan_.values[v].size;
      if (!computed || std::find(value, value + j, v) != value + j) v = apply(moveOf(size), v, size);
      value[j] = v;
    }
    // … then written.
    for (int j = 0; j < call_.nOut; j++) {
      const View& out = call_.out[j];
      const int v = value[j];
      const int64_t bytes = space_.count * int64_t(sizeOf(out.dtype));
      if (!space_.direct(j)) {
        add(Op::store, j, 1, 0);
        addArg(v);
      } else if (bytes >= kStreamBytes && kind_ == Space::whole && !aliasesInput(out)) {
        plan_.streams = true;
        if (streamsItself(v)) {
          plan_.values[v].operand = int16_t(j);
          continue;
        }
        add(Op::stream, j, 1, 0).fn = plan_.table.stream;
        addArg(v);
      } else if (!readLater(out, v)) {
        plan_.values[v].operand = int16_t(j);
      } else {
        const int size = plan_.values[v].size;
        call(moveOf(size), v, v, v, newValue(size, j));
      }
    }
  }

  // Whether `v` is the result of a recipe that nothing follows, which then streams it.
  bool streamsItself(int v) {
    Op& last = plan_.ops[plan_.nOps - 1];
    if (last.kind != Op::recipe || last.writes != 1 || plan_.args[last.args + last.reads] != v) return false;
    const RecipeFn* const recipes = plan_.table.recipe;
    const RecipeFn fn = plan_.table.streaming[std::find(recipes, recipes + kRecipes, last.whole) - recipes];
    if (fn == nullptr) return false;
    last.whole = fn;
    return true;
  }

  // Buffers are handed on when their value has been read for the last time; constants keep theirs.
  void assignBuffers() {
    for (int k = 0; k < plan_.nOps; k++) {
      const Op& op = plan_.ops[k];
      for (int i = 0; i < op.reads; i++) plan_.values[plan_.args[op.args + i]].lastUse = int16_t(k);
    }
    for (int k = 0; k < plan_.nConstants; k++) {
      const Constant& c = plan_.constants[k];
      if (c.filled < 0) continue;
      plan_.values[c.filled].lastUse = int16_t(plan_.nOps);
      take(plan_.values[c.filled]);
    }
    for (int k = 0; k < plan_.nOps; k++) {
      const Op& op = plan_.ops[k];
      const int16_t* args = plan_.args + op.args;
      for (int i = 0; i < op.writes; i++) {
        Value& v = plan_.values[args[op.reads + i]];
        if (v.operand < 0) take(v);
      }
      for (int i = 0; i < op.reads; i++) give(plan_.values[args[i]], k);
      // A result of a recipe that nothing reads.
      for (int i = 0; i < op.writes; i++) give(plan_.values[args[op.reads + i]], -1);
    }
  }
  void take(Value& v) {
    v.buffer = int16_t(nFree_ > 0 ? free_[--nFree_] : plan_.nBuffers++);
    plan_.width = std::max(plan_.width, int(v.size));
  }
  void give(Value& v, int use) {
    if (v.buffer < 0 || v.lastUse != use) return;
    free_[nFree_++] = v.buffer;
    v.lastUse = kGiven;
  }
  static constexpr int16_t kGiven = -2;

  const Call& call_;
  const Space& space_;
  const Space::Kind kind_;
  Plan& plan_;
  const Steps steps_;
  int16_t raw_[kMaxRegisters];
  int16_t uses_[kMaxRegisters];  // by steps and outputs
  int16_t as_[kMaxRegisters][kCTypes];
  int16_t free_[kMaxValues];
  int nFree_ = 0;
};

}  // namespace

Space::Space(const Call& call, Kind kind, Memory& memory)
    : stride(memory.stride), nOut(call.nOut), operands(call.nOut + call.nIn) {
  if (kind == whole) merge(call);
  else keepPlane(call, kind == planeOfWholeRows);
}

void Space::merge(const Call& call) {
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

void Space::keepPlane(const Call& call, bool wholeRows) {
  const View& first = call.out[0];
  swapped = first.strides[1] != 1 && first.strides[0] == 1;
  const int row = swapped ? 1 : 0, col = 1 - row;
  ndim = 2;
  shape[0] = first.shape[row], shape[1] = first.shape[col];
  count = shape[0] * shape[1];
  for (int k = 0; k < operands; k++) {
    const View& v = k < nOut ? call.out[k] : call.in[k - nOut];
    stride[k][0] = v.ndim == 0 ? 0 : v.strides[row];
    stride[k][1] = v.ndim == 0 ? 0 : v.strides[col];
    if (stride[k][1] != 1 && stride[k][1] != 0) walk = Walk::tiles;
  }
  if (wholeRows && !swapped && walk == Walk::rows) walk = Walk::flat;
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
    if (shape[d] != 1 && s[d] != expect) return false;
    expect *= shape[d];
  }
  return true;
}

bool Space::constant(int operand) const {
  for (int d = 0; d < ndim; d++)
    if (stride[operand][d] != 0) return false;
  return true;
}

Plan::Plan(const Call& call, const Space& space, Space::Kind kind, const ElementwiseTable& table, Memory& memory)
    : table(table), values(memory.values), ops(memory.ops), constants(memory.constants), args(memory.args) {
  Planner(call, space, kind, *this);
}

}  // namespace nabla

// One instruction `elementwise` is one launch: each thread runs the register program on a few elements. A program of
// float32 (with float16, bfloat16, bool or integers at its ends) keeps float32 registers; any other keeps 64 bits.
#include "elementwise.cuh"

namespace nabla {
namespace cuda {

namespace {

DType dtypeOf(const Call& call, const Steps& steps, int r) {
  if (r < call.nIn) return call.in[r].dtype;
  const int k = r - call.nIn;
  return isPredicate(steps.fn(k)) ? DType::boolean : steps.dtype(k);
}

// Hands out registers; `last` is the step that reads a value last.
class Registers {
 public:
  int take() {
    if (!free_.empty()) {
      const int r = free_.back();
      free_.pop_back();
      return r;
    }
    return used_++;
  }
  void give(int r) { free_.push_back(r); }
  int used() const { return used_; }

 private:
  std::vector<int> free_;
  int used_ = 0;
};

}  // namespace

ElementwisePlan::ElementwisePlan(const Call& call) {
  const Steps steps(call);
  const int values = call.nIn + steps.n;
  const View& first = call.out[0];
  args.count = uint32_t(first.numel());
  args.nIn = uint8_t(call.nIn), args.nOut = uint8_t(call.nOut), args.nSteps = uint8_t(steps.n);

  // Registers.
  int last[kMaxRegisters], reg[kMaxRegisters];
  std::fill(last, last + values, -1);
  for (int k = 0; k < steps.n; k++)
    for (int s = 0; s < arityOf(steps.fn(k)); s++) last[steps.source(k, s)] = k;
  for (int j = 0; j < call.nOut; j++) last[steps.output(j)] = steps.n;
  Registers registersInUse;
  for (int i = 0; i < call.nIn; i++) reg[i] = registersInUse.take();
  floats = true;
  for (int k = 0; k < steps.n; k++) {
    ElementwiseArgs::Step& step = args.steps[k];
    step.fn = uint8_t(steps.fn(k));
    step.predicate = isPredicate(steps.fn(k));
    step.ctype = steps.dtype(k);
    floats = floats && step.ctype == DType::f32;
    const int arity = arityOf(steps.fn(k));
    for (int s = 0; s < 3; s++) {
      const int r = steps.source(k, s < arity ? s : 0);
      step.source[s] = uint8_t(reg[r]);
      step.from[s] = dtypeOf(call, steps, r);
    }
    for (int s = 0; s < arity; s++) {
      const int r = steps.source(k, s);
      if (last[r] != k) continue;
      registersInUse.give(reg[r]);
      last[r] = -2;
    }
    reg[call.nIn + k] = registersInUse.take();
    step.target = uint8_t(reg[call.nIn + k]);
    if (last[call.nIn + k] == -1) registersInUse.give(reg[call.nIn + k]);  // nobody reads it
  }
  registers = std::max(1, registersInUse.used());
  floats = floats && registers <= kFloatRegisters;
  for (int i = 0; i < call.nIn; i++) floats = floats && call.in[i].dtype != DType::f64 && call.in[i].dtype != DType::i64;
  for (int j = 0; j < call.nOut; j++) {
    const DType from = dtypeOf(call, steps, steps.output(j));
    args.outFrom[j] = from;
    // An integer that is handed on must not pass through a float.
    floats = floats && (isFloat(from) || from == DType::boolean) && from != DType::f64;
  }

  // Operands, and the dimensions that they share, merged where all of them go on from one to the next.
  const auto view = [&](int k) -> const View& { return k < call.nOut ? call.out[k] : call.in[k - call.nOut]; };
  const int operands = call.nOut + call.nIn;
  for (int k = 0; k < operands; k++) {
    ElementwiseArgs::Operand& operand = k < call.nOut ? args.out[k] : args.in[k - call.nOut];
    const View& v = view(k);
    operand.dtype = v.dtype;
    operand.reg = uint8_t(reg[k < call.nOut ? steps.output(k) : k - call.nOut]);
    operand.bits = 0;
    if (v.inlined) {
      operand.kind = ElementwiseArgs::Operand::constant;
      std::memcpy(&operand.bits, v.data, sizeOf(v.dtype));
    } else {
      operand.kind = v.ndim == 0 && k >= call.nOut ? ElementwiseArgs::Operand::number : ElementwiseArgs::Operand::view;
      operand.data = v.data;
    }
  }
  args.ndim = 0;
  for (int d = 0; d < first.ndim; d++) {
    if (first.shape[d] == 1) continue;
    const int n = args.ndim;
    bool merge = n > 0;
    for (int k = 0; k < operands && merge; k++) {
      const View& v = view(k);
      const int64_t stride = v.ndim == 0 ? 0 : v.strides[d];
      merge = args.stride[k][n - 1] == stride * first.shape[d];
    }
    const int to = merge ? n - 1 : n;
    args.size[to] = merge ? args.size[to] * first.shape[d] : first.shape[d];
    for (int k = 0; k < operands; k++) args.stride[k][to] = view(k).ndim == 0 ? 0 : int32_t(view(k).strides[d]);
    args.ndim = uint8_t(to + 1);
  }
  contiguous = args.ndim <= 1;
  for (int k = 0; k < operands && contiguous; k++)
    if (args.ndim == 1 && view(k).ndim != 0) contiguous = args.stride[k][0] == 1;
}

namespace {

// V elements in a row as float32, with loads as wide as they can be.
template <int V>
DEVICE void loadRow(const ElementwiseArgs::Operand& in, uint32_t first, float (&to)[V]) {
  if constexpr (V == 4) {
    switch (in.dtype) {
      case DType::f32: {
        const float4 x = reinterpret_cast<const float4*>(in.data)[first / 4];
        to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
        return;
      }
      case DType::f16:
      case DType::bf16: {
        const uint2 x = reinterpret_cast<const uint2*>(in.data)[first / 4];
        const uint32_t bits[4] = {x.x & 0xFFFF, x.x >> 16, x.y & 0xFFFF, x.y >> 16};
        for (int v = 0; v < 4; v++)
          to[v] = in.dtype == DType::f16 ? toFloat(Half{uint16_t(bits[v])}) : toFloat(BFloat{uint16_t(bits[v])});
        return;
      }
      default: break;
    }
  }
  for (int v = 0; v < V; v++) to[v] = load<float>(in.data, in.dtype, first + v);
}
template <int V>
DEVICE void storeRow(const ElementwiseArgs::Operand& out, uint32_t first, const float (&from)[V]) {
  if constexpr (V == 4) {
    if (out.dtype == DType::f32) {
      float4 x;
      x.x = from[0], x.y = from[1], x.z = from[2], x.w = from[3];
      reinterpret_cast<float4*>(out.data)[first / 4] = x;
      return;
    }
    if (out.dtype == DType::f16 || out.dtype == DType::bf16) {
      uint32_t bits[4];
      for (int v = 0; v < 4; v++) bits[v] = out.dtype == DType::f16 ? toHalf(from[v]).bits : toBFloat(from[v]).bits;
      uint2 x;
      x.x = bits[0] | bits[1] << 16, x.y = bits[2] | bits[3] << 16;
      reinterpret_cast<uint2*>(out.data)[first / 4] = x;
      return;
    }
  }
  for (int v = 0; v < V; v++) store(out.data, out.dtype, first + v, from[v]);
}

DEVICE float numberOf(const ElementwiseArgs::Operand& in) {
  return load<float>(in.kind == ElementwiseArgs::Operand::constant ? reinterpret_cast<const char*>(&in.bits) : in.data,
                     in.dtype, 0);
}

// Elements [4·thread, 4·thread + 4), all views contiguous; the last thread's may be fewer.
template <int V>
DEVICE void runRow(const ElementwiseArgs& p, uint32_t first) {
  float r[kFloatRegisters][V];
  for (int i = 0; i < p.nIn; i++) {
    const ElementwiseArgs::Operand& in = p.in[i];
    if (in.kind == ElementwiseArgs::Operand::view) {
      loadRow<V>(in, first, r[in.reg]);
    } else {
      const float x = numberOf(in);
      for (int v = 0; v < V; v++) r[in.reg][v] = x;
    }
  }
  runSteps<V>(p, r);
  for (int j = 0; j < p.nOut; j++) storeRow<V>(p.out[j], first, r[p.out[j].reg]);
}
__global__ void __launch_bounds__(kThreads) floatRows(const ElementwiseArgs p) {
  const uint32_t first = threadPosition() * 4;
  if (first + 4 <= p.count) return runRow<4>(p, first);
  for (uint32_t i = first; i < p.count; i++) runRow<1>(p, i);
}

// Views of any strides: neighbouring threads take neighbouring elements, each thread four that are a block apart.
__global__ void __launch_bounds__(kThreads) floatStrided(const ElementwiseArgs p) {
  constexpr int V = 4;
  const uint32_t first = blockIdx.x * kThreads * V + threadIdx.x;
  float r[kFloatRegisters][V];
  for (int i = 0; i < p.nIn; i++) {
    const ElementwiseArgs::Operand& in = p.in[i];
    if (in.kind == ElementwiseArgs::Operand::view) {
      for (int v = 0; v < V; v++) {
        const uint32_t at = first + v * kThreads;
        r[in.reg][v] = at < p.count ? load<float>(in.data, in.dtype, p.offset(p.nOut + i, at)) : 0.0f;
      }
    } else {
      const float x = numberOf(in);
      for (int v = 0; v < V; v++) r[in.reg][v] = x;
    }
  }
  runSteps<V>(p, r);
  for (int j = 0; j < p.nOut; j++)
    for (int v = 0; v < V; v++) {
      const uint32_t at = first + v * kThreads;
      if (at < p.count) store(p.out[j].data, p.out[j].dtype, p.offset(j, at), r[p.out[j].reg][v]);
    }
}

// Registers of 64 bits that hold values of any dtype.
template <typename T>
DEVICE T read(const uint64_t& r, DType from) {
  if constexpr (std::is_same<T, bool>::value) return valueOf(load<Bool>(&r, from, 0)) != 0;
  else return load<T>(&r, from, 0);
}
template <typename T>
DEVICE uint64_t runStep(const ElementwiseArgs::Step& s, const uint64_t* r) {
  T x[3][1], d[1] = {};
  for (int k = 0; k < 3; k++) {
    // The condition of `where` is read as bool.
    if (k == 0 && s.fn == kFn_where) x[0][0] = T(read<bool>(r[s.source[0]], s.from[0]));
    else x[k][0] = read<T>(r[s.source[k]], s.from[k]);
  }
  apply<T, 1>(s.fn, x[0], x[1], x[2], d);
  return s.predicate ? uint64_t(d[0] != T(0)) : bitsOf(d[0]);
}
template <int R>
__global__ void __launch_bounds__(kThreads) anyKernel(const ElementwiseArgs p) {
  const uint32_t i = threadPosition();
  if (i >= p.count) return;
  uint64_t r[R];
  for (int k = 0; k < p.nIn; k++) {
    const ElementwiseArgs::Operand& in = p.in[k];
    if (in.kind == ElementwiseArgs::Operand::constant) {
      r[in.reg] = in.bits;
      continue;
    }
    const int64_t at = in.kind == ElementwiseArgs::Operand::view ? p.offset(p.nOut + k, i) : 0;
    switch (sizeOf(in.dtype)) {
      case 1: r[in.reg] = reinterpret_cast<const uint8_t*>(in.data)[at]; break;
      case 2: r[in.reg] = reinterpret_cast<const uint16_t*>(in.data)[at]; break;
      case 4: r[in.reg] = reinterpret_cast<const uint32_t*>(in.data)[at]; break;
      default: r[in.reg] = reinterpret_cast<const uint64_t*>(in.data)[at]; break;
    }
  }
  for (int k = 0; k < p.nSteps; k++) {
    const ElementwiseArgs::Step& s = p.steps[k];
    uint64_t d = 0;
    switch (s.ctype) {
      case DType::f32: d = runStep<float>(s, r); break;
      case DType::f64: d = runStep<double>(s, r); break;
      case DType::i32: d = runStep<int32_t>(s, r); break;
      case DType::i64: d = runStep<int64_t>(s, r); break;
      case DType::u8: d = runStep<uint8_t>(s, r); break;
      default: d = runStep<bool>(s, r); break;
    }
    r[s.target] = d;
  }
  for (int j = 0; j < p.nOut; j++) {
    const int64_t at = p.offset(j, i);
    const uint64_t& x = r[p.out[j].reg];
    const DType from = p.outFrom[j];
    if (from == DType::f64) store(p.out[j].data, p.out[j].dtype, at, read<double>(x, from));
    else if (isFloat(from)) store(p.out[j].data, p.out[j].dtype, at, read<float>(x, from));
    else store(p.out[j].data, p.out[j].dtype, at, read<int64_t>(x, from));
  }
}

bool aligned(const ElementwiseArgs& p) {
  bool all = true;
  const auto see = [&](const ElementwiseArgs::Operand& o) {
    if (o.kind == ElementwiseArgs::Operand::view) all = all && reinterpret_cast<uintptr_t>(o.data) % (4 * sizeOf(o.dtype)) == 0;
  };
  for (int i = 0; i < p.nIn; i++) see(p.in[i]);
  for (int j = 0; j < p.nOut; j++) see(p.out[j]);
  return all;
}

}  // namespace

void runElementwise(const Call& call) {
  if (call.out[0].numel() == 0) return;
  const ElementwisePlan plan(call);
  const ElementwiseArgs& p = plan.args;
  if (plan.floats && plan.contiguous && aligned(p)) {
    LAUNCH(floatRows, blocksFor(p.count, 4 * kThreads), kThreads, 0, p);
  } else if (plan.floats) {
    LAUNCH(floatStrided, blocksFor(p.count, 4 * kThreads), kThreads, 0, p);
  } else if (plan.registers <= 24) {
    LAUNCH(anyKernel<24>, blocksFor(p.count), kThreads, 0, p);
  } else {
    LAUNCH(anyKernel<kMaxRegisters>, blocksFor(p.count), kThreads, 0, p);
  }
}

}  // namespace cuda

void run_elementwise(const Call& call) { cuda::runElementwise(call); }

}  // namespace nabla

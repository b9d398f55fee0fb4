// Random calls of every kernel but element-wise: right ones, and ones with a wrong number somewhere. `check`
// must refuse what does not fit, `run` must stay inside the views (each lies in a heap block of its own, for the address
// sanitizer to watch) and give the same bits with one thread and with four. Known answers for Philox come first.
//   ./kernels_fuzz [calls] [seed]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../../native/core/denormals.h"
#include "../../native/core/philox.h"
#include "../../native/core/threads.h"
#include "../../native/cpu/rows.h"
#include "../../native/cpu/simd/elementwise_table.h"

using namespace nabla;

namespace {

std::mt19937_64 random64;
int below(int n) { return int(random64() % uint64_t(n)); }
bool chance(int percent) { return below(100) < percent; }
using Shape = std::vector<int32_t>;

// A view with its memory: exactly the elements from the lowest to the highest address, filled with small values.
struct Operand {
  View view;
  std::vector<char> block;
  size_t first = 0;
  Operand(DType dtype, const Shape& shape, bool strided) {
    view.dtype = dtype;
    view.present = true;
    view.ndim = int8_t(shape.size());
    std::vector<int> order(shape.size());
    for (size_t i = 0; i < order.size(); i++) order[i] = int(order.size() - 1 - i);
    if (strided) std::shuffle(order.begin(), order.end(), random64);
    int64_t stride = 1, low = 0, high = 0;
    for (int d : order) {
      view.shape[d] = shape[size_t(d)];
      const int64_t step = stride * (strided ? 1 + below(2) : 1);
      view.strides[d] = strided && chance(30) ? -step : step;
      const int64_t reach = std::max(0, shape[size_t(d)] - 1) * view.strides[d];
      (reach < 0 ? low : high) += reach;
      stride = step * std::max(1, shape[size_t(d)]);
    }
    const size_t item = sizeOf(dtype);
    if (view.numel() == 0) return;
    block.resize(size_t(high - low + 1) * item);
    first = size_t(-low) * item;
    for (size_t i = 0; i < block.size(); i += item)
      withType(dtype, [&](auto tag) {
        using T = TypeOf<decltype(tag)>;
        const T value = convert<T>(double(below(9) - 4));
        std::memcpy(&block[i], &value, item);
      });
  }
  View bound() {
    View v = view;
    v.data = block.empty() ? nullptr : block.data() + first;
    return v;
  }
};

struct Test {
  const char* op;
  Check check;
  Run run;
};
const Test kernels[] = {
#define ALIASING_KERNEL(name)
#define EPILOGUE_KERNEL KERNEL
#define KERNEL(name) {#name, check_##name, run_##name},
#include "../../native/graph/ops.def"
#undef KERNEL
#undef ALIASING_KERNEL
#undef EPILOGUE_KERNEL
};

struct Arguments {
  std::vector<Operand> out, in;
  std::vector<int32_t> attr;
};

DType anyType() { return DType(below(kDTypes)); }
DType anyFloat() { return DType(below(4)); }
Shape anyShape(int least) {
  Shape s;
  for (int n = least + below(4); n > 0; n--) s.push_back(chance(3) ? 0 : chance(3) ? 200 : 1 + below(6));
  return s;
}

// Arguments that fit the kernel.
Arguments argumentsOf(const std::string& op) {
  Arguments a;
  const auto is = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (op == name) return true;
    return false;
  };
  const auto out = [&](DType t, const Shape& s) { a.out.emplace_back(t, s, chance(40)); };
  const auto in = [&](DType t, const Shape& s) { a.in.emplace_back(t, s, chance(40)); };
  const auto value = [&](double v) {
    a.in.emplace_back(DType::f64, Shape{}, false);
    std::memcpy(a.in.back().block.data(), &v, 8);
  };
  const auto index = [&](const Shape& s, int n) {
    const DType t = chance(50) ? DType::i64 : DType::i32;
    in(t, s);
    std::vector<char>& block = a.in.back().block;
    for (size_t i = 0; i < block.size(); i += sizeOf(t)) {
      const int64_t v = chance(1) ? 99 : n == 0 ? 0 : below(2 * n) - n;
      std::memcpy(&block[i], &v, sizeOf(t));  // little-endian
    }
  };
  // (result + bias)·mask and what lies below zero, of which a sum may be kept too; the bias lies along `biasDim`.
  const auto epilogue = [&](const Shape& s, int biasDim) {
    out(chance(70) ? DType::f32 : DType::f16, s), out(chance(50) ? DType::f32 : DType::f16, s), out(DType::boolean, s);
    in(DType::f32, s), in(anyFloat(), s);
    for (int d = 0; d < 3 && chance(50); d++)
      if (d != biasDim) a.in[2].view.strides[d] = 0;
    if (chance(30)) a.in[3].view.ndim = 0;
    const int32_t f32 = int32_t(DType::f32);
    a.attr.insert(a.attr.end(), {3, kFn_add, f32, 0, 1, -1, kFn_mul, f32, 3, 2, -1, kFn_lt, f32, 0, 4, -1, 4,
                                 chance(20) ? 0 : 3, 5});
  };
  if (op == "arange") {
    out(anyType(), {1 + below(50)});
    value(below(9)), value(below(9) - 4);
  } else if (is({"uniform", "normal", "randint"})) {
    out(op == "randint" ? anyType() : anyFloat(), anyShape(0));
    value(below(1000)), value(below(1000));
    if (op == "randint") value(-3), value(4);
  } else if (is({"sum", "prod", "mean", "max", "min", "any", "all", "argmax", "argmin"})) {
    const DType t = op == "mean" ? anyFloat() : anyType();
    const Shape s = anyShape(0);
    const int r = below(int(s.size()) + 1);
    in(t, s);
    out(is({"any", "all"}) ? DType::boolean : op[0] == 'a' ? DType::i64 : t, Shape(s.begin(), s.end() - r));
    a.attr = {r};
  } else if (op == "matmul") {
    const DType t = anyType();
    const auto size = [] { return chance(3) ? 0 : chance(20) ? 1 + below(130) : 1 + below(20); };
    const int32_t batch = chance(3) ? 0 : 1 + below(3), M = size(), N = size(), K = size();
    out(t, {batch, M, N});
    in(t, {batch, M, K}), in(t, {batch, K, N});
  } else if (op == "matmulFused") {  // (a·b + bias)·mask and what lies below zero, of which a sum may be kept too
    const auto size = [] { return chance(3) ? 0 : chance(20) ? 1 + below(130) : 1 + below(20); };
    const int32_t batch = chance(3) ? 0 : 1 + below(3), M = size(), N = size(), K = size();
    const Shape s = {batch, M, N};
    in(DType::f32, {batch, M, K}), in(DType::f32, {batch, K, N});
    epilogue(s, 2);
  } else if (is({"cumsum", "cumprod", "sort"})) {
    const DType t = anyType();
    const Shape s = anyShape(1);
    in(t, s), out(t, s);
    if (op == "sort") out(DType::i64, s), a.attr = {below(2)};
  } else if (is({"softmax", "logSoftmax", "softmaxGrad", "logSoftmaxGrad"})) {
    const DType t = anyFloat();
    const Shape s = anyShape(1);
    in(t, s), out(t, s);
    if (op.find("Grad") != op.npos) in(t, s);
  } else if (is({"normalize", "normalizeGrad"})) {
    const DType t = anyFloat();
    // Rows of samples, columns, images.
    const int form = below(3);
    const Shape s = {form == 0 ? 1 : 1 + below(90), 1 + below(70), form == 1 ? 1 : chance(5) ? 0 : 1 + below(90)};
    const Shape rows = {s[1]};
    in(t, s), out(t, s);
    if (op == "normalize") value(1e-5), out(anyFloat(), rows), out(anyFloat(), rows);
    else in(t, s), in(anyFloat(), rows);
  } else if (is({"crossEntropy", "crossEntropyGrad"})) {
    const DType t = anyFloat(), wide = t == DType::f64 ? t : DType::f32;
    Shape s = anyShape(1), parts = s;
    if (chance(50)) s.back() = 1 + below(40);
    const Shape rows(s.begin(), s.end() - 1);
    const bool grad = op.size() > 12;
    const int reduction = below(3);
    parts.back() = 2;
    if (grad) in(anyFloat(), chance(50) ? rows : Shape{});
    in(t, s);
    if (grad) in(wide, parts);
    index(rows, s.back());
    std::vector<char>& block = a.in.back().block;  // labels, unlike indices, are not negative, but for the ignored one
    const size_t size = sizeOf(a.in.back().view.dtype);
    for (size_t i = 0; i < block.size(); i += size) {
      int64_t v = size == 8 ? *reinterpret_cast<int64_t*>(&block[i]) : *reinterpret_cast<int32_t*>(&block[i]);
      if (v < 0) v = chance(30) ? -1 : v + s.back();
      std::memcpy(&block[i], &v, size);
    }
    value(-1);
    if (grad) value(3), out(t, s);
    else out(t, reduction == 0 ? rows : Shape{}), out(wide, parts), out(wide, {}), a.attr = {reduction};
  } else if (is({"attention", "attentionGrad"})) {
    const DType t = chance(50) ? DType::f32 : DType::f64;
    const auto size = [] { return chance(10) ? 1 + below(150) : 1 + below(20); };
    const int32_t L = size(), S = chance(5) ? 500 + below(600) : size(), E = size(), F = size();
    Shape batch;
    for (int n = below(3); n > 0; n--) batch.push_back(1 + below(3));
    const auto with = [&](std::initializer_list<int32_t> inner) {
      Shape s = batch;
      s.insert(s.end(), inner);
      return s;
    };
    in(t, with({L, E})), in(t, with({S, E})), in(t, with({S, F}));
    if (op == "attention") {
      out(t, with({L, F})), out(t, with({L}));
    } else {
      in(t, with({L, F})), in(t, with({L})), in(t, with({L, F}));
      out(t, with({L, E})), out(t, with({S, E})), out(t, with({S, F}));
    }
    value(0.5);
    if (chance(50)) in(chance(50) ? DType::boolean : t, with({L, S}));
    a.attr = {below(2)};
  } else if (is({"gather", "scatter", "indexSelect", "indexAdd"})) {
    const DType t = anyType();
    const Shape s = anyShape(1);
    const int dim = below(int(s.size()));
    Shape picked = s;
    picked[size_t(dim)] = below(2 * s[size_t(dim)] + 2);
    const bool rows = op[0] == 'i', reads = op == "gather" || op == "indexSelect";
    if (reads) in(t, s), out(t, picked);
    else out(t, s);
    index(rows ? Shape{picked[size_t(dim)]} : picked, s[size_t(dim)]);
    if (!reads) in(t, picked);
    a.attr = {dim};
    if (op == "scatter") a.attr.push_back(below(2));
  } else if (op == "maxPool2dGrad") {
    const DType t = anyFloat();
    const int n = below(4), c = 1 + below(3), height = 1 + below(9), width = 1 + below(40);
    const Shape y = {n, c, 1 + below(9), 1 + below(40)};
    out(t, {n, c, height, width}), in(t, y), in(DType::i64, y);
    std::vector<char>& block = a.in.back().block;
    for (size_t i = 0; i < block.size(); i += 8) {
      const int64_t v = chance(1) && chance(10) ? -1 : below(height * width);
      std::memcpy(&block[i], &v, 8);
    }
  } else {  // convolutions and pools: two axes of the image
    const bool conv = op[0] == 'c', dilated = op != "avgPool2d" && op != "avgPool2dGrad";
    const bool wide = chance(20);  // more channels and columns than a register tile has
    const int groups = conv ? 1 + below(3) : 1, n = below(4);
    const int c = 1 + below(wide ? 20 : 3), o = conv ? 1 + below(wide ? 30 : 4) : c;
    Shape x = {n, c * groups}, w = {o * groups, c}, y = {n, o * groups};
    int32_t k[2], s[2], p[2], d[2];
    for (int i = 0; i < 2; i++) {
      k[i] = 1 + below(4), s[i] = 1 + below(3), p[i] = below(k[i] / 2 + 1), d[i] = dilated ? 1 + below(2) : 1;
      const int size = d[i] * (k[i] - 1) + 1 + below(wide && i == 1 ? 90 : 12);
      x.push_back(size), w.push_back(k[i]), y.push_back((size + 2 * p[i] - d[i] * (k[i] - 1) - 1) / s[i] + 1);
    }
    const bool fused = op.find("Fused") != op.npos;
    const DType t = fused ? DType::f32 : op == "maxPool2d" ? anyType() : anyFloat();
    if (op == "conv2dFused") in(t, x), in(t, w);
    else if (op == "conv2dInputGradFused") in(t, y), in(t, w);
    else if (op == "conv2d") out(t, y), in(t, x), in(t, w);
    else if (op == "conv2dInputGrad") out(t, x), in(t, y), in(t, w);
    else if (op == "conv2dWeightGrad") out(t, w), in(t, x), in(t, y);
    else if (op == "avgPool2dGrad") out(t, x), in(t, y);
    else out(t, y), in(t, x);
    if (op == "maxPool2d") out(DType::i64, y);
    a.attr = {s[0], s[1], p[0], p[1]};
    if (!conv) a.attr.insert(a.attr.begin(), {k[0], k[1]});
    if (dilated) a.attr.insert(a.attr.end(), {d[0], d[1]});
    if (conv) a.attr.push_back(groups);
    if (fused) {
      const Shape& result = op == "conv2dFused" ? y : x;
      a.attr.insert(a.attr.end(), {result[2], result[3]});
      epilogue({result[0], result[1], result[2] * result[3]}, 1);
    }
    if (!conv && !dilated) a.attr.push_back(below(2));
  }
  return a;
}

// Changes one number to another; views become smaller at most.
void spoil(Arguments& a) {
  static const int32_t odd[] = {-2147483647 - 1, -1, 0, 1, 2, 3, 70000, 1 << 30, 2147483647};
  const auto operand = [&]() -> View& {
    const int i = below(int(a.out.size() + a.in.size()));
    return i < int(a.out.size()) ? a.out[size_t(i)].view : a.in[size_t(i) - a.out.size()].view;
  };
  switch (below(4)) {
    case 0:
      if (!a.attr.empty()) a.attr[size_t(below(int(a.attr.size())))] = odd[below(9)];
      break;
    case 1: operand().dtype = DType::boolean; break;  // the smallest: stays inside the block
    case 2:
      if (View& v = operand(); v.ndim > 0 && v.numel() > 0) v.shape[below(v.ndim)] = 1;
      break;
    default:
      if (View& v = operand(); v.ndim > 0 && v.numel() > 0) v.ndim--;
  }
}

// Runs the call on copies of the arguments; the bytes of the outputs, or the error.
std::string execute(const Test& kernel, const Arguments& from, int threads) {
  Arguments a = from;
  std::vector<View> out, in;
  for (Operand& o : a.out) out.push_back(o.bound());
  for (Operand& i : a.in) in.push_back(i.bound());
  const Call call = {kernel.op,  a.attr.data(),      int32_t(a.attr.size()), out.data(),
                     int32_t(out.size()), in.data(), int32_t(in.size())};
  setThreads(threads);
  FlushDenormals flush;
  try {
    kernel.check(call);
    kernel.run(call);
  } catch (const Error& e) {
    return std::string(e.code) + ": " + e.what();
  }
  std::string bytes = "done";
  for (const Operand& o : a.out) bytes.append(o.block.data(), o.block.size());
  return bytes;
}

bool knownAnswers() {
  // kat_vectors of Random123, philox4x32-10.
  const uint32_t all = 0xFFFFFFFF;
  const PhiloxBlock got[] = {
      philox4x32(0, 0, 0, 0, 0, 0), philox4x32(all, all, all, all, all, all),
      philox4x32(0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)};
  const uint32_t want[3][4] = {{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8},
                               {0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD},
                               {0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}};
  bool ok = std::memcmp(got, want, sizeof want) == 0;
  std::vector<float> made(4 * 1001);
  const uint64_t seed = 0x123456789ABCD, first = 0xFFFFFFFF - 500;  // crosses the low word of the counter
  rowKernels().uniform(seed, first, 1001, made.data());
  for (uint64_t i = 0; i < made.size(); i++) ok &= made[i] == uniform32(philox(seed, first + i / 4).word[i % 4]);
  return ok;
}

}  // namespace

int main(int argc, char** argv) {
  const int calls = argc > 1 ? std::atoi(argv[1]) : 6000;
  random64.seed(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  if (!knownAnswers()) {
    std::printf("Philox does not give the known answers\n");
    return 1;
  }
  int done = 0, refused = 0;
  for (int i = 0; i < calls; i++) {
    const Test& kernel = kernels[below(int(sizeof kernels / sizeof *kernels))];
    Arguments a = argumentsOf(kernel.op);
    const bool spoiled = chance(30);
    if (spoiled) spoil(a);
    const std::string one = execute(kernel, a, 1), four = execute(kernel, a, 4);
    const bool ran = one.compare(0, 4, "done") == 0;
    (ran ? done : refused)++;
    if (one != four) {
      std::printf("call %d, %s: one thread and four differ\n", i, kernel.op);
      return 1;
    }
    const bool expected = ran || one.compare(0, 6, "INDEX:") == 0 || one.find("empty reduction") != one.npos;
    if (!spoiled && !expected) {
      std::printf("call %d: %s\n", i, one.c_str());
      return 1;
    }
  }
  std::printf("%d calls ran, %d were refused\n", done, refused);
  return 0;
}

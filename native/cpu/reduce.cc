// Reductions over the last dimensions: sum, prod, mean, max, min, any, all, argmax, argmin.
//
// The elements of one result form leaves (runs of at most kLeaf elements, or strips of some rows for up to kColumns
// results at once); leaves are joined pairwise in an order that depends on shape and strides alone. So float sums have
// an error that grows with the logarithm of the length, and the bits are the same for any number of threads.
#include "rows.h"

namespace nabla {
namespace {

constexpr int64_t kGrain = 32768;  // elements of a chunk

// ---- The reductions: accumulator, neutral element, a leaf of n elements, and the join of two accumulators.

template <typename T>
using SumOf = std::conditional_t<std::is_integral_v<Compute<T>>, int64_t, Compute<T>>;

// What the reductions share: a leaf in `kLanes` interleaved accumulators, and a strip of columns.
template <typename Op, typename T, typename A>
struct Fold {
  using Acc = A;
  static Acc leaf(const T* x, int64_t n, int64_t stride) {
    constexpr int kLanes = 16;
    Acc lane[kLanes];
    for (int l = 0; l < kLanes; l++) lane[l] = Op::neutral();
    int64_t i = 0;
    if (stride == 1) {
      for (; i + kLanes <= n; i += kLanes)
        for (int l = 0; l < kLanes; l++) lane[l] = Op::step(lane[l], x[i + l]);
    } else {
      for (; i + kLanes <= n; i += kLanes)
        for (int l = 0; l < kLanes; l++) lane[l] = Op::step(lane[l], x[(i + l) * stride]);
    }
    for (int l = 0; i < n; i++, l++) lane[l] = Op::step(lane[l], x[i * stride]);
    for (int half = kLanes / 2; half > 0; half /= 2)
      for (int l = 0; l < half; l++) Op::join(lane[l], lane[l + half]);
    return lane[0];
  }
  static void strip(const T* x, int64_t rows, int64_t stride, int64_t columns, Acc* y) {
    for (int64_t j = 0; j < columns; j++) y[j] = Op::neutral();
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < columns; j++) y[j] = Op::step(y[j], x[i * stride + j]);
  }
};

template <typename T>
struct Sum : Fold<Sum<T>, T, SumOf<T>> {
  using Acc = SumOf<T>;
  static Acc neutral() { return 0; }
  static Acc step(Acc a, T x) { return add(a, Acc(Compute<T>(x))); }
  static void join(Acc& a, Acc b) { a = add(a, b); }
};
template <typename T>
struct Prod : Fold<Prod<T>, T, SumOf<T>> {
  using Acc = SumOf<T>;
  static Acc neutral() { return 1; }
  static Acc step(Acc a, T x) { return multiply(a, Acc(Compute<T>(x))); }
  static void join(Acc& a, Acc b) { a = multiply(a, b); }
};
template <typename T, bool largest>
struct Extreme : Fold<Extreme<T, largest>, T, Compute<T>> {
  using Acc = Compute<T>;
  static Acc neutral() {
    using L = std::numeric_limits<Acc>;
    if constexpr (L::has_infinity) return largest ? -L::infinity() : L::infinity();
    else return largest ? L::min() : L::max();
  }
  static Acc step(Acc a, T value) {
    const Acc x = value;
    return (largest ? x > a : x < a) || isNan(x) ? x : a;
  }
  static void join(Acc& a, Acc b) {
    if ((largest ? b > a : b < a) || isNan(b)) a = b;
  }
};
template <typename T>
struct Any : Fold<Any<T>, T, uint8_t> {
  static uint8_t neutral() { return 0; }
  static uint8_t step(uint8_t a, T x) { return a | uint8_t(Compute<T>(x) != Compute<T>(0)); }
  static void join(uint8_t& a, uint8_t b) { a |= b; }
};
template <typename T>
struct All : Fold<All<T>, T, uint8_t> {
  static uint8_t neutral() { return 1; }
  static uint8_t step(uint8_t a, T x) { return a & uint8_t(Compute<T>(x) != Compute<T>(0)); }
  static void join(uint8_t& a, uint8_t b) { a &= b; }
};

// A reduction as the walk below sees it: x's dtype is behind the functions, so that the walk is compiled once an
// accumulator type.
template <typename Acc>
struct Reduction {
  Acc neutral;
  Acc (*leaf)(const void* x, int64_t n, int64_t stride);
  void (*strip)(const void* x, int64_t rows, int64_t stride, int64_t columns, Acc* y);
  void (*rows)(const float* x, int64_t rows, int64_t stride, int64_t n, float* y);  // of float32 with vectors, or null
  void (*join)(Acc* a, const Acc* b, int64_t width);
  Acc (*finish)(Acc a, int64_t count);
};

template <typename Op, typename T>
Reduction<typename Op::Acc> reductionOf() {
  using Acc = typename Op::Acc;
  const RowKernels& kernels = rowKernels();
  auto rows = decltype(kernels.sumRows)(nullptr);
  if constexpr (std::is_same_v<Op, Sum<float>>) rows = kernels.sumRows;
  if constexpr (std::is_same_v<Op, Extreme<float, true>>) rows = kernels.maxRows;
  if constexpr (std::is_same_v<Op, Extreme<float, false>>) rows = kernels.minRows;
  return {
      Op::neutral(),
      [](const void* p, int64_t n, int64_t stride) -> Acc {
        const T* const x = static_cast<const T*>(p);
        if constexpr (std::is_same_v<T, float>) {  // contiguous float32: the kernels of the instruction set
          if (stride == 1) {
            if constexpr (std::is_same_v<Op, Sum<float>>) return rowKernels().sum(x, n);
            if constexpr (std::is_same_v<Op, Extreme<float, true>>) return rowKernels().max(x, n);
            if constexpr (std::is_same_v<Op, Extreme<float, false>>) return rowKernels().min(x, n);
          }
        }
        return Op::leaf(x, n, stride);
      },
      [](const void* p, int64_t rows, int64_t stride, int64_t columns, Acc* y) {
        const T* const x = static_cast<const T*>(p);
        if constexpr (std::is_same_v<Op, Sum<float>>) rowKernels().sumColumns(x, rows, stride, columns, y);
        else if constexpr (std::is_same_v<Op, Extreme<float, true>>)
          rowKernels().maxColumns(x, rows, stride, columns, y);
        else if constexpr (std::is_same_v<Op, Extreme<float, false>>)
          rowKernels().minColumns(x, rows, stride, columns, y);
        else Op::strip(x, rows, stride, columns, y);
      },
      rows,
      [](Acc* a, const Acc* b, int64_t width) {
        for (int64_t j = 0; j < width; j++) Op::join(a[j], b[j]);
      },
      [](Acc a, int64_t) { return a; },
  };
}

// ---- Joining in pairs: leaves come one after the other; two results over equally many leaves are joined at once, so
// that at most one result a power of two waits.

template <typename Acc>
class Pairs {
 public:
  explicit Pairs(const Reduction<Acc>& op) : op_(op) {}
  // The place of the next leaf, to be filled before `push`.
  Acc* next() { return waiting_[depth_]; }
  void push(int64_t width) {
    depth_++;
    leaves_++;
    for (int64_t bits = leaves_; (bits & 1) == 0; bits >>= 1) join(width);
  }
  // The result of all leaves (at least one).
  const Acc* finish(int64_t width) {
    while (depth_ > 1) join(width);
    depth_ = 0;
    leaves_ = 0;
    return waiting_[0];
  }

 private:
  void join(int64_t width) {
    depth_--;
    op_.join(waiting_[depth_ - 1], waiting_[depth_], width);
  }
  const Reduction<Acc>& op_;
  int depth_ = 0;
  int64_t leaves_ = 0;
  Acc waiting_[34][kColumns];
};

// ---- The walk.

struct Problem {
  Layout<2> outer;    // of the results: strides of x and of y
  Layout<1> reduced;  // of the elements of one result
};

// In row-major order, or, where the order does not matter, with strides of x descending so that memory is read forward.
Problem problemOf(const Call& c, bool ordered) {
  const View& x = c.in[0];
  const View& y = c.out[0];
  int order[kMaxDims];
  for (int i = 0; i < x.ndim; i++) order[i] = i;
  const auto farther = [&](int i, int j) {  // broadcast dimensions (stride 0) outside
    return uint64_t(std::abs(x.strides[i])) - 1 > uint64_t(std::abs(x.strides[j])) - 1;
  };
  std::stable_sort(order, order + y.ndim, farther);
  if (!ordered) std::stable_sort(order + y.ndim, order + x.ndim, farther);
  Problem p;
  for (int i = 0; i < y.ndim; i++) p.outer.push(x.shape[order[i]], x.strides[order[i]], y.strides[order[i]]);
  for (int i = y.ndim; i < x.ndim; i++) p.reduced.push(x.shape[order[i]], x.strides[order[i]]);
  return p;
}

template <typename Acc>
void store(const View& y, int64_t offset, Acc value) {
  withType(y.dtype, [&](auto tag) {
    using Y = TypeOf<decltype(tag)>;
    y.as<Y>()[offset] = convert<Y>(value);
  });
}

// Largest power of two of leaves with at most kGrain elements, at least 1.
int64_t leavesPerPart(int64_t leafElements) {
  int64_t leaves = 1;
  while (leaves * 2 * leafElements <= kGrain) leaves *= 2;
  return leaves;
}

// Results over at most kLeaf contiguous float32 elements each.
void reduceShort(Problem& p, const Reduction<float>& op, const float* x, const View& y, int64_t n) {
  int64_t count, s[2];
  p.outer.pop(count, s);
  const int64_t kBlock = 256, blocks = ceilDiv(count, kBlock);
  parallelRange(p.outer.count() * blocks, std::max<int64_t>(1, kGrain / (n * std::min(count, kBlock))), [&](int64_t begin, int64_t end) {
    Cursor<2> at(p.outer, begin / blocks);
    float result[kBlock];
    for (int64_t job = begin, block = begin % blocks; job < end; job++) {
      const int64_t first = block * kBlock, rows = std::min(kBlock, count - first);
      op.rows(x + at.offset[0] + first * s[0], rows, s[0], n, result);
      for (int64_t r = 0; r < rows; r++) result[r] = op.finish(result[r], n);
      const int64_t to = at.offset[1] + first * s[1];
      storeRows(y, &to, 1, rows, s[1], result, rows);
      if (++block == blocks) {
        block = 0;
        at.next();
      }
    }
  });
}

template <typename Acc>
void reduce(const Call& c, const Reduction<Acc>& op) {
  Problem p = problemOf(c, false);
  const View& y = c.out[0];
  const char* const x = c.in[0].data;
  const int64_t itemSize = int64_t(sizeOf(c.in[0].dtype)), elements = p.reduced.count();
  if (p.outer.count() == 0) return;
  if (elements == 0) {
    Cursor<2> at(p.outer);
    for (int64_t i = p.outer.count(); i > 0; i--, at.next()) store(y, at.offset[1], op.finish(op.neutral, 0));
    return;
  }
  int64_t inner, width = 1, count = 1, xStep = 0, yStep = 0, step[1];
  p.reduced.pop(inner, step);
  if constexpr (std::is_same_v<Acc, float>) {
    if (op.rows && p.reduced.n == 0 && (inner == 1 || step[0] == 1) && inner <= kLeaf) {  // a leaf for each result
      reduceShort(p, op, c.in[0].as<float>(), y, inner);
      return;
    }
  }
  const bool columns = p.outer.n > 0 && p.outer.stride[p.outer.n - 1][0] == 1 && step[0] != 1;
  if (columns) {
    int64_t s[2];
    p.outer.pop(count, s);
    xStep = s[0];
    yStep = s[1];
    width = std::min(count, kColumns);
  }
  // Jobs: (outer position, strip of columns) × parts of the leaves. A part is a power of two of leaves, so that joining
  // parts in pairs goes on with the same tree.
  int64_t leafLength = columns ? kLeafRows : kLeaf;
  if (columns && op.rows && step[0] == count && count <= kPacked) leafLength *= packedRows(count);
  const int64_t leavesPerRun = ceilDiv(inner, leafLength), leaves = p.reduced.count() * leavesPerRun;
  const int64_t perPart = leavesPerPart(std::min(inner, leafLength) * width);
  const int64_t parts = ceilDiv(leaves, perPart);
  const int64_t strips = ceilDiv(count, width), jobs = p.outer.count() * strips;

  struct Job {
    Cursor<2> at;
    int64_t first, width;  // columns
  };
  const auto jobAt = [&](int64_t job) {
    const int64_t first = job % strips * width;
    return Job{Cursor<2>(p.outer, job / strips), first, std::min(width, count - first)};
  };
  const auto runPart = [&](Pairs<Acc>& pairs, const Job& job, int64_t index) {
    const char* const base = x + (job.at.offset[0] + job.first * xStep) * itemSize;
    const int64_t first = index * perPart, last = std::min(leaves, first + perPart);
    Cursor<1> run(p.reduced, first / leavesPerRun);
    int64_t inRun = first % leavesPerRun;
    for (int64_t leaf = first; leaf < last; leaf++) {
      const int64_t from = inRun * leafLength, n = std::min(leafLength, inner - from);
      const char* const at = base + (run.offset[0] + from * step[0]) * itemSize;
      if (columns) op.strip(at, n, step[0], job.width, pairs.next());
      else *pairs.next() = op.leaf(at, n, step[0]);
      pairs.push(job.width);
      if (++inRun == leavesPerRun) {
        inRun = 0;
        run.next();
      }
    }
    return pairs.finish(job.width);
  };
  const auto finish = [&](const Job& job, const Acc* result) {
    withType(y.dtype, [&](auto tag) {
      using Y = TypeOf<decltype(tag)>;
      Y* const to = y.as<Y>() + job.at.offset[1] + job.first * yStep;
      for (int64_t j = 0; j < job.width; j++) to[j * yStep] = convert<Y>(op.finish(result[j], elements));
    });
  };

  if (parts == 1) {
    const int64_t grain = std::max<int64_t>(1, kGrain / (elements * width));
    parallelRange(jobs, grain, [&](int64_t begin, int64_t end) {
      Pairs<Acc> pairs(op);
      Job job = jobAt(begin);
      for (int64_t i = begin; i < end; i++) {
        finish(job, runPart(pairs, job, 0));
        job.first += width;
        if (job.first >= count) {
          job.first = 0;
          job.at.next();
        }
        job.width = std::min(width, count - job.first);
      }
    });
    return;
  }
  Scratch results(c, size_t(jobs * parts * width) * sizeof(Acc));
  Acc* const partial = results.get<Acc>();
  parallel(jobs * parts, [&](int64_t i) {
    Pairs<Acc> pairs(op);
    const Job job = jobAt(i / parts);
    const Acc* const r = runPart(pairs, job, i % parts);
    std::copy(r, r + job.width, partial + i * width);
  });
  Pairs<Acc> pairs(op);
  for (int64_t i = 0; i < jobs; i++) {
    const Job job = jobAt(i);
    for (int64_t k = 0; k < parts; k++) {
      const Acc* const r = partial + (i * parts + k) * width;
      std::copy(r, r + job.width, pairs.next());
      pairs.push(job.width);
    }
    finish(job, pairs.finish(job.width));
  }
}

template <template <typename> class Op>
void reduceAny(const Call& c) {
  withType(c.in[0].dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    reduce(c, reductionOf<Op<T>, T>());
  });
}
template <typename T>
using Max = Extreme<T, true>;
template <typename T>
using Min = Extreme<T, false>;

// ---- argmax and argmin: ordered, and the index travels along.

// Is x better than the best so far? NaN is better than any number, and nothing is better than NaN.
template <bool largest, typename T>
inline bool better(T x, T best) {
  if (isNan(best)) return false;
  return isNan(x) || (largest ? x > best : x < best);
}

constexpr int64_t kBestRows = 16;  // results whose elements are read side by side when they are not contiguous

template <bool largest, typename T>
void bestIndex(const Call& c) {
  using C = Compute<T>;
  const Problem p = problemOf(c, true);
  const int64_t results = p.outer.count(), n = p.reduced.count();
  if (results == 0) return;
  const T* const x = c.in[0].as<T>();
  int64_t* const y = c.out[0].as<int64_t>();
  const bool row = p.reduced.n == 0 || (p.reduced.n == 1 && p.reduced.stride[0][0] == 1);

  const auto scan = [&](const T* at, int64_t from, int64_t count) {  // the best of a contiguous piece
    C best = at[from];
    int64_t index = from;
    if constexpr (std::is_same_v<T, float>) {  // the value first, with vectors; then its place
      for (int64_t i = from; i < from + count; i += kLeaf) {
        const int64_t length = std::min(kLeaf, from + count - i);
        const float m = largest ? rowKernels().max(at + i, length) : rowKernels().min(at + i, length);
        if (!better<largest>(m, best)) continue;
        best = m;
        index = i;
        while (isNan(m) ? !isNan(at[index]) : at[index] != m) index++;
      }
    } else {
      for (int64_t i = from + 1; i < from + count; i++) {
        const C v = at[i];
        if (better<largest>(v, best)) {
          best = v;
          index = i;
        }
      }
    }
    return index;
  };
  if (row && n > kGrain) {
    const int64_t parts = ceilDiv(n, kGrain);
    Scratch memory(c, size_t(results * parts) * sizeof(int64_t));
    int64_t* const found = memory.get<int64_t>();
    parallel(results * parts, [&](int64_t i) {
      const int64_t from = i % parts * kGrain;
      found[i] = scan(x + Cursor<2>(p.outer, i / parts).offset[0], from, std::min(kGrain, n - from));
    });
    Cursor<2> at(p.outer);
    for (int64_t r = 0; r < results; r++, at.next()) {
      const T* const base = x + at.offset[0];
      int64_t best = found[r * parts];
      for (int64_t k = 1; k < parts; k++)
        if (better<largest>(C(base[found[r * parts + k]]), C(base[best]))) best = found[r * parts + k];
      y[at.offset[1]] = best;
    }
    return;
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / n);
  parallelRange(results, row ? grain : (grain + kBestRows - 1) / kBestRows * kBestRows, [&](int64_t begin, int64_t end) {
    Cursor<2> at(p.outer, begin);
    if (row) {
      for (int64_t r = begin; r < end; r++, at.next()) y[at.offset[1]] = scan(x + at.offset[0], 0, n);
      return;
    }
    for (int64_t r = begin; r < end; r += kBestRows) {
      const int width = int(std::min(kBestRows, end - r));
      const T* base[kBestRows];
      int64_t to[kBestRows], index[kBestRows];
      C best[kBestRows];
      for (int j = 0; j < width; j++, at.next()) {
        base[j] = x + at.offset[0];
        to[j] = at.offset[1];
        index[j] = 0;
        best[j] = base[j][0];
      }
      Cursor<1> element(p.reduced);
      for (int64_t i = 0; i < n; i++, element.next())
        for (int j = 0; j < width; j++) {
          const C v = base[j][element.offset[0]];
          if (better<largest>(v, best[j])) {
            best[j] = v;
            index[j] = i;
          }
        }
      for (int j = 0; j < width; j++) y[to[j]] = index[j];
    }
  });
}

}  // namespace

void run_sum(const Call& c) { reduceAny<Sum>(c); }
void run_prod(const Call& c) { reduceAny<Prod>(c); }
void run_mean(const Call& c) {
  withFloat(c.in[0].dtype, [&](auto tag) {
    using T = TypeOf<decltype(tag)>;
    using Acc = SumOf<T>;
    Reduction<Acc> op = reductionOf<Sum<T>, T>();
    op.finish = [](Acc sum, int64_t count) { return sum / Acc(count); };
    reduce(c, op);
  });
}
void run_max(const Call& c) { reduceAny<Max>(c); }
void run_min(const Call& c) { reduceAny<Min>(c); }
void run_any(const Call& c) { reduceAny<Any>(c); }
void run_all(const Call& c) { reduceAny<All>(c); }
void run_argmax(const Call& c) {
  withType(c.in[0].dtype, [&](auto tag) { bestIndex<true, TypeOf<decltype(tag)>>(c); });
}
void run_argmin(const Call& c) {
  withType(c.in[0].dtype, [&](auto tag) { bestIndex<false, TypeOf<decltype(tag)>>(c); });
}

}  // namespace nabla

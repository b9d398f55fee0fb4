// Random float products against plain loops in float64: every shape class of cpu/gemm.cc (few rows, few columns, many
// slices of K, batches that fold into one product), any strides, one thread and four, stored, accumulated and handed to
// an epilogue. The stored values and those that an epilogue gets must be the same bits, each element once.
//   ./gemm_fuzz [products] [seed]
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../../native/core/denormals.h"
#include "../../native/core/pool.h"
#include "../../native/core/threads.h"
#include "../../native/cpu/gemm.h"
#include "../../native/cpu/values.h"

using namespace nabla;

namespace {

std::mt19937_64 random64;
int below(int n) { return int(random64() % uint64_t(n)); }
bool chance(int percent) { return below(100) < percent; }

// A batch of matrices with its memory: exactly the elements from the lowest to the highest address.
template <typename S>
struct Matrices {
  Matrix layout{};
  std::vector<S> block;

  // shared: one matrix for all of the batch; within: the batch lies within the rows or columns.
  Matrices(int64_t batch, int64_t rows, int64_t cols, bool shared, bool within) {
    // From the innermost dimension out.
    struct Dim { int64_t size, *stride; };
    Dim dims[3] = {{cols, &layout.col}, {rows, &layout.row}, {batch, &layout.batch}};
    if (chance(40)) std::swap(dims[0], dims[1]);
    if (within) std::swap(dims[1], dims[2]);
    const bool loose = chance(30);
    int64_t stride = loose && chance(30) ? 2 : 1, low = 0, high = 0;
    for (Dim& d : dims) {
      *d.stride = loose && chance(20) ? -stride : stride;
      (*d.stride < 0 ? low : high) += std::max<int64_t>(0, d.size - 1) * *d.stride;
      stride *= std::max<int64_t>(1, d.size);
      if (loose) stride += below(20);
    }
    if (shared) {
      (layout.batch < 0 ? low : high) -= (batch - 1) * layout.batch;
      layout.batch = 0;
    }
    block = std::vector<S>(size_t(high - low + 1), convert<S>(Compute<S>(7)));
    layout.data = block.data() - low;
  }
  S& at(int64_t n, int64_t i, int64_t j) {
    return const_cast<S*>(static_cast<const S*>(layout.data))[n * layout.batch + i * layout.row + j * layout.col];
  }
  void fill() {
    for (S& x : block) x = convert<S>(Compute<S>(double(int64_t(random64() >> 40)) / double(1 << 23) - 1));
    if (chance(90)) return;
    const double odd[] = {INFINITY, -INFINITY, NAN, 1e-39, 0};
    block[random64() % block.size()] = convert<S>(Compute<S>(odd[below(5)]));
  }
};

// Collects what an epilogue gets, and spoils the block as it may.
template <typename T>
struct Collected {
  int64_t M, N;
  bool alongRows;  // c is contiguous along M and not along N
  std::vector<T> values;
  std::unique_ptr<std::atomic<int>[]> calls;
  std::atomic<bool> turned{false}, outside{false};
  Collected(int64_t batch, int64_t M, int64_t N, bool alongRows)
      : M(M), N(N), alongRows(alongRows), values(size_t(batch * M * N)), calls(new std::atomic<int>[values.size()]()) {}
  static void run(void* context, int64_t batch, int64_t row, int64_t rows, int64_t col, int64_t cols, void* block,
                  int64_t blockRow, int64_t blockCol) {
    Collected& to = *static_cast<Collected*>(context);
    if (row + rows > to.M || col + cols > to.N) to.outside = true;
    if ((to.alongRows ? blockRow : blockCol) != 1 && rows > 1 && cols > 1) to.turned = true;
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < cols; j++) {
        T& x = static_cast<T*>(block)[i * blockRow + j * blockCol];
        const size_t at = size_t((batch * to.M + row + i) * to.N + col + j);
        to.values[at] = x;
        to.calls[at]++;
        x = T(-1);
      }
    }
  }
};

template <typename S>
bool same(S a, S b) { return std::memcmp(&a, &b, sizeof(S)) == 0; }

int keptProducts = 0;

// The same product with kept panels: of the first generation nothing is kept, then everything, so that a factor which
// is spoilt without anyone being told goes unnoticed; a new generation is noticed.
template <typename S>
const char* multiplyKept(Product p, Matrices<S>& a, Matrices<S>& b, Matrices<S>& c) {
  const std::vector<S> plain = c.block;
  const auto differs = [&](int threads) {
    setThreads(threads);
    std::fill(c.block.begin(), c.block.end(), convert<S>(Compute<S>(7)));
    gemm(p);
    const bool differs = std::memcmp(plain.data(), c.block.data(), plain.size() * sizeof(S)) != 0;
    c.block = plain;
    return differs;
  };
  HostPool pool;
  for (const bool first : {false, true}) {
    KeptPanels kept(pool);
    p.kept = &kept;
    p.a.generation = first ? 5 : 0;
    p.b.generation = first ? 0 : 5;
    if (differs(1) || pool.statistics().inUse != 0) return "panels are kept of a generation seen once";
    if (differs(4)) return "packing panels to keep changes the product";
    if (pool.statistics().inUse == 0) continue;
    keptProducts++;
    Matrices<S>& factor = first ? a : b;
    const std::vector<S> values = factor.block;
    std::fill(factor.block.begin(), factor.block.end(), convert<S>(Compute<S>(NAN)));
    if (differs(1) || differs(4)) return "kept panels are not used";
    (first ? p.a : p.b).generation = 6;
    if (!differs(1) || !differs(4)) return "kept panels outlive their generation";
    factor.block = values;
    (first ? p.a : p.b).generation = 7;
    if (differs(1) || differs(4) || differs(1)) return "panels that are packed again change the product";
  }
  return pool.statistics().inUse == 0 ? nullptr : "panels are not given back";
}

template <typename S>
const char* multiply(DType type, int64_t batch, int64_t M, int64_t N, int64_t K) {
  using T = Compute<S>;
  const bool within = chance(30);
  Matrices<S> a(batch, M, K, chance(30), within), b(batch, K, N, chance(30), within), c(batch, M, N, false, within);
  a.fill(), b.fill();
  Product p{type, batch, M, N, K, a.layout, b.layout, c.layout, false};
  FlushDenormals flush;

  setThreads(1);
  gemm(p);
  const std::vector<S> stored = c.block;
  setThreads(4);
  std::fill(c.block.begin(), c.block.end(), convert<S>(T(7)));
  gemm(p);
  if (std::memcmp(stored.data(), c.block.data(), stored.size() * sizeof(S)) != 0) return "one thread and four differ";

  const double least = std::is_same_v<S, Half> ? 1e-5 : 1e-30;  // below it results are denormal: coarser, or flushed
  const double unit = std::is_same_v<S, double> ? 2.3e-16 : std::is_same_v<S, float> ? 1.2e-7 : 8e-3;
  for (int64_t n = 0; n < batch; n++) {
    for (int64_t i = 0; i < M; i++) {
      for (int64_t j = 0; j < N; j++) {
        double sum = 0, size = least;
        for (int64_t k = 0; k < K; k++) {
          const double term = double(T(a.at(n, i, k))) * double(T(b.at(n, k, j)));
          sum += term;
          size += std::abs(term);
        }
        const double got = double(T(c.at(n, i, j)));
        if (std::isfinite(sum) ? !(std::abs(got - sum) <= 8 * unit * size) : std::isnan(sum) ? !std::isnan(got) : got != sum)
          return "a wrong value";
      }
    }
  }

  for (int threads : {1, 4}) {
    setThreads(threads);
    Collected<T> collected(batch, M, N, p.c.row == 1 && p.c.col != 1);
    const Epilogue epilogue{&collected, Collected<T>::run};
    Product through = p;
    through.c.data = nullptr;
    through.epilogue = &epilogue;
    gemm(through);
    for (int64_t n = 0; n < batch; n++) {
      for (int64_t i = 0; i < M; i++) {
        for (int64_t j = 0; j < N; j++) {
          const size_t at = size_t((n * M + i) * N + j);
          if (collected.calls[at] != 1) return "an element does not reach the epilogue once";
          if (!same(convert<S>(collected.values[at]), c.at(n, i, j))) return "the epilogue gets another value";
        }
      }
    }
    if (collected.outside) return "a block reaches into another product of the batch";
    // With both strides other than 1 either direction is right.
    if ((p.c.row == 1 || p.c.col == 1) && collected.turned) return "a block is contiguous in the wrong direction";
  }

  if (const char* wrong = multiplyKept(p, a, b, c)) return wrong;

  p.accumulate = true;
  gemm(p);
  for (int64_t n = 0; n < batch; n++) {
    for (int64_t i = 0; i < M; i++) {
      for (int64_t j = 0; j < N; j++) {
        const double once = double(T(stored[size_t(&c.at(n, i, j) - c.block.data())])), twice = double(T(c.at(n, i, j)));
        double size = least;
        for (int64_t k = 0; k < K; k++) size += std::abs(double(T(a.at(n, i, k))) * double(T(b.at(n, k, j))));
        if (std::isfinite(once) ? !(std::abs(twice - 2 * once) <= 8 * unit * size) : std::isfinite(twice))
          return "a wrong sum";
      }
    }
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  const int products = argc > 1 ? std::atoi(argv[1]) : 300;
  random64.seed(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  for (int i = 0; i < products; i++) {
    const auto size = [](int large) { return chance(35) ? 1 + below(16) : chance(80) ? 1 + below(100) : 1 + below(large); };
    int64_t batch = chance(70) ? 1 : 1 + below(4), M = size(400), N = size(400), K = chance(5) ? 0 : size(2500);
    // Some of each kind that the sizes above rarely give.
    if (i % 50 == 1) batch = 1, M = 200 + below(100), N = 1 + below(40), K = 1100 + below(200);  // groups, slices of K
    if (i % 50 == 3) M = 1, N = 1000 + below(1500), K = 1 + below(800);
    while (batch * M * N * K > 6'000'000) (M > N ? M : N) = std::max(M, N) / 2;
    const DType type = DType(below(4));
    const char* wrong = nullptr;
    withFloat(type, [&](auto tag) { wrong = multiply<typename decltype(tag)::type>(type, batch, M, N, K); });
    if (wrong) {
      std::printf("product %d (%lldx %lldx%lldx%lld, type %d): %s\n", i, (long long)batch, (long long)M, (long long)N,
                  (long long)K, int(type), wrong);
      return 1;
    }
  }
  if (products >= 100 && keptProducts == 0) {
    std::printf("no product keeps panels\n");
    return 1;
  }
  std::printf("%d products agree, %d of them with kept panels\n", products, keptProducts);
}

// Loops over contiguous blocks for every element-wise function and conversion, compiled once per instruction set with
// NABLA_ISA naming it (baseline, avx2, avx512). The compiler turns the loops into vector code (-O3 -fno-math-errno
// -fno-trapping-math -ffp-contract=off). No standard containers or templates here, and nothing with external linkage
// but the table: an inline function shared with other sources could end up in the binary in this file's instruction
// set.
#include "elementwise_table.h"

#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

// Iterations are independent even where `out` is an input: each element is read before it is written.
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#pragma clang diagnostic ignored "-Wpass-failed"  // loops of C library calls stay scalar
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#elif defined(_MSC_VER)
#define INDEPENDENT __pragma(loop(ivdep))
#else
#define INDEPENDENT
#endif

// Paths of their own for values at a limit, where a function is one constant, would let a denormal factor through
// (times the constant 1) that arithmetic flushes to zero; and loops are not the better for them.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-thread-jumps")
#endif

namespace nabla {
namespace NABLA_ISA {
namespace {

#include "elementwise_math.h"
#include "elementwise_functions.h"
#include "elementwise_recipes.h"

template <typename F, typename T, typename R>
void unary(const void* a, const void*, const void*, void* out, int64_t n) {
  const T* x = static_cast<const T*>(a);
  R* y = static_cast<R*>(out);
  if constexpr (F::guarded) {
    constexpr int64_t kGroup = 64;
    for (int64_t from = 0; from < n; from += kGroup) {
      const int64_t count = n - from < kGroup ? n - from : kGroup;
      int hard = 0;
      for (int64_t i = 0; i < count; i++) hard |= !F::easy(x[from + i]);
      if (hard != 0) {
        for (int64_t i = 0; i < count; i++) {
          const T v = x[from + i];
          y[from + i] = F::easy(v) ? F::f(v) : F::slow(v);
        }
      } else {
        INDEPENDENT
        for (int64_t i = 0; i < count; i++) y[from + i] = F::f(x[from + i]);
      }
    }
  } else {
    INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = F::f(x[i]);
  }
}

template <typename F, typename T, typename R>
void binary(const void* a, const void* b, const void*, void* out, int64_t n) {
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  R* z = static_cast<R*>(out);
  INDEPENDENT
  for (int64_t i = 0; i < n; i++) z[i] = F::f(x[i], y[i]);
}

template <typename F, typename S, typename T>
void ternary(const void* a, const void* b, const void* c, void* out, int64_t n) {
  const S* x = static_cast<const S*>(a);
  const T* y = static_cast<const T*>(b);
  const T* z = static_cast<const T*>(c);
  T* w = static_cast<T*>(out);
  INDEPENDENT
  for (int64_t i = 0; i < n; i++) w[i] = F::f(x[i], y[i], z[i]);
}

template <typename T>
struct Same {
  using type = T;
};
template <typename F>
struct Condition {
  template <typename T>
  using of = T;
};
template <>
struct Condition<where_> {
  template <typename T>
  using of = uint8_t;
};

enum Result { value, predicate };

template <typename F, int arity, Result result, typename T>
constexpr BlockFn block() {
  if constexpr (arity == 3) return ternary<F, typename Condition<F>::template of<T>, T>;
  else if constexpr (result == predicate && arity == 1) return unary<F, T, uint8_t>;
  else if constexpr (result == predicate) return binary<F, T, uint8_t>;
  else if constexpr (arity == 1) return unary<F, T, T>;
  else return binary<F, T, T>;
}

// bool is uint8 restricted to 0 and 1, where two functions mean something else.
template <typename F>
struct OfBool : Same<F> {};
template <>
struct OfBool<add_> : Same<bitwiseOr_> {};
template <>
struct OfBool<bitwiseNot_> : Same<logicalNot_> {};

template <typename F, int arity, Result result, int types>
constexpr void row(BlockFn* fn) {
  if constexpr ((types & 1 << kF32) != 0) fn[kF32] = block<F, arity, result, float>();
  if constexpr ((types & 1 << kF64) != 0) fn[kF64] = block<F, arity, result, double>();
  if constexpr ((types & 1 << kI32) != 0) fn[kI32] = block<F, arity, result, int32_t>();
  if constexpr ((types & 1 << kI64) != 0) fn[kI64] = block<F, arity, result, int64_t>();
  if constexpr ((types & 1 << kU8) != 0) fn[kU8] = block<F, arity, result, uint8_t>();
  if constexpr ((types & 1 << kBool) != 0) fn[kBool] = block<typename OfBool<F>::type, arity, result, uint8_t>();
}

template <typename F, typename S, typename T>
void map(const void* a, const void*, const void*, void* out, int64_t n) {
  const S* x = static_cast<const S*>(a);
  T* y = static_cast<T*>(out);
  INDEPENDENT
  for (int64_t i = 0; i < n; i++) y[i] = F::f(x[i]);
}

template <typename S>
constexpr void conversions(BlockFn* to) {
  to[kF32] = map<To<float>, S, float>;
  to[kF64] = map<To<double>, S, double>;
  to[kI32] = map<To<int32_t>, S, int32_t>;
  to[kI64] = map<To<int64_t>, S, int64_t>;
  to[kU8] = map<To<uint8_t>, S, uint8_t>;
  to[kBool] = map<To<Truth>, S, uint8_t>;
}

struct WidenHalf {
  NABLA_INLINE float f(uint16_t x) { return halfToFloat(x); }
};
struct WidenBfloat {
  NABLA_INLINE float f(uint16_t x) { return bfloatToFloat(x); }
};
struct NarrowHalf {
  NABLA_INLINE uint16_t f(float x) { return floatToHalf(x); }
};
struct NarrowBfloat {
  NABLA_INLINE uint16_t f(float x) { return floatToBfloat(x); }
};

#if defined(__SSE2__)
#if defined(__AVX512F__)
using Vector = __m512i;
inline void streamVector(Vector* to, Vector v) { _mm512_stream_si512(to, v); }
#elif defined(__AVX__)
using Vector = __m256i;
inline void streamVector(Vector* to, Vector v) { _mm256_stream_si256(to, v); }
#else
using Vector = __m128i;
inline void streamVector(Vector* to, Vector v) { _mm_stream_si128(to, v); }
#endif
constexpr int64_t kVectorBytes = sizeof(Vector);

// Whole vectors to an address that is a multiple of their size.
inline void streamVectors(const char* from, char* to, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += kVectorBytes) {
    Vector v;
    memcpy(&v, from + i, sizeof v);
    streamVector(reinterpret_cast<Vector*>(to + i), v);
  }
}
#endif

void stream(const void* from, const void*, const void*, void* to, int64_t n) {
#if defined(__SSE2__)
  const char* x = static_cast<const char*>(from);
  char* y = static_cast<char*>(to);
  int64_t head = int64_t(-reinterpret_cast<uintptr_t>(y) & uintptr_t(kVectorBytes - 1));
  if (head > n) head = n;
  const int64_t whole = (n - head) & ~(kVectorBytes - 1), done = head + whole;
  memcpy(y, x, size_t(head));
  streamVectors(x + head, y + head, whole);
  memcpy(y + done, x + done, size_t(n - done));
#else
  memcpy(to, from, size_t(n));
#endif
}

void fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

template <int fn>
struct FunctionOf;
#define ELEMENTWISE(name, arity, result, types, cost) \
  template <>                                         \
  struct FunctionOf<kFn_##name> : name##_ {           \
    static constexpr int inputs = arity;              \
    static constexpr bool test = result == predicate; \
  };
#include "../../graph/elementwise.def"
#undef ELEMENTWISE

// A recipe's loop. Arrays with constant indices become registers.
template <int id>
struct Kitchen {
  static constexpr Recipe r = kRecipeRows[id];
  static constexpr int kRegisters = r.nIn + r.nSteps;

  template <int i>
  NABLA_INLINE void load(const float* const* x, const float* numbers, int64_t at, float* value) {
    if constexpr (i < r.nIn) {
      value[i] = r.number[i] ? numbers[i] : x[i][at];
      load<i + 1>(x, numbers, at, value);
    }
  }
  template <int k>
  NABLA_INLINE void compute(float* value, uint8_t* truth) {
    if constexpr (k < r.nSteps) {
      constexpr Recipe::Step s = r.steps[k];
      constexpr int to = r.nIn + k;
      using F = FunctionOf<s.fn>;
      if constexpr (s.fn == kFn_where)
        value[to] = F::f(truth[s.from[0]], value[s.from[1]], value[s.from[2]]);
      else if constexpr (F::test)
        truth[to] = F::f(value[s.from[0]], value[s.from[1]]);
      else if constexpr (F::inputs == 1)
        value[to] = F::f(value[s.from[0]]);
      else if constexpr (F::inputs == 2)
        value[to] = F::f(value[s.from[0]], value[s.from[1]]);
      else
        value[to] = F::f(value[s.from[0]], value[s.from[1]], value[s.from[2]]);
      compute<k + 1>(value, truth);
    }
  }
  template <int j>
  NABLA_INLINE void store(float* const* y, int64_t at, const float* value) {
    if constexpr (j < r.nOut) {
      y[j][at] = value[r.out[j]];
      store<j + 1>(y, at, value);
    }
  }

  static void run(const void* const* in, void* const* out, int64_t n) { cook<false>(in, out, n); }

  // The one result past the caches, a few vectors at a time: its writes and the reads of inputs go on under the
  // arithmetic, where a block computed first and streamed then would have them take turns.
  static void runStreaming(const void* const* in, void* const* out, int64_t n) { cook<true>(in, out, n); }

 private:
  template <bool kStreams>
  static void cook(const void* const* in, void* const* out, int64_t n) {
    const float* x[r.nIn];
    float numbers[r.nIn] = {};
    float* y[r.nOut];
    for (int i = 0; i < r.nIn; i++) {
      x[i] = static_cast<const float*>(in[i]);
      if (r.number[i]) numbers[i] = *x[i];
    }
    for (int j = 0; j < r.nOut; j++) y[j] = static_cast<float*>(out[j]);
    int64_t from = 0;
#if defined(__SSE2__)
    if constexpr (kStreams) {
      constexpr int64_t kGroup = 64;
      const bool aligned = (reinterpret_cast<uintptr_t>(y[0]) & uintptr_t(kVectorBytes - 1)) == 0;
      for (; aligned && from + kGroup <= n; from += kGroup) {
        alignas(64) float group[kGroup];
        INDEPENDENT
        for (int64_t i = 0; i < kGroup; i++) {
          float value[kRegisters];
          uint8_t truth[kRegisters];
          load<0>(x, numbers, from + i, value);
          compute<0>(value, truth);
          group[i] = value[r.out[0]];
        }
        streamVectors(reinterpret_cast<const char*>(group), reinterpret_cast<char*>(y[0] + from), sizeof group);
      }
    }
#endif
    INDEPENDENT
    for (int64_t at = from; at < n; at++) {
      float value[kRegisters];
      uint8_t truth[kRegisters];
      load<0>(x, numbers, at, value);
      compute<0>(value, truth);
      store<0>(y, at, value);
    }
  }
};

template <int id>
constexpr RecipeFn streamingOf() {
#if defined(__SSE2__)
  if constexpr (kRecipeRows[id].nOut == 1) return Kitchen<id>::runStreaming;
#endif
  return nullptr;
}

constexpr ElementwiseTable make() {
  ElementwiseTable t = {};
#define ELEMENTWISE(name, arity, result, types, cost) row<name##_, arity, result, ctypes::types>(t.fn[kFn_##name]);
#include "../../graph/elementwise.def"
#undef ELEMENTWISE
  conversions<float>(t.convert[kF32]);
  conversions<double>(t.convert[kF64]);
  conversions<int32_t>(t.convert[kI32]);
  conversions<int64_t>(t.convert[kI64]);
  conversions<uint8_t>(t.convert[kU8]);
  conversions<uint8_t>(t.convert[kBool]);
  t.halfToFloat = map<WidenHalf, uint16_t, float>;
  t.bfloatToFloat = map<WidenBfloat, uint16_t, float>;
  t.floatToHalf = map<NarrowHalf, float, uint16_t>;
  t.floatToBfloat = map<NarrowBfloat, float, uint16_t>;
#define RECIPE(name, steps, results)                             \
  t.recipe[kRecipe_##name] = Kitchen<kRecipe_##name>::run; \
  t.streaming[kRecipe_##name] = streamingOf<kRecipe_##name>();
#include "elementwise_recipes.def"
#undef RECIPE
  t.stream = stream;
  t.fence = fence;
  return t;
}

}  // namespace

extern const ElementwiseTable elementwiseTable;
constexpr ElementwiseTable elementwiseTable = make();

}  // namespace NABLA_ISA
}  // namespace nabla

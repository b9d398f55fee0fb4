// Along the last dimension: cumulative sums and products, and the stable sort.
#include <algorithm>

#include "rows.h"

namespace nabla {
namespace {

// Floats are accumulated in float64, integers in int64 (wrapping), and each result is rounded to y's dtype.
template <bool product>
void scan(const Call& c) {
  const View& x = c.in[0];
  const int64_t n = x.shape[x.ndim - 1];
  const auto run = [&](auto tag) {
    using C = TypeOf<decltype(tag)>;
    overRows<C, 1, 1>(c, {&x}, {&c.out[0]}, [=](int64_t, const C* const* in, C* const* out) {
      C acc = product ? 1 : 0;
      for (int64_t i = 0; i < n; i++) {
        acc = product ? multiply(acc, in[0][i]) : add(acc, in[0][i]);
        out[0][i] = acc;
      }
    });
  };
  if (isFloat(x.dtype)) run(Tag<double>{});
  else run(Tag<int64_t>{});
}

// An unsigned integer in the order of the values: NaN above all, −0 equal to +0. 32 bits where they suffice.
template <typename T>
auto sortKey(T value) {
  if constexpr (std::is_same_v<T, double>) {
    if (isNan(value)) return ~uint64_t(0);
    uint64_t bits;
    std::memcpy(&bits, &value, 8);
    if (bits << 1 == 0) bits = 0;
    return bits >> 63 ? ~bits : bits | uint64_t(1) << 63;
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return uint64_t(value) ^ uint64_t(1) << 63;
  } else if constexpr (std::is_same_v<Compute<T>, float>) {
    const float f = value;
    if (isNan(f)) return ~uint32_t(0);
    uint32_t bits = bitsOfFloat(f);
    if (bits << 1 == 0) bits = 0;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return uint32_t(value) ^ 0x80000000u;
  } else {
    return uint32_t(Compute<T>(value));
  }
}

// What is sorted: key and place as one number, or as a pair when the key alone has 64 bits. Equal keys keep their order
// because places ascend.
template <typename Key>
struct Entry {
  uint64_t key;
  uint32_t place;
  static Entry of(Key key, int64_t place) { return {key, uint32_t(place)}; }
  int64_t at() const { return place; }
  bool operator<(const Entry& b) const { return key != b.key ? key < b.key : place < b.place; }
};
template <>
struct Entry<uint32_t> {
  uint64_t both;
  static Entry of(uint32_t key, int64_t place) { return {uint64_t(key) << 32 | uint64_t(place)}; }
  int64_t at() const { return int64_t(both & 0xFFFFFFFF); }
  bool operator<(const Entry& b) const { return both < b.both; }
};

template <typename T>
void sortRows(const Call& c) {
  const View &x = c.in[0], &values = c.out[0], &indices = c.out[1];
  const int last = x.ndim - 1;
  const int64_t n = x.shape[last], rows = x.numel() == 0 ? 0 : x.numel() / n;
  const bool descending = c.attr[0] != 0;
  using E = Entry<decltype(sortKey(T{}))>;
  Layout<3> outer;
  for (int d = 0; d < last; d++) outer.push(x.shape[d], x.strides[d], values.strides[d], indices.strides[d]);
  parallelRange(rows, std::max<int64_t>(1, kRowGrain / 8 / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
    Scratch scratch(c, size_t(n) * sizeof(E));
    E* const entries = scratch.get<E>();
    Cursor<3> at(outer, begin);
    for (int64_t row = begin; row < end; row++, at.next()) {
      const T* const from = x.as<T>() + at.offset[0];
      T* const to = values.as<T>() + at.offset[1];
      int64_t* const places = indices.as<int64_t>() + at.offset[2];
      for (int64_t i = 0; i < n; i++) {
        const auto key = sortKey(from[i * x.strides[last]]);
        entries[i] = E::of(descending ? decltype(key)(~key) : key, i);
      }
      std::sort(entries, entries + n);
      for (int64_t i = 0; i < n; i++) {
        const int64_t place = entries[i].at();
        to[i * values.strides[last]] = from[place * x.strides[last]];
        places[i * indices.strides[last]] = place;
      }
    }
  });
}

}  // namespace

void run_cumsum(const Call& c) { scan<false>(c); }
void run_cumprod(const Call& c) { scan<true>(c); }

void run_sort(const Call& c) {
  withType(c.in[0].dtype, [&](auto tag) { sortRows<TypeOf<decltype(tag)>>(c); });
}

}  // namespace nabla

// What one instruction set offers to cpu/elementwise.cc: functions over contiguous blocks of elements.
// elementwise_table.cc is compiled once per instruction set, each time into a namespace of its own.
#pragma once
#include <cstdint>

#include "../../graph/elementwise.h"

namespace nabla {

// out[i] = f(a[i], b[i], c[i]) for i in [0, n). `out` may be one of the inputs exactly when its elements have the same
// size, and overlaps none otherwise. Unused inputs are ignored.
using BlockFn = void (*)(const void* a, const void* b, const void* c, void* out, int64_t n);

// A recipe of elementwise_recipes.def on n elements. in[i] is a block, or where one number lies; results are written as
// those of a BlockFn are, each to a block of its own.
using RecipeFn = void (*)(const void* const* in, void* const* out, int64_t n);

constexpr int kRecipes = 0
#define RECIPE(name, steps, results) +1
#include "elementwise_recipes.def"
#undef RECIPE
    ;

struct ElementwiseTable {
  BlockFn fn[kElementwiseFns][kCTypes];  // null where the function does not exist
  BlockFn convert[kCTypes][kCTypes];     // [from][to]
  BlockFn halfToFloat, bfloatToFloat, floatToHalf, floatToBfloat;
  RecipeFn recipe[kRecipes];
  RecipeFn streaming[kRecipes];  // that stream their result; null for those of several, or where nothing streams
  BlockFn stream;   // copies n bytes past the caches: for results too large to stay there
  void (*fence)();  // after the last `stream`, before other threads are told that it is done
};

}  // namespace nabla

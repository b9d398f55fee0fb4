// The table of graph/elementwise.def.
#include "elementwise.h"

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
#include "elementwise.def"
#undef ELEMENTWISE
};

}  // namespace

const char* const elementwiseNames[] = {
#define ELEMENTWISE(name, arity, result, types, cost) #name,
#include "elementwise.def"
#undef ELEMENTWISE
};

int arityOf(int fn) { return kRows[fn].arity; }
bool isPredicate(int fn) { return kRows[fn].predicate; }
int ctypesOf(int fn) { return kRows[fn].ctypes; }
int costOf(int fn) { return kRows[fn].cost; }

}  // namespace nabla

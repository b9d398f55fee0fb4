// The names of the element-wise functions, in the order of graph/elementwise.def: what a step's `fn` indexes.
#pragma once

namespace nabla {

const char* const* elementwiseNames(int* count);

}  // namespace nabla

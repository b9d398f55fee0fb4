// Tensors: making them, arithmetic with broadcasting, views, indexing, reading.
import assert from "node:assert/strict";
import { arange, cat, einsum, tensor, where } from "nablajs";

// Nested arrays, typed arrays or counting. Shapes and dtypes are known at once; values are computed when they are read.
const prices = tensor([
  [10, 12, 9],
  [20, 21, 25],
]); // two products, three days
const sold = tensor(Float32Array.of(1, 2, 3));
console.log("prices:", prices);
console.log(`shape [${prices.shape}], dtype ${prices.dtype}, device ${prices.device}`);

// Broadcasting: [2, 3] · [3] repeats the second along the first dimension.
const revenue = prices.mul(sold);
assert.deepEqual(revenue.index(1).toArray(), [20, 42, 75]);
console.log("revenue:", revenue);

// Reductions take a dimension; without one they reduce everything.
assert.deepEqual(revenue.sum(1).toArray(), [61, 137]);
const { values, indices } = prices.max(1); // best price and its day
assert.deepEqual(indices.toArray(), [1, 2]);
console.log("best price of each product:", values, "on day", indices);

// Views share memory: writing into a column writes into the matrix. In-place operations end in an underscore.
const table = arange(12).reshape([3, 4]);
table.index(":", 0).mul_(100);
assert.deepEqual(table.index(1).toArray(), [400, 5, 6, 7]);
console.log("first column times 100:", table);

// Indexing is Python's, between parentheses: integers, slices as text, null, arrays, masks. indexPut_ assigns.
assert.deepEqual(table.index("::2", "1:3").toArray(), [
  [1, 2],
  [9, 10],
]);
assert.deepEqual(table.index(table.gt(100)).toArray(), [400, 800]);
table.indexPut_([table.gt(100)], -1);
assert.deepEqual(table.toArray(), [
  [0, 1, 2, 3],
  [-1, 5, 6, 7],
  [-1, 9, 10, 11],
]);

// A tensor is iterable over its first dimension, and functions and methods are the same operations.
const rows = [...table].map((row) => row.sum().item());
assert.deepEqual(rows, [6, 17, 29]);
assert.deepEqual(cat([table, table], 1).shape, [3, 8]);
assert.deepEqual(where(table.lt(0), 0, table).min().item(), 0);
assert.deepEqual(einsum("ij,kj->ik", prices, prices).shape, [2, 2]);

// Reading: item() for one number, toArray() for nested arrays; data() is a promise and leaves the event loop free.
const numbers = await revenue.data();
assert(numbers instanceof Float32Array);
console.log("total revenue:", revenue.sum().item(), "from", numbers);

// Mistakes are named where they are made.
assert.throws(() => prices.add(tensor([1, 2])), /shapes \[2, 3\] and \[2\] cannot be broadcast/);

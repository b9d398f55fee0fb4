// Running sums and products along a dimension.

import { onesLike, zerosLike } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { normalizeAxis } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { cat } from "./arrange.js";
import { widened } from "./autocast.js";
import { apply1, checkTensor, installMethods, type MethodsOf, type OpDef } from "./define.js";
import { add, mul } from "./elementwise.js";
import { flip, narrow, reshape, transpose } from "./movement.js";

/** Along the last dimension, like the kernels. */
function scan(def: OpDef<null>, x: Tensor): Tensor {
  return apply1(def, [x], [], x.shape, isFloat(x.dtype) ? x.dtype : "int64", null);
}

const cumsumDef: OpDef<null> = {
  name: "cumsum",
  grad: ([g]) => [flip(scan(cumsumDef, flip(g!, -1)), -1)],
};

/**
 * y[j] = Π x[i ≤ j] has dx[k] = (Π x[i < k])·s[k] with s[k] = Σ_{j ≥ k} g[j]·Π x[k < i ≤ j], which holds where elements
 * are 0; s is the solution of s[k] = g[k] + x[k+1]·s[k+1].
 */
const cumprodDef: OpDef<null> = {
  name: "cumprod",
  saves: { inputs: [0] },
  grad: ([g], { inputs: [x] }) => [mul(before(x), recurrence(shifted(x, 1, 0), g!))],
};

/** x moved by n places toward the start along the last dimension; what becomes free is 0 or 1. */
function shifted(x: Tensor, n: number, fill: 0 | 1): Tensor {
  const size = x.shape[x.ndim - 1];
  const part = narrow(x, -1, 0, Math.min(n, size));
  return cat(
    [narrow(x, -1, Math.min(n, size), Math.max(size - n, 0)), fill === 0 ? zerosLike(part) : onesLike(part)],
    -1,
  );
}

/** Products of the elements before each one along the last dimension. */
function before(x: Tensor): Tensor {
  const size = x.shape[x.ndim - 1];
  if (size === 0) return x;
  return cat([onesLike(narrow(x, -1, 0, 1)), scan(cumprodDef, narrow(x, -1, 0, size - 1))], -1);
}

/** Products of all the other elements along the last dimension, without a division. */
export const productsOfOthers = (x: Tensor): Tensor => mul(before(x), flip(before(flip(x, -1)), -1));

/**
 * The solution of s[k] = b[k] + a[k]·s[k+1] along the last dimension, in log₂ n steps: after each, s[k] depends on
 * s[k + 2n] instead of s[k + n] (Kogge and Stone, 1973).
 */
function recurrence(a: Tensor, b: Tensor): Tensor {
  const size = b.shape[b.ndim - 1];
  let [factor, s] = [a, b];
  for (let n = 1; n < size; n *= 2) {
    s = add(s, mul(factor, shifted(s, n, 0)));
    factor = mul(factor, shifted(factor, n, 0));
  }
  return s;
}

function along(def: OpDef<null>, input: Tensor, dim: number): Tensor {
  const x = widened(checkTensor(input, def.name));
  const axis = normalizeAxis(dim, x.ndim, def.name);
  if (x.ndim === 0) return reshape(scan(def, reshape(x, [1])), []);
  if (axis === x.ndim - 1) return scan(def, x);
  return transpose(scan(def, transpose(x, axis, -1)), axis, -1);
}

/**
 * Sums of the elements up to each one along `dim`. Integers and bools sum to int64.
 *
 * @example
 * cumsum(tensor([1, 2, 3]), 0).toArray(); // [1, 3, 6]
 */
export const cumsum = (x: Tensor, dim: number): Tensor => along(cumsumDef, x, dim);

/** Products of the elements up to each one along `dim`. The gradient is right where elements are 0. */
export const cumprod = (x: Tensor, dim: number): Tensor => along(cumprodDef, x, dim);

const methods = { cumsum, cumprod };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

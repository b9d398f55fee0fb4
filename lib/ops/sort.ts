// Order: sorting, the largest elements, the median, and distinct values.
import { ShapeError } from "../errors.js";
import { fromTyped, zeros } from "../tensor/create.js";
import { dtypeFacts, isFloat, type TypedArray } from "../tensor/dtype.js";
import { normalizeAxis, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { apply, checkTensor, installMethods, type MethodsOf, type OpDef } from "./define.js";
import { isNan, where } from "./elementwise.js";
import { scatter } from "./indexing.js";
import { narrow, reshape, select, transpose } from "./movement.js";
import { cast } from "./pointwise.js";
import type { Selected } from "./reduce.js";

const sortDef: OpDef<null> = {
  name: "sort",
  saves: { outputs: [1] },
  grad: ([g], { outputs: [, indices] }) => [
    g ? scatter(zeros(g.shape, { dtype: g.dtype, device: g.device }), -1, indices, g) : null,
  ],
};

/** Along the last dimension, like the kernel. */
function sorted(x: Tensor, descending: boolean): Selected {
  const specs = [
    { shape: x.shape, dtype: x.dtype },
    { shape: x.shape, dtype: "int64" as const },
  ];
  const [values, indices] = apply(sortDef, [x], [descending ? 1 : 0], specs, null);
  return { values, indices };
}

const map = ({ values, indices }: Selected, fn: (t: Tensor) => Tensor): Selected => ({
  values: fn(values),
  indices: fn(indices),
});

/**
 * The elements in order along `dim`, and the positions they had: `{ values, indices }`. Equal elements keep their
 * order; NaN counts as largest.
 *
 * @example
 * sort(tensor([3, 1, 2])).indices.toArray(); // [1, 2, 0]
 */
export function sort(x: Tensor, dim = -1, descending = false): Selected {
  const axis = normalizeAxis(dim, checkTensor(x, "sort").ndim, "sort");
  if (x.ndim === 0) return map(sorted(reshape(x, [1]), descending), (t) => reshape(t, []));
  if (axis === x.ndim - 1) return sorted(x, descending);
  return map(sorted(transpose(x, axis, -1), descending), (t) => transpose(t, axis, -1));
}

/** The positions that sort x along `dim`, as int64. */
export const argsort = (x: Tensor, dim = -1, descending = false): Tensor => sort(x, dim, descending).indices;

/**
 * The k largest elements along `dim` (the smallest with `largest: false`), in order, and their positions.
 *
 * @throws ShapeError when there are fewer than k.
 */
export function topk(x: Tensor, k: number, dim = -1, largest = true): Selected {
  const axis = normalizeAxis(dim, checkTensor(x, "topk").ndim, "topk");
  const size = x.ndim === 0 ? 1 : x.shape[axis];
  if (!Number.isInteger(k) || k < 0 || k > size) {
    throw new ShapeError(
      `topk: k must be an integer from 0 to the size of dimension ${dim} of ${show(x.shape)}, got ${k}`,
    );
  }
  const order = sort(x, axis, largest);
  return x.ndim === 0 ? order : map(order, (t) => narrow(t, axis, 0, k));
}

/**
 * The median of all elements; or, with `dim`, the medians along it and their positions: `{ values, indices }`. Of an
 * even number it is the lower one in the middle; NaN wins.
 */
export function median(x: Tensor): Tensor;
export function median(x: Tensor, dim: number, keepdim?: boolean): Selected;
export function median(x: Tensor, dim?: number, keepdim = false): Tensor | Selected {
  checkTensor(x, "median");
  if (dim === undefined) return medianAlong(reshape(x, [-1]), 0).values;
  const axis = normalizeAxis(dim, x.ndim, "median");
  const found = medianAlong(x.ndim === 0 ? reshape(x, [1]) : x, axis);
  if (!keepdim || x.ndim === 0) return found;
  return map(found, (t) =>
    reshape(
      t,
      x.shape.map((d, i) => (i === axis ? 1 : d)),
    ),
  );
}

function medianAlong(x: Tensor, axis: number): Selected {
  const size = x.shape[axis];
  if (size === 0) throw new ShapeError(`median: there is none of no elements: ${show(x.shape)}, dimension ${axis}`);
  const order = sort(x, axis);
  const middle = map(order, (t) => select(t, axis, (size - 1) >> 1));
  if (!isFloat(x.dtype)) return middle;
  const last = map(order, (t) => select(t, axis, size - 1));
  const spoilt = isNan(last.values);
  return {
    values: where(spoilt, last.values, middle.values),
    indices: where(spoilt, last.indices, middle.indices),
  };
}

/** Distinct values, and how they are spread over the tensor. */
export interface Unique {
  /** In ascending order; every NaN is a value of its own. */
  values: Tensor;
  /** For each element of the tensor the position of its value; int64, of the tensor's shape. */
  inverse: Tensor;
  /** How often each value occurs; int64. */
  counts: Tensor;
}

/**
 * The distinct values of a tensor. Reads the values: their number depends on them.
 *
 * @example
 * unique(tensor([3, 1, 3])).values.toArray(); // [1, 3]
 */
export function unique(x: Tensor): Unique {
  const half = checkTensor(x, "unique").dtype === "float16" || x.dtype === "bfloat16";
  const source = half ? cast(x, "float32") : x;
  const order = sorted(reshape(source, [-1]), false);
  const values = order.values.dataSync();
  const from = order.indices.dataSync() as BigInt64Array;
  const distinct: (number | bigint)[] = [];
  const counts: bigint[] = [];
  const inverse = new BigInt64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    if (i === 0 || values[i] !== values[i - 1]) {
      distinct.push(values[i]);
      counts.push(0n);
    }
    counts[counts.length - 1]++;
    inverse[Number(from[i])] = BigInt(distinct.length - 1);
  }
  const { device } = x.storage;
  const array = new dtypeFacts[source.dtype].array(distinct.length);
  (array as Float64Array).set(distinct as number[]);
  return {
    values: cast(fromTyped(array as TypedArray, source.dtype, [distinct.length], device), x.dtype),
    inverse: fromTyped(inverse, "int64", x.shape, device),
    counts: fromTyped(BigInt64Array.from(counts), "int64", [counts.length], device),
  };
}

const methods = { sort, argsort, topk, unique };
installMethods({ ...methods, median });
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {
    /** See the function `median`. */
    median(): Tensor;
    median(dim: number, keepdim?: boolean): Selected;
  }
}

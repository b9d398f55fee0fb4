// Reductions over dimensions: sums, products, extrema, and what is made of them.
import { ShapeError } from "../errors.js";
import { type DType, isFloat } from "../tensor/dtype.js";
import { normalizeAxes, normalizeAxis, type Shape, sameShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { widened } from "./autocast.js";
import {
  apply1,
  checkFloat,
  checkTensor,
  installMethods,
  type MethodsOf,
  type OpDef,
  operation,
  own,
} from "./define.js";
import { div, eq, mul, ne } from "./elementwise.js";
import { gather } from "./indexing.js";
import { expand, permute, reshape } from "./movement.js";
import { productsOfOthers } from "./scan.js";

/** Which dimensions: one, several, or all when absent. */
export type Dims = number | readonly number[] | null;

interface Reduced {
  readonly axes: readonly number[];
}

/** Shape after the reduction of `axes`. */
function reducedShape(shape: Shape, axes: readonly number[], keepdim: boolean): number[] {
  const out: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    if (!axes.includes(i)) out.push(shape[i]);
    else if (keepdim) out.push(1);
  }
  return out;
}

/** Runs a reduction kernel: the dimensions to reduce are permuted to the end, as the contract wants. */
export function reduce(
  def: OpDef<Reduced>,
  x: Tensor,
  axes: readonly number[],
  keepdim: boolean,
  dtype: DType,
): Tensor {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const last = kept.length + axes.length === x.ndim && axes.every((a, i) => a === kept.length + i);
  const places = { axes: axes.map((_, i) => kept.length + i) };
  const run = (y: Tensor) => apply1(def, [y], [axes.length], reducedShape(x.shape, axes, false), dtype, places);
  if (last && !keepdim) return run(x);
  return operation(() => {
    const out = run(last ? x : permute(x, [...kept, ...axes]));
    return keepdim ? own(reshape(out, reducedShape(x.shape, axes, true))) : out;
  });
}

/** Puts reduced dimensions back with size 1 and expands them to `shape`. */
function unreduce(g: Tensor, axes: readonly number[], shape: Shape): Tensor {
  return expand(reshape(g, reducedShape(shape, axes, true)), shape);
}

const sumDef: OpDef<Reduced> = {
  name: "sum",
  grad: ([g], { like, extra }) => [unreduce(g!, extra.axes, like[0].shape)],
};
const meanDef: OpDef<Reduced> = {
  name: "mean",
  grad: ([g], { like, extra }) => {
    const count = extra.axes.reduce((n, a) => n * like[0].shape[a], 1);
    return [unreduce(mul(g!, 1 / count), extra.axes, like[0].shape)];
  },
};

/**
 * Sum of the elements over `dim` (all when absent). Integers and bools sum to int64.
 *
 * @example
 * tensor([[1, 2], [3, 4]]).sum(0).toArray(); // [4, 6]
 */
export function sum(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  const input = widened(checkTensor(x, "sum"));
  const dtype = isFloat(input.dtype) ? input.dtype : "int64";
  return reduce(sumDef, input, normalizeAxes(dim, x.ndim, "sum"), keepdim, dtype);
}

/** Mean of the elements over `dim` (all when absent); floating point only. */
export function mean(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  const input = widened(checkFloat(checkTensor(x, "mean"), "mean"));
  return reduce(meanDef, input, normalizeAxes(dim, x.ndim, "mean"), keepdim, input.dtype);
}

const prodDef: OpDef<Reduced> = {
  name: "prod",
  saves: { inputs: [0] },
  grad: ([g], { inputs: [x], like, extra }) => {
    const kept = x.shape.slice(0, x.ndim - extra.axes.length);
    const others = reshape(productsOfOthers(reshape(x, [...kept, sizeOf(x.shape, extra.axes)])), x.shape);
    return [mul(unreduce(g!, extra.axes, like[0].shape), others)];
  },
};

const sizeOf = (shape: Shape, axes: readonly number[]): number => axes.reduce((n, a) => n * shape[a], 1);

/**
 * Product of the elements over `dim` (all when absent). Integers and bools multiply to int64. The gradient is right
 * where elements are 0.
 */
export function prod(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  const input = widened(checkTensor(x, "prod"));
  const dtype = isFloat(input.dtype) ? input.dtype : "int64";
  return reduce(prodDef, input, normalizeAxes(dim, x.ndim, "prod"), keepdim, dtype);
}

// ---- truth

const anyDef: OpDef<Reduced> = { name: "any" };
const allDef: OpDef<Reduced> = { name: "all" };

/** True where an element over `dim` (all when absent) is nonzero; false over no elements. */
export function any(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  checkTensor(x, "any");
  return reduce(anyDef, x, normalizeAxes(dim, x.ndim, "any"), keepdim, "bool");
}

/** True where every element over `dim` (all when absent) is nonzero; true over no elements. */
export function all(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  checkTensor(x, "all");
  return reduce(allDef, x, normalizeAxes(dim, x.ndim, "all"), keepdim, "bool");
}

/** How many elements over `dim` (all when absent) are nonzero, as int64. */
export const countNonzero = (x: Tensor, dim?: Dims): Tensor => sum(ne(checkTensor(x, "countNonzero"), 0), dim);

// ---- extrema

/** The gradient goes in equal parts to the elements that are the extremum. */
const extremum = (name: string): OpDef<Reduced> => ({
  name,
  saves: { inputs: [0], outputs: [0] },
  grad: ([g], { inputs: [x], outputs: [y], extra }) => {
    const chosen = eq(x, unreduce(y, extra.axes, x.shape));
    const share = div(g!, sum(chosen, extra.axes));
    return [mul(unreduce(share, extra.axes, x.shape), chosen)];
  },
});
const maxDef = extremum("max");
const minDef = extremum("min");

function checkNonEmpty(x: Tensor, axes: readonly number[], op: string): void {
  if (x.shape.some((d, i) => d === 0 && axes.includes(i))) {
    throw new ShapeError(`${op}: there is none of no elements: ${show(x.shape)} over dimensions ${show(axes)}`);
  }
}

function extreme(def: OpDef<Reduced>, op: string, x: Tensor, dim: Dims | undefined, keepdim: boolean): Tensor {
  const axes = normalizeAxes(dim, checkTensor(x, op).ndim, op);
  checkNonEmpty(x, axes, op);
  return reduce(def, x, axes, keepdim, x.dtype);
}

/** Largest element over `dim` (all when absent); NaN wins. Equal elements share the gradient. */
export const amax = (x: Tensor, dim?: Dims, keepdim = false): Tensor => extreme(maxDef, "amax", x, dim, keepdim);
/** Smallest element over `dim` (all when absent); NaN wins. Equal elements share the gradient. */
export const amin = (x: Tensor, dim?: Dims, keepdim = false): Tensor => extreme(minDef, "amin", x, dim, keepdim);

const argmaxDef: OpDef<Reduced> = { name: "argmax" };
const argminDef: OpDef<Reduced> = { name: "argmin" };

function position(def: OpDef<Reduced>, x: Tensor, dim: number | null | undefined, keepdim: boolean): Tensor {
  checkTensor(x, def.name);
  const axes = normalizeAxes(dim ?? null, x.ndim, def.name);
  checkNonEmpty(x, axes, def.name);
  return reduce(def, x, axes, keepdim, "int64");
}

/** Position of the first largest element along `dim`, or in row-major order of all, as int64; NaN wins. */
export const argmax = (x: Tensor, dim?: number | null, keepdim = false): Tensor => position(argmaxDef, x, dim, keepdim);
/** Position of the first smallest element along `dim`, or in row-major order of all, as int64; NaN wins. */
export const argmin = (x: Tensor, dim?: number | null, keepdim = false): Tensor => position(argminDef, x, dim, keepdim);

/** Elements and their positions along a dimension. */
export interface Selected {
  values: Tensor;
  indices: Tensor;
}

function chosen(def: OpDef<Reduced>, op: string, x: Tensor, dim: number, keepdim: boolean): Selected {
  const axis = normalizeAxis(dim, checkTensor(x, op).ndim, op);
  const at = position(def, x, axis, true);
  const values = gather(x, axis, at);
  if (keepdim || x.ndim === 0) return { values, indices: at };
  const shape = reducedShape(x.shape, [axis], false);
  return { values: reshape(values, shape), indices: reshape(at, shape) };
}

/**
 * The largest element of all; or, with `dim`, the largest along it and their positions: `{ values, indices }`. NaN
 * wins; of equal ones the first, which gets the gradient (without `dim` they share it).
 *
 * @example
 * max(tensor([[1, 3], [4, 2]]), 1).values.toArray(); // [3, 4]
 */
export function max(x: Tensor): Tensor;
export function max(x: Tensor, dim: number, keepdim?: boolean): Selected;
export function max(x: Tensor, dim?: number, keepdim = false): Tensor | Selected {
  return dim === undefined ? extreme(maxDef, "max", x, null, false) : chosen(argmaxDef, "max", x, dim, keepdim);
}
/** The smallest element of all; or, with `dim`, the smallest along it and their positions, like `max`. */
export function min(x: Tensor): Tensor;
export function min(x: Tensor, dim: number, keepdim?: boolean): Selected;
export function min(x: Tensor, dim?: number, keepdim = false): Tensor | Selected {
  return dim === undefined ? extreme(minDef, "min", x, null, false) : chosen(argminDef, "min", x, dim, keepdim);
}

/** Sums over the dimensions in which `shape` was broadcast to x's shape: the adjoint of broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.ndim - shape.length;
  const axes: number[] = [];
  for (let i = 0; i < x.ndim; i++) if (i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1)) axes.push(i);
  return reshape(axes.length > 0 ? sum(x, axes) : x, shape);
}

const methods = { sum, mean, prod, any, all, countNonzero, amax, amin, argmax, argmin };
installMethods({ ...methods, max, min });
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {
    /** See the function `max`. */
    max(): Tensor;
    max(dim: number, keepdim?: boolean): Selected;
    /** See the function `min`. */
    min(): Tensor;
    min(dim: number, keepdim?: boolean): Selected;
  }
}

// Reductions over dimensions: sums, products, extrema, and what is made of them.
import { type DType, dtypeFacts } from "../tensor/dtype.js";
import { normalizeAxes, type Shape, sameShape } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { apply1, checkFloat, checkTensor, installMethods, type MethodsOf, type OpDef } from "./define.js";
import { mul } from "./elementwise.js";
import { expand, permute, reshape } from "./movement.js";

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
  const ordered = last ? x : permute(x, [...kept, ...axes]);
  const out = apply1(def, [ordered], [axes.length], reducedShape(x.shape, axes, false), dtype, {
    axes: axes.map((_, i) => kept.length + i),
  });
  return keepdim ? reshape(out, reducedShape(x.shape, axes, true)) : out;
}

/** Puts reduced dimensions back with size 1 and expands them to `shape`. */
export function unreduce(g: Tensor, axes: readonly number[], shape: Shape): Tensor {
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
  checkTensor(x, "sum");
  const dtype = dtypeFacts[x.dtype].kind === "float" ? x.dtype : "int64";
  return reduce(sumDef, x, normalizeAxes(dim, x.ndim, "sum"), keepdim, dtype);
}

/** Mean of the elements over `dim` (all when absent); floating point only. */
export function mean(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  checkFloat(checkTensor(x, "mean"), "mean");
  return reduce(meanDef, x, normalizeAxes(dim, x.ndim, "mean"), keepdim, x.dtype);
}

/** Sums over the dimensions in which `shape` was broadcast to x's shape: the adjoint of broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.ndim - shape.length;
  const axes: number[] = [];
  for (let i = 0; i < x.ndim; i++) if (i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1)) axes.push(i);
  return reshape(axes.length > 0 ? sum(x, axes) : x, shape);
}

const methods = { sum, mean };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

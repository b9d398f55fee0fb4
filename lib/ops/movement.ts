// Changing how elements are arranged: views that share memory, and the copies made of them.
import { ShapeError } from "../errors.js";
import { broadcastStrides, checkShape, normalizeAxis, numelOf, reshapeStrides, sameShape, type Shape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { applyView, checkTensor, installMethods, type MethodsOf, type ViewDef } from "./define.js";
import { clone } from "./pointwise.js";
import { sumTo } from "./reduce.js";

const viewDef: ViewDef<null> = { name: "view", grad: ([g], { like }) => [reshape(g!, like[0].shape)] };

/**
 * The same elements in row-major order under another shape, of which one size may be −1. Shares memory where strides
 * allow, else copies (`torch.reshape`).
 *
 * @example
 * arange(6).reshape([2, -1]).shape; // [2, 3]
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor(x, "reshape");
  if (sameShape(x.shape, shape)) return x;
  const target = inferShape(x, shape);
  const strides = reshapeStrides(x.shape, x.strides, target);
  if (strides) return applyView(viewDef, x, target, strides, x.offset, null);
  return reshape(clone(x), target);
}

function inferShape(x: Tensor, shape: Shape): number[] {
  const unknown = shape.indexOf(-1);
  const target = checkShape(unknown < 0 ? shape : shape.map((d, i) => (i === unknown ? 1 : d)), "reshape");
  if (unknown >= 0) target[unknown] = numelOf(target) === 0 ? 0 : Math.floor(x.numel / numelOf(target));
  if (numelOf(target) !== x.numel) {
    throw new ShapeError(`reshape: ${show(x.shape)} has ${x.numel} elements and cannot become ${show(shape)}`);
  }
  return target;
}

const permuteDef: ViewDef<readonly number[]> = {
  name: "permute",
  grad: ([g], { extra }) => {
    const inverse = new Array<number>(extra.length);
    extra.forEach((from, to) => {
      inverse[from] = to;
    });
    return [permute(g!, inverse)];
  },
};

/** The dimensions in another order; shares memory. */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  checkTensor(x, "permute");
  const order = dims.map((d) => normalizeAxis(d, x.ndim, "permute"));
  if (order.length !== x.ndim || new Set(order).size !== x.ndim) {
    throw new ShapeError(`permute: ${show(dims)} must name each of the ${x.ndim} dimensions of ${show(x.shape)} once`);
  }
  return applyView(
    permuteDef,
    x,
    order.map((d) => x.shape[d]),
    order.map((d) => x.strides[d]),
    x.offset,
    order,
  );
}

/** Two dimensions swapped; shares memory. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  checkTensor(x, "transpose");
  const order = x.shape.map((_, i) => i);
  const a = normalizeAxis(dim0, x.ndim, "transpose");
  const b = normalizeAxis(dim1, x.ndim, "transpose");
  if (x.ndim === 0) return x;
  [order[a], order[b]] = [order[b], order[a]];
  return permute(x, order);
}

/** The transpose of a matrix (at most two dimensions); shares memory. */
export function t(x: Tensor): Tensor {
  checkTensor(x, "t");
  if (x.ndim > 2) throw new ShapeError(`t: at most 2 dimensions, got ${show(x.shape)}; use transpose(dim0, dim1) or permute`);
  return x.ndim < 2 ? x : permute(x, [1, 0]);
}

const expandDef: ViewDef<null> = { name: "expand", grad: ([g], { like }) => [sumTo(g!, like[0].shape)] };

/** Dimensions of size 1 repeated without a copy to `shape` (−1 keeps a size); new ones come first. */
export function expand(x: Tensor, shape: Shape): Tensor {
  checkTensor(x, "expand");
  const lead = shape.length - x.ndim;
  const target = checkShape(
    shape.map((d, i) => (d === -1 && i >= lead ? x.shape[i - lead] : d)),
    "expand",
  );
  if (sameShape(target, x.shape)) return x;
  if (lead < 0 || x.shape.some((d, i) => d !== 1 && d !== target[i + lead])) {
    throw new ShapeError(`expand: ${show(x.shape)} cannot be expanded to ${show(shape)}: only sizes of 1 can grow`);
  }
  return applyView(expandDef, x, target, broadcastStrides(x.shape, x.strides, target), x.offset, null);
}

/** A row-major tensor of the same values: itself when it is one. */
export const contiguous = (x: Tensor): Tensor => (x.isContiguous() ? x : clone(x));

const methods = { reshape, permute, transpose, t, expand, contiguous };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

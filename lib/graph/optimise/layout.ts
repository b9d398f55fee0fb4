// How the operands of element-wise instructions are seen in the order of a matrix product that one of them reads.
import { isContiguous, numelOf, reshapeStrides, type Shape } from "../../tensor/shape.js";
import { isView, type Operand, type View } from "../encode.js";

/** First the dimensions are permuted, then reshaped. */
export interface Layout {
  readonly order: readonly number[];
  readonly shape: Shape;
}

/** The layout in which `window`, a view of all elements of the row-major `whole`, is `whole`; null when there is none. */
export function layoutOf(window: View, whole: View): Layout | null {
  const { shape, strides } = window;
  if (window.dtype !== whole.dtype || window.offset !== whole.offset) return null;
  if (numelOf(shape) === 0 || numelOf(shape) !== numelOf(whole.shape)) return null;
  const order = shape.map((_, d) => d).sort((a, b) => strides[b] - strides[a] || a - b);
  const permuted = (list: Shape): number[] => order.map((d) => list[d]);
  return isContiguous(permuted(shape), permuted(strides)) ? { order, shape: whole.shape } : null;
}

/** An operand in that layout; undefined when strides cannot say it. One number stays one number. */
export function relaid<T extends Operand>(x: T, { order, shape }: Layout): T | undefined {
  if (!isView(x) || x.shape.length === 0) return x;
  const permuted = (list: Shape): number[] => order.map((d) => list[d]);
  const strides = reshapeStrides(permuted(x.shape), permuted(x.strides), shape);
  if (strides === null) return undefined;
  return { storage: x.storage, dtype: x.dtype, offset: x.offset, shape, strides } as View as T;
}

// Arithmetic on shapes, strides and axes; every error about them is worded here.
import { describe } from "../check.js";
import { IndexError, ShapeError } from "../errors.js";

export type Shape = readonly number[];

export const MAX_DIMS = 8;
export const MAX_NUMEL = 2 ** 31 - 1;

export const show = (shape: Shape): string => `[${shape.join(", ")}]`;

export function numelOf(shape: Shape): number {
  let n = 1;
  for (let i = 0; i < shape.length; i++) n *= shape[i];
  return n;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Row-major strides, in elements. */
export function rowMajor(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i] || 1;
  }
  return strides;
}

/** True when the elements lie one after the other in row-major order. */
export function isContiguous(shape: Shape, strides: Shape): boolean {
  let expect = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const d = shape[i];
    if (d === 0) return true;
    if (d !== 1) {
      if (strides[i] !== expect) return false;
      expect *= d;
    }
  }
  return true;
}

/** Sizes and dimensions come in one array; PyTorch also takes them one after the other. */
export function checkList(list: unknown, rule: string, op: string): asserts list is readonly number[] {
  if (!Array.isArray(list)) throw new ShapeError(`${op}: ${rule}; got ${describe(list)}`);
}

/** Checks a shape that came from a user and returns a copy. */
export function checkShape(shape: unknown, op: string): number[] {
  const list = typeof shape === "number" ? [shape] : shape;
  checkList(list, "a shape is one array of sizes, such as [2, 3]", op);
  for (const d of list) {
    if (!Number.isInteger(d) || d < 0) {
      throw new ShapeError(`${op}: ${show(list)} is not a shape: sizes are integers ≥ 0, got ${String(d)}`);
    }
  }
  return checkSize(list.slice(), op);
}

export function checkSize(shape: number[], op: string): number[] {
  if (shape.length > MAX_DIMS) {
    throw new ShapeError(`${op}: ${show(shape)} has ${shape.length} dimensions; at most ${MAX_DIMS} are supported`);
  }
  if (numelOf(shape) > MAX_NUMEL) {
    throw new ShapeError(
      `${op}: ${show(shape)} has ${numelOf(shape)} elements; at most ${MAX_NUMEL} (2^31 − 1) are supported`,
    );
  }
  return shape;
}

/** NumPy broadcasting of two shapes. */
export function broadcastShapes(a: Shape, b: Shape, op: string): Shape {
  if (sameShape(a, b)) return a;
  const n = Math.max(a.length, b.length);
  const out = new Array<number>(n);
  for (let i = 1; i <= n; i++) {
    const da = i <= a.length ? a[a.length - i] : 1;
    const db = i <= b.length ? b[b.length - i] : 1;
    if (da !== db && da !== 1 && db !== 1) {
      throw new ShapeError(
        `${op}: shapes ${show(a)} and ${show(b)} cannot be broadcast together: ` +
          `sizes ${da} and ${db} at dimension −${i} differ and neither is 1`,
      );
    }
    out[n - i] = da === 1 ? db : da;
  }
  return out;
}

/** Strides that present a tensor of `shape` and `strides` as `target` (0 where broadcast); the shapes must fit. */
export function broadcastStrides(shape: Shape, strides: Shape, target: Shape): number[] {
  const lead = target.length - shape.length;
  const out = new Array<number>(target.length);
  for (let i = 0; i < target.length; i++) {
    out[i] = i < lead || (shape[i - lead] === 1 && target[i] !== 1) ? 0 : strides[i - lead];
  }
  return out;
}

/** A possibly negative axis as 0 … ndim − 1. A 0-dimensional tensor accepts 0 and −1, as in PyTorch. */
export function normalizeAxis(axis: number, ndim: number, op: string): number {
  if (typeof axis !== "number") throw new IndexError(`${op}: a dimension is an integer, got ${describe(axis)}`);
  const n = Math.max(ndim, 1);
  if (!Number.isInteger(axis) || axis < -n || axis >= n) {
    throw new IndexError(
      `${op}: dimension ${axis} is out of range for a tensor of ${ndim} dimensions (allowed: ${-n} to ${n - 1})`,
    );
  }
  return axis < 0 ? axis + n : axis;
}

/** Axes as a sorted list without repetition; undefined and null mean all. */
export function normalizeAxes(axes: number | readonly number[] | null | undefined, ndim: number, op: string): number[] {
  if (axes === undefined || axes === null) return Array.from({ length: ndim }, (_, i) => i);
  const list = (Array.isArray(axes) ? (axes as readonly number[]) : [axes as number]).map((a) =>
    normalizeAxis(a, ndim, op),
  );
  const sorted = [...new Set(list)].sort((x, y) => x - y);
  if (sorted.length !== list.length) throw new IndexError(`${op}: dimension named twice in ${show(list)}`);
  return ndim === 0 ? [] : sorted;
}

/** Strides of `target` over the same memory, or null when that needs a copy (the rule of `Tensor.view`). */
export function reshapeStrides(shape: Shape, strides: Shape, target: Shape): number[] | null {
  if (numelOf(shape) === 0 || isContiguous(shape, strides)) return rowMajor(target);
  const dims = shape.filter((d) => d !== 1);
  const steps = strides.filter((_, i) => shape[i] !== 1);
  const out = new Array<number>(target.length).fill(1);
  let t = target.length - 1;
  // Each group of old dimensions that are contiguous with each other must be filled by whole new dimensions.
  for (let i = dims.length - 1; i >= 0; ) {
    let step = steps[i];
    let left = dims[i--];
    while (i >= 0 && steps[i] === step * left) left *= dims[i--];
    while (left > 1) {
      if (left % target[t] !== 0) return null;
      out[t] = step;
      step *= target[t];
      left /= target[t--];
    }
  }
  return out;
}

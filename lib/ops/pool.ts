// Pooling: the maximum or the mean of windows, N×C×H×W.
import { ShapeError, ValueError } from "../errors.js";
import { fromTyped } from "../tensor/create.js";
import { checkShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { perDim, type Sizes } from "./conv.js";
import { apply, apply1, checkFloat, checkTensor, installMethods, type MethodsOf, type OpDef } from "./define.js";
import { add, floorDivide, mul, remainder } from "./elementwise.js";
import { gather, indexSelect, take } from "./indexing.js";
import { matmul } from "./matmul.js";
import { flatten, reshape, squeeze, transpose, unsqueeze } from "./movement.js";
import { cast } from "./pointwise.js";

export interface PoolOptions {
  /** Default: the size of the window. */
  stride?: Sizes;
  /** Border on both sides, at most half of the window. Default 0. */
  padding?: Sizes;
  /** Windows that begin inside but end outside count too. Default false. */
  ceilMode?: boolean;
}

export interface MaxPoolOptions extends PoolOptions {
  /** Distance of the window's elements. Default 1. */
  dilation?: Sizes;
}

export interface AvgPoolOptions extends PoolOptions {
  /** The zeros of the border count for the mean. Default true. */
  countIncludePad?: boolean;
}

// ---- windows of equal size

/** Input as N×C×H×W, and the way back. */
function lift(x: Tensor, dims: number, op: string) {
  checkFloat(checkTensor(x, op), op);
  if (x.ndim !== dims + 2 && x.ndim !== dims + 1) {
    const sizes = dims === 1 ? "L" : "H, W";
    throw new ShapeError(`${op}: the input must be [N, C, ${sizes}] or [C, ${sizes}], got ${show(x.shape)}`);
  }
  const batched = x.ndim === dims + 2;
  const whole = batched ? x : unsqueeze(x, 0);
  const lower = (y: Tensor): Tensor => {
    const flat = dims === 1 ? squeeze(y, -2) : y;
    return batched ? flat : squeeze(flat, 0);
  };
  return { image: dims === 1 ? unsqueeze(whole, -2) : whole, lower };
}

function windows(x: Tensor, image: Tensor, kernel: Sizes, options: MaxPoolOptions, dims: number, op: string) {
  const full = (v: number[], fill: number): number[] => (dims === 1 ? [fill, v[0]] : v);
  const size = full(perDim(kernel, dims, op, "the window", 1), 1);
  const stride = full(perDim(options.stride ?? kernel, dims, op, "stride", 1), 1);
  const padding = full(perDim(options.padding ?? 0, dims, op, "padding", 0), 0);
  const dilation = full(perDim(options.dilation ?? 1, dims, op, "dilation", 1), 1);
  if (padding.some((p, i) => 2 * p > size[i])) {
    throw new ValueError(
      `${op}: padding=${show(padding.slice(-dims))} must be at most half of the window ${show(size.slice(-dims))}`,
    );
  }
  const out = size.map((k, i) => {
    const n = image.shape[2 + i];
    const places = (n + 2 * padding[i] - dilation[i] * (k - 1) - 1) / stride[i];
    let count = (options.ceilMode ? Math.ceil(places) : Math.floor(places)) + 1;
    // A window must begin inside the image or its left border.
    if (options.ceilMode && (count - 1) * stride[i] >= n + padding[i]) count--;
    return count;
  });
  if (out.some((n) => n < 1)) {
    throw new ShapeError(
      `${op}: the window ${show(size.slice(-dims))} is larger than the input ${show(x.shape)} with ` +
        `padding=${show(padding.slice(-dims))}, dilation=${show(dilation.slice(-dims))}`,
    );
  }
  return {
    attrs: [...size, ...stride, ...padding],
    dilation,
    shape: checkShape([...image.shape.slice(0, 2), ...out], op),
  };
}

const maxPoolDef: OpDef<null> = {
  name: "maxPool2d",
  saves: { outputs: [1] },
  grad: ([g], { outputs: [, index], like }) => [apply1(maxPoolGradDef, [g!, index], [], like[0].shape, g!.dtype, null)],
};
const maxPoolGradDef: OpDef<null> = {
  name: "maxPool2dGrad",
  saves: { inputs: [1] },
  // The adjoint reads the elements that the maximum chose.
  grad: ([g], { inputs: [, index] }) => [reshape(gather(flatten(g!, 2), 2, flatten(index, 2)), index.shape), null],
};

function maxPool(x: Tensor, kernel: Sizes, options: MaxPoolOptions, dims: number, op: string): [Tensor, Tensor] {
  const { image, lower } = lift(x, dims, op);
  const { attrs, dilation, shape } = windows(x, image, kernel, options, dims, op);
  const specs = [{ shape, dtype: x.dtype } as const, { shape, dtype: "int64" } as const];
  const [y, index] = apply(maxPoolDef, [image], [...attrs, ...dilation], specs, null);
  return [lower(y), lower(index)];
}

/** The two forms of a maximum: values, or values and positions. */
interface MaxPool<O> {
  (x: Tensor, size: Sizes, options: O & { returnIndices: true }): [Tensor, Tensor];
  (x: Tensor, size: Sizes, options?: O & { returnIndices?: false }): Tensor;
}

const maxPoolOf = (dims: number, op: string): MaxPool<MaxPoolOptions> =>
  ((x: Tensor, kernel: Sizes, options: MaxPoolOptions & { returnIndices?: boolean } = {}) => {
    const both = maxPool(x, kernel, options, dims, op);
    return options.returnIndices ? both : both[0];
  }) as MaxPool<MaxPoolOptions>;

/**
 * The maximum of each window of N×C×L (or C×L). The border is never chosen; NaN wins. With `returnIndices` also the
 * positions of the maxima, int64; the first of equal ones.
 */
export const maxPool1d = maxPoolOf(1, "maxPool1d");
/**
 * The maximum of each window of N×C×H×W (or C×H×W). With `returnIndices` also the positions h·W + w of the maxima.
 *
 * @example
 * maxPool2d(arange(16).reshape([1, 1, 4, 4]), 2).toArray(); // [[[[5, 7], [13, 15]]]]
 */
export const maxPool2d = maxPoolOf(2, "maxPool2d");

const avgPoolDef: OpDef<readonly number[]> = {
  name: "avgPool2d",
  grad: ([g], { like, extra: attrs }) => [apply1(avgPoolGradDef, [g!], attrs, like[0].shape, g!.dtype, attrs)],
};
const avgPoolGradDef: OpDef<readonly number[]> = {
  name: "avgPool2dGrad",
  grad: ([g], { like, extra: attrs }) => [apply1(avgPoolDef, [g!], attrs, like[0].shape, g!.dtype, attrs)],
};

function avgPool(x: Tensor, kernel: Sizes, options: AvgPoolOptions, dims: number, op: string): Tensor {
  const { image, lower } = lift(x, dims, op);
  const { attrs, shape } = windows(x, image, kernel, options, dims, op);
  const all = [...attrs, (options.countIncludePad ?? true) ? 1 : 0];
  return lower(apply1(avgPoolDef, [image], all, shape, x.dtype, all));
}

/** The mean of each window of N×C×L (or C×L). */
export const avgPool1d = (x: Tensor, kernel: Sizes, options: AvgPoolOptions = {}): Tensor =>
  avgPool(x, kernel, options, 1, "avgPool1d");
/** The mean of each window of N×C×H×W (or C×H×W). */
export const avgPool2d = (x: Tensor, kernel: Sizes, options: AvgPoolOptions = {}): Tensor =>
  avgPool(x, kernel, options, 2, "avgPool2d");

// ---- as many windows as wanted

/** Sizes of an adaptive result; null keeps a size. */
export type AdaptiveSizes = number | readonly (number | null)[];

function targets(x: Tensor, image: Tensor, size: AdaptiveSizes, dims: number, op: string): number[] {
  const list = typeof size === "number" ? new Array<number>(dims).fill(size) : [...size];
  const input = image.shape.slice(4 - dims);
  const out = list.map((n, i) => n ?? input[i]);
  if (out.length !== dims || !out.every((n) => Number.isInteger(n) && n >= 1) || input.some((n) => n < 1)) {
    throw new ShapeError(`${op}: ${show(x.shape)} cannot be pooled to ${JSON.stringify(size)}: sizes are integers ≥ 1`);
  }
  return dims === 1 ? [1, out[0]] : out;
}

/** Window i of `count` over `size` elements: from ⌊i·size/count⌋ to ⌈(i + 1)·size/count⌉. */
const bin = (i: number, size: number, count: number): [number, number] => [
  Math.floor((i * size) / count),
  Math.ceil(((i + 1) * size) / count),
];

/** The matrix count×size that takes the mean of each window. */
function meanMatrix(size: number, count: number, x: Tensor): Tensor {
  const values = new Float64Array(count * size);
  for (let i = 0; i < count; i++) {
    const [start, end] = bin(i, size, count);
    values.fill(1 / (end - start), i * size + start, i * size + end);
  }
  return cast(fromTyped(values, "float64", [count, size], x.storage.device), x.dtype);
}

function adaptiveAvgPool(x: Tensor, size: AdaptiveSizes, dims: number, op: string): Tensor {
  const { image, lower } = lift(x, dims, op);
  const [oh, ow] = targets(x, image, size, dims, op);
  const [h, w] = image.shape.slice(2);
  if (h % oh === 0 && w % ow === 0) return lower(avgPool(image, [h / oh, w / ow], {}, 2, op));
  const rows = oh === h ? image : matmul(meanMatrix(h, oh, image), image);
  return lower(ow === w ? rows : matmul(rows, transpose(meanMatrix(w, ow, image), 0, 1)));
}

/** The mean of `size` windows that cover N×C×L (or C×L) evenly. */
export const adaptiveAvgPool1d = (x: Tensor, size: AdaptiveSizes): Tensor =>
  adaptiveAvgPool(x, size, 1, "adaptiveAvgPool1d");
/** The means of `size` (one number, or rows and columns) windows that cover N×C×H×W (or C×H×W) evenly. */
export const adaptiveAvgPool2d = (x: Tensor, size: AdaptiveSizes): Tensor =>
  adaptiveAvgPool(x, size, 2, "adaptiveAvgPool2d");

/**
 * Positions that lay the windows out side by side, all as long as the longest: shorter ones repeat their last element,
 * which changes no maximum.
 */
function sideBySide(size: number, count: number, x: Tensor): { index: Tensor; length: number } {
  const bins = Array.from({ length: count }, (_, i) => bin(i, size, count));
  const length = Math.max(...bins.map(([start, end]) => end - start));
  const list = bins.flatMap(([start, end]) => Array.from({ length }, (_, k) => BigInt(Math.min(start + k, end - 1))));
  return { index: fromTyped(BigInt64Array.from(list), "int64", [list.length], x.storage.device), length };
}

function adaptiveMaxPool(x: Tensor, size: AdaptiveSizes, dims: number, op: string): [Tensor, Tensor] {
  const { image, lower } = lift(x, dims, op);
  const [oh, ow] = targets(x, image, size, dims, op);
  const [h, w] = image.shape.slice(2);
  const rows = sideBySide(h, oh, image);
  const columns = sideBySide(w, ow, image);
  const laid = indexSelect(indexSelect(image, 2, rows.index), 3, columns.index);
  const [y, at] = maxPool(laid, [rows.length, columns.length], {}, 2, op);
  const width = columns.length * ow;
  const row = take(rows.index, floorDivide(at, width));
  const column = take(columns.index, remainder(at, width));
  return [lower(y), lower(add(mul(row, w), column))];
}

const adaptiveMaxPoolOf = (dims: number, op: string) =>
  ((x: Tensor, size: AdaptiveSizes, options: { returnIndices?: boolean } = {}) => {
    const both = adaptiveMaxPool(x, size, dims, op);
    return options.returnIndices ? both : both[0];
  }) as {
    (x: Tensor, size: AdaptiveSizes, options: { returnIndices: true }): [Tensor, Tensor];
    (x: Tensor, size: AdaptiveSizes, options?: { returnIndices?: false }): Tensor;
  };

/** The maximum of `size` windows that cover N×C×L (or C×L) evenly; with `returnIndices` also their positions. */
export const adaptiveMaxPool1d = adaptiveMaxPoolOf(1, "adaptiveMaxPool1d");
/** The maxima of `size` windows that cover N×C×H×W (or C×H×W) evenly; with `returnIndices` also h·W + w. */
export const adaptiveMaxPool2d = adaptiveMaxPoolOf(2, "adaptiveMaxPool2d");

const methods = { maxPool1d, maxPool2d, avgPool1d, avgPool2d, adaptiveAvgPool1d, adaptiveAvgPool2d };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

// Making tensors: from host values, filled, and counted.

import { checkOptions, describe } from "../check.js";
import type { Device } from "../device/device.js";
import { floatToBfloat, floatToHalf } from "../device/js/view.js";
import { defaultDevice } from "../device/registry.js";
import { DTypeError, ShapeError, ValueError } from "../errors.js";
import { streamOf } from "../graph/stream.js";
import { deviceOf, emit, Scalar, empty as uninitialized } from "../ops/define.js";
import { copyInto } from "../ops/pointwise.js";
import { checkDType, type DType, dtypeFacts, isFloat, type TypedArray } from "./dtype.js";
import { checkShape, checkSize, numelOf, type Shape, show } from "./shape.js";
import { onStorage, Tensor } from "./tensor.js";

export interface TensorOptions {
  /** Default: float32, or what the values are (booleans bool, bigints int64, typed arrays their own type). */
  dtype?: DType;
  /** `"cpu"`, `"js"`, `"cuda"`; default: see `setDefaultDevice`. */
  device?: string;
  /** Record operations on the tensor for gradients. Default false. */
  requiresGrad?: boolean;
}

/** Numbers, booleans or bigints in nested arrays, a typed array, or one value. */
export type TensorData =
  | number
  | boolean
  | bigint
  | TypedArray
  | Int8Array
  | Int16Array
  | Uint32Array
  | readonly TensorData[];

const OPTIONS = ["dtype", "device", "requiresGrad"] as const;

const finish = (t: Tensor, options: TensorOptions): Tensor => (options.requiresGrad ? t.requireGrad() : t);

/**
 * A tensor with a copy of the given values.
 *
 * @param data nested arrays (all rows of one length), a typed array, or one value.
 * @param options dtype, device, requiresGrad; `shape` arranges a flat array.
 * @throws ShapeError for ragged arrays, DTypeError for values that the dtype cannot hold.
 * @example
 * tensor([[1, 2], [3, 4]], { requiresGrad: true });
 * tensor(new Float32Array(6), { shape: [2, 3] });
 */
export function tensor(data: TensorData, options: TensorOptions & { shape?: Shape } = {}): Tensor {
  checkOptions(options, [...OPTIONS, "shape"], "tensor");
  const { values, shape: found, dtype: own } = flatten(data);
  const dtype = options.dtype === undefined ? own : checkDType(options.dtype, "tensor");
  let shape = found;
  if (options.shape) {
    shape = checkShape(options.shape, "tensor");
    if (numelOf(shape) !== values.length) {
      throw new ShapeError(`tensor: ${values.length} values do not fill the shape ${show(shape)} of ${numelOf(shape)}`);
    }
  }
  checkSize([...shape], "tensor");
  const device = deviceOf(options.device, defaultDevice);
  return finish(fromTyped(convert(values, dtype, own), dtype, shape, device), options);
}

/** A tensor from values that are in the dtype's own typed array. */
export function fromTyped(values: TypedArray, dtype: DType, shape: Shape, device: Device): Tensor {
  return onStorage(streamOf(device).upload(values, "tensor"), dtype, shape);
}

type Values = ArrayLike<number | bigint | boolean>;

function flatten(data: TensorData): { values: Values; shape: number[]; dtype: DType } {
  if (ArrayBuffer.isView(data)) return { values: data, shape: [data.length], dtype: typedDType(data) };
  const shape: number[] = [];
  for (let d: unknown = data; Array.isArray(d) || ArrayBuffer.isView(d); d = (d as unknown[])[0]) {
    shape.push((d as unknown[]).length);
    if ((d as unknown[]).length === 0) break;
  }
  const values: (number | bigint | boolean)[] = new Array(numelOf(shape));
  let next = 0;
  let kinds = 0;
  /** Where the walk is, for messages. */
  const at: number[] = [];
  const path = (depth: number): string =>
    at
      .slice(0, depth)
      .map((i) => `[${i}]`)
      .join("");
  const walk = (d: unknown, depth: number): void => {
    if (depth < shape.length) {
      const list = d as ArrayLike<unknown>;
      const size = Array.isArray(d) || ArrayBuffer.isView(d) ? list.length : undefined;
      if (size !== shape[depth]) {
        throw new ShapeError(
          `tensor: ragged array: data${path(depth)} has ${size === undefined ? "no length" : `${size} elements`}, ` +
            `but the first of its kind has ${shape[depth]}; all rows must have the same length`,
        );
      }
      const last = depth + 1 === shape.length;
      for (let i = 0; i < size; i++) {
        const value = list[i];
        if (last && typeof value === "number") {
          kinds |= 1;
          values[next++] = value;
          continue;
        }
        at[depth] = i;
        walk(value, depth + 1);
      }
      return;
    }
    switch (typeof d) {
      case "number":
        kinds |= 1;
        break;
      case "boolean":
        kinds |= 2;
        break;
      case "bigint":
        kinds |= 4;
        break;
      default:
        if (Array.isArray(d) || ArrayBuffer.isView(d)) {
          throw new ShapeError(`tensor: ragged array: data${path(depth)} is an array where its neighbours are numbers`);
        }
        throw new DTypeError(
          `tensor: data${path(depth)} is ${describe(d)}; numbers, booleans and bigints are accepted` +
            (d instanceof Tensor ? " (clone() copies a tensor, stack([…]) joins several)" : ""),
        );
    }
    values[next++] = d as number;
  };
  walk(data, 0);
  const dtype = kinds === 2 ? "bool" : kinds === 4 ? "int64" : "float32";
  return { values, shape, dtype };
}

function typedDType(data: ArrayBufferView): DType {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return "uint8";
  if (
    data instanceof Int32Array ||
    data instanceof Int16Array ||
    data instanceof Int8Array ||
    data instanceof Uint16Array
  )
    return "int32";
  if (data instanceof BigInt64Array || data instanceof Uint32Array) return "int64";
  throw new DTypeError(
    `tensor: ${data.constructor.name} is not supported; use Float32Array, Float64Array, Int32Array, BigInt64Array or Uint8Array`,
  );
}

/** Values as the typed array of a dtype. Integers must be integers, in range. */
function convert(values: Values, dtype: DType, own: DType): TypedArray {
  const { array, kind } = dtypeFacts[dtype];
  if (own === dtype && ArrayBuffer.isView(values) && values instanceof array) return values as unknown as TypedArray;
  const out = new array(values.length);
  if (dtype === "float32" || dtype === "float64") {
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      out[i] = typeof v === "number" ? v : Number(v);
    }
    return out;
  }
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (kind === "bool") out[i] = Number(v) !== 0 ? 1 : 0;
    else if (dtype === "float16") out[i] = floatToHalf(Number(v));
    else if (dtype === "bfloat16") out[i] = floatToBfloat(Number(v));
    else {
      if (typeof v === "number" && !Number.isFinite(v)) {
        throw new DTypeError(`tensor: ${v} at position ${i} cannot be ${dtype}; use a floating point dtype`);
      }
      const whole = typeof v === "bigint" ? v : BigInt(Math.trunc(Number(v)));
      if (dtype === "int64") (out as BigInt64Array)[i] = whole;
      else out[i] = Number(whole);
      if (BigInt(out[i]) !== whole)
        throw new DTypeError(`tensor: ${v} at position ${i} is out of the range of ${dtype}`);
    }
  }
  return out;
}

/** A tensor of `shape` filled with `value`. */
export const full = (shape: Shape, value: number | bigint | boolean, options?: TensorOptions): Tensor =>
  filled(shape, value, options, "full");

function filled(shape: Shape, value: number | bigint | boolean, options: TensorOptions = {}, op: string): Tensor {
  const checked = checkShape(shape, op);
  checkOptions(options, OPTIONS, op);
  if (typeof value !== "number" && typeof value !== "boolean" && typeof value !== "bigint") {
    throw new ValueError(`${op}: the value must be a number, boolean or bigint, got ${describe(value)}`);
  }
  const own: DType = typeof value === "boolean" ? "bool" : typeof value === "bigint" ? "int64" : "float32";
  const dtype = options.dtype === undefined ? own : checkDType(options.dtype, op);
  const out = uninitialized(checked, dtype, deviceOf(options.device, defaultDevice), op);
  copyInto(out, new Scalar(typeof value === "boolean" ? Number(value) : value, dtype));
  return finish(out, options);
}

/** A tensor whose values are undefined until they are written. */
export function empty(shape: Shape, options: TensorOptions = {}): Tensor {
  checkOptions(options, OPTIONS, "empty");
  const dtype = options.dtype === undefined ? "float32" : checkDType(options.dtype, "empty");
  const device = deviceOf(options.device, defaultDevice);
  return finish(uninitialized(checkShape(shape, "empty"), dtype, device, "empty"), options);
}

/** A tensor filled with 0. */
export const zeros = (shape: Shape, options?: TensorOptions): Tensor => filled(shape, 0, options, "zeros");
/** A tensor filled with 1. */
export const ones = (shape: Shape, options?: TensorOptions): Tensor => filled(shape, 1, options, "ones");

const asLike = (x: Tensor, options: TensorOptions = {}): TensorOptions => ({
  dtype: x.dtype,
  device: x.device,
  ...options,
});
/** A tensor of another's shape, dtype and device whose values are undefined. */
export const emptyLike = (x: Tensor, options?: TensorOptions): Tensor => empty(x.shape, asLike(x, options));
/** Zeros of another tensor's shape, dtype and device. */
export const zerosLike = (x: Tensor, options?: TensorOptions): Tensor => zeros(x.shape, asLike(x, options));
/** Ones of another tensor's shape, dtype and device. */
export const onesLike = (x: Tensor, options?: TensorOptions): Tensor => ones(x.shape, asLike(x, options));
/** A tensor of another's shape, dtype and device filled with `value`. */
export const fullLike = (x: Tensor, value: number | bigint | boolean, options?: TensorOptions): Tensor =>
  full(x.shape, value, asLike(x, options));

/**
 * Numbers from `start` (0) up to but without `end`, in steps of `step`.
 *
 * @example
 * arange(5).toArray(); // [0, 1, 2, 3, 4]
 * arange(1, 2, 0.5).toArray(); // [1, 1.5]
 */
export function arange(end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end: number, step: number, options?: TensorOptions): Tensor;
export function arange(...args: (number | TensorOptions | undefined)[]): Tensor {
  const numbers = args.filter((a) => typeof a === "number");
  const options = (args.find((a) => typeof a === "object") as TensorOptions | undefined) ?? {};
  checkOptions(options, OPTIONS, "arange");
  const [start, end, step = 1] = numbers.length === 1 ? [0, numbers[0]] : numbers;
  if (![start, end, step].every(Number.isFinite) || step === 0) {
    throw new ValueError(`arange: start ${start}, end ${end} and step ${step} must be finite and step not 0`);
  }
  const dtype = options.dtype === undefined ? "float32" : checkDType(options.dtype, "arange");
  return finish(sequence(start, step, Math.max(0, Math.ceil((end - start) / step)), dtype, options), options);
}

/** `steps` numbers from `start` to `end`, both included, at equal distances. */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  if (!Number.isInteger(steps) || steps < 0)
    throw new ValueError(`linspace: steps must be an integer ≥ 0, got ${steps}`);
  if (!Number.isFinite(start) || !Number.isFinite(end))
    throw new ValueError(`linspace: start ${start} and end ${end} must be finite`);
  checkOptions(options, OPTIONS, "linspace");
  const dtype = options.dtype === undefined ? "float32" : checkDType(options.dtype, "linspace");
  const device = deviceOf(options.device, defaultDevice);
  // From both ends, so that the last value is exact.
  const values = new Float64Array(steps);
  const gap = steps > 1 ? (end - start) / (steps - 1) : 0;
  for (let i = 0; i < steps; i++) values[i] = i < steps / 2 ? start + i * gap : end - (steps - 1 - i) * gap;
  const exact = isFloat(dtype) ? convert(values, dtype, "float64") : convert(values.map(Math.trunc), dtype, "float64");
  return finish(fromTyped(exact, dtype, [steps], device), options);
}

function sequence(start: number, step: number, count: number, dtype: DType, options: TensorOptions): Tensor {
  const device = deviceOf(options.device, defaultDevice);
  const out = uninitialized(checkShape([count], "arange"), dtype, device, "arange");
  emit(device, "arange", [], [out], [new Scalar(start), new Scalar(step)], count);
  return out;
}

/** @internal `count` whole numbers from a start on that a captured function asks for at each replay. */
export function counting(start: () => number, count: number, device: Device): Tensor {
  const out = uninitialized([count], "int64", device, "arange");
  emit(device, "arange", [], [out], [new Scalar(start), new Scalar(1)], count);
  return out;
}

/** The n×m matrix (m = n when absent) with ones on its diagonal. */
export function eye(n: number, m?: number | TensorOptions, options: TensorOptions = {}): Tensor {
  const columns = typeof m === "number" ? m : n;
  const settings = typeof m === "object" ? m : options;
  const out = zeros(
    checkShape([n, columns], "eye"),
    settings.requiresGrad ? { ...settings, requiresGrad: false } : settings,
  );
  const length = Math.min(n, columns);
  copyInto(new Tensor(out.storage, out.dtype, [length], [columns + 1], 0), new Scalar(1, out.dtype));
  return finish(out, settings);
}

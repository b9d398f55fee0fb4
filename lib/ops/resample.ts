// Images and sequences at another resolution.
import { ShapeError, ValueError } from "../errors.js";
import { fromTyped } from "../tensor/create.js";
import { checkShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkFloat, checkTensor } from "./define.js";
import { indexSelect } from "./indexing.js";
import { matmul } from "./matmul.js";
import { transpose } from "./movement.js";
import { cast } from "./pointwise.js";

export interface InterpolateOptions {
  /** Size of the result: one number, or one for each spatial dimension. */
  size?: number | readonly number[];
  /** Or its ratio to the input's size. */
  scaleFactor?: number | readonly number[];
  /** `"nearest"` (default), `"linear"` for N×C×L, `"bilinear"` for N×C×H×W. */
  mode?: "nearest" | "linear" | "bilinear";
  /** The outermost pixels' centres, not their edges, are at the border (linear modes). Default false. */
  alignCorners?: boolean;
}

/** Positions of the input, for each of the result the nearest one below. */
function nearest(size: number, count: number, ratio: number, x: Tensor): Tensor {
  const list = BigInt64Array.from({ length: count }, (_, i) => BigInt(Math.min(Math.floor(i * ratio), size - 1)));
  return fromTyped(list, "int64", [count], x.storage.device);
}

/** The matrix count×size of linear interpolation. */
function linear(size: number, count: number, ratio: number, alignCorners: boolean, x: Tensor): Tensor {
  const values = new Float64Array(count * size);
  for (let i = 0; i < count; i++) {
    const at = alignCorners ? (count > 1 ? (i * (size - 1)) / (count - 1) : 0) : Math.max(0, (i + 0.5) * ratio - 0.5);
    const low = Math.min(Math.floor(at), size - 1);
    const part = low < size - 1 ? at - low : 0;
    values[i * size + low] = 1 - part;
    if (part > 0) values[i * size + low + 1] = part;
  }
  return cast(fromTyped(values, "float64", [count, size], x.storage.device), x.dtype);
}

/**
 * N×C×L or N×C×H×W at another size (`torch.nn.functional.interpolate`).
 *
 * @example
 * interpolate(ones([1, 1, 2, 2]), { scaleFactor: 2 }).shape; // [1, 1, 4, 4]
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  checkFloat(checkTensor(x, "interpolate"), "interpolate");
  const { size, scaleFactor, mode = "nearest", alignCorners = false } = options;
  const dims = x.ndim - 2;
  if ((dims !== 1 && dims !== 2) || x.shape.slice(2).includes(0)) {
    throw new ShapeError(
      `interpolate: the input must be [N, C, L] or [N, C, H, W] and not empty, got ${show(x.shape)}`,
    );
  }
  if (mode !== "nearest" && mode !== (dims === 1 ? "linear" : "bilinear")) {
    throw new ValueError(
      `interpolate: mode "${mode}" does not fit ${show(x.shape)}; use nearest, linear (3d) or bilinear (4d)`,
    );
  }
  if (alignCorners && mode === "nearest") throw new ValueError("interpolate: alignCorners is for linear modes");
  if ((size === undefined) === (scaleFactor === undefined)) {
    throw new ValueError("interpolate: give either size or scaleFactor");
  }
  const given = (size ?? scaleFactor) as number | readonly number[];
  const list = typeof given === "number" ? new Array<number>(dims).fill(given) : given;
  if (list.length !== dims || !list.every((v) => v > 0 && Number.isFinite(v))) {
    throw new ValueError(
      `interpolate: ${size === undefined ? "scaleFactor" : "size"} ${show(list)} must be ${dims} positive numbers`,
    );
  }
  const input = x.shape.slice(2);
  const output = checkShape(
    size === undefined ? list.map((v, i) => Math.floor(input[i] * v)) : [...list],
    "interpolate",
  );
  let out = x;
  output.forEach((count, i) => {
    const ratio = size === undefined ? 1 / list[i] : input[i] / count;
    if (mode === "nearest") out = indexSelect(out, 2 + i, nearest(input[i], count, ratio, x));
    else {
      const weights = linear(input[i], count, ratio, alignCorners, x);
      // …×L · L×L′ along the last dimension, H′×H · …×H×W along the one before.
      out = i === dims - 1 ? matmul(out, transpose(weights, 0, 1)) : matmul(weights, out);
    }
  });
  return out;
}

// What autocast asks of operations: products in 16 bits, and what 16 bits would spoil in float32.
import { type HalfType, modes } from "../graph/modes.js";
import { type DType, isFloat } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { cast } from "./pointwise.js";

export const isHalf = (dtype: DType): dtype is HalfType => dtype === "float16" || dtype === "bfloat16";

/** The dtype that autocast wants a product of these in; null where it wants none. */
export function halfFor(...operands: readonly (Tensor | null | undefined)[]): HalfType | null {
  if (modes.autocast === null) return null;
  return operands.every((x) => !x || (isFloat(x.dtype) && x.dtype !== "float64")) ? modes.autocast : null;
}

/** Operands of a product, in 16 bits where autocast wants that. */
export function lowered<T extends readonly (Tensor | null | undefined)[]>(...operands: T): T {
  if (modes.autocast === null) return operands;
  const dtype = halfFor(...operands);
  return dtype === null ? operands : (operands.map((x) => x && cast(x, dtype)) as unknown as T);
}

/** A 16-bit operand as float32 where autocast wants that; anything else as it is. */
export const widened = (x: Tensor): Tensor => (modes.autocast !== null && isHalf(x.dtype) ? cast(x, "float32") : x);

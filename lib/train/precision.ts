// Precision of a training, as its users say it, and what follows.
import { describe } from "../check.js";
import { ValueError } from "../errors.js";
import { autocast, type HalfType } from "../graph/modes.js";
import { isHalf } from "../ops/autocast.js";
import { cast } from "../ops/pointwise.js";
import { mapBatch } from "./sources.js";

/**
 * `"float32"`; mixed precision, whose products are computed in 16 bits and whose weights are float32: `"bf16"`, `"fp16"`;
 * or `"float64"`.
 */
export type Precision = "float32" | "bf16" | "fp16" | "float64";

const halves: Readonly<Record<Precision, HalfType | null>> = {
  float32: null,
  bf16: "bfloat16",
  fp16: "float16",
  float64: null,
};

/** Names that Lightning, PyTorch and Keras have for them. */
const elsewhere: Readonly<Record<Precision, readonly string[]>> = {
  float32: ["32-true", "32", "fp32", "full"],
  bf16: ["bf16-mixed", "bfloat16", "mixed_bfloat16", "bf16-true"],
  fp16: ["16-mixed", "16", "float16", "half", "mixed_float16", "16-true"],
  float64: ["64-true", "64", "double", "fp64"],
};

/** The value, where it is one of the names; throws else, with the name that is meant. */
export function checkPrecision<P extends Precision>(value: unknown, names: readonly P[], op: string): P {
  if (names.includes(value as P)) return value as P;
  const meant = names.find((name) => elsewhere[name].includes(String(value).toLowerCase()));
  throw new ValueError(
    `${op}: precision must be one of ${names.map((n) => JSON.stringify(n)).join(", ")}, got ${describe(value)}` +
      (meant ? `; did you mean ${JSON.stringify(meant)}?` : ""),
  );
}

/** The dtype of products in mixed precision; null elsewhere. */
export const halfOf = (precision: Precision): HalfType | null => halves[precision];

/** Runs a step of a module in mixed precision, where that is asked for. */
export const mixed = <R>(half: HalfType | null, fn: () => R): R => (half === null ? fn() : autocast(half, fn));

/** The same for what is handed to users: tensors of 16 bits become float32. */
export const mixedResult = (half: HalfType | null, fn: () => unknown): unknown =>
  half === null ? fn() : mapBatch(autocast(half, fn), (t) => (isHalf(t.dtype) ? cast(t, "float32") : t));

// The modes of this environment (thread): whether gradients are recorded, anomalies looked for, a function captured, and
// in which precision products are computed.
import { checkFunction, describe } from "../check.js";
import { closest } from "../closest.js";
import { ValueError } from "../errors.js";
import type { Capture } from "./capture.js";

/** The floats of 16 bits. */
export type HalfType = "float16" | "bfloat16";

export const modes = {
  /** Operations on tensors that require gradients are recorded on the tape. */
  grad: true,
  /** Every gradient is checked for NaN, and nodes remember where they were made. */
  anomaly: false,
  /** The capture in progress, which receives instructions instead of the device. */
  capture: null as Capture | null,
  /** The dtype of products; null where operations work in the dtype of their operands. */
  autocast: null as HalfType | null,
};

function withMode<K extends keyof typeof modes, R>(mode: K, value: (typeof modes)[K], name: string, fn: () => R): R {
  checkFunction(fn, name);
  const before = modes[mode];
  modes[mode] = value;
  try {
    const result = fn();
    if (result instanceof Promise) {
      result.catch(() => {}); // its own failure, if any, has no other listener and would end the process
      throw new ValueError(
        `${name}: the function returned a promise; ${name} holds for synchronous code only, ` +
          "so wrap the synchronous parts between the awaits instead",
      );
    }
    return result;
  } finally {
    modes[mode] = before;
  }
}

/**
 * Runs `fn` without recording gradients (`torch.no_grad`).
 *
 * @example
 * const y = noGrad(() => model.forward(x)); // y.requiresGrad is false
 */
export const noGrad = <R>(fn: () => R): R => withMode("grad", false, "noGrad", fn);

/** Runs `fn` with gradients recorded, also inside `noGrad` (`torch.enable_grad`). */
export const enableGrad = <R>(fn: () => R): R => withMode("grad", true, "enableGrad", fn);

/** True where operations are recorded for gradients. */
export const isGradEnabled = (): boolean => modes.grad;

/**
 * Runs `fn` so that a NaN that appears in a backward pass is an error that names the forward operation and the line
 * of code that called it (`torch.autograd.detect_anomaly`). Slow: every gradient is read.
 *
 * @example
 * detectAnomaly(() => loss().backward());
 */
export const detectAnomaly = <R>(fn: () => R): R => withMode("anomaly", true, "detectAnomaly", fn);

export const withCapture = <R>(capture: Capture, fn: () => R): R => withMode("capture", capture, "compile", fn);

/**
 * Runs `fn` in mixed precision (`torch.autocast`; Micikevicius et al. 2018, "Mixed Precision Training"). Matrix products,
 * `linear`, convolutions and attention take their operands as `dtype` and give it; what a short mantissa or range would
 * spoil takes 16-bit operands as float32 and gives float32: softmax and log-softmax, losses, normalisations, sums, means
 * and what is made of them, exponentials, logarithms, powers and reciprocals. Everything else works in the widest dtype
 * of its operands. Operations in place and those on float64 or integers are left alone.
 *
 * Gradients flow through the conversions, so that those of float32 weights are float32. The backward pass works in the
 * dtypes of the forward pass, inside `fn` or after it. May be nested; `false` switches it off inside.
 *
 * @throws ValueError when `fn` returns a promise: it holds for synchronous code only
 * @example
 * const loss = autocast("bfloat16", () => crossEntropy(model.forward(x), y)); // loss is float32
 * loss.backward();
 */
export function autocast<R>(dtype: HalfType | false, fn: () => R): R {
  if (dtype !== "float16" && dtype !== "bfloat16" && dtype !== false) {
    const near = HALF_NAMES[String(dtype)] ?? (typeof dtype === "string" ? closest(dtype, HALVES) : undefined);
    throw new ValueError(
      `autocast: the dtype is "bfloat16" or "float16", or false to switch it off, got ${describe(dtype)}` +
        (near ? `; did you mean "${near}"?` : ""),
    );
  }
  return withAutocast(dtype || null, fn);
}
const HALVES = ["bfloat16", "float16"];
const HALF_NAMES: Readonly<Record<string, HalfType>> = { bf16: "bfloat16", fp16: "float16", half: "float16" };

/** @internal `autocast` with the mode's own value. */
export const withAutocast = <R>(dtype: HalfType | null, fn: () => R): R => withMode("autocast", dtype, "autocast", fn);

// The modes of this environment (thread): whether gradients are recorded, anomalies looked for, a function captured.
import { checkFunction } from "../check.js";
import { ValueError } from "../errors.js";
import type { Capture } from "./capture.js";

export const modes = {
  /** Operations on tensors that require gradients are recorded on the tape. */
  grad: true,
  /** Every gradient is checked for NaN, and nodes remember where they were made. */
  anomaly: false,
  /** The capture in progress, which receives instructions instead of the device. */
  capture: null as Capture | null,
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

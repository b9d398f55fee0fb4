// How results are compared with what they should be.
import { expect } from "vitest";
import { type Tensor, type TypedArray, tensor } from "../../lib/index.js";
import { type Case, weights } from "./case.js";
import type { Float } from "./devices.js";

export const numbers = (x: TypedArray): number[] => Array.from(x as Iterable<number | bigint>, Number);
export const listed = (out: Tensor | readonly Tensor[]): readonly Tensor[] =>
  Array.isArray(out) ? out : [out as Tensor];

/** Allowed errors, relative to the largest value. */
export const tolerances: Record<Float, number> = { float32: 1e-5, float64: 1e-12 };
export const toleranceOf = (c: Case, dtype: string): number =>
  dtype === "float64" ? tolerances.float64 : (c.tolerance ?? tolerances.float32);

/** NaN and infinities must be the same, and with `signs` so must the sign of zero. */
export function compare(
  found: readonly number[],
  wanted: readonly (number | string)[],
  tolerance: number,
  what: string,
  signs = false,
): void {
  const values = wanted.map((x) => (x === "-0" ? -0 : Number(x)));
  const scale = values.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 1);
  const wrong = values.findIndex((value, k) => {
    if (Object.is(found[k], value)) return false;
    if (signs && value === 0 && found[k] === 0) return true;
    return !(Math.abs(found[k] - value) <= tolerance * scale);
  });
  if (found.length !== values.length || wrong >= 0) {
    const where = wrong < 0 ? "" : `${found[wrong]} instead of ${values[wrong]} at ${wrong} of `;
    expect.fail(`${what}: ${where}[${found}], expected [${values}]`);
  }
}

/** Gradients of Σ weight·output over all outputs. */
export function gradientsOf(c: Case, inputs: readonly Tensor[], out: Tensor | readonly Tensor[]): (number[] | null)[] {
  const terms = listed(out)
    .filter((y) => y.requiresGrad)
    .map((y) => y.mul(tensor(weights(y.numel), { shape: y.shape, dtype: y.dtype, device: y.device })).sum());
  if (terms.length === 0) return c.inputs.map(() => null);
  terms.reduce((a, b) => a.add(b)).backward();
  return inputs.map((x, k) => (c.inputs[k].grad ? numbers((x.grad ?? x.mul(0)).dataSync()) : null));
}

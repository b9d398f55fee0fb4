// What the constructors of layers share: where parameters live, and checks of sizes.
import { describe } from "../check.js";
import { ValueError } from "../errors.js";
import type { Sizes } from "../ops/conv.js";
import type { TensorOptions } from "../tensor/create.js";

/** Dtype and device of a layer's parameters; by default float32 on the default device. */
export type Placement = Pick<TensorOptions, "dtype" | "device">;

/** Names of the options of `Placement`. */
export const PLACEMENT = ["dtype", "device"] as const;

/** Throws unless each value is an integer of at least `least`. */
export function checkSizes(layer: string, sizes: Record<string, unknown>, least = 1): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || (value as number) < least) {
      throw new ValueError(`${layer}: ${name} must be an integer ≥ ${least}, got ${describe(value)}`);
    }
  }
}

/** Throws unless the value is a probability. */
export function checkProbability(layer: string, name: string, value: unknown): void {
  if (!(typeof value === "number" && value >= 0 && value <= 1)) {
    throw new ValueError(`${layer}: ${name} must be a probability in [0, 1], got ${describe(value)}`);
  }
}

/** A size for each of `dims` spatial dimensions. */
export function spread(layer: string, name: string, value: Sizes, dims: number): number[] {
  const list = typeof value === "number" ? new Array<number>(dims).fill(value) : value;
  if (!Array.isArray(list) || list.length !== dims || !list.every((v) => Number.isInteger(v) && v >= 1)) {
    throw new ValueError(
      `${layer}: ${name} must be an integer ≥ 1${dims > 1 ? ` or ${dims} of them` : ""}, got ${Array.isArray(value) ? `[${value}]` : describe(value)}`,
    );
  }
  return [...list];
}

/** Settings as they are printed between a module's parentheses; those that are undefined are left out. */
export const repr = (settings: Record<string, unknown>): string =>
  Object.entries(settings)
    .filter(([, v]) => v !== undefined)
    .map(([k, v]) => `${k}=${Array.isArray(v) ? `[${v.join(", ")}]` : String(v)}`)
    .join(", ");

// Copies of a model's weights, and averages of them.
import { noGrad } from "../../graph/modes.js";
import type { Module } from "../../nn/module.js";
import { clone, copy_ } from "../../ops/pointwise.js";
import { inScope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";

export type Weights = Record<string, Tensor>;

/** Copies of the tensors, which later steps do not change. */
export const copyOf = (weights: Weights): Weights =>
  inScope(null, () =>
    noGrad(() => Object.fromEntries(Object.entries(weights).map(([k, t]) => [k, clone(t.detach())]))),
  );

/** Copies of all parameters and buffers. */
export const snapshot = (model: Module): Weights => copyOf(model.stateDict());

/** Overwrites each tensor by the one of the same name. */
export function overwrite(targets: Weights, values: Weights): void {
  noGrad(() => {
    for (const [k, value] of Object.entries(alongside(values, targets))) copy_(targets[k], value);
  });
}

/** The values on the devices of the tensors of the same names; a checkpoint's may be elsewhere. */
export const alongside = (values: Weights, tensors: Weights): Weights =>
  Object.fromEntries(Object.entries(values).map(([k, t]) => [k, t.to(tensors[k].device)]));

/** Two sets of weights change places. */
export function exchange(a: Weights, b: Weights): void {
  const before = copyOf(a);
  overwrite(a, b);
  overwrite(b, before);
}

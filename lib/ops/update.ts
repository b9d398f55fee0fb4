// Fused in-place updates: a formula over several tensors of one shape, run as one pass over memory. What optimizers
// are made of.
import type { Device } from "../device/device.js";
import type { Scalar } from "../graph/encode.js";
import type { Template } from "../graph/merge.js";
import type { Tensor } from "../tensor/tensor.js";
import { emit, numelOf } from "./define.js";
import { checkWritable, written } from "./inplace.js";
import { spread, trace } from "./pointwise.js";

/** New values of the targets from their old ones, the sources, and numbers (0-dimensional). */
export type Formula = (targets: Tensor[], sources: Tensor[], numbers: Tensor[]) => Tensor[];

/**
 * An update rule: `update(targets, sources, numbers)` overwrites the targets. Not differentiable.
 *
 * @param formula ordinary element-wise operations; it runs once for each dtype and device, to be recorded
 */
export function defineUpdate(name: string, formula: Formula) {
  const templates = new Map<Device, Map<string, Template>>();
  return (targets: readonly Tensor[], sources: readonly Tensor[], numbers: readonly Scalar[]): void => {
    const { device } = targets[0].storage;
    const tensors = [...targets, ...sources];
    const key = tensors.map((t) => t.dtype).join(" ");
    let known = templates.get(device);
    if (!known) {
      known = new Map();
      templates.set(device, known);
    }
    let template = known.get(key);
    if (!template) {
      const dtypes = [...tensors.map((t) => t.dtype), ...numbers.map(() => targets[0].dtype)];
      const cut = [targets.length, tensors.length];
      template = trace(device, dtypes, (xs) =>
        formula(xs.slice(0, cut[0]), xs.slice(cut[0], cut[1]), xs.slice(cut[1])),
      );
      known.set(key, template);
    }
    const { shape } = targets[0];
    for (const t of targets) checkWritable(t, shape, t.dtype, name);
    const ins = [...tensors.map((t) => spread(t.use(name), shape)), ...numbers, ...template.constants];
    emit(device, "elementwise", template.attrs, targets, ins, numelOf(shape));
    for (const t of targets) written(t, name);
  };
}

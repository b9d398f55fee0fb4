// Fused in-place updates: a formula over several tensors of one shape, run as one pass over memory. What optimizers
// are made of.
import type { Device } from "../device/device.js";
import { Scalar } from "../graph/encode.js";
import type { Template } from "../graph/merge.js";
import type { Tensor } from "../tensor/tensor.js";
import { emit, numelOf } from "./define.js";
import { where } from "./elementwise.js";
import { checkWritable, written } from "./inplace.js";
import { cast, spread, trace } from "./pointwise.js";

/** New values of the targets from their old ones, the sources, and numbers (0-dimensional). */
export type Formula = (targets: Tensor[], sources: Tensor[], numbers: Tensor[]) => Tensor[];

/** The number (0-dimensional) that decides whether updates happen: not where it is other than 0. */
let skipped: Tensor | null = null;
/** Rules that ran. */
let ran = 0;

/** Runs `fn`; the rules in it leave their targets as they are where `flag` is not 0, which the device decides. */
export function updatesUnless<R>(flag: Tensor, fn: () => R): R {
  const before = skipped;
  skipped = flag;
  try {
    return fn();
  } finally {
    skipped = before;
  }
}

/** What decides about the updates at present; null where they happen. */
export const skipFlag = (): Tensor | null => skipped;

/** How many rules ran so far. */
export const rulesRun = (): number => ran;

/**
 * An update rule: `update(targets, sources, numbers)` overwrites the targets. Not differentiable.
 *
 * @param formula ordinary element-wise operations; it runs once for each dtype and device, to be recorded
 */
export function defineUpdate(name: string, formula: Formula) {
  const templates = new Map<Device, Map<string, Template>>();
  return (targets: readonly Tensor[], sources: readonly Tensor[], numbers: readonly (Scalar | Tensor)[]): void => {
    const { device } = targets[0].storage;
    const { dtype } = targets[0];
    const flag = skipped;
    const tensors = flag ? [...targets, ...sources, flag] : [...targets, ...sources];
    const dtypesNow = tensors.map((t) => t.dtype).join(" ");
    const key = flag ? `${dtypesNow} or not` : dtypesNow;
    let known = templates.get(device);
    if (!known) {
      known = new Map();
      templates.set(device, known);
    }
    let template = known.get(key);
    if (!template) {
      const dtypes = [...tensors.map((t) => t.dtype), ...numbers.map(() => dtype)];
      const cut = [targets.length, targets.length + sources.length, tensors.length];
      template = trace(device, dtypes, (xs) => {
        const made = formula(xs.slice(0, cut[0]), xs.slice(cut[0], cut[1]), xs.slice(cut[2]));
        return flag ? made.map((y, i) => where(xs[cut[1]], xs[i], y)) : made;
      });
      known.set(key, template);
    }
    const { shape } = targets[0];
    for (const t of targets) checkWritable(t, shape, t.dtype, name);
    const given = flag ? numbers.map((x) => (x instanceof Scalar ? x : cast(x, dtype))) : (numbers as Scalar[]);
    const ins = [...tensors.map((t) => spread(t.use(name), shape)), ...given, ...template.constants];
    emit(device, "elementwise", template.attrs, targets, ins, numelOf(shape));
    for (const t of targets) written(t, name);
    ran++;
  };
}

// Views by raw strides: the last resort of views on the tape, and what a write into a view means to its base.

import { arange, full, zeros } from "../tensor/create.js";
import { late } from "../tensor/late.js";
import { isContiguous, numelOf, type Shape } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { applyView, type OpDef, type ViewDef } from "./define.js";
import { indexAdd } from "./indexing.js";
import { reshape } from "./movement.js";
import { clone, copy_ } from "./pointwise.js";

/** A window, its offset relative to a row-major base. */
export interface Window {
  readonly shape: Shape;
  readonly strides: Shape;
  readonly offset: number;
}

const asStridedDef: ViewDef<Window> = {
  name: "asStrided",
  grad: ([g], { like, extra }) => [place(g!, like[0].shape, extra)],
};

/** The window `at` of a row-major tensor. Shares memory. */
export const asStrided = (x: Tensor, at: Window): Tensor =>
  applyView(asStridedDef, x, at.shape, at.strides, x.offset + at.offset, at);

/** True unless the elements of a window are surely at different places. */
export function mayOverlap({ shape, strides }: Window): boolean {
  if (isContiguous(shape, strides)) return false;
  const steps = strides.map((s, i) => ({ step: Math.abs(s), size: shape[i] })).filter(({ size }) => size > 1);
  let reach = 0;
  for (const { step, size } of steps.sort((a, b) => a.step - b.step)) {
    if (step <= reach) return true;
    reach += step * (size - 1);
  }
  return false;
}

/**
 * A tensor of `shape` that holds `value` in the window `at` of its row-major elements and `fill` elsewhere: the adjoint
 * of reading the window. Values that meet at one place are added (`fill` must be 0 then).
 */
export function place(value: Tensor, shape: Shape, at: Window, fill: number | bigint | boolean = 0): Tensor {
  const { dtype, device } = value;
  if (mayOverlap(at)) {
    const n = numelOf(shape);
    const positions = asStrided(arange(n, { dtype: "int64", device }), at);
    return reshape(indexAdd(zeros([n], { dtype, device }), 0, reshape(positions, [-1]), reshape(value, [-1])), shape);
  }
  const whole = full(shape, fill, { dtype, device });
  copy_(asStrided(whole, at), value);
  return whole;
}

/** (base, value) → base with the window replaced by value; only its rule is used, the write itself was in place. */
export const writeViewDef: OpDef<Window> = {
  name: "writeView",
  grad: ([g], { needs, extra }) => {
    const row = g!.isContiguous() ? g! : clone(g!);
    let rest: Tensor | null = null;
    if (needs[0]) {
      rest = clone(row);
      copy_(asStrided(rest, extra), 0);
    }
    return [rest, needs[1] ? asStrided(row, extra) : null];
  },
};

/** Gives a view a node that starts from its base's present one, after a write through another view. */
export function rebase(view: Tensor): void {
  const base = view.viewBase as Tensor;
  view.baseNode = base.node;
  if (!base.node) return;
  const again = asStrided(base, { shape: view.shape, strides: view.strides, offset: view.offset - base.offset });
  view.node = again.node;
  view.outputIndex = 0;
}
late.rebase = rebase;

// Views by raw strides: the last resort of views on the tape, and what a write into a view means to its base.
import { late } from "../tensor/late.js";
import type { Shape } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { applyView, type OpDef, type ViewDef } from "./define.js";
import { clone, copyInto } from "./pointwise.js";
import { zeros } from "../tensor/create.js";

/** A window, its offset relative to a row-major base. */
export interface Window {
  readonly shape: Shape;
  readonly strides: Shape;
  readonly offset: number;
}

const windowOf = (base: Tensor, at: Window): Tensor =>
  new Tensor(base.storage, base.dtype, at.shape, at.strides, base.offset + at.offset);

const asStridedDef: ViewDef<Window> = {
  name: "asStrided",
  grad: ([g], { like, extra }) => {
    const whole = zeros(like[0].shape, { dtype: g!.dtype, device: g!.device });
    copyInto(windowOf(whole, extra), g!);
    return [whole];
  },
};

/** The window `at` of a row-major tensor, whose elements do not overlap. Shares memory. */
export const asStrided = (x: Tensor, at: Window): Tensor =>
  applyView(asStridedDef, x, at.shape, at.strides, x.offset + at.offset, at);

/** (base, value) → base with the window replaced by value; only its rule is used, the write itself was in place. */
export const writeViewDef: OpDef<Window> = {
  name: "writeView",
  grad: ([g], { needs, extra }) => {
    const row = g!.isContiguous() ? g! : clone(g!);
    let rest: Tensor | null = null;
    if (needs[0]) {
      rest = clone(row);
      copyInto(windowOf(rest, extra), zeros([], { dtype: g!.dtype, device: g!.device }));
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

// Writing into a tensor that exists: what is refused, the version counter, and how the tape changes.
import { AutogradError, DTypeError, ShapeError, ValueError } from "../errors.js";
import { modes } from "../graph/modes.js";
import { type DType, dtypeFacts, kindRank } from "../tensor/dtype.js";
import { isContiguous, type Shape, sameShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { type Input, makeNode, type OpDef, recording } from "./define.js";
import { mayOverlap, rebase, writeViewDef } from "./strided.js";

/** Refuses what cannot be written. `shape` and `dtype` are those of the result that is to be written. */
export function checkWritable(target: Tensor, shape: Shape, dtype: DType, op: string): void {
  target.use(op);
  if (!sameShape(target.shape, shape)) {
    throw new ShapeError(
      `${op}: the result has shape ${show(shape)} and cannot be written into a tensor of shape ${show(target.shape)}`,
    );
  }
  if (kindRank[dtypeFacts[dtype].kind] > kindRank[dtypeFacts[target.dtype].kind]) {
    throw new DTypeError(`${op}: the result is ${dtype} and cannot be written into a tensor of dtype ${target.dtype}`);
  }
  if (mayOverlap(target)) {
    throw new ValueError(
      `${op}: several elements of an expanded or otherwise overlapping tensor share one place in memory; clone() it first`,
    );
  }
  if (!modes.grad) return;
  const base = target.viewBase ?? target;
  if (base.isLeaf && base.requiresGrad) {
    throw new AutogradError(
      `${op}: ${base === target ? "a leaf" : "a view of a leaf"} that requires a gradient cannot be changed in place; ` +
        "do it inside noGrad(() => …)",
    );
  }
}

/** Counts the write that was just emitted. */
export function written({ storage }: Pick<Tensor, "storage">, op: string): void {
  storage.version++;
  storage.writer = op;
}

/**
 * Puts an in-place operation on the tape, after the write: the target becomes its output. Where the target is a view,
 * its base becomes the old base with the view's part replaced, and the view a view of that.
 */
export function recordInPlace<X>(
  def: Pick<OpDef<X>, "name" | "grad" | "saves" | "compose">,
  target: Tensor,
  inputs: readonly Input[],
  attrs: readonly number[],
  extra: X,
): void {
  const base = target.viewBase;
  if (!modes.grad || !(recording(inputs) || base?.requiresGrad)) return;
  const node = makeNode(def, inputs, [target], attrs, extra, true);
  if (!base) {
    target.node = node;
    target.outputIndex = 0;
    return;
  }
  if (!isContiguous(base.shape, base.strides)) {
    throw new AutogradError(
      `${def.name}: gradients through a write into a view of a non-contiguous tensor; clone() the tensor first`,
    );
  }
  const value = target.detach();
  value.node = node;
  const at = { shape: target.shape, strides: target.strides, offset: target.offset - base.offset };
  base.node = makeNode(writeViewDef, [base.alias(), value], [base], [], at);
  base.outputIndex = 0;
  rebase(target);
}

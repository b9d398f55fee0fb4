// A capture: the instructions that a function would have sent to its device, recorded instead of run.
import type { Device } from "../device/device.js";
import { CaptureError } from "../errors.js";
import { Storage } from "../tensor/storage.js";
import type { Tensor } from "../tensor/tensor.js";
import { type Operand, Scalar, type View } from "./encode.js";
import { modes } from "./modes.js";

/** A kernel call on symbolic or real storages. */
export interface Instruction {
  readonly op: string;
  readonly attrs: readonly number[];
  readonly outs: readonly View[];
  readonly ins: readonly Operand[];
  readonly work: number;
  /** Computes again, on purpose, what an earlier instruction computed: not to be shared with it. */
  readonly again?: boolean;
}

export class Capture {
  readonly instructions: Instruction[] = [];
  /** Numbers that change from step to step, in the order in which they appeared. */
  readonly scalars = new Set<Scalar>();
  /** What must happen on the host before each replay: step counters. */
  readonly effects: (() => void)[] = [];
  /** Conditions under which the recording holds. */
  readonly guards: (() => boolean)[] = [];
  /** True while a checkpoint computes values again. */
  again = false;
  /** Gradients assigned inside. */
  readonly grads = new Map<Tensor, Tensor | null>();
  /** Leaves whose gradient from before was read. */
  private readonly carried = new Set<Tensor>();
  /** Leaves that an optimizer updated. */
  private readonly updated = new Set<Tensor>();

  /** @param device where the function works; null until its first operation says so */
  constructor(public device: Device | null) {}

  allocate(device: Device, bytes: number): Storage {
    this.checkDevice(device);
    return new Storage(device, bytes, this);
  }

  append(
    device: Device,
    op: string,
    attrs: readonly number[],
    outs: readonly Operand[],
    ins: readonly Operand[],
    work: number,
  ): void {
    this.checkDevice(device);
    for (const x of ins) if (x instanceof Scalar && typeof x.value === "function") this.scalars.add(x);
    this.instructions.push({ op, attrs, outs: outs as readonly View[], ins, work, again: this.again });
  }

  readGrad(leaf: Tensor): Tensor | null {
    const written = this.grads.get(leaf);
    if (written !== undefined) return written;
    if (leaf.gradSpent) throw spentGradient();
    const before = leaf.ownGrad;
    this.carried.add(leaf);
    this.guards.push(() => leaf.ownGrad === before && !leaf.gradSpent);
    return before;
  }

  writeGrad(leaf: Tensor, value: Tensor | null): void {
    this.grads.set(leaf, value);
  }

  /** An optimizer has used the gradient of this leaf. */
  noteUpdate(leaf: Tensor): void {
    this.updated.add(leaf);
  }

  /** True when a gradient begins and ends inside: the function forgets the one from before and uses its own. */
  spends(leaf: Tensor): boolean {
    return this.updated.has(leaf) && !this.carried.has(leaf);
  }

  private checkDevice(device: Device): void {
    this.device ??= device;
    if (device !== this.device) {
      throw new CaptureError(
        `compile: the function works on device ${device.name}, but was captured for ${this.device.name}; use one device`,
      );
    }
  }
}

export const spentGradient = (): CaptureError =>
  new CaptureError(
    "grad: a captured function both resets and uses the gradient of this tensor (zeroGrad() and step() are inside), so " +
      "that it was never stored; return it from the function (return [loss, p.grad]) or call step() outside to have it, " +
      "and zeroGrad() before new gradients are computed elsewhere",
  );

/**
 * Runs `effect` now or, inside a captured function, before each replay: a function that turns out not to be recordable
 * has changed nothing.
 */
export function everyStep(effect: () => void): void {
  if (modes.capture) modes.capture.effects.push(effect);
  else effect();
}

/** Reads a host value on which a captured function depends: another value later means another capture. */
export function depends<T>(read: () => T): T {
  const value = read();
  modes.capture?.guards.push(() => Object.is(read(), value));
  return value;
}

/** Runs `fn` for real also while a function is being captured: state that lives on, such as momentum buffers. */
export function uncaptured<R>(fn: () => R): R {
  const before = modes.capture;
  modes.capture = null;
  try {
    return fn();
  } finally {
    modes.capture = before;
  }
}

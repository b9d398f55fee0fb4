// The bridge between the catalogue and the engine, and the only one: it checks tensors, emits instructions to the
// device or to the capture in progress, and records nodes on the tape. It names no operation.

import { describe } from "../check.js";
import type { Device } from "../device/device.js";
import { getDevice } from "../device/registry.js";
import { DeviceError, DTypeError, ValueError } from "../errors.js";
import type { Operand } from "../graph/encode.js";
import { Scalar } from "../graph/encode.js";
import { modes, noGrad, withAutocast } from "../graph/modes.js";
import { streamOf } from "../graph/stream.js";
import {
  type Edge,
  type GradContext,
  GradNode,
  type GradRule,
  type Like,
  SavedValues,
  type SavesRule,
} from "../graph/tape.js";
import { type DType, dtypeFacts, isFloat } from "../tensor/dtype.js";
import { late } from "../tensor/late.js";
import { currentScope, inScope, Scope } from "../tensor/scope.js";
import { numelOf, rowMajor, type Shape } from "../tensor/shape.js";
import type { Storage } from "../tensor/storage.js";
import { onStorage, Tensor } from "../tensor/tensor.js";

export type { GradContext, GradRule, SavesRule };

/** An operand of an operation: a tensor, a number, or an absent one. */
export type Input = Tensor | Scalar | null;

/** One operation with a kernel: everything that is not its shape rule, which its public function computes. */
export interface OpDef<X = unknown> {
  /** Name in messages and on the tape. */
  readonly name: string;
  /** Name of the kernel, when another. */
  readonly kernel?: string;
  /** Which values the gradient rule uses. */
  readonly saves?: SavesRule;
  /** The gradient rule; without it the result does not require gradients, unless there is a composition. */
  readonly grad?: GradRule<X>;
  /**
   * The plain composition out of simpler operations: what runs on a device without the kernel, and where the gradient
   * comes from when there is no rule.
   */
  readonly compose?: (inputs: readonly Input[], attrs: readonly number[], extra: X) => Tensor[];
  /** Cost measure in elements, where the size of the outputs says too little. */
  readonly work?: (inputs: readonly Input[], attrs: readonly number[]) => number;
}

/** Memory on `device`, or a symbolic value inside a capture. */
export function allocate(device: Device, bytes: number, op: string): Storage {
  return modes.capture ? modes.capture.allocate(device, bytes) : streamOf(device).allocate(bytes, op);
}

/** A row-major tensor whose contents are undefined. */
export function empty(shape: Shape, dtype: DType, device: Device, op: string): Tensor {
  return onStorage(allocate(device, numelOf(shape) * dtypeFacts[dtype].bytes, op), dtype, shape);
}

/** Checks that a value is a usable tensor of this thread. */
export function checkTensor(x: unknown, op: string): Tensor {
  if (x instanceof Tensor) return x.use(op);
  throw new ValueError(
    `${op}: a tensor is needed, got ${describe(x)}; make one with tensor(…) (tensors of another worker cannot be used here: ` +
      "send their data)",
  );
}

/** The device that all tensors among the inputs are on. */
export function commonDevice(inputs: readonly Input[], op: string): Device {
  let device: Device | undefined;
  for (const x of inputs) {
    if (!(x instanceof Tensor)) continue;
    const own = x.storage.device;
    if (device === undefined) device = own;
    else if (own !== device) {
      throw new DeviceError(
        `${op}: tensors are on different devices, ${device.name} and ${own.name}; move one with .to("${device.name}")`,
      );
    }
  }
  if (device === undefined) throw new ValueError(`${op}: at least one operand must be a tensor`);
  return device;
}

/** Runs a kernel on operands that are already checked. */
export function emit(
  device: Device,
  kernel: string,
  attrs: readonly number[],
  outs: readonly Operand[],
  ins: readonly Operand[],
  work: number,
): void {
  if (modes.capture) {
    modes.capture.append(device, kernel, attrs, outs, ins, work);
    return;
  }
  streamOf(device).append(device.ops.get(kernel) as number, attrs, outs, ins, work);
}

/** Runs an operation: new row-major outputs of the given shapes and dtypes, recorded on the tape. */
export function apply<X>(
  def: OpDef<X>,
  inputs: readonly Input[],
  attrs: readonly number[],
  specs: readonly Like[],
  extra: X,
): Tensor[] {
  for (const x of inputs) if (x instanceof Tensor) x.use(def.name);
  const device = commonDevice(inputs, def.name);
  const kernel = def.kernel ?? def.name;
  let outs: Tensor[];
  if (device.ops.has(kernel)) {
    outs = specs.map((s) => empty(s.shape, s.dtype, device, def.name));
    let work = def.work?.(inputs, attrs) ?? 0;
    if (work === 0) for (const s of specs) work += numelOf(s.shape);
    emit(device, kernel, attrs, outs, inputs, work);
  } else if (def.compose) {
    const compose = def.compose;
    outs = noGrad(() => withAutocast(null, () => compose(inputs, attrs, extra))).map((t) => (t.node ? t.detach() : t));
  } else {
    throw new DeviceError(`${def.name}: device ${device.name} has no kernel "${kernel}"; update its binary`);
  }
  record(def, inputs, outs, attrs, extra);
  return outs;
}

/** `apply` for an operation with one output. */
export const apply1 = <X>(
  def: OpDef<X>,
  inputs: readonly Input[],
  attrs: readonly number[],
  shape: Shape,
  dtype: DType,
  extra: X,
): Tensor => apply(def, inputs, attrs, [{ shape, dtype }], extra)[0];

/** An operation whose result shares the memory of its input. */
export interface ViewDef<X> {
  readonly name: string;
  readonly grad: GradRule<X>;
}

export function applyView<X>(
  def: ViewDef<X>,
  x: Tensor,
  shape: Shape,
  strides: Shape,
  offset: number,
  extra: X,
): Tensor {
  x.use(def.name);
  const out = new Tensor(x.storage, x.dtype, shape, strides, offset);
  out.viewBase = x.viewBase ?? x;
  record(def, [x], [out], [], extra);
  out.baseNode = out.viewBase.node;
  return out;
}

/**
 * Runs the body of an operation that makes tensors on its way: those are released at its end, so that they do not keep
 * memory from being freed early. The result stands for itself, also where it is a view of one of them.
 */
export function operation(body: () => Tensor): Tensor {
  if (modes.capture) return body();
  const scope = new Scope();
  const result = inScope(scope, body);
  scope.close(new Set([result]));
  currentScope()?.add(result);
  return result;
}

/** Makes a view of a tensor that nobody else has seen a tensor of its own. */
export function own(view: Tensor): Tensor {
  view.viewBase = null;
  return view;
}

/** True when the operation must be recorded. */
export function recording(inputs: readonly Input[]): boolean {
  if (!modes.grad) return false;
  for (const x of inputs) if (x instanceof Tensor && x.requiresGrad) return true;
  return false;
}

/** The edge to the place of the tape where a tensor's gradient goes. */
export function edgeOf(x: Input): Edge | null {
  if (!(x instanceof Tensor) || !x.requiresGrad) return null;
  return x.node ? { node: x.node, index: x.outputIndex } : { node: x.leafNode(), index: 0 };
}

const like = (x: Input | Tensor): Like => (x instanceof Tensor ? { shape: x.shape, dtype: x.dtype } : SCALAR);
const SCALAR: Like = { shape: [], dtype: "float64" };

type Recorded<X> = Pick<OpDef<X>, "name" | "grad" | "saves" | "compose">;

/** Makes the node of an operation, or null when no input requires a gradient. */
export function makeNode<X>(
  def: Recorded<X>,
  inputs: readonly Input[],
  outputs: readonly Tensor[],
  attrs: readonly number[],
  extra: X,
  inPlace = false,
): GradNode | null {
  if (!recording(inputs)) return null;
  let { grad, saves } = def;
  if (!grad) {
    if (!def.compose) return null;
    const compose = def.compose;
    grad = gradOfComposition(inputs, (xs) => compose(xs, attrs, extra));
    saves = { inputs: inputs.map((_, i) => i) };
  }
  const edges = inputs.map(edgeOf);
  const needs = edges.map((e) => e !== null);
  const kept = typeof saves === "function" ? saves(needs) : saves;
  const saved = new SavedValues(inputs, outputs, inputs.map(like), needs, extra, kept, inPlace);
  return new GradNode(def.name, edges, outputs.map(like), grad as GradRule<never>, saved);
}

/** Records the node of outputs that were just computed, when one of the inputs requires a gradient. */
function record<X>(
  def: Recorded<X>,
  inputs: readonly Input[],
  outputs: readonly Tensor[],
  attrs: readonly number[],
  extra: X,
): void {
  const node = makeNode(def, inputs, outputs, attrs, extra);
  if (!node) return;
  for (let i = 0; i < outputs.length; i++) {
    if (!isFloat(outputs[i].dtype)) continue; // indices and masks carry no gradient
    outputs[i].node = node;
    outputs[i].outputIndex = i;
  }
}

/** Records one output. */
export const recordOne = <X>(
  def: Recorded<X>,
  inputs: readonly Input[],
  out: Tensor,
  attrs: readonly number[],
  extra: X,
): Tensor => {
  record(def, inputs, [out], attrs, extra);
  return out;
};

/** The gradient of an operation without a rule: that of its composition, formed anew in the backward pass. */
function gradOfComposition<X>(inputs: readonly Input[], compose: (inputs: readonly Input[]) => Tensor[]): GradRule<X> {
  const scalars = inputs.map((x) => (x instanceof Tensor ? null : x));
  return (grads, { inputs: saved, needs }) =>
    late.vjp(
      compose,
      saved.map((x, i) => x ?? scalars[i]),
      needs,
      grads,
    );
}

/** The device of that name, or else the fallback. */
export const deviceOf = (name: string | undefined, fallback: () => Device): Device =>
  name === undefined ? fallback() : getDevice(name);

/** Checks that a tensor holds floating point numbers. */
export function checkFloat(x: Tensor, op: string): Tensor {
  if (!isFloat(x.dtype)) {
    throw new DTypeError(`${op}: a floating point tensor is needed, got ${x.dtype}; convert with .to("float32")`);
  }
  return x;
}

export { numelOf, rowMajor, Scalar };

/** Tensor methods made from functions whose first argument is the tensor. */
// biome-ignore lint/suspicious/noExplicitAny: any function over tensors
type AnyFunction = (x: any, ...rest: any[]) => unknown;
export type MethodsOf<T extends Record<string, AnyFunction>> = {
  [K in keyof T]: T[K] extends (x: infer _X, ...rest: infer R) => infer Out ? (...rest: R) => Out : never;
};

/** Adds each function to Tensor as a method of the same name. Types are declared beside the call. */
export function installMethods(functions: Record<string, AnyFunction>): void {
  for (const [name, fn] of Object.entries(functions)) {
    Object.defineProperty(Tensor.prototype, name, {
      value(this: Tensor, ...rest: unknown[]) {
        return fn(this, ...rest);
      },
      writable: true,
      configurable: true,
    });
  }
}

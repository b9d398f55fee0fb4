// compile(fn): records a function once for each kind of arguments and replays it as one program.

import { checkFunction } from "../check.js";
import type { Device } from "../device/device.js";
import { defaultDevice } from "../device/registry.js";
import { AutogradError, CaptureError } from "../errors.js";
import { allocate } from "../ops/define.js";
import { written } from "../ops/inplace.js";
import { copyInto, rowMajorCopy } from "../ops/pointwise.js";
import { type DType, dtypeFacts } from "../tensor/dtype.js";
import { inScope } from "../tensor/scope.js";
import { numelOf, rowMajor, type Shape, sameShape } from "../tensor/shape.js";
import type { Storage } from "../tensor/storage.js";
import { Tensor, type Unopened } from "../tensor/tensor.js";
import { Capture } from "./capture.js";
import type { Scalar } from "./encode.js";
import { modes, withCapture } from "./modes.js";
import { optimise } from "./optimise/index.js";
import { Program } from "./program.js";
import { type Stream, streamOf } from "./stream.js";
import { GradNode } from "./tape.js";

/** Captures kept for one function; the least recently used go first. */
const MAX_CAPTURES = 64;

export interface Compiled<A extends readonly unknown[], R> {
  (...args: A): R;
  /** The same, awaited: resolves when the results are computed; the event loop stays free meanwhile. */
  async(...args: A): Promise<R>;
  /** The programs recorded so far, newest first; `toString()` prints the plan. */
  readonly programs: readonly Program[];
  /** Frees the programs; the next call records again. */
  dispose(): void;
}

/**
 * A function that records `fn` at its first call for each combination of argument shapes, dtypes and plain values, and
 * afterwards replays the optimised recording in one call to the device. Forward, `backward()` and an optimizer's
 * `step()` may all be inside.
 *
 * Tensors among the arguments (also in arrays and plain objects) are inputs; everything else that `fn` uses is read
 * once, while recording: JavaScript around the operations does not run again, and reading a value inside is an error.
 *
 * Gradients that `fn` leaves in `grad` are there after each call, with one exception: where `fn` itself resets a
 * gradient (`zeroGrad()`) and an optimizer inside uses it (`step()`), the update is made while the gradient is computed,
 * and the gradient is never stored. Reading `p.grad` afterwards is a CaptureError; return `p.grad` from `fn` to have it.
 *
 * @throws CaptureError when `fn` reads a value or leaves its device.
 * @example
 * const step = compile((x, y) => {
 *   optimizer.zeroGrad();
 *   const loss = mseLoss(model.forward(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   return loss;
 * });
 * for (const [x, y] of batches) console.log(step(x, y).item());
 */
export function compile<A extends readonly unknown[], R>(fn: (...args: A) => R): Compiled<A, R> {
  checkFunction(fn, "compile");
  let recordings: Recording[] = [];
  const call = (...args: A): R => {
    if (modes.capture) return fn(...args); // inside another capture it is part of that one
    const inputs: Tensor[] = [];
    for (let i = 0; i < recordings.length; i++) {
      const recording = recordings[i];
      inputs.length = 0;
      if (!fitsAll(recording.pattern, args, inputs) || !recording.holds()) continue;
      if (i > 0) {
        recordings[0].letGo();
        recordings = [recording, ...recordings.filter((r) => r !== recording)];
      }
      return recording.replay(inputs) as R;
    }
    inputs.length = 0;
    const pattern = args.map((x) => patternOf(x, inputs));
    recordings[0]?.letGo();
    const recording = new Recording(pattern, fn as (...args: readonly unknown[]) => unknown, args, inputs);
    recordings.unshift(recording);
    for (const old of recordings.splice(MAX_CAPTURES)) old.dispose();
    return recording.replay(inputs) as R;
  };
  return Object.defineProperties(call, {
    async: {
      value: async (...args: A): Promise<R> => {
        const result = call(...args);
        if (recordings.length > 0) await streamOf(recordings[0].device).synchronize();
        return result;
      },
    },
    programs: { get: () => recordings.map((r) => r.program) },
    dispose: {
      value: () => {
        for (const r of recordings) r.dispose();
        recordings = [];
      },
    },
  }) as Compiled<A, R>;
}

/** What a recording asks of an argument: a comparison of fields at every call, where a key would have to be formed. */
type Pattern =
  | {
      readonly kind: "tensor";
      /** Its place among the tensors of the arguments, which is the same for the same tensor. */
      readonly index: number;
      readonly dtype: DType;
      readonly shape: Shape;
      readonly device: Device;
      readonly requiresGrad: boolean;
      /** Identity of the gradient that it has already, if it is one that the function could add to. */
      readonly grad: number | "spent" | undefined;
    }
  | { readonly kind: "list"; readonly items: readonly Pattern[] }
  | { readonly kind: "record"; readonly keys: readonly string[]; readonly items: readonly Pattern[] }
  | { readonly kind: "object"; readonly identity: number }
  | { readonly kind: "value"; readonly value: unknown };

/** The pattern that an argument fits; gathers the tensors, and refuses those that cannot be captured. */
function patternOf(value: unknown, tensors: Tensor[]): Pattern {
  if (value instanceof Tensor) {
    value.use("compile");
    if (value.node && modes.grad) {
      throw new AutogradError(
        "compile: an argument belongs to a recorded graph, through which gradients cannot flow out of a captured " +
          "function; detach() it, or compile the whole step",
      );
    }
    return {
      kind: "tensor",
      index: placeOf(value, tensors),
      dtype: value.dtype,
      shape: value.shape,
      device: value.storage.device,
      requiresGrad: value.requiresGrad,
      grad: gradOf(value),
    };
  }
  if (Array.isArray(value)) return { kind: "list", items: value.map((v) => patternOf(v, tensors)) };
  if (isRecord(value)) {
    return { kind: "record", keys: Object.keys(value), items: Object.values(value).map((v) => patternOf(v, tensors)) };
  }
  return isObject(value) ? { kind: "object", identity: identity(value) } : { kind: "value", value };
}

/** Does the argument fit? Gathers the tensors. What `patternOf` refuses does not. */
function fits(pattern: Pattern, value: unknown, tensors: Tensor[]): boolean {
  switch (pattern.kind) {
    case "tensor":
      return (
        value instanceof Tensor &&
        !(value.use("compile").node && modes.grad) &&
        placeOf(value, tensors) === pattern.index &&
        value.dtype === pattern.dtype &&
        sameShape(value.shape, pattern.shape) &&
        value.storage.device === pattern.device &&
        value.requiresGrad === pattern.requiresGrad &&
        gradOf(value) === pattern.grad
      );
    case "list":
      return Array.isArray(value) && fitsAll(pattern.items, value, tensors);
    case "record": {
      if (!isRecord(value)) return false;
      const keys = Object.keys(value);
      const { keys: known, items } = pattern;
      return keys.length === known.length && known.every((k, i) => keys[i] === k && fits(items[i], value[k], tensors));
    }
    case "object":
      return isObject(value) && identities.get(value) === pattern.identity;
    default:
      return Object.is(value, pattern.value);
  }
}

function fitsAll(patterns: readonly Pattern[], values: readonly unknown[], tensors: Tensor[]): boolean {
  if (values.length !== patterns.length) return false;
  for (let i = 0; i < values.length; i++) if (!fits(patterns[i], values[i], tensors)) return false;
  return true;
}

function placeOf(x: Tensor, tensors: Tensor[]): number {
  const at = tensors.indexOf(x);
  return at >= 0 ? at : tensors.push(x) - 1;
}

const gradOf = (x: Tensor): number | "spent" | undefined => {
  if (!x.requiresGrad) return undefined;
  return x.gradSpent ? "spent" : x.ownGrad ? identity(x.ownGrad) : undefined;
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function";

const identities = new WeakMap<object, number>();
let identitiesGiven = 0;
function identity(value: object): number {
  let id = identities.get(value);
  if (id === undefined) {
    id = identitiesGiven++;
    identities.set(value, id);
  }
  return id;
}

/** The same structure with every tensor replaced. */
function mapTensors(value: unknown, map: (t: Tensor) => unknown): unknown {
  if (value instanceof Tensor) return map(value);
  if (Array.isArray(value)) return value.map((v) => mapTensors(v, map));
  if (isRecord(value)) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, mapTensors(v, map)]));
  }
  return value;
}

type Loaded = Pick<Program, "device" | "id" | "arenaBytes">;
const unload = ({ device, id, arenaBytes }: Loaded): void => streamOf(device).unload(id, arenaBytes);
const unreachable = new FinalizationRegistry<Loaded>(unload);

/** A fresh result of the latest replay. */
class Fresh {
  /** True once a tensor was made of it; till then no one can tell whether the next replay writes the same buffer. */
  seen = false;
  constructor(readonly storage: Storage) {}
}

/** A leaf's gradient that nobody has asked for yet. */
class Unseen implements Unopened {
  constructor(
    readonly fresh: Fresh,
    private readonly like: Tensor,
  ) {}

  open(): Tensor {
    this.fresh.seen = true;
    return inScope(null, () => tensorLike(this.like, this.fresh.storage));
  }
}

const tensorLike = ({ dtype, shape, strides, offset }: Tensor, storage: Storage): Tensor =>
  new Tensor(storage, dtype, shape, strides, offset);

/** A buffer that is bound at every replay and exists before it. */
interface Place {
  /** Position in the binding. */
  readonly at: number;
  readonly written: boolean;
}

class Recording {
  readonly device: Device;
  readonly program: Program;
  private readonly grad = modes.grad;
  private readonly autocast = modes.autocast;
  private readonly guards: readonly (() => boolean)[];
  private readonly effects: readonly (() => void)[];
  private readonly scalars: readonly Scalar[];
  /** Their values, and the words of those. */
  private readonly numbers: Float64Array;
  private readonly numberWords: Int32Array;
  /** The storages to bind, of which `real` stay; inputs and fresh outputs are put in for each replay. */
  private readonly bound: (Storage | null)[];
  private readonly real: readonly (Place & { storage: Storage })[];
  private readonly inputs: readonly (Place & { input: number })[];
  private readonly outputs: readonly { at: number; bytes: number; returned: boolean }[];
  private readonly writes: boolean;
  private readonly result: unknown;
  /** Where a symbolic tensor's values are: in a fresh output, from 0 on, or in input `~place`. */
  private readonly places = new Map<Tensor, number>();
  private readonly grads: readonly [leaf: Tensor | { input: number }, value: Tensor | null][];
  /** Leaves whose gradients are used up inside. */
  private readonly spent: readonly Tensor[];
  /** The gradients that the last replay made, and their buffers, which the next one uses again if nobody saw them. */
  private unseen: (Unseen | null)[] = [];
  private fresh: (Fresh | null)[] = [];

  constructor(
    readonly pattern: readonly Pattern[],
    fn: (...args: readonly unknown[]) => unknown,
    args: readonly unknown[],
    inputs: readonly Tensor[],
  ) {
    const capture = new Capture(null);
    const stands = withCapture(capture, () => inputs.map((x) => standIn(x)));
    const standing = mapTensors(args, (t) => stands[inputs.indexOf(t)]) as readonly unknown[];
    this.result = inScope(null, () => withCapture(capture, () => fn(...standing)));
    this.device = capture.device ?? defaultDevice();
    this.guards = capture.guards;
    this.effects = capture.effects;
    this.scalars = [...capture.scalars];
    this.numbers = new Float64Array(this.scalars.length);
    this.numberWords = new Int32Array(this.numbers.buffer);

    const inputOf = new Map(stands.map((t, i) => [t.storage, i]));
    const outputs = new Map<Storage, number>();
    const locate = (t: Tensor): void => {
      const { storage } = t;
      const input = inputOf.get(storage);
      if (input === undefined && storage.capture !== capture) return;
      if (input === undefined && !outputs.has(storage)) outputs.set(storage, outputs.size);
      this.places.set(t, input === undefined ? (outputs.get(storage) as number) : ~input);
    };
    mapTensors(this.result, locate);
    const returned = outputs.size;
    const grads: [Tensor | { input: number }, Tensor | null][] = [];
    const spent: Tensor[] = [];
    for (const [leaf, value] of capture.grads) {
      const at = stands.indexOf(leaf);
      if (leaf.storage.capture === capture && at < 0) continue; // a leaf made inside
      if (value && at < 0 && capture.spends(leaf) && !outputs.has(value.storage)) {
        spent.push(leaf);
        continue;
      }
      if (value) locate(value);
      grads.push([at < 0 ? leaf : { input: at }, value]);
    }
    this.grads = grads;
    this.spent = spent;
    const outlives = (s: Storage): boolean => s.capture !== capture || inputOf.has(s) || outputs.has(s);
    const list = optimise(capture.instructions, { device: this.device, survives: outlives });
    this.program = new Program(this.device, list, outlives, this.scalars);
    const { device, id, arenaBytes } = this.program;
    unreachable.register(this, { device, id, arenaBytes }, this);

    const targets = new Set(list.flatMap(({ outs }) => outs.map((v) => v.storage)));
    const places = this.program.bound.map((storage, at) => ({ storage, at, written: targets.has(storage) }));
    this.real = places.filter(({ storage }) => storage.capture !== capture);
    this.inputs = places.flatMap(({ storage, at, written }) => {
      const input = inputOf.get(storage);
      return input === undefined ? [] : [{ at, written, input }];
    });
    this.bound = places.map(({ storage }) => (storage.capture === capture ? null : storage));
    this.writes = [...this.real, ...this.inputs].some((p) => p.written);
    this.outputs = [...outputs].map(([storage, i]) => ({
      at: this.program.bound.indexOf(storage),
      bytes: storage.bytes,
      returned: i < returned,
    }));
    this.letGo();
  }

  /** True when the recording is right for the present state of the host. */
  holds(): boolean {
    if (this.grad !== modes.grad || this.autocast !== modes.autocast) return false;
    const { guards, real } = this;
    for (let i = 0; i < guards.length; i++) if (!guards[i]()) return false;
    for (let i = 0; i < real.length; i++) if (!real[i].storage.alive) return false;
    return true;
  }

  replay(inputs: readonly Tensor[]): unknown {
    if (this.writes) this.checkShared(inputs);
    for (const effect of this.effects) effect();
    const stream = streamOf(this.device);
    const { bound, scalars, numbers } = this;
    // A program takes its inputs row-major and from the start of their buffer.
    const given = inputs.map((x) => (x.offset === 0 && x.isContiguous() ? x : rowMajorCopy(x)));
    for (const { at, input } of this.inputs) bound[at] = given[input].storage;
    this.refresh(stream);
    for (let i = 0; i < scalars.length; i++) numbers[i] = (scalars[i].value as () => number)();
    stream.replay(this.program.id, bound as Storage[], this.numberWords, this.program.work);
    for (const { written: changed, storage } of this.real) if (changed) written({ storage }, "compile");
    for (const { at, written: changed, input } of this.inputs) {
      bound[at] = null; // a recording must not keep what it was given
      if (!changed) continue;
      if (given[input] !== inputs[input]) copyInto(inputs[input], given[input]);
      written(inputs[input], "compile");
    }

    const { grads, unseen, fresh } = this;
    for (let i = 0; i < grads.length; i++) {
      const [leaf, value] = grads[i];
      const target = leaf instanceof Tensor ? leaf : inputs[leaf.input];
      const place = value ? this.places.get(value) : undefined;
      if (place === undefined) target.ownGrad = value;
      else if (place < 0) target.ownGrad = tensorLike(value as Tensor, given[~place].storage);
      else {
        let gradient = unseen[i];
        if (gradient?.fresh !== fresh[place]) {
          gradient = new Unseen(fresh[place] as Fresh, value as Tensor);
          unseen[i] = gradient;
        }
        target.receive(gradient);
      }
    }
    for (const leaf of this.spent) {
      leaf.ownGrad = null;
      leaf.gradSpent = true;
    }
    const result = mapTensors(this.result, (t) => {
      const place = this.places.get(t);
      if (place === undefined) return t;
      const made = tensorLike(t, place < 0 ? given[~place].storage : (fresh[place] as Fresh).storage);
      if (t.node) made.node = new GradNode("compile", [], [{ shape: t.shape, dtype: t.dtype }], refuse, null);
      return made;
    });
    for (let i = 0; i < this.outputs.length; i++) {
      const { at, returned } = this.outputs[i];
      if (!returned) continue;
      fresh[i] = null;
      if (at >= 0) bound[at] = null;
    }
    return result;
  }

  /** Buffers for the outputs: new ones, or those of the last replay's gradients as long as no tensor of them was made. */
  private refresh(stream: Stream): void {
    const { outputs, fresh, bound } = this;
    for (let i = 0; i < outputs.length; i++) {
      let output = fresh[i];
      if (output && !output.seen) stream.renew(output.storage);
      else {
        output = new Fresh(stream.allocate(outputs[i].bytes, "compile"));
        fresh[i] = output;
      }
      if (outputs[i].at >= 0) bound[outputs[i].at] = output.storage;
    }
  }

  /** Forgets the gradients of the last replay, which their leaves may still have. */
  letGo(): void {
    this.unseen = this.grads.map(() => null);
    this.fresh = this.outputs.map(() => null);
    for (const { at } of this.outputs) if (at >= 0) this.bound[at] = null;
  }

  /** Refuses memory that is written and reached in a second way, which a recording cannot know of. */
  private checkShared(given: readonly Tensor[]): void {
    const { inputs, real } = this;
    for (let i = 0; i < inputs.length; i++) {
      const { storage } = given[inputs[i].input];
      const { written } = inputs[i];
      for (let j = 0; j < i; j++) {
        if (given[inputs[j].input].storage === storage && (written || inputs[j].written)) throw shared();
      }
      for (let j = 0; j < real.length; j++) {
        if (real[j].storage === storage && (written || real[j].written)) throw shared();
      }
    }
  }

  dispose(): void {
    unreachable.unregister(this);
    unload(this.program);
  }
}

const shared = (): CaptureError =>
  new CaptureError(
    "compile: an argument shares memory with another argument or with a tensor that the function uses, and the " +
      "function writes to it; pass a clone(), or do not compile the function",
  );

/** Rule of a result whose graph was inside. */
const refuse = (): never => {
  throw new AutogradError(
    "backward: the tensor is the result of a captured function, whose graph is not visible outside; " +
      "call backward() inside the function",
  );
};

function standIn(x: Tensor): Tensor {
  const storage = allocate(x.storage.device, numelOf(x.shape) * dtypeFacts[x.dtype].bytes, "compile");
  const t = new Tensor(storage, x.dtype, x.shape, rowMajor(x.shape), 0);
  if (x.requiresGrad) t.requireGrad();
  if (x.ownGrad) t.ownGrad = x.ownGrad;
  t.gradSpent = x.gradSpent;
  return t;
}

// compile(fn): records a function once for each kind of arguments and replays it as one program.

import { checkFunction } from "../check.js";
import type { Device } from "../device/device.js";
import { defaultDevice } from "../device/registry.js";
import { AutogradError, CaptureError } from "../errors.js";
import { allocate } from "../ops/define.js";
import { written } from "../ops/inplace.js";
import { copyInto, rowMajorCopy } from "../ops/pointwise.js";
import { dtypeFacts } from "../tensor/dtype.js";
import { inScope } from "../tensor/scope.js";
import { numelOf, rowMajor } from "../tensor/shape.js";
import type { Storage } from "../tensor/storage.js";
import { Tensor } from "../tensor/tensor.js";
import { Capture } from "./capture.js";
import type { Scalar } from "./encode.js";
import { modes, withCapture } from "./modes.js";
import { optimise } from "./optimise/index.js";
import { Program } from "./program.js";
import { streamOf } from "./stream.js";
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
    const key = describe(args, inputs);
    let recording = recordings.find((r) => r.key === key && r.holds());
    if (recording) {
      if (recordings[0] !== recording) recordings = [recording, ...recordings.filter((r) => r !== recording)];
    } else {
      recording = new Recording(key, fn as (...args: readonly unknown[]) => unknown, args, inputs);
      recordings.unshift(recording);
      for (const old of recordings.splice(MAX_CAPTURES)) old.dispose();
    }
    return recording.replay(inputs) as R;
  };
  return Object.defineProperties(call, {
    async: {
      value: async (...args: A): Promise<R> => {
        const result = call(...args);
        for (const device of new Set(recordings.slice(0, 1).map((r) => r.device))) {
          streamOf(device).submit();
          await device.syncAsync();
        }
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

/** A key equal for arguments that one recording serves; gathers the tensors. */
function describe(value: unknown, tensors: Tensor[]): string {
  if (value instanceof Tensor) {
    value.use("compile");
    if (!tensors.includes(value)) tensors.push(value);
    if (value.node && modes.grad) {
      throw new AutogradError(
        "compile: an argument belongs to a recorded graph, through which gradients cannot flow out of a captured " +
          "function; detach() it, or compile the whole step",
      );
    }
    const grad = value.gradSpent ? "spent" : value.ownGrad ? identity(value.ownGrad) : "";
    const leaf = value.requiresGrad ? `leaf ${grad}` : "";
    return `<${tensors.indexOf(value)} ${value.dtype} ${value.shape} ${value.device} ${leaf}>`;
  }
  if (Array.isArray(value)) return `[${value.map((v) => describe(v, tensors)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    if (Object.getPrototypeOf(value) === Object.prototype) {
      return `{${Object.entries(value).map(([k, v]) => `${k}:${describe(v, tensors)}`)}}`;
    }
    return `#${identity(value)}`;
  }
  if (typeof value === "function") return `#${identity(value)}`;
  return typeof value === "string" ? JSON.stringify(value) : `${typeof value} ${String(value)}`;
}

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
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, mapTensors(v, map)]));
  }
  return value;
}

type Loaded = Pick<Program, "device" | "id" | "arenaBytes">;
const unload = ({ device, id, arenaBytes }: Loaded): void => streamOf(device).unload(id, arenaBytes);
const unreachable = new FinalizationRegistry<Loaded>(unload);

class Recording {
  readonly device: Device;
  readonly program: Program;
  private readonly grad = modes.grad;
  private readonly guards: readonly (() => boolean)[];
  private readonly effects: readonly (() => void)[];
  private readonly scalars: readonly Scalar[];
  /** For each storage to bind: an input's position, a fresh output's number, or the storage itself. */
  private readonly binding: readonly (Storage | { input: number } | { output: number })[];
  private readonly outputs: readonly Storage[];
  /** Positions in the binding that the program writes, fresh outputs aside. */
  private readonly written: readonly number[];
  private readonly result: unknown;
  private readonly grads: readonly [leaf: Tensor | { input: number }, value: Tensor | null][];
  /** Leaves whose gradients are used up inside. */
  private readonly spent: readonly Tensor[];
  private readonly stands: readonly Tensor[];
  private first = true;

  constructor(
    readonly key: string,
    fn: (...args: readonly unknown[]) => unknown,
    args: readonly unknown[],
    inputs: readonly Tensor[],
  ) {
    const capture = new Capture(null);
    this.stands = withCapture(capture, () => inputs.map((x) => standIn(x)));
    const standing = mapTensors(args, (t) => this.stands[inputs.indexOf(t)]) as readonly unknown[];
    this.result = inScope(null, () => withCapture(capture, () => fn(...standing)));
    this.device = capture.device ?? defaultDevice();
    this.guards = capture.guards;
    this.effects = capture.effects;
    this.scalars = [...capture.scalars];

    const inputOf = new Map(this.stands.map((t, i) => [t.storage, i]));
    const outputs = new Map<Storage, number>();
    const output = (t: Tensor): void => {
      const { storage } = t;
      if (storage.capture !== capture || inputOf.has(storage) || outputs.has(storage)) return;
      outputs.set(storage, outputs.size);
    };
    mapTensors(this.result, output);
    const grads: [Tensor | { input: number }, Tensor | null][] = [];
    const spent: Tensor[] = [];
    for (const [leaf, value] of capture.grads) {
      const at = this.stands.indexOf(leaf);
      if (leaf.storage.capture === capture && at < 0) continue; // a leaf made inside
      if (value && at < 0 && capture.spends(leaf) && !outputs.has(value.storage)) {
        spent.push(leaf);
        continue;
      }
      if (value) output(value);
      grads.push([at < 0 ? leaf : { input: at }, value]);
    }
    this.grads = grads;
    this.spent = spent;
    this.outputs = [...outputs.keys()];
    const outlives = (s: Storage): boolean => s.capture !== capture || inputOf.has(s) || outputs.has(s);
    const list = optimise(capture.instructions, { device: this.device, survives: outlives });
    this.program = new Program(this.device, list, outlives, this.scalars);
    const { device, id, arenaBytes } = this.program;
    unreachable.register(this, { device, id, arenaBytes }, this);
    this.binding = this.program.bound.map((s) => {
      const input = inputOf.get(s);
      if (input !== undefined) return { input };
      const out = outputs.get(s);
      return out !== undefined ? { output: out } : s;
    });
    const targets = new Set(list.flatMap(({ outs }) => outs.map((v) => v.storage)));
    this.written = this.program.bound.flatMap((s, i) => (targets.has(s) && !outputs.has(s) ? [i] : []));
  }

  /** True when the recording is right for the present state of the host. */
  holds(): boolean {
    if (this.grad !== modes.grad) return false;
    for (const guard of this.guards) if (!guard()) return false;
    return this.binding.every((b) => !("slot" in b) || b.alive);
  }

  replay(inputs: readonly Tensor[]): unknown {
    this.checkShared(inputs);
    // The effects ran while recording, so the first replay does not repeat them.
    if (!this.first) for (const effect of this.effects) effect();
    this.first = false;
    const stream = streamOf(this.device);
    // A program takes its inputs row-major and from the start of their buffer.
    const given = inputs.map((x) => (x.offset === 0 && x.isContiguous() ? x : rowMajorCopy(x)));
    const made = this.outputs.map((s) => stream.allocate(s.bytes, "compile"));
    const bound = this.binding.map((b) => {
      if ("slot" in b) return b;
      return "input" in b ? given[b.input].storage : made[b.output];
    });
    const parameters = this.scalars.map((s) => (s.value as () => number)());
    stream.replay(this.program.id, bound, parameters, this.program.work);
    for (const i of this.written) {
      const b = this.binding[i];
      if ("input" in b && given[b.input] !== inputs[b.input]) copyInto(inputs[b.input], given[b.input]);
      written("input" in b ? inputs[b.input] : { storage: bound[i] }, "compile");
    }

    const real = (t: Tensor): Tensor => {
      const out = this.outputs.indexOf(t.storage);
      const at = out >= 0 ? -1 : this.stands.findIndex((s) => s.storage === t.storage);
      if (out < 0 && at < 0) return t;
      const storage = out >= 0 ? made[out] : given[at].storage;
      const result = new Tensor(storage, t.dtype, t.shape, t.strides, t.offset);
      if (t.node) result.node = new GradNode("compile", [], [{ shape: t.shape, dtype: t.dtype }], refuse, null);
      return result;
    };
    for (const [leaf, value] of this.grads) {
      const target = "input" in leaf && !(leaf instanceof Tensor) ? inputs[leaf.input] : (leaf as Tensor);
      target.ownGrad = value && real(value);
    }
    for (const leaf of this.spent) {
      leaf.ownGrad = null;
      leaf.gradSpent = true;
    }
    return mapTensors(this.result, real);
  }

  /** Refuses memory that is written and reached in a second way, which a recording cannot know of. */
  private checkShared(inputs: readonly Tensor[]): void {
    if (this.written.length === 0) return;
    const origins = this.binding.map((b) => ("input" in b ? inputs[b.input].storage : "slot" in b ? b : null));
    for (const i of this.written) {
      if (origins.indexOf(origins[i]) === origins.lastIndexOf(origins[i])) continue;
      throw new CaptureError(
        "compile: an argument shares memory with another argument or with a tensor that the function uses, and the " +
          "function writes to it; pass a clone(), or do not compile the function",
      );
    }
  }

  dispose(): void {
    unreachable.unregister(this);
    unload(this.program);
  }
}

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

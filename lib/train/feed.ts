// Feed: arrays and tensors that a caller hands to fit, evaluate and predict, as tensors whose rows are samples.
import { describe } from "../check.js";
import { ShapeError, ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { ne } from "../ops/elementwise.js";
import { narrow } from "../ops/movement.js";
import { any } from "../ops/reduce.js";
import { type TensorData, tensor } from "../tensor/create.js";
import { type DType, isFloat } from "../tensor/dtype.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";

/** Samples of one input or output: a tensor, a typed array, or nested arrays; the first dimension counts them. */
export type Samples = TensorData | Tensor;
/** The same for several inputs or outputs: a list of tensors, or an object by name. */
export type ModelData = Samples | readonly Tensor[] | Readonly<Record<string, Samples>>;

/** How tensors hang together: one, a list of them, or an object. */
export type Structure = null | number | readonly string[];

/** Tensors in a row, and their structure. */
export interface Leaves {
  readonly tensors: readonly Tensor[];
  readonly structure: Structure;
}

/** Where tensors go. */
export interface Home {
  readonly device: string;
  /** Of floats. */
  readonly dtype: DType;
}

const isRecord = (x: unknown): x is Record<string, unknown> =>
  typeof x === "object" && x !== null && Object.getPrototypeOf(x) === Object.prototype;

/** Several inputs in a list are tensors, so that nested arrays stay data. */
export const isList = (x: unknown): x is readonly Tensor[] =>
  Array.isArray(x) && x.length > 0 && x[0] instanceof Tensor;

/** Values as a tensor at home; floats in the model's dtype. */
export function asTensor(value: unknown, home: Home, what: string): Tensor {
  let made: Tensor;
  if (value instanceof Tensor) made = value;
  else if (
    Array.isArray(value) ||
    ArrayBuffer.isView(value) ||
    typeof value === "number" ||
    typeof value === "boolean"
  ) {
    let first: unknown = value;
    while (Array.isArray(first)) first = first[0];
    // Plain numbers are exact in the model's own dtype.
    const options = typeof first === "number" ? { device: home.device, dtype: home.dtype } : { device: home.device };
    made = tensor(value as TensorData, options);
  } else {
    throw new ValueError(`${what}: a tensor, a typed array or nested arrays are needed, got ${describe(value)}`);
  }
  const there = made.device === home.device ? made : made.to(home.device);
  return isFloat(there.dtype) && there.dtype !== home.dtype ? there.to(home.dtype) : there;
}

export function leavesOf(value: unknown, home: Home, what: string): Leaves {
  if (isList(value))
    return { tensors: value.map((v, i) => asTensor(v, home, `${what}[${i}]`)), structure: value.length };
  if (isRecord(value)) {
    const keys = Object.keys(value);
    return { tensors: keys.map((k) => asTensor(value[k], home, `${what}.${k}`)), structure: keys };
  }
  return { tensors: [asTensor(value, home, what)], structure: null };
}

/** The structure with tensors in it. */
export function rebuild(structure: Structure, tensors: readonly Tensor[]): unknown {
  if (structure === null) return tensors[0];
  if (typeof structure === "number") return [...tensors];
  return Object.fromEntries(structure.map((key, i) => [key, tensors[i]]));
}

export const widthOf = (structure: Structure): number =>
  structure === null ? 1 : typeof structure === "number" ? structure : structure.length;

/** Samples of inputs, targets and weights; throws where they are not equally many. */
export class Feed {
  readonly length: number;
  /** What the batches are made of, to be compared. */
  readonly layout: string;

  constructor(
    readonly x: Leaves,
    readonly y: Leaves | null,
    readonly weight: Tensor | null,
    op: string,
  ) {
    const parts: [string, Tensor][] = [
      ...x.tensors.map((t, i): [string, Tensor] => [named("x", x.structure, i), t]),
      ...(y?.tensors ?? []).map((t, i): [string, Tensor] => [named("y", (y as Leaves).structure, i), t]),
      ...(weight ? [["sampleWeight", weight] as [string, Tensor]] : []),
    ];
    for (const [name, t] of parts) {
      if (t.ndim === 0)
        throw new ShapeError(`${op}: ${name} is one number; its first dimension must count the samples`);
      if (t.shape[0] !== parts[0][1].shape[0]) {
        throw new ShapeError(
          `${op}: ${parts[0][0]} has ${parts[0][1].shape[0]} samples and ${name} has ${t.shape[0]} (shapes ${show(parts[0][1].shape)} and ${show(t.shape)}); they must be equally many`,
        );
      }
    }
    this.length = parts[0][1].shape[0];
    this.layout = JSON.stringify([x.structure, y === null ? "none" : y.structure, weight !== null]);
    if (this.length === 0)
      throw new ValueError(`${op}: the data are empty: ${parts[0][0]} has shape ${show(parts[0][1].shape)}`);
  }

  /** All tensors: inputs, targets, weights. */
  get tensors(): Tensor[] {
    return [...this.x.tensors, ...(this.y?.tensors ?? []), ...(this.weight ? [this.weight] : [])];
  }

  /** Samples from `start` on. */
  slice(start: number, count: number, op: string): Feed {
    const part = (t: Tensor): Tensor => noGrad(() => narrow(t, 0, start, count));
    const leaves = (l: Leaves): Leaves => ({ structure: l.structure, tensors: l.tensors.map(part) });
    return new Feed(leaves(this.x), this.y && leaves(this.y), this.weight && part(this.weight), op);
  }

  /** A batch of rows of `tensors`, as inputs, targets and weights. */
  unpack(batch: readonly Tensor[]): [x: unknown, y: unknown, weight: Tensor | undefined] {
    const inputs = widthOf(this.x.structure);
    const targets = this.y ? widthOf(this.y.structure) : 0;
    return [
      rebuild(this.x.structure, batch.slice(0, inputs)),
      this.y ? rebuild(this.y.structure, batch.slice(inputs, inputs + targets)) : undefined,
      batch[inputs + targets],
    ];
  }

  /** Throws where a NaN is among the values. Each tensor is looked at once. */
  async check(op: string): Promise<void> {
    const list = this.tensors;
    for (let i = 0; i < list.length; i++) {
      const t = list[i];
      if (!isFloat(t.dtype) || clean.get(t) === t.storage.version) continue;
      const [found] = await noGrad(() => any(ne(t, t))).data();
      if (Number(found) !== 0) {
        const inputs = this.x.tensors.length;
        const name =
          i < inputs
            ? named("x", this.x.structure, i)
            : i < inputs + (this.y?.tensors.length ?? 0)
              ? "y"
              : "sampleWeight";
        throw new ValueError(`${op}: ${name} has NaN among its values; replace or leave out those samples`);
      }
      clean.set(t, t.storage.version);
    }
  }
}

/** Tensors without NaN, with the version that was looked at. */
const clean = new WeakMap<Tensor, number>();

const named = (name: string, structure: Structure, i: number): string =>
  structure === null ? name : typeof structure === "number" ? `${name}[${i}]` : `${name}.${structure[i]}`;

// Symbolic tensors: what layers are called on to make a graph of them (Keras's functional style). A symbolic tensor has
// no values; its shape comes from a dry run of the layer, in which nothing is computed.
import { checkOptions, describe } from "../check.js";
import { NablaError, ShapeError, ValueError } from "../errors.js";
import { zeros } from "../tensor/create.js";
import { checkDType, type DType } from "../tensor/dtype.js";
import type { Shape } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { forShapes } from "./mode.js";
import type { Module } from "./module.js";

/** A shape in which null stands for a size that is not known before there is a batch. */
export type PartialShape = readonly (number | null)[];

/** `[null, 4]` */
export const showPartial = (shape: PartialShape): string => `[${shape.map((n) => n ?? "null").join(", ")}]`;

/**
 * Sizes of the batch and of other open dimensions in the dry runs: what differs between the runs in a result is open too.
 * The open ones are large, since convolutions and pools make them smaller.
 */
const RUNS = [
  { batch: 2, open: 64 },
  { batch: 3, open: 128 },
] as const;

/** A call of a layer in the graph, or an input where there is no layer. */
export interface Call {
  readonly module: Module | null;
  /** What the layer is called with; symbolic tensors may be anywhere in it. */
  readonly args: readonly unknown[];
  /** Name that it was given, if any. */
  name: string | undefined;
  /** Calls come after those that they depend on. */
  readonly order: number;
}

let calls = 0;

/** A tensor of a graph that is being built. */
export class SymbolicTensor {
  /** Sizes; null for the batch's and for others that are open. */
  readonly shape: PartialShape;

  constructor(
    /** @internal */
    readonly call: Call,
    /** @internal Its place among the tensors that the call gives. */
    readonly index: number,
    /** @internal Its shapes in the dry runs. */
    readonly runs: readonly Shape[],
    readonly dtype: DType,
  ) {
    const [first, ...others] = runs;
    this.shape = first.map((n, i) => (others.every((s) => s[i] === n) ? n : null));
  }

  /**
   * Names the layer that gives this tensor; its parameters are called after it.
   *
   * @example
   * const h = new nn.Linear(4, 8).call(x).named("hidden"); // hidden.weight, hidden.bias
   */
  named(name: string): this {
    if (typeof name !== "string" || !/^[A-Za-z_]\w*$/.test(name)) {
      throw new ValueError(`named: a name is letters, digits and _, beginning with a letter, got ${describe(name)}`);
    }
    this.call.name = name;
    return this;
  }

  toString(): string {
    return `SymbolicTensor(shape=${showPartial(this.shape)}, dtype=${this.dtype})`;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}

export interface InputOptions {
  /** Of one sample, without the batch; null for an open size. */
  shape: PartialShape;
  /** Default `"float32"`. */
  dtype?: DType;
  /** For messages and the summary. */
  name?: string;
}

/**
 * An input of a graph (`keras.Input`).
 *
 * @example
 * const x = nn.Input({ shape: [28, 28] });
 * x.shape; // [null, 28, 28]
 */
export function Input(options: InputOptions): SymbolicTensor {
  checkOptions(options, ["shape", "dtype", "name"], "Input");
  const { shape, dtype = "float32", name } = options;
  const legal = (n: unknown): boolean => n === null || (Number.isSafeInteger(n) && (n as number) >= 1);
  if (!Array.isArray(shape) || !shape.every(legal)) {
    throw new ShapeError(
      `Input: shape is that of one sample, sizes ≥ 1 or null for open ones, such as [28, 28]; got ${Array.isArray(shape) ? showPartial(shape) : describe(shape)}`,
    );
  }
  const runs = RUNS.map(({ batch, open }) => [batch, ...(shape as PartialShape).map((n) => n ?? open)]);
  const call: Call = { module: null, args: [], name: undefined, order: calls++ };
  const tensor = new SymbolicTensor(call, 0, runs, checkDType(dtype, "Input"));
  return name === undefined ? tensor : tensor.named(name);
}

/** The same structure of arrays and plain objects, with what `map` makes of everything else. */
export function mapTree(value: unknown, map: (leaf: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((v) => mapTree(v, map));
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, mapTree(v, map)]));
  }
  return map(value);
}

/** The leaves of a kind, in order. */
export function leaves<T>(value: unknown, kind: new (...args: never[]) => T): T[] {
  const found: T[] = [];
  mapTree(value, (leaf) => {
    if (leaf instanceof kind) found.push(leaf);
  });
  return found;
}

/** A layer of a graph, for its summary. */
export interface GraphLayer {
  readonly name: string;
  /** Null for an input. */
  readonly module: Module | null;
  readonly shape: PartialShape;
  /** Names of the layers whose results it gets; for one that is called several times, those of all calls. */
  readonly from: readonly string[];
}

/** Layers of the models that are graphs, in the order in which they run. */
export const layersOfGraph = new WeakMap<Module, readonly GraphLayer[]>();

/** What a value becomes when its tensors are symbolic; where a tensor may be, there is a symbolic one. */
export type Symbolic<T> = unknown extends T
  ? T // any and unknown
  : [Tensor] extends [T]
    ? SymbolicTensor | Extract<T, null | undefined>
    : T extends readonly unknown[]
      ? { [K in keyof T]: Symbolic<T[K]> }
      : T extends { readonly [name: string]: Tensor | boolean | number | string | null | undefined }
        ? { [K in keyof T]: Symbolic<T[K]> }
        : T;

/** The same for each argument of a list. */
export type SymbolicArguments<A extends readonly unknown[]> = { [K in keyof A]: Symbolic<A[K]> };

/**
 * A call of a layer on symbolic tensors.
 *
 * @returns what the layer returns, with symbolic tensors for its tensors
 * @throws what the layer throws for such shapes, with its name and the shapes
 */
export function callSymbolically(module: Module, args: readonly unknown[]): unknown {
  const name = module.constructor.name;
  const inputs = leaves(args, SymbolicTensor);
  const [real] = leaves(args, Tensor);
  if (real || inputs.length === 0) {
    throw new ValueError(
      `${name}: call takes symbolic tensors, which nn.Input and other calls give, got ${describe(real ?? args[0])}; ` +
        "forward computes with real ones",
    );
  }
  const results = RUNS.map((_, run) => {
    try {
      return dryRun(module, args, run);
    } catch (error) {
      if (!(error instanceof NablaError)) throw error;
      const shapes = inputs.map((t) => showPartial(t.shape)).join(", ");
      const Kind = error.constructor as new (message: string) => NablaError;
      throw new Kind(`${name}, called on ${shapes}: ${error.message}`);
    }
  });
  const tensors = results.map((r) => leaves(r, Tensor));
  if (tensors[0].length === 0) {
    throw new ValueError(`${name}: forward gave ${describe(results[0])} where a graph needs tensors`);
  }
  const call: Call = { module, args, name: undefined, order: calls++ };
  let index = 0;
  return mapTree(results[0], (leaf) => {
    if (!(leaf instanceof Tensor)) return leaf;
    const runs = tensors.map((list) => list[index].shape);
    return new SymbolicTensor(call, index++, runs, leaf.dtype);
  });
}

/** What the layer's forward gives for inputs of the shapes of a dry run. */
function dryRun(module: Module, args: readonly unknown[], run: number): unknown {
  const [parameter] = module.parameters();
  const device = parameter?.device;
  return forShapes(module, () => {
    const stands = mapTree(args, (leaf) =>
      leaf instanceof SymbolicTensor ? zeros(leaf.runs[run], { dtype: leaf.dtype, device }) : leaf,
    );
    return module.forward(...(stands as unknown[]));
  });
}

// Graph: a graph of layers that is not a sequence: several inputs and outputs, branches, layers used more than once.
import { checkOptions, describe } from "../check.js";
import { ShapeError, ValueError } from "../errors.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { Model } from "../train/model.js";
import type { Module } from "./module.js";
import { type Call, type GraphLayer, layersOfGraph, leaves, mapTree, SymbolicTensor, showPartial } from "./symbolic.js";

/** Outputs of a model: one, or a list or record of them. */
export type Outputs = SymbolicTensor | readonly SymbolicTensor[] | { readonly [name: string]: SymbolicTensor };

/** What `forward` gives for such outputs. */
export type Computed<O> = O extends SymbolicTensor ? Tensor : { -readonly [K in keyof O]: Tensor };

export interface GraphOptions<O extends Outputs> {
  inputs: SymbolicTensor | readonly SymbolicTensor[];
  outputs: O;
}

/** A call, ready to run: values are numbered. */
interface Step {
  readonly module: Module;
  readonly args: readonly unknown[];
  /** Number of the first of its results. */
  readonly out: number;
}

/** Stands for a value in the arguments of a step. */
class Place {
  constructor(readonly index: number) {}
}

/**
 * A model made of a graph (`keras.Model(inputs, outputs)`): layers are called on symbolic tensors, beginning with
 * `nn.Input`, and shapes are checked there. `forward` takes one tensor for each input and gives the outputs in the form
 * in which they were given here.
 *
 * The layers are parts of the model, under the names that they were given by `named` or else that of their class, and a
 * number from the second on: `linear.weight`, `linear_1.weight`. A layer that is called twice is one part. `compile`,
 * `fit`, `summary` and so on are those of `nn.Model`.
 *
 * @throws ValueError for inputs that the outputs do not depend on, or outputs that depend on others
 * @example
 * const x = nn.Input({ shape: [4] });
 * const h = new nn.ReLU().call(new nn.Linear(4, 4).call(x));
 * const y = new nn.Linear(4, 1).call(nn.add([x, h])); // a residual connection
 * const model = new nn.Graph({ inputs: x, outputs: y });
 * model.forward(rand([8, 4])).shape; // [8, 1]
 */
export class Graph<O extends Outputs = Outputs> extends Model {
  // The layers are properties, so that parameters are called after them.
  [layer: string]: unknown;
  readonly #inputs: readonly SymbolicTensor[];
  readonly #outputs: unknown;
  readonly #steps: readonly Step[];

  constructor(options: GraphOptions<O>) {
    super();
    checkOptions(options, ["inputs", "outputs"], "Graph");
    const inputs = leaves([options.inputs], SymbolicTensor);
    const outputs = leaves([options.outputs], SymbolicTensor);
    checkSymbols("inputs", options.inputs, inputs);
    checkSymbols("outputs", options.outputs, outputs);
    const order = callsOf(outputs);
    checkInputs(inputs, order);

    const names = namesOf(order, (name) => name in this);
    const numbers = new Map<Call, number>();
    const steps: Step[] = [];
    const layers = new Map<Call | Module, GraphLayer & { from: string[] }>();
    const place = (t: SymbolicTensor): Place => new Place((numbers.get(t.call) as number) + t.index);
    // The inputs come first, in their order.
    let next = 0;
    for (const { call } of inputs) numbers.set(call, next++);
    for (const [call, tensors] of order) {
      const { module, args } = call;
      const name = names.get(call) as string;
      const key = module ?? call;
      const from = leaves(args, SymbolicTensor).map((t) => names.get(t.call) as string);
      const known = layers.get(key);
      if (known) known.from.push(...from);
      else layers.set(key, { name, module, shape: tensors[0].shape, from });
      if (!module) continue;
      this[name] = module;
      numbers.set(call, next);
      steps.push({
        module,
        args: mapTree(args, (leaf) => (leaf instanceof SymbolicTensor ? place(leaf) : leaf)) as unknown[],
        out: next,
      });
      next += Math.max(...tensors.map((t) => t.index)) + 1;
    }
    this.#inputs = inputs;
    this.#outputs = mapTree(options.outputs, (leaf) => place(leaf as SymbolicTensor));
    this.#steps = steps;
    layersOfGraph.set(this, [...layers.values()]);
  }

  /** The layers in the order in which they run, inputs included, and what each is connected to. */
  get layers(): readonly GraphLayer[] {
    return layersOfGraph.get(this) as readonly GraphLayer[];
  }

  override forward(...inputs: Tensor[]): Computed<O> {
    this.#check(inputs);
    const values: Tensor[] = [...inputs];
    const fill = (tree: unknown): unknown =>
      mapTree(tree, (leaf) => (leaf instanceof Place ? values[leaf.index] : leaf));
    for (const { module, args, out } of this.#steps) {
      const result: unknown = module.forward(...(fill(args) as unknown[]));
      if (result instanceof Tensor) values[out] = result;
      else {
        for (const [i, t] of leaves(result, Tensor).entries()) values[out + i] = t;
      }
    }
    return fill(this.#outputs) as Computed<O>;
  }

  #check(given: readonly unknown[]): void {
    const inputs = this.#inputs;
    if (given.length !== inputs.length) {
      const wanted = inputs.map((t) => showPartial(t.shape)).join(", ");
      throw new ValueError(`Graph: ${inputs.length} inputs are needed, ${wanted}; got ${given.length}`);
    }
    inputs.forEach(({ shape }, i) => {
      const x = given[i];
      if (!(x instanceof Tensor)) throw new ValueError(`Graph: input ${i} must be a tensor, got ${describe(x)}`);
      if (x.ndim === shape.length && shape.every((n, d) => n === null || n === x.shape[d])) return;
      throw new ShapeError(`Graph: input ${i} must be ${showPartial(shape)}, got ${show(x.shape)}`);
    });
  }
}

function checkSymbols(what: string, given: unknown, found: readonly SymbolicTensor[]): void {
  let others: unknown;
  mapTree(given, (leaf) => {
    if (!(leaf instanceof SymbolicTensor)) others ??= describe(leaf);
  });
  if (others === undefined && found.length > 0) return;
  throw new ValueError(`Graph: ${what} are symbolic tensors, which nn.Input and call give; got ${others ?? "none"}`);
}

/** The calls that the outputs depend on, each after those that it depends on, with the tensors of them that are used. */
function callsOf(outputs: readonly SymbolicTensor[]): Map<Call, SymbolicTensor[]> {
  const found = new Map<Call, SymbolicTensor[]>();
  const left = [...outputs];
  for (let t = left.pop(); t; t = left.pop()) {
    const tensors = found.get(t.call);
    if (tensors) tensors.push(t);
    else {
      found.set(t.call, [t]);
      left.push(...leaves(t.call.args, SymbolicTensor));
    }
  }
  // A tensor exists before a layer is called on it.
  return new Map([...found].sort(([a], [b]) => a.order - b.order));
}

function checkInputs(inputs: readonly SymbolicTensor[], order: ReadonlyMap<Call, unknown>): void {
  const given = new Set<Call>();
  inputs.forEach(({ call, shape }, i) => {
    if (call.module) {
      throw new ValueError(
        `Graph: input ${i} is a result of ${call.module.constructor.name}; inputs are what nn.Input gives`,
      );
    }
    if (given.has(call)) throw new ValueError(`Graph: input ${i} is given twice`);
    given.add(call);
    if (!order.has(call)) {
      throw new ValueError(`Graph: no output depends on input ${i}, ${call.name ?? showPartial(shape)}; leave it out`);
    }
  });
  for (const call of order.keys()) {
    if (call.module || given.has(call)) continue;
    throw new ValueError(
      `Graph: the outputs depend on an input${call.name ? ` ${call.name}` : ""} that is not among the inputs; add it`,
    );
  }
}

/** A name for each call; the calls of one layer have one. */
function namesOf(order: ReadonlyMap<Call, unknown>, taken: (name: string) => boolean): Map<Call, string> {
  const chosen = new Map<Call | Module, string>();
  for (const { name, module } of order.keys()) {
    const before = module ? chosen.get(module) : undefined;
    if (name === undefined || name === before) continue;
    if (before !== undefined) throw new ValueError(`Graph: a layer is called both ${before} and ${name}`);
    chosen.set(module as Module, name);
  }
  const used = new Set<string>();
  for (const name of chosen.values()) {
    if (used.has(name)) throw new ValueError(`Graph: two layers are called ${name}`);
    if (taken(name)) throw new ValueError(`Graph: a layer cannot be called ${name}, which every module has`);
    used.add(name);
  }
  const names = new Map<Call, string>();
  for (const call of order.keys()) {
    const key = call.module ?? call;
    let name = call.name ?? chosen.get(key);
    if (name === undefined) {
      const base = call.module?.constructor.name.toLowerCase() ?? "input";
      for (let n = 0; name === undefined || used.has(name) || taken(name); n++) name = n === 0 ? base : `${base}_${n}`;
      used.add(name);
      chosen.set(key, name);
    }
    names.set(call, name);
  }
  return names;
}

// What a model is made of: its parts, the shapes that they give, and their parameters.
import { checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { forShapes } from "../nn/mode.js";
import type { Module } from "../nn/module.js";
import { layersOfGraph } from "../nn/symbolic.js";
import { zeros } from "../tensor/create.js";
import { type DType, isFloat } from "../tensor/dtype.js";
import type { Shape } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { mapBatch } from "./sources.js";

/** One part of a model. */
export interface SummaryRow {
  /** Property by which it hangs in the model; empty for parameters of the model itself. */
  readonly name: string;
  readonly type: string;
  /** Its output for a batch, null as the batch's size; null before the model has seen an input. */
  readonly outputShape: readonly (number | null)[] | null;
  /** Elements of its parameters and floating point buffers. */
  readonly parameters: number;
  /** Those of them that are trained. */
  readonly trainable: number;
  /** Names of the rows whose results it gets, where the model is a graph. */
  readonly connectedTo?: readonly string[];
}

export interface SummaryOptions {
  /** An example batch, to learn the shapes from. */
  input?: unknown;
  /** Shape of one sample instead, without the batch dimension; several for several inputs. */
  inputShape?: Shape | readonly Shape[];
  /** Dtype of such an input. Default float32. */
  dtype?: DType;
  /** Takes the text instead of `console.log`. */
  printFn?: (text: string) => void;
}

/** Output shapes of parts by the last input seen. */
const shapes = new WeakMap<Module, readonly (number | null)[]>();

/** What a model's forward takes: a list is several arguments. */
export const argumentsOf = (x: unknown): readonly unknown[] => (Array.isArray(x) ? x : [x]);

/**
 * Runs the model's forward for its shapes only: nothing is computed, unless the model reads values.
 *
 * @returns the output, whose tensors have shapes and dtypes but perhaps no values
 */
export function trace(model: Module, input: unknown): unknown {
  const batch = sizeOf(input);
  const undo = tap(model.modules(), (part, _input, output) => {
    const first = firstTensor(output);
    if (first) {
      const shape = first.shape.map((n, i) => (i === 0 && n === batch ? null : n));
      shapes.set(part, shape);
    }
  });
  try {
    return forShapes(model, () => {
      const stands = mapBatch(input, (t) => zeros(t.shape, { dtype: t.dtype, device: t.device }));
      return model.forward(...argumentsOf(stands));
    });
  } finally {
    undo();
  }
}

/** Tells `seen` of every call of the parts' forward until the returned function is called. */
export function tap(
  parts: Iterable<Module>,
  seen: (part: Module, input: unknown, output: unknown) => void,
): () => void {
  const tapped = [...parts].map((part) => ({ part, own: Object.getOwnPropertyDescriptor(part, "forward") }));
  for (const { part } of tapped) {
    const { forward } = part;
    Object.defineProperty(part, "forward", {
      configurable: true,
      enumerable: false,
      value(this: Module, ...inputs: unknown[]): unknown {
        const output = forward.apply(this, inputs);
        seen(part, inputs[0], output);
        return output;
      },
    });
  }
  return () => {
    for (const { part, own } of tapped) {
      if (own) Object.defineProperty(part, "forward", own);
      else delete (part as { forward?: unknown }).forward;
    }
  };
}

function firstTensor(value: unknown): Tensor | undefined {
  if (value instanceof Tensor) return value;
  const list = Array.isArray(value) ? value : typeof value === "object" && value !== null ? Object.values(value) : [];
  return list.find((v) => v instanceof Tensor);
}

const sizeOf = (input: unknown): number => firstTensor(input)?.shape[0] ?? 0;

/** The direct parts of a model, then its own parameters. */
export function rowsOfSummary(model: Module): SummaryRow[] {
  const rows: SummaryRow[] = [];
  const counted = new Set<Tensor>();
  const count = (tensors: Iterable<Tensor>): { parameters: number; trainable: number } => {
    let [parameters, trainable] = [0, 0];
    for (const t of tensors) {
      if (counted.has(t) || !isFloat(t.dtype)) continue;
      counted.add(t);
      parameters += t.numel;
      if (t.requiresGrad) trainable += t.numel;
    }
    return { parameters, trainable };
  };
  const graph = layersOfGraph.get(model);
  for (const { name, module, shape, from } of graph ?? []) {
    const numbers = count(module ? [...module.parameters(), ...module.buffers()] : []);
    const type = module?.constructor.name ?? "Input";
    rows.push({ name, type, outputShape: shape, ...numbers, connectedTo: [...new Set(from)] });
  }
  const children = new Set(graph ? [] : model.children());
  for (const [name, part] of model.namedModules()) {
    if (!children.has(part)) continue;
    const numbers = count([...part.parameters(), ...part.buffers()]);
    rows.push({ name, type: part.constructor.name, outputShape: shapes.get(part) ?? null, ...numbers });
  }
  const own = count([...model.parameters(), ...model.buffers()]);
  if (own.parameters > 0 || rows.length === 0) {
    rows.push({ name: "", type: model.constructor.name, outputShape: shapes.get(model) ?? null, ...own });
  }
  return rows;
}

/** The table that Keras prints. */
export function summaryOf(model: Module, options: SummaryOptions = {}): string {
  checkOptions(options, ["input", "inputShape", "dtype", "printFn"], "summary");
  const { input, inputShape, dtype = "float32" } = options;
  if (input !== undefined) trace(model, input);
  else if (inputShape !== undefined) {
    if (!Array.isArray(inputShape)) throw new ValueError(`summary: inputShape is a shape, got ${describe(inputShape)}`);
    const several = Array.isArray(inputShape[0]);
    const [device] = [...model.parameters()].map((p) => p.device);
    const one = (shape: Shape): Tensor => zeros([2, ...shape], { dtype, device });
    trace(model, several ? (inputShape as readonly Shape[]).map(one) : one(inputShape as Shape));
  }
  const rows = rowsOfSummary(model).map((r) => {
    const shape = r.outputShape ? `(${r.outputShape.map((n) => n ?? "None").join(", ")})` : "?";
    const cells = [r.name === "" ? r.type : `${r.name} (${r.type})`, shape, r.parameters.toLocaleString("en-US")];
    return r.connectedTo ? [...cells, r.connectedTo.join(", ")] : cells;
  });
  const head = ["Layer (type)", "Output Shape", "Param #", "Connected to"].slice(0, rows[0].length);
  const table = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...table.map((row) => row[i].length)) + 4);
  const line = (row: readonly string[]): string =>
    ` ${row.map((cell, i) => cell.padEnd(widths[i])).join("")}`.trimEnd();
  const width = widths.reduce((a, b) => a + b, 0);
  const all = rowsOfSummary(model);
  const [total, trainable] = [all.reduce((n, r) => n + r.parameters, 0), all.reduce((n, r) => n + r.trainable, 0)];
  return [
    `Model: "${model.constructor.name}"`,
    "_".repeat(width),
    line(table[0]),
    "=".repeat(width),
    ...table.slice(1).map(line),
    "=".repeat(width),
    `Total params: ${total.toLocaleString("en-US")}`,
    `Trainable params: ${trainable.toLocaleString("en-US")}`,
    `Non-trainable params: ${(total - trainable).toLocaleString("en-US")}`,
    "_".repeat(width),
  ].join("\n");
}

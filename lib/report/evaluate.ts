// What a trained model does with data, as evaluation.json for the report: confusion, decision boundary, fitted curve.
import { type Module, metrics, noGrad, ShapeError, type Tensor, tensor, ValueError } from "../index.js";
import type { Boundary, Confusion, Fit } from "./charts.js";

/** What `evaluation.json` holds. */
export interface Evaluation {
  readonly metrics?: Readonly<Record<string, number>>;
  readonly confusion?: Confusion;
  readonly boundary?: Boundary;
  readonly curve?: Fit;
}

export interface EvaluateOptions {
  /** Names of the classes. Default: their numbers. */
  labels?: readonly string[];
  /** Names of the inputs, of which there are one or two. */
  inputs?: readonly string[];
  /** With one score a sample: at least this is class 1. Default 0.5; for logits use 0. */
  threshold?: number;
  /** Training samples, which a fitted curve shows too. */
  train?: { readonly x: Tensor; readonly y: Tensor };
  /** Samples a batch. Default 256. */
  batchSize?: number;
}

/** Points along each side of a decision boundary, and along a fitted curve. */
const GRID = 80;
const ALONG = 200;
/** More samples than this are not drawn. */
const DRAWN = 600;

/**
 * Evaluates a trained model on samples that it has not seen. A model with integer targets is a classifier, any other a
 * regression; classifiers of two inputs get a decision boundary, regressions of one input a fitted curve.
 *
 * @example
 * const evaluation = await evaluateForReport(model, { x, y }, { labels: ["setosa", "versicolor", "virginica"] });
 * await writeFile("runs/iris/evaluation.json", JSON.stringify(evaluation));
 *
 * @param model a Module, or a function from inputs to predictions
 * @param data inputs [n, …] and targets: classes [n] as integers, or numbers [n] or [n, 1]
 */
export async function evaluateForReport(
  model: Module | ((x: Tensor) => Tensor),
  data: { readonly x: Tensor; readonly y: Tensor },
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { threshold = 0.5, batchSize = 256 } = options;
  const { x, y } = data;
  if (x.shape[0] !== y.shape[0] || x.shape[0] === 0) {
    throw new ShapeError(
      `evaluateForReport: one target a sample is needed, got ${x.shape[0]} samples, ${y.shape[0]} targets`,
    );
  }
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ValueError(`evaluateForReport: batchSize must be an integer ≥ 1, got ${batchSize}`);
  }
  const module = typeof model === "function" ? undefined : model;
  const wasTraining = module?.training;
  module?.eval();
  try {
    const call = typeof model === "function" ? model : (input: Tensor) => model.forward(input) as Tensor;
    const predict = (input: Tensor): Tensor => noGrad(() => call(input));
    const classifies = ["int64", "int32", "uint8", "bool"].includes(y.dtype);
    return classifies
      ? await classification(predict, x, y, threshold, batchSize, options)
      : await regression(predict, x, y, batchSize, options);
  } finally {
    module?.train(wasTraining);
  }
}

const rowsOf = async (t: Tensor): Promise<number[][]> => {
  const flat = Array.from(await t.data(), Number);
  const width = t.numel / t.shape[0];
  return Array.from({ length: t.shape[0] }, (_, i) => flat.slice(i * width, (i + 1) * width));
};
const numbers = async (t: Tensor): Promise<number[]> => Array.from(await t.data(), Number);

type Predict = (x: Tensor) => Tensor;

async function* batches(predict: Predict, x: Tensor, y: Tensor, size: number): AsyncGenerator<[Tensor, Tensor]> {
  for (let at = 0; at < x.shape[0]; at += size) {
    const end = Math.min(at + size, x.shape[0]);
    const out = predict(x.slice(0, at, end));
    await out.data(); // the event loop stays free
    yield [out, y.slice(0, at, end)];
  }
}

async function classification(
  predict: Predict,
  x: Tensor,
  y: Tensor,
  threshold: number,
  size: number,
  { labels, inputs }: EvaluateOptions,
): Promise<Evaluation> {
  const matrix = new metrics.ConfusionMatrix({ threshold });
  const accuracy = new metrics.Accuracy({ threshold });
  for await (const [out, target] of batches(predict, x, y, size)) {
    for (const metric of [matrix, accuracy]) metric.update(out, target);
  }
  const counts = await matrix.compute();
  const names = labels ?? counts.map((_, i) => String(i));
  if (names.length !== counts.length) {
    throw new ValueError(`evaluateForReport: ${names.length} labels for ${counts.length} classes`);
  }
  const evaluation = {
    metrics: { accuracy: await accuracy.compute() },
    confusion: { labels: [...names], matrix: counts },
  };
  if (x.ndim !== 2 || x.shape[1] !== 2) return evaluation;

  const rows = await rowsOf(x);
  const along = (k: number): number[] => {
    const values = rows.map((r) => r[k]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = 0.08 * (high - low || 1);
    return Array.from({ length: GRID }, (_, i) => low - room + ((high - low + 2 * room) * i) / (GRID - 1));
  };
  const [xs, ys] = [along(0), along(1)];
  const at = tensor(
    ys.flatMap((b) => xs.map((a) => [a, b])),
    { dtype: x.dtype, device: x.device },
  );
  const chosen: number[] = [];
  for await (const [out] of batches(predict, at, at, Math.max(size, 1024))) {
    const many = out.ndim > 1 && out.shape[1] > 1;
    chosen.push(...(many ? await numbers(out.argmax(1)) : (await numbers(out)).map((v) => (v >= threshold ? 1 : 0))));
  }
  const targets = await numbers(y);
  const boundary = {
    x: xs,
    y: ys,
    grid: ys.map((_, j) => chosen.slice(j * GRID, (j + 1) * GRID)),
    points: thin(rows.map(([a, b], i) => [a, b, targets[i]] as [number, number, number])),
    labels: [...names],
    ...(inputs?.length === 2 ? { inputs: [inputs[0], inputs[1]] as [string, string] } : {}),
  };
  return { ...evaluation, boundary };
}

async function regression(
  predict: Predict,
  x: Tensor,
  y: Tensor,
  size: number,
  { train, inputs }: EvaluateOptions,
): Promise<Evaluation> {
  const all = [new metrics.MeanSquaredError(), new metrics.MeanAbsoluteError(), new metrics.R2Score()];
  for await (const [out, target] of batches(predict, x, y, size)) for (const metric of all) metric.update(out, target);
  const values = await Promise.all(all.map(async (m) => [m.name, await m.compute()] as const));
  const evaluation = { metrics: Object.fromEntries(values) };
  if (x.numel !== x.shape[0] || y.numel !== x.shape[0]) return evaluation;

  const pairs = async (s: { x: Tensor; y: Tensor }) => {
    const [a, b] = [await numbers(s.x), await numbers(s.y)];
    return thin(a.map((v, i) => [v, b[i]] as [number, number]));
  };
  const samples = { validation: await pairs({ x, y }), ...(train ? { train: await pairs(train) } : {}) };
  const places = Object.values(samples).flatMap((list) => list.map(([v]) => v));
  const [low, high] = [Math.min(...places), Math.max(...places)];
  const line = Array.from({ length: ALONG }, (_, i) => low + ((high - low) * i) / (ALONG - 1));
  const at = tensor(line, { dtype: x.dtype, device: x.device }).reshape([ALONG, ...x.shape.slice(1)]);
  const heights: number[] = [];
  for await (const [out] of batches(predict, at, at, size)) heights.push(...(await numbers(out)));
  const named = inputs?.length === 1 ? { inputs: [inputs[0]] as [string] } : {};
  return { ...evaluation, curve: { x: line, y: heights, ...samples, ...named } };
}

/** Evenly taken from a list that is too long to draw. */
function thin<T>(list: T[]): T[] {
  if (list.length <= DRAWN) return list;
  return Array.from({ length: DRAWN }, (_, i) => list[Math.floor((i * list.length) / DRAWN)]);
}

// Metrics of classifiers, all from the confusion matrix.
import { ShapeError, ValueError } from "../errors.js";
import type { Saveable } from "../io/checkpoint.js";
import { stack } from "../ops/arrange.js";
import { add, eq, ge, mul } from "../ops/elementwise.js";
import { indexAdd_ } from "../ops/indexing.js";
import { flatten, reshape } from "../ops/movement.js";
import { cast } from "../ops/pointwise.js";
import { argmax, sum } from "../ops/reduce.js";
import { topk } from "../ops/sort.js";
import { full, ones, zeros } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { Accumulator, Metric, options, pair } from "./metric.js";

export interface ClassificationOptions {
  name?: string;
  /** Two classes: a prediction of at least this is class 1. Default 0.5; for logits use 0. */
  threshold?: number;
}

/**
 * Class indices of predictions and targets, flat, and how many classes there are.
 *
 * Predictions are scores [B, C, …] (probabilities or logits) of C ≥ 2 classes, or one score [B] or [B, 1] of class 1;
 * targets are indices [B, …], or one-hot like the scores.
 */
function classes(prediction: Tensor, target: Tensor, threshold: number, metric: string) {
  const many = prediction.ndim >= 2 && prediction.shape[1] > 1 && isFloat(prediction.dtype);
  if (!many) {
    const [p, t] = pair(prediction, target, metric);
    return {
      predicted: flatten(cast(isFloat(p.dtype) ? ge(p, threshold) : p, "int64")),
      actual: flatten(cast(isFloat(t.dtype) ? ge(t, 0.5) : t, "int64")),
      count: 2,
    };
  }
  const oneHot = target.ndim === prediction.ndim && target.shape[1] === prediction.shape[1];
  let indices = oneHot ? argmax(target, 1) : target;
  if (indices.ndim === prediction.ndim && indices.shape[1] === 1)
    indices = reshape(indices, [indices.shape[0], ...indices.shape.slice(2)]);
  const predicted = argmax(prediction, 1);
  const [p, t] = pair(predicted, indices, metric);
  return { predicted: flatten(p), actual: flatten(cast(t, "int64")), count: prediction.shape[1] };
}

/** Gathers a confusion matrix on the device. */
abstract class Confusion<R> extends Metric<R> {
  readonly mode = "max";
  protected readonly threshold: number;
  private readonly counts = new Accumulator("int64");
  private size = 0;

  constructor(name: string, given: ClassificationOptions) {
    super(given.name ?? name);
    this.threshold = given.threshold ?? 0.5;
    if (!Number.isFinite(this.threshold)) {
      throw new ValueError(`${new.target.name}: threshold must be a finite number, got ${this.threshold}`);
    }
  }

  protected gather(prediction: Tensor, target: Tensor): void {
    const { predicted, actual, count } = classes(prediction, target, this.threshold, this.constructor.name);
    if (this.counts.batches > 0 && this.size !== count) {
      throw new ShapeError(`${this.constructor.name}: ${count} classes now, ${this.size} before; reset() between`);
    }
    this.size = count;
    const one = ones([actual.numel], { dtype: "int64", device: prediction.device });
    // A label out of range would be counted elsewhere: the row must exist before the cell does.
    indexAdd_(zeros([count], { dtype: "int64", device: prediction.device }), 0, actual, one);
    indexAdd_(this.counts.at(count * count, prediction.device), 0, add(mul(actual, count), predicted), one);
  }

  /** counts[actual][predicted] */
  protected async matrix(): Promise<number[][]> {
    const flat = await this.counts.read();
    if (flat.length === 0) return [];
    return Array.from({ length: this.size }, (_, i) => flat.slice(i * this.size, (i + 1) * this.size));
  }

  protected override get recordable(): boolean {
    return true;
  }

  reset(): void {
    this.counts.reset();
  }

  override stateDict(): Saveable {
    return { counts: this.counts.stateDict(), size: this.size };
  }

  override loadStateDict(state: Saveable): void {
    const { counts, size } = state as { counts: Saveable; size: number };
    this.counts.loadStateDict(counts);
    this.size = size;
  }
}

const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

/** Share of right predictions; of two classes, of many, with indices or one-hot targets alike. */
export class Accuracy extends Confusion<number> {
  constructor(given: ClassificationOptions = {}) {
    super("accuracy", options("Accuracy", given, ["name", "threshold"]));
  }
  async compute(): Promise<number> {
    const matrix = await this.matrix();
    return total(matrix.map((row, i) => row[i])) / total(matrix.flat());
  }
}

/** Counts of samples by actual (rows) and predicted class (columns). */
export class ConfusionMatrix extends Confusion<number[][]> {
  constructor(given: ClassificationOptions = {}) {
    super("confusionMatrix", options("ConfusionMatrix", given, ["name", "threshold"]));
  }
  compute(): Promise<number[][]> {
    return this.matrix();
  }
}

export interface AverageOptions extends ClassificationOptions {
  /**
   * How values of classes become one: that of class 1 (`"binary"`), of all samples together (`"micro"`), the plain mean
   * (`"macro"`), the mean weighted with the classes' samples (`"weighted"`). Default: `"binary"` of two classes, else
   * `"macro"`.
   */
  average?: "binary" | "micro" | "macro" | "weighted";
}

/** Right, actual and predicted samples of a class. */
interface Tally {
  hits: number;
  actual: number;
  predicted: number;
}

abstract class Averaged extends Confusion<number> {
  private readonly average: AverageOptions["average"];

  constructor(name: string, given: AverageOptions) {
    super(name, options(name, given, ["name", "threshold", "average"]));
    const known = [undefined, "binary", "micro", "macro", "weighted"];
    if (!known.includes(given.average)) {
      throw new ValueError(`${name}: average must be binary, micro, macro or weighted, got ${String(given.average)}`);
    }
    this.average = given.average;
  }

  /** The value of one class; 0 where nothing can be divided, as in scikit-learn. */
  protected abstract score(tally: Tally): number;

  async compute(): Promise<number> {
    const matrix = await this.matrix();
    if (matrix.length === 0) return Number.NaN;
    const tallies = matrix.map((row, i) => ({
      hits: row[i],
      actual: total(row),
      predicted: total(matrix.map((r) => r[i])),
    }));
    const average = this.average ?? (matrix.length === 2 ? "binary" : "macro");
    if (average === "binary") {
      if (matrix.length !== 2) {
        throw new ValueError(
          `${this.constructor.name}: average "binary" is for two classes, there are ${matrix.length}`,
        );
      }
      return this.score(tallies[1]);
    }
    const sums = (key: keyof Tally): number => total(tallies.map((t) => t[key]));
    if (average === "micro") {
      return this.score({ hits: sums("hits"), actual: sums("actual"), predicted: sums("predicted") });
    }
    // A class that neither occurs nor is predicted has no value.
    const present = tallies.filter((t) => t.actual + t.predicted > 0);
    const weight = (t: Tally): number => (average === "weighted" ? t.actual : 1);
    return total(present.map((t) => weight(t) * this.score(t))) / total(present.map(weight));
  }
}

const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b);

/** Share of the predictions of a class that are right. */
export class Precision extends Averaged {
  constructor(given: AverageOptions = {}) {
    super("precision", given);
  }
  protected score({ hits, predicted }: Tally): number {
    return ratio(hits, predicted);
  }
}

/** Share of the samples of a class that are found. */
export class Recall extends Averaged {
  constructor(given: AverageOptions = {}) {
    super("recall", given);
  }
  protected score({ hits, actual }: Tally): number {
    return ratio(hits, actual);
  }
}

/** Harmonic mean of precision and recall. */
export class F1Score extends Averaged {
  constructor(given: AverageOptions = {}) {
    super("f1", given);
  }
  protected score({ hits, actual, predicted }: Tally): number {
    return ratio(2 * hits, actual + predicted);
  }
}

/** Share of the samples whose class is among the k highest scores. */
export class TopKAccuracy extends Metric {
  readonly mode = "max";
  private readonly hits = new Accumulator("int64");

  constructor(
    readonly k = 5,
    given: { name?: string } = {},
  ) {
    super(options("TopKAccuracy", given, ["name"]).name ?? `top${k}Accuracy`);
    if (!Number.isInteger(k) || k < 1) throw new ValueError(`TopKAccuracy: k must be an integer ≥ 1, got ${k}`);
  }

  protected gather(prediction: Tensor, target: Tensor): void {
    if (prediction.ndim !== 2 || prediction.shape[1] < this.k) {
      throw new ShapeError(`TopKAccuracy: scores [B, C] with C ≥ ${this.k} are needed, got ${show(prediction.shape)}`);
    }
    const indices = target.ndim === 2 && target.shape[1] === prediction.shape[1] ? argmax(target, 1) : target;
    const { indices: best } = topk(prediction, this.k, 1);
    const found = eq(best, reshape(cast(indices, "int64"), [-1, 1]));
    this.hits.add(stack([sum(found), full([], prediction.shape[0], { dtype: "int64", device: prediction.device })]));
  }

  async compute(): Promise<number> {
    const [hits, seen] = await this.hits.read();
    return hits / seen;
  }

  protected override get recordable(): boolean {
    return true;
  }

  reset(): void {
    this.hits.reset();
  }

  override stateDict(): Saveable {
    return this.hits.stateDict();
  }

  override loadStateDict(state: Saveable): void {
    this.hits.loadStateDict(state);
  }
}

/**
 * Area under the receiver operating characteristic of scores of class 1: the probability that a positive sample has a
 * higher score than a negative one, ties counted half. Keeps all scores until it is reset.
 */
export class AUC extends Metric {
  readonly mode = "max";
  private readonly batches: [scores: Tensor, labels: Tensor][] = [];

  constructor(given: { name?: string } = {}) {
    super(options("AUC", given, ["name"]).name ?? "auc");
  }

  protected gather(prediction: Tensor, target: Tensor): void {
    const [p, t] = pair(prediction, target, "AUC");
    this.batches.push([flatten(p).clone(), flatten(cast(t, "float32"))]);
  }

  async compute(): Promise<number> {
    const samples: { score: number; positive: boolean }[] = [];
    for (const [p, t] of this.batches) {
      const [scores, labels] = await Promise.all([cast(p, "float64").data(), t.data()]);
      for (let i = 0; i < scores.length; i++) {
        if (labels[i] !== 0 && labels[i] !== 1) {
          throw new ValueError(`AUC: targets must be 0 or 1, got ${labels[i]}`);
        }
        samples.push({ score: Number(scores[i]), positive: labels[i] === 1 });
      }
    }
    samples.sort((a, b) => a.score - b.score);
    // Sum of the ranks of the positive samples (Mann and Whitney 1947); equal scores share the mean of their ranks.
    let ranks = 0;
    let positives = 0;
    for (let i = 0; i < samples.length; ) {
      let end = i;
      let inTie = 0;
      for (; end < samples.length && samples[end].score === samples[i].score; end++)
        inTie += samples[end].positive ? 1 : 0;
      ranks += (inTie * (i + 1 + end)) / 2;
      positives += inTie;
      i = end;
    }
    const negatives = samples.length - positives;
    return (ranks - (positives * (positives + 1)) / 2) / (positives * negatives);
  }

  reset(): void {
    this.batches.length = 0;
  }

  override stateDict(): Saveable {
    return this.batches.map(([scores, labels]) => ({ scores, labels }));
  }

  override loadStateDict(state: Saveable): void {
    const list = state as readonly { scores: Tensor; labels: Tensor }[];
    this.batches.splice(
      0,
      this.batches.length,
      ...list.map(({ scores, labels }): [Tensor, Tensor] => [scores.clone(), labels.clone()]),
    );
  }
}

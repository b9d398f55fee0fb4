// Scores against the number of training samples and against capacity, by cross-validation.
import { checkFunction, checkOptions, describe } from "../check.js";
import { Dataset } from "../data/dataset.js";
import { permutation } from "../data/permutation.js";
import { kFold } from "../data/split.js";
import { ValueError } from "../errors.js";
import { Generator } from "../tensor/random.js";
import {
  countOf,
  type Estimator,
  fitted,
  numbersOf,
  type Predict,
  type Samples,
  take,
  type Values,
} from "./samples.js";
import { mean } from "./trend.js";

/** Makes one number of predictions and targets. */
export type Score = (predictions: number[], targets: number[]) => number;

export interface StudyOptions {
  /** Parts that take turns as validation samples. Default 5. */
  folds?: number;
  /** Decides which sample is in which part, and the order in which sizes take them. Default 0. */
  seed?: number;
  /** Mean squared error (default), share of right classes (or rounded probabilities), or a function of numbers. */
  score?: "meanSquaredError" | "accuracy" | Score;
}

export interface LearningCurveOptions extends StudyOptions {
  /** Numbers of training samples, or shares of the most that there can be. Default 0.1, 0.325, 0.55, 0.775, 1. */
  sizes?: readonly number[];
}

/** Scores of one kind of samples: for each size or value the mean over the folds, their standard deviation, and all. */
export interface Scores {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** scores[i][fold] */
  readonly scores: readonly (readonly number[])[];
}

export interface LearningCurve {
  readonly sizes: readonly number[];
  readonly train: Scores;
  readonly validation: Scores;
}

export interface ValidationCurve<V> {
  readonly values: readonly V[];
  readonly train: Scores;
  readonly validation: Scores;
}

const scoring: Record<string, Score> = {
  meanSquaredError: (p, t) => mean(p.map((v, i) => (v - t[i]) ** 2)),
  // A probability of class 1 counts as the nearer class.
  accuracy: (p, t) => mean(p.map((v, i) => (Math.round(v) === t[i] ? 1 : 0))),
};

/** Numbers as samples, for what splits datasets. */
class Indices extends Dataset<number> {
  constructor(readonly length: number) {
    super();
  }
  get(index: number): number {
    return index;
  }
}

interface Study {
  readonly count: number;
  readonly score: Score;
  readonly seed: number;
  readonly folds: readonly { train: readonly number[]; validation: readonly number[] }[];
}

function study(data: Samples, options: StudyOptions, known: readonly string[], op: string): Study {
  checkOptions(options, [...known, "folds", "seed", "score"], op);
  const { folds = 5, seed = 0, score = "meanSquaredError" } = options;
  const scorer = typeof score === "function" ? score : Object.hasOwn(scoring, score) ? scoring[score] : undefined;
  if (!scorer)
    throw new ValueError(`${op}: score is ${Object.keys(scoring).join(", ")} or a function, got ${describe(score)}`);
  const count = countOf(data, op);
  const parts = kFold(new Indices(count), folds, { seed });
  return {
    count,
    score: scorer,
    seed,
    folds: parts.map(({ train, validation }) => ({ train: train.indices, validation: validation.indices })),
  };
}

/** Score of a fitted model on samples. */
async function scoreOf<X extends Values, Y extends Values>(
  predict: Predict<X>,
  { x, y }: Samples<X, Y>,
  score: Score,
  op: string,
): Promise<number> {
  const n = countOf({ x, y }, op);
  const targets = await numbersOf(y, `${op}: targets`, n);
  const value = score(await numbersOf(await predict(x), `${op}: predictions`, n), targets);
  if (typeof value !== "number") throw new ValueError(`${op}: a score is a number, got ${describe(value)}`);
  return value;
}

function scores(table: number[][]): Scores {
  const means = table.map(mean);
  const std = table.map((row, i) => Math.sqrt(mean(row.map((v) => (v - means[i]) ** 2))));
  return { mean: means, std, scores: table };
}

const tables = (rows: number) => ({
  train: Array.from({ length: rows }, (): number[] => []),
  validation: Array.from({ length: rows }, (): number[] => []),
});

/**
 * How training and validation scores change with the number of training samples. A validation score that still improves
 * at the right end says that more data will help; two curves that have met at a bad score say that it will not, and that
 * the model is too small.
 *
 * Each fold's training samples are mixed once and each size takes the first of them, so a larger set holds the smaller.
 *
 * @example
 * const curve = await learningCurve((x, y) => fitLine(x, y), { x, y }, { sizes: [5, 10, 20, 40], folds: 5, seed: 1 });
 * console.log(curve.sizes, curve.validation.mean, curve.validation.std);
 *
 * @param estimator fits a new model to samples and returns its predict function
 * @throws ValueError for sizes that the folds do not have
 */
export async function learningCurve<X extends Values, Y extends Values>(
  estimator: Estimator<X, Y>,
  data: Samples<X, Y>,
  options: LearningCurveOptions = {},
): Promise<LearningCurve> {
  const op = "learningCurve";
  checkFunction(estimator, op);
  const { score, folds, seed } = study(data, options, ["sizes"], op);
  const most = Math.min(...folds.map((f) => f.train.length));
  const given = options.sizes ?? [0.1, 0.325, 0.55, 0.775, 1];
  const shares = given.every((s) => s > 0 && s <= 1);
  const sizes = [...new Set(given.map((s) => (shares ? Math.max(1, Math.round(s * most)) : s)))].sort((a, b) => a - b);
  if (sizes.length === 0 || !sizes.every((s) => Number.isInteger(s) && s >= 1 && s <= most)) {
    throw new ValueError(
      `${op}: sizes are numbers of samples from 1 to ${most} or shares up to 1, got ${given.join(", ")}`,
    );
  }
  const table = tables(sizes.length);
  for (const [k, fold] of folds.entries()) {
    const validation = take(data, fold.validation);
    const order = permutation(fold.train.length, new Generator(seed + k)).map((i) => fold.train[i]);
    for (const [i, size] of sizes.entries()) {
      const train = take(data, order.slice(0, size));
      const predict = await fitted(estimator, train, op);
      table.train[i].push(await scoreOf(predict, train, score, op));
      table.validation[i].push(await scoreOf(predict, validation, score, op));
    }
  }
  return { sizes, train: scores(table.train), validation: scores(table.validation) };
}

/**
 * How training and validation scores change with one setting, such as the model's capacity or its weight decay. Where
 * both are bad the model underfits; where training is good and validation is not, it overfits.
 *
 * @example
 * const curve = await validationCurve((degree) => (x, y) => fitPolynomial(degree, x, y), [0, 1, 2, 4, 8], { x, y });
 *
 * @param make makes the estimator for a value of the setting
 */
export async function validationCurve<V, X extends Values, Y extends Values>(
  make: (value: V) => Estimator<X, Y>,
  values: readonly V[],
  data: Samples<X, Y>,
  options: StudyOptions = {},
): Promise<ValidationCurve<V>> {
  const op = "validationCurve";
  checkFunction(make, op);
  if (!Array.isArray(values) || values.length === 0) {
    throw new ValueError(`${op}: values are an array with at least one, got ${describe(values)}`);
  }
  const { score, folds } = study(data, options, [], op);
  const table = tables(values.length);
  for (const fold of folds) {
    const [train, validation] = [take(data, fold.train), take(data, fold.validation)];
    for (const [i, value] of values.entries()) {
      const estimator = make(value);
      checkFunction(estimator, `${op}: the estimator for ${String(value)}`);
      const predict = await fitted(estimator, train, op);
      table.train[i].push(await scoreOf(predict, train, score, op));
      table.validation[i].push(await scoreOf(predict, validation, score, op));
    }
  }
  return { values: [...values], train: scores(table.train), validation: scores(table.validation) };
}

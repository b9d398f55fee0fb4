// Samples, estimators and losses, as the studies of this folder take them: nothing of a training loop.
import { describe } from "../check.js";
import { ShapeError, ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { indexSelect } from "../ops/indexing.js";
import { argmax } from "../ops/reduce.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import type { FitOptions, Model } from "../train/model.js";

/** Inputs or targets, the first dimension counts the samples: a tensor, or an array of anything. */
export type Values = Tensor | readonly unknown[];

/** Samples with their targets. */
export interface Samples<X extends Values = Values, Y extends Values = Values> {
  readonly x: X;
  readonly y: Y;
}

/** What a fitted model says of inputs: one prediction a row, numbers or scores [B, C]. */
export type Predict<X extends Values = Values> = (
  x: X,
) => Values | ArrayLike<number> | Promise<Values | ArrayLike<number>>;

/**
 * Anything that learns: takes training samples, fits a new model to them and returns how that predicts.
 *
 * @example
 * const line = (x, y) => {
 *   const model = new nn.Linear(1, 1);
 *   train(model, x, y);
 *   return (x) => noGrad(() => model.forward(x));
 * };
 */
export type Estimator<X extends Values = Values, Y extends Values = Values> = (
  x: X,
  y: Y,
) => Predict<X> | Promise<Predict<X>>;

/** How many samples there are; throws where inputs and targets disagree. */
export function countOf({ x, y }: Samples, op: string): number {
  for (const [name, value] of Object.entries({ x, y })) {
    if (!(value instanceof Tensor ? value.ndim > 0 : Array.isArray(value) || ArrayBuffer.isView(value))) {
      throw new ValueError(`${op}: ${name} is a tensor or an array of samples, got ${describe(value)}`);
    }
  }
  const [n, m] = [rows(x), rows(y)];
  if (n !== m || n === 0)
    throw new ShapeError(`${op}: one target a sample is needed, got ${n} samples and ${m} targets`);
  return n;
}

const rows = (values: Values): number => (values instanceof Tensor ? values.shape[0] : values.length);

/** The samples of these numbers, of the kind they were. */
export function take<X extends Values, Y extends Values>({ x, y }: Samples<X, Y>, indices: readonly number[]) {
  const of = <V extends Values>(values: V): V =>
    (values instanceof Tensor
      ? noGrad(() => indexSelect(values, 0, [...indices]))
      : indices.map((i) => values[i])) as unknown as V;
  return { x: of(x), y: of(y) };
}

/** One number a sample; scores [B, C] of several classes become the class of the highest. */
export async function numbersOf(values: Values | ArrayLike<number>, op: string, count: number): Promise<number[]> {
  let found: number[];
  if (values instanceof Tensor) {
    const one = values.ndim > 1 && values.numel > values.shape[0] ? noGrad(() => argmax(values.detach(), 1)) : values;
    if (one.numel !== count || (one.ndim > 0 && one.shape[0] !== count)) {
      throw new ShapeError(
        `${op}: ${count} values, or scores [${count}, classes], are needed, got ${show(values.shape)}`,
      );
    }
    found = Array.from(await one.detach().data(), Number);
  } else {
    if (typeof values?.length !== "number") throw new ValueError(`${op}: numbers are needed, got ${describe(values)}`);
    found = Array.from(values as ArrayLike<unknown>, (row) => {
      if (!Array.isArray(row)) return Number(row);
      return row.length === 1 ? Number(row[0]) : row.indexOf(Math.max(...row));
    });
  }
  if (found.length !== count) throw new ShapeError(`${op}: ${count} values are needed, got ${found.length}`);
  if (found.some(Number.isNaN)) throw new ValueError(`${op}: a value is not a number`);
  return found;
}

/** Calls an estimator and checks what it returns. */
export async function fitted<X extends Values, Y extends Values>(
  estimator: Estimator<X, Y>,
  { x, y }: Samples<X, Y>,
  op: string,
): Promise<Predict<X>> {
  const predict = await estimator(x, y);
  if (typeof predict !== "function") {
    throw new ValueError(
      `${op}: an estimator returns its predict function, (x) => predictions; got ${describe(predict)}`,
    );
  }
  return predict;
}

/**
 * An estimator of compiled models, for `learningCurve`, `validationCurve` and `biasVariance`.
 *
 * @example
 * const curve = await learningCurve(estimatorOf(makeModel, { epochs: 20 }), { x, y }, { score: "accuracy" });
 *
 * @param make makes a new, compiled model each time
 * @param options of its `fit`; nothing is printed unless `verbose` says so
 */
export function estimatorOf(make: () => Model, options: FitOptions = {}): Estimator<Tensor, Tensor> {
  return async (x, y) => {
    const model = make();
    await model.fit(x, y, { verbose: 0, ...options });
    return (inputs) => model.predict(inputs);
  };
}

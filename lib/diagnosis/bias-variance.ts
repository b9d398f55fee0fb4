// Where the error of a learner comes from: bias, variance, noise.
import { checkFunction, checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { randint } from "../ops/random.js";
import { Generator } from "../tensor/random.js";
import { Tensor } from "../tensor/tensor.js";
import { countOf, type Estimator, fitted, numbersOf, type Samples, take, type Values } from "./samples.js";
import { mean } from "./trend.js";

export interface BiasVarianceOptions<X extends Values = Values, Y extends Values = Values> {
  /** Fits a new model to training samples and returns its predict function. */
  fit: Estimator<X, Y>;
  /** Training samples of each draw, from a known source; `draw` counts from 0 and may serve as a seed. */
  sample?: (draw: number) => Samples<X, Y> | Promise<Samples<X, Y>>;
  /** Or: samples from which each draw takes as many with replacement. */
  bootstrap?: Samples<X, Y>;
  /**
   * Where to look: inputs, and targets `y`: one set of them, or several sets drawn anew at the same inputs, which is
   * what shows the noise. With one set the noise counts as bias; with the true values it is absent.
   */
  test: { x: X; y: Y | readonly Y[] };
  /** Training sets. Default 100. */
  draws?: number;
  /** `"squared"` for numbers (default), `"zeroOne"` for classes. */
  loss?: "squared" | "zeroOne";
  /** Of the bootstrap. Default 0. */
  seed?: number;
}

/** Parts of an expected loss: total = bias2 + netVariance + netNoise. */
export interface Parts {
  /** Squared loss of the main prediction against the best one; with zero-one loss the bias, 0 or 1. */
  readonly bias2: number;
  /** Mean loss of the predictions against the main one. */
  readonly variance: number;
  /** Mean loss of the best prediction against the targets. */
  readonly noise: number;
  /** Mean loss of all predictions against all targets. */
  readonly total: number;
  /** What variance and noise add to the total: themselves with squared loss, c2·variance and c1·noise with zero-one. */
  readonly netVariance: number;
  readonly netNoise: number;
}

export interface PointParts extends Parts {
  /** Mean of the predictions, or with zero-one loss the most frequent class. */
  readonly main: number;
  /** The same of the targets: no prediction is better. */
  readonly optimal: number;
}

export interface BiasVariance extends Parts {
  /** One for each test input; the parts above are their means. */
  readonly points: readonly PointParts[];
}

const KNOWN = ["fit", "sample", "bootstrap", "test", "draws", "loss", "seed"];

/**
 * Decomposes the expected loss of a learner over many training sets into bias, variance and noise, exactly: the parts add
 * up to the measured total at each point.
 *
 * - `"squared"`: total = bias² + variance + noise (Geman, Bienenstock and Doursat 1992).
 * - `"zeroOne"`: total = bias + c2·variance + c1·noise (Domingos 2000, theorems 1 to 3): variance helps where the main
 *   prediction is wrong (c2 < 0).
 *
 * A large bias asks for a larger model or better inputs, a large variance for more data, a smaller model or
 * regularization; noise cannot be helped.
 *
 * @example
 * const parts = await biasVariance({
 *   fit: (x, y) => fitPolynomial(3, x, y),
 *   sample: (draw) => makeSamples(20, draw),
 *   test: { x: inputs, y: [targets1, targets2, targets3] },
 *   draws: 200,
 * });
 * console.log(parts.bias2, parts.variance, parts.noise);
 */
export async function biasVariance<X extends Values, Y extends Values>(
  options: BiasVarianceOptions<X, Y>,
): Promise<BiasVariance> {
  const op = "biasVariance";
  checkOptions(options, KNOWN, op);
  const { fit, sample, bootstrap, test, draws = 100, loss = "squared", seed = 0 } = options;
  checkFunction(fit, `${op}: fit`);
  if ((sample === undefined) === (bootstrap === undefined)) {
    throw new ValueError(`${op}: training sets come either from sample(draw) or from bootstrap: { x, y }`);
  }
  if (!Number.isInteger(draws) || draws < 2) {
    throw new ValueError(`${op}: draws is an integer ≥ 2, got ${describe(draws)}`);
  }
  if (loss !== "squared" && loss !== "zeroOne") {
    throw new ValueError(`${op}: loss is "squared" or "zeroOne", got ${describe(loss)}`);
  }
  const sets = await targetSets(test, op);
  const n = sets[0].length;

  const predictions: number[][] = [];
  for (let draw = 0; draw < draws; draw++) {
    const samples = sample ? await sample(draw) : resampled(bootstrap as Samples<X, Y>, new Generator(seed + draw), op);
    countOf(samples, op);
    const predict = await fitted(fit, samples, op);
    const numbers = await numbersOf(await predict(test.x), `${op}: predictions`, n);
    predictions.push(loss === "zeroOne" ? numbers.map(Math.round) : numbers); // a probability is the nearer class
  }
  const decompose = loss === "squared" ? squared : zeroOne;
  const points = Array.from({ length: n }, (_, i) =>
    decompose(
      predictions.map((p) => p[i]),
      sets.map((t) => t[i]),
    ),
  );
  const over = (key: keyof Parts): number => mean(points.map((p) => p[key]));
  return {
    bias2: over("bias2"),
    variance: over("variance"),
    noise: over("noise"),
    total: over("total"),
    netVariance: over("netVariance"),
    netNoise: over("netNoise"),
    points,
  };
}

/** The sets of targets at the test inputs, as numbers. */
async function targetSets(test: { x: Values; y: Values | readonly Values[] }, op: string): Promise<number[][]> {
  if (typeof test !== "object" || test === null) throw new ValueError(`${op}: test is { x, y }, got ${describe(test)}`);
  const { x, y } = test;
  const several = Array.isArray(y) && (y[0] instanceof Tensor || Array.isArray(y[0]) || ArrayBuffer.isView(y[0]));
  // Rows of one number each, [[1], [2]], are one set of targets: as many as there are inputs.
  const count = x instanceof Tensor ? x.shape[0] : x.length;
  const sets = several && !(y.length === count && (y[0] as ArrayLike<number>).length === 1) ? (y as Values[]) : [y];
  return Promise.all(
    sets.map(async (set) => numbersOf(set as Values, `${op}: targets`, countOf({ x, y: set as Values }, op))),
  );
}

function resampled<X extends Values, Y extends Values>(samples: Samples<X, Y>, generator: Generator, op: string) {
  const n = countOf(samples, op);
  const chosen = randint(0, n, [n], { device: "js", generator }).dataSync() as BigInt64Array;
  return take(samples, Array.from(chosen, Number));
}

function squared(predictions: readonly number[], targets: readonly number[]): PointParts {
  const [main, optimal] = [mean(predictions), mean(targets)];
  const variance = mean(predictions.map((p) => (p - main) ** 2));
  const noise = mean(targets.map((t) => (t - optimal) ** 2));
  const total = mean(predictions.map((p) => mean(targets.map((t) => (p - t) ** 2))));
  return {
    main,
    optimal,
    bias2: (main - optimal) ** 2,
    variance,
    noise,
    total,
    netVariance: variance,
    netNoise: noise,
  };
}

function zeroOne(predictions: readonly number[], targets: readonly number[]): PointParts {
  const [main, optimal] = [mostFrequent(predictions), mostFrequent(targets)];
  const share = (list: readonly number[], of: (v: number) => boolean): number => list.filter(of).length / list.length;
  const variance = share(predictions, (p) => p !== main);
  const noise = share(targets, (t) => t !== optimal);
  const right = share(predictions, (p) => p === optimal);
  const bias2 = main === optimal ? 0 : 1;
  // c2: P(p = optimal | p ≠ main) of the predictions that vary correct a wrong main prediction.
  const c2 = bias2 === 0 ? 1 : variance > 0 ? -right / variance : 0;
  // c1: noise hurts right predictions, and makes some of the wrong ones right.
  const wrong = predictions.filter((p) => p !== optimal);
  const noisy = targets.filter((t) => t !== optimal);
  const lucky = wrong.length && noisy.length ? mean(wrong.map((p) => share(noisy, (t) => t === p))) : 0;
  const c1 = right - (1 - right) * lucky;
  const total = mean(predictions.map((p) => share(targets, (t) => t !== p)));
  return { main, optimal, bias2, variance, noise, total, netVariance: c2 * variance, netNoise: c1 * noise };
}

/** Of equally frequent values the smallest. */
function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const v of values) counts.set(v, (counts.get(v) ?? 0) + 1);
  return [...counts].sort(([a, m], [b, n]) => n - m || a - b)[0][0];
}

// Random tensors, samples from distributions, and dropout. Each operation takes its blocks of random bits from the
// generator when it runs, in a captured program at every replay.
import { checkOptions } from "../check.js";
import { defaultDevice } from "../device/registry.js";
import { DTypeError, ShapeError, ValueError } from "../errors.js";
import { drawn } from "../graph/checkpoint.js";
import { modes, noGrad } from "../graph/modes.js";
import type { TensorOptions } from "../tensor/create.js";
import { checkDType, type DType, dtypeFacts, isFloat, resultType } from "../tensor/dtype.js";
import { defaultGenerator, type Generator } from "../tensor/random.js";
import { broadcastShapes, checkShape, type Shape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import {
  checkFloat,
  checkTensor,
  deviceOf,
  emit,
  empty,
  type Input,
  installMethods,
  type MethodsOf,
  Scalar,
} from "./define.js";
import { add, add_, div, ge, log1p, lt, mul, mul_, neg, where } from "./elementwise.js";
import { searchsorted } from "./indexing.js";
import { checkWritable, recordInPlace, written } from "./inplace.js";
import { narrow } from "./movement.js";
import { cast, copyInto, type PointwiseDef, pointwise } from "./pointwise.js";
import { cumsum } from "./scan.js";
import { argsort } from "./sort.js";

export interface RandomOptions extends TensorOptions {
  /** Where the numbers come from. Default: the generator that `manualSeed` seeds. */
  generator?: Generator;
}

type Drawn = "uniform" | "normal" | "randint";

/** A number of this call; in a captured program of each replay. */
const numberNow = (read: () => number): Scalar => new Scalar(modes.capture ? read : read());

/** Runs a random kernel on a tensor that exists. */
function draw(kernel: Drawn, out: Tensor, more: readonly Input[], generator: Generator = defaultGenerator): void {
  const perBlock = kernel === "uniform" && out.dtype !== "float64" ? 4 : 2;
  const blocks = Math.ceil(out.numel / perBlock);
  const [seed, offset] = drawn(() => [numberNow(() => generator.seed), numberNow(() => generator.take(blocks))]);
  emit(out.storage.device, kernel, [], [out], [seed, offset, ...more], 4 * out.numel);
}

function fresh(kernel: Drawn, shape: Shape, options: RandomOptions, op: string): Tensor {
  checkOptions(options, ["dtype", "device", "requiresGrad", "generator"], op);
  const dtype = options.dtype === undefined ? "float32" : checkDType(options.dtype, op);
  if (!isFloat(dtype))
    throw new DTypeError(`${op}: a floating point dtype is needed, got ${dtype}; for integers use randint`);
  const out = empty(checkShape(shape, op), dtype, deviceOf(options.device, defaultDevice), op);
  draw(kernel, out, [], options.generator);
  return options.requiresGrad ? out.requireGrad() : out;
}

const asLike = (x: Tensor, options: RandomOptions = {}): RandomOptions => ({
  dtype: x.dtype,
  device: x.device,
  ...options,
});

/** Numbers uniform in [0, 1). */
export const rand = (shape: Shape, options: RandomOptions = {}): Tensor => fresh("uniform", shape, options, "rand");
/** Numbers from the standard normal distribution. */
export const randn = (shape: Shape, options: RandomOptions = {}): Tensor => fresh("normal", shape, options, "randn");
/** `rand` of another tensor's shape, dtype and device. */
export const randLike = (x: Tensor, options?: RandomOptions): Tensor => rand(x.shape, asLike(x, options));
/** `randn` of another tensor's shape, dtype and device. */
export const randnLike = (x: Tensor, options?: RandomOptions): Tensor => randn(x.shape, asLike(x, options));

const intRange: Partial<Record<DType, readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31],
  uint8: [0, 256],
  bool: [0, 2],
};

/**
 * Integers uniform in [low, high); int64 unless another dtype is given.
 *
 * @example
 * randint(10, [3]); // three digits
 * randint(1, 7, [2], { dtype: "int32" }); // two dice
 */
export function randint(high: number, shape: Shape, options?: RandomOptions): Tensor;
export function randint(low: number, high: number, shape: Shape, options?: RandomOptions): Tensor;
export function randint(...args: unknown[]): Tensor {
  const short = typeof args[1] === "object";
  const [low, high, shape] = (short ? [0, args[0], args[1]] : args) as [number, number, Shape];
  const options = ((short ? args[2] : args[3]) ?? {}) as RandomOptions;
  const dtype = options.dtype === undefined ? "int64" : checkDType(options.dtype, "randint");
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low >= high) {
    throw new ValueError(`randint: low ${low} and high ${high} must be integers, low < high`);
  }
  const [min, max] = intRange[dtype] ?? [-(2 ** 53), 2 ** 53];
  if (low < min || high > max) throw new ValueError(`randint: [${low}, ${high}) does not fit dtype ${dtype}`);
  const whole = dtypeFacts[dtype].kind === "int" ? dtype : "int64";
  const out = empty(checkShape(shape, "randint"), whole, deviceOf(options.device, defaultDevice), "randint");
  draw("randint", out, [new Scalar(low), new Scalar(high)], options.generator);
  const result = cast(out, dtype);
  return options.requiresGrad ? result.requireGrad() : result;
}

/** `randint` of another tensor's shape, dtype and device. */
export const randintLike = (x: Tensor, low: number, high: number, options?: RandomOptions): Tensor =>
  randint(low, high, x.shape, asLike(x, options));

/** The integers 0 … n − 1 in random order, int64 unless another dtype is given. */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  if (!Number.isInteger(n) || n < 0) throw new ValueError(`randperm: n must be an integer ≥ 0, got ${n}`);
  const dtype = options.dtype === undefined ? "int64" : checkDType(options.dtype, "randperm");
  return cast(argsort(rand([n], { device: options.device, generator: options.generator, dtype: "float64" })), dtype);
}

// ---- distributions

function checkNumber(value: number, op: string, what: string, least = Number.NEGATIVE_INFINITY): void {
  if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
    throw new ValueError(`${op}: ${what} must be a finite number${least === 0 ? " ≥ 0" : ""}, got ${String(value)}`);
  }
}

function checkInterval(low: number, high: number, op: string): void {
  checkNumber(low, op, "low");
  checkNumber(high, op, "high");
  if (low > high) throw new ValueError(`${op}: low ${low} is larger than high ${high}`);
}

/** Numbers uniform between `low` and `high`. */
export function uniform(low: number, high: number, shape: Shape, options: RandomOptions = {}): Tensor {
  checkInterval(low, high, "uniform");
  return scaled(fresh("uniform", shape, { ...options, requiresGrad: false }, "uniform"), high - low, low, options);
}

/**
 * Numbers from the normal distribution. Where `mean` or `std` is a tensor they are broadcast together and `shape` is
 * absent; gradients flow to them.
 *
 * @throws ValueError for a negative or NaN `std`.
 */
export function normal(
  mean: number | Tensor,
  std: number | Tensor,
  shape?: Shape,
  options: RandomOptions = {},
): Tensor {
  if (typeof mean === "number") checkNumber(mean, "normal", "mean");
  if (typeof std === "number") checkNumber(std, "normal", "std", 0);
  if (typeof mean === "number" && typeof std === "number") {
    if (!shape) throw new ShapeError("normal: a shape is needed when mean and std are numbers");
    return scaled(fresh("normal", shape, { ...options, requiresGrad: false }, "normal"), std, mean, options);
  }
  if (typeof std !== "number")
    checkValues(
      std,
      (v) => v >= 0,
      (v) => `normal: std must be ≥ 0, got ${v}`,
    );
  const shapeOf = (x: number | Tensor): Shape => (typeof x === "number" ? [] : x.shape);
  const like = typeof mean === "number" ? (std as Tensor) : mean;
  const drawn = randn(broadcastShapes(shapeOf(mean), shapeOf(std), "normal"), {
    ...{ dtype: resultType([mean, std]), device: like.device },
    ...options,
  });
  return add(mean, mul(drawn, std));
}

/** Numbers from the exponential distribution of the given rate. */
export function exponential(rate: number, shape: Shape, options: RandomOptions = {}): Tensor {
  checkRate(rate, "exponential");
  const u = fresh("uniform", shape, { ...options, requiresGrad: false }, "exponential");
  const out = toExponential(u, rate);
  return options.requiresGrad ? out.requireGrad() : out;
}

function checkRate(rate: number, op: string): void {
  checkNumber(rate, op, "the rate", 0);
  if (rate === 0) throw new ValueError(`${op}: the rate must be > 0`);
}

/** The inverse of the exponential distribution function. */
const toExponential = (u: Tensor, rate: number): Tensor => mul(log1p(neg(u)), -1 / rate);

function scaled(x: Tensor, scale: number, shift: number, options: RandomOptions): Tensor {
  if (scale !== 1) mul_(x, scale);
  if (shift !== 0) add_(x, shift);
  return options.requiresGrad ? x.requireGrad() : x;
}

function checkProbability(p: number, op: string): void {
  if (typeof p !== "number" || !(p >= 0 && p <= 1))
    throw new ValueError(`${op}: p must be a probability in [0, 1], got ${String(p)}`);
}

/** Checks values of a tensor on the host; a captured function runs without this check. */
function checkValues(x: Tensor, ok: (v: number) => boolean, message: (v: number) => string): void {
  if (modes.capture) return;
  const bad = Array.from(cast(x.detach(), "float64").dataSync() as Float64Array).find((v) => !ok(v));
  if (bad !== undefined) throw new ValueError(message(bad));
}

/**
 * 1 with the probability that the element of `p` gives, else 0; of p's shape and dtype. No gradient.
 *
 * @throws ValueError for elements outside [0, 1] and NaN (which are read from the device, unless captured).
 */
export function bernoulli(p: Tensor, options: { generator?: Generator } = {}): Tensor {
  checkFloat(checkTensor(p, "bernoulli"), "bernoulli");
  checkValues(
    p,
    (v) => v >= 0 && v <= 1,
    (v) => `bernoulli: probabilities must lie in [0, 1], got ${v}`,
  );
  return cast(lt(randLike(p, options), p), p.dtype);
}

/**
 * `count` positions drawn from a row of weights (which need not sum to 1), or from each row of a matrix: int64. Without
 * `replacement` no position comes twice.
 *
 * @throws ValueError for weights that are negative, NaN or infinite, rows without weight, and more draws without
 *   replacement than there are positive weights (the weights are read from the device, unless captured).
 */
export function multinomial(
  weights: Tensor,
  count: number,
  { replacement = false, generator }: { replacement?: boolean; generator?: Generator } = {},
): Tensor {
  checkFloat(checkTensor(weights, "multinomial"), "multinomial");
  if (weights.ndim < 1 || weights.ndim > 2) {
    throw new ShapeError(`multinomial: weights must be a vector or a matrix, got ${show(weights.shape)}`);
  }
  const n = weights.shape[weights.ndim - 1];
  if (!Number.isInteger(count) || count < 1 || n === 0 || (!replacement && count > n)) {
    throw new ValueError(
      `multinomial: ${count} draws ${replacement ? "with" : "without"} replacement from ${n} weights`,
    );
  }
  return noGrad(() => {
    const w = cast(weights.detach(), "float64");
    checkValues(
      w,
      (v) => v >= 0 && v < Number.POSITIVE_INFINITY,
      (v) => `multinomial: weights must be finite and ≥ 0, got ${v}`,
    );
    if (!modes.capture) checkRows(w, n, replacement ? 1 : count);
    const rows = weights.shape.slice(0, -1);
    const options = { dtype: "float64", device: weights.device, generator } as const;
    if (replacement) {
      const sums = cumsum(w, -1);
      const total = narrow(sums, -1, n - 1, 1);
      return searchsorted(sums, mul(rand([...rows, count], options), total), { right: true });
    }
    // The first `count` arrivals of a race of exponential clocks, of which clock i has rate wᵢ.
    const arrivals = div(toExponential(rand(w.shape, options), 1), w);
    return narrow(argsort(arrivals), -1, 0, count);
  });
}

function checkRows(w: Tensor, n: number, needed: number): void {
  const values = w.dataSync() as Float64Array;
  for (let row = 0; row * n < values.length; row++) {
    const positive = values.subarray(row * n, (row + 1) * n).reduce((k, v) => k + (v > 0 ? 1 : 0), 0);
    if (positive < needed) {
      throw new ValueError(`multinomial: ${needed} draws need as many positive weights; row ${row} has ${positive}`);
    }
  }
}

// ---- in place

/** Overwrites x with random numbers; its history ends here. */
function refill(x: Tensor, name: string, fill: () => void): Tensor {
  checkTensor(x, name);
  checkWritable(x, x.shape, x.dtype, name);
  noGrad(fill);
  written(x, name);
  recordInPlace({ name, grad: () => [null] }, x, [x], [], null);
  return x;
}

/** Overwrites x with numbers uniform between `low` and `high`. */
export function uniform_(x: Tensor, low = 0, high = 1, options: { generator?: Generator } = {}): Tensor {
  checkInterval(low, high, "uniform_");
  checkFloat(checkTensor(x, "uniform_"), "uniform_");
  return refill(x, "uniform_", () => {
    draw("uniform", x, [], options.generator);
    scaled(x, high - low, low, {});
  });
}

/** Overwrites x with numbers from a normal distribution. */
export function normal_(x: Tensor, mean = 0, std = 1, options: { generator?: Generator } = {}): Tensor {
  checkNumber(mean, "normal_", "mean");
  checkNumber(std, "normal_", "std", 0);
  checkFloat(checkTensor(x, "normal_"), "normal_");
  return refill(x, "normal_", () => {
    draw("normal", x, [], options.generator);
    scaled(x, std, mean, {});
  });
}

/** Overwrites x with numbers from an exponential distribution. */
export function exponential_(x: Tensor, rate = 1, options: { generator?: Generator } = {}): Tensor {
  checkRate(rate, "exponential_");
  checkFloat(checkTensor(x, "exponential_"), "exponential_");
  return refill(x, "exponential_", () => copyInto(x, toExponential(randLike(x, options), rate)));
}

/** Overwrites x with 1 (with probability p) and 0. */
export function bernoulli_(x: Tensor, p = 0.5, options: { generator?: Generator } = {}): Tensor {
  checkProbability(p, "bernoulli_");
  return refill(x, "bernoulli_", () => copyInto(x, lt(rand(x.shape, { device: x.device, ...options }), p)));
}

// ---- dropout

const maskDef: PointwiseDef = {
  name: "dropout",
  condition: true,
  saves: { inputs: [0] },
  grad: (g, { inputs: [kept, , scale] }) => [null, pointwise(maskDef, [kept, g, scale])],
  compose: (kept, x, scale) => mul(x, mul(kept, scale)),
};

function checkDropout(x: Tensor, p: number, op: string): void {
  checkProbability(p, op);
  checkFloat(checkTensor(x, op), op);
}

/** A bool mask of `shape`, false with probability p. */
const keep = (x: Tensor, shape: Shape, p: number, generator?: Generator): Tensor =>
  noGrad(() => ge(rand(shape, { device: x.device, generator }), p));

/**
 * While `training`, zeroes each element with probability p and multiplies the others by 1 / (1 − p) (Srivastava et
 * al. 2014); otherwise x itself.
 */
export function dropout(x: Tensor, p = 0.5, training = true, options: { generator?: Generator } = {}): Tensor {
  checkDropout(x, p, "dropout");
  return training && p > 0 ? drop(x, x.shape, p, options) : x;
}

const drop = (x: Tensor, shape: Shape, p: number, { generator }: { generator?: Generator }): Tensor =>
  p === 1 ? mul(x, 0) : pointwise(maskDef, [keep(x, shape, p, generator), x, new Scalar(1 / (1 - p))]);

function dropChannels(dims: number, op: string) {
  return (x: Tensor, p = 0.5, training = true, options: { generator?: Generator } = {}): Tensor => {
    checkDropout(x, p, op);
    if (x.ndim !== dims && x.ndim !== dims - 1) {
      throw new ShapeError(
        `${op}: ${dims} dimensions (or ${dims - 1} without a batch) are needed, got ${show(x.shape)}`,
      );
    }
    const channels = x.ndim === dims ? 2 : 1;
    const shape = x.shape.map((n, i) => (i < channels ? n : 1));
    return training && p > 0 ? drop(x, shape, p, options) : x;
  };
}

/** `dropout` of whole channels: N×C×L or C×L. */
export const dropout1d = dropChannels(3, "dropout1d");
/** `dropout` of whole channels: N×C×H×W or C×H×W. */
export const dropout2d = dropChannels(4, "dropout2d");

/** What SELU tends to for −∞: −scale · alpha. */
const SELU_MINIMUM = -1.7580993408473766;

/**
 * Dropout that keeps mean and variance after SELU: dropped elements become SELU's minimum, and the result is scaled and
 * shifted (Klambauer et al. 2017, section 2).
 */
export function alphaDropout(x: Tensor, p = 0.5, training = true, options: { generator?: Generator } = {}): Tensor {
  checkDropout(x, p, "alphaDropout");
  if (!training || p === 0) return x;
  if (p === 1) return mul(x, 0);
  const scale = 1 / Math.sqrt((1 - p) * (1 + p * SELU_MINIMUM ** 2));
  const kept = keep(x, x.shape, p, options.generator);
  const filled = where(kept, x, SELU_MINIMUM);
  return add(mul(filled, scale), -scale * p * SELU_MINIMUM);
}

const methods = { bernoulli, multinomial, uniform_, normal_, exponential_, bernoulli_ };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

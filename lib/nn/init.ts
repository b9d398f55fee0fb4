// Initial values of parameters (`torch.nn.init`). Every function overwrites its tensor in place, records no gradient, and
// returns the tensor.
import { ShapeError, ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { fill_ } from "../ops/convert.js";
import { checkTensor } from "../ops/define.js";
import { copy_ } from "../ops/pointwise.js";
import { normal_ as drawNormal, uniform_ as drawUniform, rand, randn } from "../ops/random.js";
import { eye, tensor } from "../tensor/create.js";
import type { Generator } from "../tensor/random.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";

/** Where the random numbers come from. */
export interface InitOptions {
  /** Default: the generator that `manualSeed` seeds. */
  generator?: Generator;
}

/** Activations with a recommended gain. */
export type Nonlinearity = "linear" | "conv1d" | "conv2d" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";

const gains: Record<Nonlinearity, (slope: number) => number> = {
  linear: () => 1,
  conv1d: () => 1,
  conv2d: () => 1,
  sigmoid: () => 1,
  tanh: () => 5 / 3,
  relu: () => Math.SQRT2,
  leakyRelu: (slope) => Math.sqrt(2 / (1 + slope ** 2)),
  selu: () => 3 / 4,
};

/**
 * By how much an activation shrinks the spread of its inputs, which the initial weights make up for.
 *
 * @param param the negative slope of `"leakyRelu"`, default 0.01
 */
export function calculateGain(nonlinearity: Nonlinearity, param = 0.01): number {
  const gain = gains[nonlinearity];
  if (!gain) {
    throw new ValueError(
      `calculateGain: unknown nonlinearity "${String(nonlinearity)}"; known are ${Object.keys(gains).join(", ")}`,
    );
  }
  return gain(param);
}

/** Inputs and outputs of one unit: of a weight [out, in, …kernel], multiplied by the size of the kernel. */
function fans(x: Tensor, op: string): { fanIn: number; fanOut: number } {
  checkTensor(x, op);
  if (x.ndim < 2) {
    throw new ShapeError(`${op}: fan-in and fan-out need a tensor of at least 2 dimensions, got ${show(x.shape)}`);
  }
  const kernel = x.shape.slice(2).reduce((a, b) => a * b, 1);
  return { fanIn: x.shape[1] * kernel, fanOut: x.shape[0] * kernel };
}

const write = (x: Tensor, fn: () => Tensor): Tensor => {
  noGrad(fn);
  return x;
};

/** Uniform in [low, high). */
export const uniform_ = (x: Tensor, low = 0, high = 1, options: InitOptions = {}): Tensor =>
  write(x, () => drawUniform(x, low, high, options));

/** Normal with the given mean and standard deviation. */
export const normal_ = (x: Tensor, mean = 0, std = 1, options: InitOptions = {}): Tensor =>
  write(x, () => drawNormal(x, mean, std, options));

/** Normal, drawn again where it falls outside [low, high] (by the inverse of the distribution function). */
export function truncNormal_(x: Tensor, mean = 0, std = 1, low = -2, high = 2, options: InitOptions = {}): Tensor {
  checkTensor(x, "truncNormal_");
  if (!(std > 0) || !(low < high)) {
    throw new ValueError(`truncNormal_: std must be > 0 and low < high, got std=${std}, low=${low}, high=${high}`);
  }
  const [from, to] = [low, high].map((v) => erf((v - mean) / (std * Math.SQRT2)));
  const u = rand(x.shape, { dtype: "float64", device: x.device, ...options });
  const values = Array.from(u.dataSync() as Float64Array, (v) => {
    const drawn = mean + std * Math.SQRT2 * erfInverse(from + (to - from) * v);
    return Math.min(high, Math.max(low, drawn));
  });
  return write(x, () => copy_(x, tensor(values, { dtype: "float64", device: x.device }).reshape(x.shape)));
}

/** One value everywhere. */
export const constant_ = (x: Tensor, value: number): Tensor => write(x, () => fill_(x, value));
export const ones_ = (x: Tensor): Tensor => constant_(x, 1);
export const zeros_ = (x: Tensor): Tensor => constant_(x, 0);

/** The identity matrix. */
export function eye_(x: Tensor): Tensor {
  if (checkTensor(x, "eye_").ndim !== 2) throw new ShapeError(`eye_: a matrix is needed, got ${show(x.shape)}`);
  return write(x, () => copy_(x, eye(x.shape[0], x.shape[1], { dtype: x.dtype, device: x.device })));
}

/** A convolution's weight that passes its input on: the identity in the middle of the kernel. */
export function dirac_(x: Tensor, groups = 1): Tensor {
  checkTensor(x, "dirac_");
  if (x.ndim < 3 || x.shape[0] % groups !== 0) {
    throw new ShapeError(
      `dirac_: a convolution's weight [out, in, …kernel] with out divisible by groups=${groups} is needed, got ${show(x.shape)}`,
    );
  }
  const values = new Float64Array(x.numel);
  const kernel = x.shape.slice(2);
  const area = kernel.reduce((a, b) => a * b, 1);
  const middle = kernel.reduce((at, k) => at * k + Math.floor(k / 2), 0);
  const perGroup = x.shape[0] / groups;
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < Math.min(perGroup, x.shape[1]); i++) {
      values[((g * perGroup + i) * x.shape[1] + i) * area + middle] = 1;
    }
  }
  return write(x, () => copy_(x, tensor(values, { device: x.device }).reshape(x.shape)));
}

/** Uniform in ±gain·√(6 / (fanIn + fanOut)). Glorot and Bengio 2010. */
export function xavierUniform_(x: Tensor, gain = 1, options: InitOptions = {}): Tensor {
  const { fanIn, fanOut } = fans(x, "xavierUniform_");
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform_(x, -bound, bound, options);
}

/** Normal with standard deviation gain·√(2 / (fanIn + fanOut)). Glorot and Bengio 2010. */
export function xavierNormal_(x: Tensor, gain = 1, options: InitOptions = {}): Tensor {
  const { fanIn, fanOut } = fans(x, "xavierNormal_");
  return normal_(x, 0, gain * Math.sqrt(2 / (fanIn + fanOut)), options);
}

export interface KaimingOptions extends InitOptions {
  /** Negative slope of the activation that follows, with `"leakyRelu"`. Default 0. */
  a?: number;
  /** Keep the spread of the values (fanIn, the default) or of the gradients (fanOut). */
  mode?: "fanIn" | "fanOut";
  /** Default `"leakyRelu"`. */
  nonlinearity?: Nonlinearity;
}

function kaimingStd(x: Tensor, { a = 0, mode = "fanIn", nonlinearity = "leakyRelu" }: KaimingOptions, op: string) {
  if (mode !== "fanIn" && mode !== "fanOut") {
    throw new ValueError(`${op}: mode must be "fanIn" or "fanOut", got "${String(mode)}"`);
  }
  return calculateGain(nonlinearity, a) / Math.sqrt(fans(x, op)[mode]);
}

/** Uniform in ±gain·√(3 / fan). He et al. 2015. */
export function kaimingUniform_(x: Tensor, options: KaimingOptions = {}): Tensor {
  const bound = Math.sqrt(3) * kaimingStd(x, options, "kaimingUniform_");
  return uniform_(x, -bound, bound, { generator: options.generator });
}

/** Normal with standard deviation gain / √fan. He et al. 2015. */
export const kaimingNormal_ = (x: Tensor, options: KaimingOptions = {}): Tensor =>
  normal_(x, 0, kaimingStd(x, options, "kaimingNormal_"), { generator: options.generator });

/**
 * A (semi-)orthogonal matrix, times `gain`: rows or columns, whichever are fewer, are orthonormal; further dimensions
 * count as columns. Saxe et al. 2014. By modified Gram–Schmidt in float64, twice, of normal numbers.
 */
export function orthogonal_(x: Tensor, gain = 1, options: InitOptions = {}): Tensor {
  checkTensor(x, "orthogonal_");
  if (x.ndim < 2)
    throw new ShapeError(`orthogonal_: a tensor of at least 2 dimensions is needed, got ${show(x.shape)}`);
  const rows = x.shape[0];
  const cols = x.numel / rows;
  const [count, length] = rows <= cols ? [rows, cols] : [cols, rows];
  const drawn = randn([count, length], { dtype: "float64", device: x.device, ...options }).dataSync() as Float64Array;
  const vectors = Array.from({ length: count }, (_, i) => drawn.slice(i * length, (i + 1) * length));
  const dot = (a: Float64Array, b: Float64Array): number => a.reduce((s, v, i) => s + v * b[i], 0);
  vectors.forEach((v, i) => {
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const part = dot(v, vectors[j]);
        for (let k = 0; k < length; k++) v[k] -= part * vectors[j][k];
      }
    }
    const norm = Math.sqrt(dot(v, v));
    for (let k = 0; k < length; k++) v[k] /= norm;
  });
  const values = new Float64Array(x.numel);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) values[r * cols + c] = gain * (rows <= cols ? vectors[r][c] : vectors[c][r]);
  }
  return write(x, () => copy_(x, tensor(values, { device: x.device }).reshape(x.shape)));
}

/** Normal, with a share of each column set to zero. Martens 2010. */
export function sparse_(x: Tensor, sparsity: number, std = 0.01, options: InitOptions = {}): Tensor {
  if (checkTensor(x, "sparse_").ndim !== 2) throw new ShapeError(`sparse_: a matrix is needed, got ${show(x.shape)}`);
  if (!(sparsity >= 0 && sparsity <= 1)) throw new ValueError(`sparse_: sparsity must lie in [0, 1], got ${sparsity}`);
  const [rows, cols] = x.shape;
  const none = Math.ceil(sparsity * rows);
  const order = rand([rows, cols], { device: x.device, ...options }).toArray() as number[][];
  normal_(x, 0, std, options);
  const rank = (c: number): number[] => order.map((_, r) => r).sort((p, q) => order[p][c] - order[q][c]);
  const keep = new Float64Array(x.numel).fill(1);
  for (let c = 0; c < cols; c++) for (const r of rank(c).slice(0, none)) keep[r * cols + c] = 0;
  return write(x, () => copy_(x, x.mul(tensor(keep, { device: x.device }).reshape(x.shape))));
}

/** Abramowitz and Stegun 7.1.5 and 7.1.14: the series near 0, the continued fraction beyond. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -(a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + fraction) * Math.sqrt(Math.PI)));
}

/** Newton's method on erf from Winitzki's approximation (2008). */
function erfInverse(y: number): number {
  if (Math.abs(y) >= 1) return y * Number.POSITIVE_INFINITY;
  const l = Math.log(1 - y * y);
  const b = 2 / (Math.PI * 0.147) + l / 2;
  let x = Math.sign(y) * Math.sqrt(Math.sqrt(b * b - l / 0.147) - b);
  for (let i = 0; i < 3; i++) x -= (erf(x) - y) / ((2 / Math.sqrt(Math.PI)) * Math.exp(-x * x));
  return x;
}

// Normalisation: of layers, batches, groups and vectors; distances of vectors.
import { ShapeError, ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { normalizeAxis, numelOf, type Shape, sameShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { widened } from "./autocast.js";
import {
  apply,
  apply1,
  checkFloat,
  checkTensor,
  installMethods,
  type MethodsOf,
  type OpDef,
  Scalar,
} from "./define.js";
import { add, clamp, div, lerp_, maximum, mul, neg, rsqrt, square, sub } from "./elementwise.js";
import { reshape, unsqueeze } from "./movement.js";
import { type PointwiseDef, pointwise } from "./pointwise.js";
import { mean, sum } from "./reduce.js";
import { norm } from "./statistics.js";

// ---- the kernels, on x [A, R, C] over A and C: rows of samples where A is 1, channels of a batch

const OVER = [0, 2];
const average = (x: Tensor): Tensor => mean(x, OVER, true);

/** dx = rstd·(dy − mean(dy) − x̂·mean(dy·x̂)), linear and self-adjoint in dy. */
const normalizeGradDef: OpDef<null> = {
  name: "normalizeGrad",
  saves: { inputs: [0, 1, 2], outputs: [0] },
  grad: ([u], { inputs: [dy, xhat, rstd], outputs: [dx], needs }) => {
    const scale = needs[1] ? unsqueeze(rstd, -1) : rstd;
    return [
      needs[0] ? normalizeGrad(u!, xhat, rstd) : null,
      needs[1] ? neg(mul(scale, add(mul(u!, average(mul(dy, xhat))), mul(dy, average(mul(u!, xhat)))))) : null,
      needs[2] ? div(sum(mul(u!, dx), OVER), rstd) : null,
    ];
  },
};
const normalizeGrad = (dy: Tensor, xhat: Tensor, rstd: Tensor): Tensor =>
  apply1(normalizeGradDef, [dy, xhat, rstd], [], dy.shape, dy.dtype, null);

const normalizeDef: OpDef<null> = {
  name: "normalize",
  saves: { outputs: [0, 2] },
  grad: ([g, gMean, gRstd], { outputs: [xhat, , rstd], like }) => {
    const columns = like[0].shape[0] * like[0].shape[2];
    let dx = g ? normalizeGrad(g, xhat, rstd) : null;
    const plus = (part: Tensor): void => {
      dx = dx ? add(dx, part) : part;
    };
    // d mean / dx = 1/C and d rstd / dx = −rstd²·x̂/C
    if (gMean) plus(mul(unsqueeze(div(gMean, columns), -1), onesOf(xhat)));
    if (gRstd) plus(mul(unsqueeze(div(neg(mul(gRstd, square(rstd))), columns), -1), xhat));
    return [dx, null];
  },
};
const onesOf = (x: Tensor): Tensor => add(mul(x.detach(), 0), 1);

interface Normalized {
  xhat: Tensor;
  mean: Tensor;
  rstd: Tensor;
}

/** [A, R, C] with mean 0 and variance 1 over A and C, and the mean and 1/√(variance + eps) of each of R. */
function standardized(x: Tensor, eps: number): Normalized {
  const rows = x.shape[1];
  const specs = [
    { shape: x.shape, dtype: x.dtype },
    { shape: [rows], dtype: x.dtype },
    { shape: [rows], dtype: x.dtype },
  ];
  const [xhat, m, rstd] = apply(normalizeDef, [x, new Scalar(eps)], [], specs, null);
  return { xhat, mean: m, rstd };
}

const affineDef: PointwiseDef = {
  name: "affine",
  saves: (needs) => ({ inputs: [...(needs[1] ? [0] : []), ...(needs[0] ? [1] : [])] }),
  grad: (g, { inputs: [x, w], needs }) => [needs[0] && mul(g, w), needs[1] && mul(g, x), g],
  compose: (x, w, b) => add(mul(x, w), b),
};
/** x·weight + bias in one pass, with parameters that broadcast. */
function affine(x: Tensor, weight: Tensor | null | undefined, bias: Tensor | null | undefined): Tensor {
  if (weight && bias) return pointwise(affineDef, [x, weight, bias]);
  if (weight) return mul(x, weight);
  return bias ? add(x, bias) : x;
}

function checkEps(eps: number, op: string): number {
  if (!(eps >= 0 && Number.isFinite(eps))) throw new ValueError(`${op}: eps must be a number ≥ 0, got ${eps}`);
  return eps;
}

function checkParameter(p: Tensor | null | undefined, shape: Shape, what: string, op: string): void {
  if (p && !sameShape(checkTensor(p, op).shape, shape)) {
    throw new ShapeError(`${op}: ${what} must have shape ${show(shape)}, got ${show(p.shape)}`);
  }
}

// ---- over the last dimensions

export interface AffineOptions {
  weight?: Tensor | null;
  bias?: Tensor | null;
  /** Added to the variance. Default 1e-5. */
  eps?: number;
}

function checkTrailing(x: Tensor, normalizedShape: number | Shape, op: string): Shape {
  checkFloat(checkTensor(x, op), op);
  const shape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
  if (shape.length === 0 || shape.length > x.ndim || !sameShape(x.shape.slice(x.ndim - shape.length), shape)) {
    throw new ShapeError(`${op}: the input ${show(x.shape)} must end in the normalised shape ${show(shape)}`);
  }
  return shape;
}

/**
 * Each sample normalised over its last dimensions, `normalizedShape`, then scaled by `weight` and moved by `bias` of
 * that shape. Ba et al., "Layer Normalization", 2016.
 *
 * @example
 * layerNorm(x, [64], { weight, bias });
 */
export function layerNorm(input: Tensor, normalizedShape: number | Shape, options: AffineOptions = {}): Tensor {
  const shape = checkTrailing(input, normalizedShape, "layerNorm");
  const x = widened(input);
  const { weight, bias, eps = 1e-5 } = options;
  checkParameter(weight, shape, "weight", "layerNorm");
  checkParameter(bias, shape, "bias", "layerNorm");
  const size = numelOf(shape);
  const rows = numelOf(x.shape.slice(0, x.ndim - shape.length));
  const { xhat } = standardized(reshape(x, [1, rows, size]), checkEps(eps, "layerNorm"));
  return affine(reshape(xhat, x.shape), weight, bias);
}

const rmsScaleDef: PointwiseDef = {
  name: "rmsScale",
  compose: (x, meanSquare, eps) => mul(x, rsqrt(add(meanSquare, eps))),
};
/**
 * x / √(mean(x²) + eps) over the last dimensions, times `weight`. Zhang and Sennrich, "Root Mean Square Layer
 * Normalization", 2019. The default eps is the smallest of x's dtype above 1, as in PyTorch.
 */
export function rmsNorm(
  input: Tensor,
  normalizedShape: number | Shape,
  options: { weight?: Tensor | null; eps?: number } = {},
): Tensor {
  const shape = checkTrailing(input, normalizedShape, "rmsNorm");
  const x = widened(input);
  const { weight, eps = x.dtype === "float64" ? Number.EPSILON : 2 ** -23 } = options;
  checkParameter(weight, shape, "weight", "rmsNorm");
  const axes = shape.map((_, i) => x.ndim - shape.length + i);
  const y = pointwise(rmsScaleDef, [x, mean(square(x), axes, true), checkEps(eps, "rmsNorm")]);
  return affine(y, weight, null);
}

// ---- over channels: x is [N, C, …]

export interface RunningOptions extends AffineOptions {
  runningMean?: Tensor | null;
  runningVar?: Tensor | null;
  /** Share of the new statistics in the running ones. Default 0.1. */
  momentum?: number;
}

function checkChannels(x: Tensor, options: RunningOptions, op: string): number {
  checkFloat(checkTensor(x, op), op);
  if (x.ndim < 2) throw new ShapeError(`${op}: an input [N, C, …] is needed, got ${show(x.shape)}`);
  const channels = x.shape[1];
  for (const what of ["weight", "bias", "runningMean", "runningVar"] as const) {
    checkParameter(options[what], [channels], what, op);
  }
  const { momentum = 0.1 } = options;
  if (!(momentum >= 0 && momentum <= 1)) throw new ValueError(`${op}: momentum must be in [0, 1], got ${momentum}`);
  return channels;
}

/** A tensor of one element a channel, shaped to broadcast over [N, C, …]. */
const alongChannels = (p: Tensor, ndim: number): Tensor =>
  reshape(p, [p.shape[0], ...new Array<number>(ndim - 2).fill(1)]);

const channelwise = (x: Tensor, options: AffineOptions): Tensor => {
  const spread = (p: Tensor | null | undefined): Tensor | null => (p ? alongChannels(p, x.ndim) : null);
  return affine(x, spread(options.weight), spread(options.bias));
};

/** Moves running statistics toward those of a batch; the variance is the unbiased one, as in PyTorch. */
function track(options: RunningOptions, m: Tensor, rstd: Tensor, eps: number, count: number): void {
  const { runningMean, runningVar, momentum = 0.1 } = options;
  noGrad(() => {
    if (runningMean) lerp_(runningMean, m, momentum);
    if (runningVar) lerp_(runningVar, pointwise(unbiasedDef, [rstd, eps, count / (count - 1)]), momentum);
  });
}
const unbiasedDef: PointwiseDef = {
  name: "unbiasedVariance",
  compose: (rstd, eps, factor) => mul(maximum(sub(div(1, square(rstd)), eps), 0), factor),
};

const standardizeDef: PointwiseDef = {
  name: "standardize",
  compose: (x, m, v, eps) => mul(sub(x, m), rsqrt(add(v, eps))),
};

/**
 * Each channel of [N, C, …] normalised over all samples and positions, scaled by `weight` and moved by `bias` [C]. With
 * `training` the statistics are those of the batch, and the running ones are updated in place; otherwise the running
 * ones are used. Ioffe and Szegedy, "Batch Normalization", 2015.
 *
 * @throws ValueError when training on one value a channel, or evaluating without running statistics.
 */
export function batchNorm(input: Tensor, options: RunningOptions & { training?: boolean } = {}): Tensor {
  const channels = checkChannels(input, options, "batchNorm");
  const x = widened(input);
  const { runningMean, runningVar, training = false, eps = 1e-5 } = options;
  checkEps(eps, "batchNorm");
  if (!training) {
    if (!runningMean || !runningVar) {
      throw new ValueError("batchNorm: runningMean and runningVar are needed when not training");
    }
    const y = pointwise(standardizeDef, [
      x,
      alongChannels(runningMean, x.ndim),
      alongChannels(runningVar, x.ndim),
      eps,
    ]);
    return channelwise(y, options);
  }
  const count = x.numel / Math.max(channels, 1);
  if (count <= 1) {
    throw new ValueError(
      `batchNorm: more than one value a channel is needed when training, got an input ${show(x.shape)}`,
    );
  }
  const { xhat, mean: m, rstd } = standardized(reshape(x, [x.shape[0], channels, count / x.shape[0]]), eps);
  track(options, m, rstd, eps, count);
  return channelwise(reshape(xhat, x.shape), options);
}

/**
 * The channels of [N, C, …] in groups, each normalised for each sample, scaled by `weight` and moved by `bias` [C]. Wu
 * and He, "Group Normalization", 2018.
 */
export function groupNorm(input: Tensor, groups: number, options: AffineOptions = {}): Tensor {
  const channels = checkChannels(input, options, "groupNorm");
  const x = widened(input);
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new ShapeError(`groupNorm: ${channels} channels cannot be divided into ${groups} groups of equal size`);
  }
  const rows = x.shape[0] * groups;
  const { eps = 1e-5 } = options;
  const { xhat } = standardized(reshape(x, [1, rows, x.numel / Math.max(rows, 1)]), checkEps(eps, "groupNorm"));
  return channelwise(reshape(xhat, x.shape), options);
}

/**
 * Each channel of each sample of [N, C, …] normalised over its positions. Running statistics, where given, are updated,
 * or used instead of the input's with `useInputStats: false`. Ulyanov et al., "Instance Normalization", 2016.
 */
export function instanceNorm(input: Tensor, options: RunningOptions & { useInputStats?: boolean } = {}): Tensor {
  const channels = checkChannels(input, options, "instanceNorm");
  const x = widened(input);
  const { useInputStats = true, eps = 1e-5, runningMean, runningVar } = options;
  if (!useInputStats) return batchNorm(x, options);
  const rows = x.shape[0] * channels;
  const count = x.numel / Math.max(rows, 1);
  if (count <= 1 && x.numel > 0) {
    throw new ValueError(`instanceNorm: more than one position a channel is needed, got an input ${show(x.shape)}`);
  }
  const { xhat, mean: m, rstd } = standardized(reshape(x, [1, rows, count]), checkEps(eps, "instanceNorm"));
  if (runningMean || runningVar) {
    noGrad(() => {
      const samples = (t: Tensor): Tensor => mean(reshape(t, [x.shape[0], channels]), 0);
      // The variances are averaged, not their roots.
      const v = samples(sub(div(1, square(rstd)), eps));
      track(options, samples(m), rsqrt(add(v, eps)), eps, count);
    });
  }
  return channelwise(reshape(xhat, x.shape), options);
}

// ---- vectors

/** x / max(‖x‖, eps) in the p-norm along `dim` (`torch.nn.functional.normalize`). */
export function normalize(input: Tensor, options: { p?: number; dim?: number; eps?: number } = {}): Tensor {
  const { p = 2, dim = 1, eps = 1e-12 } = options;
  const x = widened(checkFloat(checkTensor(input, "normalize"), "normalize"));
  return div(x, clamp(norm(x, p, normalizeAxis(dim, x.ndim, "normalize"), true), eps));
}

/** x·y / max(‖x‖·‖y‖, eps²)… along `dim`: the cosine of the angle between vectors; the shapes broadcast. */
export function cosineSimilarity(x: Tensor, y: Tensor, options: { dim?: number; eps?: number } = {}): Tensor {
  const { dim = 1, eps = 1e-8 } = options;
  return sum(mul(normalize(x, { dim, eps }), normalize(y, { dim, eps })), dim);
}

/** ‖x − y + eps‖ in the p-norm of the last dimension; the shapes broadcast. */
export function pairwiseDistance(
  x: Tensor,
  y: Tensor,
  options: { p?: number; eps?: number; keepdim?: boolean } = {},
): Tensor {
  const { p = 2, eps = 1e-6, keepdim = false } = options;
  const [a, b] = [x, y].map((t) => widened(checkTensor(t, "pairwiseDistance")));
  return norm(add(sub(a, b), eps), p, -1, keepdim);
}

const methods = { layerNorm, rmsNorm, batchNorm, groupNorm, instanceNorm };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

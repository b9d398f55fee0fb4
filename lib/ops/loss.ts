// Losses. All take `reduction`: "mean" (the default) and "sum" give a scalar, "none" keeps one number for each element
// or sample. Definitions and defaults are those of torch.nn.functional.
import { checkOptions } from "../check.js";
import { DTypeError, ShapeError, ValueError } from "../errors.js";
import { arange } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { sameShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { logSigmoid, relu, sigmoid } from "./activation.js";
import { cat } from "./arrange.js";
import { widened } from "./autocast.js";
import { apply, apply1, checkFloat, checkTensor, type Input, type OpDef, Scalar } from "./define.js";
import {
  abs,
  add,
  clamp,
  div,
  eq,
  exp,
  gt,
  log,
  log1p,
  lt,
  maximum,
  minimum,
  mul,
  ne,
  neg,
  square,
  sub,
  where,
} from "./elementwise.js";
import { gather, take } from "./indexing.js";
import { expand, permute, reshape, unsqueeze } from "./movement.js";
import { cosineSimilarity, pairwiseDistance } from "./norm.js";
import { cast, type PointwiseDef, pointwise } from "./pointwise.js";
import { amax, mean, sum } from "./reduce.js";
import { logSoftmax, softmax } from "./softmax.js";

/** What becomes of the losses of the elements. */
export type Reduction = "mean" | "sum" | "none";

export interface LossOptions {
  reduction?: Reduction;
}

function reduced(loss: Tensor, reduction: Reduction | undefined, op: string): Tensor {
  switch (reduction ?? "mean") {
    case "mean":
      return mean(loss);
    case "sum":
      return sum(loss);
    case "none":
      return loss;
    default:
      throw new ValueError(`${op}: reduction is "mean", "sum" or "none", got ${JSON.stringify(reduction)}`);
  }
}

/** Losses of pairs are not broadcast: [N] against [N, 1] would silently compare everything with everything. */
function checkPair(input: Tensor, target: Tensor, op: string): void {
  checkFloat(checkTensor(input, op), op);
  checkTensor(target, op);
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${op}: input ${show(input.shape)} and target ${show(target.shape)} must have the same shape; ` +
        "reshape or expand one of them",
    );
  }
}

function checkSetting(ok: boolean, what: string, op: string): void {
  if (!ok) throw new ValueError(`${op}: ${what}`);
}

// ---- regression

const squaredErrorDef: PointwiseDef = {
  name: "squaredError",
  domain: "float",
  wide: true,
  saves: { inputs: [0, 1] },
  grad: (g, { inputs: [x, t], needs }) => {
    const d = pointwise(squaredErrorGradDef, [g, x, t]);
    return [d, needs[1] && neg(d)];
  },
  compose: (x, t) => square(sub(x, t)),
};
const squaredErrorGradDef: PointwiseDef = {
  name: "squaredErrorGrad",
  compose: (g, x, t) => mul(g, mul(sub(x, t), 2)),
};

/**
 * Squared differences (input − target)².
 *
 * @throws ShapeError when the shapes differ.
 * @example
 * mseLoss(tensor([1, 2]), tensor([1, 4])).item(); // 2
 */
export function mseLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions(options, ["reduction"], "mseLoss");
  checkPair(input, target, "mseLoss");
  return reduced(pointwise(squaredErrorDef, [input, target]), options.reduction, "mseLoss");
}

const absoluteErrorDef: PointwiseDef = {
  name: "absoluteError",
  domain: "float",
  wide: true,
  compose: (x, t) => abs(sub(x, t)),
};
/** Absolute differences |input − target|; the gradient where they are equal is 0. */
export function l1Loss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions(options, ["reduction"], "l1Loss");
  checkPair(input, target, "l1Loss");
  return reduced(pointwise(absoluteErrorDef, [input, target]), options.reduction, "l1Loss");
}

const huberDef: PointwiseDef = {
  name: "huber",
  domain: "float",
  wide: true,
  compose: (x, t, delta) => {
    const d = abs(sub(x, t));
    const near = minimum(d, delta);
    return add(mul(square(near), 0.5), mul(delta, sub(d, near)));
  },
  saves: { inputs: [0, 1] },
  grad: (g, { inputs: [x, t, delta], needs }) => {
    const d = pointwise(huberGradDef, [g, x, t, delta]);
    return [d, needs[1] && neg(d)];
  },
};
const huberGradDef: PointwiseDef = {
  name: "huberGrad",
  compose: (g, x, t, delta) => mul(g, clamp(sub(x, t), neg(delta), delta)),
};
/** ½·d² for |d| ≤ delta, and delta·(|d| − ½·delta) beyond, with d = input − target. Huber, 1964. */
export function huberLoss(input: Tensor, target: Tensor, options: LossOptions & { delta?: number } = {}): Tensor {
  checkOptions(options, ["reduction", "delta"], "huberLoss");
  const { delta = 1, reduction } = options;
  checkPair(input, target, "huberLoss");
  checkSetting(delta > 0 && Number.isFinite(delta), `delta must be a number > 0, got ${delta}`, "huberLoss");
  return reduced(pointwise(huberDef, [input, target, delta]), reduction, "huberLoss");
}
/** Huber's loss with delta = beta, divided by beta; with beta 0 the absolute differences. */
export function smoothL1Loss(input: Tensor, target: Tensor, options: LossOptions & { beta?: number } = {}): Tensor {
  checkOptions(options, ["reduction", "beta"], "smoothL1Loss");
  const { beta = 1, reduction } = options;
  checkSetting(beta >= 0 && Number.isFinite(beta), `beta must be a number ≥ 0, got ${beta}`, "smoothL1Loss");
  if (beta === 0) return l1Loss(input, target, { reduction });
  checkPair(input, target, "smoothL1Loss");
  return reduced(div(pointwise(huberDef, [input, target, beta]), beta), reduction, "smoothL1Loss");
}

// ---- classification

export interface NllOptions extends LossOptions {
  /** A factor for each class. */
  weight?: Tensor | null;
  /** Samples with this label count nothing. Default −100. */
  ignoreIndex?: number;
}
export interface CrossEntropyOptions extends NllOptions {
  /** Share of the target that is spread evenly over all classes. Default 0. */
  labelSmoothing?: number;
}

/** The class dimension: 1, or 0 of an input without samples. */
const classDim = (input: Tensor): number => (input.ndim === 1 ? 0 : 1);

/** A factor for each class, shaped to broadcast along the class dimension. */
function alongClasses(weight: Tensor, input: Tensor): Tensor {
  const dim = classDim(input);
  return reshape(
    weight,
    input.shape.map((d, i) => (i === dim ? d : 1)),
  );
}

function checkClasses(input: Tensor, target: Tensor, weight: Tensor | null | undefined, op: string): void {
  checkFloat(checkTensor(input, op), op);
  checkTensor(target, op);
  const dim = classDim(input);
  if (input.ndim === 0)
    throw new ShapeError(`${op}: the input needs a class dimension: [classes] or [samples, classes, …]`);
  if (isFloat(target.dtype)) {
    if (op === "nllLoss")
      throw new DTypeError(`${op}: class indices are needed as target, got ${target.dtype}; use an int64 tensor`);
    if (!sameShape(input.shape, target.shape)) {
      throw new ShapeError(
        `${op}: a target of class probabilities (${target.dtype}) must have the shape of the input ${show(input.shape)}, ` +
          `got ${show(target.shape)}; class indices must be an int64 tensor`,
      );
    }
  } else {
    const expected = input.shape.filter((_, i) => i !== dim);
    if (target.dtype === "bool" || !sameShape(expected, target.shape)) {
      throw new ShapeError(
        `${op}: for an input of shape ${show(input.shape)} class indices must have shape ${show(expected)} ` +
          `(all dimensions but the classes'), got ${target.dtype} ${show(target.shape)}`,
      );
    }
  }
  if (weight && (weight.ndim !== 1 || weight.shape[0] !== input.shape[dim])) {
    throw new ShapeError(
      `${op}: weight ${show(weight.shape)} needs one factor for each of the ${input.shape[dim]} classes`,
    );
  }
}

/** Which samples count, and the labels with a legal one in place of those that do not. */
function labelsOf(target: Tensor, ignored: number, classes: number): { counts: Tensor; labels: Tensor } {
  return { counts: ne(target, ignored), labels: pointwise(labelsDef, [target, ignored, classes]) };
}
/** Negative labels, unlike negative indices, are errors: they are moved out of the range that `gather` accepts. */
const labelsDef: PointwiseDef = {
  name: "labels",
  compose: (t, ignored, classes) => where(eq(t, ignored), 0, where(lt(t, 0), sub(t, classes), t)),
};

function nll(logp: Tensor, target: Tensor, options: CrossEntropyOptions, op: string): Tensor {
  const { weight, ignoreIndex = -100, labelSmoothing = 0, reduction = "mean" } = options;
  const dim = classDim(logp);
  const classes = logp.shape[dim];
  const wide = target.dtype === "uint8" ? cast(target, "int64") : target;
  const { counts, labels } = labelsOf(wide, ignoreIndex, classes);
  const dropped = target.shape;
  const picked = neg(
    reshape(
      gather(
        logp,
        dim,
        reshape(
          labels,
          logp.shape.map((d, i) => (i === dim ? 1 : d)),
        ),
      ),
      dropped,
    ),
  );
  const factor = weight ? where(counts, take(weight, labels), 0) : cast(counts, logp.dtype);
  // Selecting instead of multiplying: what is ignored may be infinite.
  let loss = where(counts, weight ? mul(picked, factor) : picked, 0);
  if (labelSmoothing > 0) {
    const all = neg(sum(weight ? mul(logp, alongClasses(weight, logp)) : logp, dim));
    loss = add(mul(loss, 1 - labelSmoothing), mul(where(counts, all, 0), labelSmoothing / classes));
  }
  if (reduction === "mean") return div(sum(loss), sum(factor));
  return reduced(loss, reduction, op);
}

/**
 * Negative log-likelihood: −input[n, target[n]] for log-probabilities of shape [N, C, …] and class indices [N, …].
 * The mean is weighted by `weight`.
 */
export function nllLoss(input: Tensor, target: Tensor, options: NllOptions = {}): Tensor {
  checkOptions(options, ["reduction", "weight", "ignoreIndex"], "nllLoss");
  checkClasses(input, target, options.weight, "nllLoss");
  return nll(widened(input), target, options, "nllLoss");
}

/**
 * Cross-entropy of logits [N, C, …] (or [C]) against class indices [N, …] or class probabilities [N, C, …].
 *
 * @throws IndexError (when the value is read) for labels outside of [0, C) that are not `ignoreIndex`.
 * @example
 * crossEntropy(tensor([[0, 0]]), tensor([1], { dtype: "int64" })).item(); // 0.6931… = log 2
 */
export function crossEntropy(input: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  checkOptions(options, ["reduction", "weight", "ignoreIndex", "labelSmoothing"], "crossEntropy");
  const { weight, labelSmoothing = 0, reduction = "mean" } = options;
  checkClasses(input, target, weight, "crossEntropy");
  checkSetting(
    labelSmoothing >= 0 && labelSmoothing <= 1,
    `labelSmoothing must be in [0, 1], got ${labelSmoothing}`,
    "crossEntropy",
  );
  const dim = classDim(input);
  if (!isFloat(target.dtype) && !weight && labelSmoothing === 0) return crossEntropyOfLabels(input, target, options);
  const logp = logSoftmax(input, dim);
  if (!isFloat(target.dtype)) return nll(logp, target, options, "crossEntropy");
  const classes = input.shape[dim];
  const goal = labelSmoothing > 0 ? add(mul(target, 1 - labelSmoothing), labelSmoothing / classes) : target;
  const terms = mul(goal, logp);
  const loss = neg(sum(weight ? mul(terms, alongClasses(weight, input)) : terms, dim));
  return reduced(loss, reduction, "crossEntropy");
}

/** The label that counts nothing, and an index into REDUCTIONS. */
interface LabelLoss {
  readonly ignored: number;
  readonly reduction: number;
}
const REDUCTIONS: readonly Reduction[] = ["none", "sum", "mean"];

const wideOf = (x: Tensor): Tensor => (x.dtype === "float64" ? x : cast(x, "float32"));

/**
 * dx = (softmax(x) − [i = label])·g / divisor, with the two parts of log Σ eˣ that the forward pass kept. Its gradient
 * is that of the composition, which forms the softmax from x and so knows all of the dependence on it.
 */
const crossEntropyGradDef: OpDef<LabelLoss> = {
  name: "crossEntropyGrad",
  compose: (inputs, _attrs, { ignored }) => {
    const [g, x, , target, , divisor] = inputs as [Tensor, Tensor, Tensor, Tensor, Scalar, Tensor | Scalar];
    const classes = x.shape[x.ndim - 1];
    const { counts, labels } = labelsOf(target, ignored, classes);
    const own = eq(unsqueeze(labels, -1), arange(classes, { dtype: "int64", device: x.device }));
    const weight = wideOf(divisor instanceof Scalar ? g : div(g, cast(divisor, g.dtype)));
    const each = weight.ndim > 0 ? unsqueeze(weight, -1) : weight;
    const dx = mul(sub(softmax(wideOf(x), -1), cast(own, weight.dtype)), each);
    return [cast(where(unsqueeze(counts, -1), dx, 0), x.dtype)];
  },
};

/** Loss, the parts of log Σ eˣ and the number of rows that count, of x […, C] and labels […]. */
const crossEntropyDef: OpDef<LabelLoss> = {
  name: "crossEntropy",
  saves: { inputs: [0, 1], outputs: [1, 2] },
  grad: ([g], { inputs: [x, target], outputs: [, parts, count], extra }) => {
    const divisor = REDUCTIONS[extra.reduction] === "mean" ? count.detach() : new Scalar(1);
    const given: Input[] = [g, x, parts.detach(), target, new Scalar(extra.ignored), divisor];
    return [g && apply1(crossEntropyGradDef, given, [], x.shape, x.dtype, extra), null, null];
  },
  compose: (inputs, _attrs, { ignored, reduction }) => {
    const [x, target] = inputs as [Tensor, Tensor];
    const wide = wideOf(x);
    const { counts, labels } = labelsOf(target, ignored, x.shape[x.ndim - 1]);
    const largest = amax(wide, -1, true);
    const below = sub(wide, largest);
    const logSum = log(sum(exp(below), -1, true));
    const each = where(counts, reshape(sub(logSum, gather(below, -1, unsqueeze(labels, -1))), target.shape), 0);
    const count = sum(cast(counts, wide.dtype));
    const loss = [each, sum(each), div(sum(each), count)][reduction];
    return [cast(loss, x.dtype), cat([largest, logSum], -1), count];
  },
};

function crossEntropyOfLabels(logits: Tensor, target: Tensor, options: CrossEntropyOptions): Tensor {
  const input = widened(logits);
  const { ignoreIndex = -100, reduction = "mean" } = options;
  const mode = REDUCTIONS.indexOf(reduction);
  if (mode < 0) return reduced(input, reduction, "crossEntropy"); // says what is wrong
  const labels = target.dtype === "uint8" ? cast(target, "int64") : target;
  const last = input.ndim - 1;
  // The classes last.
  const x = last < 2 ? input : permute(input, [0, ...input.shape.slice(2).map((_, d) => d + 2), 1]);
  const wide = x.dtype === "float64" ? "float64" : "float32";
  const specs = [
    { shape: mode === 0 ? labels.shape : [], dtype: x.dtype },
    { shape: [...labels.shape, 2], dtype: wide },
    { shape: [], dtype: wide },
  ] as const;
  return apply(crossEntropyDef, [x, labels, new Scalar(ignoreIndex)], [mode], specs, {
    ignored: ignoreIndex,
    reduction: mode,
  })[0];
}

export interface BceOptions extends LossOptions {
  /** A factor for each element; broadcasts. */
  weight?: Tensor | null;
}

const weighted = (loss: Tensor, weight: Tensor | null | undefined): Tensor => (weight ? mul(loss, weight) : loss);

// PyTorch's bounds: logarithms are at least −100, and the denominator of the gradient at least 1e-12.
const bceDef: PointwiseDef = {
  name: "binaryCrossEntropy",
  domain: "float",
  wide: true,
  compose: (x, t) => neg(add(mul(t, maximum(log(x), -100)), mul(sub(1, t), maximum(log1p(neg(x)), -100)))),
  saves: { inputs: [0, 1] },
  grad: (g, { inputs: [x, t], needs }) => [
    needs[0] && pointwise(bceGradDef, [g, x, t]),
    needs[1] && mul(g, sub(maximum(log1p(neg(x)), -100), maximum(log(x), -100))),
  ],
};
const bceGradDef: PointwiseDef = {
  name: "binaryCrossEntropyGrad",
  compose: (g, x, t) => div(mul(g, sub(x, t)), maximum(mul(sub(1, x), x), 1e-12)),
};
/** −(t·log x + (1 − t)·log(1 − x)) for probabilities x and targets t in [0, 1]; logarithms are cut at −100. */
export function binaryCrossEntropy(input: Tensor, target: Tensor, options: BceOptions = {}): Tensor {
  checkOptions(options, ["reduction", "weight"], "binaryCrossEntropy");
  checkPair(input, target, "binaryCrossEntropy");
  return reduced(weighted(pointwise(bceDef, [input, target]), options.weight), options.reduction, "binaryCrossEntropy");
}

/** −(p·t·log σ(x) + (1 − t)·log σ(−x)), with log σ(−x) = log σ(x) − x. */
const bceLogitsDef: PointwiseDef = {
  name: "binaryCrossEntropyWithLogits",
  domain: "float",
  wide: true,
  compose: (x, t, p) => sub(mul(sub(1, t), x), mul(share(t, p), logSigmoid(x))),
  saves: { inputs: [0, 1, 2] },
  grad: (g, { inputs: [x, t, p], needs }) => [
    needs[0] && pointwise(bceLogitsGradDef, [g, x, t, p]),
    needs[1] && pointwise(bceLogitsTargetGradDef, [g, x, p]),
    needs[2] && mul(g, neg(mul(t, logSigmoid(x)))),
  ],
};
const share = (t: Tensor, p: Tensor): Tensor => add(mul(sub(p, 1), t), 1);
const bceLogitsTargetGradDef: PointwiseDef = {
  name: "binaryCrossEntropyWithLogitsTargetGrad",
  compose: (g, x, p) => neg(mul(g, add(x, mul(sub(p, 1), logSigmoid(x))))),
};
const bceLogitsGradDef: PointwiseDef = {
  name: "binaryCrossEntropyWithLogitsGrad",
  compose: (g, x, t, p) => mul(g, sub(sub(1, t), mul(share(t, p), sigmoid(neg(x))))),
};
/**
 * Binary cross-entropy of sigmoid(input) against targets in [0, 1], stable for large inputs. `posWeight` scales the
 * part of the positive targets; it broadcasts (one for each class, for example).
 */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: BceOptions & { posWeight?: Tensor | null } = {},
): Tensor {
  checkOptions(options, ["reduction", "weight", "posWeight"], "binaryCrossEntropyWithLogits");
  checkPair(input, target, "binaryCrossEntropyWithLogits");
  const loss = pointwise(bceLogitsDef, [input, target, options.posWeight ?? 1]);
  return reduced(weighted(loss, options.weight), options.reduction, "binaryCrossEntropyWithLogits");
}

/** t·log t, 0 at 0. */
const entropy = (t: Tensor): Tensor => mul(t, log(where(eq(t, 0), 1, t)));

/**
 * Kullback-Leibler divergence t·(log t − input) of log-probabilities `input` from a target of probabilities
 * (log-probabilities with `logTarget`). `"batchMean"` divides the sum by the size of the first dimension, which is the
 * divergence proper.
 */
export function klDiv(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction | "batchMean"; logTarget?: boolean } = {},
): Tensor {
  checkOptions(options, ["reduction", "logTarget"], "klDiv");
  checkPair(input, target, "klDiv");
  const [x, t] = [widened(input), widened(target)];
  const loss = options.logTarget ? mul(exp(t), sub(t, x)) : sub(entropy(t), mul(t, x));
  if (options.reduction !== "batchMean") return reduced(loss, options.reduction, "klDiv");
  return div(sum(loss), input.ndim > 0 ? input.shape[0] : 1);
}

// ---- margins and distances; targets y are 1 or −1

const hingeEmbeddingDef: PointwiseDef = {
  name: "hingeEmbedding",
  domain: "float",
  wide: true,
  compose: (x, y, margin) => add(where(eq(y, -1), mul(x, 0), x), where(eq(y, 1), mul(x, 0), relu(sub(margin, x)))),
};
/** x where y is 1, max(0, margin − x) where y is −1. */
export function hingeEmbeddingLoss(
  input: Tensor,
  target: Tensor,
  options: LossOptions & { margin?: number } = {},
): Tensor {
  checkOptions(options, ["reduction", "margin"], "hingeEmbeddingLoss");
  checkPair(input, target, "hingeEmbeddingLoss");
  const loss = pointwise(hingeEmbeddingDef, [input, target, options.margin ?? 1]);
  return reduced(loss, options.reduction, "hingeEmbeddingLoss");
}

/** max(0, margin − y·(a − b)): a should be ranked above b where y is 1, below where y is −1. */
export function marginRankingLoss(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  options: LossOptions & { margin?: number } = {},
): Tensor {
  checkOptions(options, ["reduction", "margin"], "marginRankingLoss");
  checkPair(a, b, "marginRankingLoss");
  checkPair(a, target, "marginRankingLoss");
  const gap = sub(widened(a), widened(b));
  return reduced(relu(sub(options.margin ?? 0, mul(target, gap))), options.reduction, "marginRankingLoss");
}

/** 1 − cos(a, b) where y is 1, max(0, cos(a, b) − margin) where y is −1, for vectors [N, D] (or [D]). */
export function cosineEmbeddingLoss(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  options: LossOptions & { margin?: number } = {},
): Tensor {
  checkOptions(options, ["reduction", "margin"], "cosineEmbeddingLoss");
  checkPair(a, b, "cosineEmbeddingLoss");
  checkTensor(target, "cosineEmbeddingLoss");
  if (a.ndim === 0 || !sameShape(a.shape.slice(0, -1), target.shape)) {
    throw new ShapeError(
      `cosineEmbeddingLoss: target ${show(target.shape)} must have one element for each vector of ${show(a.shape)}`,
    );
  }
  const cos = cosineSimilarity(a, b, { dim: -1 });
  const apart = relu(sub(cos, options.margin ?? 0));
  const loss = where(eq(target, 1), sub(1, cos), where(eq(target, -1), apart, 0));
  return reduced(loss, options.reduction, "cosineEmbeddingLoss");
}

/**
 * max(0, ‖anchor − positive‖ − ‖anchor − negative‖ + margin) in the p-norm of the last dimension. With `swap` the
 * distance of positive and negative counts where it is smaller. Schroff et al., "FaceNet", 2015.
 */
export function tripletMarginLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: LossOptions & { margin?: number; p?: number; eps?: number; swap?: boolean } = {},
): Tensor {
  checkOptions(options, ["reduction", "margin", "p", "eps", "swap"], "tripletMarginLoss");
  const { margin = 1, p = 2, eps = 1e-6, swap = false, reduction } = options;
  checkPair(anchor, positive, "tripletMarginLoss");
  checkPair(anchor, negative, "tripletMarginLoss");
  const near = pairwiseDistance(anchor, positive, { p, eps });
  const away = pairwiseDistance(anchor, negative, { p, eps });
  const far = swap ? minimum(away, pairwiseDistance(positive, negative, { p, eps })) : away;
  return reduced(relu(add(sub(near, far), margin)), reduction, "tripletMarginLoss");
}

/** log(1 + e^(−y·x)). */
export function softMarginLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  checkOptions(options, ["reduction"], "softMarginLoss");
  checkPair(input, target, "softMarginLoss");
  return reduced(neg(logSigmoid(mul(widened(input), target))), options.reduction, "softMarginLoss");
}

// ---- likelihoods

/** Stirling's approximation of log t!, for t > 1. */
const stirlingDef: PointwiseDef = {
  name: "stirling",
  domain: "float",
  wide: true,
  compose: (t) => {
    const safe = maximum(t, 1);
    const approximate = add(sub(mul(safe, log(safe)), safe), mul(log(mul(safe, 2 * Math.PI)), 0.5));
    return where(gt(t, 1), approximate, mul(t, 0));
  },
};
/**
 * Negative log-likelihood of counts under Poisson distributions: eˣ − t·x for `input` x = log of the rate, or
 * x − t·log(x + eps) for rates (`logInput: false`). `full` adds log t! by Stirling's approximation.
 */
export function poissonNllLoss(
  input: Tensor,
  target: Tensor,
  options: LossOptions & { logInput?: boolean; full?: boolean; eps?: number } = {},
): Tensor {
  checkOptions(options, ["reduction", "logInput", "full", "eps"], "poissonNllLoss");
  const { logInput = true, full = false, eps = 1e-8, reduction } = options;
  checkPair(input, target, "poissonNllLoss");
  const x = widened(input);
  let loss = logInput ? sub(exp(x), mul(target, x)) : sub(x, mul(target, log(add(x, eps))));
  if (full) loss = add(loss, pointwise(stirlingDef, [target]));
  return reduced(loss, reduction, "poissonNllLoss");
}

/**
 * Negative log-likelihood under normal distributions: ½·(log v + (input − target)² / v), v = max(variance, eps).
 * The variance has the input's shape, or 1 in the last dimension, or lacks it. `full` adds ½·log 2π.
 */
export function gaussianNllLoss(
  input: Tensor,
  target: Tensor,
  variance: Tensor,
  options: LossOptions & { full?: boolean; eps?: number } = {},
): Tensor {
  checkOptions(options, ["reduction", "full", "eps"], "gaussianNllLoss");
  const { full = false, eps = 1e-6, reduction } = options;
  const op = "gaussianNllLoss";
  checkPair(input, target, op);
  checkFloat(checkTensor(variance, op), op);
  const lead = input.shape.slice(0, -1);
  const v = sameShape(variance.shape, lead) && input.ndim > 0 ? reshape(variance, [...lead, 1]) : variance;
  if (!sameShape(v.shape, input.shape) && !sameShape(v.shape, [...lead, 1])) {
    throw new ShapeError(`${op}: variance ${show(variance.shape)} does not fit input ${show(input.shape)}`);
  }
  const safe = maximum(expand(widened(v), input.shape), eps);
  let loss = mul(add(log(safe), div(square(sub(widened(input), target)), safe)), 0.5);
  if (full) loss = add(loss, 0.5 * Math.log(2 * Math.PI));
  return reduced(loss, reduction, op);
}

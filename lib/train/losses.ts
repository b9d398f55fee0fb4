// Losses as `compile` takes them: Keras's and PyTorch's names, functions, and loss modules.
import { describe } from "../check.js";
import { closest } from "../closest.js";
import { ShapeError, ValueError } from "../errors.js";
import { Module } from "../nn/module.js";
import { relu, softplus } from "../ops/activation.js";
import { abs, add, clamp, div, log, log1p, maximum, mul, neg, square, sub } from "../ops/elementwise.js";
import * as f from "../ops/loss.js";
import { reshape } from "../ops/movement.js";
import { normalize } from "../ops/norm.js";
import { cast } from "../ops/pointwise.js";
import { amax, mean, sum } from "../ops/reduce.js";
import { isFloat } from "../tensor/dtype.js";
import { sameShape, show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";

/** What a loss expects of the model's output. */
export type Takes = "probabilities" | "logits" | "values";
/** How the target relates to the output: one number each, a class index for each vector, a distribution over classes. */
export type Family = "elementwise" | "labels" | "classes" | "free";

/** A loss as the adapter uses it. */
export interface Loss {
  readonly name: string;
  readonly takes: Takes;
  readonly family: Family;
  /** Where labels are: the dimension of the output that counts the classes (default: the last). */
  readonly classDim?: number;
  /** A label that does not count. */
  readonly ignored?: number;
  /** One number for the batch. */
  mean(output: Tensor, target: Tensor, logits: Tensor | undefined): Tensor;
  /** One number a sample, for weights. */
  samples(output: Tensor, target: Tensor, logits: Tensor | undefined): Tensor;
}

/** A function of output and target: a scalar, or a number a sample or element. */
export type LossFunction = (output: Tensor, target: Tensor) => Tensor;
export type LossLike = string | LossFunction | Module;

/** Keras's names are compared without case, hyphens and underscores. */
export const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/** Keras's bounds of probabilities. */
const EPSILON = 1e-7;
const bounded = (p: Tensor): Tensor => clamp(p, EPSILON, 1 - EPSILON);

/** The target in the shape of the output; a last dimension of 1 that only one of them has does not count, as in Keras. */
export function aligned(output: Tensor, target: Tensor, name: string): Tensor {
  const t = target.dtype === output.dtype ? target : cast(target, output.dtype);
  if (sameShape(t.shape, output.shape)) return t;
  const [longer, shorter] = t.ndim > output.ndim ? [t, output] : [output, t];
  if (longer.ndim === shorter.ndim + 1 && sameShape(longer.shape, [...shorter.shape, 1]))
    return reshape(t, output.shape);
  throw new ShapeError(
    `${name}: the model gives ${show(output.shape)} and the targets are ${show(target.shape)}; ` +
      hintOf(output, target),
  );
}

function hintOf(output: Tensor, target: Tensor): string {
  const classes = output.shape[output.ndim - 1];
  if (classes > 1 && target.numel * classes === output.numel) {
    return `targets of one number for each ${classes} outputs look like class labels: use the loss "sparse_categorical_crossentropy"`;
  }
  return `give the last layer ${target.ndim > 1 ? target.shape[target.ndim - 1] : 1} outputs, or reshape the targets`;
}

/** Class labels of the output's vectors, int64, in the shape of the output without its last dimension. */
export function labelsOf(output: Tensor, target: Tensor, name: string): Tensor {
  const lead = output.shape.slice(0, -1);
  const classes = output.shape[output.ndim - 1];
  if (output.ndim < 2 || classes < 2) {
    throw new ShapeError(
      `${name}: an output of one number for each class is needed, the model gives ${show(output.shape)}; ` +
        'for two classes in one number use "binary_crossentropy"',
    );
  }
  const t = target.ndim === output.ndim && target.shape[target.ndim - 1] === 1 ? reshape(target, lead) : target;
  if (sameShape(t.shape, lead)) return t.dtype === "int64" ? t : cast(t, "int64");
  throw new ShapeError(
    `${name}: for an output ${show(output.shape)} the targets must be class labels ${show(lead)}, got ${show(target.shape)}` +
      (sameShape(target.shape, output.shape) ? '; one-hot targets are for "categorical_crossentropy"' : ""),
  );
}

/** A distribution over classes for each of the output's vectors. */
function classesOf(output: Tensor, target: Tensor, name: string): Tensor {
  if (sameShape(target.shape, output.shape)) return target.dtype === output.dtype ? target : cast(target, output.dtype);
  const classes = output.shape[output.ndim - 1];
  throw new ShapeError(
    `${name}: the model gives ${show(output.shape)}, so the targets must be one-hot of that shape, got ${show(target.shape)}` +
      (target.numel * classes === output.numel ? '; class labels are for "sparse_categorical_crossentropy"' : ""),
  );
}

/** The mean of each sample's numbers. */
const perSample = (values: Tensor): Tensor =>
  values.ndim <= 1
    ? values
    : mean(
        values,
        values.shape.slice(1).map((_, i) => i + 1),
      );

/** Rows of vectors. */
const rows = (x: Tensor): Tensor => (x.ndim === 2 ? x : reshape(x, [-1, x.shape[x.ndim - 1]]));

type Reduction = "mean" | "none";

function elementwise(
  takes: Takes,
  fn: (output: Tensor, target: Tensor, reduction: Reduction, logits: Tensor | undefined) => Tensor,
): (name: string) => Loss {
  return (name) => ({
    ...{ name, takes, family: "elementwise" },
    mean: (output, target, logits) => fn(output, aligned(output, target, name), "mean", logits),
    samples: (output, target, logits) => perSample(fn(output, aligned(output, target, name), "none", logits)),
  });
}

const simple = (fn: (output: Tensor, target: Tensor) => Tensor): ((name: string) => Loss) =>
  elementwise("values", (o, t, reduction) => (reduction === "mean" ? mean(fn(o, t)) : fn(o, t)));

/** Losses of vectors of class scores. */
function categorical(
  takes: Takes,
  family: "labels" | "classes",
  log: (output: Tensor, logits: Tensor | undefined) => Tensor,
): (name: string) => Loss {
  const run = (name: string, output: Tensor, target: Tensor, logits: Tensor | undefined, reduction: Reduction) => {
    const t = family === "labels" ? labelsOf(output, target, name) : classesOf(output, target, name);
    const scores = rows(log(output, logits));
    const loss = f.crossEntropy(scores, family === "labels" ? reshape(t, [-1]) : rows(t), { reduction });
    return reduction === "mean" ? loss : perSample(reshape(loss, output.shape.slice(0, -1)));
  };
  return (name) => ({
    ...{ name, takes, family },
    mean: (output, target, logits) => run(name, output, target, logits, "mean"),
    samples: (output, target, logits) => run(name, output, target, logits, "none"),
  });
}

/** Softmax of the logarithms of probabilities gives them back, normalised, which is what Keras does too. */
const fromProbabilities = (output: Tensor, logits: Tensor | undefined): Tensor => logits ?? log(bounded(output));
const fromLogits = (output: Tensor): Tensor => output;

/** Losses of whole vectors: one number for each. */
const vectors =
  (fn: (output: Tensor, target: Tensor) => Tensor): ((name: string) => Loss) =>
  (name) => ({
    ...{ name, takes: "values", family: "elementwise" },
    mean: (o, t) => mean(fn(o, aligned(o, t, name))),
    samples: (o, t) => perSample(fn(o, aligned(o, t, name))),
  });

const binary = elementwise("probabilities", (o, t, reduction, logits) =>
  logits
    ? f.binaryCrossEntropyWithLogits(logits, t, { reduction })
    : f.binaryCrossEntropy(bounded(o), t, { reduction }),
);
const sparse = categorical("probabilities", "labels", fromProbabilities);
const oneHot = categorical("probabilities", "classes", fromProbabilities);
/** 0 and 1 as −1 and 1, as Keras takes targets of hinge losses. */
const signs = (t: Tensor): Tensor => sub(mul(cast(t.gt(0), t.dtype), 2), 1);

const mse = elementwise("values", (o, t, reduction) => f.mseLoss(o, t, { reduction }));
const mae = elementwise("values", (o, t, reduction) => f.l1Loss(o, t, { reduction }));
const mape = simple((o, t) => mul(div(abs(sub(t, o)), maximum(abs(t), EPSILON)), 100));
const msle = simple((o, t) => square(sub(log1p(maximum(t, EPSILON)), log1p(maximum(o, EPSILON)))));
const kld = vectors((o, t) => {
  const [p, q] = [clamp(t, EPSILON, 1), clamp(o, EPSILON, 1)];
  return sum(mul(p, log(div(p, q))), -1);
});
const cosine = vectors((o, t) => neg(sum(mul(normalize(o, { dim: -1 }), normalize(t, { dim: -1 })), -1)));

/** By canonical name; the first spelling is shown in messages. */
const table: readonly (readonly [names: string, make: (name: string) => Loss])[] = [
  ["mse mean_squared_error MSELoss", mse],
  ["mae mean_absolute_error l1 L1Loss", mae],
  ["mape mean_absolute_percentage_error", mape],
  ["msle mean_squared_logarithmic_error", msle],
  ["huber huber_loss", elementwise("values", (o, t, reduction) => f.huberLoss(o, t, { reduction }))],
  ["smooth_l1 SmoothL1Loss", elementwise("values", (o, t, reduction) => f.smoothL1Loss(o, t, { reduction }))],
  // log cosh d = d + softplus(−2d) − log 2
  ["log_cosh", simple((o, t) => add(sub(o, t), sub(softplus(mul(sub(o, t), -2)), Math.LN2)))],
  ["poisson", simple((o, t) => sub(o, mul(t, log(add(o, EPSILON)))))],
  ["kl_divergence kld kullback_leibler_divergence", kld],
  ["cosine_similarity", cosine],
  ["hinge", simple((o, t) => relu(sub(1, mul(signs(t), o))))],
  ["squared_hinge", simple((o, t) => square(relu(sub(1, mul(signs(t), o)))))],
  ["categorical_hinge", vectors((o, t) => relu(add(sub(amax(mul(sub(1, t), o), -1), sum(mul(t, o), -1)), 1)))],
  ["binary_crossentropy bce binary_cross_entropy BCELoss", binary],
  ["sparse_categorical_crossentropy sparse_categorical_cross_entropy", sparse],
  ["categorical_crossentropy categorical_cross_entropy", oneHot],
  ["cross_entropy CrossEntropyLoss", categorical("logits", "labels", fromLogits)],
  [
    "bce_with_logits binary_cross_entropy_with_logits BCEWithLogitsLoss",
    elementwise("logits", (o, t, reduction) => f.binaryCrossEntropyWithLogits(o, t, { reduction })),
  ],
];
const byName = new Map(table.flatMap(([names, make]) => names.split(" ").map((n) => [plain(n), make] as const)));
const spellings = table.flatMap(([names]) => names.split(" "));

/** Loss modules whose targets have the shape of the output, those of class labels, and which want logits. */
const modules: Record<string, { family: Family; takes: Takes }> = {
  MSELoss: { family: "elementwise", takes: "values" },
  L1Loss: { family: "elementwise", takes: "values" },
  HuberLoss: { family: "elementwise", takes: "values" },
  SmoothL1Loss: { family: "elementwise", takes: "values" },
  BCELoss: { family: "elementwise", takes: "probabilities" },
  BCEWithLogitsLoss: { family: "elementwise", takes: "logits" },
  CrossEntropyLoss: { family: "labels", takes: "logits" },
  NLLLoss: { family: "labels", takes: "values" },
};

/** The loss for a name, function or module. */
export function lossOf(like: LossLike): Loss {
  if (typeof like === "string") {
    const make = byName.get(plain(like));
    if (make) return make(like);
    const near = closest(like, spellings);
    throw new ValueError(
      `compile: unknown loss ${JSON.stringify(like)}; ${near ? `did you mean "${near}"? ` : ""}the names are ${table.map(([n]) => n.split(" ")[0]).join(", ")}`,
    );
  }
  if (like instanceof Module) return moduleLoss(like);
  if (typeof like === "function") {
    const name = like.name || "loss";
    const run = (o: Tensor, t: Tensor): Tensor => checkLoss(like(o, t), name);
    return {
      ...{ name, takes: "values", family: "free" },
      mean: (o, t) => {
        const loss = run(o, t);
        return loss.numel === 1 ? loss : mean(loss);
      },
      samples: (o, t) => perSample(checkSamples(run(o, t), o, name)),
    };
  }
  throw new ValueError(`compile: a loss is a name, a function or a loss module, got ${describe(like)}`);
}

function checkLoss(loss: unknown, name: string): Tensor {
  if (loss instanceof Tensor) return loss;
  throw new ValueError(`${name}: a loss function must return a tensor, got ${describe(loss)}`);
}

function checkSamples(loss: Tensor, output: Tensor, name: string): Tensor {
  if (loss.ndim >= 1 && loss.shape[0] === output.shape[0]) return loss;
  throw new ShapeError(
    `${name}: with classWeight or sampleWeight a loss must give one number for each of the ${output.shape[0]} samples, got ${show(loss.shape)}`,
  );
}

function moduleLoss(module: Module): Loss {
  const name = module.constructor.name;
  const { family, takes } = modules[name] ?? { family: "free", takes: "values" };
  const target = (o: Tensor, t: Tensor): Tensor => {
    if (family === "elementwise") return aligned(o, t, name);
    if (family !== "labels" || (isFloat(t.dtype) && sameShape(o.shape, t.shape))) return t;
    const flat = t.ndim === o.ndim && t.shape[1] === 1 ? reshape(t, [t.shape[0], ...t.shape.slice(2)]) : t;
    return flat.dtype === "int64" ? flat : cast(flat, "int64");
  };
  let each: Module | undefined;
  const { ignoreIndex = -100 } = (module as { options?: { ignoreIndex?: number } }).options ?? {};
  return {
    ...{ name, takes, family },
    ...(family === "labels" && { classDim: 1, ignored: ignoreIndex }),
    mean: (o, t) => checkLoss(module.forward(o, target(o, t)), name),
    samples: (o, t) => {
      const { options } = module as { options?: object };
      each ??= options
        ? new (module.constructor as new (o: object) => Module)({ ...options, reduction: "none" })
        : module;
      return perSample(checkSamples(each.forward(o, target(o, t)) as Tensor, o, name));
    },
  };
}

// Optimizers and metrics by Keras's names.
import { describe } from "../check.js";
import { closest } from "../closest.js";
import { ValueError } from "../errors.js";
import { Accuracy, AUC, F1Score, Precision, Recall, TopKAccuracy } from "../metrics/classification.js";
import { Metric } from "../metrics/metric.js";
import {
  MeanAbsoluteError,
  MeanSquaredError,
  Perplexity,
  R2Score,
  RootMeanSquaredError,
} from "../metrics/regression.js";
import { reshape } from "../ops/movement.js";
import { argmax, mean } from "../ops/reduce.js";
import { Adadelta, Adagrad } from "../optim/adagrad.js";
import { Adam, AdamW } from "../optim/adam.js";
import { LBFGS } from "../optim/lbfgs.js";
import { Adamax, Lion, NAdam, RAdam } from "../optim/moments.js";
import { Optimizer } from "../optim/optimizer.js";
import { RMSprop } from "../optim/rmsprop.js";
import { SGD } from "../optim/sgd.js";
import { sameShape } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { type Loss, labelsOf, plain } from "./losses.js";
import type { AnyOptimizer } from "./module.js";

type Parameters = readonly Tensor[];

/** With Keras's learning rates and constants, which are not always PyTorch's. */
const optimizers: Readonly<Record<string, (params: Parameters) => AnyOptimizer>> = {
  adam: (p) => new Adam(p, { lr: 1e-3, eps: 1e-7 }),
  adamw: (p) => new AdamW(p, { lr: 1e-3, eps: 1e-7, weightDecay: 4e-3 }),
  sgd: (p) => new SGD(p, { lr: 0.01 }),
  rmsprop: (p) => new RMSprop(p, { lr: 1e-3, alpha: 0.9, eps: 1e-7 }),
  adagrad: (p) => new Adagrad(p, { lr: 1e-3, initialAccumulatorValue: 0.1, eps: 1e-7 }),
  adadelta: (p) => new Adadelta(p, { lr: 1e-3, rho: 0.95, eps: 1e-7 }),
  adamax: (p) => new Adamax(p, { lr: 1e-3, eps: 1e-7 }),
  nadam: (p) => new NAdam(p, { lr: 1e-3, eps: 1e-7 }),
  radam: (p) => new RAdam(p, { lr: 1e-3, eps: 1e-7 }),
  lion: (p) => new Lion(p, { lr: 1e-3 }),
  lbfgs: (p) => new LBFGS(p),
};

/** A name, an optimizer of the model's parameters, or a function that makes one of them. */
export type OptimizerLike = string | AnyOptimizer | ((params: Parameters) => AnyOptimizer);

export function optimizerOf(like: OptimizerLike, params: Parameters): AnyOptimizer {
  if (like instanceof Optimizer) return like;
  if (typeof like === "function") {
    const made: unknown = like(params);
    if (made instanceof Optimizer) return made;
    throw new ValueError(`compile: the optimizer's function must return an optimizer, got ${describe(made)}`);
  }
  if (typeof like !== "string") {
    throw new ValueError(
      `compile: an optimizer is a name, an optim.Optimizer or a function of the parameters, got ${describe(like)}`,
    );
  }
  const make = optimizers[plain(like)];
  if (make) return make(params);
  const near = closest(like, Object.keys(optimizers));
  throw new ValueError(
    `compile: unknown optimizer ${JSON.stringify(like)}; ${near ? `did you mean "${near}"? ` : ""}the names are ${Object.keys(optimizers).join(", ")}`,
  );
}

/** A metric of one output, with what its predictions and targets are made of. */
export interface Measure {
  readonly name: string;
  /** Adds a batch; a value to be averaged instead where the metric is a function. */
  update(output: Tensor, target: Tensor): Tensor | undefined;
  readonly metric: Metric<unknown> | undefined;
}

export type MetricFunction = (output: Tensor, target: Tensor) => Tensor;
export type MetricLike = string | Metric<unknown> | MetricFunction;

type Prepare = (output: Tensor, target: Tensor) => [Tensor, Tensor];

const asIs: Prepare = (o, t) => [o, t];
/** Each number a prediction of its own. */
const flat: Prepare = (o, t) => [reshape(o, [-1]), reshape(t, [-1])];
/** Vectors of scores against labels. */
const scores: Prepare = (o, t) => [reshape(o, [-1, o.shape[o.ndim - 1]]), reshape(labelsOf(o, t, "accuracy"), [-1])];
/** Vectors of scores against one-hot targets. */
const oneHot: Prepare = (o, t) => [reshape(o, [-1, o.shape[o.ndim - 1]]), reshape(argmax(t, -1), [-1])];

/** What a classifier's output is: one number for two classes, or a number a class against labels or one-hot targets. */
function kindOf(output: Tensor, target: Tensor, loss: Loss): Prepare {
  const classes = output.ndim < 2 ? 1 : output.shape[output.ndim - 1];
  if (classes === 1 || (loss.family === "elementwise" && loss.takes !== "values")) return flat;
  return sameShape(output.shape, target.shape) ? oneHot : scores;
}

type Maker = (loss: Loss) => { metric: Metric<unknown>; prepare: (o: Tensor, t: Tensor) => Prepare };
const regression =
  (make: () => Metric<unknown>): Maker =>
  () => ({ metric: make(), prepare: () => asIs });
/** Two classes are told apart at 0.5, or at 0 of logits. */
const thresholdOf = (loss: Loss): number => (loss.takes === "logits" ? 0 : 0.5);
const classifier =
  (make: (threshold: number) => Metric<unknown>, prepare?: Prepare): Maker =>
  (loss) => ({ metric: make(thresholdOf(loss)), prepare: prepare ? () => prepare : (o, t) => kindOf(o, t, loss) });

const metrics: Readonly<Record<string, Maker>> = {
  accuracy: classifier((threshold) => new Accuracy({ threshold })),
  acc: classifier((threshold) => new Accuracy({ threshold })),
  binary_accuracy: classifier((threshold) => new Accuracy({ threshold }), flat),
  categorical_accuracy: classifier(() => new Accuracy(), oneHot),
  sparse_categorical_accuracy: classifier(() => new Accuracy(), scores),
  top_k_categorical_accuracy: classifier(() => new TopKAccuracy(5), oneHot),
  sparse_top_k_categorical_accuracy: classifier(() => new TopKAccuracy(5), scores),
  precision: classifier((threshold) => new Precision({ threshold })),
  recall: classifier((threshold) => new Recall({ threshold })),
  f1: classifier((threshold) => new F1Score({ threshold })),
  auc: classifier(() => new AUC(), flat),
  mse: regression(() => new MeanSquaredError()),
  mean_squared_error: regression(() => new MeanSquaredError()),
  mae: regression(() => new MeanAbsoluteError()),
  mean_absolute_error: regression(() => new MeanAbsoluteError()),
  rmse: regression(() => new RootMeanSquaredError()),
  root_mean_squared_error: regression(() => new RootMeanSquaredError()),
  r2: regression(() => new R2Score()),
  r2_score: regression(() => new R2Score()),
  perplexity: regression(() => new Perplexity()),
};
const metricByName = new Map(Object.entries(metrics).map(([name, make]) => [plain(name), make]));

/** The metric for a name, object or function. */
export function measureOf(like: MetricLike, loss: Loss): Measure {
  if (typeof like === "string") {
    const make = metricByName.get(plain(like));
    if (!make) {
      const near = closest(like, Object.keys(metrics));
      throw new ValueError(
        `compile: unknown metric ${JSON.stringify(like)}; ${near ? `did you mean "${near}"? ` : ""}the names are ${Object.keys(metrics).join(", ")}`,
      );
    }
    const { metric, prepare } = make(loss);
    return {
      name: like,
      metric,
      update(output, target) {
        metric.update(...prepare(output, target)(output, target));
        return undefined;
      },
    };
  }
  if (like instanceof Metric) {
    return {
      name: like.name,
      metric: like,
      update(output, target) {
        like.update(output, target);
        return undefined;
      },
    };
  }
  if (typeof like !== "function") {
    throw new ValueError(`compile: a metric is a name, a Metric or a function, got ${describe(like)}`);
  }
  const name = like.name || "metric";
  return {
    name,
    metric: undefined,
    update(output, target) {
      const value: unknown = like(output, target);
      if (!(value instanceof Tensor))
        throw new ValueError(`${name}: a metric function returns a tensor, got ${describe(value)}`);
      return value.numel === 1 ? value : mean(value);
    },
  };
}

// The Keras-style API in terms of the one loop: a TrainModule made of a model, a loss and metrics.
import { checkOptions, describe } from "../check.js";
import { defaultDevice } from "../device/registry.js";
import { IndexError, ShapeError, ValueError } from "../errors.js";
import { depends, uncaptured } from "../graph/capture.js";
import { noGrad } from "../graph/modes.js";
import type { Saveable } from "../io/checkpoint.js";
import type { Metric } from "../metrics/metric.js";
import { LogSoftmax, Sigmoid, Softmax } from "../nn/activation.js";
import { keepModes } from "../nn/mode.js";
import type { Module } from "../nn/module.js";
import { widened } from "../ops/autocast.js";
import { eq, mul } from "../ops/elementwise.js";
import { maskedFill, take } from "../ops/indexing.js";
import { reshape } from "../ops/movement.js";
import { cast } from "../ops/pointwise.js";
import { amax, amin, argmax, mean } from "../ops/reduce.js";
import { tensor } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { getRngState, setRngState } from "../tensor/random.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { asTensor, type Feed, type Home, isList } from "./feed.js";
import { type Loss, type LossLike, lossOf } from "./losses.js";
import { type AnyOptimizer, type Batch, type OptimizerSetup, TrainModule } from "./module.js";
import { type Measure, type MetricLike, measureOf, type OptimizerLike, optimizerOf } from "./names.js";
import { checkPrecision, type Precision } from "./precision.js";
import type { Samples } from "./report.js";
import { argumentsOf, tap, trace } from "./summary.js";

/** One for all outputs, or one each: in a list, or by the names of the outputs. */
export type PerOutput<T> = T | readonly T[] | Readonly<Record<string, T>>;

export interface CompileOptions {
  /** Default `"rmsprop"`, as in Keras. */
  optimizer?: OptimizerLike;
  /** A name ("mse", "sparse_categorical_crossentropy", …), a function of output and target, or a loss module. */
  loss?: PerOutput<LossLike>;
  /** Weights of the losses of several outputs in their sum. Default 1 each. */
  lossWeights?: readonly number[] | Readonly<Record<string, number>>;
  /** Names ("accuracy", "mae", …), Metric objects, or functions of output and target. */
  metrics?:
    | readonly (MetricLike | readonly MetricLike[])[]
    | Readonly<Record<string, MetricLike | readonly MetricLike[]>>;
  /** Run the steps operation by operation instead of recording them. Default false. */
  runEagerly?: boolean;
  /**
   * `"float32"` (default: the model's own), or `"bf16"` or `"fp16"` for mixed precision, of training, evaluation and
   * prediction; see `Trainer`.
   */
  precision?: Exclude<Precision, "float64">;
}

/** Weights of the samples of a class in the loss, by label; 1 for the others. */
export type ClassWeight = Readonly<Record<number | string, number>>;

type Use = "train" | "validate" | "test" | "predict";

/** One output of the model. */
interface Output {
  /** Prefix of its logs; empty for the only one. */
  readonly prefix: string;
  readonly loss: Loss | undefined;
  readonly weight: number;
  /** By phase, since training and validation are measured apart. */
  readonly measures: readonly MetricLike[];
}

const HEADS = [Softmax, Sigmoid, LogSoftmax];

/** A model with what `compile` was told. */
export class CompiledModule extends TrainModule {
  readonly #net: Module;
  readonly #options: CompileOptions;
  #outputs: readonly Output[] | null = null;
  #measures = new Map<string, readonly (readonly Measure[])[]>();
  /** Data in memory, by what is done with them. */
  readonly #feeds: Record<Use, Feed | null> = { train: null, validate: null, test: null, predict: null };
  #classWeight: Tensor | null = null;
  /** What the metrics had gathered when a checkpoint was made, until they are there. */
  #restored: readonly (readonly Saveable[])[] | null = null;
  /** Tensors of class weights that were used, so that the same ones need no new recording. */
  readonly #classWeights = new Map<string, Tensor>();
  readonly #optimizer: AnyOptimizer | null;
  readonly precision: Precision;

  constructor(net: Module, options: CompileOptions) {
    super();
    this.#options = options;
    checkOptions(options, ["optimizer", "loss", "lossWeights", "metrics", "runEagerly", "precision"], "compile");
    this.precision = checkPrecision(options.precision ?? "float32", ["float32", "bf16", "fp16"], "compile");
    this.#net = net;
    const params = [...net.parameters()];
    // A model without parameters cannot be trained; it can be evaluated, and predict.
    this.#optimizer = params.length === 0 ? null : optimizerOf(options.optimizer ?? "rmsprop", params);
    const known = new Set<Tensor>(params);
    if (this.#optimizer && !this.#optimizer.paramGroups.some((g) => g.params.some((p: Tensor) => known.has(p)))) {
      throw new ValueError(
        "compile: the optimizer has none of this model's parameters; make it with model.parameters()",
      );
    }
    // Unknown names are errors now and not at the first batch.
    for (const like of flatten<LossLike>(options.loss, (x) => typeof x === "string")) lossOf(like);
    const probe = lossOf("mse");
    for (const like of flatten<MetricLike>(options.metrics, (x) => typeof x === "string")) measureOf(like, probe);
  }

  override subject(): Module {
    return this.#net;
  }

  override get pureEvaluation(): boolean {
    return true;
  }

  get eagerly(): boolean {
    return this.#options.runEagerly ?? false;
  }

  get optimizer(): AnyOptimizer {
    if (this.#optimizer) return this.#optimizer;
    throw new ValueError(`fit: ${this.#net.constructor.name} has no parameters to train`);
  }

  override configureOptimizers(): OptimizerSetup {
    return this.optimizer;
  }

  /** Device and dtype of the model. */
  get home(): Home {
    const [first] = [...this.#net.parameters(), ...this.#net.buffers()].filter((t) => isFloat(t.dtype));
    return { device: first?.device ?? defaultDevice().name, dtype: first?.dtype ?? "float32" };
  }

  /** Says what the batches to come are made of: rows of a feed, or what the data give. */
  use(use: Use, feed: Feed | null): void {
    this.#feeds[use] = feed;
  }

  /** Sets the weights of classes in the training loss. */
  weigh(classWeight: ClassWeight | undefined): void {
    this.#classWeight = null;
    if (classWeight === undefined) return;
    const key = JSON.stringify(classWeight);
    const known = this.#classWeights.get(key);
    if (known) {
      this.#classWeight = known;
      return;
    }
    const entries = Object.entries(classWeight).map(([label, weight]) => [Number(label), weight] as const);
    for (const [label, weight] of entries) {
      if (!Number.isInteger(label) || label < 0 || !Number.isFinite(weight) || weight < 0) {
        throw new ValueError(
          `fit: classWeight has weights ≥ 0 by class label, such as { 0: 1, 1: 5 }; got ${label}: ${weight}`,
        );
      }
    }
    const all = new Array<number>(Math.max(...entries.map(([label]) => label)) + 1).fill(1);
    for (const [label, weight] of entries) all[label] = weight;
    this.#classWeight = tensor(all, this.home);
    this.#classWeights.set(key, this.#classWeight);
  }

  // ---- batches

  /** Inputs, targets and weights of a batch. */
  private parts(batch: Batch, use: Use): [x: unknown, y: unknown, weight: Tensor | undefined] {
    depends(() => this.#feeds[use]?.layout);
    const feed = this.#feeds[use];
    if (feed) return feed.unpack(batch as readonly Tensor[]);
    if (!Array.isArray(batch) || batch.length < 2 || batch.length > 3) {
      throw new ValueError(
        `fit: a batch must be [x, y] or [x, y, sampleWeight], got ${Array.isArray(batch) ? `a list of ${batch.length}` : describe(batch)}`,
      );
    }
    return batch as [unknown, unknown, Tensor | undefined];
  }

  override onBeforeBatchTransfer(batch: Batch): Batch {
    if (!Array.isArray(batch) || batch.every((part) => part instanceof Tensor)) return batch;
    const { home } = this;
    return batch.map((part, i) => (part === undefined ? part : convert(part, home, ["x", "y", "sampleWeight"][i])));
  }

  override async onFirstBatch(batch: Batch): Promise<void> {
    const [x, y] = this.parts(batch, "train");
    const state = getRngState();
    const shapes = trace(this.#net, x);
    const outputs = this.outputsOf(shapes);
    const found = named(shapes);
    const targets = named(y);
    for (let i = 0; i < found.length; i++) {
      const { loss } = outputs[i];
      if (!loss) continue;
      const [, output] = found[i];
      const target = targets[i]?.[1];
      if (!target) throw new ValueError(`fit: there are no targets for the output ${found[i][0] || i}`);
      if (output.shape[0] !== target.shape[0]) {
        throw new ShapeError(
          `${loss.name}: ${target.shape[0]} targets for ${output.shape[0]} predictions; the model gives ${show(output.shape)}, targets are ${show(target.shape)}`,
        );
      }
      await this.checkLabels(loss, output, target);
    }
    if (outputs.some((o) => o.loss?.takes === "probabilities")) await this.checkProbabilities(x, outputs);
    setRngState(state);
  }

  /** Labels must be classes of the output; all of them where the data are in memory. */
  private async checkLabels(loss: Loss, output: Tensor, target: Tensor): Promise<void> {
    if (loss.family !== "labels" || (isFloat(target.dtype) && target.ndim === output.ndim && target.shape[1] !== 1))
      return;
    const classes = output.shape[output.ndim > 1 ? (loss.classDim ?? output.ndim - 1) : 0];
    const targets = this.#feeds.train?.y;
    const given = targets?.structure === null ? targets.tensors[0] : target;
    const { ignored } = loss;
    const all = ignored === undefined ? given : noGrad(() => maskedFill(given, eq(given, ignored), 0));
    const [least, most] = await Promise.all([noGrad(() => amin(all)).data(), noGrad(() => amax(all)).data()]);
    const [low, high] = [Number(least[0]), Number(most[0])];
    if (low < 0 || high >= classes) {
      throw new IndexError(
        `${loss.name}: the labels go from ${low} to ${high}, but the model gives ${classes} classes (0 to ${classes - 1}); ` +
          (low >= 0
            ? `give the last layer ${high + 1} outputs, or number the classes from 0`
            : "number the classes from 0"),
      );
    }
    if (isFloat(all.dtype) && !Number.isInteger(low)) {
      throw new ValueError(`${loss.name}: class labels must be integers, there is ${low}`);
    }
  }

  /** A loss of probabilities on something else trains nonsense silently. */
  private async checkProbabilities(x: unknown, outputs: readonly Output[]): Promise<void> {
    const net = this.#net;
    const back = keepModes(net);
    net.eval();
    let values: { output: Tensor; logits: Tensor | undefined }[];
    try {
      values = noGrad(() => this.run(x));
    } finally {
      back();
    }
    for (let i = 0; i < values.length; i++) {
      const { loss } = outputs[i];
      if (loss?.takes !== "probabilities" || values[i].logits) continue;
      const { output } = values[i];
      const [least, most] = await Promise.all([noGrad(() => amin(output)).data(), noGrad(() => amax(output)).data()]);
      const [low, high] = [Number(least[0]), Number(most[0])];
      const binary = loss.family === "elementwise";
      if (low >= 0 && (!binary || high <= 1)) continue;
      throw new ValueError(
        `${loss.name} takes probabilities, but the model's output goes from ${low.toPrecision(3)} to ${high.toPrecision(3)}: ` +
          (binary
            ? 'end the model with nn.Sigmoid, or use the loss "bce_with_logits" (nn.BCEWithLogitsLoss)'
            : 'end the model with nn.Softmax, or use the loss "cross_entropy" (nn.CrossEntropyLoss), which takes logits'),
      );
    }
  }

  // ---- outputs

  /** The model's outputs, and of those that end in a softmax or sigmoid what went into it. */
  private run(x: unknown): { output: Tensor; logits: Tensor | undefined; prefix: string }[] {
    const logits = new Map<Tensor, Tensor>();
    const heads = [...this.#net.modules()].filter((m) => HEADS.some((H) => m instanceof H));
    const undo = tap(heads, (part, input, output) => {
      if (output instanceof Tensor && input instanceof Tensor && alongLast(part, output)) logits.set(output, input);
    });
    let outputs: unknown;
    try {
      outputs = this.#net.forward(...argumentsOf(x));
    } finally {
      undo();
    }
    // Losses of one's own and metrics get float32 also in mixed precision.
    return named(outputs).map(([prefix, output]) => ({ prefix, output: widened(output), logits: logits.get(output) }));
  }

  private outputsOf(outputs: unknown): readonly Output[] {
    if (this.#outputs) return this.#outputs;
    const names = named(outputs).map(([name]) => name);
    const { loss, lossWeights, metrics } = this.#options;
    const several = names.length > 1 || names[0] !== "";
    const pick = <T>(value: unknown, name: string, i: number, what: string): T | undefined => {
      if (value === undefined || value === null) return undefined;
      if (Array.isArray(value)) {
        if (value.length !== names.length) {
          throw new ValueError(
            `compile: ${what} has ${value.length} entries for ${names.length} outputs (${names.join(", ")})`,
          );
        }
        return value[i] as T;
      }
      if (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
        const record = value as Record<string, T>;
        for (const key of Object.keys(record)) {
          if (!names.includes(key)) {
            throw new ValueError(`compile: ${what} names ${key}, but the outputs are ${names.join(", ")}`);
          }
        }
        return record[name];
      }
      return value as T;
    };
    const flatMetrics = Array.isArray(metrics) && !metrics.some((m) => Array.isArray(m));
    this.#outputs = names.map((name, i) => {
      const like = several ? pick<LossLike>(loss, name, i, "loss") : (loss as LossLike | undefined);
      const some: unknown = several && !flatMetrics ? pick(metrics, name, i, "metrics") : metrics;
      const measures = (some === undefined ? [] : Array.isArray(some) ? some.flat() : [some]) as MetricLike[];
      const weight = several ? (pick<number>(lossWeights, name, i, "lossWeights") ?? 1) : 1;
      return {
        prefix: several ? `${name}_` : "",
        loss: like === undefined ? undefined : lossOf(like),
        weight,
        measures,
      };
    });
    if (this.#outputs.every((o) => !o.loss)) {
      throw new ValueError('compile: no loss was given; compile({ optimizer, loss: "mse" }) and the like');
    }
    return this.#outputs;
  }

  // ---- steps

  override metricStates(): Saveable {
    return (this.#measures.get("train") ?? []).map((list) => list.map(({ metric }) => metric?.stateDict() ?? null));
  }

  override loadMetricStates(states: Saveable): void {
    this.#restored = states as readonly (readonly Saveable[])[] | null;
  }

  override trainingStep(batch: Batch): Tensor {
    return this.measure(batch, "", "train");
  }

  override validationStep(batch: Batch): Tensor {
    return this.measure(batch, "val_", "validate");
  }

  override testStep(batch: Batch): Tensor {
    return this.measure(batch, "", "test");
  }

  override samplesOf(batch: Batch): Samples | null {
    const [x, y] = this.parts(batch, "validate");
    if (!(x instanceof Tensor && y instanceof Tensor) || this.#outputs?.length !== 1) return null;
    const { loss } = this.#outputs[0];
    if (loss?.family === "labels") return { x, y: cast(reshape(y, [-1]), "int64") };
    if (loss?.family === "classes") return { x, y: argmax(y, -1) };
    // A score for class 1 against labels 0 and 1.
    const binary = loss !== undefined && loss.takes !== "values" && y.numel === y.shape[0];
    return binary ? { x, y: cast(reshape(y, [-1]), "int64"), threshold: loss.takes === "logits" ? 0 : 0.5 } : { x, y };
  }

  override predictStep(batch: Batch): unknown {
    depends(() => this.#feeds.predict?.layout);
    const feed = this.#feeds.predict;
    const [x] = feed ? feed.unpack(batch as readonly Tensor[]) : Array.isArray(batch) ? batch : [batch];
    return this.#net.forward(...argumentsOf(x));
  }

  private measure(batch: Batch, phase: string, key: Use): Tensor {
    const [x, y, weight] = this.parts(batch, key);
    const found = this.run(x);
    const outputs = this.#outputs ?? this.outputsOf(undefinedTo(found));
    const targets = named(y);
    let measures = this.#measures.get(key);
    if (!measures) {
      measures = outputs.map((o) => o.measures.map((like) => measureOf(like, o.loss ?? lossOf("mse"))));
      this.#measures.set(key, measures);
    }
    if (key === "train" && this.#restored) {
      const states = this.#restored;
      this.#restored = null;
      for (const [i, list] of measures.entries()) {
        for (const [j, { metric }] of list.entries()) {
          const state = states[i]?.[j];
          if (state) uncaptured(() => metric?.loadStateDict(state));
        }
      }
    }
    let total: Tensor | undefined;
    const logs: [string, Tensor | Metric<unknown>][] = [];
    for (let i = 0; i < found.length; i++) {
      const { loss, weight: share, prefix, measures: _ } = outputs[i];
      const { output, logits } = found[i];
      const target = targets[i]?.[1];
      if (!target) throw new ValueError(`fit: there are no targets for the output ${found[i].prefix || i}`);
      if (loss) {
        const weights = this.weights(target, output, key === "train", weight);
        const value = weights
          ? mean(mul(loss.samples(output, target, logits), cast(reshape(weights, [-1]), output.dtype)))
          : loss.mean(output, target, logits);
        if (prefix) logs.push([`${phase}${prefix}loss`, value]);
        const scaled = share === 1 ? value : mul(value, share);
        total = total ? total.add(scaled) : scaled;
      }
      for (const m of measures[i]) {
        const value = noGrad(() => m.update(output.detach(), target));
        logs.push([`${phase}${prefix}${m.name}`, m.metric ?? (value as Tensor)]);
      }
    }
    this.log(`${phase}loss`, total as Tensor, { progBar: true });
    for (const [name, value] of logs) this.log(name, value, { progBar: true });
    return total as Tensor;
  }

  /** Weights of the samples: their own times those of their classes. */
  private weights(target: Tensor, output: Tensor, training: boolean, own: Tensor | undefined): Tensor | undefined {
    const classWeight = training ? depends(() => this.#classWeight) : null;
    if (!classWeight) return own;
    const oneHot = target.ndim > 1 && target.shape[target.ndim - 1] > 1;
    const labels = noGrad(() => cast(reshape(oneHot ? argmax(target, -1) : target, [-1]), "int64"));
    if (labels.numel !== output.shape[0]) {
      throw new ShapeError(`fit: classWeight needs one class label a sample, the targets are ${show(target.shape)}`);
    }
    const byClass = noGrad(() => take(classWeight, labels));
    return own ? mul(byClass, own) : byClass;
  }
}

/** A structure of outputs that has the names of these. */
const undefinedTo = (found: readonly { output: Tensor; prefix: string }[]): unknown =>
  found.length === 1 && found[0].prefix === ""
    ? found[0].output
    : Object.fromEntries(found.map((f) => [f.prefix, f.output]));

/** Outputs or targets with their names; one without a name, those of a list numbered. */
function named(value: unknown): [string, Tensor][] {
  if (value instanceof Tensor) return [["", value]];
  if (isList(value)) return value.map((t, i) => [`output_${i + 1}`, t]);
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).filter((e): e is [string, Tensor] => e[1] instanceof Tensor);
  }
  throw new ValueError(`fit: a model gives a tensor, a list or an object of tensors, got ${describe(value)}`);
}

/** A softmax over another dimension than the last, which has the classes, is no head. */
const alongLast = (part: Module, output: Tensor): boolean => {
  const { dim } = part as { dim?: number };
  return dim === undefined || dim === -1 || dim === output.ndim - 1;
};

function convert(part: unknown, home: Home, what: string): unknown {
  if (part instanceof Tensor) return asTensor(part, home, what);
  if (isList(part)) return part.map((t, i) => asTensor(t, home, `${what}[${i}]`));
  if (typeof part === "object" && part !== null && Object.getPrototypeOf(part) === Object.prototype) {
    return Object.fromEntries(Object.entries(part).map(([k, v]) => [k, asTensor(v, home, `${what}.${k}`)]));
  }
  return asTensor(part, home, what);
}

/** The leaves of lists and objects that a test takes. */
function flatten<T>(value: unknown, take: (x: unknown) => boolean): T[] {
  if (take(value)) return [value as T];
  if (Array.isArray(value)) return value.flatMap((v) => flatten<T>(v, take));
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.values(value).flatMap((v) => flatten<T>(v, take));
  }
  return [];
}

// Model: a module with the training API of Keras.
import { checkOptions, describe } from "../check.js";
import { Dataset, TensorDataset } from "../data/dataset.js";
import { DataLoader, type DataLoaderOptions } from "../data/loader.js";
import { ShapeError, ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { Module } from "../nn/module.js";
import { cat } from "../ops/arrange.js";
import { Tensor } from "../tensor/tensor.js";
import type { Logs } from "./callback.js";
import { checkCount } from "./callbacks/monitor.js";
import { asTensor, Feed, type Home, isList, leavesOf, type ModelData, type Samples } from "./feed.js";
import type { History } from "./history.js";
import { type ClassWeight, CompiledModule, type CompileOptions } from "./keras.js";
import type { Batch } from "./module.js";
import type { TrainerOptions } from "./options.js";
import type { BatchSource } from "./sources.js";
import { isIterable } from "./sources.js";
import { type SummaryOptions, summaryOf } from "./summary.js";
import { Trainer } from "./trainer.js";

/** Data of `fit` and `evaluate`: inputs (with the targets in another argument), a dataset or loader of [x, y], or batches. */
export type FitData = ModelData | Dataset<never> | Dataset<Batch> | BatchSource;

export interface FitOptions
  extends Pick<
    TrainerOptions,
    "callbacks" | "seed" | "verbose" | "directory" | "name" | "gradientClipVal" | "accumulateGradBatches" | "report"
  > {
  /** Number of the last epoch: with `initialEpoch` 0 the number of epochs. Default 1. */
  epochs?: number;
  /** Number of the first epoch, for runs in parts. Default 0. */
  initialEpoch?: number;
  /** Samples an update. Default 32. */
  batchSize?: number;
  /** Another order in each epoch. Default true; batches that are given as such keep their order. */
  shuffle?: boolean;
  /** [x, y] or [x, y, sampleWeight] to validate with after each epoch; or a dataset, loader or batches. */
  validationData?: readonly [x: ModelData, y: ModelData, sampleWeight?: Samples] | Exclude<FitData, ModelData>;
  /** Share of the samples to validate with instead: the last ones, before shuffling. */
  validationSplit?: number;
  validationBatchSize?: number;
  /** Validate every so many epochs. Default 1. */
  validationFreq?: number;
  classWeight?: ClassWeight;
  /** Weight of each sample in the loss. */
  sampleWeight?: Samples;
  /** Batches an epoch, for data without an end. */
  stepsPerEpoch?: number;
  validationSteps?: number;
}

export interface EvaluateOptions extends Pick<TrainerOptions, "callbacks" | "verbose"> {
  batchSize?: number;
  sampleWeight?: Samples;
  /** Batches at most. */
  steps?: number;
}

export interface PredictOptions extends Pick<TrainerOptions, "callbacks"> {
  batchSize?: number;
  steps?: number;
}

const FIT = [
  ...["epochs", "initialEpoch", "batchSize", "shuffle", "validationData", "validationSplit", "validationBatchSize"],
  ...["validationFreq", "classWeight", "sampleWeight", "stepsPerEpoch", "validationSteps", "callbacks", "seed"],
  ...["verbose", "directory", "name", "gradientClipVal", "accumulateGradBatches", "report"],
];

/**
 * A module that trains itself, with Keras's words: `compile`, `fit`, `evaluate`, `predict`, `summary`. `nn.Sequential` is
 * one; extend it for a model of your own. `fit` runs the loop of `Trainer`.
 *
 * @example
 * const model = new nn.Sequential([new nn.Linear(2, 16), new nn.ReLU(), new nn.Linear(16, 2), new nn.Softmax()]);
 * model.compile({ optimizer: "adam", loss: "sparse_categorical_crossentropy", metrics: ["accuracy"] });
 * const history = await model.fit(x, labels, { epochs: 20, validationSplit: 0.2 });
 * const { accuracy } = await model.evaluate(testX, testLabels);
 */
export abstract class Model extends Module {
  #compiled: CompiledModule | null = null;
  /** What predicts while nothing was compiled. */
  #bare: CompiledModule | null = null;
  #stop: Trainer | null = null;

  /**
   * Says how the model is trained. Compiling again keeps the weights and begins with a new optimizer.
   *
   * @throws ValueError for unknown names, with the nearest known one
   */
  compile(options: CompileOptions): this {
    this.#compiled = new CompiledModule(this, options);
    return this;
  }

  /** The optimizer that `compile` was given or made. */
  get optimizer() {
    return this.compiled("optimizer").optimizer;
  }

  /**
   * Trains on samples and targets, or on a dataset, loader or batches of [x, y]. Called again, goes on: the optimizer keeps
   * its state. The weights of classes and samples multiply the losses; the mean is over the samples, as in Keras.
   *
   * @returns loss and metrics of every epoch, and as `val_…` those of the validation
   * @throws before anything is trained: for sample counts, shapes, labels or values that do not fit
   */
  async fit(x: FitData, y?: ModelData | FitOptions | null, options: FitOptions = {}): Promise<History> {
    const [targets, settings] = apart<FitOptions>(x, y, options);
    if ("precision" in settings) {
      throw new ValueError(
        'fit: precision is an option of compile, since evaluate and predict go by it too: model.compile({ …, precision: "bf16" })',
      );
    }
    checkOptions(settings, FIT, "fit");
    const module = this.compiled("fit");
    const { epochs = 1, initialEpoch = 0, batchSize = 32, validationSplit, validationData, seed } = settings;
    checkCount("fit", "epochs", epochs, 0);
    checkCount("fit", "initialEpoch", initialEpoch, 0);
    checkCount("fit", "batchSize", batchSize, 1);
    const { home } = module;
    const shuffle = settings.shuffle ?? true;
    const given = feedOf(x, targets, settings.sampleWeight, home, "fit", { batchSize, shuffle, seed });
    let feed = given;
    let validation: Feed | BatchSource | null = null;
    if (validationSplit !== undefined && validationSplit !== 0) {
      if (!(validationSplit > 0 && validationSplit < 1)) {
        throw new ValueError(`fit: validationSplit must be a share between 0 and 1, got ${describe(validationSplit)}`);
      }
      if (!(given instanceof Feed)) {
        throw new ValueError(
          "fit: validationSplit needs x and y as tensors or arrays; split the dataset, or give validationData",
        );
      }
      const kept = Math.floor(given.length * (1 - validationSplit));
      if (kept === 0)
        throw new ValueError(
          `fit: validationSplit ${validationSplit} of ${given.length} samples leaves none to train on`,
        );
      feed = given.slice(0, kept, "fit");
      validation = given.slice(kept, given.length - kept, "fit: validation");
    } else if (validationData !== undefined && validationData !== null) {
      if (Array.isArray(validationData) && (validationData.length === 2 || validationData.length === 3)) {
        const [vx, vy, vw] = validationData as [ModelData, ModelData, Samples | undefined];
        validation = feedOf(vx, vy, vw, home, "fit: validationData", { batchSize });
      } else
        validation = feedOf(validationData as FitData, null, undefined, home, "fit: validationData", { batchSize });
    }
    for (const part of [given, validation]) if (part instanceof Feed) await part.check("fit");
    const trainer = new Trainer({
      ...{ maxEpochs: epochs, device: home.device, numSanityValSteps: 0, compile: !module.eagerly },
      precision: module.precision,
      ...pick(settings, ["callbacks", "seed", "verbose", "directory", "name", "report"]),
      ...pick(settings, ["gradientClipVal", "accumulateGradBatches"]),
      ...{ limitTrainBatches: settings.stepsPerEpoch, limitValBatches: settings.validationSteps },
      checkValEveryNEpoch: settings.validationFreq,
    });
    trainer.currentEpoch = initialEpoch;
    module.use("train", feed instanceof Feed ? feed : null);
    module.use("validate", validation instanceof Feed ? validation : null);
    module.weigh(settings.classWeight);
    this.#stop = trainer;
    return trainer.fit(
      module,
      feed instanceof Feed ? batchesOf(feed, batchSize, shuffle, seed) : feed,
      validation instanceof Feed
        ? batchesOf(validation, settings.validationBatchSize ?? batchSize, false)
        : (validation ?? undefined),
    );
  }

  /** Loss and metrics of samples and targets, by name. */
  async evaluate(x: FitData, y?: ModelData | EvaluateOptions | null, options: EvaluateOptions = {}): Promise<Logs> {
    const [targets, settings] = apart<EvaluateOptions>(x, y, options);
    checkOptions(settings, ["batchSize", "sampleWeight", "steps", "callbacks", "verbose"], "evaluate");
    const module = this.compiled("evaluate");
    const { batchSize = 32 } = settings;
    checkCount("evaluate", "batchSize", batchSize, 1);
    const feed = feedOf(x, targets, settings.sampleWeight, module.home, "evaluate", { batchSize });
    if (feed instanceof Feed) await feed.check("evaluate");
    module.use("test", feed instanceof Feed ? feed : null);
    const trainer = this.trainerFor(module, {
      ...pick(settings, ["callbacks", "verbose"]),
      limitTestBatches: settings.steps,
    });
    return trainer.test(module, feed instanceof Feed ? batchesOf(feed, batchSize, false) : feed);
  }

  /** The model's output for samples, batch by batch, as one tensor (or as many as the model has outputs). */
  async predict(x: ModelData | Dataset<Batch> | BatchSource, options: PredictOptions = {}): Promise<Tensor> {
    checkOptions(options, ["batchSize", "steps", "callbacks"], "predict");
    const { batchSize = 32 } = options;
    checkCount("predict", "batchSize", batchSize, 1);
    this.#bare ??= this.#compiled ? null : new CompiledModule(this, { loss: "mse", optimizer: "sgd" });
    const module = this.#compiled ?? (this.#bare as CompiledModule);
    const feed = feedOf(x as FitData, null, undefined, module.home, "predict", { batchSize }, false);
    module.use("predict", feed instanceof Feed ? feed : null);
    const trainer = this.trainerFor(module, {
      ...pick(options, ["callbacks"]),
      verbose: 0,
      limitPredictBatches: options.steps,
    });
    const outputs = await trainer.predict(module, feed instanceof Feed ? batchesOf(feed, batchSize, false) : feed);
    return joined(outputs) as Tensor;
  }

  /** One update with one batch; gives its loss and metrics. */
  async trainOnBatch(
    x: ModelData,
    y: ModelData,
    options: { sampleWeight?: Samples; classWeight?: ClassWeight } = {},
  ): Promise<Logs> {
    checkOptions(options, ["sampleWeight", "classWeight"], "trainOnBatch");
    const module = this.compiled("trainOnBatch");
    const feed = feedOfBatch(x, y, options.sampleWeight, module.home, "trainOnBatch");
    module.use("train", feed);
    module.weigh(options.classWeight);
    return this.trainerFor(module, { verbose: 0 }).trainBatch(module, feed.tensors);
  }

  /** Loss and metrics of one batch. */
  async testOnBatch(x: ModelData, y: ModelData, options: { sampleWeight?: Samples } = {}): Promise<Logs> {
    checkOptions(options, ["sampleWeight"], "testOnBatch");
    const module = this.compiled("testOnBatch");
    const feed = feedOfBatch(x, y, options.sampleWeight, module.home, "testOnBatch");
    module.use("test", feed);
    return this.trainerFor(module, { verbose: 0 }).test(module, [feed.tensors]);
  }

  /** Prints layers, output shapes and parameters, as Keras does. Shapes need an example, or a model that has seen data. */
  summary(options: SummaryOptions = {}): void {
    const { printFn = console.log } = options;
    printFn(summaryOf(this, options));
  }

  /** Ends a `fit` that is under way after the present batch. */
  stopTraining(reason = "stopTraining"): void {
    this.#stop?.stop(reason);
  }

  private compiled(op: string): CompiledModule {
    if (this.#compiled) return this.#compiled;
    throw new ValueError(
      `${op}: compile the model first: model.compile({ optimizer: "adam", loss: "mse" }) and the like`,
    );
  }

  private trainerFor(module: CompiledModule, options: TrainerOptions): Trainer {
    const { home, eagerly, precision } = module;
    return new Trainer({ device: home.device, precision, compile: !eagerly, numSanityValSteps: 0, ...options });
  }
}

/** The chosen ones of some options. */
const pick = <O extends object, K extends keyof O>(options: O, keys: readonly K[]): Pick<O, K> =>
  Object.fromEntries(keys.filter((k) => options[k] !== undefined).map((k) => [k, options[k]])) as Pick<O, K>;

/** Targets and options: with data that have the targets in them, the second argument is the options. */
function apart<O>(
  x: unknown,
  y: ModelData | O | null | undefined,
  options: O,
): [targets: ModelData | null, options: O] {
  const record = typeof y === "object" && y !== null && Object.getPrototypeOf(y) === Object.prototype;
  return record && !isSamples(x) ? [null, y as O] : [(y as ModelData | null | undefined) ?? null, options];
}

/** Values, and not batches that something gives one after another. */
const isSamples = (x: unknown): boolean =>
  x instanceof Tensor ||
  ArrayBuffer.isView(x) ||
  isList(x) ||
  (Array.isArray(x) &&
    (x.length === 0 ||
      typeof x[0] !== "object" ||
      (Array.isArray(x[0]) ? !(x[0][0] instanceof Tensor) : ArrayBuffer.isView(x[0])))) ||
  (typeof x === "object" && x !== null && Object.getPrototypeOf(x) === Object.prototype && !isIterable(x));

const weightOf = (weight: Samples | undefined, home: Home): Tensor | null =>
  weight === undefined || weight === null ? null : asTensor(weight, home, "sampleWeight");

/** One batch's inputs, targets and weights. */
const feedOfBatch = (x: ModelData, y: ModelData, weight: Samples | undefined, home: Home, op: string): Feed =>
  new Feed(leavesOf(x, home, "x"), leavesOf(y, home, "y"), weightOf(weight, home), op);

/** Data as tensors, or as something that gives batches. */
function feedOf(
  x: FitData,
  y: ModelData | null,
  sampleWeight: Samples | undefined,
  home: Home,
  op: string,
  batches: DataLoaderOptions<Batch>,
  needsTargets = true,
): Feed | BatchSource {
  if (isSamples(x)) {
    if (needsTargets && (y === null || y === undefined)) {
      throw new ValueError(`${op}: targets are needed as second argument, or a dataset or loader of [x, y]`);
    }
    const targets = y === null || y === undefined ? null : leavesOf(y, home, "y");
    return new Feed(leavesOf(x, home, "x"), targets, weightOf(sampleWeight, home), op);
  }
  if (y !== null && y !== undefined) {
    throw new ValueError(`${op}: with ${describe(x)} the targets are in the batches; leave y out`);
  }
  if (sampleWeight !== undefined) {
    throw new ValueError(`${op}: with ${describe(x)} the weights are in the batches: [x, y, sampleWeight]`);
  }
  if (x instanceof Dataset) return new DataLoader(x as Dataset<Batch>, batches);
  return x as BatchSource;
}

const batchesOf = (feed: Feed, batchSize: number, shuffle: boolean, seed?: number): DataLoader<Tensor[]> =>
  new DataLoader(new TensorDataset(...feed.tensors), { batchSize, shuffle, seed });

/** Outputs of batches one after another. */
function joined(outputs: readonly unknown[]): unknown {
  const [first] = outputs;
  if (first instanceof Tensor) {
    if (first.ndim === 0) throw new ShapeError("predict: the model gives one number a batch, not one a sample");
    return noGrad(() => cat(outputs as Tensor[], 0));
  }
  if (Array.isArray(first)) return first.map((_, i) => joined(outputs.map((o) => (o as unknown[])[i])));
  if (typeof first === "object" && first !== null) {
    return Object.fromEntries(
      Object.keys(first).map((k) => [k, joined(outputs.map((o) => (o as Record<string, unknown>)[k]))]),
    );
  }
  throw new ValueError(
    outputs.length === 0 ? "predict: the data gave no batch" : `predict: the model gave ${describe(first)}`,
  );
}

// TrainModule: a model with its training step, validation step and optimizers, in the style of PyTorch Lightning.
import { ValueError } from "../errors.js";
import { depends } from "../graph/capture.js";
import type { Saveable } from "../io/checkpoint.js";
import { Metric } from "../metrics/metric.js";
import { Module } from "../nn/module.js";
import { clipGradNorm_, clipGradValue_ } from "../optim/clip.js";
import type { Optimizer } from "../optim/optimizer.js";
import type { LRScheduler, ReduceLROnPlateau } from "../optim/scheduler.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Hooked } from "./callback.js";
import type { Trainer } from "./trainer.js";

// biome-ignore lint/suspicious/noExplicitAny: the hyper-parameters of any optimizer
export type AnyOptimizer = Optimizer<any>;
export type Scheduler = LRScheduler | ReduceLROnPlateau;

export interface LogOptions {
  /** Have the value of each batch among the logs of the batch hooks. Default: in `trainingStep`. */
  onStep?: boolean;
  /** Have the value of the epoch among the logs of the epoch. Default true. */
  onEpoch?: boolean;
  /** Show it in the progress display. Default false. */
  progBar?: boolean;
  /** What the values of an epoch's batches become: their mean, weighted by the batches' sizes, and so on. Default "mean". */
  reduce?: "mean" | "sum" | "min" | "max";
  /** Weight of the batch in the mean. Default: the first dimension of the batch's first tensor. */
  batchSize?: number;
}

/** When a schedule steps. */
export interface SchedulerConfig {
  scheduler: Scheduler;
  /** Default "epoch". */
  interval?: "epoch" | "step";
  /** Step every so many epochs or steps. Default 1. */
  frequency?: number;
  /** Name of the logged value that `ReduceLROnPlateau` goes by. Default "val_loss". */
  monitor?: string;
}

/** An optimizer with its schedule. */
export interface OptimizerConfig {
  optimizer: AnyOptimizer;
  lrScheduler?: Scheduler | SchedulerConfig;
}

/** What `configureOptimizers` may return. */
export type OptimizerSetup =
  | AnyOptimizer
  | OptimizerConfig
  | readonly (AnyOptimizer | OptimizerConfig)[]
  | null
  | undefined;

// biome-ignore lint/suspicious/noExplicitAny: what the loader gives; a module knows its own
export type Batch = any;

/** What a training step returns: the loss, or an object that has it; nothing skips the batch. */
export type StepOutput = Tensor | { loss: Tensor; [name: string]: unknown } | null | undefined;

/** A checkpoint as `onSaveCheckpoint` and `onLoadCheckpoint` see it. */
export type Checkpoint = Record<string, Saveable>;

/** @internal Where logged values go. */
export interface LogSink {
  log(name: string, value: Tensor | number | Metric<unknown>, options: LogOptions): void;
}

/**
 * A model with its training in one class; a `Trainer` runs it. Names and order of the hooks are Lightning's, see
 * docs/training.md.
 *
 * `trainingStep`, the backward pass and the optimizer are recorded as one program at the first batch and replayed from
 * then on (see `compile`): JavaScript around the tensor operations does not run again. A step that reads values, or in
 * which something else forbids it, runs operation by operation, with the same results.
 *
 * @example
 * class Classifier extends TrainModule {
 *   net = new nn.Sequential([new nn.Linear(64, 32), new nn.ReLU(), new nn.Linear(32, 10)]);
 *   override forward(x: Tensor) { return this.net.forward(x); }
 *   override trainingStep([x, y]: [Tensor, Tensor]) {
 *     const loss = crossEntropy(this.forward(x), y);
 *     this.log("loss", loss, { progBar: true });
 *     return loss;
 *   }
 *   override configureOptimizers() { return new optim.Adam(this.parameters(), { lr: 1e-3 }); }
 * }
 * await new Trainer({ maxEpochs: 5 }).fit(new Classifier(), loader);
 */
export abstract class TrainModule extends Module {
  /** False: `trainingStep` calls `manualBackward` and the optimizers itself. */
  automaticOptimization = true;
  #trainer: Trainer | null = null;
  /** @internal */
  sink: LogSink | null = null;

  constructor() {
    super();
    Object.defineProperty(this, "sink", { enumerable: false });
  }

  /** The Trainer that runs this module. */
  get trainer(): Trainer {
    if (this.#trainer) return this.#trainer;
    throw new ValueError(`${this.constructor.name}: no Trainer runs this module; trainer.fit(module, …) does`);
  }

  /** @internal */
  attach(trainer: Trainer): void {
    this.#trainer = trainer;
  }

  /** @internal The module whose parameters are trained and saved. */
  subject(): Module {
    return this;
  }

  /** @internal The evaluation steps do nothing but tensor operations and log, so that they may be recorded. */
  get pureEvaluation(): boolean {
    return false;
  }

  /** Changes a batch before it goes to the device. */
  onBeforeBatchTransfer(batch: Batch): Batch {
    return batch;
  }

  /** @internal What the metrics among the properties gathered so far. */
  metricStates(): Saveable {
    const own = Object.entries(this).filter((e): e is [string, Metric<unknown>] => e[1] instanceof Metric);
    return Object.fromEntries(own.map(([name, metric]) => [name, metric.stateDict() ?? null]));
  }

  /** @internal Continues from that. */
  loadMetricStates(states: Saveable): void {
    for (const [name, state] of Object.entries((states ?? {}) as Record<string, Saveable>)) {
      const metric: unknown = (this as unknown as Record<string, unknown>)[name];
      if (metric instanceof Metric && state !== null) metric.loadStateDict(state);
    }
  }

  /** @internal Looks at the first batch before anything is trained. */
  onFirstBatch(_batch: Batch): Hooked {}

  /** Epochs completed before the present one. A recorded step that reads it is recorded anew in each epoch. */
  get currentEpoch(): number {
    return depends(() => this.#trainer?.currentEpoch ?? 0);
  }

  /** Optimizer steps so far. A training step that reads it cannot be recorded. */
  get globalStep(): number {
    return depends(() => this.#trainer?.globalStep ?? 0);
  }

  /** Number of the batch in its epoch. A training step that reads it cannot be recorded. */
  get batchIdx(): number {
    return depends(() => this.#trainer?.batchIdx ?? 0);
  }

  /** The model's output; for `predict` and for use after training. */
  // biome-ignore lint/suspicious/noExplicitAny: each module has inputs of its own
  override forward(..._inputs: any[]): any {
    throw new ValueError(`${this.constructor.name}: forward is not defined`);
  }

  // ---- what a module defines

  /** Computes the loss of a batch. A second parameter, the batch's number, forbids recording: see `batchIdx`. */
  abstract trainingStep(batch: Batch, batchIdx: number): StepOutput | undefined | Promise<StepOutput | undefined>;

  /** Logs what a batch of the validation data gives. */
  validationStep(_batch: Batch, _batchIdx: number): unknown {
    return undefined;
  }

  /** Logs what a batch of the test data gives. Default: the validation step. */
  testStep(batch: Batch, batchIdx: number): unknown {
    return this.validationStep(batch, batchIdx);
  }

  /** The prediction for a batch. Default: `forward` of the batch, or of its first element where it is a list. */
  predictStep(batch: Batch, _batchIdx: number): unknown {
    return this.forward(Array.isArray(batch) ? batch[0] : batch);
  }

  /** The optimizers, each perhaps with a schedule. */
  configureOptimizers(): OptimizerSetup {
    throw new ValueError(
      `${this.constructor.name}: configureOptimizers is not defined; return an optimizer, such as new optim.Adam(this.parameters())`,
    );
  }

  /** Limits the gradients before an optimizer steps. Default: `clipGradients` with the Trainer's settings. */
  configureGradientClipping(
    optimizer: AnyOptimizer,
    gradientClipVal: number | undefined,
    gradientClipAlgorithm: "norm" | "value",
  ): void {
    if (gradientClipVal !== undefined) this.clipGradients(optimizer, gradientClipVal, gradientClipAlgorithm);
  }

  // ---- what a module uses

  /**
   * Logs a value under a name: of each batch for the batch hooks, and over the epoch for history, callbacks and loggers.
   * A tensor of one element stays on the device until somebody reads it. A Metric is computed and reset at the end of the
   * epoch.
   */
  log(name: string, value: Tensor | number | Metric<unknown>, options: LogOptions = {}): void {
    this.sink?.log(name, value, options);
  }

  /** Logs several values with the same options. */
  logDict(values: Readonly<Record<string, Tensor | number | Metric<unknown>>>, options: LogOptions = {}): void {
    for (const [name, value] of Object.entries(values)) this.log(name, value, options);
  }

  /** The optimizer, or all of them where there are several. */
  optimizers(): AnyOptimizer | AnyOptimizer[] {
    const { optimizers } = this.trainer;
    return optimizers.length === 1 ? optimizers[0] : [...optimizers];
  }

  /** The schedule, or all of them where there are several. */
  lrSchedulers(): Scheduler | Scheduler[] | undefined {
    const { schedulers } = this.trainer;
    return schedulers.length > 1 ? [...schedulers] : schedulers[0];
  }

  /** `loss.backward()` with its hooks, for manual optimization. */
  manualBackward(loss: Tensor): void {
    this.onBeforeBackward(loss);
    loss.backward();
    this.onAfterBackward();
  }

  /** Limits the gradients of an optimizer's parameters, by their common norm or each value. */
  clipGradients(
    optimizer: AnyOptimizer,
    gradientClipVal: number,
    gradientClipAlgorithm: "norm" | "value" = "norm",
  ): void {
    const params = optimizer.paramGroups.flatMap((g) => g.params);
    if (gradientClipAlgorithm === "norm") clipGradNorm_(params, gradientClipVal);
    else clipGradValue_(params, gradientClipVal);
  }

  // ---- hooks, in Lightning's order

  /** Before anything else of `fit`, `validate`, `test` or `predict`: parts whose sizes depend on the data are made here. */
  setup(_stage: Stage): Hooked {}
  teardown(_stage: Stage): Hooked {}
  onFitStart(): Hooked {}
  onFitEnd(): Hooked {}
  onSanityCheckStart(): Hooked {}
  onSanityCheckEnd(): Hooked {}
  onTrainStart(): Hooked {}
  onTrainEnd(): Hooked {}
  onTrainEpochStart(): Hooked {}
  onTrainEpochEnd(): Hooked {}
  onTrainBatchStart(_batch: Batch, _batchIdx: number): Hooked {}
  onTrainBatchEnd(_outputs: StepOutput, _batch: Batch, _batchIdx: number): Hooked {}
  onBeforeZeroGrad(_optimizer: AnyOptimizer): void {}
  onBeforeBackward(_loss: Tensor): void {}
  onAfterBackward(): void {}
  onBeforeOptimizerStep(_optimizer: AnyOptimizer): void {}
  onValidationStart(): Hooked {}
  onValidationEnd(): Hooked {}
  onValidationEpochStart(): Hooked {}
  onValidationEpochEnd(): Hooked {}
  onValidationBatchStart(_batch: Batch, _batchIdx: number): Hooked {}
  onValidationBatchEnd(_outputs: unknown, _batch: Batch, _batchIdx: number): Hooked {}
  onTestStart(): Hooked {}
  onTestEnd(): Hooked {}
  onTestEpochStart(): Hooked {}
  onTestEpochEnd(): Hooked {}
  onTestBatchStart(_batch: Batch, _batchIdx: number): Hooked {}
  onTestBatchEnd(_outputs: unknown, _batch: Batch, _batchIdx: number): Hooked {}
  onPredictStart(): Hooked {}
  onPredictEnd(): Hooked {}
  onPredictEpochStart(): Hooked {}
  onPredictEpochEnd(): Hooked {}
  onPredictBatchStart(_batch: Batch, _batchIdx: number): Hooked {}
  onPredictBatchEnd(_outputs: unknown, _batch: Batch, _batchIdx: number): Hooked {}
  /** Adds to a checkpoint what the module needs beside its parameters. */
  onSaveCheckpoint(_checkpoint: Checkpoint): void {}
  onLoadCheckpoint(_checkpoint: Checkpoint): void {}
}

export type Stage = "fit" | "validate" | "test" | "predict";

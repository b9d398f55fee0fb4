// Averages of the weights along the training, which often generalise better than the last ones.
import { checkOptions, describe } from "../../check.js";
import { ValueError } from "../../errors.js";
import { type Compiled, compile } from "../../graph/compile.js";
import { noGrad } from "../../graph/modes.js";
import type { Saveable } from "../../io/checkpoint.js";
import { keepModes } from "../../nn/mode.js";
import type { Module } from "../../nn/module.js";
import { BatchNorm1d, BatchNorm2d } from "../../nn/norm.js";
import { add, mul, sub } from "../../ops/elementwise.js";
import { copy_ } from "../../ops/pointwise.js";
import { isFloat } from "../../tensor/dtype.js";
import { Tensor } from "../../tensor/tensor.js";
import type { Logs } from "../callback.js";
import { checkCount, checkNumber } from "./monitor.js";
import { groupsOf } from "./rates.js";
import { Stateful } from "./stateful.js";
import { alongside, copyOf, exchange, overwrite, type Weights } from "./weights.js";

export interface EMAOptions {
  /** What of the average remains at each step. Default 0.999. */
  decay?: number;
  /** Average floating-point buffers too, such as running statistics. Default false: they stay the model's. */
  useBuffers?: boolean;
}

/**
 * Keeps the exponential moving average of the weights, m ← decay·m + (1 − decay)·w after each optimizer step, beginning
 * with the weights after the first (`torch.optim.swa_utils.AveragedModel`). The model has the averaged weights from each
 * validation, or the end of each epoch, until the next batch; so what is saved or kept as the best then is what was
 * validated. After training it has them for good.
 *
 * Place it before callbacks that look at the weights at the end, as EarlyStopping does.
 *
 * @example
 * new callbacks.ExponentialMovingAverage({ decay: 0.99 });
 */
export class ExponentialMovingAverage extends Stateful<{
  /** Optimizer steps seen. */
  steps: number;
  /** The model has the averages, and `other` what it had. */
  swapped: boolean;
  other: Weights | undefined;
}> {
  readonly decay: number;
  private readonly useBuffers: boolean;
  private running = false;
  private update: Compiled<[], void> | undefined;

  constructor(options: EMAOptions = {}) {
    super();
    checkOptions(options, ["decay", "useBuffers"], "ExponentialMovingAverage");
    const { decay = 0.999, useBuffers = false } = options;
    checkNumber("ExponentialMovingAverage", "decay", decay);
    if (decay >= 1) throw new ValueError(`ExponentialMovingAverage: decay must be below 1, got ${decay}`);
    this.decay = decay;
    this.useBuffers = useBuffers;
  }

  protected override fresh() {
    return { steps: 0, swapped: false, other: undefined };
  }

  /** What is averaged. */
  private weights(): Weights {
    const list = [...this.model.namedParameters(), ...(this.useBuffers ? this.model.namedBuffers() : [])];
    return Object.fromEntries(list.filter(([, t]) => isFloat(t.dtype)));
  }

  override onTrainBegin(logs: Logs): void {
    super.onTrainBegin(logs);
    this.running = true;
  }

  override onTrainBatchBegin(_batch: number): void {
    if (this.state.swapped) this.swap();
  }

  override onTrainBatchEnd(_batch: number): void {
    this.follow();
  }

  /** Takes in an optimizer step, if there was one. */
  private follow(): void {
    const { state } = this;
    if (this.loop.globalStep === state.steps) return; // gradients are still being accumulated
    state.steps = this.loop.globalStep;
    if (!state.other) {
      state.other = copyOf(this.weights());
      return;
    }
    if (!this.update) {
      const weights = this.weights();
      state.other = alongside(state.other, weights);
      this.update = this.recorded(weights, state.other);
    }
    this.update();
  }

  /** The update of all averages as one program. */
  private recorded(weights: Weights, averages: Weights): Compiled<[], void> {
    const { decay } = this;
    return compile(() =>
      noGrad(() => {
        for (const [k, m] of Object.entries(averages)) copy_(m, add(mul(m, decay), mul(weights[k], 1 - decay)));
      }),
    );
  }

  override onTestBegin(_logs: Logs): void {
    this.show();
  }

  override onEpochEnd(_epoch: number, _logs: Logs): void {
    this.show();
  }

  override onTrainEnd(logs: Logs): void {
    super.onTrainEnd(logs);
    if (!this.loop.interrupted) this.show();
    this.halt();
  }

  override onException(error: unknown): void {
    super.onException(error);
    if (this.state.swapped) this.swap();
    this.halt();
  }

  private halt(): void {
    this.running = false;
    this.update?.dispose();
    this.update = undefined;
  }

  /** Gives the model the averages. */
  private show(): void {
    if (!this.running || this.state.swapped) return;
    this.follow(); // an epoch may end with a step of its own
    if (this.state.other) this.swap();
  }

  private swap(): void {
    exchange(this.weights(), this.state.other as Weights);
    this.state.swapped = !this.state.swapped;
  }

  override loadStateDict(state: Saveable): void {
    super.loadStateDict(state);
    this.update = undefined; // which is of other tensors
  }
}

type Batch = Tensor | readonly unknown[];
type Iterated = Iterable<Batch> | AsyncIterable<Batch>;

/** Batches of a model's input, or of lists that begin with it: a DataLoader, an iterable, or a function that gives one. */
export type Batches = Iterated | (() => Iterated);

export interface SWAOptions {
  /** The learning rate of the epochs that are averaged. */
  swaLr: number;
  /** The first of them: an epoch (from 0), or a share of all below 1. Default 0.8. */
  swaEpochStart?: number;
  /** Epochs in which the rate goes over to `swaLr`. Default 10. */
  annealingEpochs?: number;
  /** Default `"cos"`. */
  annealingStrategy?: "cos" | "linear";
  /** The training data once more, from which the statistics of batch normalisation are renewed; needed if there is any. */
  data?: Batches;
}

/**
 * Averages the weights of the last epochs, which are trained at a constant rate (Izmailov et al. 2018), and gives the
 * model the average at the end. Rates and averages are those of `torch.optim.swa_utils`. Statistics of batch
 * normalisation belong to the weights, so they are computed anew from the data (`update_bn`).
 *
 * @throws ValueError at construction for bad options; before training if the model has batch normalisation and no data
 *   is given, or the epochs are not limited and `swaEpochStart` is a share of them
 * @example
 * new callbacks.StochasticWeightAveraging({ swaLr: 0.05, data: trainLoader });
 */
export class StochasticWeightAveraging extends Stateful<{
  /** Epochs averaged so far. */
  epochs: number;
  average: Weights | undefined;
  /** Rates of the parameter groups before the first of them. */
  baseLrs: number[] | undefined;
}> {
  private readonly settings: Required<Omit<SWAOptions, "data">>;
  private readonly data: Batches | undefined;
  private start = Number.POSITIVE_INFINITY;
  private epoch = 0;

  constructor(options: SWAOptions) {
    super();
    const owner = "StochasticWeightAveraging";
    checkOptions(options, ["swaLr", "swaEpochStart", "annealingEpochs", "annealingStrategy", "data"], owner);
    const { swaLr, swaEpochStart = 0.8, annealingEpochs = 10, annealingStrategy = "cos", data } = options;
    checkNumber(owner, "swaLr", swaLr);
    checkNumber(owner, "swaEpochStart", swaEpochStart);
    if (swaEpochStart > 1) checkCount(owner, "swaEpochStart, if not a share,", swaEpochStart, 0);
    checkCount(owner, "annealingEpochs", annealingEpochs, 0);
    if (annealingStrategy !== "cos" && annealingStrategy !== "linear") {
      throw new ValueError(`${owner}: annealingStrategy must be "cos" or "linear", got ${describe(annealingStrategy)}`);
    }
    this.settings = { swaLr, swaEpochStart, annealingEpochs, annealingStrategy };
    this.data = data;
  }

  protected override fresh() {
    return { epochs: 0, average: undefined, baseLrs: undefined };
  }

  override onTrainBegin(logs: Logs): void {
    super.onTrainBegin(logs);
    const { swaEpochStart } = this.settings;
    const { maxEpochs } = this.loop;
    if (!this.data && normsOf(this.model).length > 0) {
      throw new ValueError(
        "StochasticWeightAveraging: the model has batch normalisation, whose statistics must be renewed at the end; pass the training data as data",
      );
    }
    const share = swaEpochStart > 0 && swaEpochStart < 1;
    if (share && !Number.isFinite(maxEpochs)) {
      throw new ValueError(
        `StochasticWeightAveraging: ${swaEpochStart} of all epochs is no number where the epochs are not limited; give swaEpochStart as an epoch`,
      );
    }
    this.start = share ? Math.floor(swaEpochStart * maxEpochs) : swaEpochStart;
    if (this.start >= maxEpochs) {
      throw new ValueError(
        `StochasticWeightAveraging: nothing would be averaged: swaEpochStart is ${this.start}, and training ends after ${maxEpochs} epochs`,
      );
    }
  }

  override onEpochBegin(epoch: number, _logs: Logs): void {
    this.epoch = epoch;
  }

  override onTrainBatchBegin(_batch: number): void {
    if (this.epoch < this.start) return;
    const groups = groupsOf(this.loop);
    this.state.baseLrs ??= groups.map((g) => g.lr);
    const { swaLr, annealingEpochs, annealingStrategy } = this.settings;
    const t = annealingEpochs === 0 ? 1 : Math.min(1, (this.epoch - this.start) / annealingEpochs);
    const alpha = annealingStrategy === "cos" ? (1 - Math.cos(Math.PI * t)) / 2 : t;
    // Before every batch, since a schedule may have set others.
    for (const [i, base] of this.state.baseLrs.entries()) groups[i].lr = swaLr * alpha + base * (1 - alpha);
  }

  override onEpochEnd(epoch: number, _logs: Logs): void {
    if (epoch < this.start) return;
    const { state } = this;
    const weights = Object.fromEntries(this.model.namedParameters());
    if (!state.average) state.average = copyOf(weights);
    else {
      state.average = alongside(state.average, weights);
      for (const [k, m] of Object.entries(state.average)) {
        noGrad(() => copy_(m, add(m, mul(sub(weights[k], m), 1 / (state.epochs + 1)))));
      }
    }
    state.epochs++;
  }

  override async onTrainEnd(logs: Logs): Promise<void> {
    super.onTrainEnd(logs);
    const { average } = this.state;
    if (!average || this.loop.interrupted) return;
    overwrite(Object.fromEntries(this.model.namedParameters()), average);
    if (this.data) await renewStatistics(this.model, this.data);
  }
}

type Norm = (BatchNorm1d | BatchNorm2d) & { momentum: number };

/** The layers that keep running statistics of batches. */
const normsOf = (model: Module): Norm[] =>
  [...model.modules()].filter(
    (m): m is Norm => (m instanceof BatchNorm1d || m instanceof BatchNorm2d) && m.runningMean !== null,
  );

/**
 * Computes the running statistics of batch normalisation anew, as the mean over the batches
 * (`torch.optim.swa_utils.update_bn`).
 */
export async function renewStatistics(model: Module, data: Batches): Promise<void> {
  const norms = normsOf(model);
  if (norms.length === 0) return;
  const back = keepModes(model);
  const momenta = norms.map((m) => m.momentum);
  let batches = 0;
  model.train();
  try {
    for await (const batch of typeof data === "function" ? data() : data) {
      const x = batch instanceof Tensor ? batch : batch[0];
      if (!(x instanceof Tensor)) {
        throw new ValueError(`renewStatistics: a batch must be a tensor or begin with one, got ${describe(x)}`);
      }
      // A share of 1/n for the n-th batch makes the running value a mean; what was there before has none.
      batches++;
      for (const m of norms) m.momentum = 1 / batches;
      noGrad(() => model.forward(x));
    }
    if (batches === 0)
      throw new ValueError("renewStatistics: the data gave no batch; is it a generator that is used up?");
    for (const { numBatchesTracked } of norms) noGrad(() => numBatchesTracked?.fill_(batches));
  } finally {
    norms.forEach((m, i) => {
      m.momentum = momenta[i];
    });
    back();
  }
}

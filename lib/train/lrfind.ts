// A learning rate to begin with, found by trying: Smith, "Cyclical Learning Rates for Training Neural Networks" (2015),
// section 3.3.
import { checkOptions, describe } from "../check.js";
import { DataLoader } from "../data/loader.js";
import { ValueError } from "../errors.js";
import { keepModes } from "../nn/mode.js";
import { getRngState, setRngState } from "../tensor/random.js";
import { Callback, type Logs } from "./callback.js";
import { checkCount, checkNumber, unknownName } from "./callbacks/monitor.js";
import { groupsOf } from "./callbacks/rates.js";
import { copyOf, overwrite, snapshot } from "./callbacks/weights.js";
import { type FitData, Model } from "./model.js";
import { type AnyOptimizer, TrainModule } from "./module.js";
import type { BatchSource } from "./sources.js";
import { Trainer } from "./trainer.js";

export interface LrFindOptions {
  /** The first rate. Default 1e−8. */
  minLr?: number;
  /** The last one. Default 1. */
  maxLr?: number;
  /** Batches in which the rate rises from one to the other, exponentially. Default 100. */
  steps?: number;
  /** Stop when the loss is so many times the best one; null: never. Default 4. */
  earlyStopThreshold?: number | null;
  /** Samples a batch, where a compiled model is given data that are not in batches. Default 32. */
  batchSize?: number;
}

export interface LrFindResult {
  /** The rate at which the loss fell fastest; undefined where it never did. */
  readonly suggestion: number | undefined;
  /** The rates that were tried. */
  readonly lrs: readonly number[];
  /** The loss at each, smoothed. */
  readonly losses: readonly number[];
}

/** Share of the earlier losses in the smoothed one, as in Lightning. */
const SMOOTHING = 0.98;

/**
 * Trains for some batches while the learning rate rises, and suggests the rate at which the loss falls fastest, as
 * Lightning's finder does: the first ten losses and the last one are left out. Afterwards model, optimizers, random
 * numbers and loader are as they were before.
 *
 * @param model a TrainModule, or a compiled `nn.Model`
 * @param data what its `fit` takes; for a compiled model also `[x, y]`
 * @throws ValueError for bad options, or a model that logs no `loss`
 * @example
 * const { suggestion } = await lrFind(module, loader, { minLr: 1e-5, maxLr: 1 });
 */
export async function lrFind(
  model: TrainModule | Model,
  data: BatchSource | FitData,
  options: LrFindOptions = {},
): Promise<LrFindResult> {
  checkOptions(options, ["minLr", "maxLr", "steps", "earlyStopThreshold", "batchSize"], "lrFind");
  const { minLr = 1e-8, maxLr = 1, steps = 100, earlyStopThreshold = 4, batchSize } = options;
  checkNumber("lrFind", "minLr", minLr);
  checkNumber("lrFind", "maxLr", maxLr);
  checkCount("lrFind", "steps", steps, 2);
  if (!(minLr > 0 && minLr < maxLr)) {
    throw new ValueError(`lrFind: the rate must rise from above 0; got minLr ${minLr} and maxLr ${maxLr}`);
  }
  if (earlyStopThreshold !== null) checkNumber("lrFind", "earlyStopThreshold", earlyStopThreshold, 1);
  if (!(model instanceof TrainModule || model instanceof Model)) {
    throw new ValueError(`lrFind: a TrainModule or a compiled nn.Model is needed, got ${describe(model)}`);
  }
  const finder = new Finder(minLr, maxLr, steps, earlyStopThreshold ?? Number.POSITIVE_INFINITY);
  const weights = snapshot(model);
  const back = keepModes(model);
  const rng = getRngState();
  const position = data instanceof DataLoader ? data.stateDict() : undefined;
  try {
    if (model instanceof Model) {
      const settings = { callbacks: [finder], epochs: steps, verbose: 0 as const, ...(batchSize && { batchSize }) };
      if (Array.isArray(data) && data.length === 2) await model.fit(data[0] as never, data[1] as never, settings);
      else await model.fit(data as FitData, settings);
    } else {
      const [parameter] = model.parameters();
      const trainer = new Trainer({ callbacks: [finder], maxSteps: steps, verbose: 0, device: parameter?.device });
      await trainer.fit(model, data as BatchSource);
    }
  } finally {
    finder.restore();
    overwrite(model.stateDict(), weights);
    model.zeroGrad();
    back();
    setRngState(rng);
    if (position) (data as DataLoader<unknown>).loadStateDict(position);
  }
  const { lrs, losses } = finder;
  return { suggestion: lrs[steepest(losses) ?? -1], lrs, losses };
}

/** Index at which the losses fall fastest, by central differences; undefined where they do not fall. */
export function steepest(losses: readonly number[], skipBegin = 10, skipEnd = 1): number | undefined {
  const last = losses.length - 1 - skipEnd;
  let found: number | undefined;
  let least = 0;
  for (let i = skipBegin; i <= last; i++) {
    const [a, b] = [Math.max(i - 1, skipBegin), Math.min(i + 1, last)];
    const slope = (losses[b] - losses[a]) / (b - a);
    if (slope < least) {
      least = slope;
      found = i;
    }
  }
  return found;
}

class Finder extends Callback {
  readonly lrs: number[] = [];
  readonly losses: number[] = [];
  private average = 0;
  private best = Number.POSITIVE_INFINITY;
  private before: [AnyOptimizer, ReturnType<AnyOptimizer["stateDict"]>][] = [];

  constructor(
    private readonly minLr: number,
    private readonly maxLr: number,
    private readonly steps: number,
    private readonly threshold: number,
  ) {
    super();
  }

  override onTrainBegin(_logs: Logs): void {
    if (this.loop.optimizers.length === 0) throw new ValueError("lrFind: the module has no optimizer");
    this.before = this.loop.optimizers.map((o) => {
      const { state, paramGroups } = o.stateDict();
      return [o, { state: state.map(({ step, slots }) => ({ step, slots: copyOf(slots) })), paramGroups }];
    });
  }

  /** Gives the optimizers back what they had. */
  restore(): void {
    for (const [optimizer, state] of this.before) optimizer.loadStateDict(state);
  }

  override onTrainBatchBegin(_batch: number): void {
    const { minLr, maxLr, steps } = this;
    const lr = minLr * (maxLr / minLr) ** (this.lrs.length / (steps - 1));
    for (const group of groupsOf(this.loop)) group.lr = lr;
    this.lrs.push(lr);
  }

  override onTrainBatchEnd(_batch: number, logs: Logs): void {
    if (logs.loss === undefined) {
      throw new ValueError(`lrFind: the module logs no value ${unknownName("loss", Object.keys(logs))}`);
    }
    this.average = SMOOTHING * this.average + (1 - SMOOTHING) * logs.loss;
    const n = this.losses.length + 1;
    const smoothed = this.average / (1 - SMOOTHING ** n);
    this.losses.push(smoothed);
    if (n > 1 && !(smoothed <= this.threshold * this.best)) this.loop.stop("the loss diverges");
    else if (n === this.steps) this.loop.stop("all rates have been tried");
    this.best = Math.min(this.best, smoothed);
  }
}

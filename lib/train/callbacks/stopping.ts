// What ends training before its time: no improvement, NaN, the clock.
import { checkOptions, describe } from "../../check.js";
import { ValueError } from "../../errors.js";
import { Callback, type Logs } from "../callback.js";
import { checkCount, checkNumber, type Mode, Monitor, unknownName } from "./monitor.js";
import { Stateful } from "./stateful.js";
import { snapshot, type Weights } from "./weights.js";

export interface EarlyStoppingOptions {
  /** Name in the logs. Default `"val_loss"`. */
  monitor?: string;
  /** Smaller changes are no improvement. Default 0. */
  minDelta?: number;
  /** Epochs without improvement after which training stops. Default 0. */
  patience?: number;
  /** Whether smaller or larger is better; `"auto"` goes by the name. Default `"auto"`. */
  mode?: Mode;
  /** What must be reached besides: epochs that improve without being better than this count as waiting. */
  baseline?: number;
  /** At the end, stopped early or not, the model gets the weights of the best epoch back. Default true (Keras: false). */
  restoreBestWeights?: boolean;
  /** Epochs before this one (from 0) are not looked at. Default 0. */
  startFromEpoch?: number;
}

/**
 * Stops training when a value has not improved for `patience` epochs. Semantics of `keras.callbacks.EarlyStopping`,
 * except that the best weights are restored by default.
 *
 * @throws ValueError at construction for bad options; after the first epoch if there is no such value
 * @example
 * new callbacks.EarlyStopping({ monitor: "val_accuracy", patience: 5 });
 */
export class EarlyStopping extends Stateful<{
  /** Epochs since the last improvement. */
  wait: number;
  best: number | undefined;
  bestEpoch: number;
  stoppedEpoch: number;
  bestWeights: Weights | undefined;
}> {
  private readonly monitor: Monitor;
  private readonly patience: number;
  private readonly baseline: number | undefined;
  private readonly restoreBestWeights: boolean;
  private readonly startFromEpoch: number;

  constructor(options: EarlyStoppingOptions = {}) {
    super();
    checkOptions(
      options,
      ["monitor", "minDelta", "patience", "mode", "baseline", "restoreBestWeights", "startFromEpoch"],
      "EarlyStopping",
    );
    const { monitor = "val_loss", minDelta = 0, patience = 0, mode, baseline } = options;
    const { restoreBestWeights = true, startFromEpoch = 0 } = options;
    checkCount("EarlyStopping", "patience", patience, 0);
    checkCount("EarlyStopping", "startFromEpoch", startFromEpoch, 0);
    if (baseline !== undefined) checkNumber("EarlyStopping", "baseline", baseline, Number.NEGATIVE_INFINITY);
    this.monitor = new Monitor("EarlyStopping", monitor, mode, minDelta);
    this.patience = patience;
    this.baseline = baseline;
    this.restoreBestWeights = restoreBestWeights;
    this.startFromEpoch = startFromEpoch;
  }

  protected override fresh() {
    return { wait: 0, best: undefined, bestEpoch: 0, stoppedEpoch: 0, bestWeights: undefined };
  }

  /** The best value so far; undefined before the first. */
  get best(): number | undefined {
    return this.state.best;
  }

  /** The epoch (from 0) that it is of. */
  get bestEpoch(): number {
    return this.state.bestEpoch;
  }

  /** The epoch (from 0) after which training was stopped; 0 if it was not. */
  get stoppedEpoch(): number {
    return this.state.stoppedEpoch;
  }

  override onTrainBegin(logs: Logs): void {
    super.onTrainBegin(logs);
    this.monitor.check(this.loop);
  }

  override onEpochEnd(epoch: number, logs: Logs): void {
    const value = this.monitor.read(logs);
    if (value === undefined || epoch < this.startFromEpoch) return;
    const { state, monitor, baseline } = this;
    state.wait++;
    if (monitor.better(value, state.best)) {
      state.best = value;
      state.bestEpoch = epoch;
      if (this.restoreBestWeights) state.bestWeights = snapshot(this.model);
      if (baseline === undefined || monitor.better(value, baseline)) state.wait = 0;
      return;
    }
    if (state.wait >= this.patience && epoch > 0) {
      state.stoppedEpoch = epoch;
      this.loop.stop(
        `${monitor.name} has not improved on ${Number((state.best ?? Number.NaN).toPrecision(5))} of epoch ${state.bestEpoch + 1} for ${state.wait} epochs`,
      );
    }
  }

  override onTrainEnd(logs: Logs): void {
    super.onTrainEnd(logs);
    const { bestWeights } = this.state;
    if (bestWeights && !this.loop.interrupted) this.model.loadStateDict(bestWeights);
  }
}

/**
 * Stops training at once when the loss becomes NaN or infinite, and says where. It reads the loss of every batch.
 *
 * @example
 * new callbacks.TerminateOnNaN();
 */
export class TerminateOnNaN extends Callback {
  private epoch = 0;

  override onEpochBegin(epoch: number): void {
    this.epoch = epoch;
  }

  override onTrainBatchEnd(batch: number, logs: Logs): void {
    if (logs.loss === undefined) {
      throw new ValueError(`TerminateOnNaN: there is no value ${unknownName("loss", Object.keys(logs))}`);
    }
    if (Number.isFinite(logs.loss)) return;
    this.loop.stop(
      `the loss became ${logs.loss} in epoch ${this.epoch + 1}, batch ${batch + 1} (step ${this.loop.globalStep})`,
    );
  }
}

export interface Duration {
  days?: number;
  hours?: number;
  minutes?: number;
  seconds?: number;
}

/**
 * Stops training after the batch in which the time is up; a run that is resumed goes on counting.
 *
 * @example
 * new callbacks.Timer({ hours: 1, minutes: 30 });
 */
export class Timer extends Stateful<{ seconds: number }> {
  /** Seconds that training may take. */
  readonly limit: number;
  private begun: number | undefined;

  constructor(duration: Duration) {
    super();
    checkOptions(duration, ["days", "hours", "minutes", "seconds"], "Timer");
    const { days = 0, hours = 0, minutes = 0, seconds = 0 } = duration;
    for (const [name, value] of Object.entries({ days, hours, minutes, seconds })) checkNumber("Timer", name, value);
    this.limit = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    if (this.limit === 0) throw new ValueError(`Timer: give a time, such as { hours: 2 }, got ${describe(duration)}`);
  }

  protected override fresh() {
    return { seconds: 0 };
  }

  /** Seconds of training so far. */
  get elapsed(): number {
    return this.state.seconds + (this.begun === undefined ? 0 : (performance.now() - this.begun) / 1000);
  }

  override onTrainBegin(logs: Logs): void {
    super.onTrainBegin(logs);
    this.begun = performance.now();
  }

  override onTrainBatchEnd(_batch: number): void {
    if (this.elapsed >= this.limit) this.loop.stop(`the time of ${this.limit} s is up`);
  }

  override onTrainEnd(logs: Logs): void {
    super.onTrainEnd(logs);
    this.halt();
  }

  override onException(error: unknown): void {
    super.onException(error);
    this.halt();
  }

  private halt(): void {
    this.state.seconds = this.elapsed;
    this.begun = undefined;
  }

  override stateDict() {
    return { seconds: this.elapsed };
  }
}

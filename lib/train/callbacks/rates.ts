// Learning rates by epochs and by results.
import { checkFunction, checkOptions, describe } from "../../check.js";
import { ValueError } from "../../errors.js";
import { Callback, type Logs, type Loop } from "../callback.js";
import { checkCount, checkNumber, type Mode, Monitor } from "./monitor.js";
import { Stateful } from "./stateful.js";

type Group = { lr: number };

/** The parameter groups of all optimizers. */
export const groupsOf = (loop: Loop): Group[] => loop.optimizers.flatMap((o) => o.paramGroups as Group[]);

/** The rates as they stand in reports: a number, or a list where there are several groups. */
export function ratesOf(loop: Loop): number | number[] {
  const rates = groupsOf(loop).map((g) => g.lr);
  return rates.length === 1 ? rates[0] : rates;
}

/** The rates as they stand in logs: `learning_rate`, as Keras has it; with a number where there are several groups. */
export function namedRates(loop: Loop): Logs {
  const groups = groupsOf(loop);
  const name = (i: number): string => (groups.length === 1 ? "learning_rate" : `learning_rate_${i}`);
  return Object.fromEntries(groups.map(({ lr }, i) => [name(i), lr]));
}

/** Adds the rates to the logs of an epoch, and to the history. */
function logRates(loop: Loop, epoch: number, logs: Logs): void {
  const rates = namedRates(loop);
  Object.assign(logs, rates);
  loop.history.amend(epoch, rates);
}

/** Throws where a schedule would undo what the callback does to the rates. */
function alone(loop: Loop, owner: string): void {
  const [schedule] = loop.schedulers;
  if (!schedule) return;
  throw new ValueError(
    `${owner}: the optimizer has a schedule (${schedule.constructor.name}), which sets the learning rate too; use one of them`,
  );
}

/**
 * Sets the learning rate at the beginning of each epoch (from 0), from the epoch and the present rate; that of each
 * parameter group, where there are several. The rate is added to the epoch's logs as `learning_rate`.
 *
 * @throws ValueError when the function does not give a rate, or the optimizer has a schedule besides
 * @example
 * new callbacks.LearningRateScheduler((epoch, lr) => (epoch < 10 ? lr : lr * Math.exp(-0.1)));
 */
export class LearningRateScheduler extends Callback {
  constructor(private readonly schedule: (epoch: number, lr: number) => number) {
    super();
    checkFunction(schedule, "LearningRateScheduler: a function of epoch and rate");
  }

  override onTrainBegin(_logs: Logs): void {
    alone(this.loop, "LearningRateScheduler");
  }

  override onEpochBegin(epoch: number, _logs: Logs): void {
    for (const group of groupsOf(this.loop)) {
      const lr = this.schedule(epoch, group.lr);
      if (typeof lr !== "number" || !Number.isFinite(lr) || lr < 0) {
        throw new ValueError(
          `LearningRateScheduler: the function must give a finite number ≥ 0, got ${describe(lr)} for epoch ${epoch} and rate ${group.lr}`,
        );
      }
      group.lr = lr;
    }
  }

  override onEpochEnd(epoch: number, logs: Logs): void {
    logRates(this.loop, epoch, logs);
  }
}

/**
 * Adds the learning rate to the logs of each epoch, as `learning_rate`, or `learning_rate_0`, `learning_rate_1` … where
 * there are several parameter groups; so that it is in the history and in what the loggers write.
 */
export class LearningRateMonitor extends Callback {
  override onEpochEnd(epoch: number, logs: Logs): void {
    logRates(this.loop, epoch, logs);
  }
}

export interface ReduceOptions {
  /** Name in the logs. Default `"val_loss"`. */
  monitor?: string;
  /** What the rate is multiplied by; below 1. Default 0.1. */
  factor?: number;
  /** Epochs without improvement after which the rate is reduced. Default 10. */
  patience?: number;
  /** Whether smaller or larger is better; `"auto"` goes by the name. Default `"auto"`. */
  mode?: Mode;
  /** Smaller changes are no improvement. Default 1e−4. */
  minDelta?: number;
  /** Epochs after a reduction in which nothing is counted. Default 0. */
  cooldown?: number;
  /** The rate does not fall below this. Default 0. */
  minLr?: number;
}

/**
 * Reduces the learning rate when a value has not improved for `patience` epochs. Semantics of
 * `keras.callbacks.ReduceLROnPlateau`; `optim.ReduceLROnPlateau` is PyTorch's.
 *
 * @throws ValueError at construction for bad options; after the first epoch if there is no such value
 * @example
 * new callbacks.ReduceLROnPlateau({ monitor: "val_loss", factor: 0.5, patience: 3 });
 */
export class ReduceLROnPlateau extends Stateful<{
  best: number | undefined;
  /** Epochs since the last improvement or reduction. */
  wait: number;
  /** Epochs in which nothing is counted yet. */
  cooldown: number;
}> {
  private readonly monitor: Monitor;
  private readonly settings: { factor: number; patience: number; cooldown: number; minLr: number };

  constructor(options: ReduceOptions = {}) {
    super();
    const owner = "ReduceLROnPlateau";
    checkOptions(options, ["monitor", "factor", "patience", "mode", "minDelta", "cooldown", "minLr"], owner);
    const {
      monitor = "val_loss",
      factor = 0.1,
      patience = 10,
      mode,
      minDelta = 1e-4,
      cooldown = 0,
      minLr = 0,
    } = options;
    checkNumber(owner, "factor", factor);
    if (factor >= 1) throw new ValueError(`${owner}: factor must be below 1, got ${factor}`);
    checkCount(owner, "patience", patience, 0);
    checkCount(owner, "cooldown", cooldown, 0);
    checkNumber(owner, "minLr", minLr);
    this.monitor = new Monitor(owner, monitor, mode, minDelta);
    this.settings = { factor, patience, cooldown, minLr };
  }

  protected override fresh() {
    return { best: undefined, wait: 0, cooldown: 0 };
  }

  override onTrainBegin(logs: Logs): void {
    super.onTrainBegin(logs);
    alone(this.loop, "ReduceLROnPlateau");
    this.monitor.check(this.loop);
  }

  override onEpochEnd(epoch: number, logs: Logs): void {
    logRates(this.loop, epoch, logs);
    const value = this.monitor.read(logs);
    if (value === undefined) return;
    const { state } = this;
    const { factor, patience, cooldown, minLr } = this.settings;
    if (state.cooldown > 0) {
      state.cooldown--;
      state.wait = 0;
    }
    if (this.monitor.better(value, state.best)) {
      state.best = value;
      state.wait = 0;
      return;
    }
    if (state.cooldown > 0 || ++state.wait < patience) return;
    const above = groupsOf(this.loop).filter((g) => g.lr > minLr);
    for (const group of above) group.lr = Math.max(group.lr * factor, minLr);
    if (above.length === 0) return;
    state.cooldown = cooldown;
    state.wait = 0;
  }
}

// Callback: what a user hangs into a training loop, and what it sees of the loop.
import type { Saveable } from "../io/checkpoint.js";
import type { Module } from "../nn/module.js";
import type { Optimizer } from "../optim/optimizer.js";
import type { LRScheduler, ReduceLROnPlateau } from "../optim/scheduler.js";
import type { History } from "./history.js";

/** Values by name: `loss`, `accuracy`, `val_loss`, … */
export type Logs = Record<string, number>;

/** A training loop as callbacks see it; `Trainer` is one. */
export interface Loop {
  /** The model being trained. */
  readonly model: Module;
  // biome-ignore lint/suspicious/noExplicitAny: the hyper-parameters of any optimizer
  readonly optimizers: readonly Optimizer<any>[];
  readonly schedulers: readonly (LRScheduler | ReduceLROnPlateau)[];
  /** Epochs completed before the present one; counts from 0. */
  readonly currentEpoch: number;
  /** Optimizer steps taken so far. */
  readonly globalStep: number;
  /** Epochs and steps after which training ends by itself; Infinity where there is no such limit. */
  readonly maxEpochs: number;
  readonly maxSteps: number;
  /** Training batches an epoch; undefined where the data does not say. */
  readonly batchesPerEpoch: number | undefined;
  /** Whether there is data for validation. */
  readonly validates: boolean;
  /** Why training ends before its time; undefined where it does not. */
  readonly stopReason: string | undefined;
  /** Training was left to be continued: nothing final is to be done at its end. */
  readonly interrupted: boolean;
  /** All epochs so far. */
  readonly history: History;
  /** What was asked for and used: hyper-parameters, device, seed, sizes; for reports. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Where the run keeps its files; undefined where it keeps none. */
  readonly directory: string | undefined;
  /** Values of the latest training batch, read from the device now; those of metrics are over the epoch so far. */
  batchLogs(): Promise<Logs>;
  /** Values of the epoch so far, read from the device now. */
  epochLogs(): Promise<Logs>;
  /** Names of the values that a progress display should show. */
  shownLogs(): string[];
  /** Ends training after the present batch; the reason is reported. An epoch under way is validated and reported. */
  stop(reason: string): void;
  /** The same, but the epoch is left as it is, so that a continued run goes on in its middle. */
  interrupt(reason?: string): void;
  /** Everything that a continued run needs: model, optimizers, schedules, callbacks, random numbers, loader position. */
  stateDict(): Saveable;
  /** Continues from such a state. */
  loadStateDict(state: Saveable): void;
}

/** A hook may be asynchronous; the loop waits for it. */
export type Hooked = void | Promise<void>;

/**
 * Base class of all callbacks; override the hooks that are needed. The names are Keras's.
 *
 * `logs` of an epoch hold the epoch's means and, as `val_…`, those of the validation. `logs` of a batch hook are read
 * from the device for it, which a small model's training feels; a batch hook that does not declare the parameter costs
 * nothing and may ask for `this.loop.batchLogs()` (this batch) or `this.loop.epochLogs()` (the epoch so far) when it
 * needs them.
 *
 * @example
 * class Stop extends Callback {
 *   onEpochEnd(epoch, logs) {
 *     if (logs.val_accuracy > 0.99) this.loop.stop("accurate enough");
 *   }
 * }
 */
export abstract class Callback {
  /** The loop that the callback hangs in; set before its first hook. */
  loop!: Loop;

  /**
   * True for callbacks that save the state of the loop: they are called after all others, whose states they save. A
   * number above 1 comes after those, too.
   */
  get last(): boolean | number {
    return false;
  }

  /** The model being trained. */
  get model(): Module {
    return this.loop.model;
  }

  onTrainBegin(_logs: Logs): Hooked {}
  onTrainEnd(_logs: Logs): Hooked {}
  onEpochBegin(_epoch: number, _logs: Logs): Hooked {}
  onEpochEnd(_epoch: number, _logs: Logs): Hooked {}
  onTrainBatchBegin(_batch: number): Hooked {}
  onTrainBatchEnd(_batch: number, _logs: Logs): Hooked {}
  onTestBegin(_logs: Logs): Hooked {}
  onTestEnd(_logs: Logs): Hooked {}
  onTestBatchBegin(_batch: number): Hooked {}
  onTestBatchEnd(_batch: number, _logs: Logs): Hooked {}
  onPredictBegin(_logs: Logs): Hooked {}
  onPredictEnd(_logs: Logs): Hooked {}
  onPredictBatchBegin(_batch: number): Hooked {}
  onPredictBatchEnd(_batch: number, _logs: Logs): Hooked {}

  /** Called when training ends by an error or an interrupt, before it is thrown; for what must be closed. */
  onException(_error: unknown): Hooked {}

  /** What the callback must remember in a checkpoint; undefined for nothing. */
  stateDict(): Saveable {
    return undefined;
  }

  /** Continues from what `stateDict` gave. */
  loadStateDict(_state: Saveable): void {}
}

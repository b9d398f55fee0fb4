// OverfittingMonitor: says during training when the model begins to overfit, and at the end what the curves say.
import { checkOptions } from "../../check.js";
import { type DiagnoseOptions, type Diagnosis, diagnose } from "../../diagnosis/diagnose.js";
import { ValueError } from "../../errors.js";
import type { Logs } from "../callback.js";
import { History } from "../history.js";
import { checkCount, unknownName } from "./monitor.js";
import { Stateful } from "./stateful.js";

export interface OverfittingMonitorOptions extends Omit<DiagnoseOptions, "train" | "validation"> {
  /** Name of the training curve. Default `"loss"`. */
  train?: string;
  /** Name of the validation curve. Default `"val_loss"`. */
  validation?: string;
  /** Epochs in a row that must show it before it is said. Default 3. */
  patience?: number;
  /** End training then. Default false. */
  stop?: boolean;
  /** Where the words go. Default `console.log`; `() => {}` for silence. */
  print?: (text: string) => void;
}

/**
 * Diagnoses the curves after each epoch (see `diagnose`). Says once when training overfits or diverges, and at the end of
 * training what the curves say altogether.
 *
 * @example
 * const monitor = new callbacks.OverfittingMonitor({ stop: true });
 * // after training
 * console.log(monitor.diagnosis.verdict, monitor.diagnosis.bestEpoch);
 */
export class OverfittingMonitor extends Stateful<{
  epoch: number[];
  history: Record<string, number[]>;
  /** Epochs in a row that show it. */
  inARow: number;
  said: boolean;
}> {
  /** What the curves say so far; null before the first epoch. */
  diagnosis: Diagnosis | null = null;
  private readonly patience: number;
  private readonly stop: boolean;
  private readonly print: (text: string) => void;
  private readonly judged: DiagnoseOptions & { train: string; validation: string };

  constructor(options: OverfittingMonitorOptions = {}) {
    super();
    const known = ["train", "validation", "mode", "baseline", "goal", "tolerance", "patience", "stop", "print"];
    checkOptions(options, known, "OverfittingMonitor");
    const { patience = 3, stop = false, print = console.log, ...judged } = options;
    checkCount("OverfittingMonitor", "patience", patience, 1);
    this.patience = patience;
    this.stop = stop;
    this.print = print;
    this.judged = { train: "loss", validation: "val_loss", ...judged };
    diagnose({ [this.judged.train]: [], [this.judged.validation]: [] }, this.judged); // wrong options before training
  }

  protected override fresh() {
    return { epoch: [], history: {}, inARow: 0, said: false };
  }

  override onTrainBegin(logs: Logs): void {
    super.onTrainBegin(logs);
    if (!this.loop.validates) {
      throw new ValueError("OverfittingMonitor: overfitting shows in validation only; give fit data for it");
    }
  }

  override onEpochEnd(epoch: number, logs: Logs): void {
    const { state, judged } = this;
    if (!(judged.train in logs)) {
      throw new ValueError(`OverfittingMonitor: there is no value ${unknownName(judged.train, Object.keys(logs))}`);
    }
    const seen = new History();
    seen.loadStateDict(state);
    seen.push(epoch, {
      [judged.train]: logs[judged.train],
      [judged.validation]: logs[judged.validation] ?? Number.NaN,
    });
    Object.assign(state, seen.stateDict());
    this.diagnosis = diagnose(seen, judged);
    const { verdict, text } = this.diagnosis;
    state.inARow = verdict === "overfits" || verdict === "diverges" ? state.inARow + 1 : 0;
    if (state.said || state.inARow < this.patience) return;
    state.said = true;
    this.print(`epoch ${epoch + 1}: ${text}`);
    if (this.stop) this.loop.stop(verdict === "diverges" ? "training diverges" : "the model overfits");
  }

  override onTrainEnd(logs: Logs): void {
    super.onTrainEnd(logs);
    if (this.diagnosis) this.print(this.diagnosis.text);
  }
}

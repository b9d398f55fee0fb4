// OverfittingMonitor: says during training when the model begins to overfit, and at the end what the curves say.
import { checkOptions, describe } from "../../check.js";
import { type DiagnoseOptions, type Diagnosis, diagnose } from "../../diagnosis/diagnose.js";
import { ValueError } from "../../errors.js";
import type { Saveable } from "../../io/checkpoint.js";
import { Callback, type Logs } from "../callback.js";
import { History } from "../history.js";

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
export class OverfittingMonitor extends Callback {
  /** What the curves say so far; null before the first epoch. */
  diagnosis: Diagnosis | null = null;
  private readonly settings: Required<Pick<OverfittingMonitorOptions, "patience" | "stop" | "print">>;
  private readonly judged: DiagnoseOptions & { train: string; validation: string };
  private readonly seen = new History();
  private inARow = 0;
  private said = false;

  constructor(options: OverfittingMonitorOptions = {}) {
    super();
    const known = ["train", "validation", "mode", "baseline", "goal", "tolerance", "patience", "stop", "print"];
    checkOptions(options, known, "OverfittingMonitor");
    const { patience = 3, stop = false, print = console.log, ...judged } = options;
    if (!Number.isInteger(patience) || patience < 1) {
      throw new ValueError(`OverfittingMonitor: patience is an integer ≥ 1, got ${describe(patience)}`);
    }
    this.settings = { patience, stop, print };
    this.judged = { train: "loss", validation: "val_loss", ...judged };
    diagnose({ [this.judged.train]: [], [this.judged.validation]: [] }, this.judged); // wrong options before training
  }

  override onEpochEnd(epoch: number, logs: Logs): void {
    const { train, validation } = this.judged;
    const missing = [train, validation].filter((name) => !(name in logs) && !(name in this.seen.history));
    if (missing.includes(train)) {
      throw new ValueError(
        `OverfittingMonitor: the logs have no ${train}; there are ${Object.keys(logs).join(", ") || "none"}`,
      );
    }
    this.seen.push(epoch, { [validation]: Number.NaN, ...logs });
    this.diagnosis = diagnose(this.seen, this.judged);
    const { verdict } = this.diagnosis;
    this.inARow = verdict === "overfits" || verdict === "diverges" ? this.inARow + 1 : 0;
    if (this.said || this.inARow < this.settings.patience) return;
    this.said = true;
    this.settings.print(`epoch ${epoch + 1}: ${this.diagnosis.text}`);
    if (this.settings.stop) this.loop.stop(verdict === "diverges" ? "training diverges" : "the model overfits");
  }

  override onTrainEnd(): void {
    if (this.diagnosis) this.settings.print(this.diagnosis.text);
  }

  override stateDict(): Saveable {
    return { seen: this.seen.stateDict(), inARow: this.inARow, said: this.said };
  }

  override loadStateDict(state: Saveable): void {
    const { seen, inARow, said } = state as {
      seen: ReturnType<History["stateDict"]>;
      inARow: number;
      said: boolean;
    };
    this.seen.loadStateDict(seen);
    this.inARow = inARow;
    this.said = said;
  }
}

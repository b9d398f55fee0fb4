// Curves for TensorBoard.
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { checkOptions, describe } from "../../check.js";
import { ValueError } from "../../errors.js";
import { Callback, type Hooked, type Logs } from "../callback.js";
import { record, scalars, text, version } from "./events.js";
import { checkCount } from "./monitor.js";
import { namedRates } from "./rates.js";

export interface TensorBoardOptions {
  /** Default: `tensorboard` in the run's directory, or else `logs`. */
  logDir?: string;
  /** Write the values of epochs, or besides those of every batch or every so many steps. Default `"epoch"`. */
  updateFreq?: "epoch" | "batch" | number;
}

let files = 0;

/**
 * Writes event files that TensorBoard shows: `tensorboard --logdir runs`. As in Keras the curves of training are in the
 * folder `train` and those of validation in `validation`, with the same names, so that they share a chart: `epoch_loss`,
 * `epoch_learning_rate`, … by epoch and `batch_loss`, … by step. The run's parameters are the text `params`.
 *
 * @example
 * new callbacks.TensorBoard({ logDir: "runs/a" });
 */
export class TensorBoard extends Callback {
  private readonly logDir: string | undefined;
  /** Steps between values of batches. */
  private readonly every: number | undefined;
  private readonly writers = new Map<string, FileHandle>();
  private written = 0;

  constructor(options: TensorBoardOptions = {}) {
    super();
    checkOptions(options, ["logDir", "updateFreq"], "TensorBoard");
    const { logDir, updateFreq = "epoch" } = options;
    if (logDir !== undefined && (typeof logDir !== "string" || logDir === "")) {
      throw new ValueError(`TensorBoard: logDir must be the path of a folder, got ${describe(logDir)}`);
    }
    this.logDir = logDir;
    this.every = updateFreq === "epoch" ? undefined : updateFreq === "batch" ? 1 : updateFreq;
    if (this.every !== undefined) {
      checkCount("TensorBoard", 'updateFreq, if not "epoch" or "batch",', this.every, 1);
    }
  }

  override async onEpochBegin(epoch: number, _logs: Logs): Promise<void> {
    if (this.writers.has("train")) return;
    this.written = this.loop.globalStep;
    const rows = Object.entries(this.loop.params).map(([k, v]) => `|${cell(k)}|${cell(v)}|\n`);
    const table = `|parameter|value|\n|---|---|\n${rows.join("")}`;
    await this.write("train", text(now(), epoch, "params", table));
  }

  override onTrainBatchEnd(_batch: number): Hooked {
    const { globalStep } = this.loop;
    if (!this.every || globalStep === this.written || globalStep % this.every !== 0) return;
    this.written = globalStep;
    return this.step(globalStep);
  }

  private async step(step: number): Promise<void> {
    await this.write("train", scalars(now(), step, prefixed("batch_", await this.loop.batchLogs())));
  }

  override async onEpochEnd(epoch: number, logs: Logs): Promise<void> {
    const train: Logs = {};
    const validation: Logs = {};
    for (const [name, value] of Object.entries(logs)) {
      if (name.startsWith("val_")) validation[name.slice(4)] = value;
      else train[name] = value;
    }
    Object.assign(train, namedRates(this.loop));
    await this.write("train", scalars(now(), epoch, prefixed("epoch_", train)));
    if (Object.keys(validation).length > 0) {
      await this.write("validation", scalars(now(), epoch, prefixed("epoch_", validation)));
    }
  }

  override onTrainEnd(_logs: Logs): Promise<void> {
    return this.close();
  }

  override onException(_error: unknown): Promise<void> {
    return this.close();
  }

  private async close(): Promise<void> {
    for (const file of this.writers.values()) await file.close();
    this.writers.clear();
  }

  /** Appends an event to the file of this run in a folder. */
  private async write(folder: string, event: Uint8Array): Promise<void> {
    let file = this.writers.get(folder);
    if (!file) {
      const { directory } = this.loop;
      const path = join(this.logDir ?? (directory === undefined ? "logs" : join(directory, "tensorboard")), folder);
      await mkdir(path, { recursive: true });
      const name = `events.out.tfevents.${Math.floor(now())}.${hostname()}.${process.pid}.${files++}.v2`;
      file = await open(join(path, name), "wx");
      this.writers.set(folder, file);
      await file.appendFile(record(version(now())));
    }
    await file.appendFile(record(event));
  }
}

/** Seconds since 1970. */
const now = (): number => Date.now() / 1000;

const prefixed = (prefix: string, logs: Logs): Logs =>
  Object.fromEntries(Object.entries(logs).map(([name, value]) => [prefix + name, value]));

/** A cell of a Markdown table. */
const cell = (value: unknown): string =>
  (typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)))
    .replaceAll("|", "\\|")
    .replaceAll("\n", " ");

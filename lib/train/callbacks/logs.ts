// Logs as files: CSV for tables, JSON lines for programs.
import { appendFile, type FileHandle, mkdir, open, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkOptions, describe } from "../../check.js";
import { ValueError } from "../../errors.js";
import { replaceFile } from "../../io/atomic.js";
import { Callback, type Hooked, type Logs } from "../callback.js";
import { checkCount } from "./monitor.js";
import { ratesOf } from "./rates.js";

export interface CSVLoggerOptions {
  /** Between the columns. Default `","`. */
  separator?: string;
  /** Go on with the file that is there. Default: when the run continues an earlier one. */
  append?: boolean;
}

/**
 * Writes a line an epoch: `epoch` (from 0) and the values of the logs. A value that an epoch has not is `NA`, as in
 * Keras; a name that comes later gets a column of its own.
 *
 * @example
 * new callbacks.CSVLogger("runs/a/log.csv");
 */
export class CSVLogger extends Callback {
  private readonly separator: string;
  private readonly append: boolean | undefined;
  private columns: string[] | undefined;

  constructor(
    private readonly filename: string,
    options: CSVLoggerOptions = {},
  ) {
    super();
    checkOptions(options, ["separator", "append"], "CSVLogger");
    const { separator = ",", append } = options;
    if (typeof filename !== "string" || filename === "") {
      throw new ValueError(`CSVLogger: the path of the file comes first, got ${describe(filename)}`);
    }
    if (typeof separator !== "string" || separator.length !== 1 || /["\r\n\w.+-]/.test(separator)) {
      throw new ValueError(
        `CSVLogger: separator must be one character that numbers do not have, got ${describe(separator)}`,
      );
    }
    this.separator = separator;
    this.append = append;
  }

  override async onTrainBegin(_logs: Logs): Promise<void> {
    this.columns = undefined;
    await mkdir(dirname(this.filename), { recursive: true });
    await appendFile(this.filename, ""); // better refused now than after an epoch
  }

  override async onEpochEnd(epoch: number, logs: Logs): Promise<void> {
    const columns = await this.begin(epoch);
    const more = Object.keys(logs).filter((name) => !columns.includes(name));
    if (more.length > 0) await this.widen(more);
    const line = columns.map((name) => (name === "epoch" ? epoch : (logs[name] ?? "NA")));
    await appendFile(this.filename, `${line.join(this.separator)}\n`);
  }

  /** The columns of the file, which is begun or continued at the first epoch. */
  private async begin(epoch: number): Promise<string[]> {
    if (this.columns) return this.columns;
    const goesOn = this.append ?? epoch > 0;
    const [header = "", ...lines] = goesOn ? await this.lines() : [];
    this.columns = header === "" ? ["epoch"] : this.unquoted(header);
    // A run that goes on may have been killed after it had written more than it goes on from.
    const kept = this.append ? lines : lines.filter((line) => Number(line.split(this.separator, 1)[0]) < epoch);
    if (header === "" || kept.length < lines.length) await this.replace([header || "epoch", ...kept]);
    return this.columns;
  }

  /** Adds columns, in which the lines so far have nothing. */
  private async widen(names: readonly string[]): Promise<void> {
    const [header, ...lines] = await this.lines();
    const { separator } = this;
    const columns = names.map((name) => separator + this.quoted(name)).join("");
    const blanks = names.map(() => `${separator}NA`).join("");
    await this.replace([header + columns, ...lines.map((line) => line + blanks)]);
    this.columns?.push(...names);
  }

  private async lines(): Promise<string[]> {
    return (await readFile(this.filename, "utf8")).trimEnd().split(/\r?\n/);
  }

  private async replace(lines: readonly string[]): Promise<void> {
    await replaceFile(this.filename, (file) => file.writeFile(`${lines.join("\n")}\n`));
  }

  private quoted(name: string): string {
    return name.includes(this.separator) || /["\r\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
  }

  private unquoted(header: string): string[] {
    const { separator } = this;
    const cells = header.match(RegExp(`("(?:[^"]|"")*"|[^\\${separator}\r]*)(?=\\${separator}|\r?$)`, "g")) ?? [];
    return cells.filter((c) => c !== "").map((c) => (c.startsWith('"') ? c.slice(1, -1).replaceAll('""', '"') : c));
  }
}

export interface JsonlLoggerOptions {
  /** Default: `log.jsonl` in the run's directory. */
  path?: string;
  /** Log every so many optimizer steps too. Default: epochs only. */
  everyNTrainSteps?: number;
}

/** Numbers that JSON does not have become texts: `"NaN"`, `"Infinity"`. */
const plain = (_key: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isFinite(value)
    ? String(value)
    : typeof value === "bigint"
      ? String(value)
      : value;

/**
 * Writes what happens as lines of JSON, each whole in one write, so that another program can follow:
 *
 * - `{"event":"start","time",…params,"epoch","step"}`, when the first epoch begins
 * - `{"event":"step","epoch","step","time","logs","lr"}`, every `everyNTrainSteps` steps
 * - `{"event":"epoch","epoch","step","time","seconds","logs","lr"}`
 * - `{"event":"end","reason","time"}`
 *
 * Epochs count from 0; `time` is in ISO 8601; `lr` is a number, or a list where there are several parameter groups. A
 * run that continues an earlier one takes out what was logged after the state that it goes on from, and appends.
 *
 * @throws ValueError before training if there is neither a path nor a directory of the run
 * @example
 * new callbacks.JsonlLogger({ path: "runs/a/log.jsonl", everyNTrainSteps: 50 });
 */
export class JsonlLogger extends Callback {
  private readonly given: string | undefined;
  private readonly everyNTrainSteps: number | undefined;
  private file: FileHandle | undefined;
  private begun = 0;
  private epoch = 0;
  private written = 0;

  constructor(options: JsonlLoggerOptions = {}) {
    super();
    checkOptions(options, ["path", "everyNTrainSteps"], "JsonlLogger");
    const { path, everyNTrainSteps } = options;
    if (path !== undefined && (typeof path !== "string" || path === "")) {
      throw new ValueError(`JsonlLogger: path must be the path of a file, got ${describe(path)}`);
    }
    if (everyNTrainSteps !== undefined) checkCount("JsonlLogger", "everyNTrainSteps", everyNTrainSteps, 1);
    this.given = path;
    this.everyNTrainSteps = everyNTrainSteps;
  }

  override onTrainBegin(_logs: Logs): void {
    this.path();
  }

  private path(): string {
    if (this.given !== undefined) return this.given;
    const { directory } = this.loop;
    if (directory !== undefined) return join(directory, "log.jsonl");
    throw new ValueError("JsonlLogger: the run has no directory; give the file as path");
  }

  private place(epoch: number): { epoch: number; step: number; time: string } {
    return { epoch, step: this.loop.globalStep, time: new Date().toISOString() };
  }

  /** Opens the file; by now a run that goes on has been restored. */
  private async start(epoch: number): Promise<void> {
    if (this.file) return;
    const path = this.path();
    await mkdir(dirname(path), { recursive: true });
    this.written = this.loop.globalStep;
    if (this.loop.globalStep > 0) await this.rewind(path);
    this.file = await open(path, epoch > 0 || this.loop.globalStep > 0 ? "a" : "w");
    await this.write({ event: "start", ...this.loop.params, ...this.place(epoch) });
  }

  /** Takes out what was logged after the state from which the run goes on: it happens again. */
  private async rewind(path: string): Promise<void> {
    const { globalStep, history } = this.loop;
    const text = await readFile(path, "utf8").catch(() => ""); // there may be none
    const lines = text.split("\n").slice(0, -1); // the last one is empty, or was not completed
    const kept = lines.filter((line) => {
      const { event, epoch, step = 0 } = JSON.parse(line) as { event: string; epoch: number; step?: number };
      return step <= globalStep && (event !== "epoch" || history.epoch.includes(epoch));
    });
    await replaceFile(path, (file) => file.writeFile(kept.map((line) => `${line}\n`).join("")));
  }

  override async onEpochBegin(epoch: number, _logs: Logs): Promise<void> {
    await this.start(epoch);
    this.epoch = epoch;
    this.begun = performance.now();
  }

  override onTrainBatchEnd(_batch: number): Hooked {
    const { globalStep } = this.loop;
    const every = this.everyNTrainSteps;
    if (!every || globalStep === this.written || globalStep % every !== 0) return;
    this.written = globalStep;
    return this.step();
  }

  private async step(): Promise<void> {
    const place = this.place(this.epoch);
    const lr = ratesOf(this.loop);
    await this.write({ event: "step", ...place, logs: await this.loop.batchLogs(), lr });
  }

  override async onEpochEnd(epoch: number, logs: Logs): Promise<void> {
    const seconds = (performance.now() - this.begun) / 1000;
    await this.write({ event: "epoch", ...this.place(epoch), seconds, logs, lr: ratesOf(this.loop) });
    await this.file?.datasync();
  }

  override async onTrainEnd(_logs: Logs): Promise<void> {
    await this.start(this.loop.currentEpoch);
    await this.end(this.loop.stopReason ?? "completed");
  }

  override async onException(error: unknown): Promise<void> {
    if (this.file) await this.end(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  }

  private async end(reason: string): Promise<void> {
    await this.write({ event: "end", reason, time: new Date().toISOString() });
    await this.file?.close();
    this.file = undefined;
  }

  private async write(line: Record<string, unknown>): Promise<void> {
    if (this.file) await this.append(`${JSON.stringify(line, plain)}\n`);
  }

  /** Writes a line; a derived class may write it elsewhere too. */
  protected async append(text: string): Promise<void> {
    await this.file?.appendFile(text);
  }
}

// A run as its directory tells it: run.json (what was asked for), log.jsonl (what happened), evaluation.json.
import { open, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { FileError, type RunRecord, ValueError } from "../index.js";
import type { Evaluation } from "./evaluate.js";

/** What `run.json` says; whatever is missing there is left out of the report. */
export type Description = Partial<RunRecord> & {
  readonly name: string;
};

/** What has happened in a run so far. */
export interface Progress {
  /** Numbers of the epochs, from 0. */
  readonly epoch: number[];
  readonly history: Record<string, number[]>;
  readonly seconds: number[];
  /** Learning rate an epoch, of the first group of parameters. */
  readonly lr: number[];
  /** Loss of single steps, where they were logged; of a long run only some. */
  readonly steps: { readonly step: number; readonly loss: number }[];
  /** Lines that could not be read; a killed run leaves half a line at its end, which is not counted. */
  damaged: number;
  /** Why the run ended; undefined while there is no word of an end. */
  ended?: string;
  /** Time of the last line. */
  last?: string;
}

export interface Run {
  readonly directory: string;
  readonly record: Description;
  readonly progress: Progress;
  readonly evaluation?: Evaluation;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** JSON has no NaN and no Infinity; they are written as texts. */
const numberOf = (value: unknown): number =>
  typeof value === "number"
    ? value
    : typeof value === "string" || value === null
      ? Number(value ?? Number.NaN)
      : Number.NaN;

// Names come from a file: `__proto__` is one like any other.
const fresh = (): Progress => ({ epoch: [], history: Object.create(null), seconds: [], lr: [], steps: [], damaged: 0 });

/** More steps than this are not kept. */
const STEPS = 2000;

/** Takes in one event of the log. */
function take(progress: Progress, event: Record<string, unknown>): void {
  if (typeof event.time === "string") progress.last = event.time;
  const logs = isRecord(event.logs) ? event.logs : {};
  switch (event.event) {
    case "start":
      progress.ended = undefined; // a run that goes on after its end
      break;
    case "step": {
      const step = numberOf(event.step);
      while (progress.steps.length > 0 && progress.steps[progress.steps.length - 1].step >= step) progress.steps.pop();
      progress.steps.push({ step, loss: numberOf(logs.loss) });
      // Every other one will do for a picture.
      if (progress.steps.length > STEPS) progress.steps.splice(0, STEPS + 1, ...progress.steps.filter((_, i) => i % 2));
      break;
    }
    case "epoch": {
      const epoch = numberOf(event.epoch);
      if (!Number.isInteger(epoch)) {
        progress.damaged++;
        break;
      }
      // A run that was resumed from an earlier checkpoint repeats epochs; what counts is what came last.
      const keep = progress.epoch.findIndex((e) => e >= epoch);
      if (keep >= 0) {
        for (const list of [progress.epoch, progress.seconds, progress.lr, ...Object.values(progress.history)]) {
          list.length = keep;
        }
      }
      for (const name of Object.keys(logs)) {
        if (!Object.hasOwn(progress.history, name)) progress.history[name] = progress.epoch.map(() => Number.NaN);
      }
      progress.epoch.push(epoch);
      progress.seconds.push(numberOf(event.seconds));
      progress.lr.push(numberOf(Array.isArray(event.lr) ? event.lr[0] : event.lr));
      for (const [name, list] of Object.entries(progress.history)) {
        list.push(Object.hasOwn(logs, name) ? numberOf(logs[name]) : Number.NaN);
      }
      break;
    }
    case "end":
      progress.ended = String(event.reason ?? "completed");
      break;
  }
}

/** Reads a log as it grows: each call takes in what is new. */
export class LogReader {
  progress = fresh();
  private offset = 0;
  private inode = 0;
  private rest = Buffer.alloc(0);
  private turn: Promise<unknown> = Promise.resolve();

  constructor(readonly path: string) {}

  /**
   * One call after another, however many wait.
   *
   * @returns whether anything changed; false too where there is no file yet
   */
  read(): Promise<boolean> {
    const result = this.turn.then(() => this.readNow());
    this.turn = result.catch(() => {});
    return result;
  }

  private async readNow(): Promise<boolean> {
    const file = await open(this.path, "r").catch(() => undefined);
    if (!file) return this.restart();
    try {
      const { size, ino } = await file.stat();
      let changed = false;
      if (size < this.offset || (this.inode !== 0 && ino !== this.inode)) changed = this.restart(); // another run began
      this.inode = ino;
      if (size === this.offset) return changed;
      const bytes = Buffer.alloc(size - this.offset);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, this.offset);
      this.offset += bytesRead;
      const all = Buffer.concat([this.rest, bytes.subarray(0, bytesRead)]);
      const end = all.lastIndexOf(10) + 1;
      this.rest = all.subarray(end);
      for (const line of all.toString("utf8", 0, end).split("\n")) this.line(line);
      return true;
    } finally {
      await file.close();
    }
  }

  private line(text: string): void {
    if (text.trim() === "") return;
    try {
      const event: unknown = JSON.parse(text);
      if (!isRecord(event)) throw new SyntaxError();
      take(this.progress, event);
    } catch {
      this.progress.damaged++;
    }
  }

  private restart(): boolean {
    const had = this.offset > 0;
    this.progress = fresh();
    this.offset = 0;
    this.inode = 0;
    this.rest = Buffer.alloc(0);
    return had;
  }
}

async function readObject<T>(path: string): Promise<T | undefined> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new FileError(`${path}: ${error.message}`);
  });
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (isRecord(value)) return value as T;
  } catch {}
  throw new FileError(`${path}: this is no JSON object; the file is damaged`);
}

/** run.json and evaluation.json of a directory. */
export async function readDescription(directory: string): Promise<{ record: Description; evaluation?: Evaluation }> {
  const [record, evaluation] = await Promise.all([
    readObject<Description>(join(directory, "run.json")),
    readObject<Evaluation>(join(directory, "evaluation.json")),
  ]);
  return { record: { ...record, name: String(record?.name ?? basename(resolve(directory))) }, evaluation };
}

/**
 * Reads a run's directory.
 *
 * @throws FileError where there is neither run.json nor log.jsonl, or where a file is no JSON
 */
export async function readRun(directory: string): Promise<Run> {
  if (typeof directory !== "string" || directory === "") {
    throw new ValueError('readRun: the directory of a run is needed, such as "runs/digits"');
  }
  const isThere = (name: string) =>
    stat(join(directory, name)).then(
      () => true,
      () => false,
    );
  const [run, log] = [await isThere("run.json"), await isThere("log.jsonl")];
  if (!run && !log) {
    const what = (await stat(directory).catch(() => undefined))?.isDirectory()
      ? "holds neither run.json nor log.jsonl; it is no directory of a run"
      : "there is no such directory";
    throw new FileError(`${directory}: ${what}`);
  }
  const reader = new LogReader(join(directory, "log.jsonl"));
  await reader.read();
  return { directory, ...(await readDescription(directory)), progress: reader.progress };
}

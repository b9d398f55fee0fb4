// What a Trainer can be told, checked.
import { checkOptions, describe } from "../check.js";
import { closest } from "../closest.js";
import { defaultDevice, getDevice } from "../device/registry.js";
import { ValueError } from "../errors.js";
import type { HalfType } from "../graph/modes.js";
import type { Saveable } from "../io/checkpoint.js";
import type { DType } from "../tensor/dtype.js";
import { Callback } from "./callback.js";
import { checkCount } from "./callbacks/monitor.js";
import { checkPrecision, halfOf, type Precision } from "./precision.js";

export interface TrainerOptions {
  /** Epochs to train. Default: no limit where `maxSteps` or `maxTime` is given, else 1000 as in Lightning. */
  maxEpochs?: number;
  /** Optimizer steps to train. */
  maxSteps?: number;
  /** Time to train: seconds, or "DD:HH:MM:SS". */
  maxTime?: number | string;
  /** `"auto"` (default), `"cpu"`, `"js"`, …: where the model and its batches go. */
  device?: string;
  /**
   * `"float32"` (default: the model's own); `"bf16"` or `"fp16"` for mixed precision, which computes products in 16 bits
   * and keeps float32 weights, with a scaled loss for `"fp16"`; or `"float64"` to compute everything in it.
   */
  precision?: Precision;
  /** Limit of the gradients. */
  gradientClipVal?: number;
  /** Limit their common norm (default) or each value. */
  gradientClipAlgorithm?: "norm" | "value";
  /** Batches whose mean gradient makes one update. Default 1. */
  accumulateGradBatches?: number;
  callbacks?: readonly Callback[];
  /** A callback, or several, that write logs; `false` for no `log.jsonl` in the directory either. */
  logger?: Callback | readonly Callback[] | boolean;
  /** Seeds the random numbers of the run when `fit` begins. Seed before the model is made to decide its weights too. */
  seed?: number;
  /** Same seed, same result; so it always is here. */
  deterministic?: boolean;
  /** One batch (or so many) of everything, to see that it runs: one epoch, no loggers. */
  fastDevRun?: boolean | number;
  /** Batches an epoch: a number of them, or a share below 1 (JavaScript cannot tell 1.0 from 1, which is one batch). */
  limitTrainBatches?: number;
  limitValBatches?: number;
  limitTestBatches?: number;
  limitPredictBatches?: number;
  /** Validate every so many batches, or after a share below 1 of the epoch's. Default: at its end. */
  valCheckInterval?: number;
  /** Validate in every n-th epoch. Default 1. */
  checkValEveryNEpoch?: number;
  /** Batches of validation before training begins, so that mistakes in it show early. Default 2. */
  numSanityValSteps?: number;
  /** A checkpoint to continue from: the file's path, or the state itself. */
  resumeFrom?: string | Saveable;
  /** Show progress. Default true. */
  enableProgressBar?: boolean;
  /** 0 silent, 1 with a moving line, 2 a line an epoch; "auto" (default): 1 on a terminal, else 2. */
  verbose?: 0 | 1 | 2 | "auto";
  /** Where the run keeps its files. Default: it keeps none. */
  directory?: string;
  /** Name of the run in its files and reports. Default: the directory's. */
  name?: string;
  /** Record the training step as one program. Default true. */
  compile?: boolean;
  /** Write `report.html` into the directory at the end. Default false. */
  report?: boolean;
}

const known = [
  ...["maxEpochs", "maxSteps", "maxTime", "device", "precision", "gradientClipVal", "gradientClipAlgorithm"],
  ...["accumulateGradBatches", "callbacks", "logger", "seed", "deterministic", "fastDevRun", "limitTrainBatches"],
  ...["limitValBatches", "limitTestBatches", "limitPredictBatches", "valCheckInterval", "checkValEveryNEpoch"],
  ...["numSanityValSteps", "resumeFrom", "enableProgressBar", "verbose", "directory", "name", "compile", "report"],
];

export interface Settings {
  readonly maxEpochs: number;
  readonly maxSteps: number;
  readonly maxSeconds: number;
  readonly device: string;
  readonly precision: Precision;
  /** What floats are converted to; undefined for nothing. */
  readonly dtype: DType | undefined;
  /** The dtype of products in mixed precision. */
  readonly half: HalfType | null;
  readonly gradientClipVal: number | undefined;
  readonly gradientClipAlgorithm: "norm" | "value";
  readonly accumulateGradBatches: number;
  readonly callbacks: readonly Callback[];
  readonly seed: number | undefined;
  /** Batches, or shares of them; undefined for all. */
  readonly limits: Readonly<Record<"train" | "validate" | "test" | "predict", number | undefined>>;
  readonly valCheckInterval: number | undefined;
  readonly checkValEveryNEpoch: number;
  readonly numSanityValSteps: number;
  readonly resumeFrom: string | Saveable | undefined;
  readonly verbose: 0 | 1 | 2;
  readonly directory: string | undefined;
  readonly name: string | undefined;
  readonly compile: boolean;
  readonly report: boolean;
  /** Keep `log.jsonl` in the directory. */
  readonly logs: boolean;
}

/** Throws unless the value, where given, is an integer of at least `least`. */
function count(name: string, value: unknown, least: number): void {
  if (value !== undefined) checkCount("Trainer", name, value, least);
}

/** A limit of batches: a number of them, or a share up to 1.0. */
function limit(name: string, value: unknown): void {
  if (value === undefined || value === Number.POSITIVE_INFINITY) return;
  const ok = typeof value === "number" && value >= 0 && (value < 1 || Number.isInteger(value));
  if (!ok) {
    throw new ValueError(`Trainer: ${name} must be a number of batches, or a share below 1, got ${describe(value)}`);
  }
}

function choice<T>(name: string, value: T | undefined, choices: readonly T[]): void {
  if (value === undefined || choices.includes(value)) return;
  const near = typeof value === "string" ? closest(value, choices.map(String)) : undefined;
  throw new ValueError(
    `Trainer: ${name} must be one of ${choices.map((c) => JSON.stringify(c)).join(", ")}, got ${describe(value)}` +
      (near ? `; did you mean ${JSON.stringify(near)}?` : ""),
  );
}

/** Seconds of a duration. */
function seconds(value: unknown): number {
  if (typeof value === "number" && value > 0) return value;
  const match = typeof value === "string" ? /^(\d+):(\d+):(\d+):(\d+)$/.exec(value) : null;
  if (!match) throw new ValueError(`Trainer: maxTime is a number of seconds or "DD:HH:MM:SS", got ${describe(value)}`);
  const [days, hours, minutes, rest] = match.slice(1).map(Number);
  return ((days * 24 + hours) * 60 + minutes) * 60 + rest;
}

export function settingsOf(options: TrainerOptions): Settings {
  checkOptions(options, known, "Trainer");
  count("maxEpochs", options.maxEpochs === Number.POSITIVE_INFINITY ? undefined : options.maxEpochs, 0);
  count("maxSteps", options.maxSteps === Number.POSITIVE_INFINITY ? undefined : options.maxSteps, 0);
  count("accumulateGradBatches", options.accumulateGradBatches, 1);
  count("checkValEveryNEpoch", options.checkValEveryNEpoch, 1);
  count("numSanityValSteps", options.numSanityValSteps, 0);
  count("seed", options.seed, 0);
  for (const key of ["limitTrainBatches", "limitValBatches", "limitTestBatches", "limitPredictBatches"] as const) {
    limit(key, options[key]);
  }
  if (options.valCheckInterval === 0) throw new ValueError("Trainer: valCheckInterval must be above 0");
  limit("valCheckInterval", options.valCheckInterval);
  choice("gradientClipAlgorithm", options.gradientClipAlgorithm, ["norm", "value"]);
  choice("verbose", options.verbose, [0, 1, 2, "auto"]);
  const names = ["float32", "bf16", "fp16", "float64"] as const;
  const precision = checkPrecision(options.precision ?? "float32", names, "Trainer");
  const clip = options.gradientClipVal;
  if (clip !== undefined && !(typeof clip === "number" && clip >= 0)) {
    throw new ValueError(`Trainer: gradientClipVal must be a number ≥ 0, got ${describe(clip)}`);
  }
  const loggers = typeof options.logger === "object" ? [options.logger].flat() : [];
  const { fastDevRun = false } = options;
  if (typeof fastDevRun !== "boolean") count("fastDevRun", fastDevRun, 1);
  const quick = fastDevRun === true ? 1 : fastDevRun || undefined;
  const callbacks = [...(options.callbacks ?? []), ...(quick ? [] : (loggers as Callback[]))];
  for (const c of callbacks) {
    if (!(c instanceof Callback)) {
      throw new ValueError(`Trainer: callbacks and loggers extend Callback, got ${describe(c)}`);
    }
  }
  if (options.report && options.directory === undefined) {
    throw new ValueError("Trainer: report needs the directory of the run, where it is written");
  }
  const { maxSteps = Number.POSITIVE_INFINITY, verbose = "auto" } = options;
  const maxSeconds = options.maxTime === undefined ? Number.POSITIVE_INFINITY : seconds(options.maxTime);
  const open = maxSteps === Number.POSITIVE_INFINITY && maxSeconds === Number.POSITIVE_INFINITY;
  return {
    maxEpochs: quick ? 1 : (options.maxEpochs ?? (open ? 1000 : Number.POSITIVE_INFINITY)),
    maxSteps,
    maxSeconds,
    device: (options.device === undefined ? defaultDevice() : getDevice(options.device)).name,
    precision,
    dtype: precision === "float64" ? "float64" : undefined,
    half: halfOf(precision),
    gradientClipVal: clip,
    gradientClipAlgorithm: options.gradientClipAlgorithm ?? "norm",
    accumulateGradBatches: options.accumulateGradBatches ?? 1,
    callbacks,
    seed: options.seed,
    limits: {
      train: quick ?? options.limitTrainBatches,
      validate: quick ?? options.limitValBatches,
      test: quick ?? options.limitTestBatches,
      predict: quick ?? options.limitPredictBatches,
    },
    valCheckInterval: options.valCheckInterval,
    checkValEveryNEpoch: options.checkValEveryNEpoch ?? 1,
    numSanityValSteps: quick ? 0 : (options.numSanityValSteps ?? 2),
    resumeFrom: options.resumeFrom,
    verbose: options.enableProgressBar === false ? 0 : verbose === "auto" ? (process.stdout.isTTY ? 1 : 2) : verbose,
    directory: quick ? undefined : options.directory,
    name: options.name,
    compile: options.compile ?? true,
    report: (options.report ?? false) && !quick,
    logs: options.directory !== undefined && options.logger !== false && !quick,
  };
}

/** How many of `length` batches a limit allows. */
export function limited(limit: number | undefined, length: number | undefined): number {
  const all = length ?? Number.POSITIVE_INFINITY;
  if (limit === undefined) return all;
  if (limit >= 1 || limit === 0) return Math.min(limit, all);
  if (length === undefined) {
    throw new ValueError("Trainer: a share of the batches needs data that say how many there are; give a number");
  }
  return Math.floor(limit * length);
}

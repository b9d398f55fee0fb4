// The record of a run: what was trained and how, in run.json of its directory.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { getDevice } from "../device/registry.js";
import { replaceFile } from "../io/atomic.js";
import type { Module } from "../nn/module.js";
import { version } from "../package.js";
import type { AnyOptimizer } from "./module.js";
import type { Settings } from "./options.js";
import { rowsOfSummary, type SummaryRow } from "./summary.js";

/** What `run.json` holds. */
export interface RunRecord {
  readonly name: string;
  /** ISO 8601. */
  readonly started: string;
  readonly finished?: string;
  /** Why training ended before its time. */
  readonly stopReason?: string;
  readonly nablajs: string;
  readonly node: string;
  readonly device: string;
  readonly threads: number;
  readonly seed: number | null;
  /** Hyper-parameters and settings. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly model: string;
  readonly layers: readonly SummaryRow[];
  readonly parameters: number;
  readonly batchesPerEpoch: number | null;
}

interface Run {
  readonly name: string;
  readonly model: Module;
  readonly settings: Settings;
  readonly optimizers: readonly AnyOptimizer[];
  readonly schedulers: readonly object[];
  readonly params: Readonly<Record<string, unknown>>;
  readonly batchesPerEpoch: number | undefined;
  readonly stopReason: string | undefined;
  readonly startedAt: Date;
}

/** Hyper-parameters of a run, plain data. */
export function describeRun(run: Omit<Run, "params">): Record<string, unknown> {
  const { settings } = run;
  const limits = Object.fromEntries(Object.entries(settings.limits).filter(([, v]) => v !== undefined));
  const finite = (n: number): number | null => (Number.isFinite(n) ? n : null);
  return {
    maxEpochs: finite(settings.maxEpochs),
    maxSteps: finite(settings.maxSteps),
    device: settings.device,
    threads: getDevice(settings.device).getThreads(),
    seed: settings.seed ?? null,
    precision: settings.precision,
    gradientClipVal: settings.gradientClipVal ?? null,
    accumulateGradBatches: settings.accumulateGradBatches,
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
    optimizers: run.optimizers.map((o) => {
      const { params: _, ...hyper } = o.paramGroups[0];
      return { name: o.name, ...hyper };
    }),
    schedulers: run.schedulers.map((s) => s.constructor.name),
    batchesPerEpoch: run.batchesPerEpoch ?? null,
    parameters: run.model.parameterCount(),
  };
}

/** Writes `run.json`, whole or not at all. */
export async function writeRecord(
  run: Run & { readonly directory: string | undefined },
  state: { running: boolean },
): Promise<void> {
  const { directory, model, settings } = run;
  if (directory === undefined) return;
  await mkdir(directory, { recursive: true });
  const record: RunRecord = {
    name: run.name,
    started: run.startedAt.toISOString(),
    ...(state.running ? {} : { finished: new Date().toISOString() }),
    ...(run.stopReason === undefined ? {} : { stopReason: run.stopReason }),
    nablajs: version(),
    node: process.version,
    device: settings.device,
    threads: getDevice(settings.device).getThreads(),
    seed: settings.seed ?? null,
    params: run.params,
    model: model.constructor.name,
    layers: rowsOfSummary(model),
    parameters: model.parameterCount(),
    batchesPerEpoch: run.batchesPerEpoch ?? null,
  };
  await replaceFile(join(directory, "run.json"), (file) => file.writeFile(`${JSON.stringify(record, null, 2)}\n`));
}

// Directories of runs, made for the tests.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { Evaluation } from "../../lib/report/evaluate.js";
import { run } from "../diagnosis/curves.js";

const made: string[] = [];
afterAll(() => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

/** An empty folder that goes after the tests. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "nabla-report-"));
  made.push(path);
  return path;
}

export const line = (event: object): string => `${JSON.stringify(event)}\n`;
export const epochLine = (epoch: number, logs: object, seconds = 0.5): string =>
  line({ event: "epoch", epoch, step: 10 * (epoch + 1), time: "2026-01-01T00:00:00.000Z", seconds, logs, lr: 0.01 });

export interface Made {
  name?: string;
  kind?: Parameters<typeof run>[0];
  epochs?: number;
  metric?: string;
  ended?: boolean;
  evaluation?: Evaluation;
  params?: object;
}

/** Writes a run into a folder, and returns its directory. */
export function makeRun(into: string, directory: string, made: Made = {}): string {
  const { name = directory, kind = "overfits", epochs = 40, metric = "accuracy", ended = true, evaluation } = made;
  const path = join(into, directory);
  mkdirSync(path, { recursive: true });
  const { loss, val_loss } = run(kind, epochs, 0.01, 1);
  const epoch = (i: number) => ({
    loss: loss[i],
    [metric]: 1 - loss[i] / 4,
    val_loss: val_loss[i],
    [`val_${metric}`]: 1 - val_loss[i] / 4,
  });
  const log = [
    line({ event: "start", time: "2026-01-01T00:00:00.000Z" }),
    ...loss.map((_, i) => epochLine(i, epoch(i))),
    ...(ended ? [line({ event: "end", reason: "completed", time: "2026-01-01T00:01:00.000Z" })] : []),
  ];
  writeFileSync(join(path, "log.jsonl"), log.join(""));
  const record = {
    name,
    started: "2026-01-01T00:00:00.000Z",
    nablajs: "0.1.0",
    node: "v20.17.0",
    device: "cpu",
    threads: 2,
    seed: 1,
    params: made.params ?? { maxEpochs: epochs, optimizers: [{ name: "Adam", lr: 0.01, betas: [0.9, 0.999] }] },
    model: "Sequential",
    layers: [
      { name: "0", type: "Linear", outputShape: [null, 8], parameters: 24, trainable: 24 },
      { name: "1", type: "Tanh", outputShape: null, parameters: 0, trainable: 0 },
    ],
    parameters: 1234,
    batchesPerEpoch: 10,
  };
  writeFileSync(join(path, "run.json"), JSON.stringify(record));
  if (evaluation) writeFileSync(join(path, "evaluation.json"), JSON.stringify(evaluation));
  return path;
}

/** Classes in two dimensions, and a curve in one: every picture that there is. */
export const everything: Evaluation = {
  metrics: { accuracy: 0.9375 },
  confusion: {
    labels: ["setosa", "versicolor", "virginica"],
    matrix: [
      [16, 0, 0],
      [0, 14, 2],
      [0, 1, 15],
    ],
  },
  boundary: {
    x: Array.from({ length: 20 }, (_, i) => i / 10),
    y: Array.from({ length: 20 }, (_, i) => i / 5),
    grid: Array.from({ length: 20 }, (_, j) => Array.from({ length: 20 }, (_, i) => (i > 12 ? 2 : j > i ? 1 : 0))),
    points: Array.from({ length: 60 }, (_, i) => [(i * 0.618) % 1.9, (i * 0.382) % 3.8, i % 3] as const),
    labels: ["setosa", "versicolor", "virginica"],
    inputs: ["petal length", "petal width"],
  },
  curve: {
    x: Array.from({ length: 50 }, (_, i) => i / 10),
    y: Array.from({ length: 50 }, (_, i) => Math.sin(i / 10)),
    train: [
      [0.5, 0.4],
      [2, 1],
    ],
    validation: [[3, 0.2]],
  },
};

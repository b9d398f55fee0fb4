// Made-up data like scikit-learn's: the same seed gives the same samples on every device.
import { checkOptions } from "../check.js";
import { ValueError } from "../errors.js";
import { tensor } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import { HostRandom } from "./random.js";

export interface SyntheticOptions {
  /** Number of samples. Default 100. */
  samples?: number;
  /** Standard deviation of the noise. */
  noise?: number;
  /** Default 0. */
  seed?: number;
  device?: string;
}

/** Features [n, d] float32 and labels [n] int64 (or targets [n] float32). */
export interface Synthetic {
  x: Tensor;
  y: Tensor;
}

const OPTIONS = ["samples", "noise", "seed", "device"];

function settings(given: SyntheticOptions, known: readonly string[], noise: number, op: string) {
  checkOptions(given, [...OPTIONS, ...known], op);
  const out = { samples: 100, noise, seed: 0, ...given };
  if (!Number.isInteger(out.samples) || out.samples < 1) {
    throw new ValueError(`${op}: samples must be an integer ≥ 1, got ${out.samples}`);
  }
  if (!(out.noise >= 0)) throw new ValueError(`${op}: noise must be a number ≥ 0, got ${out.noise}`);
  const random = new HostRandom(out.seed);
  return { ...out, uniform: (n: number) => random.uniform(n), normal: (n: number) => random.normal(n) };
}

const made = (rows: number[][], labels: number[], device: string | undefined, target = false): Synthetic => ({
  x: tensor(rows, { device }),
  y: tensor(labels, { dtype: target ? "float32" : "int64", device }),
});

/** Points of k classes, each class on a curve with noise around it. */
function curves(
  options: SyntheticOptions,
  noise: number,
  k: number,
  point: (label: number, u: number) => number[],
  op: string,
  known: readonly string[] = [],
): Synthetic {
  const { samples, device, noise: sigma, uniform, normal } = settings(options, known, noise, op);
  const u = uniform(samples);
  const labels = u.map((_, i) => i % k);
  const rows = labels.map((label, i) => point(label, u[i]));
  const e = normal(samples * rows[0].length);
  return made(
    rows.map((row, i) => row.map((v, j) => v + sigma * e[i * row.length + j])),
    labels,
    device,
  );
}

/** Two interleaving half circles. Default noise 0.1. */
export const makeMoons = (options: SyntheticOptions = {}): Synthetic =>
  curves(
    options,
    0.1,
    2,
    (label, u) => {
      const a = Math.PI * u;
      return label === 0 ? [Math.cos(a), Math.sin(a)] : [1 - Math.cos(a), 0.5 - Math.sin(a)];
    },
    "makeMoons",
  );

/** A circle in another. `factor` is the ratio of their radii, default 0.5; default noise 0.05. */
export const makeCircles = (options: SyntheticOptions & { factor?: number } = {}): Synthetic =>
  curves(
    options,
    0.05,
    2,
    (label, u) => {
      const r = label === 0 ? 1 : (options.factor ?? 0.5);
      return [r * Math.cos(2 * Math.PI * u), r * Math.sin(2 * Math.PI * u)];
    },
    "makeCircles",
    ["factor"],
  );

/** Spirals that wind around each other, one a class (default 2 classes, 1 turn, noise 0.05). */
export const makeSpirals = (options: SyntheticOptions & { classes?: number; turns?: number } = {}): Synthetic => {
  const { classes = 2, turns = 1 } = options;
  if (!Number.isInteger(classes) || classes < 2) {
    throw new ValueError(`makeSpirals: classes must be an integer ≥ 2, got ${classes}`);
  }
  return curves(
    options,
    0.05,
    classes,
    (label, u) => {
      const a = 2 * Math.PI * (turns * u + label / classes);
      return [u * Math.cos(a), u * Math.sin(a)];
    },
    "makeSpirals",
    ["classes", "turns"],
  );
};

/** Gaussian clouds of standard deviation `noise` (default 1) around random centres in [−10, 10]. */
export function makeBlobs(options: SyntheticOptions & { centers?: number; features?: number } = {}): Synthetic {
  const { centers = 3, features = 2 } = options;
  const { samples, device, noise, uniform, normal } = settings(options, ["centers", "features"], 1, "makeBlobs");
  for (const [name, n] of Object.entries({ centers, features })) {
    if (!Number.isInteger(n) || n < 1) throw new ValueError(`makeBlobs: ${name} must be an integer ≥ 1, got ${n}`);
  }
  const middle = uniform(centers * features).map((u) => 20 * u - 10);
  const e = normal(samples * features);
  const labels = Array.from({ length: samples }, (_, i) => i % centers);
  const rows = labels.map((label, i) =>
    Array.from({ length: features }, (_, j) => middle[label * features + j] + noise * e[i * features + j]),
  );
  return made(rows, labels, device);
}

/** Targets that are linear in standard normal features, plus noise (default 0). */
export function makeRegression(
  options: SyntheticOptions & { features?: number; informative?: number } = {},
): Synthetic & { weights: Tensor } {
  const { features = 10 } = options;
  const { informative = features } = options;
  const known = ["features", "informative"];
  const { samples, device, noise, uniform, normal } = settings(options, known, 0, "makeRegression");
  if (!(Number.isInteger(features) && Number.isInteger(informative) && informative >= 1 && informative <= features)) {
    throw new ValueError(
      `makeRegression: 1 ≤ informative ≤ features are integers, got features=${features}, informative=${informative}`,
    );
  }
  const weights = uniform(features).map((u, j) => (j < informative ? 100 * u : 0));
  const values = normal(samples * features);
  const e = normal(samples);
  const rows = Array.from({ length: samples }, (_, i) => values.slice(i * features, (i + 1) * features));
  const targets = rows.map((row, i) => row.reduce((s, v, j) => s + v * weights[j], noise * e[i]));
  return { ...made(rows, targets, device, true), weights: tensor(weights, { device }) };
}

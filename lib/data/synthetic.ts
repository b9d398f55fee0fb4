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

export interface ClassificationOptions {
  /** Number of samples. Default 100. */
  samples?: number;
  /** All features, those without information included. Default 20. */
  features?: number;
  /** Features that the classes differ in. Default 2. */
  informative?: number;
  /** Features that are random linear combinations of the informative ones. Default 2. */
  redundant?: number;
  /** Features that are copies of informative or redundant ones. Default 0. */
  repeated?: number;
  /** Default 2. */
  classes?: number;
  /** Gaussian clouds a class. Default 2. */
  clustersPerClass?: number;
  /** Shares of the classes, which sum to 1. Default: equal ones. */
  weights?: readonly number[];
  /** Share of the samples that get a random label. Default 0.01. */
  flipY?: number;
  /** Half the side of the hypercube: larger ones make the task easier. Default 1. */
  classSep?: number;
  /** Clouds at corners of a hypercube (default), or at random places in it. */
  hypercube?: boolean;
  /** Mix samples and features. Default true. */
  shuffle?: boolean;
  /** Default 0. */
  seed?: number;
  device?: string;
}

/**
 * A classification task after the one of the NIPS 2003 variable selection benchmark (Guyon 2003, "Design of experiments for
 * the NIPS 2003 variable selection benchmark"; scikit-learn's `make_classification`): clouds of normal points, each
 * with correlations of its own, at corners of a hypercube, among features that add nothing.
 *
 * @returns x [samples, features], y, and the positions of the informative features
 */
export function makeClassification(options: ClassificationOptions = {}): Synthetic & { informative: number[] } {
  const op = "makeClassification";
  const known = ["samples", "features", "informative", "redundant", "repeated", "classes", "clustersPerClass"];
  checkOptions(options, [...known, "weights", "flipY", "classSep", "hypercube", "shuffle", "seed", "device"], op);
  const { samples = 100, features = 20, informative = 2, redundant = 2, repeated = 0 } = options;
  const { classes = 2, clustersPerClass = 2, flipY = 0.01, classSep = 1, hypercube = true, shuffle = true } = options;
  const { seed = 0, device, weights = new Array<number>(classes).fill(1 / classes) } = options;
  const need = (ok: boolean, what: string): void => {
    if (!ok) throw new ValueError(`${op}: ${what}`);
  };
  for (const [name, n] of Object.entries({ samples, features, informative, classes, clustersPerClass })) {
    need(Number.isInteger(n) && n >= 1, `${name} must be an integer ≥ 1, got ${n}`);
  }
  for (const [name, n] of Object.entries({ redundant, repeated })) {
    need(Number.isInteger(n) && n >= 0, `${name} must be an integer ≥ 0, got ${n}`);
  }
  const used = informative + redundant + repeated;
  need(
    used <= features,
    `${informative} informative, ${redundant} redundant and ${repeated} repeated features are more than ${features}`,
  );
  const clusters = classes * clustersPerClass;
  need(
    clusters <= 2 ** informative,
    `${clusters} clouds need as many corners, ${informative} informative features have ${2 ** informative}`,
  );
  need(flipY >= 0 && flipY <= 1, `flipY must be a share in [0, 1], got ${flipY}`);
  need(Number.isFinite(classSep) && classSep > 0, `classSep must be a number > 0, got ${classSep}`);
  const sum = weights.reduce((a, b) => a + b, 0);
  need(
    weights.length === classes && weights.every((w) => w >= 0) && Math.abs(sum - 1) < 1e-9,
    `weights must be ${classes} shares that sum to 1, got ${weights.join(", ")}`,
  );
  const random = new HostRandom(seed);
  const mix = <T>(list: T[]): T[] => {
    for (let i = list.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  };
  const signed = (n: number): number[] => random.uniform(n).map((u) => 2 * u - 1);
  const matrix = (rows: number, columns: number): number[][] => Array.from({ length: rows }, () => signed(columns));
  const times = (row: readonly number[], m: number[][], columns: number): number[] =>
    Array.from({ length: columns }, (_, j) => row.reduce((s, v, i) => s + v * m[i][j], 0));

  const corners = new Map<string, number[]>(); // different ones
  while (corners.size < clusters) {
    const corner = Array.from({ length: informative }, () => (random.below(2) === 0 ? -classSep : classSep));
    corners.set(corner.join(), corner);
  }
  const clouds = [...corners.values()].map((centre) => ({ centre, shape: matrix(informative, informative) }));
  if (!hypercube) {
    const across = random.uniform(informative);
    for (const { centre } of clouds) {
      const [along] = random.uniform(1);
      for (let j = 0; j < informative; j++) centre[j] *= along * across[j];
    }
  }
  const combine = matrix(informative, redundant);
  const copies = Array.from({ length: repeated }, () => random.below(informative + redundant));

  // The first cloud of each class, then the second ones: cloud k has the points that come next in the shares.
  const labels: number[] = [];
  const rows: number[][] = [];
  let share = 0;
  for (let k = 0; k < clusters; k++) {
    share += weights[k % classes] / clustersPerClass;
    const end = k === clusters - 1 ? samples : Math.round(share * samples);
    while (rows.length < end) {
      const normal = random.normal(informative);
      const own = times(normal, clouds[k].shape, informative).map((v, j) => v + clouds[k].centre[j]);
      const row = [...own, ...times(own, combine, redundant)];
      rows.push([...row, ...copies.map((c) => row[c]), ...random.normal(features - used)]);
      labels.push(k % classes);
    }
  }
  const flips = random.uniform(samples);
  for (let i = 0; i < samples; i++) if (flips[i] < flipY) labels[i] = random.below(classes);
  const whole = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const [order, places] = [whole(samples), whole(features)];
  if (shuffle) {
    mix(order);
    mix(places);
  }
  const mixed = order.map((i) => places.map((j) => rows[i][j]));
  const positions = whole(features).filter((j) => places[j] < informative);
  return {
    ...made(
      mixed,
      order.map((i) => labels[i]),
      device,
    ),
    informative: positions,
  };
}

/**
 * Friedman's first regression task (Friedman 1991, "Multivariate adaptive regression splines", section 4.3):
 * y = 10 sin(π x₀x₁) + 20 (x₂ − ½)² + 10 x₃ + 5 x₄ + noise, with features uniform in [0, 1), of which all but five do
 * nothing. Default 10 features, noise 0.
 */
export function makeFriedman1(options: SyntheticOptions & { features?: number } = {}): Synthetic {
  const { features = 10 } = options;
  const { samples, device, noise, uniform, normal } = settings(options, ["features"], 0, "makeFriedman1");
  if (!Number.isInteger(features) || features < 5) {
    throw new ValueError(`makeFriedman1: features must be an integer ≥ 5, got ${features}`);
  }
  const u = uniform(samples * features);
  const e = normal(samples);
  const rows = Array.from({ length: samples }, (_, i) => u.slice(i * features, (i + 1) * features));
  const y = rows.map(
    ([a, b, c, d, f], i) => 10 * Math.sin(Math.PI * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * f + noise * e[i],
  );
  return made(rows, y, device, true);
}

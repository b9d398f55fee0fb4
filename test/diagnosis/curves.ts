// Curves of training runs with noise, made up.

import { Generator, randn } from "../../lib/index.js";

/** Standard normal numbers. */
export const normal = (n: number, seed: number): number[] =>
  Array.from(randn([n], { device: "js", dtype: "float64", generator: new Generator(seed) }).dataSync() as Float64Array);

/** A curve with noise of a standard deviation, autocorrelated from epoch to epoch by `ar`. */
export function noisy(curve: (share: number) => number, n: number, deviation: number, seed: number, ar = 0): number[] {
  let e = 0;
  return normal(n, seed).map((z, i) => {
    e = ar * e + deviation * Math.sqrt(1 - ar * ar) * z;
    return curve(i / n) + e;
  });
}

/** Training and validation loss of kinds of runs, over the share of the run. */
export const kinds = {
  fits: [(s: number) => 0.1 + 2 * Math.exp(-8 * s), (s: number) => 0.2 + 1.9 * Math.exp(-8 * s)],
  plateau: [(s: number) => 0.1 + 2 * Math.exp(-20 * s), (s: number) => 0.5 + 1.5 * Math.exp(-20 * s)],
  overfits: [
    (s: number) => 2 * Math.exp(-6 * s),
    (s: number) => 0.5 + 1.6 * Math.exp(-8 * s) + 0.8 * Math.max(0, s - 0.3),
  ],
  wide: [(s: number) => 2 * Math.exp(-6 * s), (s: number) => 1.4 + 0.6 * Math.exp(-8 * s)],
  still: [(s: number) => 1 + Math.exp(-s), (s: number) => 1.1 + Math.exp(-s)],
  diverges: [
    (s: number) => 2 * Math.exp(-10 * s) + Math.max(0, s - 0.4),
    (s: number) => 2.1 * Math.exp(-10 * s) + Math.max(0, s - 0.4),
  ],
  flat: [() => 0.69, () => 0.7],
} as const;

export function run(kind: keyof typeof kinds, n: number, deviation: number, seed: number, ar = 0) {
  const [train, validation] = kinds[kind];
  return {
    loss: noisy(train, n, deviation / 3, 2 * seed, ar),
    val_loss: noisy(validation, n, deviation, 2 * seed + 1, ar),
  };
}

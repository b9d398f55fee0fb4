// Splitting datasets: train/validation/test parts and folds.
import { checkOptions } from "../check.js";
import { ValueError } from "../errors.js";
import { Generator } from "../tensor/random.js";
import { Tensor } from "../tensor/tensor.js";
import { type Dataset, Subset } from "./dataset.js";
import { permutation } from "./permutation.js";

export interface SplitOptions {
  /** Mix the samples first. Default true. */
  shuffle?: boolean;
  /** Decides the order. Default 0. */
  seed?: number;
  /** A label for each sample: every part gets the same share of each label. */
  stratify?: Tensor | ArrayLike<number | string | bigint>;
}

const OPTIONS = ["shuffle", "seed", "stratify"];

function order(n: number, shuffle: boolean, seed: number): number[] {
  if (!shuffle) return Array.from({ length: n }, (_, i) => i);
  return permutation(n, new Generator(seed));
}

/** The samples of each label, in the given order; all in one group without labels. */
function groups(n: number, { shuffle = true, seed = 0, stratify }: SplitOptions, op: string): number[][] {
  const all = order(n, shuffle, seed);
  if (!stratify) return [all];
  const labels = stratify instanceof Tensor ? Array.from(stratify.dataSync(), String) : Array.from(stratify, String);
  if (labels.length !== n) throw new ValueError(`${op}: ${labels.length} labels in stratify for ${n} samples`);
  const found = new Map<string, number[]>();
  for (const i of all) {
    const group = found.get(labels[i]);
    if (group) group.push(i);
    else found.set(labels[i], [i]);
  }
  return [...found.values()];
}

/** Sizes of parts that fill n: numbers of samples, or shares that sum to 1. */
function sizes(n: number, parts: readonly number[], op: string): number[] {
  const total = parts.reduce((a, b) => a + b, 0);
  const shares = Math.abs(total - 1) < 1e-9 && parts.every((p) => p >= 0);
  if (!shares && (total !== n || !parts.every((p) => Number.isInteger(p) && p >= 0))) {
    throw new ValueError(
      `${op}: parts are shares that sum to 1 or numbers of samples that sum to ${n}, got ${parts.join(", ")}`,
    );
  }
  const edges = [0];
  let sum = 0;
  for (const p of parts) {
    sum += p;
    edges.push(shares ? Math.round(sum * n) : sum);
  }
  return parts.map((_, i) => edges[i + 1] - edges[i]);
}

/**
 * Parts of a dataset, as shares or numbers of samples.
 *
 * @example
 * const [train, validation] = data.split(dataset, [0.8, 0.2], { stratify: labels });
 */
export function split<T>(dataset: Dataset<T>, parts: readonly number[], options: SplitOptions = {}): Subset<T>[] {
  checkOptions(options, OPTIONS, "split");
  const n = dataset.length;
  const wanted = sizes(n, parts, "split");
  const shares = wanted.map((w) => w / n);
  const lists = parts.map((): number[] => []);
  const byLabel = groups(n, options, "split");
  if (byLabel.length === 1) {
    let at = 0;
    wanted.forEach((w, i) => {
      lists[i] = byLabel[0].slice(at, at + w);
      at += w;
    });
  } else {
    for (const group of byLabel) {
      let at = 0;
      let sum = 0;
      shares.forEach((share, i) => {
        sum += share;
        const end = i === shares.length - 1 ? group.length : Math.round(sum * group.length);
        lists[i].push(...group.slice(at, end));
        at = end;
      });
    }
  }
  return lists.map((indices) => new Subset(dataset, indices));
}

/**
 * k pairs of training and validation parts, each sample in exactly one validation part.
 *
 * @example
 * for (const { train, validation } of data.kFold(dataset, 5)) { … }
 */
export function kFold<T>(
  dataset: Dataset<T>,
  k: number,
  options: SplitOptions = {},
): { train: Subset<T>; validation: Subset<T> }[] {
  checkOptions(options, OPTIONS, "kFold");
  const n = dataset.length;
  if (!Number.isInteger(k) || k < 2 || k > n) {
    throw new ValueError(`kFold: k must be an integer from 2 to the number of samples (${n}), got ${k}`);
  }
  const folds = Array.from({ length: k }, (): number[] => []);
  let next = 0; // goes on from label to label, so that folds differ by one sample at most
  const contiguous = !options.stratify;
  for (const group of groups(n, options, "kFold")) {
    group.forEach((sample, i) => {
      folds[contiguous ? Math.floor((i * k) / group.length) : next++ % k].push(sample);
    });
  }
  return folds.map((validation, i) => ({
    train: new Subset(dataset, folds.filter((_, j) => j !== i).flat()),
    validation: new Subset(dataset, validation),
  }));
}

// What a list of measured times says.

export interface Summary {
  /** How many times there are. */
  readonly count: number;
  readonly best: number;
  readonly median: number;
  readonly worst: number;
  /** Distance of the quartiles over the median: how noisy the measurement was. */
  readonly spread: number;
}

/** The value below which a share of the list lies, between two neighbours by interpolation. NaN for an empty list. */
export function quantile(list: readonly number[], share: number): number {
  if (list.length === 0) return Number.NaN;
  const sorted = [...list].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.ceil(at)] - sorted[low]) * (at - low);
}

export const median = (list: readonly number[]): number => quantile(list, 0.5);

/** Times that are NaN (rounds that were not run) do not count. */
export function summarize(times: readonly number[]): Summary {
  const ran = times.filter((t) => !Number.isNaN(t));
  const middle = median(ran);
  return {
    count: ran.length,
    best: quantile(ran, 0),
    median: middle,
    worst: quantile(ran, 1),
    spread: (quantile(ran, 0.75) - quantile(ran, 0.25)) / middle,
  };
}

/**
 * How many times faster `ours` is than `theirs`: the median over the rounds in which both ran, each compared with its
 * neighbour in time, so that a slow minute of the machine does not decide. NaN when there is no such round.
 */
export function pairwiseRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((t, round) => theirs[round] / t).filter((ratio) => !Number.isNaN(ratio)));
}

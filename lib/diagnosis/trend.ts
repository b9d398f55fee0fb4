// Trends in noisy curves: is there one, how steep is it, how large is the noise.

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Standard deviation of most of the values: by the median distance from their median. */
export function spreadOf(values: readonly number[]): number {
  const middle = median(values);
  return 1.4826 * median(values.map((v) => Math.abs(v - middle)));
}

/** P(Z ≤ z) of the standard normal distribution (Abramowitz and Stegun 1964, 26.2.17; error below 7.5e−8). */
export function normalCdf(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * poly;
  return z > 0 ? 1 - tail : tail;
}

/** P(S ≥ s) without a trend, for n values without ties: counts permutations by their number of inversions. */
function exactTail(n: number, s: number): number {
  let counts = [1];
  for (let k = 2; k <= n; k++) {
    const next = new Array<number>(counts.length + k - 1).fill(0);
    counts.forEach((c, i) => {
      for (let j = 0; j < k; j++) next[i + j] += c;
    });
    counts = next;
  }
  const pairs = (n * (n - 1)) / 2;
  const all = counts.reduce((a, b) => a + b, 0);
  return counts.reduce((sum, c, inversions) => (pairs - 2 * inversions >= s ? sum + c : sum), 0) / all;
}

/** Ranks from 1 on, ties share their mean. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const out = new Array<number>(values.length);
  for (let i = 0; i < order.length; ) {
    let end = i;
    while (end < order.length && values[order[end]] === values[order[i]]) end++;
    for (let j = i; j < end; j++) out[order[j]] = (i + 1 + end) / 2;
    i = end;
  }
  return out;
}

/**
 * How much longer a series of independent values would have to be, to say as little as this one: n/n* of Hamed and Rao
 * (1998), from the autocorrelation of the ranks of the detrended values. At least 1.
 */
function autocorrelation(residuals: readonly number[]): number {
  const n = residuals.length;
  const r = ranks(residuals).map((rank) => rank - (n + 1) / 2);
  const variance = r.reduce((sum, v) => sum + v * v, 0);
  if (variance === 0) return 1;
  let sum = 0;
  for (let lag = 1; lag <= n / 4; lag++) {
    const rho = r.slice(lag).reduce((s, v, i) => s + v * r[i], 0) / variance;
    // Only what differs from zero, and nothing that would make the test bolder.
    if (rho > 1.645 / Math.sqrt(n)) sum += (n - lag) * (n - lag - 1) * (n - lag - 2) * rho;
  }
  return 1 + (2 * sum) / (n * (n - 1) * (n - 2));
}

export interface Trend {
  /** Change a step: the median of the slopes of all pairs (Theil 1950, Sen 1968). */
  readonly slope: number;
  /** Standard error of the slope, from the residuals' median and their autocorrelation. */
  readonly error: number;
  /** Probability of at least so much rise, or so much fall, where there is no trend. */
  readonly rising: number;
  readonly falling: number;
}

/**
 * Mann's test for a monotone trend (1945; Kendall 1975): exact up to ten values without ties, else by the normal
 * distribution with the variance corrected for ties and for autocorrelation (Hamed and Rao 1998).
 */
export function trend(values: readonly number[]): Trend {
  const n = values.length;
  if (n < 3) return { slope: n < 2 ? 0 : values[1] - values[0], error: 0, rising: 1, falling: 1 };
  const slopes: number[] = [];
  let s = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      s += Math.sign(values[j] - values[i]);
      slopes.push((values[j] - values[i]) / (j - i));
    }
  }
  const slope = median(slopes);
  const residuals = values.map((v, i) => v - slope * i);
  const longer = autocorrelation(residuals);
  const error = spreadOf(residuals) * Math.sqrt((12 * longer) / n ** 3);
  const ties = new Map<number, number>();
  for (const v of values) ties.set(v, (ties.get(v) ?? 0) + 1);
  if (n <= 10 && ties.size === n) return { slope, error, rising: exactTail(n, s), falling: exactTail(n, -s) };
  const pairs = (k: number): number => k * (k - 1) * (2 * k + 5);
  const variance = (pairs(n) - [...ties.values()].reduce((sum, k) => sum + pairs(k), 0)) / 18;
  if (variance <= 0) return { slope, error, rising: 1, falling: 1 };
  const deviation = Math.sqrt(variance * longer);
  return { slope, error, rising: normalCdf(-(s - 1) / deviation), falling: normalCdf((s + 1) / deviation) };
}

/**
 * Standard deviation of the noise around a smooth curve, from what each value differs from the mean of its neighbours
 * (Gasser, Sroka and Jennen-Steinmetz 1986); by the median, so that single jumps do not count.
 */
export function noiseOf(values: readonly number[]): number {
  if (values.length < 3) return 0;
  const residuals = values.slice(1, -1).map((v, i) => Math.abs(v - (values[i] + values[i + 2]) / 2));
  return (1.4826 * median(residuals)) / Math.sqrt(1.5);
}

/** Means of k values each, the last of what is left. */
export function strips(values: readonly number[], k: number): number[] {
  return Array.from({ length: Math.ceil(values.length / k) }, (_, i) => mean(values.slice(i * k, (i + 1) * k)));
}

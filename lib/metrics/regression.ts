// Metrics of regressions, and means of losses.

import { ValueError } from "../errors.js";
import type { Saveable } from "../io/checkpoint.js";
import { stack } from "../ops/arrange.js";
import { abs, mul, square, sub } from "../ops/elementwise.js";
import { crossEntropy } from "../ops/loss.js";
import { cast } from "../ops/pointwise.js";
import { sum } from "../ops/reduce.js";
import { full } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import { Accumulator, Metric, options, pair } from "./metric.js";

/** Sums in float64 over all elements. */
abstract class Sums extends Metric {
  private readonly sums = new Accumulator("float64");

  constructor(name: string, given: { name?: string }) {
    super(options(name, given, ["name"]).name ?? name);
  }

  /** Adds 0-dimensional sums over `elements` more elements. */
  protected accumulate(parts: readonly Tensor[], elements: number): void {
    const count = full([], elements, { dtype: "float64", device: parts[0].device });
    this.sums.add(stack([...parts.map((p) => cast(p, "float64")), count]));
  }

  protected abstract finish(sums: readonly number[], elements: number): number;

  async compute(): Promise<number> {
    const sums = await this.sums.read();
    return sums.length > 0 ? this.finish(sums.slice(0, -1), sums[sums.length - 1]) : Number.NaN;
  }

  protected override get recordable(): boolean {
    return true;
  }

  reset(): void {
    this.sums.reset();
  }

  override stateDict(): Saveable {
    return this.sums.stateDict();
  }

  override loadStateDict(state: Saveable): void {
    this.sums.loadStateDict(state);
  }
}

const wide = (prediction: Tensor, target: Tensor, metric: string): [Tensor, Tensor] => {
  const [p, t] = pair(prediction, target, metric);
  return [cast(p, "float64"), cast(t, "float64")];
};

/** Mean of the squared differences. */
export class MeanSquaredError extends Sums {
  readonly mode = "min";
  constructor(given: { name?: string } = {}) {
    super("meanSquaredError", given);
  }
  protected gather(prediction: Tensor, target: Tensor): void {
    const [p, t] = wide(prediction, target, "MeanSquaredError");
    this.accumulate([sum(square(sub(p, t)))], p.numel);
  }
  protected finish([squares]: readonly number[], n: number): number {
    return squares / n;
  }
}

/** Root of the mean of the squared differences. */
export class RootMeanSquaredError extends MeanSquaredError {
  constructor(given: { name?: string } = {}) {
    super({ name: "rootMeanSquaredError", ...given });
  }
  protected override finish(sums: readonly number[], n: number): number {
    return Math.sqrt(super.finish(sums, n));
  }
}

/** Mean of the absolute differences. */
export class MeanAbsoluteError extends Sums {
  readonly mode = "min";
  constructor(given: { name?: string } = {}) {
    super("meanAbsoluteError", given);
  }
  protected gather(prediction: Tensor, target: Tensor): void {
    const [p, t] = wide(prediction, target, "MeanAbsoluteError");
    this.accumulate([sum(abs(sub(p, t)))], p.numel);
  }
  protected finish([differences]: readonly number[], n: number): number {
    return differences / n;
  }
}

/** Share of the targets' variance that the predictions explain: 1 − Σ(t − p)² / Σ(t − mean t)². */
export class R2Score extends Metric {
  readonly mode = "max";
  private parts: { sums: Tensor; count: number }[] = [];

  constructor(given: { name?: string } = {}) {
    super(options("R2Score", given, ["name"]).name ?? "r2");
  }

  protected gather(prediction: Tensor, target: Tensor): void {
    const [p, t] = wide(prediction, target, "R2Score");
    const mean = mul(sum(t), 1 / t.numel);
    this.parts.push({ sums: stack([sum(square(sub(t, p))), mean, sum(square(sub(t, mean)))]), count: t.numel });
  }

  async compute(): Promise<number> {
    let [residual, mean, spread, seen] = [0, 0, 0, 0];
    for (const { sums, count } of this.parts) {
      // Means and squares of two parts joined (Chan, Golub and LeVeque 1979).
      const [r, m, s] = Array.from(await sums.data(), Number);
      const all = seen + count;
      residual += r;
      spread += s + ((m - mean) ** 2 * seen * count) / all;
      mean += ((m - mean) * count) / all;
      seen = all;
    }
    return 1 - residual / spread;
  }

  reset(): void {
    this.parts = [];
  }

  override stateDict(): Saveable {
    return this.parts;
  }

  override loadStateDict(state: Saveable): void {
    this.parts = (state as unknown as typeof this.parts).map(({ sums, count }) => ({ sums: sums.clone(), count }));
  }
}

/** e to the mean cross-entropy of logits [B, C, …] against class indices; labels of `ignoreIndex` count nothing. */
export class Perplexity extends Sums {
  readonly mode = "min";
  private readonly ignoreIndex: number;

  constructor(given: { name?: string; ignoreIndex?: number } = {}) {
    const { ignoreIndex = -100, ...rest } = options("Perplexity", given, ["name", "ignoreIndex"]);
    super("perplexity", rest);
    if (!Number.isInteger(ignoreIndex))
      throw new ValueError(`Perplexity: ignoreIndex must be an integer, got ${ignoreIndex}`);
    this.ignoreIndex = ignoreIndex;
  }
  protected gather(prediction: Tensor, target: Tensor): void {
    const { ignoreIndex } = this;
    const loss = crossEntropy(cast(prediction, "float64"), target, { reduction: "sum", ignoreIndex });
    this.accumulate([loss, sum(target.ne(ignoreIndex))], 0);
  }
  protected finish([loss, counted]: readonly number[]): number {
    return Math.exp(loss / counted);
  }
}

/** The mean of numbers that are given as they are: `update(values)`; of losses, say. */
export class Mean extends Sums {
  readonly mode = "min";
  constructor(given: { name?: string } = {}) {
    super("mean", given);
  }
  override update(values: Tensor): void {
    super.update(values, values);
  }
  protected gather(values: Tensor): void {
    this.accumulate([sum(cast(values, "float64"))], values.numel);
  }
  protected finish([total]: readonly number[], n: number): number {
    return total / n;
  }
}

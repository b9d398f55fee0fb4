// Scalers of features, fitted on training data and applied to all.
import { describe } from "../check.js";
import { ShapeError, ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { add, div, eq, mul, sub, where } from "../ops/elementwise.js";
import { amax, amin, mean } from "../ops/reduce.js";
import { std } from "../ops/statistics.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";

/** y = (x − center) / scale, for each feature of [samples, …features]. */
abstract class Scaler {
  /** What is subtracted; null before `fit`. */
  center: Tensor | null = null;
  /** What is divided by; 1 where a feature is constant. */
  scale: Tensor | null = null;

  /** Learns from training data [samples, …features]. */
  fit(x: Tensor): this {
    if (x.ndim < 1 || x.shape[0] === 0) {
      throw new ShapeError(`${this.constructor.name}: samples [n, …features] are needed, got ${show(x.shape)}`);
    }
    noGrad(() => {
      const [center, spread] = this.measure(x);
      this.center = center;
      this.scale = where(eq(spread, 0), 1, spread);
    });
    return this;
  }

  protected abstract measure(x: Tensor): [center: Tensor, spread: Tensor];

  transform(x: Tensor): Tensor {
    const [center, scale] = this.fitted();
    return div(sub(x, center), scale);
  }

  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /** Back to the original units. */
  inverseTransform(y: Tensor): Tensor {
    const [center, scale] = this.fitted();
    return add(mul(y, scale), center);
  }

  private fitted(): [Tensor, Tensor] {
    if (this.center && this.scale) return [this.center, this.scale];
    throw new ValueError(`${this.constructor.name}: call fit with training data first`);
  }

  stateDict(): Record<string, Tensor> {
    const [center, scale] = this.fitted();
    return { center, scale };
  }

  loadStateDict({ center, scale }: Record<string, Tensor>): void {
    if (!center || !scale) throw new ValueError(`${this.constructor.name}: the state needs center and scale`);
    this.center = center;
    this.scale = scale;
  }
}

/** Each feature to mean 0 and (population) standard deviation 1. */
export class StandardScaler extends Scaler {
  protected measure(x: Tensor): [Tensor, Tensor] {
    return [mean(x, 0), std(x, 0, { correction: 0 })];
  }
}

/** Each feature to a range, [0, 1] by default. */
export class MinMaxScaler extends Scaler {
  constructor(readonly range: readonly [low: number, high: number] = [0, 1]) {
    super();
    if (!(range[0] < range[1]))
      throw new ValueError(`MinMaxScaler: a range [low, high] is needed, got ${describe(range)}`);
  }
  protected measure(x: Tensor): [Tensor, Tensor] {
    const [low, high] = this.range;
    const least = amin(x, 0);
    const extent = sub(amax(x, 0), least);
    const unit = div(where(eq(extent, 0), 1, extent), high - low);
    return [sub(least, mul(unit, low)), unit];
  }
}

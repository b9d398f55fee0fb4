// What all metrics share: values that are gathered batch by batch and computed at the end.
import { checkOptions } from "../check.js";
import { CaptureError, ShapeError } from "../errors.js";
import { depends, everyStep, uncaptured } from "../graph/capture.js";
import { modes, noGrad } from "../graph/modes.js";
import type { Saveable } from "../io/checkpoint.js";
import { zero_ } from "../ops/convert.js";
import { checkTensor } from "../ops/define.js";
import { add_ } from "../ops/elementwise.js";
import { squeeze } from "../ops/movement.js";
import { copy_ } from "../ops/pointwise.js";
import { zeros } from "../tensor/create.js";
import type { DType } from "../tensor/dtype.js";
import { sameShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";

/**
 * A quality measure over any number of batches. `update` gathers on the device and never waits; `compute` reads.
 *
 * @example
 * const accuracy = new metrics.Accuracy();
 * for (const [x, y] of batches) accuracy.update(model.forward(x), y);
 * console.log(await accuracy.compute());
 */
export abstract class Metric<R = number> {
  /** Key in logs and histories; may be changed. */
  name: string;
  /** Whether larger values are better, which EarlyStopping and the like go by. */
  abstract readonly mode: "max" | "min";

  constructor(name: string) {
    this.name = name;
  }

  /** True when `gather` only adds to `Accumulator`s and may be part of a captured function. */
  protected get recordable(): boolean {
    return false;
  }

  /** Adds a batch. */
  update(prediction: Tensor, target: Tensor): void {
    checkTensor(prediction, this.constructor.name);
    checkTensor(target, this.constructor.name);
    if (modes.capture && !this.recordable) {
      throw new CaptureError(
        `${this.constructor.name}: update keeps the batches on the host, which a captured function would not do again`,
      );
    }
    noGrad(() => this.gather(prediction.detach(), target.detach()));
  }

  protected abstract gather(prediction: Tensor, target: Tensor): void;

  /** The value over all batches since the last reset. NaN where it is not defined, as without any batch. */
  abstract compute(): Promise<R>;

  /** Forgets all batches. */
  abstract reset(): void;

  /** What was gathered so far, for a checkpoint in the middle of an epoch; tensors are the live ones. */
  stateDict(): Saveable {
    return undefined;
  }

  /** Continues from what `stateDict` gave. */
  loadStateDict(_state: Saveable): void {}
}

/** Sums on the device, added to in place so that a captured function can do it. */
export class Accumulator {
  /** Batches so far. */
  batches = 0;
  private sums: Tensor | null = null;

  constructor(private readonly dtype: DType) {}

  /** The sums, zeros at first and after a reset; a vector of `size`. */
  at(size: number, device: string): Tensor {
    const { sums, batches } = this;
    if (!sums || (batches === 0 && (sums.numel !== size || sums.device !== device))) {
      this.sums = uncaptured(() => zeros([size], { dtype: this.dtype, device }));
    }
    everyStep(() => {
      this.batches++;
    });
    return depends(() => this.sums) as Tensor;
  }

  add(values: Tensor): void {
    add_(this.at(values.numel, values.device), values);
  }

  async read(): Promise<number[]> {
    return this.sums && this.batches > 0 ? Array.from(await this.sums.data(), Number) : [];
  }

  stateDict(): { batches: number; sums: Tensor | null } {
    return { batches: this.batches, sums: this.batches > 0 ? this.sums : null };
  }

  loadStateDict(state: Saveable): void {
    const { batches, sums } = state as ReturnType<Accumulator["stateDict"]>;
    this.reset();
    if (sums) noGrad(() => copy_(this.at(sums.numel, sums.device), sums));
    this.batches = batches;
  }

  reset(): void {
    const { sums } = this;
    this.batches = 0;
    if (sums) noGrad(() => zero_(sums));
  }
}

/** Checks options of a metric. */
export const options = <O extends object>(metric: string, given: O, known: readonly string[]): O => {
  checkOptions(given, known, metric);
  return given;
};

/** Prediction and target of one shape; a last dimension of size 1 that only one of them has does not count. */
export function pair(prediction: Tensor, target: Tensor, metric: string): [Tensor, Tensor] {
  if (sameShape(prediction.shape, target.shape)) return [prediction, target];
  const flat = (t: Tensor): Tensor => (t.shape[t.ndim - 1] === 1 ? squeeze(t, -1) : t);
  const [p, t] =
    prediction.ndim === target.ndim + 1
      ? [flat(prediction), target]
      : target.ndim === prediction.ndim + 1
        ? [prediction, flat(target)]
        : [prediction, target];
  if (sameShape(p.shape, t.shape)) return [p, t];
  throw new ShapeError(
    `${metric}: predictions ${show(prediction.shape)} and targets ${show(target.shape)} must have one shape`,
  );
}

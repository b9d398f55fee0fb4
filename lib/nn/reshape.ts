// Layers that only rearrange: Flatten, Unflatten, Identity, Upsample, padding.
import { ShapeError } from "../errors.js";
import { pad } from "../ops/arrange.js";
import { flatten, reshape } from "../ops/movement.js";
import { type InterpolateOptions, interpolate } from "../ops/resample.js";
import { type Shape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";
import { repr } from "./settings.js";

/** The input itself. */
export class Identity extends Module {
  override forward<T>(x: T): T {
    return x;
  }
}

/** Dimensions `startDim` to `endDim` in one; by default everything but the batch: B×… → B×(product of the rest). */
export class Flatten extends Module {
  constructor(
    readonly startDim = 1,
    readonly endDim = -1,
  ) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return flatten(x, this.startDim, this.endDim);
  }
  protected override extraRepr(): string {
    return repr({ startDim: this.startDim, endDim: this.endDim });
  }
}

/** One dimension as several. */
export class Unflatten extends Module {
  constructor(
    readonly dim: number,
    readonly sizes: Shape,
  ) {
    super();
  }
  override forward(x: Tensor): Tensor {
    const at = this.dim < 0 ? this.dim + x.ndim : this.dim;
    if (!(at >= 0 && at < x.ndim)) {
      throw new ShapeError(`Unflatten: there is no dimension ${this.dim} in ${show(x.shape)}`);
    }
    return reshape(x, [...x.shape.slice(0, at), ...this.sizes, ...x.shape.slice(at + 1)]);
  }
  protected override extraRepr(): string {
    return repr({ dim: this.dim, sizes: this.sizes });
  }
}

/** N×C×L or N×C×H×W resampled to another size (`interpolate`). */
export class Upsample extends Module {
  constructor(readonly options: InterpolateOptions) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return interpolate(x, this.options);
  }
  protected override extraRepr(): string {
    return repr({ ...this.options });
  }
}

/** A border of zeros around H×W: one number, or [left, right, top, bottom]. */
export class ZeroPad2d extends Module {
  readonly padding: readonly number[];
  constructor(padding: number | readonly number[]) {
    super();
    this.padding = typeof padding === "number" ? [padding, padding, padding, padding] : padding;
  }
  override forward(x: Tensor): Tensor {
    return pad(x, this.padding);
  }
  protected override extraRepr(): string {
    return repr({ padding: this.padding });
  }
}

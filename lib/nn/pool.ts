// Pooling as layers.
import type { Sizes } from "../ops/conv.js";
import * as f from "../ops/pool.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";
import { repr } from "./settings.js";

abstract class Pool<O extends object> extends Module {
  constructor(
    readonly kernelSize: Sizes,
    readonly options: O = {} as O,
  ) {
    super();
  }
  protected override extraRepr(): string {
    return repr({ kernelSize: this.kernelSize, ...this.options });
  }
}

/** The maximum of each window of N×C×L (or C×L); the stride is the window's size unless given. */
export class MaxPool1d extends Pool<f.MaxPoolOptions> {
  override forward(x: Tensor): Tensor {
    return f.maxPool1d(x, this.kernelSize, this.options);
  }
}

/** The maximum of each window of N×C×H×W (or C×H×W). */
export class MaxPool2d extends Pool<f.MaxPoolOptions> {
  override forward(x: Tensor): Tensor {
    return f.maxPool2d(x, this.kernelSize, this.options);
  }
}

/** The mean of each window of N×C×L (or C×L). */
export class AvgPool1d extends Pool<f.AvgPoolOptions> {
  override forward(x: Tensor): Tensor {
    return f.avgPool1d(x, this.kernelSize, this.options);
  }
}

/** The mean of each window of N×C×H×W (or C×H×W). */
export class AvgPool2d extends Pool<f.AvgPoolOptions> {
  override forward(x: Tensor): Tensor {
    return f.avgPool2d(x, this.kernelSize, this.options);
  }
}

type OutputSize = Parameters<typeof f.adaptiveAvgPool2d>[1];

abstract class AdaptivePool extends Module {
  /** @param outputSize size of the result, whatever the input's; null keeps a dimension's own */
  constructor(readonly outputSize: OutputSize) {
    super();
  }
  protected override extraRepr(): string {
    return repr({ outputSize: this.outputSize });
  }
}

/** Means of as many windows as wanted, N×C×L → N×C×outputSize. */
export class AdaptiveAvgPool1d extends AdaptivePool {
  override forward(x: Tensor): Tensor {
    return f.adaptiveAvgPool1d(x, this.outputSize);
  }
}

/** Means of as many windows as wanted, N×C×H×W → N×C×outputSize. `new nn.AdaptiveAvgPool2d(1)` is global pooling. */
export class AdaptiveAvgPool2d extends AdaptivePool {
  override forward(x: Tensor): Tensor {
    return f.adaptiveAvgPool2d(x, this.outputSize);
  }
}

/** Maxima of as many windows as wanted, N×C×L → N×C×outputSize. */
export class AdaptiveMaxPool1d extends AdaptivePool {
  override forward(x: Tensor): Tensor {
    return f.adaptiveMaxPool1d(x, this.outputSize);
  }
}

/** Maxima of as many windows as wanted, N×C×H×W → N×C×outputSize. */
export class AdaptiveMaxPool2d extends AdaptivePool {
  override forward(x: Tensor): Tensor {
    return f.adaptiveMaxPool2d(x, this.outputSize);
  }
}

// Activations as layers.
import * as f from "../ops/activation.js";
import { tanh } from "../ops/elementwise.js";
import { logSoftmax, softmax } from "../ops/softmax.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";

/** A layer class without settings. */
const activation = (name: string, fn: (x: Tensor) => Tensor): (new () => Module) => {
  const Layer = class extends Module {
    override forward(x: Tensor): Tensor {
      return fn(x);
    }
  };
  Object.defineProperty(Layer, "name", { value: name });
  return Layer;
};

/** max(x, 0). */
export const ReLU = activation("ReLU", f.relu);
/** min(max(x, 0), 6). */
export const ReLU6 = activation("ReLU6", f.relu6);
/** 1 / (1 + e⁻ˣ). */
export const Sigmoid = activation("Sigmoid", f.sigmoid);
/** log of the sigmoid. */
export const LogSigmoid = activation("LogSigmoid", f.logSigmoid);
/** Hyperbolic tangent. */
export const Tanh = activation("Tanh", tanh);
/** x·sigmoid(x). */
export const SiLU = activation("SiLU", f.silu);
/** x·tanh(softplus(x)). */
export const Mish = activation("Mish", f.mish);
/** Scaled exponential linear unit. */
export const SELU = activation("SELU", f.selu);
/** x / (1 + |x|). */
export const Softsign = activation("Softsign", f.softsign);
/** Piecewise linear approximation of SiLU. */
export const Hardswish = activation("Hardswish", f.hardswish);
/** Piecewise linear approximation of the sigmoid. */
export const Hardsigmoid = activation("Hardsigmoid", f.hardsigmoid);

/** x where positive, negativeSlope·x elsewhere. */
export class LeakyReLU extends Module {
  constructor(readonly negativeSlope = 0.01) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return f.leakyRelu(x, this.negativeSlope);
  }
}

/** x where positive, alpha·(eˣ − 1) elsewhere. */
export class ELU extends Module {
  constructor(readonly alpha = 1) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return f.elu(x, this.alpha);
  }
}

/** Gaussian error linear unit, exact or by tanh. */
export class GELU extends Module {
  constructor(readonly approximate: "none" | "tanh" = "none") {
    super();
  }
  override forward(x: Tensor): Tensor {
    return f.gelu(x, this.approximate);
  }
}

/** log(1 + e^(beta·x)) / beta, linear above the threshold. */
export class Softplus extends Module {
  constructor(
    readonly beta = 1,
    readonly threshold = 20,
  ) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return f.softplus(x, this.beta, this.threshold);
  }
}

/** Exponentials that sum to 1 along a dimension. */
export class Softmax extends Module {
  constructor(readonly dim = -1) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return softmax(x, this.dim);
  }
}

/** Logarithm of the softmax along a dimension. */
export class LogSoftmax extends Module {
  constructor(readonly dim = -1) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return logSoftmax(x, this.dim);
  }
}

// Sequential: layers one after the other.
import { checkFunction } from "../check.js";
import { ValueError } from "../errors.js";
import { Tensor } from "../tensor/tensor.js";
import { Model } from "../train/model.js";
import { Module } from "./module.js";

/**
 * Layers applied one after the other. A recurrent layer gives its states besides its output: `OutputSequence` or
 * `LastOutput` after it takes what is wanted.
 *
 * `compile`, `fit`, `evaluate` and `predict` train and use it, see `nn.Model`.
 *
 * @example
 * const model = new nn.Sequential([new nn.Linear(64, 32), new nn.ReLU(), new nn.Linear(32, 10)]);
 * const logits = model.forward(x);
 */
export class Sequential extends Model {
  // The layers are numbered properties, so that parameters are called "0.weight" as in PyTorch.
  [index: number]: Module;
  private readonly size: { layers: number } = { layers: 0 };

  constructor(layers: readonly Module[] = []) {
    super();
    Object.defineProperty(this, "size", { enumerable: false });
    if (!Array.isArray(layers)) {
      throw new ValueError("Sequential: the layers come in one array: new nn.Sequential([first, second])");
    }
    for (const layer of layers) this.add(layer);
  }

  /** Appends a layer. */
  add(layer: Module): this {
    if (!(layer instanceof Module)) {
      throw new ValueError(
        `Sequential: layer ${this.size.layers} is not a Module but ${String(layer)}; wrap functions in nn.Lambda`,
      );
    }
    this[this.size.layers++] = layer;
    return this;
  }

  get length(): number {
    return this.size.layers;
  }

  override forward(x: Tensor): Tensor {
    let y = x;
    for (let i = 0; i < this.size.layers; i++) y = y instanceof Tensor ? this[i].forward(y) : this.onto(i, y);
    return y;
  }

  /** A layer on what is no tensor, which few layers take. */
  private onto(i: number, y: unknown): Tensor {
    try {
      return this[i].forward(y);
    } catch (error) {
      if (i === 0 || !(error instanceof ValueError)) throw error;
      const [before, layer] = [this[i - 1], this[i]].map((m) => m.constructor.name);
      throw new ValueError(
        `Sequential: layer ${i}, ${layer}, cannot take what layer ${i - 1}, ${before}, gives: ${error.message} ` +
          "(of a recurrent layer's result, nn.OutputSequence or nn.LastOutput take a tensor)",
      );
    }
  }
}

/**
 * A function of tensors as a layer.
 *
 * @example
 * const gated = new nn.Lambda((x, gate) => x.mul(gate.sigmoid())).call(a, b); // in a graph
 */
export class Lambda<A extends readonly Tensor[] = Tensor[], R = Tensor> extends Module {
  constructor(private readonly fn: (...inputs: A) => R) {
    super();
    checkFunction(fn, "Lambda");
  }

  override forward(...inputs: A): R {
    return this.fn(...inputs);
  }
}

// Losses as modules.
import * as f from "../ops/loss.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";

/** Mean (or sum, or each) of the squared differences. */
export class MSELoss extends Module {
  constructor(readonly options: Parameters<typeof f.mseLoss>[2] = {}) {
    super();
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return f.mseLoss(input, target, this.options);
  }
}

/** Softmax and cross-entropy of logits against class indices or probabilities. */
export class CrossEntropyLoss extends Module {
  constructor(readonly options: Parameters<typeof f.crossEntropy>[2] = {}) {
    super();
  }
  override forward(logits: Tensor, target: Tensor): Tensor {
    return f.crossEntropy(logits, target, this.options);
  }
}

/** Sigmoid and binary cross-entropy of logits against probabilities. */
export class BCEWithLogitsLoss extends Module {
  constructor(readonly options: Parameters<typeof f.binaryCrossEntropyWithLogits>[2] = {}) {
    super();
  }
  override forward(logits: Tensor, target: Tensor): Tensor {
    return f.binaryCrossEntropyWithLogits(logits, target, this.options);
  }
}

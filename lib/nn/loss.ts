// Losses as modules. Options (reduction and the like) are those of the functions.
import * as f from "../ops/loss.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";
import { repr } from "./settings.js";

type PairLoss<O> = (input: Tensor, target: Tensor, options?: O) => Tensor;

/** The loss of an input against a target as a layer class. */
function pairLoss<O extends object>(name: string, loss: PairLoss<O>) {
  const Loss = class extends Module {
    constructor(readonly options: O = {} as O) {
      super();
    }
    override forward(input: Tensor, target: Tensor): Tensor {
      return loss(input, target, this.options);
    }
    protected override extraRepr(): string {
      return repr(this.options as Record<string, unknown>);
    }
  };
  Object.defineProperty(Loss, "name", { value: name });
  return Loss as new (
    options?: O,
  ) => Module & { readonly options: O };
}

/** Mean (or sum, or each) of the squared differences. */
export const MSELoss = pairLoss("MSELoss", f.mseLoss);
/** … of the absolute differences. */
export const L1Loss = pairLoss("L1Loss", f.l1Loss);
/** Squared below `delta`, linear above. Huber 1964. */
export const HuberLoss = pairLoss("HuberLoss", f.huberLoss);
/** Squared below `beta`, linear above, divided by beta. Girshick 2015. */
export const SmoothL1Loss = pairLoss("SmoothL1Loss", f.smoothL1Loss);
/** Negative log-likelihood of log-probabilities against class indices. */
export const NLLLoss = pairLoss("NLLLoss", f.nllLoss);
/** Softmax and cross-entropy of logits against class indices or probabilities. */
export const CrossEntropyLoss = pairLoss("CrossEntropyLoss", f.crossEntropy);
/** Binary cross-entropy of probabilities. */
export const BCELoss = pairLoss("BCELoss", f.binaryCrossEntropy);
/** Sigmoid and binary cross-entropy of logits against probabilities. */
export const BCEWithLogitsLoss = pairLoss("BCEWithLogitsLoss", f.binaryCrossEntropyWithLogits);
/** Kullback–Leibler divergence of log-probabilities from a target distribution. */
export const KLDivLoss = pairLoss("KLDivLoss", f.klDiv);
/** x where the target is 1, max(0, margin − x) where it is −1. */
export const HingeEmbeddingLoss = pairLoss("HingeEmbeddingLoss", f.hingeEmbeddingLoss);
/** log(1 + e^(−target·x)). */
export const SoftMarginLoss = pairLoss("SoftMarginLoss", f.softMarginLoss);
/** Negative log-likelihood of counts. */
export const PoissonNLLLoss = pairLoss("PoissonNLLLoss", f.poissonNllLoss);

/** max(0, −target·(a − b) + margin): a should rank above b where the target is 1, below where it is −1. */
export class MarginRankingLoss extends Module {
  constructor(readonly options: Parameters<typeof f.marginRankingLoss>[3] = {}) {
    super();
  }
  override forward(a: Tensor, b: Tensor, target: Tensor): Tensor {
    return f.marginRankingLoss(a, b, target, this.options);
  }
}

/** 1 − cos(a, b) where the target is 1, max(0, cos(a, b) − margin) where it is −1. */
export class CosineEmbeddingLoss extends Module {
  constructor(readonly options: Parameters<typeof f.cosineEmbeddingLoss>[3] = {}) {
    super();
  }
  override forward(a: Tensor, b: Tensor, target: Tensor): Tensor {
    return f.cosineEmbeddingLoss(a, b, target, this.options);
  }
}

/** max(0, ‖anchor − positive‖ − ‖anchor − negative‖ + margin). */
export class TripletMarginLoss extends Module {
  constructor(readonly options: Parameters<typeof f.tripletMarginLoss>[3] = {}) {
    super();
  }
  override forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    return f.tripletMarginLoss(anchor, positive, negative, this.options);
  }
}

/** Negative log-likelihood of a normal distribution with the given variances. */
export class GaussianNLLLoss extends Module {
  constructor(readonly options: Parameters<typeof f.gaussianNllLoss>[3] = {}) {
    super();
  }
  override forward(input: Tensor, target: Tensor, variance: Tensor): Tensor {
    return f.gaussianNllLoss(input, target, variance, this.options);
  }
}

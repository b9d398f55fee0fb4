// Dropout in its forms: identities in evaluation mode.
import { alphaDropout, dropout, dropout1d, dropout2d } from "../ops/random.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";
import { checkProbability, repr } from "./settings.js";

abstract class AnyDropout extends Module {
  /** @param p the probability with which something is dropped */
  constructor(readonly p = 0.5) {
    super();
    checkProbability(new.target.name, "p", p);
  }

  protected override extraRepr(): string {
    return repr({ p: this.p });
  }
}

/**
 * While training, zeroes each element with probability p and scales the others by 1 / (1 − p) (Srivastava et al. 2014).
 */
export class Dropout extends AnyDropout {
  override forward(x: Tensor): Tensor {
    return dropout(x, this.p, this.training);
  }
}

/** Drops whole channels of N×C×L (or C×L). Tompson et al. 2015. */
export class Dropout1d extends AnyDropout {
  override forward(x: Tensor): Tensor {
    return dropout1d(x, this.p, this.training);
  }
}

/** Drops whole channels of N×C×H×W (or C×H×W). Tompson et al. 2015. */
export class Dropout2d extends AnyDropout {
  override forward(x: Tensor): Tensor {
    return dropout2d(x, this.p, this.training);
  }
}

/** Dropout that keeps mean and variance of what SELU gives. Klambauer et al. 2017. */
export class AlphaDropout extends AnyDropout {
  override forward(x: Tensor): Tensor {
    return alphaDropout(x, this.p, this.training);
  }
}

// Adam and AdamW.
import { add, div, maximum, mul, sqrt, square, sub } from "../ops/elementwise.js";
import { defineUpdate } from "../ops/update.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkHyper, Optimizer, type ParamGroup, type ParamState, type Params } from "./optimizer.js";

export interface AdamOptions {
  /** Learning rate. Default 0.001. */
  lr: number;
  /** Decay of the averages of the gradient and of its square. Default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the denominator. Default 1e−8. */
  eps: number;
  /** L2 penalty (Adam) or decoupled weight decay (AdamW). Default 0 (Adam), 0.01 (AdamW). */
  weightDecay: number;
  /** Use the maximum of the second moments so far (Reddi et al. 2018). Default false. */
  amsgrad: boolean;
  /** Ascend instead. Default false. */
  maximize: boolean;
}

/** numbers: sign, L2 penalty, 1 − lr·decay, β₁, 1 − β₁, β₂, 1 − β₂, lr / (1 − β₁ᵗ), √(1 − β₂ᵗ), eps. */
function moments([p, m, v]: Tensor[], [g]: Tensor[], n: Tensor[]) {
  const d = add(mul(g, n[0]), mul(p, n[1]));
  return { p: mul(p, n[2]), m: add(mul(m, n[3]), mul(d, n[4])), v: add(mul(v, n[5]), mul(square(d), n[6])) };
}
const stepFrom = (p: Tensor, m: Tensor, v: Tensor, n: Tensor[]): Tensor =>
  sub(p, mul(n[7], div(m, add(div(sqrt(v), n[8]), n[9]))));

const adam = defineUpdate("Adam", (targets, sources, n) => {
  const { p, m, v } = moments(targets, sources, n);
  return [stepFrom(p, m, v, n), m, v];
});

const amsgrad = defineUpdate("Adam", (targets, sources, n) => {
  const { p, m, v } = moments(targets, sources, n);
  const top = maximum(targets[3], v);
  return [stepFrom(p, m, top, n), m, v, top];
});

/**
 * Adam (Kingma and Ba 2015, algorithm 1), with PyTorch's formulas.
 *
 * @example
 * const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
 */
export class Adam extends Optimizer<AdamOptions> {
  /** Weight decay acts on the weights and not through the gradient. */
  protected readonly decoupled: boolean = false;

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(params, {
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0,
      amsgrad: false,
      maximize: false,
      ...options,
    });
  }

  protected check(h: AdamOptions): void {
    checkHyper(this.name, "lr", h.lr);
    checkHyper(this.name, "betas[0]", h.betas[0], 0, 1);
    checkHyper(this.name, "betas[1]", h.betas[1], 0, 1);
    checkHyper(this.name, "eps", h.eps);
    checkHyper(this.name, "weightDecay", h.weightDecay);
  }

  protected update(p: Tensor, grad: Tensor, state: ParamState, group: ParamGroup<AdamOptions>): void {
    const { decoupled } = this;
    const numbers = [
      () => (group.maximize ? -1 : 1),
      () => (decoupled ? 0 : group.weightDecay),
      () => (decoupled ? 1 - group.lr * group.weightDecay : 1),
      () => group.betas[0],
      () => 1 - group.betas[0],
      () => group.betas[1],
      () => 1 - group.betas[1],
      () => group.lr / (1 - group.betas[0] ** state.step),
      () => Math.sqrt(1 - group.betas[1] ** state.step),
      () => group.eps,
    ].map((n) => this.number(n));
    const targets = [p, this.slot(state, "expAvg", p), this.slot(state, "expAvgSq", p)];
    if (group.amsgrad) amsgrad([...targets, this.slot(state, "maxExpAvgSq", p)], [grad], numbers);
    else adam(targets, [grad], numbers);
  }
}

/** Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2). */
export class AdamW extends Adam {
  protected override readonly decoupled = true;

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(params, { weightDecay: 0.01, ...options });
  }
}

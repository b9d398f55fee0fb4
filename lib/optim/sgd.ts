// Stochastic gradient descent with momentum.
import { ValueError } from "../errors.js";
import { add, mul, sub } from "../ops/elementwise.js";
import { defineUpdate } from "../ops/update.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkHyper, Optimizer, type ParamGroup, type ParamState, type Params } from "./optimizer.js";

export interface SGDOptions {
  /** Learning rate. */
  lr: number;
  /** Momentum factor. Default 0. */
  momentum: number;
  /** Dampening of the gradient's share in the momentum. Default 0. */
  dampening: number;
  /** L2 penalty. Default 0. */
  weightDecay: number;
  /** Nesterov momentum. Default false. */
  nesterov: boolean;
  /** Ascend instead. Default false. */
  maximize: boolean;
}

const decayed = (p: Tensor, g: Tensor, sign: Tensor, decay: Tensor): Tensor => add(mul(g, sign), mul(p, decay));

const plain = defineUpdate("SGD", ([p], [g], [lr, sign, decay]) => [sub(p, mul(decayed(p, g, sign, decay), lr))]);

const withMomentum = defineUpdate("SGD", ([p, buffer], [g], [lr, sign, decay, momentum, share]) => {
  const b = add(mul(buffer, momentum), mul(decayed(p, g, sign, decay), share));
  return [sub(p, mul(b, lr)), b];
});

const nesterov = defineUpdate("SGD", ([p, buffer], [g], [lr, sign, decay, momentum, share]) => {
  const d = decayed(p, g, sign, decay);
  const b = add(mul(buffer, momentum), mul(d, share));
  return [sub(p, mul(add(d, mul(b, momentum)), lr)), b];
});

/**
 * Stochastic gradient descent, with PyTorch's formulas: g ← g + weightDecay·p; b ← momentum·b + (1 − dampening)·g
 * (b = g at the first step); p ← p − lr·b, or p − lr·(g + momentum·b) with Nesterov (Sutskever et al. 2013).
 *
 * @example
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(params: Params<SGDOptions>, options: Partial<SGDOptions> & { lr: number }) {
    super(params, { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false, ...options });
  }

  protected check(h: SGDOptions): void {
    checkHyper("SGD", "lr", h.lr);
    checkHyper("SGD", "momentum", h.momentum);
    checkHyper("SGD", "dampening", h.dampening);
    checkHyper("SGD", "weightDecay", h.weightDecay);
    if (h.nesterov && (h.momentum === 0 || h.dampening !== 0)) {
      throw new ValueError(`SGD: nesterov needs a momentum (${h.momentum}) and no dampening (${h.dampening})`);
    }
  }

  protected update(p: Tensor, grad: Tensor, state: ParamState, group: ParamGroup<SGDOptions>): void {
    const numbers = [
      this.number(() => group.lr),
      this.number(() => (group.maximize ? -1 : 1)),
      this.number(() => group.weightDecay),
    ];
    if (group.momentum === 0) {
      plain([p], [grad], numbers);
      return;
    }
    numbers.push(
      this.number(() => group.momentum),
      this.number(() => (state.step === 1 ? 1 : 1 - group.dampening)),
    );
    const rule = group.nesterov ? nesterov : withMomentum;
    rule([p, this.slot(state, "momentumBuffer", p)], [grad], numbers);
  }
}

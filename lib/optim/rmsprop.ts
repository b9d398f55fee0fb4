// RMSprop.
import { depends } from "../graph/capture.js";
import { add, div, mul, sqrt, square, sub } from "../ops/elementwise.js";
import { defineUpdate } from "../ops/update.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Arithmetic, Quantity } from "./numbers.js";
import { checkHyper, chosen, Optimizer, type ParamGroup, type ParamState, type Params } from "./optimizer.js";

export interface RMSpropOptions {
  /** Learning rate. Default 0.01. */
  lr: number;
  /** Decay of the average of squares. Default 0.99. */
  alpha: number;
  /** Added to the denominator. Default 1e−8. */
  eps: number;
  /** L2 penalty. Default 0. */
  weightDecay: number;
  /** Default 0. */
  momentum: number;
  /** Divide by the deviation from the mean gradient instead of the root mean square. Default false. */
  centered: boolean;
}

const rule = (centered: boolean, momentum: boolean) =>
  defineUpdate("RMSprop", ([p, squares, ...more], [gradient], [lr, alpha, rest, eps, penalty, factor]) => {
    const g = add(gradient, mul(p, penalty));
    const v = add(mul(squares, alpha), mul(square(g), rest));
    const state = [v];
    let spread = v;
    if (centered) {
      const average = add(mul(more[0], alpha), mul(g, rest));
      state.push(average);
      spread = sub(v, square(average));
    }
    let step = div(g, add(sqrt(spread), eps));
    if (momentum) {
      step = add(mul(more[centered ? 1 : 0], factor), step);
      state.push(step);
    }
    return [sub(p, mul(step, lr)), ...state];
  });
const rules = [
  [rule(false, false), rule(false, true)],
  [rule(true, false), rule(true, true)],
];

/**
 * RMSprop (Tieleman and Hinton 2012, lecture 6.5) with PyTorch's formulas; centered after Graves 2013.
 *
 * @example
 * const optimizer = new optim.RMSprop(model.parameters(), { lr: 1e-3 });
 */
export class RMSprop extends Optimizer<RMSpropOptions> {
  constructor(params: Params<RMSpropOptions>, options: Partial<RMSpropOptions> = {}) {
    const defaults = { lr: 0.01, alpha: 0.99, eps: 1e-8, weightDecay: 0, momentum: 0, centered: false };
    super(params, chosen<RMSpropOptions>("RMSprop", defaults, options));
  }

  protected check(h: RMSpropOptions): void {
    for (const key of ["lr", "eps", "weightDecay", "momentum"] as const) checkHyper("RMSprop", key, h[key]);
    checkHyper("RMSprop", "alpha", h.alpha, 0, 1);
  }

  protected numbers<N>(group: ParamGroup<RMSpropOptions>, { of }: Arithmetic<N>): N[] {
    const numbers = [
      () => group.lr,
      () => group.alpha,
      () => 1 - group.alpha,
      () => group.eps,
      () => group.weightDecay,
      () => group.momentum,
    ];
    return numbers.map(of);
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    group: ParamGroup<RMSpropOptions>,
    numbers: readonly Quantity[],
  ): void {
    const centered = depends(() => group.centered);
    const momentum = depends(() => group.momentum !== 0);
    const targets = [p, this.slot(state, "squareAvg", p)];
    if (centered) targets.push(this.slot(state, "gradAvg", p));
    if (momentum) targets.push(this.slot(state, "momentumBuffer", p));
    rules[centered ? 1 : 0][momentum ? 1 : 0](targets, [grad], numbers);
  }
}

// Adagrad and Adadelta: step sizes from sums or averages of squared gradients.

import { uncaptured } from "../graph/capture.js";
import { add, div, mul, sqrt, square, sub } from "../ops/elementwise.js";
import { defineUpdate } from "../ops/update.js";
import { fullLike } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Arithmetic, Quantity } from "./numbers.js";
import { checkHyper, chosen, Optimizer, type ParamGroup, type ParamState, type Params } from "./optimizer.js";

export interface AdagradOptions {
  /** Learning rate. Default 0.01. */
  lr: number;
  /** The rate at step t is lr / (1 + (t − 1)·lrDecay). Default 0. */
  lrDecay: number;
  /** L2 penalty. Default 0. */
  weightDecay: number;
  /** What the sums of squares start from. Default 0. */
  initialAccumulatorValue: number;
  /** Added to the denominator. Default 1e−10. */
  eps: number;
}

const adagradRule = defineUpdate("Adagrad", ([p, sum], [gradient], [rate, penalty, eps]) => {
  const g = add(gradient, mul(p, penalty));
  const total = add(sum, square(g));
  return [sub(p, mul(div(g, add(sqrt(total), eps)), rate)), total];
});

/** Adagrad (Duchi, Hazan and Singer 2011) with PyTorch's formulas. */
export class Adagrad extends Optimizer<AdagradOptions> {
  constructor(params: Params<AdagradOptions>, options: Partial<AdagradOptions> = {}) {
    const defaults = { lr: 0.01, lrDecay: 0, weightDecay: 0, initialAccumulatorValue: 0, eps: 1e-10 };
    super(params, chosen<AdagradOptions>("Adagrad", defaults, options));
  }

  protected check(h: AdagradOptions): void {
    for (const key of Object.keys(this.defaults ?? h) as (keyof AdagradOptions)[]) checkHyper("Adagrad", key, h[key]);
  }

  protected numbers<N>(group: ParamGroup<AdagradOptions>, { step, of, add, sub, mul, div }: Arithmetic<N>): N[] {
    const [lr, decay, one] = [of(() => group.lr), of(() => group.lrDecay), of(() => 1)];
    return [div(lr, add(one, mul(sub(step, one), decay))), of(() => group.weightDecay), of(() => group.eps)];
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    group: ParamGroup<AdagradOptions>,
    numbers: readonly Quantity[],
  ): void {
    state.slots.sum ??= uncaptured(() => fullLike(p, group.initialAccumulatorValue));
    adagradRule([p, state.slots.sum], [grad], numbers);
  }
}

export interface AdadeltaOptions {
  /** Factor of the step. Default 1. */
  lr: number;
  /** Decay of the averages of squares. Default 0.9. */
  rho: number;
  /** Added under the roots. Default 1e−6. */
  eps: number;
  /** L2 penalty. Default 0. */
  weightDecay: number;
}

const adadeltaRule = defineUpdate("Adadelta", ([p, squares, steps], [gradient], [lr, rho, rest, eps, penalty]) => {
  const g = add(gradient, mul(p, penalty));
  const v = add(mul(squares, rho), mul(square(g), rest));
  const delta = mul(div(sqrt(add(steps, eps)), sqrt(add(v, eps))), g);
  return [sub(p, mul(delta, lr)), v, add(mul(steps, rho), mul(square(delta), rest))];
});

/** Adadelta (Zeiler 2012, algorithm 1) with PyTorch's formulas. */
export class Adadelta extends Optimizer<AdadeltaOptions> {
  constructor(params: Params<AdadeltaOptions>, options: Partial<AdadeltaOptions> = {}) {
    super(params, chosen<AdadeltaOptions>("Adadelta", { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0 }, options));
  }

  protected check(h: AdadeltaOptions): void {
    for (const key of ["lr", "eps", "weightDecay"] as const) checkHyper("Adadelta", key, h[key]);
    checkHyper("Adadelta", "rho", h.rho, 0, 1);
  }

  protected numbers<N>(group: ParamGroup<AdadeltaOptions>, { of }: Arithmetic<N>): N[] {
    const numbers = [() => group.lr, () => group.rho, () => 1 - group.rho, () => group.eps, () => group.weightDecay];
    return numbers.map(of);
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    _group: ParamGroup<AdadeltaOptions>,
    numbers: readonly Quantity[],
  ): void {
    adadeltaRule([p, this.slot(state, "squareAvg", p), this.slot(state, "accDelta", p)], [grad], numbers);
  }
}

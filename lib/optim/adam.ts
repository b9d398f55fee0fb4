// Adam and AdamW.
import { depends } from "../graph/capture.js";
import { add, div, maximum, mul, sqrt, square, sub } from "../ops/elementwise.js";
import { defineUpdate } from "../ops/update.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Arithmetic, Quantity } from "./numbers.js";
import { checkHyper, chosen, Optimizer, type ParamGroup, type ParamState, type Params } from "./optimizer.js";

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

/**
 * The update as one pass over memory. Numbers: β₁, 1 − β₁, β₂, 1 − β₂, lr / (1 − β₁ᵗ), √(1 − β₂ᵗ), eps, and with
 * `extended` the sign of the gradient, the L2 penalty and 1 − lr·(decoupled decay), which most runs do without.
 */
const rule = (amsgrad: boolean, extended: boolean) =>
  defineUpdate("Adam", ([p, m0, v0, top0], [gradient], [beta1, rest1, beta2, rest2, size, root, eps, ...more]) => {
    const [sign, penalty, shrink] = more;
    const g = extended ? add(mul(gradient, sign), mul(p, penalty)) : gradient;
    const m = add(mul(m0, beta1), mul(g, rest1));
    const v = add(mul(v0, beta2), mul(square(g), rest2));
    const top = amsgrad ? maximum(top0, v) : v;
    const step = mul(size, div(m, add(div(sqrt(top), root), eps)));
    const next = sub(extended ? mul(p, shrink) : p, step);
    return amsgrad ? [next, m, v, top] : [next, m, v];
  });

const rules = { plain: [rule(false, false), rule(false, true)], amsgrad: [rule(true, false), rule(true, true)] };

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
    const betas = [0.9, 0.999] as const;
    const defaults = { lr: 1e-3, betas, eps: 1e-8, weightDecay: 0, amsgrad: false, maximize: false };
    super(params, chosen<AdamOptions>(new.target.name, defaults, options));
  }

  protected check(h: AdamOptions): void {
    checkHyper(this.name, "lr", h.lr);
    checkHyper(this.name, "betas[0]", h.betas[0], 0, 1);
    checkHyper(this.name, "betas[1]", h.betas[1], 0, 1);
    checkHyper(this.name, "eps", h.eps);
    checkHyper(this.name, "weightDecay", h.weightDecay);
  }

  protected numbers<N>(group: ParamGroup<AdamOptions>, { step, of, sub, div, pow, sqrt }: Arithmetic<N>): N[] {
    const { decoupled } = this;
    const [beta1, beta2, one] = [of(() => group.betas[0]), of(() => group.betas[1]), of(() => 1)];
    const numbers = [
      beta1,
      of(() => 1 - group.betas[0]),
      beta2,
      of(() => 1 - group.betas[1]),
      div(
        of(() => group.lr),
        sub(one, pow(beta1, step)),
      ),
      sqrt(sub(one, pow(beta2, step))),
      of(() => group.eps),
    ];
    if (this.extended(group)) {
      numbers.push(
        of(() => (group.maximize ? -1 : 1)),
        of(() => (decoupled ? 0 : group.weightDecay)),
        of(() => (decoupled ? 1 - group.lr * group.weightDecay : 1)),
      );
    }
    return numbers;
  }

  private extended(group: ParamGroup<AdamOptions>): boolean {
    return depends(() => group.weightDecay !== 0 || group.maximize);
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    group: ParamGroup<AdamOptions>,
    numbers: readonly Quantity[],
  ): void {
    const amsgrad = depends(() => group.amsgrad);
    const targets = [p, this.slot(state, "expAvg", p), this.slot(state, "expAvgSq", p)];
    if (amsgrad) targets.push(this.slot(state, "maxExpAvgSq", p));
    rules[amsgrad ? "amsgrad" : "plain"][this.extended(group) ? 1 : 0](targets, [grad], numbers);
  }
}

/** Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2). */
export class AdamW extends Adam {
  protected override readonly decoupled = true;

  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    super(params, { weightDecay: 0.01, ...options });
  }
}

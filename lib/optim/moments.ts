// Relatives of Adam: Adamax, NAdam, RAdam and Lion.
import { abs, add, div, maximum, mul, sign, sqrt, square, sub } from "../ops/elementwise.js";
import { defineUpdate } from "../ops/update.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Arithmetic, Quantity } from "./numbers.js";
import { checkHyper, chosen, Optimizer, type ParamGroup, type ParamState, type Params } from "./optimizer.js";

export interface MomentOptions {
  /** Learning rate. */
  lr: number;
  /** Decay of the averages. */
  betas: readonly [number, number];
  /** L2 penalty (Lion: decoupled decay). Default 0. */
  weightDecay: number;
}

export interface AdamaxOptions extends MomentOptions {
  /** Added to the denominator. Default 1e−8. */
  eps: number;
}

const betas = [0.9, 0.999] as const;

abstract class WithMoments<H extends MomentOptions> extends Optimizer<H> {
  protected check(h: H): void {
    checkHyper(this.name, "lr", h.lr);
    checkHyper(this.name, "betas[0]", h.betas[0], 0, 1);
    checkHyper(this.name, "betas[1]", h.betas[1], 0, 1);
    checkHyper(this.name, "weightDecay", h.weightDecay);
    if ("eps" in h) checkHyper(this.name, "eps", h.eps);
  }

  /** β₁, 1 − β₁, β₂, 1 − β₂, then what the rule asks for. */
  protected numbers<N>(group: ParamGroup<H>, arithmetic: Arithmetic<N>): N[] {
    const numbers = [() => group.betas[0], () => 1 - group.betas[0], () => group.betas[1], () => 1 - group.betas[1]];
    return [...numbers.map(arithmetic.of), ...this.more(group, arithmetic)];
  }

  protected abstract more<N>(group: ParamGroup<H>, arithmetic: Arithmetic<N>): N[];

  /** lr / (1 − β₁ᵗ). */
  protected size<N>(group: ParamGroup<H>, { step, of, sub, div, pow }: Arithmetic<N>): N {
    const [lr, beta, one] = [of(() => group.lr), of(() => group.betas[0]), of(() => 1)];
    return div(lr, sub(one, pow(beta, step)));
  }
}

const adamaxRule = defineUpdate("Adamax", ([p, m0, u0], [gradient], [beta1, rest1, beta2, , rate, eps, penalty]) => {
  const g = add(gradient, mul(p, penalty));
  const m = add(mul(m0, beta1), mul(g, rest1));
  const u = maximum(mul(u0, beta2), add(abs(g), eps));
  return [sub(p, mul(div(m, u), rate)), m, u];
});

/** Adamax (Kingma and Ba 2015, algorithm 2) with PyTorch's formulas. */
export class Adamax extends WithMoments<AdamaxOptions> {
  constructor(params: Params<AdamaxOptions>, options: Partial<AdamaxOptions> = {}) {
    super(params, chosen<AdamaxOptions>("Adamax", { lr: 2e-3, betas, eps: 1e-8, weightDecay: 0 }, options));
  }

  protected more<N>(group: ParamGroup<AdamaxOptions>, arithmetic: Arithmetic<N>): N[] {
    const { of } = arithmetic;
    return [this.size(group, arithmetic), of(() => group.eps), of(() => group.weightDecay)];
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    _group: ParamGroup<AdamaxOptions>,
    numbers: readonly Quantity[],
  ): void {
    adamaxRule([p, this.slot(state, "expAvg", p), this.slot(state, "expInf", p)], [grad], numbers);
  }
}

export interface NAdamOptions extends AdamaxOptions {
  /** ψ of the momentum's schedule. Default 0.004. */
  momentumDecay: number;
}

/** μ at step t: β₁·(1 − 0.96^(t·ψ) / 2). */
const nesterovMomentum = (beta: number, decay: number, t: number): number => beta * (1 - 0.5 * 0.96 ** (t * decay));

/** Product of μ at the steps 1 … t; those known so far are kept. */
const products = new Map<string, number[]>();
function momentumProduct(beta: number, decay: number, t: number): number {
  const key = `${beta} ${decay}`;
  const known = products.get(key) ?? [1];
  products.set(key, known);
  while (known.length <= t) {
    known.push(known[known.length - 1] * nesterovMomentum(beta, decay, known.length));
  }
  return known[t];
}

const nadamRule = defineUpdate(
  "NAdam",
  ([p, m0, v0], [gradient], [beta1, rest1, beta2, rest2, ofGradient, ofMoment, correction, eps, penalty]) => {
    const g = add(gradient, mul(p, penalty));
    const m = add(mul(m0, beta1), mul(g, rest1));
    const v = add(mul(v0, beta2), mul(square(g), rest2));
    const scale = add(sqrt(div(v, correction)), eps);
    return [sub(sub(p, mul(div(g, scale), ofGradient)), mul(div(m, scale), ofMoment)), m, v];
  },
);

/** Adam with Nesterov momentum (Dozat 2016) with PyTorch's formulas. */
export class NAdam extends WithMoments<NAdamOptions> {
  constructor(params: Params<NAdamOptions>, options: Partial<NAdamOptions> = {}) {
    const defaults = { lr: 2e-3, betas, eps: 1e-8, weightDecay: 0, momentumDecay: 4e-3 };
    super(params, chosen<NAdamOptions>("NAdam", defaults, options));
  }

  protected override check(h: NAdamOptions): void {
    super.check(h);
    checkHyper("NAdam", "momentumDecay", h.momentumDecay);
  }

  protected more<N>(group: ParamGroup<NAdamOptions>, { of, byHost }: Arithmetic<N>): N[] {
    const mu = (t: number): number => nesterovMomentum(group.betas[0], group.momentumDecay, t);
    const product = (t: number): number => momentumProduct(group.betas[0], group.momentumDecay, t);
    return [
      byHost((t) => (group.lr * (1 - mu(t))) / (1 - product(t))),
      byHost((t) => (group.lr * mu(t + 1)) / (1 - product(t + 1))),
      byHost((t) => 1 - group.betas[1] ** t),
      of(() => group.eps),
      of(() => group.weightDecay),
    ];
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    _group: ParamGroup<NAdamOptions>,
    numbers: readonly Quantity[],
  ): void {
    nadamRule([p, this.slot(state, "expAvg", p), this.slot(state, "expAvgSq", p)], [grad], numbers);
  }
}

const radamRule = defineUpdate(
  "RAdam",
  ([p, m0, v0], [gradient], [beta1, rest1, beta2, rest2, adaptive, plain, eps, penalty]) => {
    const g = add(gradient, mul(p, penalty));
    const m = add(mul(m0, beta1), mul(g, rest1));
    const v = add(mul(v0, beta2), mul(square(g), rest2));
    return [sub(p, mul(m, add(div(adaptive, add(sqrt(v), eps)), plain))), m, v];
  },
);

/** Rectified Adam (Liu et al. 2020, algorithm 2) with PyTorch's formulas. */
export class RAdam extends WithMoments<AdamaxOptions> {
  constructor(params: Params<AdamaxOptions>, options: Partial<AdamaxOptions> = {}) {
    super(params, chosen<AdamaxOptions>("RAdam", { lr: 1e-3, betas, eps: 1e-8, weightDecay: 0 }, options));
  }

  protected more<N>(group: ParamGroup<AdamaxOptions>, arithmetic: Arithmetic<N>): N[] {
    const { step, of, sub, mul, div, pow, sqrt, upTo } = arithmetic;
    const [zero, one, two, four] = [0, 1, 2, 4].map((n) => of(() => n));
    const decay = pow(
      of(() => group.betas[1]),
      step,
    );
    const correction = sub(one, decay);
    const most = of(() => 2 / (1 - group.betas[1]) - 1);
    const rho = sub(most, div(mul(mul(two, step), decay), correction));
    const r = sqrt(div(mul(mul(sub(rho, four), sub(rho, two)), most), mul(mul(sub(most, four), sub(most, two)), rho)));
    const size = this.size(group, arithmetic);
    // While the variance of the second moment is not tractable, the step is not adaptive.
    return [
      upTo(rho, 5, zero, mul(mul(size, r), sqrt(correction))),
      upTo(rho, 5, size, zero),
      of(() => group.eps),
      of(() => group.weightDecay),
    ];
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    _group: ParamGroup<AdamaxOptions>,
    numbers: readonly Quantity[],
  ): void {
    radamRule([p, this.slot(state, "expAvg", p), this.slot(state, "expAvgSq", p)], [grad], numbers);
  }
}

const lionRule = defineUpdate("Lion", ([p, m], [g], [beta1, rest1, beta2, rest2, lr, shrink]) => [
  sub(mul(p, shrink), mul(sign(add(mul(m, beta1), mul(g, rest1))), lr)),
  add(mul(m, beta2), mul(g, rest2)),
]);

/** Lion: the sign of a momentum, with decoupled weight decay (Chen et al. 2023, algorithm 2). */
export class Lion extends WithMoments<MomentOptions> {
  constructor(params: Params<MomentOptions>, options: Partial<MomentOptions> = {}) {
    super(params, chosen<MomentOptions>("Lion", { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0 }, options));
  }

  protected more<N>(group: ParamGroup<MomentOptions>, { of }: Arithmetic<N>): N[] {
    return [of(() => group.lr), of(() => 1 - group.lr * group.weightDecay)];
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    _group: ParamGroup<MomentOptions>,
    numbers: readonly Quantity[],
  ): void {
    lionRule([p, this.slot(state, "expAvg", p)], [grad], numbers);
  }
}

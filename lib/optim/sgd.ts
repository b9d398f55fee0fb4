// Stochastic gradient descent with momentum.
import { ValueError } from "../errors.js";
import { depends } from "../graph/capture.js";
import { add, mul, sub } from "../ops/elementwise.js";
import { defineUpdate } from "../ops/update.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Arithmetic, Quantity } from "./numbers.js";
import { checkHyper, chosen, Optimizer, type ParamGroup, type ParamState, type Params } from "./optimizer.js";

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

/** Numbers: lr, sign of the gradient, L2 penalty, and with momentum its factor and the gradient's share. */
const rule = (kind: "plain" | "momentum" | "nesterov") =>
  defineUpdate("SGD", ([p, buffer], [gradient], [lr, sign, penalty, momentum, share]) => {
    const g = add(mul(gradient, sign), mul(p, penalty));
    if (kind === "plain") return [sub(p, mul(g, lr))];
    const b = add(mul(buffer, momentum), mul(g, share));
    return [sub(p, mul(kind === "nesterov" ? add(g, mul(b, momentum)) : b, lr)), b];
  });
const rules = { plain: rule("plain"), momentum: rule("momentum"), nesterov: rule("nesterov") };

/**
 * Stochastic gradient descent, with PyTorch's formulas: g ← g + weightDecay·p; b ← momentum·b + (1 − dampening)·g
 * (b = g at the first step); p ← p − lr·b, or p − lr·(g + momentum·b) with Nesterov (Sutskever et al. 2013).
 *
 * @example
 * const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(params: Params<SGDOptions>, options: Partial<SGDOptions> & { lr: number }) {
    const defaults = { lr: undefined as never, momentum: 0, dampening: 0, weightDecay: 0 };
    super(params, chosen<SGDOptions>("SGD", { ...defaults, nesterov: false, maximize: false }, options ?? {}));
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

  protected numbers<N>(group: ParamGroup<SGDOptions>, { step, of, upTo }: Arithmetic<N>): N[] {
    const numbers = [of(() => group.lr), of(() => (group.maximize ? -1 : 1)), of(() => group.weightDecay)];
    if (this.kind(group) !== "plain") {
      const [one, share] = [of(() => 1), of(() => 1 - group.dampening)];
      numbers.push(
        of(() => group.momentum),
        upTo(step, 1, one, share),
      );
    }
    return numbers;
  }

  private kind(group: ParamGroup<SGDOptions>): keyof typeof rules {
    return depends(() => (group.momentum === 0 ? "plain" : group.nesterov ? "nesterov" : "momentum"));
  }

  protected update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    group: ParamGroup<SGDOptions>,
    numbers: readonly Quantity[],
  ): void {
    const kind = this.kind(group);
    rules[kind](kind === "plain" ? [p] : [p, this.slot(state, "momentumBuffer", p)], [grad], numbers);
  }
}

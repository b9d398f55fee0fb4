// L-BFGS: a quasi-Newton method for small problems without noise.
import { CaptureError, ValueError } from "../errors.js";
import { modes, noGrad } from "../graph/modes.js";
import { cat } from "../ops/arrange.js";
import { abs, add, mul, neg, sub } from "../ops/elementwise.js";
import { dot } from "../ops/matmul.js";
import { reshape, slice } from "../ops/movement.js";
import { copy_ } from "../ops/pointwise.js";
import { amax, sum } from "../ops/reduce.js";
import { zerosLike } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkHyper, chosen, Optimizer, type Params } from "./optimizer.js";

export interface LBFGSOptions {
  /** Step size. Default 1. */
  lr: number;
  /** Iterations a step. Default 20. */
  maxIter: number;
  /** Evaluations of the closure a step. Default 1.25·maxIter. */
  maxEval: number | null;
  /** Ends when no element of the gradient is larger. Default 1e−7. */
  toleranceGrad: number;
  /** Ends when the parameters or the loss change by less. Default 1e−9. */
  toleranceChange: number;
  /** Pairs of changes that stand for the Hessian. Default 100. */
  historySize: number;
  /** `"strongWolfe"` looks for a step size that satisfies those conditions; null takes lr. Default null. */
  lineSearchFn: "strongWolfe" | null;
}

interface Point {
  t: number;
  loss: number;
  gradient: Tensor;
  /** Directional derivative. */
  slope: number;
}

/**
 * L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5; line search 3.5 and 3.6), step by step as PyTorch does it.
 * `step` needs a closure that computes the loss anew and its gradients, and runs it many times; values are read, so a
 * step cannot be captured.
 *
 * @example
 * const optimizer = new optim.LBFGS([w], { lineSearchFn: "strongWolfe" });
 * optimizer.step(() => {
 *   optimizer.zeroGrad();
 *   const loss = f(w);
 *   loss.backward();
 *   return loss;
 * });
 */
export class LBFGS extends Optimizer<LBFGSOptions> {
  private direction: Tensor | null = null;
  private size = 0;
  private previous: { gradient: Tensor; loss: number } | null = null;
  private scale = 1;
  private changes: { step: Tensor; gradient: Tensor; rho: number }[] = [];
  private iterations = 0;

  constructor(params: Params<LBFGSOptions>, options: Partial<LBFGSOptions> = {}) {
    const numbers = { lr: 1, maxIter: 20, maxEval: null, toleranceGrad: 1e-7, toleranceChange: 1e-9 };
    const defaults = { ...numbers, historySize: 100, lineSearchFn: null };
    super(params, chosen<LBFGSOptions>("LBFGS", defaults, options));
    if (this.paramGroups.length !== 1) throw new ValueError("LBFGS: only one group of parameters is possible");
  }

  protected check(h: LBFGSOptions): void {
    for (const key of ["lr", "toleranceGrad", "toleranceChange"] as const) checkHyper("LBFGS", key, h[key]);
    for (const key of ["maxIter", "historySize"] as const) checkHyper("LBFGS", key, h[key], 1);
    if (h.maxEval !== null) checkHyper("LBFGS", "maxEval", h.maxEval, 1);
    if (h.lineSearchFn !== null && h.lineSearchFn !== "strongWolfe") {
      throw new ValueError(`LBFGS: lineSearchFn must be "strongWolfe" or null, got ${String(h.lineSearchFn)}`);
    }
  }

  protected numbers(): never[] {
    return [];
  }

  protected update(): void {
    throw new ValueError("LBFGS: step needs a closure that computes the loss and its gradients");
  }

  override step<R>(closure?: () => R): R | undefined {
    if (!closure) return this.update() as never;
    if (modes.capture) throw new CaptureError("LBFGS: a step reads values and cannot be captured; call it outside");
    const group = this.paramGroups[0];
    this.check(group);
    const { lr, maxIter, toleranceGrad, toleranceChange, historySize, lineSearchFn } = group;
    const maxEval = group.maxEval ?? Math.floor(maxIter * 1.25);
    let evaluations = 0;
    const evaluate = (): { loss: number; gradient: Tensor; result: R } => {
      evaluations++;
      const result = closure();
      return { loss: Number((result as Tensor).item()), gradient: noGrad(() => this.gradient()), result };
    };
    const first = evaluate();
    let { loss, gradient } = first;
    return noGrad(() => {
      if (largest(gradient) <= toleranceGrad) return first.result;
      for (let n = 1; n <= maxIter; n++) {
        this.iterations++;
        if (!this.direction || !this.previous) {
          this.direction = neg(gradient);
        } else {
          const y = sub(gradient, this.previous.gradient);
          const s = mul(this.direction, this.size);
          const ys = value(dot(y, s));
          if (ys > 1e-10) {
            if (this.changes.length === historySize) this.changes.shift();
            this.changes.push({ step: s, gradient: y, rho: 1 / ys });
            this.scale = ys / value(dot(y, y));
          }
          this.direction = this.newDirection(gradient);
        }
        const d = this.direction;
        const before = { gradient, loss };
        this.previous = before;
        this.size = this.iterations === 1 ? Math.min(1, 1 / value(sum(abs(gradient)))) * lr : lr;
        const slope = value(dot(gradient, d));
        if (slope > -toleranceChange) break;
        if (lineSearchFn === "strongWolfe") {
          const start = this.paramGroups[0].params.map((p) => p.detach().clone());
          const at = (t: number): Point => {
            this.move(d, t);
            const { loss, gradient } = enabled(evaluate);
            this.paramGroups[0].params.forEach((p, i) => {
              copy_(p, start[i]);
            });
            return { t, loss, gradient, slope: value(dot(gradient, d)) };
          };
          const found = strongWolfe(
            at,
            { t: 0, loss, gradient, slope },
            this.size,
            value(amax(abs(d))),
            toleranceChange,
          );
          ({ loss, gradient } = found);
          this.size = found.t;
          this.move(d, this.size);
        } else {
          this.move(d, this.size);
          if (n !== maxIter) ({ loss, gradient } = enabled(evaluate));
        }
        if (n === maxIter || evaluations >= maxEval || largest(gradient) <= toleranceGrad) break;
        if (value(amax(abs(mul(d, this.size)))) <= toleranceChange) break;
        if (Math.abs(loss - before.loss) < toleranceChange) break;
      }
      return first.result;
    });
  }

  /** −H·g by the two-loop recursion. */
  private newDirection(gradient: Tensor): Tensor {
    let q = neg(gradient);
    const shares: number[] = [];
    for (let i = this.changes.length - 1; i >= 0; i--) {
      const { step, gradient: y, rho } = this.changes[i];
      shares[i] = value(dot(step, q)) * rho;
      q = sub(q, mul(y, shares[i]));
    }
    let r = mul(q, this.scale);
    this.changes.forEach(({ step, gradient: y, rho }, i) => {
      r = add(r, mul(step, shares[i] - value(dot(y, r)) * rho));
    });
    return r;
  }

  /** All gradients in one vector. */
  private gradient(): Tensor {
    return cat(this.paramGroups[0].params.map((p) => reshape(p.grad ?? zerosLike(p), [-1]).clone()));
  }

  private move(direction: Tensor, t: number): void {
    let at = 0;
    for (const p of this.paramGroups[0].params) {
      copy_(p, add(p, mul(reshape(slice(direction, 0, at, at + p.numel), p.shape), t)));
      at += p.numel;
    }
  }
}

const value = (t: Tensor): number => Number(t.item());
const largest = (t: Tensor): number => value(amax(abs(t)));

/** The closure records a graph, though the rest of the step does not. */
function enabled<R>(fn: () => R): R {
  const before = modes.grad;
  modes.grad = true;
  try {
    return fn();
  } finally {
    modes.grad = before;
  }
}

/** The minimum of the cubic through two points with slopes, within bounds (Nocedal and Wright 2006, equation 3.59). */
function cubic(a: Point, b: Point, low = Math.min(a.t, b.t), high = Math.max(a.t, b.t)): number {
  const d1 = a.slope + b.slope - (3 * (a.loss - b.loss)) / (a.t - b.t);
  const square = d1 * d1 - a.slope * b.slope;
  if (square < 0) return (low + high) / 2;
  const d2 = Math.sqrt(square);
  const [x, y] = a.t <= b.t ? [a, b] : [b, a];
  const least = y.t - (y.t - x.t) * ((y.slope + d2 - d1) / (y.slope - x.slope + 2 * d2));
  return Math.min(Math.max(least, low), high);
}

/** A step size that satisfies the strong Wolfe conditions, or the best found. */
function strongWolfe(at: (t: number) => Point, start: Point, t0: number, norm: number, tolerance: number): Point {
  const [c1, c2, most] = [1e-4, 0.9, 25];
  const tooHigh = (x: Point): boolean => x.loss > start.loss + c1 * x.t * start.slope;
  let previous = start;
  let current = at(t0);
  let bracket: [Point, Point] | null = null;
  let n = 0;
  let done = false;
  for (; n < most; n++) {
    if (tooHigh(current) || (n > 1 && current.loss >= previous.loss)) {
      bracket = [previous, current];
      break;
    }
    if (Math.abs(current.slope) <= -c2 * start.slope) {
      bracket = [current, current];
      done = true;
      break;
    }
    if (current.slope >= 0) {
      bracket = [previous, current];
      break;
    }
    const low = current.t + 0.01 * (current.t - previous.t);
    const next = cubic(previous, current, low, current.t * 10);
    previous = current;
    current = at(next);
  }
  bracket ??= [start, current];
  // Zoom: the bracket's better end first.
  let slow = false;
  let [low, high] = bracket[0].loss <= bracket[1].loss ? bracket : [bracket[1], bracket[0]];
  while (!done && n < most) {
    const width = Math.abs(high.t - low.t);
    if (width * norm < tolerance) break;
    const [left, right] = [Math.min(low.t, high.t), Math.max(low.t, high.t)];
    let t = cubic(low, high);
    const margin = 0.1 * (right - left);
    if (Math.min(right - t, t - left) < margin) {
      if (slow || t >= right || t <= left) {
        t = Math.abs(t - right) < Math.abs(t - left) ? right - margin : left + margin;
        slow = false;
      } else {
        slow = true;
      }
    } else {
      slow = false;
    }
    const point = at(t);
    n++;
    if (tooHigh(point) || point.loss >= low.loss) {
      high = point;
      if (high.loss < low.loss) [low, high] = [high, low];
    } else {
      if (Math.abs(point.slope) <= -c2 * start.slope) done = true;
      else if (point.slope * (high.t - low.t) >= 0) high = low;
      low = point;
    }
  }
  return low;
}

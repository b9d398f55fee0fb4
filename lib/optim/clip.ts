// Gradient clipping, to be called between `backward()` and `step()`; may be captured with them.
import { ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { stack } from "../ops/arrange.js";
import { add, clamp, clamp_, div, mul_ } from "../ops/elementwise.js";
import { amax } from "../ops/reduce.js";
import { norm } from "../ops/statistics.js";
import { zeros } from "../tensor/create.js";
import { Tensor } from "../tensor/tensor.js";

const gradients = (parameters: Iterable<Tensor> | Tensor): Tensor[] =>
  [...(parameters instanceof Tensor ? [parameters] : parameters)].flatMap((p) => p.grad ?? []);

/**
 * Scales all gradients, as if they were one vector, so that their norm is at most `maxNorm` (Pascanu et al. 2013,
 * algorithm 1).
 *
 * @param normType p of the norm, may be Infinity; default 2
 * @returns the norm before, 0-dimensional
 * @example
 * loss.backward();
 * optim.clipGradNorm_(model.parameters(), 1);
 * optimizer.step();
 */
export function clipGradNorm_(parameters: Iterable<Tensor> | Tensor, maxNorm: number, normType = 2): Tensor {
  if (!(maxNorm >= 0)) throw new ValueError(`clipGradNorm_: maxNorm must be a number ≥ 0, got ${maxNorm}`);
  if (!(normType > 0)) throw new ValueError(`clipGradNorm_: normType must be a number > 0, got ${normType}`);
  return noGrad(() => {
    const list = gradients(parameters);
    if (list.length === 0) return zeros([]);
    const norms = stack(list.map((g) => norm(g, normType)));
    const total = normType === Number.POSITIVE_INFINITY ? amax(norms) : norm(norms, normType);
    const factor = clamp(div(maxNorm, add(total, 1e-6)), null, 1);
    for (const g of list) mul_(g, factor);
    return total;
  });
}

/** Limits every element of every gradient to [−clipValue, clipValue]. */
export function clipGradValue_(parameters: Iterable<Tensor> | Tensor, clipValue: number): void {
  if (!(clipValue >= 0)) throw new ValueError(`clipGradValue_: clipValue must be a number ≥ 0, got ${clipValue}`);
  noGrad(() => {
    for (const g of gradients(parameters)) clamp_(g, -clipValue, clipValue);
  });
}

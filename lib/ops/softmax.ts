// Softmax and its logarithm along a dimension.
import { normalizeAxis } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { widened } from "./autocast.js";
import { apply1, checkFloat, checkTensor, installMethods, type MethodsOf, type OpDef } from "./define.js";
import { exp, mul, neg, sub } from "./elementwise.js";
import { reshape, transpose } from "./movement.js";
import { sum } from "./reduce.js";

/** Along the last dimension, like the four kernels. */
const same = (def: OpDef<null>, ...inputs: [Tensor, ...Tensor[]]): Tensor =>
  apply1(def, inputs, [], inputs[0].shape, inputs[0].dtype, null);

const total = (x: Tensor): Tensor => sum(x, -1, true);

/** dx = y·(dy − Σ y·dy), linear and self-adjoint in dy. */
const softmaxGradDef: OpDef<null> = {
  name: "softmaxGrad",
  saves: { inputs: [0, 1] },
  grad: ([u], { inputs: [dy, y], needs }) => [
    needs[0] ? same(softmaxGradDef, u!, y) : null,
    needs[1] ? sub(mul(u!, sub(dy, total(mul(y, dy)))), mul(dy, total(mul(u!, y)))) : null,
  ],
};
const softmaxDef: OpDef<null> = {
  name: "softmax",
  saves: { outputs: [0] },
  grad: ([g], { outputs: [y] }) => [same(softmaxGradDef, g!, y)],
};

/** dx = dy − eʸ·Σ dy. */
const logSoftmaxGradDef: OpDef<null> = {
  name: "logSoftmaxGrad",
  saves: { inputs: [0, 1] },
  grad: ([u], { inputs: [dy, y], needs }) => [
    needs[0] ? sub(u!, total(mul(u!, exp(y)))) : null,
    needs[1] ? neg(mul(mul(u!, exp(y)), total(dy))) : null,
  ],
};
const logSoftmaxDef: OpDef<null> = {
  name: "logSoftmax",
  saves: { outputs: [0] },
  grad: ([g], { outputs: [y] }) => [same(logSoftmaxGradDef, g!, y)],
};

function along(def: OpDef<null>, input: Tensor, dim: number): Tensor {
  const x = widened(checkFloat(checkTensor(input, def.name), def.name));
  const axis = normalizeAxis(dim, x.ndim, def.name);
  if (x.ndim === 0) return reshape(same(def, reshape(x, [1])), []);
  if (axis === x.ndim - 1) return same(def, x);
  return transpose(same(def, transpose(x, axis, -1)), axis, -1);
}

/**
 * eˣ / Σ eˣ along `dim`: positive numbers that sum to 1. Stable for large x.
 *
 * @example
 * softmax(tensor([[0, 0], [1, 1]])).toArray(); // [[0.5, 0.5], [0.5, 0.5]]
 */
export const softmax = (x: Tensor, dim = -1): Tensor => along(softmaxDef, x, dim);

/** log(softmax(x)) along `dim`, without the overflow or the rounding of computing it in two steps. */
export const logSoftmax = (x: Tensor, dim = -1): Tensor => along(logSoftmaxDef, x, dim);

/** softmax(−x) along `dim`. */
export const softmin = (x: Tensor, dim = -1): Tensor =>
  softmax(neg(checkFloat(checkTensor(x, "softmin"), "softmin")), dim);

const methods = { softmax, logSoftmax, softmin };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

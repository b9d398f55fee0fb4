// Activation functions. Each is one element-wise instruction forward and one backward; a trailing underscore works in
// place, for the functions whose derivative can be told from their result.
import { ShapeError, ValueError } from "../errors.js";
import { normalizeAxis, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { widened } from "./autocast.js";
import { checkTensor, installMethods, type MethodsOf, recording } from "./define.js";
import {
  abs,
  add,
  clamp,
  div,
  erf,
  exp,
  expm1,
  ge,
  gt,
  le,
  log1p,
  logicalAnd,
  lt,
  maximum,
  minimum,
  mul,
  neg,
  square,
  sub,
  tanh,
  where,
} from "./elementwise.js";
import { narrow, reshape } from "./movement.js";
import { type PointwiseDef, pointwise, pointwiseInto } from "./pointwise.js";

type Formula = (x: Tensor, ...settings: Tensor[]) => Tensor;
type GradFormula = (g: Tensor, at: Tensor, ...settings: Tensor[]) => Tensor;

interface Activation {
  readonly name: string;
  /** The function; absent where the device has it. */
  readonly formula?: Formula;
  /** g times its derivative, from the argument; one instruction, whose own derivative is that of the composition. */
  readonly derivative?: GradFormula;
  /** The same from the result, which is all that an in-place twin has. */
  readonly fromResult?: GradFormula;
}

function define({ name, formula, derivative, fromResult }: Activation) {
  const base: PointwiseDef = { name, domain: "float", ...(formula ? { compose: formula } : {}) };
  const byArgument: PointwiseDef | undefined = derivative && { name: `${name}Grad`, compose: derivative };
  const byResult: PointwiseDef | undefined = fromResult && { name: `${name}ResultGrad`, compose: fromResult };
  const ofResult: PointwiseDef | undefined = byResult && {
    ...base,
    saves: { outputs: [0] },
    grad: (g, { inputs, outputs: [y] }) => [pointwise(byResult, [g, y, ...inputs.slice(1)])],
  };
  const ofArgument: PointwiseDef | undefined = byArgument && {
    ...base,
    saves: { inputs: [0] },
    grad: (g, { inputs }) => [pointwise(byArgument, [g, ...inputs])],
  };
  const def = ofArgument ?? (ofResult as PointwiseDef);
  return {
    apply: (x: Tensor, ...settings: number[]): Tensor => pointwise(def, [checkTensor(x, name), ...settings]),
    into: (x: Tensor, ...settings: number[]): Tensor =>
      pointwiseInto(ofResult ?? def, checkTensor(x, `${name}_`), settings),
  };
}

/** Refuses a setting that is not a finite number. */
function finite(value: number, what: string, op: string): number {
  if (!Number.isFinite(value)) throw new ValueError(`${op}: ${what} must be a finite number, got ${value}`);
  return value;
}

/** In place, the sign of the argument is told from the result, which needs a setting that is not negative. */
function checkTold(x: Tensor, value: number, what: string, op: string): number {
  if (value < 0 && recording([x])) {
    throw new ValueError(
      `${op}: with ${what} = ${value} < 0 the gradient cannot be told from the result; use ${op.slice(0, -1)}`,
    );
  }
  return value;
}

// ---- rectifiers

const reluOp = define({ name: "relu", fromResult: (g, y) => where(le(y, 0), 0, g) });
/**
 * max(x, 0), elementwise; the gradient at 0 is 0. NaN stays NaN.
 *
 * @example
 * relu(tensor([-1, 2])).toArray(); // [0, 2]
 */
export const relu = (x: Tensor): Tensor => reluOp.apply(x);
/** `relu` in place. */
export const relu_ = (x: Tensor): Tensor => reluOp.into(x);

const hardtanhOp = define({
  name: "hardtanh",
  formula: (x, low, high) => clamp(x, low, high),
  fromResult: (g, y, low, high) => where(logicalAnd(gt(y, low), lt(y, high)), g, 0),
});
function checkRange(min: number, max: number, op: string): void {
  if (!(min <= max)) throw new ValueError(`${op}: min ${min} must not be above max ${max}`);
}
/** x limited to [min, max]; unlike `clamp`, the gradient at the limits is 0. */
export function hardtanh(x: Tensor, min = -1, max = 1): Tensor {
  checkRange(min, max, "hardtanh");
  return hardtanhOp.apply(x, min, max);
}
/** `hardtanh` in place. */
export function hardtanh_(x: Tensor, min = -1, max = 1): Tensor {
  checkRange(min, max, "hardtanh_");
  return hardtanhOp.into(x, min, max);
}
/** min(max(x, 0), 6). */
export const relu6 = (x: Tensor): Tensor => hardtanhOp.apply(x, 0, 6);
/** `relu6` in place. */
export const relu6_ = (x: Tensor): Tensor => hardtanhOp.into(x, 0, 6);

const leakyReluOp = define({
  name: "leakyRelu",
  formula: (x, slope) => where(gt(x, 0), x, mul(x, slope)),
  derivative: (g, x, slope) => where(gt(x, 0), g, mul(g, slope)),
  fromResult: (g, y, slope) => where(gt(y, 0), g, mul(g, slope)),
});
/** x where positive, `negativeSlope`·x elsewhere. */
export const leakyRelu = (x: Tensor, negativeSlope = 0.01): Tensor =>
  leakyReluOp.apply(x, finite(negativeSlope, "negativeSlope", "leakyRelu"));
/** `leakyRelu` in place. */
export const leakyRelu_ = (x: Tensor, negativeSlope = 0.01): Tensor =>
  leakyReluOp.into(
    x,
    checkTold(x, finite(negativeSlope, "negativeSlope", "leakyRelu_"), "negativeSlope", "leakyRelu_"),
  );

const thresholdOp = define({
  name: "threshold",
  formula: (x, limit, value) => where(le(x, limit), value, x),
  derivative: (g, x, limit) => where(le(x, limit), 0, g),
});
const thresholdInto = define({
  name: "threshold",
  formula: (x, limit, value) => where(le(x, limit), value, x),
  // Where the value put in is itself above the threshold, the result does not tell; `threshold_` refuses that.
  fromResult: (g, y, limit) => where(le(y, limit), 0, g),
});
/** x where it is above `limit`, `value` elsewhere. */
export const threshold = (x: Tensor, limit: number, value: number): Tensor => thresholdOp.apply(x, limit, value);
/** `threshold` in place. */
export function threshold_(x: Tensor, limit: number, value: number): Tensor {
  if (value > limit && recording([x])) {
    throw new ValueError(
      `threshold_: with value ${value} above limit ${limit} the gradient cannot be told from the result; use threshold`,
    );
  }
  return thresholdInto.into(x, limit, value);
}

const preluDef: PointwiseDef = {
  name: "prelu",
  compose: (x, slope) => where(gt(x, 0), x, mul(slope, x)),
};
/**
 * x where positive, weight·x elsewhere, with a learned weight: one, or one a channel (dimension 1, or 0 of a vector).
 * He et al., "Delving Deep into Rectifiers", 2015.
 */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  checkTensor(x, "prelu");
  checkTensor(weight, "prelu");
  if (weight.numel === 1) return pointwise(preluDef, [x, reshape(weight, [])]);
  const channel = x.ndim > 1 ? 1 : 0;
  if (weight.ndim !== 1 || x.ndim === 0 || weight.shape[0] !== x.shape[channel]) {
    throw new ShapeError(
      `prelu: weight ${show(weight.shape)} does not fit input ${show(x.shape)}: one element, or one for each channel (dimension ${channel})`,
    );
  }
  return pointwise(preluDef, [
    x,
    reshape(
      weight,
      x.shape.map((d, i) => (i === channel ? d : 1)),
    ),
  ]);
}

// ---- exponential linear units. e^min(x, 0) keeps what is not chosen finite.

const below = (x: Tensor): Tensor => minimum(x, 0);

const eluOp = define({
  name: "elu",
  formula: (x, alpha) => where(lt(x, 0), mul(alpha, expm1(below(x))), x),
  derivative: (g, x, alpha) => where(gt(x, 0), g, mul(mul(g, alpha), exp(below(x)))),
  fromResult: (g, y, alpha) => where(gt(y, 0), g, mul(g, add(y, alpha))),
});
/** x where positive, alpha·(eˣ − 1) elsewhere. Clevert et al., 2016. */
export const elu = (x: Tensor, alpha = 1): Tensor => eluOp.apply(x, finite(alpha, "alpha", "elu"));
/** `elu` in place. */
export const elu_ = (x: Tensor, alpha = 1): Tensor =>
  eluOp.into(x, checkTold(x, finite(alpha, "alpha", "elu_"), "alpha", "elu_"));

// Klambauer et al., "Self-Normalizing Neural Networks", 2017, equation 14.
const SELU_ALPHA = 1.6732632423543772;
const SELU_SCALE = 1.0507009873554805;
const seluOp = define({
  name: "selu",
  formula: (x) => mul(where(lt(x, 0), mul(expm1(below(x)), SELU_ALPHA), x), SELU_SCALE),
  derivative: (g, x) => mul(where(gt(x, 0), g, mul(mul(g, exp(below(x))), SELU_ALPHA)), SELU_SCALE),
  fromResult: (g, y) => where(gt(y, 0), mul(g, SELU_SCALE), mul(g, add(y, SELU_ALPHA * SELU_SCALE))),
});
/** Scaled exponential linear unit. Klambauer et al., 2017. */
export const selu = (x: Tensor): Tensor => seluOp.apply(x);
/** `selu` in place. */
export const selu_ = (x: Tensor): Tensor => seluOp.into(x);

const celuOp = define({
  name: "celu",
  formula: (x, alpha) => where(lt(x, 0), mul(alpha, expm1(div(below(x), alpha))), x),
  derivative: (g, x, alpha) => where(gt(x, 0), g, mul(g, exp(div(below(x), alpha)))),
  fromResult: (g, y, alpha) => where(gt(y, 0), g, mul(g, add(div(y, alpha), 1))),
});
function checkAlpha(alpha: number, op: string): number {
  if (finite(alpha, "alpha", op) === 0) throw new ValueError(`${op}: alpha must not be 0`);
  return alpha;
}
/** max(x, 0) + min(0, alpha·(e^(x/alpha) − 1)): continuously differentiable. Barron, 2017. */
export const celu = (x: Tensor, alpha = 1): Tensor => celuOp.apply(x, checkAlpha(alpha, "celu"));
/** `celu` in place. */
export const celu_ = (x: Tensor, alpha = 1): Tensor =>
  celuOp.into(x, checkTold(x, checkAlpha(alpha, "celu_"), "alpha", "celu_"));

// ---- sigmoid and its kin

const sigmoidOp = define({ name: "sigmoid", fromResult: (g, y) => mul(mul(g, y), sub(1, y)) });
/** 1 / (1 + e⁻ˣ). */
export const sigmoid = (x: Tensor): Tensor => sigmoidOp.apply(x);
/** `sigmoid` in place. */
export const sigmoid_ = (x: Tensor): Tensor => sigmoidOp.into(x);

const logSigmoidOp = define({
  name: "logSigmoid",
  formula: (x) => sub(below(x), log1p(exp(neg(abs(x))))),
  derivative: (g, x) => mul(g, sigmoid(neg(x))),
});
/** log(1 / (1 + e⁻ˣ)), stable on both sides. */
export const logSigmoid = (x: Tensor): Tensor => logSigmoidOp.apply(x);

const softplusOp = define({
  name: "softplus",
  formula: (x, beta, limit) => where(gt(mul(x, beta), limit), x, div(log1p(exp(minimum(mul(x, beta), limit))), beta)),
  derivative: (g, x, beta, limit) => where(gt(mul(x, beta), limit), g, mul(g, sigmoid(mul(x, beta)))),
});
/** log(1 + e^(beta·x)) / beta, and x itself where beta·x is above `threshold`. */
export function softplus(x: Tensor, beta = 1, threshold = 20): Tensor {
  if (finite(beta, "beta", "softplus") === 0) throw new ValueError("softplus: beta must not be 0");
  return softplusOp.apply(widened(checkTensor(x, "softplus")), beta, finite(threshold, "threshold", "softplus"));
}

const siluOp = define({
  name: "silu",
  formula: (x) => mul(x, sigmoid(x)),
  derivative: (g, x) => {
    const s = sigmoid(x);
    return mul(mul(g, s), add(mul(x, sub(1, s)), 1));
  },
});
/** x·sigmoid(x), also called swish. */
export const silu = (x: Tensor): Tensor => siluOp.apply(x);

/** log(1 + eˣ) by the formula of `logSigmoid`. */
const logOnePlusExp = (x: Tensor): Tensor => add(maximum(x, 0), log1p(exp(neg(abs(x)))));
const mishOp = define({
  name: "mish",
  formula: (x) => mul(x, tanh(logOnePlusExp(x))),
  derivative: (g, x) => {
    const y = tanh(logOnePlusExp(x));
    return mul(g, add(y, mul(mul(x, sigmoid(x)), sub(1, square(y)))));
  },
});
/** x·tanh(log(1 + eˣ)). Misra, 2019. */
export const mish = (x: Tensor): Tensor => mishOp.apply(x);

// ---- Gaussian error linear units. Hendrycks and Gimpel, 2016.

const normalCdf = (x: Tensor): Tensor => mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
const geluOp = define({
  name: "gelu",
  formula: (x) => mul(x, normalCdf(x)),
  derivative: (g, x) => mul(g, add(normalCdf(x), mul(x, mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI))))),
});
const CUBIC = 0.044715;
const SLOPE = Math.sqrt(2 / Math.PI);
const geluTanhOp = define({
  name: "geluTanh",
  formula: (x) => mul(mul(x, 0.5), add(tanh(mul(mul(x, SLOPE), add(mul(square(x), CUBIC), 1))), 1)),
  derivative: (g, x) => {
    const t = tanh(mul(mul(x, SLOPE), add(mul(square(x), CUBIC), 1)));
    const inner = mul(add(mul(square(x), 3 * CUBIC), 1), SLOPE);
    return mul(mul(g, 0.5), add(add(t, 1), mul(mul(x, inner), sub(1, square(t)))));
  },
});
/** x·Φ(x) with the normal distribution Φ, exact or with the usual approximation by tanh. */
export function gelu(x: Tensor, approximate: "none" | "tanh" = "none"): Tensor {
  if (approximate === "tanh") return geluTanhOp.apply(x);
  if (approximate !== "none") throw new ValueError(`gelu: approximate is "none" or "tanh", got ${String(approximate)}`);
  return geluOp.apply(x);
}

// ---- piecewise and rational

const hardsigmoidOp = define({
  name: "hardsigmoid",
  formula: (x) => div(clamp(add(x, 3), 0, 6), 6),
  fromResult: (g, y) => where(logicalAnd(gt(y, 0), lt(y, 1)), div(g, 6), 0),
});
/** min(max(x + 3, 0), 6) / 6. */
export const hardsigmoid = (x: Tensor): Tensor => hardsigmoidOp.apply(x);
/** `hardsigmoid` in place. */
export const hardsigmoid_ = (x: Tensor): Tensor => hardsigmoidOp.into(x);

const hardswishOp = define({
  name: "hardswish",
  formula: (x) => div(mul(x, clamp(add(x, 3), 0, 6)), 6),
  derivative: (g, x) => where(lt(x, -3), 0, where(gt(x, 3), g, mul(g, add(div(x, 3), 0.5)))),
});
/** x·hardsigmoid(x). Howard et al., 2019. */
export const hardswish = (x: Tensor): Tensor => hardswishOp.apply(x);

const tanhshrinkOp = define({
  name: "tanhshrink",
  formula: (x) => sub(x, tanh(x)),
  derivative: (g, x) => mul(g, square(tanh(x))),
});
/** x − tanh(x). */
export const tanhshrink = (x: Tensor): Tensor => tanhshrinkOp.apply(x);

const hardshrinkOp = define({
  name: "hardshrink",
  formula: (x, lambda) => where(le(abs(x), lambda), 0, x),
  derivative: (g, x, lambda) => where(le(abs(x), lambda), 0, g),
});
/** 0 where |x| ≤ lambda, x elsewhere. */
export const hardshrink = (x: Tensor, lambda = 0.5): Tensor =>
  hardshrinkOp.apply(x, finite(lambda, "lambda", "hardshrink"));

const softshrinkOp = define({
  name: "softshrink",
  formula: (x, lambda) => where(gt(x, lambda), sub(x, lambda), where(lt(x, neg(lambda)), add(x, lambda), mul(x, 0))),
  derivative: (g, x, lambda) => where(logicalAnd(ge(x, neg(lambda)), le(x, lambda)), 0, g),
});
/** x moved toward 0 by lambda, 0 where |x| ≤ lambda. */
export function softshrink(x: Tensor, lambda = 0.5): Tensor {
  if (!(lambda >= 0)) throw new ValueError(`softshrink: lambda must be a number ≥ 0, got ${lambda}`);
  return softshrinkOp.apply(x, lambda);
}

const softsignOp = define({
  name: "softsign",
  formula: (x) => div(x, add(abs(x), 1)),
  derivative: (g, x) => div(g, square(add(abs(x), 1))),
});
/** x / (1 + |x|). */
export const softsign = (x: Tensor): Tensor => softsignOp.apply(x);

/**
 * Gated linear unit: a·sigmoid(b), where a and b are the halves of x along `dim`. Dauphin et al., 2017.
 *
 * @throws ShapeError when the dimension has an odd size.
 */
export function glu(x: Tensor, dim = -1): Tensor {
  checkTensor(x, "glu");
  const axis = normalizeAxis(dim, x.ndim, "glu");
  const size = x.shape[axis];
  if (x.ndim === 0 || size % 2 !== 0) {
    throw new ShapeError(`glu: dimension ${dim} of ${show(x.shape)} must have an even size to be halved`);
  }
  return mul(narrow(x, axis, 0, size / 2), sigmoid(narrow(x, axis, size / 2, size / 2)));
}

const methods = {
  ...{ relu, relu_, relu6, relu6_, hardtanh, hardtanh_, leakyRelu, leakyRelu_, threshold, threshold_, prelu },
  ...{ elu, elu_, selu, selu_, celu, celu_, sigmoid, sigmoid_, logSigmoid, softplus, silu, mish, gelu },
  ...{ hardsigmoid, hardsigmoid_, hardswish, tanhshrink, hardshrink, softshrink, softsign, glu },
};
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

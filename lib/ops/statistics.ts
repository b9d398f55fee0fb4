// Figures that sum up a tensor: variance, norms, log-sum-exp, and whether two tensors are equal.
import { ValueError } from "../errors.js";
import { isFloat } from "../tensor/dtype.js";
import { normalizeAxes, sameShape } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { widened } from "./autocast.js";
import { apply1, checkFloat, checkTensor, installMethods, type MethodsOf, type OpDef } from "./define.js";
import {
  abs,
  add,
  div,
  eq,
  exp,
  isFinite,
  isNan,
  le,
  log,
  logicalAnd,
  logicalOr,
  mul,
  ne,
  pow,
  square,
  sub,
  where,
} from "./elementwise.js";
import { reshape } from "./movement.js";
import { cast, type PointwiseDef, pointwise } from "./pointwise.js";
import { all, amax, amin, type Dims, mean, sum } from "./reduce.js";

export interface VarianceOptions {
  /** What is subtracted from the count in the divisor: 1 (default) for a sample, 0 for a population. */
  correction?: number;
  keepdim?: boolean;
}

/** √x whose gradient at 0 is 0. */
const rootDef: PointwiseDef = {
  name: "root",
  fn: "sqrt",
  domain: "float",
  saves: { outputs: [0] },
  grad: (g, { outputs: [y] }) => [div(g, where(eq(y, 0), Infinity, mul(y, 2)))],
};
const root = (x: Tensor): Tensor => pointwise(rootDef, [x]);

function moments(
  input: Tensor,
  dim: Dims | undefined,
  options: VarianceOptions,
  op: string,
): { mean: Tensor; var: Tensor } {
  const x = widened(checkFloat(checkTensor(input, op), op));
  const { correction = 1, keepdim = false } = options;
  if (!Number.isFinite(correction))
    throw new ValueError(`${op}: correction must be a finite number, got ${correction}`);
  const axes = normalizeAxes(dim, x.ndim, op);
  const count = axes.reduce((n, a) => n * x.shape[a], 1);
  const center = mean(x, axes, true);
  const spread = sum(square(sub(x, center)), axes, keepdim);
  return { mean: keepdim ? center : reshape(center, spread.shape), var: div(spread, Math.max(count - correction, 0)) };
}

/**
 * Variance of the elements over `dim` (all when absent). Exported as `variance` and as `var`.
 *
 * @example
 * tensor([1, 2, 3]).var().item(); // 1
 */
export const variance = (x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor =>
  moments(x, dim, options, "var").var;

/** Standard deviation of the elements over `dim` (all when absent); its gradient at 0 is 0. */
export const std = (x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor =>
  root(moments(x, dim, options, "std").var);

/** Variance and mean over `dim` (all when absent), as `{ var, mean }`. */
export const varMean = (x: Tensor, dim?: Dims, options: VarianceOptions = {}): { mean: Tensor; var: Tensor } =>
  moments(x, dim, options, "varMean");

/**
 * The p-norm (Σ|x|^p)^(1/p) of the elements over `dim` (all when absent). `Infinity` gives the largest |x|, `-Infinity`
 * the smallest, 0 the number of nonzero elements. The gradient at the zero vector is 0.
 *
 * @example
 * tensor([3, 4]).norm().item(); // 5
 */
export function norm(input: Tensor, p = 2, dim?: Dims, keepdim = false): Tensor {
  const x = widened(checkFloat(checkTensor(input, "norm"), "norm"));
  if (typeof p !== "number" || Number.isNaN(p)) throw new ValueError(`norm: p must be a number, got ${String(p)}`);
  if (p === 2) return root(sum(square(x), dim, keepdim));
  if (p === 1) return sum(abs(x), dim, keepdim);
  if (p === Infinity) return amax(abs(x), dim, keepdim);
  if (p === -Infinity) return amin(abs(x), dim, keepdim);
  if (p === 0) return cast(sum(ne(x, 0), dim, keepdim), x.dtype);
  const powers = sum(pow(abs(x), p), dim, keepdim);
  const zero = eq(powers, 0);
  return where(zero, 0, pow(where(zero, 1, powers), 1 / p));
}

const logsumexpDef: OpDef<{ axes: readonly number[]; keepdim: boolean }> = {
  name: "logsumexp",
  saves: { inputs: [0], outputs: [0] },
  grad: ([g], { inputs: [x], outputs: [y], extra }) => {
    const shape = x.shape.map((d, i) => (extra.axes.includes(i) ? 1 : d));
    const whole = reshape(y, shape);
    // Where all elements are −∞ so is y, and the gradient is 0.
    return [mul(reshape(g!, shape), exp(sub(x, where(eq(whole, -Infinity), 0, whole))))];
  },
  compose: ([input], _, { axes, keepdim }) => {
    const x = input as Tensor;
    const highest = amax(x, axes, true);
    const shift = where(isFinite(highest), highest, 0);
    const total = log(sum(exp(sub(x, shift)), axes, keepdim));
    return [add(total, keepdim ? shift : reshape(shift, total.shape))];
  },
};

/** log Σ eˣ over `dim` (all when absent), without overflow. −∞ over no elements. */
export function logsumexp(input: Tensor, dim?: Dims, keepdim = false): Tensor {
  const x = widened(checkFloat(checkTensor(input, "logsumexp"), "logsumexp"));
  const axes = normalizeAxes(dim, x.ndim, "logsumexp");
  if (axes.some((a) => x.shape[a] === 0)) return log(sum(exp(x), axes, keepdim));
  const shape = x.shape.flatMap((d, i) => (axes.includes(i) ? (keepdim ? [1] : []) : [d]));
  return apply1(logsumexpDef, [x], [], shape, x.dtype, { axes, keepdim });
}

/** Sum over `dim` (all when absent) with NaN as 0. */
export const nansum = (x: Tensor, dim?: Dims, keepdim = false): Tensor =>
  sum(isFloat(checkTensor(x, "nansum").dtype) ? where(isNan(x), 0, x) : x, dim, keepdim);

/** Mean over `dim` (all when absent) of the elements that are not NaN. */
export function nanmean(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  checkFloat(checkTensor(x, "nanmean"), "nanmean");
  return div(nansum(x, dim, keepdim), sum(eq(x, x), dim, keepdim));
}

export interface CloseOptions {
  /** Allowed difference relative to the second tensor. Default 1e-5. */
  rtol?: number;
  /** Allowed difference besides. Default 1e-8. */
  atol?: number;
  /** NaN equals NaN. */
  equalNan?: boolean;
}

/** Where |x − y| ≤ atol + rtol·|y|; equal infinities are close. */
export function isclose(x: Tensor, y: Tensor, options: CloseOptions = {}): Tensor {
  const { rtol = 1e-5, atol = 1e-8, equalNan = false } = options;
  if (!(rtol >= 0 && atol >= 0)) throw new ValueError(`isclose: rtol ${rtol} and atol ${atol} must be numbers ≥ 0`);
  checkTensor(x, "isclose");
  checkTensor(y, "isclose");
  const near = logicalAnd(isFinite(y), le(abs(sub(x, y)), add(mul(abs(y), rtol), atol)));
  const close = logicalOr(near, eq(x, y));
  return equalNan ? logicalOr(close, logicalAnd(isNan(x), isNan(y))) : close;
}

/** True when every element is close (`isclose`); reads the values. */
export const allclose = (x: Tensor, y: Tensor, options: CloseOptions = {}): boolean =>
  all(isclose(x, y, options)).item() === 1;

/** True when shapes and all values are equal; reads the values. NaN equals nothing. */
export function equal(x: Tensor, y: Tensor): boolean {
  checkTensor(x, "equal");
  checkTensor(y, "equal");
  if (!sameShape(x.shape, y.shape)) return false;
  return all(eq(x, y)).item() === 1;
}

const methods = { std, varMean, norm, logsumexp, nansum, nanmean, isclose, allclose, equal };
installMethods({ ...methods, var: variance });
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods & { var: typeof variance }> {}
}

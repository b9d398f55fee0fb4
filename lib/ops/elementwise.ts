// Element-wise arithmetic, comparison, logic and elementary functions, each beside its gradient rule.
// Shapes broadcast as in NumPy; dtypes are promoted as in PyTorch; a trailing underscore writes into the first tensor.
import { ValueError } from "../errors.js";
import type { Tensor } from "../tensor/tensor.js";
import { installMethods, type MethodsOf } from "./define.js";
import { type PointwiseDef, pointwise, pointwiseInto, type TensorLike } from "./pointwise.js";

type Needs = readonly boolean[];
type SavesOnly = Pick<PointwiseDef, "saves">;
const IN: SavesOnly = { saves: { inputs: [0] } };
const OUT: SavesOnly = { saves: { outputs: [0] } };
const BOTH: SavesOnly = { saves: { inputs: [0, 1] } };
/** Of two inputs, each is kept only for the other's gradient. */
const CROSS: SavesOnly = {
  saves: (needs: Needs) => ({ inputs: [...(needs[1] ? [0] : []), ...(needs[0] ? [1] : [])] }),
};
const FLOAT = { domain: "float" } as const;
/** Autocast computes these in float32: 16 bits overflow, or lose what matters. */
const WIDE = { domain: "float", wide: true } as const;
const INTEGER = { domain: "integer" } as const;
const PREDICATE = { predicate: true } as const;

type Unary = (x: Tensor) => Tensor;
type Binary = (x: TensorLike, y: TensorLike) => Tensor;
type BinaryInto = (x: Tensor, y: TensorLike) => Tensor;

const unary = (def: PointwiseDef): [Unary, Unary] => [(x) => pointwise(def, [x]), (x) => pointwiseInto(def, x, [])];
const binary = (def: PointwiseDef): [Binary, BinaryInto] => [
  (x, y, more?: unknown) => pointwise(alone(def, more), [x, y]),
  (x, y, more?: unknown) => pointwiseInto(alone(def, more), x, [y]),
];

/** PyTorch's options (`alpha`, `rounding_mode`) must not be lost in silence. */
function alone(def: PointwiseDef, more: unknown): PointwiseDef {
  if (typeof more !== "object") return def; // `tensors.reduce(add)` passes an index
  throw new ValueError(
    `${def.name}: there are no options; scale with mul(), and floorDivide() and truncDivide() round a quotient`,
  );
}

// ---- arithmetic

/** x + y. */
export const [add, add_] = binary({ name: "add", grad: (g) => [g, g] });
/** x − y. */
export const [sub, sub_] = binary({ name: "sub", grad: (g, { needs }) => [g, needs[1] && neg(g)] });
/** x · y. */
export const [mul, mul_] = binary({
  name: "mul",
  ...CROSS,
  grad: (g, { inputs: [x, y], needs }) => [needs[0] && mul(g, y), needs[1] && mul(g, x)],
});
/** x / y; integers give float32. */
export const [div, div_] = binary({
  name: "div",
  ...FLOAT,
  saves: (needs) => ({ inputs: needs[1] ? [0, 1] : [1] }),
  grad: (g, { inputs: [x, y], needs }) => [needs[0] && div(g, y), needs[1] && neg(div(mul(g, x), square(y)))],
});
/** ⌊x / y⌋; integers divided by 0 give 0. No gradient. */
export const [floorDivide, floorDivide_] = binary({ name: "floorDivide" });
/** x / y rounded toward zero. No gradient. */
export const [truncDivide, truncDivide_] = binary({ name: "truncDivide" });
/** x − y·⌊x / y⌋: the remainder with the sign of y (Python's %). */
export const [remainder, remainder_] = binary({
  name: "remainder",
  saves: (needs) => (needs[1] ? { inputs: [0, 1] } : {}),
  grad: (g, { inputs: [x, y], needs }) => [g, needs[1] && neg(mul(g, floorDivide(x, y)))],
});
/** x − y·trunc(x / y): the remainder with the sign of x (C's fmod). */
export const [fmod, fmod_] = binary({
  name: "fmod",
  saves: (needs) => (needs[1] ? { inputs: [0, 1] } : {}),
  grad: (g, { inputs: [x, y], needs }) => [g, needs[1] && neg(mul(g, truncDivide(x, y)))],
});
// What is masked out below is kept finite as well, for the second derivative.
const powBaseGradDef: PointwiseDef = {
  name: "powBaseGrad",
  // x⁰ is constant, also at 0.
  compose: (g, x, y) => mul(mul(g, y), pow(x, where(eq(y, 0), 1, sub(y, 1)))),
};
const powExponentGradDef: PointwiseDef = {
  name: "powExponentGrad",
  compose: (g, x, y, out) => mul(mul(g, out), log(where(logicalAnd(eq(x, 0), ge(y, 0)), 1, x))),
};
/** x to the power y. */
export const [pow, pow_] = binary({
  name: "pow",
  wide: true,
  saves: (needs) => ({ inputs: [0, 1], outputs: needs[1] ? [0] : [] }),
  grad: (g, { inputs: [x, y], outputs: [out], needs }) => [
    needs[0] && pointwise(powBaseGradDef, [g, x, y]),
    needs[1] && pointwise(powExponentGradDef, [g, x, y, out]),
  ],
});
/** The larger of x and y; NaN wins. Equal values share the gradient. */
export const [maximum, maximum_] = binary({
  name: "maximum",
  ...BOTH,
  grad: (g, { inputs: [x, y], needs }) => {
    const half = mul(g, mul(eq(x, y), 0.5));
    return [needs[0] && where(gt(x, y), g, half), needs[1] && where(lt(x, y), g, half)];
  },
});
/** The smaller of x and y; NaN wins. Equal values share the gradient. */
export const [minimum, minimum_] = binary({
  name: "minimum",
  ...BOTH,
  grad: (g, { inputs: [x, y], needs }) => {
    const half = mul(g, mul(eq(x, y), 0.5));
    return [needs[0] && where(lt(x, y), g, half), needs[1] && where(gt(x, y), g, half)];
  },
});
/** Angle of the point (y, x): the first argument is the ordinate. */
export const [atan2, atan2_] = binary({
  name: "atan2",
  ...FLOAT,
  ...BOTH,
  grad: (g, { inputs: [y, x], needs }) => {
    const scale = div(g, add(square(x), square(y)));
    return [needs[0] && mul(scale, x), needs[1] && neg(mul(scale, y))];
  },
});
const copysignGradDef: PointwiseDef = {
  name: "copysignGrad",
  compose: (g, x, y) => mul(g, mul(sign(x), copysign(1, y))),
};
/** |x| with the sign of y. */
export const [copysign, copysign_] = binary({
  name: "copysign",
  ...FLOAT,
  ...BOTH,
  grad: (g, { inputs: [x, y], needs }) => [needs[0] && pointwise(copysignGradDef, [g, x, y])],
});

/** −x. */
export const [neg, neg_] = unary({ name: "neg", grad: (g) => [neg(g)] });
/** |x|; the gradient at 0 is 0. */
export const [abs, abs_] = unary({ name: "abs", ...IN, grad: (g, { inputs: [x] }) => [mul(g, sign(x))] });
/** −1, 0 or 1. */
export const [sign, sign_] = unary({ name: "sign", grad: (g) => [mul(g, 0)] });
/** x². */
export const [square, square_] = unary({ name: "square", ...IN, grad: (g, { inputs: [x] }) => [mul(g, mul(x, 2))] });
/** 1 / x. */
export const [reciprocal, reciprocal_] = unary({
  name: "reciprocal",
  ...WIDE,
  ...OUT,
  grad: (g, { outputs: [y] }) => [neg(mul(g, square(y)))],
});
/** √x. */
export const [sqrt, sqrt_] = unary({
  name: "sqrt",
  ...FLOAT,
  ...OUT,
  grad: (g, { outputs: [y] }) => [div(g, mul(y, 2))],
});
/** 1 / √x. */
export const [rsqrt, rsqrt_] = unary({
  name: "rsqrt",
  ...WIDE,
  ...OUT,
  grad: (g, { outputs: [y] }) => [mul(g, mul(mul(y, square(y)), -0.5))],
});

// ---- exponentials and logarithms

/** eˣ. */
export const [exp, exp_] = unary({ name: "exp", ...WIDE, ...OUT, grad: (g, { outputs: [y] }) => [mul(g, y)] });
/** 2ˣ. */
export const [exp2, exp2_] = unary({
  name: "exp2",
  ...WIDE,
  ...OUT,
  grad: (g, { outputs: [y] }) => [mul(g, mul(y, Math.LN2))],
});
/** eˣ − 1, accurate near 0. */
export const [expm1, expm1_] = unary({
  name: "expm1",
  ...WIDE,
  ...OUT,
  grad: (g, { outputs: [y] }) => [mul(g, add(y, 1))],
});
/** Natural logarithm. */
export const [log, log_] = unary({ name: "log", ...WIDE, ...IN, grad: (g, { inputs: [x] }) => [div(g, x)] });
/** Logarithm to base 2. */
export const [log2, log2_] = unary({
  name: "log2",
  ...WIDE,
  ...IN,
  grad: (g, { inputs: [x] }) => [div(g, mul(x, Math.LN2))],
});
/** Logarithm to base 10. */
export const [log10, log10_] = unary({
  name: "log10",
  ...WIDE,
  ...IN,
  grad: (g, { inputs: [x] }) => [div(g, mul(x, Math.LN10))],
});
/** log(1 + x), accurate near 0. */
export const [log1p, log1p_] = unary({
  name: "log1p",
  ...WIDE,
  ...IN,
  grad: (g, { inputs: [x] }) => [div(g, add(x, 1))],
});

// ---- trigonometric and hyperbolic functions

/** Sine of x radians. */
export const [sin, sin_] = unary({ name: "sin", ...FLOAT, ...IN, grad: (g, { inputs: [x] }) => [mul(g, cos(x))] });
/** Cosine of x radians. */
export const [cos, cos_] = unary({ name: "cos", ...FLOAT, ...IN, grad: (g, { inputs: [x] }) => [neg(mul(g, sin(x)))] });
/** Tangent of x radians. */
export const [tan, tan_] = unary({
  name: "tan",
  ...WIDE,
  ...OUT,
  grad: (g, { outputs: [y] }) => [mul(g, add(square(y), 1))],
});
/** Inverse sine, in radians. */
export const [asin, asin_] = unary({
  name: "asin",
  ...WIDE,
  ...IN,
  grad: (g, { inputs: [x] }) => [mul(g, rsqrt(sub(1, square(x))))],
});
/** Inverse cosine, in radians. */
export const [acos, acos_] = unary({
  name: "acos",
  ...WIDE,
  ...IN,
  grad: (g, { inputs: [x] }) => [neg(mul(g, rsqrt(sub(1, square(x)))))],
});
/** Inverse tangent, in radians. */
export const [atan, atan_] = unary({
  name: "atan",
  ...FLOAT,
  ...IN,
  grad: (g, { inputs: [x] }) => [div(g, add(square(x), 1))],
});
/** Hyperbolic sine. */
export const [sinh, sinh_] = unary({ name: "sinh", ...WIDE, ...IN, grad: (g, { inputs: [x] }) => [mul(g, cosh(x))] });
/** Hyperbolic cosine. */
export const [cosh, cosh_] = unary({ name: "cosh", ...WIDE, ...IN, grad: (g, { inputs: [x] }) => [mul(g, sinh(x))] });
/** Hyperbolic tangent. */
export const [tanh, tanh_] = unary({
  name: "tanh",
  ...FLOAT,
  ...OUT,
  grad: (g, { outputs: [y] }) => [mul(g, sub(1, square(y)))],
});
/** Inverse hyperbolic sine. */
export const [asinh, asinh_] = unary({
  name: "asinh",
  ...FLOAT,
  ...IN,
  grad: (g, { inputs: [x] }) => [mul(g, rsqrt(add(square(x), 1)))],
});
/** Inverse hyperbolic cosine. */
export const [acosh, acosh_] = unary({
  name: "acosh",
  ...FLOAT,
  ...IN,
  grad: (g, { inputs: [x] }) => [mul(g, rsqrt(sub(square(x), 1)))],
});
/** Inverse hyperbolic tangent. */
export const [atanh, atanh_] = unary({
  name: "atanh",
  ...FLOAT,
  ...IN,
  grad: (g, { inputs: [x] }) => [div(g, sub(1, square(x)))],
});

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);

/** Error function. */
export const [erf, erf_] = unary({
  name: "erf",
  ...FLOAT,
  ...IN,
  grad: (g, { inputs: [x] }) => [mul(g, mul(exp(neg(square(x))), TWO_OVER_SQRT_PI))],
});
/** Complementary error function, 1 − erf(x). */
export const [erfc, erfc_] = unary({
  name: "erfc",
  ...FLOAT,
  ...IN,
  grad: (g, { inputs: [x] }) => [mul(g, mul(exp(neg(square(x))), -TWO_OVER_SQRT_PI))],
});

// ---- rounding, whose gradient is 0

const flat = (name: string): PointwiseDef => ({ name, grad: (g) => [mul(g, 0)] });
/** Largest integer ≤ x. */
export const [floor, floor_] = unary(flat("floor"));
/** Smallest integer ≥ x. */
export const [ceil, ceil_] = unary(flat("ceil"));
/** Nearest integer, halves to even. */
export const [round, round_] = unary(flat("round"));
/** Integer part, toward zero. */
export const [trunc, trunc_] = unary(flat("trunc"));
/** Fractional part, x − trunc(x). */
export const [frac, frac_] = unary({ name: "frac", grad: (g) => [g], compose: (x) => sub(x, trunc(x)) });

// ---- comparison and logic, bool results

/** x = y. */
export const [eq, eq_] = binary({ name: "eq", ...PREDICATE });
/** x ≠ y. */
export const [ne, ne_] = binary({ name: "ne", ...PREDICATE });
/** x < y. */
export const [lt, lt_] = binary({ name: "lt", ...PREDICATE });
/** x ≤ y. */
export const [le, le_] = binary({ name: "le", ...PREDICATE });
/** x > y. */
export const [gt, gt_] = binary({ name: "gt", ...PREDICATE });
/** x ≥ y. */
export const [ge, ge_] = binary({ name: "ge", ...PREDICATE });
/** Both are nonzero. */
export const [logicalAnd, logicalAnd_] = binary({ name: "logicalAnd", ...PREDICATE });
/** One is nonzero. */
export const [logicalOr, logicalOr_] = binary({ name: "logicalOr", ...PREDICATE });
/** Exactly one is nonzero. */
export const [logicalXor, logicalXor_] = binary({ name: "logicalXor", ...PREDICATE });
/** x is zero. */
export const [logicalNot, logicalNot_] = unary({ name: "logicalNot", ...PREDICATE });
/** x is NaN. */
export const [isNan] = unary({ name: "isNan", ...PREDICATE });
/** x is +∞ or −∞. */
export const [isInf] = unary({ name: "isInf", ...PREDICATE });
/** x is neither infinite nor NaN. */
export const [isFinite] = unary({ name: "isFinite", ...PREDICATE });

/** Bits in both (integers and bools). */
export const [bitwiseAnd, bitwiseAnd_] = binary({ name: "bitwiseAnd", ...INTEGER });
/** Bits in one of both. */
export const [bitwiseOr, bitwiseOr_] = binary({ name: "bitwiseOr", ...INTEGER });
/** Bits in exactly one of both. */
export const [bitwiseXor, bitwiseXor_] = binary({ name: "bitwiseXor", ...INTEGER });
/** All bits flipped; not, for bools. */
export const [bitwiseNot, bitwiseNot_] = unary({ name: "bitwiseNot", ...INTEGER });
/** x · 2ʸ in integers. */
export const [leftShift, leftShift_] = binary({ name: "leftShift", ...INTEGER });
/** ⌊x / 2ʸ⌋ in integers. */
export const [rightShift, rightShift_] = binary({ name: "rightShift", ...INTEGER });

// ---- choices

const whereDef: PointwiseDef = {
  name: "where",
  condition: true,
  saves: { inputs: [0] },
  grad: (g, { inputs: [c], needs }) => [null, needs[1] && where(c, g, 0), needs[2] && where(c, 0, g)],
};
/** x where the condition is nonzero, y elsewhere; the three broadcast together. */
export const where = (condition: Tensor, x: TensorLike, y: TensorLike): Tensor =>
  pointwise(whereDef, [condition, x, y]);

const clampDef: PointwiseDef = {
  name: "clamp",
  saves: { inputs: [0, 1, 2] },
  grad: (g, { inputs: [x, low, high], needs }) => [
    needs[0] && where(logicalAnd(ge(x, low), le(x, high)), g, 0),
    needs[1] && where(logicalAnd(lt(x, low), lt(low, high)), g, 0),
    needs[2] && where(logicalOr(gt(x, high), ge(low, high)), g, 0),
  ],
};
/** x limited to [min, max]; a bound that is null or absent does not limit. */
export function clamp(x: Tensor, min?: TensorLike | null, max?: TensorLike | null): Tensor {
  if (min === undefined || min === null) return max === undefined || max === null ? x : minimum(x, max);
  return max === undefined || max === null ? maximum(x, min) : pointwise(clampDef, [x, min, max]);
}
/** `clamp` in place. */
export function clamp_(x: Tensor, min?: TensorLike | null, max?: TensorLike | null): Tensor {
  if (min === undefined || min === null) return max === undefined || max === null ? x : minimum_(x, max);
  return max === undefined || max === null ? maximum_(x, min) : pointwiseInto(clampDef, x, [min, max]);
}

/** √(x² + y²) without overflow in between. */
export const [hypot, hypot_] = binary({
  name: "hypot",
  ...FLOAT,
  saves: { inputs: [0, 1], outputs: [0] },
  grad: (g, { inputs: [x, y], outputs: [out], needs }) => {
    const scale = where(eq(out, 0), 0, div(g, out));
    return [needs[0] && mul(scale, x), needs[1] && mul(scale, y)];
  },
  compose: (x, y) => {
    const [a, b] = [abs(x), abs(y)];
    const large = maximum(a, b);
    const ratio = div(minimum(a, b), large);
    const length = mul(large, sqrt(add(square(ratio), 1)));
    // 0/0 and ∞/∞ are no ratios; an infinite side makes an infinite length, also beside NaN.
    return where(logicalOr(isInf(a), isInf(b)), Number.POSITIVE_INFINITY, where(eq(large, 0), large, length));
  },
});

/** log(eˣ + eʸ), without overflow. */
export const [logaddexp] = binary({
  name: "logaddexp",
  ...WIDE,
  saves: { inputs: [0, 1], outputs: [0] },
  grad: (g, { inputs: [x, y], outputs: [out], needs }) => {
    // Both −∞ (or +∞): equal shares.
    const share = (z: Tensor) => where(eq(x, y), 0.5, exp(sub(z, out)));
    return [needs[0] && mul(g, share(x)), needs[1] && mul(g, share(y))];
  },
  compose: (x, y) => {
    const large = maximum(x, y);
    const gap = neg(abs(sub(x, y)));
    return where(eq(x, y), add(x, Math.LN2), add(large, log1p(exp(gap))));
  },
});

const nanToNumDef: PointwiseDef = {
  name: "nanToNum",
  compose: (x, nan, top, bottom) =>
    where(
      isNan(x),
      nan,
      where(eq(x, Number.POSITIVE_INFINITY), top, where(eq(x, Number.NEGATIVE_INFINITY), bottom, x)),
    ),
};
/** x with NaN replaced by `nan` (0) and infinities by `posinf` and `neginf` (the largest float32). */
export const nanToNum = (x: Tensor, nan = 0, posinf = FLOAT32_MAX, neginf = -FLOAT32_MAX): Tensor =>
  pointwise(nanToNumDef, [x, nan, posinf, neginf]);
const FLOAT32_MAX = (2 - 2 ** -23) * 2 ** 127;

const lerpDef: PointwiseDef = {
  name: "lerp",
  compose: (x, y, w) => add(x, mul(w, sub(y, x))),
};
/** x + weight·(y − x): linear interpolation. */
export const lerp = (x: Tensor, y: TensorLike, weight: TensorLike): Tensor => pointwise(lerpDef, [x, y, weight]);
/** `lerp` in place. */
export const lerp_ = (x: Tensor, y: TensorLike, weight: TensorLike): Tensor => pointwiseInto(lerpDef, x, [y, weight]);

const methods = {
  /** x where the condition is nonzero, y elsewhere. */
  where: (x: Tensor, condition: Tensor, y: TensorLike): Tensor => where(condition, x, y),
  ...{ add, add_, sub, sub_, mul, mul_, div, div_, floorDivide, floorDivide_, truncDivide, truncDivide_, remainder },
  ...{ remainder_, fmod, fmod_, pow, pow_, maximum, maximum_, minimum, minimum_, atan2, atan2_, copysign, copysign_ },
  ...{ neg, neg_, abs, abs_, sign, sign_, square, square_, reciprocal, reciprocal_, sqrt, sqrt_, rsqrt, rsqrt_ },
  ...{ exp, exp_, exp2, exp2_, expm1, expm1_, log, log_, log2, log2_, log10, log10_, log1p, log1p_ },
  ...{ sin, sin_, cos, cos_, tan, tan_, asin, asin_, acos, acos_, atan, atan_, sinh, sinh_, cosh, cosh_, tanh, tanh_ },
  ...{ asinh, asinh_, acosh, acosh_, atanh, atanh_, erf, erf_, erfc, erfc_ },
  ...{ floor, floor_, ceil, ceil_, round, round_, trunc, trunc_, frac, frac_ },
  ...{ eq, eq_, ne, ne_, lt, lt_, le, le_, gt, gt_, ge, ge_, logicalAnd, logicalAnd_, logicalOr, logicalOr_ },
  ...{ logicalXor, logicalXor_, logicalNot, logicalNot_, isNan, isInf, isFinite },
  ...{ bitwiseAnd, bitwiseAnd_, bitwiseOr, bitwiseOr_, bitwiseXor, bitwiseXor_, bitwiseNot, bitwiseNot_ },
  ...{ hypot, hypot_, logaddexp, nanToNum },
  ...{ leftShift, leftShift_, rightShift, rightShift_, clamp, clamp_, lerp, lerp_ },
};
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

// Rows of lib/ops/elementwise.ts.

import type { Tensor } from "../../../lib/index.js";
import * as nabla from "../../../lib/index.js";
import { b, type Case, f, fixed, type InputSpec, i, permuted, strided, v } from "../case.js";

type Op = (...xs: Tensor[]) => Tensor;
const op = (name: string): Op => (nabla as unknown as Record<string, Op>)[name];
type Options = Partial<Omit<Case, "name" | "inputs">>;

/** f(x0, x1, …) with its in-place twin where there is one. */
function row(name: string, torch: string, inputs: readonly InputSpec[], options: Options = {}): Case {
  const run = op(name);
  const twin = op(`${name}_`);
  return {
    name,
    torch: torch.includes("(") || torch.includes("x0") ? torch : `torch.${torch}(${inputs.map((_, k) => `x${k}`)})`,
    inputs,
    run: (xs) => run(...xs),
    ...(twin ? { inPlace: (xs: Tensor[]) => twin(...xs) } : {}),
    ...options,
  };
}

const SPECIAL = v([Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, -2.5, 3.5]);
const noGrad = "the values are the point";

/** Of one tensor: ordinary values in [low, high], and special ones. */
const unary = (name: string, low = -2, high = 2, torch = name, options: Options = {}): Case[] => [
  row(name, torch, [f([3, 5], low, high)], options),
  row(name, torch, [SPECIAL], { noGrad, signedZero: true, ...options, note: "special values" }),
];

const LEFT = v([Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 2.5, -7.5], "float", [9, 1]);
const RIGHT = v([Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 2, -2]);

/** Of two tensors: the same shape, broadcast, not contiguous, special values. */
const binary = (name: string, left: [number, number], right: [number, number], torch = name, options: Options = {}) => [
  row(name, torch, [f([3, 4], ...left), f([3, 4], ...right)], options),
  row(name, torch, [f([2, 3, 4], ...left), f([3, 1], ...right)], { ...options, note: "broadcast" }),
  row(name, torch, [permuted(f([3, 4], ...left)), strided(f([3, 4], ...right))], { ...options, note: "strides" }),
  row(name, torch, [LEFT, RIGHT], { noGrad, signedZero: true, ...options, note: "special values", inPlace: undefined }),
];

const ALL: [number, number] = [-2, 2];
const POSITIVE: [number, number] = [0.5, 3];
const none = "a comparison has no gradient";
const ints = "integers have no gradient";
const predicate = (name: string, torch = name) => binary(name, ALL, ALL, torch, { noGrad: none });
const signs = v([5, -5, 5, -5, 7, -7, 0, 4, 2147483647, -2147483648], "int32");
const divisors = v([3, 3, -3, -3, 7, 2, 5, -2, -1, 2], "int32");
const integer = (name: string, torch: string, x = signs, y = divisors): Case =>
  row(name, torch, [x, y], { noGrad: ints, note: "integers" });

const arithmetic: Case[] = [
  ...binary("add", ALL, ALL),
  ...binary("sub", ALL, ALL),
  ...binary("mul", ALL, ALL),
  ...binary("div", ALL, POSITIVE),
  ...binary("floorDivide", ALL, POSITIVE, "floor_divide", { noGrad: "it is constant between its jumps" }),
  ...binary("truncDivide", ALL, POSITIVE, "torch.div(x0, x1, rounding_mode='trunc')", {
    noGrad: "it is constant between its jumps",
  }),
  ...binary("remainder", ALL, POSITIVE),
  ...binary("fmod", ALL, POSITIVE),
  ...binary("pow", POSITIVE, ALL),
  ...binary("maximum", ALL, ALL, "maximum", { signedZero: false }),
  ...binary("minimum", ALL, ALL, "minimum", { signedZero: false }),
  ...binary("atan2", ALL, POSITIVE),
  ...binary("copysign", ALL, ALL),
  row("copysign", "torch.copysign(x0, torch.tensor(-1.0))", [f([4])], {
    note: "of a number",
    run: ([x]) => nabla.copysign(x, -1),
    inPlace: ([x]) => nabla.copysign_(x, -1),
  }),
  row("pow", "x0 ** 3", [f([5])], {
    note: "to a number",
    run: ([x]) => nabla.pow(x, 3),
    inPlace: ([x]) => nabla.pow_(x, 3),
  }),
  row("pow", "x0 ** 2", [v([0, -1, 2])], { note: "square at 0", run: ([x]) => nabla.pow(x, 2), inPlace: undefined }),
  row("pow", "x0 ** 0", [v([0, -1, 2])], { note: "to 0", run: ([x]) => nabla.pow(x, 0), inPlace: undefined }),
  row("pow", "2 ** x0", [f([5])], { note: "of a number", run: ([x]) => nabla.pow(2, x), inPlace: undefined }),
  row("pow", "x0 ** x1", [v([2, -3, 0, 7, -1], "int32"), v([10, 3, 0, 2, 5], "int32")], {
    note: "integers",
    noGrad: ints,
  }),
  row("maximum", "maximum", [v([1, 2, 3]), v([1, 3, 2])], {
    note: "ties share the gradient",
    noFirst: "a kink",
    noSecond: "a kink",
  }),
  row("sub", "1 - x0", [f([3])], { note: "from a number", run: ([x]) => nabla.sub(1, x), inPlace: undefined }),
  row("add", "x0 + x1", [f([]), f([2, 3])], { note: "a scalar", inPlace: undefined }),
  row("mul", "x0 * x1", [f([0, 3]), f([3])], { note: "empty" }),
  row("add", "x0 + x1", [i([2, 2]), f([2, 2])], { note: "promotion", inPlace: undefined }),
  row("add", "x0 + x1", [v([250, 3], "uint8"), v([10, 4], "uint8")], { note: "wraps", noGrad: ints }),
  row("add", "x0 + x1", [b([4]), b([4])], { note: "bools", noGrad: ints }),
  row("mul", "x0 * x1", [b([4]), i([4], -3, 3, "int32")], { note: "bool and int", noGrad: ints, inPlace: undefined }),
  row("div", "x0 / x1", [i([4]), v([2, 3, 4, 5], "int64")], { note: "integers", noGrad: ints, inPlace: undefined }),
  integer("floorDivide", "torch.floor_divide(x0, x1)"),
  integer("truncDivide", "torch.div(x0, x1, rounding_mode='trunc')"),
  integer("remainder", "torch.remainder(x0, x1)"),
  integer("fmod", "torch.fmod(x0, x1)"),
  integer("maximum", "torch.maximum(x0, x1)"),
  integer("minimum", "torch.minimum(x0, x1)"),
  ...unary("neg"),
  ...unary("abs"),
  ...unary("sign"),
  ...unary("square"),
  ...unary("reciprocal", 0.5, 3),
  ...unary("sqrt", 0.5, 3),
  ...unary("rsqrt", 0.5, 3),
];

const functions: Case[] = [
  ...unary("exp"),
  ...unary("exp2"),
  ...unary("expm1"),
  ...unary("log", 0.2, 3),
  ...unary("log2", 0.2, 3),
  ...unary("log10", 0.2, 3),
  ...unary("log1p", -0.8, 3),
  ...unary("sin", -4, 4),
  ...unary("cos", -4, 4),
  ...unary("tan", -1.2, 1.2),
  ...unary("asin", -0.9, 0.9),
  ...unary("acos", -0.9, 0.9),
  ...unary("atan", -4, 4),
  ...unary("sinh"),
  ...unary("cosh"),
  ...unary("tanh"),
  ...unary("asinh"),
  ...unary("acosh", 1.2, 4),
  ...unary("atanh", -0.9, 0.9),
  ...unary("erf"),
  ...unary("erfc"),
  ...unary("floor"),
  ...unary("ceil"),
  ...unary("round"),
  ...unary("trunc"),
  ...unary("frac"),
  row("exp", "torch.exp(x0)", [i([4], -2, 2)], { note: "of integers", noGrad: ints, inPlace: undefined }),
  row("round", "torch.round(x0)", [v([0.5, 1.5, 2.5, -0.5, -1.5, 2.25])], { note: "halves to even", noGrad }),
  row("exp", "torch.exp(x0)", [f([])], { note: "a scalar" }),
  row("exp", "torch.exp(x0)", [f([2, 0])], { note: "empty" }),
  row("tanh", "torch.tanh(x0)", [permuted(f([2, 3, 4]))], { note: "strides" }),
];

const logic: Case[] = [
  ...predicate("eq"),
  ...predicate("ne"),
  ...predicate("lt"),
  ...predicate("le"),
  ...predicate("gt"),
  ...predicate("ge"),
  ...predicate("logicalAnd", "logical_and"),
  ...predicate("logicalOr", "logical_or"),
  ...predicate("logicalXor", "logical_xor"),
  row("eq", "torch.eq(x0, x1)", [v([1, 2, 3]), v([1, 3, 3])], { note: "equal values", noGrad: none }),
  ...unary("logicalNot", -2, 2, "logical_not", { noGrad: none }),
  ...unary("isNan", -2, 2, "isnan", { noGrad: none }),
  ...unary("isInf", -2, 2, "isinf", { noGrad: none }),
  ...unary("isFinite", -2, 2, "isfinite", { noGrad: none }),
  row("bitwiseAnd", "bitwise_and", [i([6]), i([6])], { noGrad: ints }),
  row("bitwiseOr", "bitwise_or", [i([6]), i([6])], { noGrad: ints }),
  row("bitwiseXor", "bitwise_xor", [i([6]), i([6])], { noGrad: ints }),
  row("bitwiseAnd", "bitwise_and", [b([6]), b([6])], { note: "bools", noGrad: ints }),
  row("bitwiseNot", "bitwise_not", [i([6], -5, 5, "int32")], { noGrad: ints }),
  row("bitwiseNot", "bitwise_not", [b([4])], { note: "bools", noGrad: ints }),
  row("leftShift", "torch.bitwise_left_shift(x0, x1)", [i([6]), i([6], 0, 5)], { noGrad: ints }),
  row("rightShift", "torch.bitwise_right_shift(x0, x1)", [i([6], -40, 40), i([6], 0, 5)], { noGrad: ints }),
];

const [low, high] = [-0.7, 0.9];
const choices: Case[] = [
  row("where", "torch.where(x0, x1, x2)", [b([2, 3]), f([2, 3]), f([3])]),
  row("where", "torch.where(x0 != 0, x1, torch.zeros(()).double())", [i([4], 0, 1), f([4])], {
    note: "a number",
    run: ([c, x]) => nabla.where(c, x, 0),
    inPlace: undefined,
  }),
  row("clamp", `torch.clamp(x0, ${low}, ${high})`, [f([3, 5])], {
    run: ([x]) => nabla.clamp(x, low, high),
    inPlace: ([x]) => nabla.clamp_(x, low, high),
  }),
  row("clamp", "torch.clamp(x0, min=0.25)", [f([7])], {
    note: "from below",
    run: ([x]) => nabla.clamp(x, 0.25),
    inPlace: ([x]) => nabla.clamp_(x, 0.25),
  }),
  row("clamp", "torch.clamp(x0, max=0.25)", [f([7])], {
    note: "from above",
    run: ([x]) => nabla.clamp(x, null, 0.25),
    inPlace: ([x]) => nabla.clamp_(x, null, 0.25),
  }),
  row("clamp", "torch.clamp(x0, x1, x2)", [f([3, 5]), f([5], -1, -0.1), f([3, 1], 0.1, 1)], { note: "by tensors" }),
  row("clamp", "torch.clamp(x0, -1, 1)", [SPECIAL], {
    note: "special values",
    noGrad,
    run: ([x]) => nabla.clamp(x, -1, 1),
    inPlace: undefined,
  }),
  row("hypot", "torch.hypot(x0, x1)", [f([3, 4]), f([4])]),
  row("hypot", "torch.hypot(x0, torch.tensor(1.5, dtype=x0.dtype))", [SPECIAL], {
    note: "special values",
    noGrad,
    run: ([x]) => nabla.hypot(x, 1.5),
    inPlace: undefined,
  }),
  row("logaddexp", "torch.logaddexp(x0, x1)", [f([3, 4], -30, 30), f([4], -30, 30)], { inPlace: undefined }),
  row("logaddexp", "torch.logaddexp(x0, x0 * 0.5)", [SPECIAL], {
    note: "special values",
    noGrad,
    run: ([x]) => nabla.logaddexp(x, x.mul(0.5)),
    inPlace: undefined,
  }),
  row("nanToNum", "torch.nan_to_num(x0, 2.5, 100, -100)", [SPECIAL], {
    note: "special values",
    noGrad,
    run: ([x]) => nabla.nanToNum(x, 2.5, 100, -100),
    inPlace: undefined,
  }),
  row("nanToNum", "torch.nan_to_num(x0)", [f([5])], { inPlace: undefined }),
  row("lerp", "torch.lerp(x0, x1, x2)", [f([2, 3]), f([2, 3]), f([2, 3], 0, 1)]),
  row("lerp", "torch.lerp(x0, x1, 0.25)", [f([2, 3]), f([2, 3])], {
    note: "by a number",
    run: ([x, y]) => nabla.lerp(x, y, 0.25),
    inPlace: ([x, y]) => nabla.lerp_(x, y, 0.25),
  }),
  row("where", "torch.where(x0, x1, x2)", [b([4]), fixed(permuted(f([2, 4]))), f([2, 1])], { note: "broadcast" }),
];

const conversion = (note: string, input: InputSpec, dtype: nabla.DType, options: Options = {}): Case =>
  row("cast", `x0.to(torch.${dtype})`, [input], { note, run: ([x]) => nabla.cast(x, dtype), ...options });
const conversions: Case[] = [
  conversion("to float32", f([4]), "float32", {
    noFirst: "differences need float64",
    noSecond: "differences need float64",
  }),
  conversion("to int32", v([1.9, -1.9, 0, 7]), "int32", { noGrad: ints }),
  conversion("to bool", v([0, -0, 0.5, Number.NaN]), "bool", { noGrad: ints }),
  conversion("to uint8", v([255, 256, -1, 0], "int32"), "uint8", { noGrad: ints }),
  conversion("of int64", i([4]), "float32", { noGrad: ints }),
];

export const elementwiseCases: Case[] = [...arithmetic, ...functions, ...logic, ...choices, ...conversions];

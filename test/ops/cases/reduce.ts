// Rows of lib/ops/reduce.ts, scan.ts, statistics.ts and sort.ts.

import type { Tensor } from "../../../lib/index.js";
import * as nabla from "../../../lib/index.js";
import { b, type Case, f, fixed, type InputSpec, i, permuted, v } from "../case.js";

/** The functions, to be chosen by name. */
const ops = { ...nabla };
const ints = "integers have no gradient";
const order = "positions and truth values have no gradient";
const kink = { noFirst: "a kink", noSecond: "a kink" };
const NAN = Number.NaN;

type Run = (x: Tensor) => Tensor | readonly Tensor[];
const row = (
  name: string,
  note: string,
  input: InputSpec,
  run: Run,
  torch: string,
  options: Partial<Case> = {},
): Case => ({
  name,
  ...(note ? { note } : {}),
  inputs: [input],
  run: ([x]) => run(x),
  torch,
  ...options,
});
const pair = ({ values, indices }: nabla.Selected): Tensor[] => [values, indices];

/** A reduction over all, one and several dimensions, with strides, kept, of a scalar, of nothing. */
function reduction(name: "sum" | "mean" | "prod" | "amax" | "amin", torch: string): Case[] {
  const fn = ops[name];
  const several = name !== "prod";
  return [
    row(
      name,
      "",
      f([2, 3, 4]),
      (x) => fn(x),
      name === "amax" || name === "amin" ? `x0.${torch}([0, 1, 2])` : `x0.${torch}()`,
    ),
    row(name, "over one", f([2, 3, 4]), (x) => fn(x, 1), `x0.${torch}(1)`),
    row(name, "kept", f([2, 3, 4]), (x) => fn(x, -1, true), `x0.${torch}(-1, keepdim=True)`),
    ...(several ? [row(name, "over several", f([2, 3, 4]), (x) => fn(x, [0, -1]), `x0.${torch}([0, -1])`)] : []),
    row(name, "strides", permuted(f([2, 3, 4])), (x) => fn(x, 0), `x0.${torch}(0)`),
    row(name, "scalar", f([]), (x) => fn(x, 0), `x0.${torch}(0)`),
    row(
      name,
      "NaN and infinity",
      v([1, NAN, Infinity, 2, Infinity, 3, -Infinity, 0, 1], "float", [3, 3]),
      (x) => fn(x, 1),
      `x0.${torch}(1)`,
      {
        noGrad: "the values are the point",
      },
    ),
  ];
}

const truth = (name: "any" | "all"): Case[] => {
  const fn = ops[name];
  const noGrad = order;
  return [
    row(name, "", b([3, 4]), (x) => fn(x), `x0.${name}()`, { noGrad }),
    row(name, "over one", v([0, 0, 1, 0, NAN, 2], "float", [3, 2]), (x) => fn(x, 1), `(x0 != 0).${name}(1)`, {
      noGrad,
    }),
    row(name, "of integers", i([3, 2], 0, 1), (x) => fn(x, 0, true), `(x0 != 0).${name}(0, keepdim=True)`, { noGrad }),
    row(name, "empty", b([0, 2]), (x) => fn(x, 0), `x0.${name}(0)`, { noGrad }),
  ];
};

const extrema = (name: "max" | "min"): Case[] => {
  const fn = ops[name];
  const arg = `arg${name}` as "argmax" | "argmin";
  const position = ops[arg];
  return [
    row(name, "", f([3, 4]), (x) => fn(x), `x0.${name}()`),
    row(name, "along one", f([3, 4]), (x) => pair(fn(x, 1)), `tuple(x0.${name}(1))`),
    row(name, "along the first, kept", f([3, 4]), (x) => pair(fn(x, 0, true)), `tuple(x0.${name}(0, keepdim=True))`),
    row(name, "NaN", v([1, NAN, 2, NAN, 3, 4], "float", [2, 3]), (x) => pair(fn(x, 1)), `tuple(x0.${name}(1))`, {
      noGrad: "the values are the point",
    }),
    row(name, "integers", i([3, 4]), (x) => fn(x), `x0.${name}()`, { noGrad: ints }),
    row(`a${name}`, "ties share the gradient", v([1, 2, 2, 1]), (x) => ops[`a${name}`](x), `x0.a${name}(0)`, kink),
    row(arg, "", f([3, 4]), (x) => position(x), `x0.${arg}()`, { noGrad: order }),
    row(arg, "along one", f([3, 4]), (x) => position(x, 0), `x0.${arg}(0)`, { noGrad: order }),
    row(
      arg,
      "kept, NaN",
      v([1, NAN, 2, 5, 3, 4], "float", [2, 3]),
      (x) => position(x, 1, true),
      `x0.${arg}(1, keepdim=True)`,
      { noGrad: order },
    ),
  ];
};

const ZEROS = v([2, 0, 3, 0, 5, 0, 1.5, -2, 4], "float", [3, 3]);

const scans: Case[] = [
  row("prod", "zeros", ZEROS, (x) => nabla.prod(x, 1), "x0.prod(1)", { ownGrad: "differences check it" }),
  row("prod", "integers", i([2, 3], 1, 4, "int32"), (x) => nabla.prod(x), "x0.prod()", { noGrad: ints }),
  row("prod", "over several", f([2, 3, 4]), (x) => nabla.prod(x, [0, 2]), "x0.prod(2).prod(0)"),
  row("sum", "empty", f([0, 3]), (x) => nabla.sum(x, 0), "x0.sum(0)"),
  row("prod", "empty", f([0, 3]), (x) => nabla.prod(x, 0), "x0.prod(0)"),
  row("sum", "integers", i([3, 4], -5, 5, "int32"), (x) => nabla.sum(x, 0), "x0.sum(0)", { noGrad: ints }),
  row("sum", "bools", b([3, 4]), (x) => nabla.sum(x), "x0.sum()", { noGrad: ints }),
  row("cumsum", "", f([3, 4]), (x) => nabla.cumsum(x, 1), "x0.cumsum(1)"),
  row("cumsum", "first dimension", f([3, 4]), (x) => nabla.cumsum(x, 0), "x0.cumsum(0)"),
  row("cumsum", "integers", i([5], -5, 5, "int32"), (x) => nabla.cumsum(x, 0), "x0.cumsum(0)", { noGrad: ints }),
  row("cumsum", "scalar", f([]), (x) => nabla.cumsum(x, 0), "x0.cumsum(0)"),
  row("cumprod", "", f([3, 5]), (x) => nabla.cumprod(x, 1), "x0.cumprod(1)"),
  row("cumprod", "first dimension", permuted(f([3, 4])), (x) => nabla.cumprod(x, 0), "x0.cumprod(0)"),
  row("cumprod", "zeros", ZEROS, (x) => nabla.cumprod(x, 1), "x0.cumprod(1)"),
  row("cumprod", "empty", f([2, 0]), (x) => nabla.cumprod(x, 1), "x0.cumprod(1)"),
  row("countNonzero", "", i([3, 4], -1, 1), (x) => nabla.countNonzero(x, 1), "x0.count_nonzero(1)", { noGrad: order }),
];

const statistics: Case[] = [
  row("variance", "", f([3, 4]), (x) => nabla.variance(x), "x0.var()"),
  row("var", "", f([3, 4]), (x) => x.var(), "x0.var()"),
  row(
    "variance",
    "over one, kept",
    f([3, 4]),
    (x) => nabla.variance(x, 1, { correction: 0, keepdim: true }),
    "x0.var(1, correction=0, keepdim=True)",
  ),
  row("variance", "over several", permuted(f([2, 3, 4])), (x) => nabla.variance(x, [0, 2]), "x0.var([0, 2])"),
  row("std", "", f([3, 4]), (x) => nabla.std(x, 0), "x0.std(0)"),
  row("std", "of equal values", v([2, 2, 2]), (x) => nabla.std(x), "x0.std()", kink),
  row("varMean", "", f([3, 4]), (x) => Object.values(nabla.varMean(x, 1)).reverse(), "torch.var_mean(x0, 1)"),
  row("norm", "", f([3, 4]), (x) => nabla.norm(x), "x0.norm()"),
  row("norm", "along one", f([3, 4]), (x) => nabla.norm(x, 2, 1, true), "x0.norm(2, 1, keepdim=True)"),
  row("norm", "1", f([3, 4]), (x) => nabla.norm(x, 1, 0), "x0.norm(1, 0)"),
  row("norm", "3", f([3, 4]), (x) => nabla.norm(x, 3, 1), "x0.norm(3, 1)"),
  row("norm", "infinity", f([3, 4]), (x) => nabla.norm(x, Infinity, 1), "x0.norm(math.inf, 1)"),
  row("norm", "minus infinity", f([3, 4]), (x) => nabla.norm(x, -Infinity, 1), "x0.norm(-math.inf, 1)"),
  row("norm", "0", fixed(v([1, 0, 2, 0])), (x) => nabla.norm(x, 0), "x0.norm(0)", { noGrad: "it counts" }),
  row("norm", "at zero", v([0, 0, 0]), (x) => nabla.norm(x), "x0.norm()", kink),
  row("norm", "3, at zero", v([0, 0, 0]), (x) => nabla.norm(x, 3), "x0.norm(3)", kink),
  row("logsumexp", "", f([3, 4]), (x) => nabla.logsumexp(x, 1), "x0.logsumexp(1)"),
  row("logsumexp", "over all", f([3, 4]), (x) => nabla.logsumexp(x), "x0.logsumexp([0, 1])"),
  row("logsumexp", "kept", f([3, 4]), (x) => nabla.logsumexp(x, 0, true), "x0.logsumexp(0, keepdim=True)"),
  row(
    "logsumexp",
    "large and infinite",
    v([1000, 1000, 1000, 0, -Infinity, -Infinity, Infinity, 1], "float", [4, 2]),
    (x) => nabla.logsumexp(x, 1),
    "x0.logsumexp(1)",
    { noGrad: "the values are the point" },
  ),
  row("nansum", "", v([1, NAN, 2, 3]), (x) => nabla.nansum(x), "x0.nansum()", {
    noFirst: "NaN has no difference",
    noSecond: "NaN has no difference",
  }),
  row("nanmean", "", v([1, NAN, 2, 3]), (x) => nabla.nanmean(x), "x0.nanmean()", {
    noFirst: "NaN has no difference",
    noSecond: "NaN has no difference",
  }),
  {
    name: "isclose",
    inputs: [v([1, 1, NAN, Infinity, -Infinity, 0, 1]), v([1.000001, 1.1, NAN, Infinity, Infinity, 1e-9, Infinity])],
    run: ([x, y]) => nabla.isclose(x, y),
    torch: "torch.isclose(x0, x1)",
    noGrad: order,
  },
  {
    name: "isclose",
    note: "equal NaN",
    inputs: [v([1, NAN]), v([1.01, NAN])],
    run: ([x, y]) => nabla.isclose(x, y, { rtol: 0.1, equalNan: true }),
    torch: "torch.isclose(x0, x1, rtol=0.1, equal_nan=True)",
    noGrad: order,
  },
];

const sorting: Case[] = [
  row("sort", "", f([3, 4]), (x) => pair(nabla.sort(x)), "tuple(x0.sort(stable=True))"),
  row(
    "sort",
    "descending, first dimension",
    f([3, 4]),
    (x) => pair(nabla.sort(x, 0, true)),
    "tuple(x0.sort(0, descending=True))",
  ),
  row(
    "sort",
    "NaN and ties",
    v([1, NAN, 0, -Infinity, 1, 0, Infinity]),
    (x) => pair(nabla.sort(x)),
    "tuple(x0.sort(stable=True))",
    { noGrad: "the values are the point" },
  ),
  row("sort", "integers", i([7], -3, 3), (x) => pair(nabla.sort(x)), "tuple(x0.sort(stable=True))", { noGrad: ints }),
  row("sort", "scalar", f([]), (x) => pair(nabla.sort(x)), "tuple(x0.sort())"),
  row("argsort", "", f([3, 4]), (x) => nabla.argsort(x, 0), "x0.argsort(0)", { noGrad: order }),
  row("topk", "", f([3, 5]), (x) => pair(nabla.topk(x, 2)), "tuple(x0.topk(2))"),
  row(
    "topk",
    "smallest, first dimension",
    f([4, 3]),
    (x) => pair(nabla.topk(x, 3, 0, false)),
    "tuple(x0.topk(3, 0, largest=False))",
  ),
  row("median", "", f([3, 3]), (x) => nabla.median(x), "x0.median()"),
  row("median", "of an even number", f([4]), (x) => nabla.median(x), "x0.median()"),
  row("median", "along one", f([3, 4]), (x) => pair(nabla.median(x, 1)), "tuple(x0.median(1))"),
  row("median", "kept", f([3, 4]), (x) => pair(nabla.median(x, 0, true)), "tuple(x0.median(0, keepdim=True))"),
  row(
    "median",
    "NaN",
    v([1, NAN, 3, 2, 5, 4], "float", [2, 3]),
    (x) => nabla.median(x, 1).values,
    "x0.median(1).values",
    { noGrad: "the values are the point" },
  ),
  row(
    "unique",
    "",
    i([3, 4], 0, 4),
    (x) => {
      const { values, inverse, counts } = nabla.unique(x);
      return [values, inverse, counts];
    },
    "torch.unique(x0, return_inverse=True, return_counts=True)",
    { noGrad: "how many there are depends on the values" },
  ),
];

export const reduceCases: Case[] = [
  ...reduction("sum", "sum"),
  ...reduction("mean", "mean"),
  ...reduction("prod", "prod"),
  ...reduction("amax", "amax"),
  ...reduction("amin", "amin"),
  ...truth("any"),
  ...truth("all"),
  ...extrema("max"),
  ...extrema("min"),
  ...scans,
  ...statistics,
  ...sorting,
];

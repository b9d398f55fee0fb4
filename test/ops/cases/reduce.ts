// Rows of lib/ops/reduce.ts.
import { mean, sum } from "../../../lib/index.js";
import { b, type Case, f, i, permuted } from "../case.js";

const ints = "integers have no gradient";

export const reduceCases: Case[] = [
  { name: "sum", inputs: [f([2, 3, 4])], run: ([x]) => sum(x), torch: "x0.sum()" },
  { name: "sum", note: "over one", inputs: [f([2, 3, 4])], run: ([x]) => sum(x, 1), torch: "x0.sum(1)" },
  {
    name: "sum",
    note: "over several, kept",
    inputs: [f([2, 3, 4])],
    run: ([x]) => sum(x, [0, -1], true),
    torch: "x0.sum([0, -1], keepdim=True)",
  },
  {
    name: "sum",
    note: "strides",
    inputs: [permuted(f([2, 3, 4]))],
    run: ([x]) => sum(x, [0, 1]),
    torch: "x0.sum([0, 1])",
  },
  { name: "sum", note: "scalar", inputs: [f([])], run: ([x]) => sum(x, 0), torch: "x0.sum(0)" },
  { name: "sum", note: "empty", inputs: [f([0, 3])], run: ([x]) => sum(x, 0), torch: "x0.sum(0)" },
  {
    name: "sum",
    note: "integers",
    inputs: [i([3, 4], -5, 5, "int32")],
    run: ([x]) => sum(x, 0),
    torch: "x0.sum(0)",
    noGrad: ints,
  },
  { name: "sum", note: "bools", inputs: [b([3, 4])], run: ([x]) => sum(x), torch: "x0.sum()", noGrad: ints },
  { name: "mean", inputs: [f([2, 3, 4])], run: ([x]) => mean(x), torch: "x0.mean()" },
  {
    name: "mean",
    note: "over several",
    inputs: [f([2, 3, 4])],
    run: ([x]) => mean(x, [0, 2]),
    torch: "x0.mean([0, 2])",
  },
  {
    name: "mean",
    note: "kept",
    inputs: [permuted(f([3, 4]))],
    run: ([x]) => mean(x, 1, true),
    torch: "x0.mean(1, keepdim=True)",
  },
];

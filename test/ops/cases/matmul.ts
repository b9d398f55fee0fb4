// Rows of lib/ops/matmul.ts.
import { addmm, bmm, dot, linear, matmul, mm, mv, outer } from "../../../lib/index.js";
import { type Case, f, i, permuted, strided } from "../case.js";

const product = (note: string, a: number[], b: number[], layout = (x: ReturnType<typeof f>) => x): Case => ({
  name: "matmul",
  note,
  inputs: [layout(f(a)), layout(f(b))],
  run: ([x, y]) => matmul(x, y),
  torch: "torch.matmul(x0, x1)",
});

export const matmulCases: Case[] = [
  product("matrices", [3, 4], [4, 2]),
  product("vector, vector", [4], [4]),
  product("vector, matrix", [3], [3, 2]),
  product("matrix, vector", [3, 4], [4]),
  product("batch", [2, 3, 4], [2, 4, 2]),
  product("batch, one matrix", [2, 3, 4], [4, 2]),
  product("one matrix, batch", [3, 4], [2, 4, 2]),
  product("batches broadcast", [2, 1, 2, 3], [3, 3, 2]),
  product("batch, vector", [2, 3, 4], [4]),
  product("vector, batch", [3], [2, 3, 2]),
  product("permuted", [3, 4], [4, 2], permuted),
  product("permuted batch", [2, 3, 4], [2, 4, 2], permuted),
  product("strided", [3, 4], [4, 2], strided),
  product("no inner elements", [2, 0], [0, 3]),
  product("no rows", [0, 3], [3, 2]),
  {
    name: "matmul",
    note: "integers",
    inputs: [i([2, 3]), i([3, 2])],
    run: ([x, y]) => matmul(x, y),
    torch: "torch.matmul(x0, x1)",
    noGrad: "integers have no gradient",
  },
  { name: "mm", inputs: [f([3, 4]), f([4, 2])], run: ([x, y]) => mm(x, y), torch: "torch.mm(x0, x1)" },
  { name: "mv", inputs: [f([3, 4]), f([4])], run: ([x, y]) => mv(x, y), torch: "torch.mv(x0, x1)" },
  {
    name: "addmm",
    inputs: [f([2]), f([3, 4]), f([4, 2])],
    run: ([x, a, b]) => addmm(x, a, b),
    torch: "torch.addmm(x0, x1, x2)",
  },
  {
    name: "addmm",
    note: "with factors",
    inputs: [f([3, 2]), f([3, 4]), f([4, 2])],
    run: ([x, a, b]) => addmm(x, a, b, { beta: 0.5, alpha: -2 }),
    torch: "torch.addmm(x0, x1, x2, beta=0.5, alpha=-2)",
  },
  { name: "bmm", inputs: [f([2, 3, 4]), f([2, 4, 2])], run: ([x, y]) => bmm(x, y), torch: "torch.bmm(x0, x1)" },
  { name: "dot", inputs: [f([5]), f([5])], run: ([x, y]) => dot(x, y), torch: "torch.dot(x0, x1)" },
  { name: "outer", inputs: [f([3]), f([4])], run: ([x, y]) => outer(x, y), torch: "torch.outer(x0, x1)" },
  {
    name: "linear",
    inputs: [f([2, 3, 4]), f([2, 4]), f([2])],
    run: ([x, w, b]) => linear(x, w, b),
    torch: "F.linear(x0, x1, x2)",
  },
  {
    name: "linear",
    note: "without bias",
    inputs: [f([3, 4]), f([2, 4])],
    run: ([x, w]) => linear(x, w),
    torch: "F.linear(x0, x1)",
  },
];

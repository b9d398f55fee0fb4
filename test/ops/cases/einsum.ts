// Rows of lib/ops/einsum.ts and lib/ops/attention.ts.
import { einsum, kron, scaledDotProductAttention, tensordot, trace } from "../../../lib/index.js";
import { type Case, f, i, permuted, v } from "../case.js";

const row = (equation: string, inputs: Case["inputs"], note = equation): Case => ({
  name: "einsum",
  note,
  inputs,
  run: (xs) => einsum(equation, ...xs),
  torch: `torch.einsum("${equation}", ${inputs.map((_, k) => `x${k}`).join(", ")})`,
  tolerance: 1e-4,
});
const qkv = [f([2, 3, 4], -1, 1), f([2, 5, 4], -1, 1), f([2, 5, 2], -1, 1)];
/** Attention by its formula, which PyTorch 1.13 does not have as one function. */
const attention = (scores: string): string => `torch.softmax(${scores}, -1) @ x2`;

export const einsumCases: Case[] = [
  row("ij,jk->ik", [f([2, 3]), f([3, 4])]),
  row("ij,jk", [f([2, 3]), permuted(f([3, 4]))], "implicit"),
  row("ba,ca", [f([2, 3]), f([4, 3])], "implicit order"),
  row("bij,bjk->bik", [f([2, 3, 2]), f([2, 2, 4])]),
  row("bhqd,bhkd->bhqk", [f([1, 2, 3, 2]), f([1, 2, 2, 2])]),
  row("i,j->ij", [f([2]), f([3])], "outer product"),
  row("i,i->", [f([4]), f([4])], "inner product"),
  row("i,i->i", [f([4]), f([4])], "element by element"),
  row("ii->i", [f([3, 3])], "diagonal"),
  row("ii", [f([3, 3])], "trace"),
  row("iji->j", [f([2, 3, 2])], "trace over outer dimensions"),
  row("ij->ji", [f([2, 3])], "transpose"),
  row("ij->", [f([2, 3])], "sum"),
  row("ijk->k", [f([2, 3, 4])], "sum over two"),
  row("...ij,...jk->...ik", [f([2, 1, 2, 3]), f([4, 3, 2])], "ellipsis broadcasts"),
  row("...i,...i", [f([2, 3]), f([3])], "ellipsis implicit"),
  row("i...->...i", [f([2, 3, 4])], "ellipsis moved"),
  row("ij,kj,k->i", [f([2, 3]), f([4, 3]), f([4])], "three"),
  row("ab,cd,ef->acf", [f([2, 2]), f([1, 3]), f([2, 2])], "three without common indices"),
  row("ij,ij->i", [f([2, 1]), f([2, 3])], "a size of 1 broadcasts"),
  row("ij,jk->ik", [f([2, 0]), f([0, 3])], "empty"),
  { ...row("ij,jk->ik", [i([2, 3]), i([3, 2])], "integers"), noGrad: "integers have no gradient" },
  {
    name: "tensordot",
    inputs: [f([2, 3, 4]), f([4, 3, 2])],
    run: ([a, b]) =>
      tensordot(a, b, [
        [1, 2],
        [1, 0],
      ]),
    torch: "torch.tensordot(x0, x1, ([1, 2], [1, 0]))",
    tolerance: 1e-4,
  },
  {
    name: "tensordot",
    note: "a number",
    inputs: [f([2, 3]), f([3, 4])],
    run: ([a, b]) => tensordot(a, b, 1),
    torch: "torch.tensordot(x0, x1, 1)",
    tolerance: 1e-4,
  },
  { name: "kron", inputs: [f([2, 2]), f([3])], run: ([a, b]) => kron(a, b), torch: "torch.kron(x0, x1)" },
  { name: "trace", inputs: [f([3, 4])], run: ([x]) => trace(x), torch: "x0.trace()" },
  {
    name: "scaledDotProductAttention",
    inputs: qkv,
    run: ([q, k, v]) => scaledDotProductAttention(q, k, v),
    torch: attention("x0 @ x1.mT / 2"),
    tolerance: 1e-4,
  },
  {
    name: "scaledDotProductAttention",
    note: "causal, scale",
    inputs: qkv,
    run: ([q, k, v]) => scaledDotProductAttention(q, k, v, { isCausal: true, scale: 0.3 }),
    torch: attention("(x0 @ x1.mT * 0.3).masked_fill(torch.ones(3, 5).tril() == 0, -math.inf)"),
    tolerance: 1e-4,
  },
  {
    name: "scaledDotProductAttention",
    note: "bool mask",
    inputs: [...qkv, v([1, 0, 1, 1, 0], "bool")],
    run: ([q, k, v, mask]) => scaledDotProductAttention(q, k, v, { mask }),
    torch: attention("(x0 @ x1.mT / 2).masked_fill(~x3, -math.inf)"),
    tolerance: 1e-4,
  },
  {
    name: "scaledDotProductAttention",
    note: "added mask",
    inputs: [...qkv, f([3, 5])],
    run: ([q, k, v, mask]) => scaledDotProductAttention(q, k, v, { mask }),
    torch: attention("x0 @ x1.mT / 2 + x3"),
    tolerance: 1e-4,
  },
  {
    name: "scaledDotProductAttention",
    note: "strided, heads, a mask for all of them",
    inputs: [
      permuted(f([2, 2, 3, 4], -1, 1)),
      permuted(f([2, 2, 5, 4], -1, 1)),
      permuted(f([2, 2, 5, 3], -1, 1)),
      v([1, 0, 1, 1, 0, 0, 1, 1, 0, 1], "bool", [2, 1, 1, 5]),
    ],
    run: ([q, k, v, mask]) => scaledDotProductAttention(q, k, v, { mask }),
    torch: attention("(x0 @ x1.mT / 2).masked_fill(~x3, -math.inf)"),
    tolerance: 1e-4,
  },
  {
    name: "scaledDotProductAttention",
    note: "more queries than keys, keys for all batches",
    inputs: [f([2, 6, 4], -1, 1), f([1, 3, 4], -1, 1), f([3, 2], -1, 1)],
    run: ([q, k, v]) => scaledDotProductAttention(q, k, v, { isCausal: true }),
    torch: attention("(x0 @ x1.mT / 2).masked_fill(torch.ones(6, 3).tril() == 0, -math.inf)"),
    tolerance: 1e-4,
  },
];

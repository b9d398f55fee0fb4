// Rows of lib/ops/activation.ts and lib/ops/softmax.ts.

import type { Tensor } from "../../../lib/index.js";
import * as nabla from "../../../lib/index.js";
import { type Case, f, i, permuted, v } from "../case.js";

type Options = Partial<Omit<Case, "name" | "run" | "torch">>;
const WIDE = f([3, 7], -8, 8);
const SPECIAL = v([Number.NaN, Infinity, -Infinity, 0, -0, 1e30, -1e30, 100, -100, 30, -30]);

/** name(x0, …settings), its twin in place where there is one, on ordinary values and on special ones. */
function rows(name: string, torch: string, settings: readonly unknown[] = [], options: Options = {}): Case[] {
  type Op = (x: Tensor, ...settings: unknown[]) => Tensor;
  const all = nabla as unknown as Record<string, Op>;
  const base: Case = {
    name,
    torch,
    inputs: [WIDE],
    run: ([x]) => all[name](x, ...settings),
    ...(all[`${name}_`] ? { inPlace: ([x]: Tensor[]) => all[`${name}_`](x, ...settings) } : {}),
    ...options,
  };
  const note = options.note ? `${options.note}, special values` : "special values";
  const special = { note, inputs: [SPECIAL], noGrad: "the values are the point", inPlace: undefined };
  return [base, { ...base, ...special }];
}

export const activationCases: Case[] = [
  ...rows("relu", "F.relu(x0)"),
  ...rows("relu6", "F.relu6(x0)"),
  ...rows("hardtanh", "F.hardtanh(x0)"),
  ...rows("hardtanh", "F.hardtanh(x0, -3, 2.5)", [-3, 2.5], { note: "other limits" }),
  ...rows("leakyRelu", "F.leaky_relu(x0)"),
  ...rows("leakyRelu", "F.leaky_relu(x0, 0.2)", [0.2], { note: "other slope" }),
  ...rows("threshold", "F.threshold(x0, 1, -2)", [1, -2]),
  ...rows("elu", "F.elu(x0)"),
  ...rows("elu", "F.elu(x0, 0.5)", [0.5], { note: "other alpha" }),
  ...rows("selu", "F.selu(x0)"),
  ...rows("celu", "F.celu(x0)"),
  ...rows("celu", "F.celu(x0, 2)", [2], { note: "other alpha" }),
  ...rows("sigmoid", "torch.sigmoid(x0)"),
  ...rows("logSigmoid", "F.logsigmoid(x0)"),
  ...rows("softplus", "F.softplus(x0)"),
  ...rows("softplus", "F.softplus(x0, 2, 5)", [2, 5], { note: "other settings" }),
  ...rows("silu", "F.silu(x0)"),
  ...rows("mish", "F.mish(x0)"),
  ...rows("gelu", "F.gelu(x0)"),
  ...rows("gelu", "F.gelu(x0, approximate='tanh')", ["tanh"], { note: "by tanh" }),
  ...rows("hardsigmoid", "F.hardsigmoid(x0)", [], { ownGrad: "PyTorch has 1/6 in float32" }),
  ...rows("hardswish", "F.hardswish(x0)"),
  ...rows("tanhshrink", "F.tanhshrink(x0)"),
  ...rows("hardshrink", "F.hardshrink(x0)"),
  rows("softshrink", "F.softshrink(x0)")[0], // PyTorch 1.13 has 0 for NaN
  ...rows("softsign", "F.softsign(x0)"),
  {
    name: "prelu",
    inputs: [f([2, 3, 2]), f([3], 0.1, 0.4)],
    run: ([x, w]) => nabla.prelu(x, w),
    torch: "F.prelu(x0, x1)",
  },
  {
    name: "prelu",
    note: "one weight",
    inputs: [f([2, 3]), f([1], 0.1, 0.4)],
    run: ([x, w]) => nabla.prelu(x, w),
    torch: "F.prelu(x0, x1)",
  },
  { name: "glu", inputs: [f([3, 4])], run: ([x]) => nabla.glu(x), torch: "F.glu(x0)" },
  { name: "glu", note: "first", inputs: [f([4, 3])], run: ([x]) => nabla.glu(x, 0), torch: "F.glu(x0, 0)" },
  {
    name: "sigmoid",
    note: "of integers",
    inputs: [i([4])],
    run: ([x]) => nabla.sigmoid(x),
    torch: "torch.sigmoid(x0)",
    noGrad: "integers have no gradient",
  },

  { name: "softmax", inputs: [f([3, 4])], run: ([x]) => nabla.softmax(x, 1), torch: "torch.softmax(x0, 1)" },
  {
    name: "softmax",
    note: "first dimension",
    inputs: [f([3, 4])],
    run: ([x]) => nabla.softmax(x, 0),
    torch: "torch.softmax(x0, 0)",
  },
  {
    name: "softmax",
    note: "strides",
    inputs: [permuted(f([2, 3, 4]))],
    run: ([x]) => nabla.softmax(x, 1),
    torch: "torch.softmax(x0, 1)",
  },
  {
    name: "softmax",
    note: "scalar",
    inputs: [f([])],
    run: ([x]) => nabla.softmax(x, 0),
    torch: "torch.softmax(x0, 0)",
  },
  {
    name: "softmax",
    note: "empty",
    inputs: [f([0, 3])],
    run: ([x]) => nabla.softmax(x, 1),
    torch: "torch.softmax(x0, 1)",
  },
  {
    name: "softmax",
    note: "large",
    inputs: [v([1000, 1001, -1000, -Infinity])],
    run: ([x]) => nabla.softmax(x, 0),
    torch: "torch.softmax(x0, 0)",
    noGrad: "the values are the point",
  },
  { name: "logSoftmax", inputs: [f([3, 4])], run: ([x]) => nabla.logSoftmax(x, 1), torch: "torch.log_softmax(x0, 1)" },
  {
    name: "logSoftmax",
    note: "first dimension",
    inputs: [f([3, 4])],
    run: ([x]) => nabla.logSoftmax(x, 0),
    torch: "torch.log_softmax(x0, 0)",
  },
  {
    name: "logSoftmax",
    note: "large",
    inputs: [v([1000, 1001, -1000, -Infinity])],
    run: ([x]) => nabla.logSoftmax(x, 0),
    torch: "torch.log_softmax(x0, 0)",
    noGrad: "the values are the point",
  },
  { name: "softmin", inputs: [f([3, 4])], run: ([x]) => nabla.softmin(x, 1), torch: "F.softmin(x0, 1)" },
];

// Rows of lib/ops/norm.ts.
import * as nabla from "../../../lib/index.js";
import { type Case, f, fixed, permuted, v } from "../case.js";

const tolerance = 3e-5;
const running = [fixed(f([3], -0.5, 0.5)), fixed(f([3], 0.5, 1.5))];

export const normCases: Case[] = [
  {
    name: "layerNorm",
    inputs: [f([2, 3, 4]), f([4]), f([4])],
    run: ([x, weight, bias]) => nabla.layerNorm(x, 4, { weight, bias }),
    torch: "F.layer_norm(x0, [4], x1, x2)",
    tolerance,
  },
  {
    name: "layerNorm",
    note: "over two dimensions",
    inputs: [f([2, 3, 4])],
    run: ([x]) => nabla.layerNorm(x, [3, 4]),
    torch: "F.layer_norm(x0, [3, 4])",
    tolerance,
  },
  {
    name: "layerNorm",
    note: "strides, weight only, eps",
    inputs: [permuted(f([3, 5])), f([5])],
    run: ([x, weight]) => nabla.layerNorm(x, [5], { weight, eps: 0.1 }),
    torch: "F.layer_norm(x0, [5], x1, None, 0.1)",
    tolerance,
  },
  {
    name: "layerNorm",
    note: "no samples",
    inputs: [f([0, 4])],
    run: ([x]) => nabla.layerNorm(x, 4),
    torch: "F.layer_norm(x0, [4])",
  },
  {
    name: "rmsNorm",
    inputs: [f([2, 3, 4]), f([4])],
    run: ([x, weight]) => nabla.rmsNorm(x, 4, { weight, eps: 1e-5 }),
    torch: "x0 * torch.rsqrt(x0.square().mean(-1, keepdim=True) + 1e-5) * x1",
    tolerance,
  },
  {
    name: "batchNorm",
    note: "training",
    inputs: [f([4, 3]), f([3]), f([3])],
    run: ([x, weight, bias]) => nabla.batchNorm(x, { weight, bias, training: true }),
    torch: "F.batch_norm(x0, None, None, x1, x2, True)",
    tolerance,
  },
  {
    name: "batchNorm",
    note: "training on images",
    inputs: [f([2, 3, 2, 2]), f([3]), f([3])],
    run: ([x, weight, bias]) => nabla.batchNorm(x, { weight, bias, training: true, eps: 1e-3 }),
    torch: "F.batch_norm(x0, None, None, x1, x2, True, 0.1, 1e-3)",
    tolerance,
  },
  {
    name: "batchNorm",
    note: "running statistics",
    inputs: [fixed(f([4, 3, 2])), ...running],
    run: ([x, runningMean, runningVar]) => {
      const y = nabla.batchNorm(x, { runningMean, runningVar, training: true, momentum: 0.3 });
      return [y, runningMean, runningVar];
    },
    torch: "(lambda m, v: [F.batch_norm(x0, m, v, None, None, True, 0.3), m, v])(x1.clone(), x2.clone())",
    noGrad: "the statistics are the point",
    tolerance,
  },
  {
    name: "batchNorm",
    note: "evaluating",
    inputs: [f([4, 3, 2]), ...running, f([3]), f([3])],
    run: ([x, runningMean, runningVar, weight, bias]) => nabla.batchNorm(x, { runningMean, runningVar, weight, bias }),
    torch: "F.batch_norm(x0, x1, x2, x3, x4, False)",
    tolerance,
  },
  {
    name: "groupNorm",
    inputs: [f([2, 4, 3]), f([4]), f([4])],
    run: ([x, weight, bias]) => nabla.groupNorm(x, 2, { weight, bias }),
    torch: "F.group_norm(x0, 2, x1, x2)",
    tolerance,
  },
  {
    name: "instanceNorm",
    inputs: [f([2, 3, 4]), f([3]), f([3])],
    run: ([x, weight, bias]) => nabla.instanceNorm(x, { weight, bias }),
    torch: "F.instance_norm(x0, None, None, x1, x2)",
    tolerance,
  },
  {
    name: "instanceNorm",
    note: "running statistics",
    inputs: [fixed(f([2, 3, 4])), ...running],
    run: ([x, runningMean, runningVar]) => [
      nabla.instanceNorm(x, { runningMean, runningVar }),
      runningMean,
      runningVar,
    ],
    torch: "(lambda m, v: [F.instance_norm(x0, m, v), m, v])(x1.clone(), x2.clone())",
    noGrad: "the statistics are the point",
    tolerance,
  },
  {
    name: "instanceNorm",
    note: "evaluating",
    inputs: [f([2, 3, 4]), ...running],
    run: ([x, runningMean, runningVar]) => nabla.instanceNorm(x, { runningMean, runningVar, useInputStats: false }),
    torch: "F.instance_norm(x0, x1, x2, None, None, False)",
    tolerance,
  },
  { name: "normalize", inputs: [f([3, 4])], run: ([x]) => nabla.normalize(x), torch: "F.normalize(x0)" },
  {
    name: "normalize",
    note: "1-norm, first dimension",
    inputs: [f([3, 4])],
    run: ([x]) => nabla.normalize(x, { p: 1, dim: 0 }),
    torch: "F.normalize(x0, 1, 0)",
  },
  {
    name: "normalize",
    note: "zero vector",
    inputs: [v([0, 0, 3, 4], "float", [2, 2])],
    run: ([x]) => nabla.normalize(x),
    torch: "F.normalize(x0)",
    noGrad: "enormous at zero",
  },
  {
    name: "cosineSimilarity",
    inputs: [f([3, 4]), f([3, 4])],
    run: ([x, y]) => nabla.cosineSimilarity(x, y),
    torch: "F.cosine_similarity(x0, x1)",
  },
  {
    name: "cosineSimilarity",
    note: "broadcast",
    inputs: [f([2, 3, 4]), f([3, 4])],
    run: ([x, y]) => nabla.cosineSimilarity(x, y, { dim: -1 }),
    torch: "F.cosine_similarity(x0, x1, dim=-1)",
  },
  {
    name: "pairwiseDistance",
    inputs: [f([3, 4]), f([3, 4])],
    run: ([x, y]) => nabla.pairwiseDistance(x, y),
    torch: "F.pairwise_distance(x0, x1)",
  },
  {
    name: "pairwiseDistance",
    note: "1-norm, kept",
    inputs: [f([3, 4]), f([4])],
    run: ([x, y]) => nabla.pairwiseDistance(x, y, { p: 1, keepdim: true }),
    torch: "F.pairwise_distance(x0, x1, 1, keepdim=True)",
  },
];

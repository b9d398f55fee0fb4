// Rows of lib/ops/loss.ts.

import type { Tensor } from "../../../lib/index.js";
import * as nabla from "../../../lib/index.js";
import { type Case, f, fixed, type InputSpec, i, permuted, v } from "../case.js";

type Loss = (...args: never[]) => Tensor;

/** A loss of tensors, with each reduction; `settings` are the other options, in both languages. */
function rows(
  name: string,
  torch: string,
  inputs: readonly InputSpec[],
  note = "",
  settings: Record<string, unknown> = {},
  python = "",
  extra: Partial<Case> = {},
): Case[] {
  const loss = (nabla as unknown as Record<string, Loss>)[name] as (...args: unknown[]) => Tensor;
  const xs = inputs.map((_, k) => `x${k}`).join(", ");
  return (["mean", "sum", "none"] as const).map((reduction) => ({
    name,
    note: [note, reduction].filter(Boolean).join(", "),
    inputs,
    run: (given: Tensor[]) => loss(...given, { ...settings, reduction }),
    torch: `F.${torch}(${xs}, reduction='${reduction}'${python && `, ${python}`})`,
    ...extra,
  }));
}

const LOGITS = f([4, 3]);
const LABELS = i([4], 0, 2);
const IGNORED = v([2, -100, 0, -100], "int64");
const IMAGE = i([2, 2, 3], 0, 2);
const SIGNS = v([1, -1, -1, 1], "float");
const fixedSigns = fixed(SIGNS);
const probabilities = (shape: number[]): InputSpec => f(shape, 0.1, 0.9);
const noGrad = "the values are the point";

/** Classes with weights, which PyTorch takes by name. */
const weighted = (name: string, torch: string, inputs: InputSpec[], note: string, python = "", settings = {}): Case[] =>
  (["mean", "sum", "none"] as const).map((reduction) => ({
    name,
    note: `${note}, ${reduction}`,
    inputs: [...inputs, fixed(f([3], 0.5, 2))],
    run: ([x, t, weight]) =>
      (name === "nllLoss" ? nabla.nllLoss : nabla.crossEntropy)(x, t, { weight, reduction, ...settings }),
    torch: `F.${torch}(x0, x1, weight=x2, reduction='${reduction}'${python})`,
  }));

export const lossCases: Case[] = [
  ...rows("mseLoss", "mse_loss", [f([3, 4]), f([3, 4])]),
  ...rows("l1Loss", "l1_loss", [f([3, 4]), f([3, 4])]),
  ...rows("smoothL1Loss", "smooth_l1_loss", [f([3, 4]), f([3, 4])]),
  ...rows("smoothL1Loss", "smooth_l1_loss", [f([3, 4]), f([3, 4])], "beta", { beta: 0.3 }, "beta=0.3"),
  ...rows("huberLoss", "huber_loss", [f([3, 4]), f([3, 4])], "", { delta: 0.7 }, "delta=0.7"),
  ...rows("crossEntropy", "cross_entropy", [LOGITS, LABELS]),
  ...rows("crossEntropy", "cross_entropy", [LOGITS, IGNORED], "ignored"),
  ...rows("crossEntropy", "cross_entropy", [LOGITS, LABELS], "ignored class", { ignoreIndex: 1 }, "ignore_index=1"),
  ...rows(
    "crossEntropy",
    "cross_entropy",
    [LOGITS, IGNORED],
    "smoothed",
    { labelSmoothing: 0.2 },
    "label_smoothing=0.2",
  ),
  ...rows("crossEntropy", "cross_entropy", [f([2, 3, 2, 3]), IMAGE], "of images"),
  ...rows("crossEntropy", "cross_entropy", [LOGITS, probabilities([4, 3])], "probabilities"),
  ...rows(
    "crossEntropy",
    "cross_entropy",
    [LOGITS, probabilities([4, 3])],
    "probabilities, smoothed",
    { labelSmoothing: 0.1 },
    "label_smoothing=0.1",
  ),
  ...rows("crossEntropy", "cross_entropy", [f([3]), v([1], "int64", [])], "one sample"),
  ...weighted("crossEntropy", "cross_entropy", [LOGITS, IGNORED], "weights"),
  ...weighted("crossEntropy", "cross_entropy", [f([2, 3, 2, 3]), IMAGE], "weights, smoothed", ", label_smoothing=0.2", {
    labelSmoothing: 0.2,
  }),
  ...weighted("crossEntropy", "cross_entropy", [LOGITS, probabilities([4, 3])], "weights, probabilities"),
  ...rows("nllLoss", "nll_loss", [f([4, 3], -3, -0.1), LABELS]),
  ...weighted("nllLoss", "nll_loss", [permuted(f([4, 3], -3, -0.1)), IGNORED], "weights, ignored"),
  ...rows("binaryCrossEntropy", "binary_cross_entropy", [probabilities([3, 4]), fixed(probabilities([3, 4]))]),
  ...rows(
    "binaryCrossEntropy",
    "binary_cross_entropy",
    [v([0, 1, 0, 1]), fixed(v([0, 1, 1, 0]))],
    "at the ends",
    {},
    "",
    { noGrad },
  ),
  {
    name: "binaryCrossEntropy",
    note: "targets and weights",
    inputs: [probabilities([3, 4]), probabilities([3, 4]), fixed(f([4], 0.5, 2))],
    run: ([x, t, weight]) => nabla.binaryCrossEntropy(x, t, { weight }),
    torch: "F.binary_cross_entropy(x0, x1, x2)",
    ownGrad: "PyTorch 1.13 has none for targets",
  },
  ...rows("binaryCrossEntropyWithLogits", "binary_cross_entropy_with_logits", [
    f([3, 4], -5, 5),
    probabilities([3, 4]),
  ]),
  ...rows(
    "binaryCrossEntropyWithLogits",
    "binary_cross_entropy_with_logits",
    [v([800, -800, 0, 50]), fixed(v([1, 1, 0, 0]))],
    "large",
    {},
    "",
    { noGrad },
  ),
  {
    name: "binaryCrossEntropyWithLogits",
    note: "weights",
    inputs: [f([3, 4]), probabilities([3, 4]), fixed(f([3, 1], 0.5, 2)), f([4], 0.5, 3)],
    run: ([x, t, weight, posWeight]) => nabla.binaryCrossEntropyWithLogits(x, t, { weight, posWeight }),
    torch: "F.binary_cross_entropy_with_logits(x0, x1, x2, pos_weight=x3)",
    ownGrad: "PyTorch 1.13 has none for posWeight",
  },
  ...rows("klDiv", "kl_div", [f([3, 4], -3, -0.1), probabilities([3, 4])]),
  ...rows(
    "klDiv",
    "kl_div",
    [f([3, 4], -3, -0.1), f([3, 4], -3, -0.1)],
    "log target",
    { logTarget: true },
    "log_target=True",
  ),
  ...rows("klDiv", "kl_div", [f([4], -3, -0.1), fixed(v([0, 0.5, 0, 1]))], "zeros"),
  {
    name: "klDiv",
    note: "batchMean",
    inputs: [f([3, 4], -3, -0.1), probabilities([3, 4])],
    run: ([x, t]) => nabla.klDiv(x, t, { reduction: "batchMean" }),
    torch: "F.kl_div(x0, x1, reduction='batchmean')",
  },
  ...rows("hingeEmbeddingLoss", "hinge_embedding_loss", [f([4]), fixedSigns]),
  ...rows("marginRankingLoss", "margin_ranking_loss", [f([4]), f([4]), fixedSigns], "", { margin: 0.5 }, "margin=0.5"),
  ...rows(
    "cosineEmbeddingLoss",
    "cosine_embedding_loss",
    [f([4, 3]), f([4, 3]), fixedSigns],
    "",
    { margin: -0.5 },
    "margin=-0.5",
  ),
  ...rows("tripletMarginLoss", "triplet_margin_loss", [f([3, 4]), f([3, 4]), f([3, 4])]),
  ...rows(
    "tripletMarginLoss",
    "triplet_margin_loss",
    [f([3, 4]), f([3, 4]), f([3, 4])],
    "swap, 3-norm",
    { swap: true, p: 3, margin: 2 },
    "swap=True, p=3, margin=2",
  ),
  ...rows("softMarginLoss", "soft_margin_loss", [f([4]), fixedSigns]),
  ...rows("poissonNllLoss", "poisson_nll_loss", [f([3, 4]), fixed(f([3, 4], 0.2, 5))]),
  ...rows(
    "poissonNllLoss",
    "poisson_nll_loss",
    [f([3, 4], 0.2, 3), fixed(f([3, 4], 0.2, 5))],
    "rates, full",
    { logInput: false, full: true },
    "log_input=False, full=True",
  ),
  ...rows("gaussianNllLoss", "gaussian_nll_loss", [f([3, 4]), f([3, 4]), f([3, 4], 0.3, 2)]),
  ...rows(
    "gaussianNllLoss",
    "gaussian_nll_loss",
    [f([3, 4]), f([3, 4]), f([3], 0.3, 2)],
    "one variance a sample, full",
    { full: true },
    "full=True",
  ),
];

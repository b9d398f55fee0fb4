// Results that are no tensors, and what wrong arguments of activations, reductions, norms and losses get.
import { describe, expect, test } from "vitest";
import * as nabla from "../../lib/index.js";
import { DTypeError, IndexError, ShapeError, tensor, ValueError, zeros } from "../../lib/index.js";

const labels = (values: number[]) => tensor(values, { dtype: "int64" });

describe("comparisons that give a boolean", () => {
  test("equal", () => {
    expect(nabla.equal(tensor([1, 2]), tensor([1, 2]))).toBe(true);
    expect(nabla.equal(tensor([1, 2]), tensor([1, 3]))).toBe(false);
    expect(nabla.equal(tensor([1, 2]), tensor([[1, 2]]))).toBe(false);
    expect(nabla.equal(tensor([Number.NaN]), tensor([Number.NaN]))).toBe(false);
    expect(nabla.equal(zeros([0]), zeros([0]))).toBe(true);
  });

  test("allclose", () => {
    expect(nabla.allclose(tensor([1, Infinity]), tensor([1.000001, Infinity]))).toBe(true);
    expect(nabla.allclose(tensor([1]), tensor([1.01]))).toBe(false);
    expect(nabla.allclose(tensor([1]), tensor([1.01]), { rtol: 0.1 })).toBe(true);
    expect(nabla.allclose(tensor([Number.NaN]), tensor([Number.NaN]), { equalNan: true })).toBe(true);
    expect(() => nabla.allclose(tensor([1]), tensor([1]), { rtol: Number.NaN })).toThrow(ValueError);
  });

  test("unique of floats: NaN, and 16 bits", () => {
    const { values, inverse, counts } = nabla.unique(tensor([2, Number.NaN, 1, 2, Number.NaN]));
    expect(values.toArray()).toEqual([1, 2, Number.NaN, Number.NaN]);
    expect([inverse.toArray(), counts.toArray()]).toEqual([
      [1, 2, 0, 1, 3],
      [1, 2, 1, 1],
    ]);
    expect(nabla.unique(tensor([1.5, 0.5, 1.5], { dtype: "float16" })).values.toArray()).toEqual([0.5, 1.5]);
    expect(nabla.unique(zeros([0])).values.shape).toEqual([0]);
  });
});

describe("labels", () => {
  const logits = zeros([2, 3]);
  test.each([[3], [-1], [-101]])("%d is out of range", (label) => {
    expect(() => nabla.crossEntropy(logits, labels([0, label])).item()).toThrow(IndexError);
  });
  test("shapes and dtypes", () => {
    expect(() => nabla.crossEntropy(logits, labels([0]))).toThrow(/must have shape \[2\]/);
    expect(() => nabla.crossEntropy(logits, zeros([2]))).toThrow(/class indices must be an int64 tensor/);
    expect(() => nabla.nllLoss(logits, zeros([2]))).toThrow(DTypeError);
    expect(() => nabla.crossEntropy(logits, labels([0, 1]), { weight: zeros([2]) })).toThrow(/each of the 3 classes/);
    expect(() => nabla.crossEntropy(logits, labels([0, 1]), { labelSmoothing: 2 })).toThrow(ValueError);
    expect(() => nabla.crossEntropy(logits, labels([0, 1]), { reduction: "avg" as "mean" })).toThrow(
      /"mean", "sum" or "none"/,
    );
    expect(nabla.crossEntropy(logits, labels([-100, -100])).item()).toBeNaN();
  });
});

test.each<[string, () => unknown, new (message: string) => Error]>([
  ["mseLoss, shapes", () => nabla.mseLoss(zeros([2]), zeros([2, 1])), ShapeError],
  ["mseLoss, integers", () => nabla.mseLoss(labels([1]), labels([1])), DTypeError],
  ["huberLoss, delta", () => nabla.huberLoss(zeros([2]), zeros([2]), { delta: 0 }), ValueError],
  ["smoothL1Loss, beta", () => nabla.smoothL1Loss(zeros([2]), zeros([2]), { beta: -1 }), ValueError],
  ["gaussianNllLoss, variance", () => nabla.gaussianNllLoss(zeros([2, 3]), zeros([2, 3]), zeros([3])), ShapeError],
  [
    "cosineEmbeddingLoss, target",
    () => nabla.cosineEmbeddingLoss(zeros([2, 3]), zeros([2, 3]), zeros([3])),
    ShapeError,
  ],
  ["mean, integers", () => nabla.mean(labels([1])), DTypeError],
  ["sum, dimension", () => nabla.sum(zeros([2]), 1), IndexError],
  ["sum, twice", () => nabla.sum(zeros([2, 2]), [0, -2]), IndexError],
  ["max, empty", () => nabla.max(zeros([0])), ShapeError],
  ["argmin, empty", () => nabla.argmin(zeros([2, 0]), 1), ShapeError],
  ["median, empty", () => nabla.median(zeros([0])), ShapeError],
  ["topk, too many", () => nabla.topk(zeros([2]), 3), ShapeError],
  ["norm, p", () => nabla.norm(zeros([2]), Number.NaN), ValueError],
  ["variance, correction", () => nabla.variance(zeros([2]), 0, { correction: Number.NaN }), ValueError],
  ["softmax, integers", () => nabla.softmax(labels([1])), DTypeError],
  ["softmax, dimension", () => nabla.softmax(zeros([2]), 1), IndexError],
  ["glu, odd", () => nabla.glu(zeros([3])), ShapeError],
  ["prelu, weight", () => nabla.prelu(zeros([2, 3]), zeros([2])), ShapeError],
  ["hardtanh, limits", () => nabla.hardtanh(zeros([2]), 1, -1), ValueError],
  ["gelu, approximate", () => nabla.gelu(zeros([2]), "erf" as "none"), ValueError],
  ["leakyRelu, slope", () => nabla.leakyRelu(zeros([2]), Number.NaN), ValueError],
  ["leakyRelu_, slope", () => nabla.leakyRelu_(zeros([2], { requiresGrad: true }).clone(), -1), ValueError],
  ["threshold_, value", () => nabla.threshold_(zeros([2], { requiresGrad: true }).clone(), 0, 1), ValueError],
  ["layerNorm, shape", () => nabla.layerNorm(zeros([2, 3]), 4), ShapeError],
  ["layerNorm, weight", () => nabla.layerNorm(zeros([2, 3]), 3, { weight: zeros([2]) }), ShapeError],
  ["layerNorm, eps", () => nabla.layerNorm(zeros([2, 3]), 3, { eps: -1 }), ValueError],
  ["batchNorm, one value", () => nabla.batchNorm(zeros([1, 3]), { training: true }), ValueError],
  ["batchNorm, no statistics", () => nabla.batchNorm(zeros([2, 3])), ValueError],
  ["batchNorm, momentum", () => nabla.batchNorm(zeros([2, 3]), { training: true, momentum: 2 }), ValueError],
  ["groupNorm, groups", () => nabla.groupNorm(zeros([2, 3, 2]), 2), ShapeError],
  ["instanceNorm, one position", () => nabla.instanceNorm(zeros([2, 3])), ValueError],
  ["relu of a number", () => nabla.relu(3 as unknown as nabla.Tensor), ValueError],
])("%s", (_, act, error) => {
  expect(act).toThrow(error);
});

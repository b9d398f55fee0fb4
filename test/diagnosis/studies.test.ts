// learningCurve, validationCurve and biasVariance: identities that hold exactly, and cases whose answer is known.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  biasVariance,
  data,
  estimatorOf,
  learningCurve,
  nn,
  randn,
  type Tensor,
  tensor,
  validationCurve,
} from "../../lib/index.js";
import { normal } from "./curves.js";

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/** Predicts the mean of what it has seen. */
const constant = (_x: unknown, y: readonly number[]) => {
  const level = mean(y);
  return (x: readonly unknown[]) => x.map(() => level);
};
/** Least squares of a polynomial, by the normal equations in float64. */
const polynomial = (degree: number) => (x: readonly number[], y: readonly number[]) => {
  const rows = x.map((v) => Array.from({ length: degree + 1 }, (_, k) => v ** k));
  const n = degree + 1;
  const a = Array.from({ length: n }, (_, i) => [
    ...Array.from({ length: n }, (_, j) => rows.reduce((s, r) => s + r[i] * r[j], i === j ? 1e-9 : 0)),
    rows.reduce((s, r, k) => s + r[i] * y[k], 0),
  ]);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (j === i) continue;
      const f = a[j][i] / a[i][i];
      for (let k = i; k <= n; k++) a[j][k] -= f * a[i][k];
    }
  }
  const w = a.map((row, i) => row[n] / row[i]);
  return (at: readonly number[]) => at.map((v) => w.reduce((s, c, k) => s + c * v ** k, 0));
};
/** The class of the nearest sample. */
const nearest = (x: readonly number[], y: readonly number[]) => (at: readonly number[]) =>
  at.map((v) => y[x.reduce((best, u, i) => (Math.abs(u - v) < Math.abs(x[best] - v) ? i : best), 0)]);

const line = (n: number, seed: number, noise = 0.3) => {
  const z = normal(2 * n, seed);
  const x = Array.from({ length: n }, (_, i) => (2 * i) / (n - 1) - 1);
  return { x, y: x.map((v, i) => Math.sin(3 * v) + noise * z[i]) };
};

describe("learningCurve", () => {
  test("trains on the sizes asked for, validates on the folds, each sample once", async () => {
    const data = { x: Array.from({ length: 20 }, (_, i) => i), y: Array.from({ length: 20 }, (_, i) => i) };
    const seen: number[][] = [];
    const validated: number[] = [];
    const curve = await learningCurve(
      (x: number[]) => {
        seen.push(x);
        return (at: number[]) => {
          if (!at.every((v) => x.includes(v))) validated.push(...at);
          return at;
        };
      },
      data,
      { sizes: [2, 8, 16], folds: 5, seed: 3 },
    );
    expect(curve.sizes).toEqual([2, 8, 16]);
    expect(seen.map((x) => x.length)).toEqual(Array.from({ length: 5 }, () => [2, 8, 16]).flat());
    for (let k = 0; k < seen.length; k += 3) {
      expect(seen[k + 1].slice(0, 2)).toEqual(seen[k]); // a larger set holds the smaller one
      expect(new Set(seen[k + 2]).size).toBe(16);
    }
    // Three sizes, so each sample is validated three times.
    expect(validated.sort((a, b) => a - b)).toEqual(data.x.flatMap((v) => [v, v, v]));
    expect(curve.validation.mean).toEqual([0, 0, 0]);
  });

  test("is that of a learner whose curve is known: the mean of n numbers", async () => {
    // Variance 1, so validation has 1 + 1/n and training 1 − 1/n.
    const y = normal(1000, 7);
    const curve = await learningCurve(constant, { x: y, y }, { sizes: [4, 10, 40], folds: 100, seed: 1 });
    for (const [i, n] of curve.sizes.entries()) {
      expect(Math.abs(curve.validation.mean[i] - (1 + 1 / n))).toBeLessThan(0.12);
      expect(Math.abs(curve.train.mean[i] - (1 - 1 / n))).toBeLessThan(0.12);
    }
    expect(curve.validation.mean[0]).toBeGreaterThan(curve.validation.mean[2]);
    const first = curve.validation.scores[0];
    expect(curve.validation.std[0]).toBeCloseTo(Math.sqrt(mean(first.map((v) => (v - mean(first)) ** 2))), 12);
  });

  test("repeats with its seed and differs with another", async () => {
    const data = line(30, 2);
    const run = (seed: number) => learningCurve(polynomial(3), data, { sizes: [0.5, 1], seed });
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
  });

  test("takes tensors, asynchronous estimators and scores of classes", async () => {
    const x = tensor(Array.from({ length: 12 }, (_, i) => [i, 1]));
    const y = tensor(Array.from({ length: 12 }, (_, i) => i % 3));
    const curve = await learningCurve(
      async () => async (at: Tensor) => {
        const labels = at.slice(1, 0, 1).reshape([-1]).toArray() as number[];
        return tensor(labels.map((v) => [0, 1, 2].map((c) => (c === v % 3 ? 2 : -1)))); // scores [n, 3]
      },
      { x, y },
      { folds: 3, score: "accuracy" },
    );
    expect(curve.validation.mean.at(-1)).toBe(1);
  });

  test("takes compiled models", async () => {
    const { x, y } = data.makeBlobs({ samples: 60, centers: 2, seed: 2 });
    const make = () =>
      new nn.Sequential([new nn.Linear(2, 1), new nn.Sigmoid()]).compile({ optimizer: "adam", loss: "bce" });
    const estimator = estimatorOf(make, { epochs: 1, seed: 1 });
    const curve = await learningCurve(
      estimator,
      { x, y: y.to("float32") },
      { folds: 2, sizes: [1], score: "accuracy" },
    );
    expect(curve.validation.scores[0].every((v) => v >= 0 && v <= 1)).toBe(true);
  });

  test.each([
    ["no estimator", [3, { x: [1], y: [1] }], /a function is needed/],
    ["an estimator that does not predict", [() => 3, { x: [1, 2, 3, 4, 5], y: [1, 2, 3, 4, 5] }], /predict function/],
    ["targets that do not fit", [constant, { x: [1, 2], y: [1] }], /got 2 samples and 1 targets/],
    [
      "sizes that are too large",
      [constant, { x: [1, 2, 3, 4], y: [1, 2, 3, 4] }, { folds: 2, sizes: [3] }],
      /from 1 to 2/,
    ],
    ["an unknown score", [constant, { x: [1, 2], y: [1, 2] }, { folds: 2, score: "r3" }], /score is meanSquaredError/],
    [
      "too few predictions",
      [() => () => [1], { x: [1, 2, 3, 4, 5, 6], y: [1, 2, 3, 4, 5, 6] }, { folds: 2 }],
      /predictions: 3 values are needed, got 1|predictions: 2 values/,
    ],
  ] as const)("refuses %s", async (_, args, message) => {
    await expect(learningCurve(...(args as unknown as Parameters<typeof learningCurve>))).rejects.toThrow(message);
  });
});

test("validationCurve finds the capacity that fits", async () => {
  const degrees = [0, 1, 3, 12];
  const curve = await validationCurve(polynomial, degrees, line(30, 5), { folds: 5, seed: 2 });
  const { mean: train } = curve.train;
  const { mean: validation } = curve.validation;
  for (let i = 1; i < degrees.length; i++) expect(train[i]).toBeLessThan(train[i - 1]);
  expect(validation.indexOf(Math.min(...validation))).toBe(2);
  expect(curve.values).toEqual(degrees);
});

describe("biasVariance", () => {
  test("of a mean is known: bias² of the level, variance σ²/n, noise σ²", async () => {
    const n = 8;
    const sigma = 0.5;
    const found = await biasVariance({
      fit: constant,
      sample: (draw) => ({ x: new Array(n).fill(0), y: normal(n, draw).map((z) => 1 + sigma * z) }),
      test: { x: [0], y: Array.from({ length: 2000 }, (_, i) => [1.7 + sigma * normal(1, 10_000 + i)[0]]) },
      draws: 2000,
    });
    expect(found.bias2).toBeCloseTo(0.49, 1);
    expect(found.variance).toBeCloseTo(sigma ** 2 / n, 2);
    expect(found.noise).toBeCloseTo(sigma ** 2, 1);
    expect(found.total).toBeCloseTo(found.bias2 + found.variance + found.noise, 10);
  });

  test("a larger degree has less bias and more variance", async () => {
    const at = [-0.9, -0.4, 0, 0.5, 0.8];
    const parts = (degree: number) =>
      biasVariance({
        fit: polynomial(degree),
        sample: (draw) => line(12, draw),
        test: { x: at, y: at.map((v) => Math.sin(3 * v)) },
        draws: 100,
      });
    const [small, middle, large] = [await parts(0), await parts(3), await parts(9)];
    expect(small.bias2).toBeGreaterThan(10 * middle.bias2);
    expect(large.variance).toBeGreaterThan(3 * middle.variance);
    expect(middle.total).toBeLessThan(Math.min(small.total, large.total));
    expect(small.noise).toBe(0);
  });

  test.each(["squared", "zeroOne"] as const)("%s: the parts add up at every point", async (loss) => {
    const table = (rows: number, columns: number) =>
      fc.array(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: columns, maxLength: columns }), {
        minLength: rows,
        maxLength: 12,
      });
    await fc.assert(
      fc.asyncProperty(table(2, 3), table(1, 3), async (predictions, targets) => {
        const found = await biasVariance({
          fit: (x: number[]) => () => predictions[x[0]],
          sample: (draw) => ({ x: [draw], y: [0] }),
          test: { x: [0, 1, 2], y: targets },
          draws: predictions.length,
          loss,
        });
        for (const [i, p] of found.points.entries()) {
          expect(p.bias2 + p.netVariance + p.netNoise).toBeCloseTo(p.total, 10);
          const cost = (a: number, b: number): number => (loss === "squared" ? (a - b) ** 2 : a === b ? 0 : 1);
          const direct = mean(predictions.map((row) => mean(targets.map((t) => cost(row[i], t[i])))));
          expect(p.total).toBeCloseTo(direct, 12);
          if (loss === "zeroOne") expect([0, 1]).toContain(p.bias2);
        }
        expect(found.bias2 + found.netVariance + found.netNoise).toBeCloseTo(found.total, 10);
      }),
      { numRuns: 60 },
    );
  });

  test("zeroOne: variance helps where the main prediction is wrong", async () => {
    const found = await biasVariance({
      fit: (x: number[]) => () => [x[0] % 3 === 0 ? 1 : 0], // class 0 in two of three draws, class 1 in one
      sample: (draw) => ({ x: [draw], y: [0] }),
      test: { x: [0], y: [1] },
      draws: 30,
      loss: "zeroOne",
    });
    expect(found.points[0]).toMatchObject({ main: 0, optimal: 1, bias2: 1, noise: 0 });
    expect(found.variance).toBeCloseTo(1 / 3, 12);
    expect(found.netVariance).toBeCloseTo(-1 / 3, 12);
    expect(found.total).toBeCloseTo(2 / 3, 12);
  });

  test("bootstrap: as many samples with replacement, the same with the same seed", async () => {
    const data = { x: Array.from({ length: 40 }, (_, i) => i), y: Array.from({ length: 40 }, (_, i) => i % 2) };
    const sets: number[][] = [];
    const run = (seed: number) =>
      biasVariance({
        fit: (x: number[], y: number[]) => {
          sets.push(x);
          return nearest(x, y);
        },
        bootstrap: data,
        test: data,
        draws: 20,
        loss: "zeroOne",
        seed,
      });
    const first = await run(1);
    expect(sets.every((set) => set.length === 40)).toBe(true);
    // A share of 1 − 1/e of the samples is in a set.
    expect(mean(sets.map((set) => new Set(set).size / 40))).toBeCloseTo(1 - 1 / Math.E, 1);
    expect(await run(1)).toEqual(first);
    expect((await run(2)).total).not.toBe(first.total);
    expect(first.variance).toBeGreaterThan(0.1);
  });

  test("takes tensors", async () => {
    const found = await biasVariance({
      fit: (_x: Tensor, y: Tensor) => (at: Tensor) => at.mul(0).add(y.mean()),
      sample: () => ({ x: randn([10, 1]), y: randn([10, 1]) }),
      test: { x: tensor([[0], [1]]), y: tensor([[0], [0]]) },
      draws: 20,
    });
    expect(found.points.length).toBe(2);
    expect(found.total).toBeCloseTo(found.bias2 + found.variance, 8);
  });

  test.each([
    ["no source of samples", {}, /either from sample\(draw\) or from bootstrap/],
    ["two sources", { sample: () => ({ x: [1], y: [1] }), bootstrap: { x: [1], y: [1] } }, /either from/],
    ["one draw", { bootstrap: { x: [1], y: [1] }, draws: 1 }, /an integer ≥ 2, got the number 1/],
    ["an unknown loss", { bootstrap: { x: [1], y: [1] }, loss: "hinge" }, /"squared" or "zeroOne"/],
    ["a misspelt option", { bootstrap: { x: [1], y: [1] }, drawz: 3 }, /did you mean draws/],
  ])("refuses %s", async (_, options, message) => {
    const all = { fit: constant, test: { x: [1], y: [1] }, ...options };
    await expect(biasVariance(all as never)).rejects.toThrow(message);
  });
});

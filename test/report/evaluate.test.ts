// evaluateForReport: models whose decisions are known.
import { describe, expect, test } from "vitest";
import { data, nn, type Tensor, tensor } from "../../lib/index.js";
import { evaluateForReport } from "../../lib/report/index.js";

describe("evaluateForReport", () => {
  test("a classifier of two inputs: confusion, accuracy, boundary", async () => {
    // Class 1 right of x = 0.5, as scores of two classes.
    const model = (x: Tensor): Tensor => {
      const right = x.slice(1, 0, 1).sub(0.5);
      return tensor((right.toArray() as number[][]).map(([v]) => [-v, v]));
    };
    const x = tensor([
      [0, 0],
      [1, 0],
      [0.2, 1],
      [0.9, 1],
    ]);
    const found = await evaluateForReport(
      model,
      { x, y: tensor([0, 1, 1, 1], { dtype: "int64" }) },
      {
        labels: ["left", "right"],
        inputs: ["width", "height"],
      },
    );
    expect(found.confusion).toEqual({
      labels: ["left", "right"],
      matrix: [
        [1, 0],
        [1, 2],
      ],
    });
    expect(found.metrics).toEqual({ accuracy: 0.75 });
    const { boundary } = found;
    expect(boundary?.inputs).toEqual(["width", "height"]);
    expect(boundary?.points).toEqual([
      [0, 0, 0],
      [1, 0, 1],
      [expect.closeTo(0.2, 5), 1, 1],
      [expect.closeTo(0.9, 5), 1, 1],
    ]);
    expect(boundary?.x[0]).toBeLessThan(0);
    for (const row of boundary?.grid ?? []) {
      expect(row).toEqual(boundary?.x.map((v) => (v > 0.5 ? 1 : 0)));
    }
    expect(boundary?.grid.length).toBe(boundary?.y.length);
  });

  test("one probability or logit a sample, in batches", async () => {
    const { x, y } = data.makeBlobs({ samples: 50, centers: 2, features: 3, seed: 1 });
    const first = (t: Tensor): Tensor => t.slice(1, 0, 1);
    const probability = await evaluateForReport((t) => first(t).sigmoid(), { x, y }, { batchSize: 7 });
    const logit = await evaluateForReport(first, { x, y }, { threshold: 0 });
    expect(probability).toEqual(logit);
    expect(probability.boundary).toBeUndefined(); // three inputs
    expect(probability.confusion?.matrix.flat().reduce((a, b) => a + b)).toBe(50);
  });

  test("a regression of one input: errors and the curve, with the training samples", async () => {
    const found = await evaluateForReport(
      (x) => x.mul(2),
      { x: tensor([[0], [1], [2]]), y: tensor([[0.5], [2], [4]]) },
      { train: { x: tensor([[-1], [3]]), y: tensor([[-2], [6]]) }, inputs: ["time"] },
    );
    expect(found.metrics?.meanSquaredError).toBeCloseTo(0.25 / 3, 6);
    expect(found.metrics?.meanAbsoluteError).toBeCloseTo(0.5 / 3, 6);
    const { curve } = found;
    expect([curve?.x[0], curve?.x.at(-1)]).toEqual([-1, 3]);
    for (const [i, v] of (curve?.x ?? []).entries()) expect(curve?.y[i]).toBeCloseTo(2 * v, 4);
    expect(curve).toMatchObject({
      validation: [
        [0, 0.5],
        [1, 2],
        [2, 4],
      ],
      train: [
        [-1, -2],
        [3, 6],
      ],
      inputs: ["time"],
    });
  });

  test("leaves a module in the mode in which it was", async () => {
    const model = new nn.Sequential([new nn.Linear(1, 4), new nn.Dropout(0.9), new nn.Linear(4, 1)]);
    const samples = { x: tensor([[0], [1]]), y: tensor([[0], [1]]) };
    const [a, b] = [await evaluateForReport(model, samples), await evaluateForReport(model, samples)];
    expect(a).toEqual(b); // no dropout
    expect(model.training).toBe(true);
    model.eval();
    await evaluateForReport(model, samples);
    expect(model.training).toBe(false);
  });

  test("many samples are thinned for the picture only", async () => {
    const { x, y } = data.makeMoons({ samples: 2000, seed: 1 });
    const found = await evaluateForReport((t) => t, { x, y });
    expect(found.boundary?.points.length).toBe(600);
    expect(found.confusion?.matrix.flat().reduce((a, b) => a + b)).toBe(2000);
  });

  test("refuses what does not fit", async () => {
    const x = tensor([[1, 2]]);
    await expect(evaluateForReport((t) => t, { x, y: tensor([1, 2]) })).rejects.toThrow(/got 1 samples, 2 targets/);
    const y = tensor([1], { dtype: "int64" });
    await expect(evaluateForReport((t) => t, { x, y }, { labels: ["a"] })).rejects.toThrow(/1 labels for 2 classes/);
    await expect(evaluateForReport((t) => t, { x, y }, { batchSize: 0 })).rejects.toThrow(/batchSize/);
  });
});

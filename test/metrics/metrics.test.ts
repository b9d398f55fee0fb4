// Metrics against scikit-learn's (scripts/figures/metrics.py), over batches of unequal size.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { metrics, oneHot, type Tensor, tensor } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const figures = JSON.parse(readFileSync(new URL("../figures/metrics.json", import.meta.url), "utf8"));

onEveryDevice("metrics", (device) => {
  const floats = (values: unknown) => tensor(values as number[], { device, dtype: "float64" });
  const ints = (values: number[]) => tensor(values, { device, dtype: "int64" });

  /** The metric after batches of 7 samples. */
  async function over<R>(metric: metrics.Metric<R>, prediction: Tensor, target: Tensor): Promise<R> {
    for (let round = 0; round < 2; round++) {
      metric.reset(); // the second round must not see the first
      for (let i = 0; i < prediction.shape[0]; i += 7)
        metric.update(prediction.slice(0, i, i + 7), target.slice(0, i, i + 7));
    }
    return metric.compute();
  }
  const binary = () => [floats(figures.binary.scores), ints(figures.binary.labels)] as const;
  const many = () => [floats(figures.many.scores), ints(figures.many.labels)] as const;

  test("accuracy and confusion, of two classes, of many, with indices or one-hot", async () => {
    expect(await over(new metrics.Accuracy(), ...binary())).toBeCloseTo(figures.accuracy.binary, 12);
    const [scores, labels] = binary();
    expect(await over(new metrics.Accuracy(), scores.unsqueeze(1), labels)).toBeCloseTo(figures.accuracy.binary, 12);
    expect(await over(new metrics.Accuracy(), scores.unsqueeze(1), labels.unsqueeze(1).to("float32"))).toBeCloseTo(
      figures.accuracy.binary,
      12,
    );
    expect(await over(new metrics.Accuracy({ threshold: 0 }), scores.sub(0.5), labels)).toBeCloseTo(
      figures.accuracy.binary,
      12,
    );
    const [logits, classes] = many();
    expect(await over(new metrics.Accuracy(), logits, classes)).toBeCloseTo(figures.accuracy.many, 12);
    expect(await over(new metrics.Accuracy(), logits, classes.unsqueeze(1))).toBeCloseTo(figures.accuracy.many, 12);
    expect(await over(new metrics.Accuracy(), logits, oneHot(classes, 4).to("float32"))).toBeCloseTo(
      figures.accuracy.many,
      12,
    );
    expect(await over(new metrics.ConfusionMatrix(), ...binary())).toEqual(figures.confusion.binary);
    expect(await over(new metrics.ConfusionMatrix(), ...many())).toEqual(figures.confusion.many);
  });

  test.each([
    ["precision", metrics.Precision],
    ["recall", metrics.Recall],
    ["f1", metrics.F1Score],
  ] as const)("%s in all averages", async (name, Metric) => {
    const expected = figures[name];
    expect(await over(new Metric(), ...binary())).toBeCloseTo(expected.binary, 12);
    expect(await over(new Metric(), ...many())).toBeCloseTo(expected.macro, 12);
    for (const average of ["micro", "macro", "weighted"] as const) {
      expect(await over(new Metric({ average }), ...many()), average).toBeCloseTo(expected[average], 12);
    }
    await expect(over(new Metric({ average: "binary" }), ...many())).rejects.toThrow(/is for two classes, there are 4/);
    expect(() => new Metric({ average: "mean" as "macro" })).toThrow(
      /average must be binary, micro, macro or weighted/,
    );
  });

  test("ranking, regression, perplexity, means", async () => {
    expect(await over(new metrics.TopKAccuracy(2), ...many())).toBeCloseTo(figures.top2, 12);
    expect(await over(new metrics.AUC(), ...binary())).toBeCloseTo(figures.auc, 12);
    const regression = [floats(figures.regression.predictions), floats(figures.regression.targets)] as const;
    expect(await over(new metrics.MeanSquaredError(), ...regression)).toBeCloseTo(figures.mse, 10);
    expect(await over(new metrics.RootMeanSquaredError(), ...regression)).toBeCloseTo(Math.sqrt(figures.mse), 10);
    expect(await over(new metrics.MeanAbsoluteError(), ...regression)).toBeCloseTo(figures.mae, 10);
    expect(await over(new metrics.R2Score(), ...regression)).toBeCloseTo(figures.r2, 10);
    expect(await over(new metrics.Perplexity(), ...many())).toBeCloseTo(figures.perplexity, 10);
    const mean = new metrics.Mean({ name: "loss" });
    mean.update(floats([1, 2]));
    mean.update(floats(6));
    expect([mean.name, await mean.compute()]).toEqual(["loss", 3]);
  });

  test("what is not defined is NaN, what does not fit is refused", async () => {
    expect(await new metrics.Accuracy().compute()).toBeNaN();
    expect(await new metrics.MeanSquaredError().compute()).toBeNaN();
    expect(await new metrics.AUC().compute()).toBeNaN();
    const [logits, classes] = many();
    expect(() => new metrics.MeanSquaredError().update(logits, classes)).toThrow(/must have one shape/);
    expect(() => new metrics.Accuracy().update(logits, classes.slice(0, 0, 3))).toThrow(/must have one shape/);
    const wrong = new metrics.Accuracy();
    wrong.update(logits, classes.add(1));
    await expect(wrong.compute()).rejects.toThrow(/index 4 is out of range/);
  });
});

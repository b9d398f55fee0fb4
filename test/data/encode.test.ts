// Labels as numbers, balancing weights, made-up classification tasks, values that are not finite.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { data, type Tensor, tensor, zeros } from "../../lib/index.js";

const figures = JSON.parse(readFileSync(new URL("../figures/data.json", import.meta.url), "utf8"));

test("labels become the places of their sorted classes, and come back", () => {
  const encoder = new data.LabelEncoder<string>();
  expect(() => encoder.classes).toThrow(/call fit/);
  const y = encoder.fitTransform(["dog", "cat", "dog", "ant"]);
  expect([y.dtype, y.toArray(), encoder.classes]).toEqual(["int64", [2, 1, 2, 0], ["ant", "cat", "dog"]]);
  expect(encoder.inverseTransform(y)).toEqual(["dog", "cat", "dog", "ant"]);
  expect(() => encoder.transform(["cat", "dogg"])).toThrow(
    /label 1 is the string "dogg".*did you mean "dog"\? they are ant, cat, dog/,
  );
  expect(() => encoder.inverseTransform([3])).toThrow(/number 0 is 3; there are 3 classes/);
  const again = new data.LabelEncoder<string>();
  again.loadStateDict(JSON.parse(JSON.stringify(encoder.stateDict())));
  expect(again.transform(["cat"]).toArray()).toEqual([1]);
  expect(new data.LabelEncoder().fit([10, 9, -1]).classes).toEqual([-1, 9, 10]);
  expect(new data.LabelEncoder().fitTransform(tensor([7, 3, 7], { dtype: "int64" })).toArray()).toEqual([1, 0, 1]);
  expect(() => new data.LabelEncoder().fit([])).toThrow(/there are no labels/);
  expect(() => new data.LabelEncoder().fit([1, Number.NaN])).toThrow(/label 1 is the number NaN/);
  expect(() => new data.LabelEncoder().fit(5 as never)).toThrow(/an array or a tensor of labels is needed/);
  const labels = fc.array(fc.oneof(fc.string(), fc.boolean(), fc.integer()), { minLength: 1 });
  fc.assert(
    fc.property(labels, (list) => {
      const e = new data.LabelEncoder();
      expect(e.inverseTransform(e.fitTransform(list))).toEqual(list);
    }),
    { numRuns: 50 },
  );
});

test("balancing weights are scikit-learn's", () => {
  const weights = data.computeClassWeight(figures.labels);
  expect(weights.toArray()).toEqual((figures.balanced as number[]).map((v) => Math.fround(v)));
  expect(data.computeClassWeight(tensor(figures.labels, { dtype: "int64" })).equal(weights)).toBe(true);
  expect(() => data.computeClassWeight([0, 2])).toThrow(/class 1 of 3 has no samples/);
  expect(() => data.computeClassWeight([0, 1], { classes: 3 })).toThrow(/class 2 of 3 has no samples/);
  expect(() => data.computeClassWeight([0, -1])).toThrow(/label 1 is -1, which is none of the classes/);
  expect(() => data.computeClassWeight([])).toThrow(/0 labels of 0 classes/);
  expect(() => data.computeClassWeight(zeros([3]))).toThrow(/labels are whole numbers, got float32/);
});

test("makeClassification: clouds at corners, features that combine and repeat others, shares, flipped labels", () => {
  const options = {
    samples: 300,
    features: 9,
    informative: 3,
    redundant: 2,
    repeated: 2,
    classes: 3,
    clustersPerClass: 1,
  };
  const plain = data.makeClassification({ ...options, flipY: 0, shuffle: false, classSep: 50, seed: 4 });
  expect([plain.x.shape, plain.x.dtype, plain.y.dtype, plain.informative]).toEqual([
    [300, 9],
    "float32",
    "int64",
    [0, 1, 2],
  ]);
  const rows = plain.x.toArray() as number[][];
  const labels = plain.y.toArray() as number[];
  expect(labels.filter((l) => l === 0).length).toBe(100);
  // Far apart, a class is the signs of its informative features.
  const corner = (row: number[]) => row.slice(0, 3).map(Math.sign).join();
  const corners = labels.map((l, i) => [l, corner(rows[i])].join());
  expect(new Set(corners).size).toBe(3);
  expect(new Set(rows.map(corner)).size).toBe(3);
  expect(rows.every((row) => [5, 6].every((j) => row.slice(0, 5).includes(row[j])))).toBe(true);
  // Redundant ones are linear in the informative ones: the fit leaves nothing.
  const informative = plain.x.slice(1, 0, 3).double();
  const normal = informative.t().matmul(informative);
  expect(
    rank(
      plain.x
        .slice(1, 0, 5)
        .double()
        .t()
        .matmul(plain.x.slice(1, 0, 5).double())
        .toArray() as number[][],
    ),
  ).toBe(3);
  expect(rank(normal.toArray() as number[][])).toBe(3);
  expect(rows.map((r) => r[8]).reduce((a, b) => a + b) / 300).toBeCloseTo(0, 0);

  const mixed = data.makeClassification({ ...options, flipY: 0.5, weights: [0.7, 0.2, 0.1], seed: 4 });
  expect(mixed.informative.length).toBe(3);
  const count = (y: Tensor, label: number) => (y.toArray() as number[]).filter((l) => l === label).length;
  // Half of the labels are drawn anew: 0.7 · 0.5 + 0.5 / 3 of them are 0.
  expect(count(mixed.y, 0) / 300).toBeCloseTo(0.35 + 1 / 6, 1);
  expect(mixed.x.equal(data.makeClassification({ ...options, flipY: 0.5, weights: [0.7, 0.2, 0.1], seed: 4 }).x)).toBe(
    true,
  );
  expect(mixed.x.equal(data.makeClassification({ ...options, flipY: 0.5, weights: [0.7, 0.2, 0.1], seed: 5 }).x)).toBe(
    false,
  );
  expect(data.makeClassification({ hypercube: false }).x.shape).toEqual([100, 20]);
  for (const [bad, message] of [
    [{ informative: 1 }, /4 clouds need as many corners, 1 informative features have 2/],
    [{ features: 3 }, /2 informative, 2 redundant and 0 repeated features are more than 3/],
    [{ flipY: 2 }, /flipY must be a share/],
    [{ weights: [1] }, /weights must be 2 shares that sum to 1, got 1/],
    [{ samples: 0 }, /samples must be an integer ≥ 1/],
    [{ flip_y: 0.1 }, /unknown option flip_y; did you mean flipY\?/],
  ] as [object, RegExp][]) {
    expect(() => data.makeClassification(bad)).toThrow(message);
  }
});

/** Rank by elimination with pivots, of a small symmetric matrix, relative to its largest element. */
function rank(m: number[][]): number {
  const rows = m.map((r) => [...r]);
  const tiny = 1e-9 * Math.max(...rows.flat().map(Math.abs));
  let found = 0;
  for (let c = 0; c < rows.length; c++) {
    const pivot = rows.findIndex(
      (r, i) => i >= found && Math.abs(r[c]) > tiny && r.slice(0, c).every((v) => Math.abs(v) <= tiny),
    );
    if (pivot < 0) continue;
    [rows[found], rows[pivot]] = [rows[pivot], rows[found]];
    for (let i = found + 1; i < rows.length; i++) {
      const f = rows[i][c] / rows[found][c];
      rows[i] = rows[i].map((v, j) => (j < c ? v : j === c ? 0 : v - f * rows[found][j]));
    }
    found++;
  }
  return found;
}

test("makeFriedman1 is its formula", () => {
  const { x, y } = data.makeFriedman1({ samples: 50, features: 6 });
  (x.toArray() as number[][]).forEach(([a, b, c, d, e], i) => {
    const value = 10 * Math.sin(Math.PI * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e;
    expect((y.toArray() as number[])[i]).toBeCloseTo(value, 4);
  });
  expect(() => data.makeFriedman1({ features: 4 })).toThrow(/features must be an integer ≥ 5/);
});

test("values that are not finite are named with their sample, where that is asked for", async () => {
  const x = tensor([[1, 2], [3, 4], [5, Number.NaN], [7, 8]]); // biome-ignore format: a matrix
  const dataset = new data.TensorDataset(x, tensor([0, 1, 2, 3], { dtype: "int64" }));
  const run = async (options: object, set: data.Dataset<Tensor[]> = dataset) => {
    let n = 0;
    for await (const _ of new data.DataLoader(set, { batchSize: 2, ...options })) n++;
    return n;
  };
  expect(await run({})).toBe(2);
  await expect(run({ checkFinite: true })).rejects.toThrow(
    "DataLoader: sample 2 has NaN at [1] of member 0; all values were",
  );
  await expect(run({ checkFinite: true, shuffle: true, seed: 3 })).rejects.toThrow("sample 2 has NaN at [1]");
  const half = new data.TensorDataset(tensor([1, Number.POSITIVE_INFINITY], { dtype: "float16" }));
  await expect(run({ checkFinite: true }, half)).rejects.toThrow("sample 1 has Infinity of member 0");
  expect(await run({ checkFinite: true }, new data.Subset(dataset, [0, 1, 3]))).toBe(2);
});

// Datasets, the loader's order and resumption, splits, scalers and made-up data.
import { expect, test } from "vitest";
import { arange, data, IndexError, manualSeed, ShapeError, type Tensor, tensor, ValueError } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const { DataLoader, TensorDataset } = data;

class Numbers extends data.Dataset<number> {
  calls = 0;
  constructor(readonly length: number) {
    super();
  }
  get(i: number): number {
    this.calls++;
    return i;
  }
}

async function drain(loader: AsyncIterable<Tensor>, most = Number.POSITIVE_INFINITY): Promise<number[][]> {
  const seen: number[][] = [];
  for await (const batch of loader) {
    seen.push(batch.toArray() as number[]);
    if (seen.length === most) break;
  }
  return seen;
}
const loaderOf = (n: number, options: object) =>
  new DataLoader(new Numbers(n) as unknown as data.Dataset<Tensor>, options);

test("every sample once an epoch, in batches; the odd last one kept or dropped", async () => {
  expect(await drain(loaderOf(7, { batchSize: 3 }))).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
  const dropping = loaderOf(7, { batchSize: 3, dropLast: true });
  expect(dropping.length).toBe(2);
  expect(await drain(dropping)).toEqual([
    [0, 1, 2],
    [3, 4, 5],
  ]);
  const shuffled = loaderOf(50, { batchSize: 8, shuffle: true, seed: 1 });
  const epochs = [await drain(shuffled), await drain(shuffled)];
  for (const epoch of epochs) {
    expect(epoch.map((b) => b.length)).toEqual([8, 8, 8, 8, 8, 8, 2]);
    expect(epoch.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  }
  expect(epochs[0]).not.toEqual(epochs[1]);
  expect(await drain(loaderOf(50, { batchSize: 8, shuffle: true, seed: 1 }))).toEqual(epochs[0]);
  expect(await drain(loaderOf(50, { batchSize: 8, shuffle: true, seed: 2 }))).not.toEqual(epochs[0]);
});

test("manualSeed decides the orders of loaders without a seed", async () => {
  const order = async () => {
    manualSeed(5);
    return [
      await drain(loaderOf(20, { shuffle: true, batchSize: 20 })),
      await drain(loaderOf(20, { shuffle: true, batchSize: 20 })),
    ];
  };
  const [a, b] = await order();
  expect(await order()).toEqual([a, b]);
  expect(a).not.toEqual(b);
});

test("a loader goes on from any position as if it had never stopped", async () => {
  const options = { batchSize: 4, shuffle: true };
  const whole = loaderOf(18, { ...options, seed: 9 });
  const all = [await drain(whole), await drain(whole), await drain(whole)].flat();
  for (let stop = 1; stop < 12; stop++) {
    const first = loaderOf(18, { ...options, seed: 9 });
    const seen: number[][] = [];
    while (seen.length < stop) seen.push(...(await drain(first, stop - seen.length)));
    const resumed = loaderOf(18, options);
    resumed.loadStateDict(JSON.parse(JSON.stringify(first.stateDict())));
    while (seen.length < all.length) seen.push(...(await drain(resumed)));
    expect(seen).toEqual(all);
  }
});

test("batches are prepared ahead, no further than asked; errors come in their turn", async () => {
  const dataset = new Numbers(100);
  const loader = new DataLoader(dataset as unknown as data.Dataset<Tensor>, { batchSize: 10, prefetch: 2 });
  await drain(loader, 1);
  expect(dataset.calls).toBe(30);
  class Broken extends Numbers {
    override get(i: number): number {
      if (i === 5) throw new Error("sample 5 is broken");
      return i;
    }
  }
  const broken = new DataLoader(new Broken(8) as unknown as data.Dataset<Tensor>, { batchSize: 2 });
  const seen: number[][] = [];
  const read = async () => {
    for await (const b of broken) seen.push(b.toArray() as number[]);
  };
  await expect(read()).rejects.toThrow("sample 5 is broken");
  expect(seen).toEqual([
    [0, 1],
    [2, 3],
  ]);
});

test("splits and folds: disjoint, complete, stratified", () => {
  const labels = Array.from({ length: 60 }, (_, i) => (i < 40 ? "a" : i < 55 ? "b" : "c"));
  const dataset = new Numbers(60);
  const [train, test, rest] = data.split(dataset, [0.6, 0.2, 0.2], { stratify: labels, seed: 3 });
  expect([train, test, rest].map((p) => p.length)).toEqual([36, 12, 12]);
  expect([...train.indices, ...test.indices, ...rest.indices].sort((a, b) => a - b)).toEqual(
    Array.from({ length: 60 }, (_, i) => i),
  );
  const share = (indices: readonly number[], label: string) => indices.filter((i) => labels[i] === label).length;
  expect(["a", "b", "c"].map((l) => share(train.indices, l))).toEqual([24, 9, 3]);
  expect(["a", "b", "c"].map((l) => share(test.indices, l))).toEqual([8, 3, 1]);
  expect(data.split(dataset, [50, 10], { shuffle: false })[1].indices).toEqual([
    50, 51, 52, 53, 54, 55, 56, 57, 58, 59,
  ]);
  expect(() => data.split(dataset, [0.5, 0.4])).toThrow(/shares that sum to 1 or numbers of samples that sum to 60/);

  for (const options of [{ shuffle: false }, { seed: 4 }, { stratify: labels }]) {
    const folds = data.kFold(dataset, 7, options);
    expect(folds.flatMap((f) => [...f.validation.indices]).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 60 }, (_, i) => i),
    );
    for (const { train, validation } of folds) {
      expect(train.length + validation.length).toBe(60);
      expect(train.indices.filter((i) => validation.indices.includes(i))).toEqual([]);
      expect(Math.abs(validation.length - 60 / 7)).toBeLessThan(1);
    }
  }
  for (const { validation } of data.kFold(dataset, 5, { stratify: labels })) {
    expect(["a", "b", "c"].map((l) => share(validation.indices, l))).toEqual([8, 3, 1]);
  }
  expect(() => data.kFold(dataset, 1)).toThrow(/k must be an integer from 2/);
});

onEveryDevice("data", (device) => {
  test("rows of tensors as samples and batches, mapped, joined", async () => {
    const x = arange(12, { device }).reshape([6, 2]);
    const y = arange(6, { device, dtype: "int64" });
    const dataset = new TensorDataset(x, y);
    expect((await dataset.get(2))[0].toArray()).toEqual([4, 5]);
    const [xb, yb] = await dataset.batch([5, 0]);
    expect(xb.toArray()).toEqual([
      [10, 11],
      [0, 1],
    ]);
    expect(yb.dtype).toBe("int64");
    const mapped = new data.MapDataset(new data.ConcatDataset([dataset, dataset]), ([a, b]: Tensor[]) => ({
      a: a.mul(2),
      b: [b, 7] as const,
    }));
    const batch = await mapped.batch([0, 7]);
    expect(batch.a.toArray()).toEqual([
      [0, 2],
      [4, 6],
    ]);
    expect((batch.b as unknown as Tensor[]).map((t) => t.toArray())).toEqual([
      [0, 1],
      [7, 7],
    ]);
    expect(() => new TensorDataset(x, y.slice(0, 0, 3))).toThrow(ShapeError);
    expect(() => dataset.get(6)).toThrow(IndexError);
    await expect(dataset.batch([0, -1])).rejects.toThrow(/no sample -1 among 6/);
    expect(() => new DataLoader(dataset, { batchSize: 0 })).toThrow(
      /batchSize must be an integer ≥ 1, got the number 0/,
    );
    expect(() => new DataLoader(x as unknown as data.Dataset<Tensor>)).toThrow(/a Dataset is needed, got a Tensor/);
    expect(() => new DataLoader(new TensorDataset(x.slice(0, 0, 0)))).toThrow(/the dataset is empty/);
    expect(() => new DataLoader(dataset, { batchsize: 2 } as object)).toThrow(/unknown option batchsize/);
  });

  test("scalers learn from training data and can be undone", () => {
    const x = tensor([[1, 10, 5], [3, 30, 5], [8, 20, 5]], { device, dtype: "float64" }); // biome-ignore format: a matrix
    const scaler = new data.StandardScaler();
    const y = scaler.fitTransform(x);
    // (1 − 4) / √((9 + 1 + 16) / 3)
    expect(y.select(0, 0).select(0, 0).item()).toBeCloseTo(-3 / Math.sqrt(26 / 3), 12);
    expect(y.select(1, 2).toArray()).toEqual([0, 0, 0]);
    (scaler.inverseTransform(y).toArray() as number[][]).flat().forEach((v, i) => {
      expect(v).toBeCloseTo((x.toArray() as number[][]).flat()[i], 12);
    });
    const range = new data.MinMaxScaler([-1, 1]);
    expect((range.fitTransform(x).select(1, 1).toArray() as number[]).map((v) => Math.round(v * 1e9) / 1e9)).toEqual([
      -1, 1, 0,
    ]);
    const restored = new data.StandardScaler();
    expect(() => restored.transform(x)).toThrow(ValueError);
    restored.loadStateDict(scaler.stateDict());
    expect(restored.transform(x).toArray()).toEqual(y.toArray());
  });

  test("made-up data follows its seed and has the shape it should have", () => {
    const { x, y } = data.makeMoons({ samples: 40, noise: 0, device });
    expect([x.shape, y.shape, x.dtype, y.dtype, x.device]).toEqual([[40, 2], [40], "float32", "int64", device]);
    (x.toArray() as number[][]).forEach(([a, b], i) => {
      const r = i % 2 === 0 ? Math.hypot(a, b) : Math.hypot(a - 1, b - 0.5);
      expect(r).toBeCloseTo(1, 5);
    });
    (data.makeCircles({ noise: 0, factor: 0.3, device }).x.toArray() as number[][]).forEach(([a, b], i) => {
      expect(Math.hypot(a, b)).toBeCloseTo(i % 2 === 0 ? 1 : 0.3, 5);
    });
    expect(data.makeSpirals({ classes: 3, samples: 30, device }).y.toArray()).toEqual(
      Array.from({ length: 30 }, (_, i) => i % 3),
    );
    expect(data.makeBlobs({ seed: 1, device }).x.toArray()).toEqual(data.makeBlobs({ seed: 1, device }).x.toArray());
    expect(data.makeBlobs({ seed: 1 }).x.toArray()).not.toEqual(data.makeBlobs({ seed: 2 }).x.toArray());
    const made = data.makeRegression({ features: 3, informative: 2, device });
    const fitted = made.x.matmul(made.weights);
    (fitted.toArray() as number[]).forEach((v, i) => {
      expect(v).toBeCloseTo((made.y.toArray() as number[])[i], 2);
    });
    expect((made.weights.toArray() as number[])[2]).toBe(0);
    expect(() => data.makeMoons({ samples: 0 })).toThrow(/samples must be an integer ≥ 1, got 0/);
    expect(() => data.makeBlobs({ center: 2 } as object)).toThrow(/unknown option center/);
  });
});

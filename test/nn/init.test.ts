// Initial values: the distributions have the spread that their papers ask for, and draws follow the seed.
import { expect, test } from "vitest";
import { Generator, manualSeed, nn, type Tensor, zeros } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const { init } = nn;

function moments(x: Tensor) {
  const values = Array.from(x.dataSync() as Float32Array);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const std = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / values.length);
  return { mean, std, low: Math.min(...values), high: Math.max(...values) };
}

onEveryDevice("initial values", (device) => {
  const weight = () => zeros([200, 25, 2, 3], { device }); // fan-in 150, fan-out 1200

  test("spread by fan-in and fan-out", () => {
    manualSeed(11);
    const table: [string, Tensor, number][] = [
      ["xavierUniform_", init.xavierUniform_(weight(), 2), 2 * Math.sqrt(2 / 1350)],
      ["xavierNormal_", init.xavierNormal_(weight()), Math.sqrt(2 / 1350)],
      ["kaimingUniform_", init.kaimingUniform_(weight(), { nonlinearity: "relu" }), Math.sqrt(2 / 150)],
      ["kaimingNormal_", init.kaimingNormal_(weight(), { mode: "fanOut", a: 1 }), Math.sqrt(1 / 1200)],
      ["normal_", init.normal_(weight(), 0, 3), 3],
      ["uniform_", init.uniform_(weight(), -1, 1), 1 / Math.sqrt(3)],
    ];
    for (const [name, x, std] of table) {
      const m = moments(x);
      expect(m.std / std, name).toBeCloseTo(1, 1);
      expect(Math.abs(m.mean / std), name).toBeLessThan(0.03);
    }
    const { high, low } = moments(init.xavierUniform_(weight()));
    expect(Math.max(high, -low)).toBeLessThanOrEqual(Math.sqrt(6 / 1350));
  });

  test("truncated normal numbers stay inside and have the truncated variance", () => {
    manualSeed(2);
    const { low, high, std } = moments(init.truncNormal_(zeros([20_000], { device }), 1, 2, -1, 3));
    expect(low).toBeGreaterThanOrEqual(-1);
    expect(high).toBeLessThanOrEqual(3);
    // 4·(1 − 2φ(1) / (2Φ(1) − 1))
    expect(std ** 2).toBeCloseTo(4 * (1 - (2 * 0.24197072451914337) / 0.6826894921370859), 1);
  });

  test("orthogonal matrices, the identity, sparsity", () => {
    manualSeed(4);
    for (const shape of [
      [6, 4],
      [3, 2, 5],
      [5, 5],
    ]) {
      const x = init.orthogonal_(zeros(shape, { device, dtype: "float64" }), 2).reshape([shape[0], -1]);
      const gram = x.shape[0] <= x.shape[1] ? x.matmul(x.t()) : x.t().matmul(x);
      (gram.toArray() as number[][]).forEach((row, i) => {
        row.forEach((v, j) => {
          expect(v).toBeCloseTo(i === j ? 4 : 0, 12);
        });
      });
    }
    expect(init.eye_(zeros([2, 3], { device })).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    const dirac = init.dirac_(zeros([4, 2, 3], { device }), 2);
    expect(dirac.toArray()).toEqual([
      ...[0, 1].flatMap(() => [
        [
          [0, 1, 0],
          [0, 0, 0],
        ],
        [
          [0, 0, 0],
          [0, 1, 0],
        ],
      ]),
    ]);
    const sparse = init.sparse_(zeros([10, 3], { device }), 0.25).toArray() as number[][];
    for (let c = 0; c < 3; c++) expect(sparse.filter((row) => row[c] === 0)).toHaveLength(3);
  });

  test("parameters keep their graph clean, and a generator decides the numbers", () => {
    const p = new nn.Parameter(zeros([3], { device }));
    expect(init.constant_(p, 2)).toBe(p);
    expect(p.requiresGrad && p.isLeaf).toBe(true);
    const draw = () => init.normal_(zeros([4], { device }), 0, 1, { generator: new Generator(5) }).toArray();
    expect(draw()).toEqual(draw());
  });
});

test("recommended gains are PyTorch's", () => {
  expect(init.calculateGain("tanh")).toBe(5 / 3);
  expect(init.calculateGain("relu")).toBe(Math.SQRT2);
  expect(init.calculateGain("leakyRelu", 0.2)).toBeCloseTo(1.3867504905630728, 14);
  expect(init.calculateGain("selu")).toBe(0.75);
  expect(() => init.calculateGain("swish" as "relu")).toThrow(/unknown nonlinearity "swish"; known are/);
});

test.each(
  (
    [
      [() => new nn.Conv2d(3, 4, 0), /Conv2d: kernelSize must be an integer ≥ 1 or 2 of them, got the number 0/],
      [() => new nn.Conv2d(3, 4, 3, { groups: 2 }), /3 input and 4 output channels cannot be parted into 2 groups/],
      [() => new nn.Conv1d(3, 4, 3, { strides: 2 } as object), /Conv1d: unknown option strides/],
      [
        () => new nn.BatchNorm1d(3).forward(zeros([2, 3, 4, 5])),
        /BatchNorm1d: an input of 2 or 3 dimensions is needed/,
      ],
      [() => new nn.GroupNorm(3, 4), /4 channels cannot be divided into 3 groups/],
      [() => new nn.Embedding(4, 2, { paddingIdx: 4 }), /paddingIdx must be a row of 4, got 4/],
      [() => new nn.LSTM(3, 4).forward(zeros([5, 2, 4])), /LSTM: the input must be \[T, B, 3\]/],
      [
        () => new nn.GRU(3, 4).forward(zeros([5, 2, 3]), zeros([1, 3, 4])),
        /GRU: the initial state must be \[1, 2, 4\], got \[1, 3, 4\]/,
      ],
      [() => new nn.MultiheadAttention(6, 4), /embedDim=6 cannot be divided among 4 heads/],
      [() => new nn.Dropout(1.5), /Dropout: p must be a probability in \[0, 1\], got the number 1.5/],
      [() => nn.init.xavierNormal_(zeros([3])), /fan-in and fan-out need a tensor of at least 2 dimensions, got \[3\]/],
    ] as const
  ).map(([make, message]) => [message, make] as const),
)("a mistake is refused in words: %s", (message, make) => {
  expect(make).toThrow(message);
});

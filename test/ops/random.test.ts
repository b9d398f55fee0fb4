// Random numbers: the seed decides, on every device, captured or not; and the distributions have their moments.
import { beforeEach, describe, expect, test } from "vitest";
import {
  alphaDropout,
  bernoulli,
  compile,
  DTypeError,
  dropout,
  dropout1d,
  dropout2d,
  exponential,
  Generator,
  getRngState,
  manualSeed,
  multinomial,
  NablaError,
  normal,
  ones,
  rand,
  randint,
  randintLike,
  randLike,
  randn,
  randnLike,
  randperm,
  ShapeError,
  setDefaultDevice,
  setRngState,
  type Tensor,
  tensor,
  uniform,
  ValueError,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const list = (x: Tensor): number[] => Array.from(x.dataSync() as Iterable<number | bigint>, Number);

function moments(x: Tensor): { mean: number; variance: number } {
  const values = list(x);
  const mean = values.reduce((a, v) => a + v, 0) / values.length;
  return { mean, variance: values.reduce((a, v) => a + (v - mean) ** 2, 0) / values.length };
}

onEveryDevice("random numbers", (device) => {
  beforeEach(() => {
    setDefaultDevice(device);
    manualSeed(0);
  });

  test("uniform numbers are the words of Philox 4×32-10 with key 0 and counter 0", () => {
    // kat_vectors of the Random123 library, philox4x32, 10 rounds.
    const words = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8];
    expect(list(rand([4]))).toEqual(words.map((w) => (w >>> 8) * 2 ** -24));
    manualSeed(0);
    const doubles = [0, 2].map((i) => ((words[i] >>> 5) * 2 ** 26 + (words[i + 1] >>> 6)) * 2 ** -53);
    expect(list(rand([2], { dtype: "float64" }))).toEqual(doubles);
    manualSeed(0);
    expect(list(randint(1000, [2]))).toEqual(doubles.map((u) => Math.floor(u * 1000)));
  });

  test("the first normal numbers of seed 1 are fixed", () => {
    manualSeed(1);
    expect(list(randn([3]))).toEqual([1.227907657623291, 0.21656405925750732, 0.4454377293586731]);
  });

  const makers: Record<string, () => Tensor> = {
    rand: () => rand([7]),
    "rand float64": () => rand([7], { dtype: "float64" }),
    "rand float16": () => rand([7], { dtype: "float16" }).to("float32"),
    randn: () => randn([2, 3]),
    randint: () => randint(-5, 5, [7], { dtype: "int32" }),
    randperm: () => randperm(9),
    bernoulli: () => bernoulli(tensor([0.2, 0.5, 0.8, 0.5, 0.5])),
    multinomial: () => multinomial(tensor([1, 2, 3]), 5, { replacement: true }),
    "multinomial without replacement": () =>
      multinomial(
        tensor([
          [1, 2, 3],
          [3, 2, 1],
        ]),
        2,
      ),
    normal: () => normal(2, 3, [5]),
    uniform: () => uniform(2, 3, [5]),
    exponential: () => exponential(2, [5]),
    dropout: () => dropout(ones([20])),
    dropout1d: () => dropout1d(ones([2, 3, 2])),
    dropout2d: () => dropout2d(ones([2, 3, 2, 2])),
    alphaDropout: () => alphaDropout(ones([9])),
    uniform_: () => zeros([5]).uniform_(1, 2),
    normal_: () => zeros([5]).normal_(),
    exponential_: () => zeros([5]).exponential_(),
    bernoulli_: () => zeros([5]).bernoulli_(0.3),
  };
  describe.each(Object.entries(makers))("%s", (_, make) => {
    test("gives the same numbers after the same seed, others after another", () => {
      const [first, second] = [list(make()), list(make())];
      manualSeed(0);
      expect([list(make()), list(make())]).toEqual([first, second]);
      const more: number[] = [];
      for (let seed = 1; seed < 8; seed++) {
        manualSeed(seed);
        more.push(...list(make()));
      }
      expect(more.slice(0, first.length * 7)).not.toEqual(Array.from({ length: 7 }, () => first).flat());
    });
  });

  test("normal numbers have the bits of the JavaScript device, in whole vectors and out of them", () => {
    for (const dtype of ["float32", "float64"] as const) {
      for (const n of [1, 3, 30, 513, 40_001]) {
        manualSeed(11);
        const found = randn([n], { dtype });
        manualSeed(11);
        expect(list(found)).toEqual(list(randn([n], { dtype, device: "js" })));
      }
    }
  });

  test("blocks of random bits follow each other", () => {
    const whole = list(rand([8]));
    manualSeed(0);
    expect([...list(rand([4])), ...list(rand([4]))]).toEqual(whole);
    manualSeed(0);
    rand([5]); // two blocks of four
    expect(getRngState()).toEqual({ seed: 0, offset: 2 });
  });

  test("a state is restored", () => {
    rand([3]).dataSync();
    const state = getRngState();
    const next = list(randn([4]));
    setRngState(JSON.parse(JSON.stringify(state)));
    expect(list(randn([4]))).toEqual(next);
  });

  test("generators are independent", () => {
    const generator = new Generator(5);
    const alone = list(rand([4], { generator }));
    generator.manualSeed(5);
    rand([100]);
    expect(list(rand([4], { generator }))).toEqual(alone);
    manualSeed(5);
    expect(list(rand([4]))).toEqual(alone);
  });

  test("a captured function draws what the eager one draws, anew at each replay", () => {
    const fn = (x: Tensor): Tensor =>
      dropout(x, 0.5)
        .add(randn([6]))
        .add(rand([6]));
    const x = ones([6]);
    const eager = [1, 2, 3].map(() => list(fn(x)));
    manualSeed(0);
    const captured = compile(fn);
    expect([1, 2, 3].map(() => list(captured(x) as Tensor))).toEqual(eager);
  });

  test("moments", () => {
    const n = 20_000;
    const cases: [Tensor, number, number][] = [
      [rand([n]), 1 / 2, 1 / 12],
      [uniform(-1, 3, [n]), 1, 16 / 12],
      [randn([n]), 0, 1],
      [normal(2, 3, [n]), 2, 9],
      [normal(tensor([2]).expand([n]), 3), 2, 9],
      [exponential(2, [n]), 1 / 2, 1 / 4],
      [randint(1, 7, [n]), 3.5, 35 / 12],
      [zeros([n]).bernoulli_(0.3), 0.3, 0.21],
      [bernoulli(zeros([n]).fill_(0.3)), 0.3, 0.21],
      [dropout(ones([n]), 0.2), 1, 0.25],
      [alphaDropout(randn([n]).clamp(-1.5), 0.3), 0.08, 1],
    ];
    for (const [x, mean, variance] of cases) {
      const found = moments(x);
      const deviation = Math.sqrt(variance / n);
      expect(Math.abs(found.mean - mean)).toBeLessThan(Math.max(6 * deviation, mean === 0.08 ? 0.1 : 0));
      expect(found.variance / variance).toBeGreaterThan(0.85);
      expect(found.variance / variance).toBeLessThan(1.15);
    }
  });

  test("multinomial draws by weight, and without replacement never twice nor weight 0", () => {
    const counts = [0, 0, 0, 0];
    for (const v of list(multinomial(tensor([0, 1, 3, 0]), 4000, { replacement: true }))) counts[v]++;
    expect(counts[0] + counts[3]).toBe(0);
    expect(counts[2] / 4000).toBeCloseTo(0.75, 1);
    const first = [0, 0, 0];
    const draws = multinomial(tensor([1, 3, 0]).expand([500, 3]), 2).toArray() as number[][];
    for (const [a, b] of draws) {
      expect(a + b).toBe(1);
      first[a]++;
    }
    expect(first[1] / 500).toBeCloseTo(0.75, 1);
  });

  test("randperm is a permutation", () => {
    expect(list(randperm(100)).sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(list(randperm(0))).toEqual([]);
    expect(randperm(3, { dtype: "int32" }).dtype).toBe("int32");
  });

  test("shapes and dtypes follow a tensor", () => {
    const x = zeros([2, 3], { dtype: "float64" });
    expect([randLike(x).dtype, randnLike(x).shape]).toEqual(["float64", [2, 3]]);
    expect(list(randintLike(x, 4, 5))).toEqual(new Array(6).fill(4));
    expect(randintLike(x, 4, 5).dtype).toBe("float64");
  });

  test("dropout scales what it keeps, has that gradient, and drops whole channels", () => {
    const x = ones([1000], { requiresGrad: true });
    const y = dropout(x, 0.75);
    y.sum().backward();
    expect(new Set(list(y))).toEqual(new Set([0, 4]));
    expect(list(x.grad as Tensor)).toEqual(list(y));
    expect(dropout(x, 0.5, false)).toBe(x);
    expect(list(dropout(ones([4]), 1))).toEqual([0, 0, 0, 0]);
    for (const channel of (dropout2d(ones([4, 8, 3, 3])).toArray() as number[][][][]).flat()) {
      expect(new Set(channel.flat()).size).toBe(1);
    }
  });

  test("writing random numbers ends the history", () => {
    const w = ones([3], { requiresGrad: true });
    const y = w.mul(2);
    y.uniform_();
    y.sum().backward();
    expect(w.grad).toBeNull();
    const v = zeros([2, 4]).select(1, 1).normal_();
    expect(list(v).every((value) => value !== 0)).toBe(true);
  });

  const bad: [string, () => unknown, new (message?: string) => NablaError, RegExp][] = [
    ["seed", () => manualSeed(-1), ValueError, /seed.*2\^53.*-1/],
    ["fractional seed", () => new Generator(0.5), ValueError, /0\.5/],
    ["state", () => setRngState({ seed: 1, offset: Number.NaN }), ValueError, /offset.*NaN/],
    ["dtype", () => rand([2], { dtype: "int32" }), DTypeError, /rand: .*int32.*randint/],
    ["shape", () => rand([2, -1]), ShapeError, /rand: .*-1/],
    ["range", () => randint(5, 5, [1]), ValueError, /low 5 and high 5/],
    ["range of the dtype", () => randint(0, 257, [1], { dtype: "uint8" }), ValueError, /uint8/],
    ["std", () => normal(0, -1, [1]), ValueError, /std.*-1/],
    ["std as a tensor", () => normal(0, tensor([1, Number.NaN])), ValueError, /std.*NaN/],
    ["interval", () => uniform(2, 1, [1]), ValueError, /low 2.*high 1/],
    ["rate", () => exponential(0, [1]), ValueError, /rate/],
    ["probability", () => dropout(ones([1]), 1.5), ValueError, /dropout: p.*1\.5/],
    ["NaN probability", () => zeros([1]).bernoulli_(Number.NaN), ValueError, /NaN/],
    ["probability tensor", () => bernoulli(tensor([0.5, -0.1])), ValueError, /-0\.1/],
    ["dropout of integers", () => dropout(ones([1], { dtype: "int32" })), DTypeError, /int32/],
    ["dropout2d of a matrix", () => dropout2d(ones([2, 2])), ShapeError, /\[2, 2\]/],
    ["weights", () => multinomial(tensor([1, -1]), 1), ValueError, /-1/],
    ["no weight", () => multinomial(tensor([0, 0]), 1, { replacement: true }), ValueError, /row 0/],
    ["too many draws", () => multinomial(tensor([1, 2]), 3), ValueError, /3 draws/],
    ["too few positive", () => multinomial(tensor([1, 0]), 2), ValueError, /row 0 has 1/],
    ["randperm", () => randperm(-1), ValueError, /-1/],
    ["a leaf", () => ones([2], { requiresGrad: true }).uniform_(), NablaError, /leaf/],
  ];
  test.each(bad)("bad input: %s", (_, run, type, message) => {
    expect(run).toThrow(type);
    expect(run).toThrow(message);
  });
});

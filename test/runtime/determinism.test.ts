// Idea 5 of the architecture: the same seed and the same program give the same bits, for any number of threads, captured
// or not, and random numbers are the same on every device.
import { afterAll, describe, expect, test } from "vitest";
import {
  add,
  arange,
  avgPool2d,
  bernoulli,
  compile,
  conv2d,
  crossEntropy,
  cumprod,
  cumsum,
  type DType,
  dropout,
  Generator,
  getNumThreads,
  indexAdd,
  indexSelect,
  layerNorm,
  logSoftmax,
  manualSeed,
  matmul,
  maxPool2d,
  mean,
  mul,
  multinomial,
  nn,
  normal,
  optim,
  permute,
  prod,
  rand,
  randint,
  randn,
  randperm,
  relu,
  scatterAdd,
  setDefaultDevice,
  setNumThreads,
  sin,
  softmax,
  sort,
  std,
  sum,
  type Tensor,
  variance,
  zeros,
} from "../../lib/index.js";
import { absent, onEveryDevice, titled } from "../devices.js";

/** The bits of the values: equality of numbers would not see the sign of a zero, nor which NaN it is. */
const bits = (x: Tensor): string => {
  const { buffer, byteOffset, byteLength } = x.contiguous().dataSync();
  return Buffer.from(buffer, byteOffset, byteLength).toString("base64");
};

const leaf = (x: Tensor): Tensor => x.detach().requireGrad();

/** Values of very different sizes, so that another order of summation shows. */
const wild = (shape: number[], dtype: DType = "float32"): Tensor =>
  mul(
    randn(shape, { dtype }),
    sin(mul(randn(shape, { dtype }), 9))
      .mul(6)
      .exp(),
  );

const matmulSizes = [
  [1, 1, 4097],
  [1, 4099, 513],
  [4099, 513, 1],
  [3, 5, 7],
  [64, 64, 64],
  [129, 257, 65],
  [257, 1031, 131],
  [512, 512, 512],
  [7, 3000, 5],
  [6, 20_011, 6],
  [2049, 3, 33],
] as const;

/** Everything that is divided among threads, each with enough work to be. */
const workloads: Record<string, () => Tensor[]> = {
  ...Object.fromEntries(
    matmulSizes.map(([m, k, n]) => [`matmul ${m}×${k}×${n}`, () => [matmul(wild([m, k]), wild([k, n]))]]),
  ),
  "matmul of transposes": () => [matmul(permute(wild([300, 211]), [1, 0]), permute(wild([97, 300]), [1, 0]))],
  "matmul, float64": () => [matmul(wild([130, 301], "float64"), wild([301, 77], "float64"))],
  "matmul, float16": () => [matmul(randn([130, 301]).half(), randn([301, 77]).half())],
  "matmul, int64": () => [matmul(randint(-99, 99, [65, 130], { dtype: "int64" }), randint(9, [130, 67]).long())],
  "matmul, batched": () => [
    matmul(wild([37, 33, 65]), wild([37, 65, 31])),
    matmul(wild([5, 1, 64, 64]), wild([7, 64, 9])),
  ],
  ...Object.fromEntries(
    (["float32", "float64", "float16"] as const).flatMap((dtype) =>
      [0, 1, 2, [0, 2], [1, 2], [0, 1], undefined].map((dim) => [
        `reductions over ${dim ?? "everything"}, ${dtype}`,
        () => {
          const x = wild([61, 67, 71]).to(dtype);
          return [sum(x, dim), mean(x, dim), variance(x, dim), std(permute(x, [2, 0, 1]), dim)];
        },
      ]),
    ),
  ),
  "sum of a long vector": () => [
    sum(wild([1_000_003])),
    mean(wild([2_000_003])),
    prod(randn([300_001]).mul(0.01).exp()),
  ],
  "sum of a strided vector": () => [sum(wild([700_001]).slice(0, 1, null, 3)), sum(wild([1001, 700]).flip(1), 1)],
  softmax: () => {
    const x = leaf(wild([301, 1001]));
    const [a, b, c] = [softmax(x, 1), softmax(x, 0), logSoftmax(x, 1)];
    add(add(sum(mul(a, a)), sum(mul(b, b))), sum(mul(c, c))).backward();
    return [a, b, c, x.grad as Tensor];
  },
  normalize: () => {
    const [x, w, b] = [wild([777, 515]), rand([515]), rand([515])].map(leaf);
    const y = layerNorm(x, [515], { weight: w, bias: b });
    sum(mul(y, y)).backward();
    return [y, ...[x, w, b].map((t) => t.grad as Tensor)];
  },
  ...Object.fromEntries(
    [
      { shape: [3, 5, 31, 29], weight: [7, 5, 3, 3], options: { stride: 1, padding: 1 } },
      { shape: [8, 4, 33, 33], weight: [8, 1, 5, 3], options: { stride: 2, padding: 2, groups: 4 } },
      { shape: [1, 16, 40, 40], weight: [24, 16, 3, 3], options: { padding: 2, dilation: 2 } },
      { shape: [16, 8, 17, 17], weight: [9, 8, 1, 1], options: {} },
    ].map(({ shape, weight, options }) => [
      `conv2d of [${shape}] with [${weight}] and its gradients`,
      () => {
        const [x, w, b] = [wild(shape), wild(weight), randn([weight[0]])].map(leaf);
        const y = conv2d(x, w, { ...options, bias: b });
        sum(mul(y, y)).backward();
        return [y, ...[x, w, b].map((t) => t.grad as Tensor)];
      },
    ]),
  ),
  pooling: () => {
    const x = leaf(wild([6, 7, 45, 43]));
    const [a, b] = [maxPool2d(x, 3, { stride: 2 }), avgPool2d(x, 3, { stride: 1, padding: 1 })];
    add(sum(mul(a, a)), sum(mul(b, b))).backward();
    return [a, b, x.grad as Tensor];
  },
  cumsum: () => [cumsum(wild([300_001]), 0), cumsum(wild([301, 503]), 0), cumsum(wild([301, 503]), 1)],
  cumprod: () => [cumprod(randn([300, 400]).mul(0.1).exp(), 1)],
  sort: () => {
    const x = randint(1000, [301, 999]).float();
    return [...Object.values(sort(x, 1)), ...Object.values(sort(wild([200_003]), 0, true))] as Tensor[];
  },
  "indexAdd with collisions": () => [
    indexAdd(wild([7, 301]), 0, randint(7, [5001]), wild([5001, 301])),
    indexAdd(wild([5, 9]), 1, randint(9, [20_011]), wild([5, 20_011])),
  ],
  "scatterAdd with collisions": () => [
    scatterAdd(wild([11]), 0, randint(11, [200_003]), wild([200_003])),
    scatterAdd(wild([13, 301]), 0, randint(13, [2003, 301]), wild([2003, 301])),
    scatterAdd(wild([301, 13]), 1, randint(13, [301, 2003]), wild([301, 2003])),
  ],
  "the gradient of indexSelect": () => {
    const x = leaf(wild([17, 65]));
    const y = indexSelect(x, 0, randint(17, [9001]));
    sum(mul(y, y)).backward();
    return [x.grad as Tensor];
  },
  "the gradient of a broadcast": () => {
    const [x, y] = [wild([1, 301, 1]), wild([407, 1, 5])].map(leaf);
    sum(sin(mul(x, y))).backward();
    return [x.grad as Tensor, y.grad as Tensor];
  },
  "random numbers": () => [
    rand([300_001]),
    randn([300_001]),
    randint(-5, 1_000_000, [300_001]),
    randperm(100_003),
    dropout(rand([300_001]), 0.3),
  ],
};

/** Trains for five steps and returns all losses and the final state. */
function train(model: nn.Module, step: (seed: number) => Tensor): Tensor[] {
  const losses = [1, 2, 3, 4, 5].map((i) => step(i).detach().clone());
  return [...losses, ...model.parameters()];
}

class Cnn extends nn.Module {
  readonly first = new nn.Parameter(randn([6, 1, 3, 3]).mul(0.3));
  readonly second = new nn.Parameter(randn([12, 6, 3, 3]).mul(0.1));
  readonly head = new nn.Linear(12 * 7 * 7, 10);
  readonly drop = new nn.Dropout(0.25);
  forward(x: Tensor): Tensor {
    const h = maxPool2d(relu(conv2d(x, this.first, { padding: 1 })), 2);
    return this.head.forward(this.drop.forward(maxPool2d(relu(conv2d(h, this.second, { padding: 1 })), 2).flatten(1)));
  }
}

const trainings: Record<string, (captured: boolean) => Tensor[]> = {
  "an MLP with Adam": (captured) => {
    manualSeed(7);
    const model = new nn.Sequential([
      new nn.Linear(64, 200),
      new nn.GELU(),
      new nn.Dropout(0.5),
      new nn.Linear(200, 10),
    ]);
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
    return training(model, optimizer, () => randn([128, 64]), captured);
  },
  "a CNN with SGD": (captured) => {
    manualSeed(8);
    const model = new Cnn();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    return training(model, optimizer, () => randn([24, 1, 28, 28]), captured);
  },
};

interface Optimizer {
  step(): void;
  zeroGrad(): void;
}

function training(
  model: nn.Module & { forward(x: Tensor): Tensor },
  optimizer: Optimizer,
  batch: () => Tensor,
  captured: boolean,
): Tensor[] {
  const body = (x: Tensor, y: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const step = captured ? compile(body) : body;
  return train(model, () => {
    const x = batch();
    return step(x, randint(10, [x.shape[0]]));
  });
}

const noAddon = absent("cpu");

describe.skipIf(noAddon !== null)(titled("any number of threads", noAddon), () => {
  const threads = noAddon ? 1 : getNumThreads();
  afterAll(() => {
    setDefaultDevice("auto");
    setNumThreads(threads);
  });
  const withThreads = (n: number, body: () => Tensor[]): string[] => {
    setDefaultDevice("cpu");
    setNumThreads(n);
    manualSeed(1234);
    return body().map(bits);
  };
  const same = (body: () => Tensor[]): void => {
    const one = withThreads(1, body);
    for (const n of [2, 3, 8]) {
      const many = withThreads(n, body);
      const different = many.flatMap((text, i) => (text === one[i] ? [] : i));
      expect(different, `numbers of the results that differ with ${n} threads`).toEqual([]);
    }
  };
  test.each(Object.entries(workloads))("%s", (_, body) => same(body));
  test.each(Object.entries(trainings))("%s, eager", (_, body) => same(() => body(false)));
  test.each(Object.entries(trainings))("%s, captured", (_, body) => same(() => body(true)));
});

onEveryDevice("captured is eager, bit for bit", (device) => {
  afterAll(() => setDefaultDevice("auto"));
  test.each(Object.entries(trainings))("%s", (_, body) => {
    setDefaultDevice(device);
    expect(body(true).map(bits)).toEqual(body(false).map(bits));
  });
});

const devices = ["js", "cpu"].filter((device) => absent(device) === null);

/** Odd sizes, and enough elements for several threads. */
const draws: Record<string, (device: string, generator: Generator) => Tensor> = {
  ...Object.fromEntries(
    (["float32", "float64", "float16", "bfloat16"] as const).flatMap(
      (dtype) =>
        [
          [`rand ${dtype}`, (device, generator) => rand([40_003], { dtype, device, generator })],
          [`randn ${dtype}`, (device, generator) => randn([3, 10_001], { dtype, device, generator })],
        ] satisfies [string, (device: string, generator: Generator) => Tensor][],
    ),
  ),
  ...Object.fromEntries(
    (["int64", "int32", "uint8", "float32"] as const).map((dtype) => [
      `randint ${dtype}`,
      (device: string, generator: Generator) => randint(3, 200, [30_001], { dtype, device, generator }),
    ]),
  ),
  "randint of the whole int32": (device, generator) =>
    randint(-(2 ** 31), 2 ** 31, [10_001], { dtype: "int32", device, generator }),
  randperm: (device, generator) => randperm(20_011, { device, generator }),
  "randperm of nothing": (device, generator) => randperm(0, { device, generator }),
  dropout: (device, generator) => dropout(add(zeros([20_003], { device }), 1), 0.4, true, { generator }),
  bernoulli: (device, generator) => bernoulli(arange(20_003, { device }).div(20_003), { generator }),
  multinomial: (device, generator) => multinomial(arange(1, 50, { device }), 300, { replacement: true, generator }),
  normal: (device, generator) => normal(2, 3, [10_001], { device, generator }),
};

describe("one seed, one result on every device", () => {
  test.each(Object.entries(draws))("%s", (_, draw) => {
    const [first, ...others] = devices.map((device) => {
      const generator = new Generator(42);
      // The second draw begins where the first one ended, and one element first makes the start odd.
      return [rand([1], { device, generator }), draw(device, generator), draw(device, generator)].map(bits);
    });
    for (const other of others) expect(other.map((text, i) => text === first[i])).toEqual([true, true, true]);
    expect(first[1] === first[2]).toBe(first[1] === "");
  });
});

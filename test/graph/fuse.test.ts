// Epilogues of matrix products and convolutions: where they fire, where they must not, and that no bit changes.
import { describe, expect, test } from "vitest";
import type { Instruction } from "../../lib/graph/capture.js";
import { rewrites } from "../../lib/graph/optimise/index.js";
import {
  add,
  type Compiled,
  type ConvOptions,
  compile,
  conv1d,
  conv2d,
  crossEntropy,
  type DType,
  gelu,
  manualSeed,
  matmul,
  mul,
  nn,
  optim,
  rand,
  randint,
  randn,
  relu,
  scaledDotProductAttention,
  sum,
  type Tensor,
  tensor,
  transpose,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const values = (t: Tensor): unknown => t.toArray();
const instructionsOf = (f: { programs: readonly { instructions: readonly Instruction[] }[] }) =>
  f.programs[0].instructions;
const count = (f: { programs: readonly { instructions: readonly Instruction[] }[] }, op: string): number =>
  instructionsOf(f).filter((i) => i.op === op).length;

/** Runs `body` with the first three rewrites only, which leave every instruction as the function wrote it. */
function unfused<R>(body: () => R): R {
  const taken = rewrites.splice(3);
  try {
    return body();
  } finally {
    rewrites.push(...taken);
  }
}

/** Runs `body` fused and not: the same bits; returns what the fused one gave. */
function alike<R>(body: () => R): R {
  const fused = body();
  expect(fused).toEqual(unfused(body));
  return fused;
}

const activations: Record<string, () => nn.Module> = {
  relu: () => new nn.ReLU(),
  gelu: () => new nn.GELU(),
  tanh: () => new nn.Tanh(),
  silu: () => new nn.SiLU(),
  leakyRelu: () => new nn.LeakyReLU(),
};
const optimizers: Record<string, (p: Iterable<Tensor>) => optim.Optimizer<{ lr: number }>> = {
  SGD: (p) => new optim.SGD(p, { lr: 0.1 }) as never,
  momentum: (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 0.01 }) as never,
  Adam: (p) => new optim.Adam(p, { lr: 0.01 }) as never,
  AdamW: (p) => new optim.AdamW(p, { lr: 0.01, amsgrad: true }) as never,
};

onEveryDevice("matmulFused", (device) => {
  interface Options {
    depth: number;
    bias: boolean;
    activation: keyof typeof activations;
    optimizer: keyof typeof optimizers;
    width?: (layer: number) => number;
  }
  /** A few steps of a classifier; what is in the plan of the step, and all numbers. */
  const train = ({ depth, bias, activation, optimizer, width = (i) => 9 + 2 * i }: Options) => {
    manualSeed(7);
    const layers: nn.Module[] = [];
    for (let i = 0; i < depth; i++) {
      layers.push(new nn.Linear(width(i), i + 1 < depth ? width(i + 1) : 4, { bias, device }));
      if (i + 1 < depth) layers.push(activations[activation]());
    }
    const model = new nn.Sequential(layers);
    const opt = optimizers[optimizer](model.parameters());
    const step = compile((x: Tensor, y: Tensor) => {
      opt.zeroGrad();
      const loss = crossEntropy(model.forward(x), y);
      loss.backward();
      opt.step();
      return loss;
    });
    const losses: number[] = [];
    for (let i = 0; i < 3; i++)
      losses.push(step(randn([6, width(0)], { device }), randint(0, 4, [6], { device })).item());
    const parameters = [...model.parameters()];
    return { step, parameters, numbers: [losses, parameters.map(values)] };
  };

  describe("a training step", () => {
    const rows: Options[] = [
      { depth: 1, bias: true, activation: "relu", optimizer: "SGD" },
      { depth: 2, bias: false, activation: "relu", optimizer: "momentum" },
      { depth: 3, bias: true, activation: "relu", optimizer: "Adam" },
      { depth: 3, bias: true, activation: "gelu", optimizer: "AdamW" },
      { depth: 4, bias: false, activation: "tanh", optimizer: "Adam" },
      { depth: 6, bias: true, activation: "silu", optimizer: "momentum" },
      // Equal layers, whose updates have one shape.
      { depth: 4, bias: true, activation: "leakyRelu", optimizer: "Adam", width: () => 8 },
    ];
    for (const row of rows) {
      test(`${row.depth} layers ${row.bias ? "with" : "without"} bias, ${row.activation}, ${row.optimizer}`, () => {
        let plan: ReturnType<typeof train>["step"] | undefined;
        let parameters: Tensor[] | undefined;
        alike(() => {
          const trained = train(row);
          plan ??= trained.step;
          parameters = trained.parameters;
          return trained.numbers;
        });
        // Forward, the gradient of every input but the first, and every weight's gradient with its update.
        expect(count(plan!, "matmul")).toBe(row.bias ? 0 : 1); // the logits
        expect(count(plan!, "matmulFused")).toBe(3 * row.depth - 1 - (row.bias ? 0 : 1));
        // No weight's gradient reaches memory, where it would be a buffer of that size.
        const sizes = new Set(parameters!.filter((p) => p.ndim === 2).map((p) => p.storage.bytes));
        const made = instructionsOf(plan!).flatMap((i) => i.outs.filter((v) => v.storage.capture));
        expect(made.filter((v) => sizes.has(v.storage.bytes))).toEqual([]);
      });
    }
  });

  test("inside larger graphs: after a convolution, in attention, with a residual, with shared weights", () => {
    let plan: Compiled<[Tensor], Tensor[]> | undefined;
    alike(() => {
      manualSeed(3);
      const leaf = (shape: number[]): Tensor => rand(shape, { device }).sub(0.5).detach().requireGrad();
      const kernel = leaf([2, 1, 3, 3]);
      const wq = leaf([8, 8]);
      const wv = leaf([8, 8]);
      const b = leaf([8]);
      const parameters = [kernel, wq, wv, b];
      const opt = new optim.Adam(parameters, { lr: 0.01 });
      const step = compile((x: Tensor) => {
        opt.zeroGrad();
        const seen = relu(conv2d(x, kernel)).reshape([2, -1, 8]); // [2, 8, 8]
        const q = add(matmul(seen, wq), b);
        const k = add(matmul(q, wq), b); // wq once more
        const v = relu(matmul(seen, wv));
        const y = add(matmul(scaledDotProductAttention(q, k, v), transpose(wv, 0, 1)), seen);
        const loss = sum(mul(y, y));
        loss.backward();
        opt.step();
        return [loss, y];
      });
      plan ??= step;
      const out: unknown[] = [];
      for (let i = 0; i < 2; i++) out.push(step(randn([2, 1, 6, 10], { device })).map(values));
      return [out, parameters.map(values)];
    });
    // q, k, v, the residual; behind them the relu of v, the sums of gradients that meet, and both updates.
    expect(count(plan!, "matmulFused")).toBeGreaterThanOrEqual(8);
  });

  const small = (n: number, at: number) =>
    tensor(
      Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => ((i * 7 + j * 3 + at) % 11) - 5)),
      { device },
    );

  test("the product is stored where others read it, or the function returns it", () => {
    const f = compile((x: Tensor, w: Tensor) => {
      const z = matmul(x, w);
      return [relu(z), z, sum(z, 0)];
    });
    const x = small(5, 0);
    const w = small(5, 1);
    const z = matmul(x, w);
    expect(f(x, w).map(values)).toEqual([relu(z), z, sum(z, 0)].map(values));
    expect(count(f, "matmulFused")).toBe(1);
    expect(count(f, "matmul")).toBe(0);
  });

  test("in place on the product, and transposed", () => {
    const f = compile((x: Tensor, w: Tensor, r: Tensor) => {
      const z = matmul(x, w);
      z.add_(r);
      return [z, transpose(matmul(x, r), 0, 1).mul(w)];
    });
    const [x, w, r] = [small(4, 0), small(4, 1), small(4, 2)];
    const expected = [add(matmul(x, w), r), mul(transpose(matmul(x, r), 0, 1), w)];
    expect(f(x, w, r).map(values)).toEqual(expected.map(values));
    expect(count(f, "matmulFused")).toBe(2);
  });

  test("not where the result lies on a factor, is read two ways, or has another shape", () => {
    const f = compile((x: Tensor, w: Tensor) => {
      x.sub_(matmul(x, w)); // a factor
      const z = matmul(w, w);
      const twice = add(z, transpose(z, 0, 1));
      const wide = add(matmul(w, w.slice(1, 0, 1)), w); // a column against a matrix
      return [twice, wide];
    });
    const [x, w] = [small(4, 0), small(4, 1)];
    const z = matmul(w, w);
    const expected = [add(z, transpose(z, 0, 1)), add(matmul(w, w.slice(1, 0, 1)), w)].map(values);
    const after = values(x.sub(matmul(x, w)));
    expect(f(x, w).map(values)).toEqual(expected);
    expect(values(x)).toEqual(after);
    expect(count(f, "matmulFused")).toBe(0);
  });

  test("a factor that changes later, before the element-wise part, is read as it was", () => {
    const f = compile((x: Tensor, w: Tensor) => {
      const z = matmul(x, w);
      w.mul_(2);
      const y = relu(z);
      x.add_(1);
      return y;
    });
    const [x, w] = [small(4, 0), small(4, 1)];
    const expected = values(relu(matmul(x, w)));
    expect(values(f(x, w))).toEqual(expected);
    expect(values(w)).toEqual(values(small(4, 1).mul(2)));
  });

  test("other dtypes stay as they are", () => {
    for (const dtype of ["float64", "float16", "int32"] as DType[]) {
      const f = compile((x: Tensor, w: Tensor) => relu(matmul(x, w)));
      const [x, w] = [small(4, 0).to(dtype), small(4, 1).to(dtype)];
      expect(values(f(x, w))).toEqual(values(relu(matmul(x, w))));
      expect(count(f, "matmul")).toBe(1);
    }
  });

  test("empty products, and an inner size of nothing", () => {
    const f = compile((x: Tensor, w: Tensor) => add(matmul(x, w), 1));
    expect(f(zeros([0, 3], { device }), zeros([3, 2], { device })).shape).toEqual([0, 2]);
    expect(values(f(zeros([2, 0], { device }), zeros([0, 2], { device })))).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  test("an update runs before what does not need it, so that its inputs die early", () => {
    const { step } = train({ depth: 6, bias: false, activation: "relu", optimizer: "SGD", width: () => 64 });
    const late = unfused(() => train({ depth: 6, bias: false, activation: "relu", optimizer: "SGD", width: () => 64 }));
    expect(step.programs[0].arenaBytes).toBeLessThan(0.3 * late.step.programs[0].arenaBytes);
  });
});

onEveryDevice("conv2dFused", (device) => {
  interface Row extends ConvOptions {
    x: number[];
    w: number[];
  }
  // Windows over whole images and over parts of them, products with columns, several images in one product, one pixel;
  // sizes that fill no vector.
  const rows: Row[] = [
    { x: [2, 3, 9, 7], w: [5, 3, 3, 3], padding: 1 },
    { x: [3, 2, 13, 11], w: [4, 2, 5, 5] },
    { x: [2, 4, 10, 9], w: [6, 2, 3, 3], stride: 2, groups: 2 },
    { x: [1, 2, 15, 12], w: [3, 2, 3, 2], dilation: 2, padding: [2, 1] },
    { x: [2, 7, 8, 5], w: [7, 1, 3, 3], groups: 7, padding: 1 },
    { x: [1, 90, 40, 41], w: [5, 90, 3, 3], padding: 1 },
    { x: [1, 3, 3, 1500], w: [2, 3, 3, 5] },
    { x: [3, 6, 5, 5], w: [9, 6, 1, 1] },
    { x: [1, 6, 21, 19], w: [140, 6, 1, 1] },
    { x: [5, 12, 1, 1], w: [7, 12, 1, 1] },
    { x: [2, 1, 2, 2], w: [3, 1, 2, 2] },
    { x: [0, 3, 5, 5], w: [2, 3, 3, 3] },
  ];
  for (const { x: xs, w: ws, ...options } of rows) {
    test(`[${xs}] and [${ws}]: activations with and without bias, a residual, a sum over channels last`, () => {
      const f = (x: Tensor, w: Tensor, b: Tensor, r: Tensor) => [
        relu(conv2d(x, w, { ...options, bias: b })),
        gelu(conv2d(x, w.mul(2), options)),
        add(conv2d(x, w.mul(3), { ...options, bias: b }).mul(0.5), r).tanh(),
        conv2d(x, w.mul(4), options).permute([0, 2, 3, 1]).add(b),
      ];
      alike(() => {
        manualSeed(1);
        const [x, w] = [randn(xs, { device }), randn(ws, { device })];
        const g = compile(f);
        const results = g(x, w, randn([ws[0]], { device }), randn(conv2d(x, w, options).shape, { device }));
        if (xs[0] > 0 && rewrites.length > 3) {
          expect(count(g, "conv2dFused")).toBe(4);
          expect(count(g, "conv2d")).toBe(0);
        }
        return results.map(values);
      });
    });
  }

  const of = (shape: number[], at: number) =>
    tensor(
      Array.from({ length: shape.reduce((n, d) => n * d) }, (_, i) => ((i * 7 + at) % 11) - 5),
      { device },
    ).reshape(shape);
  const image = () => of([2, 3, 6, 5], 1);
  const kernel = () => of([3, 3, 3, 3], 2);
  const same = { padding: 1 };

  test("the result is stored where others read it; where it meets an input in place; as other dtypes", () => {
    const f = compile((x: Tensor, w: Tensor, r: Tensor) => {
      const z = conv2d(x, w, same);
      r.add_(conv2d(x, w.add(1), same)); // its elements are read after the convolution wrote to other memory
      return [relu(z), z, sum(z, [2, 3]), conv2d(x, w.add(2), same).relu().to("float16")];
    });
    const [x, w, r] = [image(), kernel(), of([2, 3, 6, 5], 3)];
    const z = conv2d(x, w, same);
    const expected = [relu(z), z, sum(z, [2, 3]), conv2d(x, w.add(2), same).relu().to("float16")].map(values);
    const after = values(r.add(conv2d(x, w.add(1), same)));
    expect(f(x, w, r).map(values)).toEqual(expected);
    expect(values(r)).toEqual(after);
    expect(count(f, "conv2dFused")).toBe(3);
  });

  test("not where the result lies on the image, is read two ways, or has another shape; other dtypes stay", () => {
    const f = compile((x: Tensor, w: Tensor) => {
      x.sub_(conv2d(x, w, same));
      const z = conv2d(x, w.add(1), same);
      const wide = conv2d(x, w.slice(0, 0, 1), same); // [2, 1, 6, 5]
      const twice = conv2d(x.to("float64"), w.to("float64"), same);
      return [add(z, z.flip(3)), add(z.slice(0, 0, 1), z.slice(0, 1, 2)), mul(wide, x), relu(twice)];
    });
    const [x, w] = [image(), kernel()];
    const [y] = [image().sub(conv2d(image(), kernel(), same))];
    const z = conv2d(y, w.add(1), same);
    const twice = conv2d(y.to("float64"), w.to("float64"), same);
    const wide = conv2d(y, w.slice(0, 0, 1), same);
    const expected = [add(z, z.flip(3)), add(z.slice(0, 0, 1), z.slice(0, 1, 2)), mul(wide, y), relu(twice)];
    expect(f(x, w).map(values)).toEqual(expected.map(values));
    expect(values(x)).toEqual(values(y));
    expect(count(f, "conv2dFused")).toBe(0);
  });

  test("one dimension, and images without a batch", () => {
    const [x, w, b] = [of([2, 3, 9], 1), of([4, 3, 3], 2), of([4], 3)];
    const f = compile((x: Tensor, w: Tensor, b: Tensor) => [
      relu(conv1d(x, w, { bias: b })),
      relu(conv1d(x.slice(0, 1, 2).squeeze(0), w, { bias: b })),
    ]);
    const expected = [relu(conv1d(x, w, { bias: b })), relu(conv1d(x.slice(0, 1, 2).squeeze(0), w, { bias: b }))];
    expect(f(x, w, b).map(values)).toEqual(expected.map(values));
    expect(instructionsOf(f).map((i) => i.op)).toEqual(["conv2dFused", "conv2dFused"]);
  });

  test("a training step: forward, one and two dimensions, and gradients of inputs through their activations", () => {
    let plan: Compiled<[Tensor], Tensor> | undefined;
    const step = (stride: number) => {
      manualSeed(4);
      const leaf = (shape: number[]): Tensor => rand(shape, { device }).sub(0.5).detach().requireGrad();
      const [w1, b1, w2, w3] = [leaf([4, 2, 3, 3]), leaf([4]), leaf([5, 4, 3, 3]), leaf([3, 5, 3])];
      const parameters = [w1, b1, w2, w3];
      const opt = new optim.SGD(parameters, { lr: 0.1 });
      const train = compile((x: Tensor) => {
        opt.zeroGrad();
        const h = relu(conv2d(x, w1, { bias: b1 }));
        const k = relu(conv2d(h, w2, { padding: 1, stride }));
        const y = gelu(conv1d(k.reshape([2, 5, -1]), w3, { bias: b1.slice(0, 0, 3) }));
        const loss = sum(mul(y, y));
        loss.backward();
        opt.step();
        return loss;
      });
      plan = train;
      const losses = [1, 2].map(() => train(randn([2, 2, 9, 8], { device })).item());
      return [losses, parameters.map(values)];
    };
    step(1);
    expect(count(plan!, "conv2dFused")).toBe(3);
    expect(count(plan!, "conv2dInputGradFused")).toBe(2);
    step(2);
    expect(count(plan!, "conv2dInputGradFused")).toBe(1); // not through the stride
    alike(() => [step(1), step(2)]);
  });
});

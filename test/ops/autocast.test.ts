// Mixed precision against torch.autocast (scripts/figures/amp.py), and what autocast is not to change.
import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import {
  add_,
  autocast,
  batchNorm,
  checkpoint,
  compile,
  conv2d,
  convTranspose1d,
  crossEntropy,
  customGrad,
  einsum,
  exp,
  gelu,
  groupNorm,
  type HalfType,
  klDiv,
  layerNorm,
  linear,
  logSoftmax,
  logsumexp,
  matmul,
  mean,
  mseLoss,
  nn,
  noGrad,
  norm,
  optim,
  pow,
  relu,
  scaledDotProductAttention,
  sigmoid,
  softmax,
  softplus,
  sum,
  type Tensor,
  tensor,
  variance,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

interface Trained {
  dtype: HalfType;
  logits: number[];
  grads: Record<string, number[]>;
  losses: number[];
  weights: Record<string, number[]>;
}
interface Figures {
  x: number[];
  y: number[];
  weights: Record<string, { shape: number[]; values: number[] }>;
  bfloat16: Trained;
  float16: Trained;
  attention: Record<"q" | "k" | "v" | "y", number[]>;
}
const figures: Figures = JSON.parse(readFileSync(new URL("../figures/amp.json", import.meta.url), "utf8"));
/** The distance of neighbours above 1. */
const ulp = { bfloat16: 2 ** -7, float16: 2 ** -10 };

/** Largest difference, in units of the largest value. */
function distance(x: Tensor, expected: readonly number[]): number {
  const got = [...x.to("float64").flatten().dataSync()].map(Number);
  expect(got.length).toBe(expected.length);
  const largest = Math.max(...expected.map(Math.abs));
  return Math.max(...got.map((v, i) => Math.abs(v - expected[i]))) / largest;
}

onEveryDevice("autocast", (device) => {
  const place = { device };
  const made = (): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(figures.weights).map(([k, { shape, values }]) => [
        k,
        tensor(values, place).reshape(shape).detach().requireGrad(),
      ]),
    );
  let x: Tensor;
  let y: Tensor;
  beforeAll(() => {
    x = tensor(figures.x, place).reshape([6, 1, 6, 6]);
    y = tensor(figures.y, { ...place, dtype: "int64" });
  });
  const network = (p: Record<string, Tensor>): Tensor => {
    const h = relu(conv2d(x, p["conv.weight"], { bias: p["conv.bias"] }));
    const n = layerNorm(h.flatten(1), [64]);
    return linear(gelu(linear(n, p["first.weight"], p["first.bias"])), p["last.weight"], p["last.bias"]);
  };

  test.each(["bfloat16", "float16"] as const)("%s: values, gradients and five steps are PyTorch's", (dtype) => {
    const expected = figures[dtype];
    const p = made();
    // Each value is rounded a few times on its way, at other places than in PyTorch.
    const near = 2 * ulp[dtype];
    const optimizer = new optim.SGD(Object.values(p), { lr: 0.1, momentum: 0.9 });
    const step = (): [Tensor, Tensor] => {
      optimizer.zeroGrad();
      const [logits, loss] = autocast(dtype, () => {
        const logits = network(p);
        return [logits, crossEntropy(logits, y)] as const;
      });
      loss.backward();
      return [logits, loss];
    };
    const [logits] = step();
    expect(logits.dtype).toBe(expected.dtype);
    expect(distance(logits, expected.logits)).toBeLessThan(near);
    for (const [k, w] of Object.entries(p)) {
      expect(w.grad?.dtype).toBe("float32");
      expect(distance(w.grad as Tensor, expected.grads[k])).toBeLessThan(near);
    }
    const plain = noGrad(() => network(p));
    expect(plain.dtype).toBe("float32");
    expect(distance(plain, expected.logits)).toBeGreaterThan(1e-6); // it is the precision that is tested
    for (const loss of expected.losses) {
      const [, got] = step();
      expect(got.dtype).toBe("float32");
      expect(Math.abs((got.item() as number) - loss)).toBeLessThan(near);
      optimizer.step();
    }
    for (const [k, w] of Object.entries(p)) expect(distance(w, expected.weights[k])).toBeLessThan(near);
  });

  test("attention takes and gives 16 bits", () => {
    const { q, k, v } = figures.attention;
    const [a, b, c] = [q, k, v].map((t) => tensor(t, place).reshape([2, 5, 8]));
    const made = autocast("bfloat16", () => scaledDotProductAttention(a, b, c));
    expect(made.dtype).toBe("bfloat16");
    expect(distance(made, figures.attention.y)).toBeLessThan(ulp.bfloat16);
  });

  test("a product is the float32 product of rounded factors, rounded once", () => {
    const [a, b] = [0, 1].map((s) =>
      tensor(
        Array.from({ length: 7 * 300 }, (_, i) => Math.sin(i * 1.7 + s)),
        place,
      ).reshape(s ? [300, 7] : [7, 300]),
    );
    for (const dtype of ["bfloat16", "float16"] as const) {
      const rounded = (t: Tensor): Tensor => t.to(dtype).to("float32");
      const expected = matmul(rounded(a), rounded(b)).to(dtype).toArray();
      expect(autocast(dtype, () => matmul(a, b)).toArray()).toEqual(expected);
    }
  });

  test("which operations work in what", () => {
    const f = tensor(
      [
        [1, 2.5],
        [3, 4],
      ],
      place,
    );
    const w = tensor(
      [
        [0.5, 1],
        [1, 2],
      ],
      place,
    );
    const half = f.to("bfloat16");
    const batch = half.reshape([1, 2, 2]);
    const row = tensor([1, 2], place);
    const labels = tensor([0, 1], { ...place, dtype: "int64" });
    const dtypes = (list: Record<string, () => Tensor>) =>
      Object.fromEntries(Object.entries(list).map(([k, fn]) => [k, autocast("bfloat16", fn).dtype]));
    const all = (list: object, dtype: string) => Object.fromEntries(Object.keys(list).map((k) => [k, dtype]));
    const low = {
      matmul: () => f.matmul(w),
      vector: () => f.matmul(row),
      batched: () => batch.matmul(w),
      mixed: () => half.matmul(w),
      linear: () => linear(f, w, row),
      addmm: () => f.addmm(f, w),
      einsum: () => einsum("ij,jk->ik", f, w),
      conv2d: () => conv2d(f.reshape([1, 1, 2, 2]), w.reshape([1, 1, 2, 2]), { bias: tensor([1], place) }),
      convTranspose1d: () => convTranspose1d(f.reshape([1, 2, 2]), w.reshape([2, 1, 2])),
      // in the dtype of the operands
      relu: () => relu(half),
      sigmoid: () => sigmoid(half),
      add: () => half.add(1),
      amax: () => half.amax(),
    };
    expect(dtypes(low)).toEqual(all(low, "bfloat16"));
    const high = {
      softmax: () => softmax(half),
      logSoftmax: () => logSoftmax(half),
      sum: () => sum(half),
      mean: () => mean(half, 0),
      variance: () => variance(half),
      norm: () => norm(half),
      logsumexp: () => logsumexp(half, 0),
      cumsum: () => half.cumsum(0),
      prod: () => half.prod(),
      exp: () => exp(half),
      log: () => half.log(),
      pow: () => pow(half, 2),
      reciprocal: () => half.reciprocal(),
      softplus: () => softplus(half),
      mse: () => mseLoss(half, half),
      each: () => mseLoss(half, half, { reduction: "none" }),
      klDiv: () => klDiv(half, half, { reduction: "none" }),
      crossEntropy: () => crossEntropy(half, labels),
      weighted: () => crossEntropy(half, labels, { weight: row }),
      layerNorm: () => layerNorm(half, [2]),
      groupNorm: () => groupNorm(batch, 2),
      batchNorm: () => batchNorm(half, { training: true }),
      promoted: () => half.add(f),
      untouched: () => f.add(f),
    };
    expect(dtypes(high)).toEqual(all(high, "float32"));
    const double = f.to("float64");
    expect(autocast("float16", () => double.matmul(w)).dtype).toBe("float64");
    expect(autocast("float16", () => double.matmul(w)).toArray()).toEqual(double.matmul(w).toArray());
    expect(autocast("float16", () => labels.reshape([1, 2]).matmul(labels)).dtype).toBe("int64");
    const target = half.clone();
    expect(autocast("float16", () => add_(target, f)).dtype).toBe("bfloat16");
    // without it
    expect([half.sum().dtype, half.matmul(half).dtype, softmax(half).dtype]).toEqual(new Array(3).fill("bfloat16"));
  });

  test("the scope: nested, switched off, left by errors, of a recording", () => {
    const a = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      place,
    );
    const dtype = () => a.matmul(a).dtype;
    const seen = autocast("bfloat16", () => [dtype(), autocast("float16", dtype), autocast(false, dtype), dtype()]);
    expect(seen).toEqual(["bfloat16", "float16", "float32", "bfloat16"]);
    expect(() =>
      autocast("bfloat16", () => {
        throw new Error("mine");
      }),
    ).toThrow("mine");
    expect(dtype()).toBe("float32");
    const f = compile((t: Tensor) => t.matmul(t));
    expect([f(a).dtype, autocast("bfloat16", () => f(a)).dtype, f(a).dtype]).toEqual([
      "float32",
      "bfloat16",
      "float32",
    ]);
    expect(f.programs.length).toBe(2);
  });

  test("a backward pass works in the dtypes of the forward pass, wherever it is called", () => {
    const run = (inside: boolean, repeated = false): unknown => {
      const p = made();
      const pass = () => crossEntropy(repeated ? checkpoint(() => network(p)) : network(p), y);
      if (inside) autocast("bfloat16", () => pass().backward());
      else autocast("bfloat16", pass).backward();
      return Object.values(p).map((w) => w.grad?.toArray());
    };
    // A rule with a product of float32: it was not the forward pass's to convert.
    const twice = customGrad({
      forward: (context, t: Tensor) => {
        context.save(t);
        return t.mul(2);
      },
      backward: ({ saved: [t] }, g) => (g as Tensor).matmul(t).mul(2),
    });
    const rule = (inside: boolean): Tensor => {
      const t = tensor(
        [
          [0.1, 0.2],
          [0.3, 0.4],
        ],
        { ...place, requiresGrad: true },
      );
      const pass = () => twice(t).sum();
      if (inside) autocast("bfloat16", () => pass().backward());
      else autocast("bfloat16", pass).backward();
      return t.grad as Tensor;
    };
    expect(rule(true).toArray()).toEqual(rule(false).toArray());
    const outside = run(false);
    expect(run(true)).toEqual(outside);
    expect(run(false, true)).toEqual(outside);
  });

  const layers: [string, () => nn.Module][] = [
    ["LSTM", () => new nn.LSTM(8, 6, place)],
    ["GRU", () => new nn.GRU(8, 6, place)],
    [
      "TransformerEncoderLayer",
      () => new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, dropout: 0, ...place }),
    ],
    [
      "BatchNorm1d",
      () => new nn.Sequential([new nn.Flatten(), new nn.BatchNorm1d(40, place), new nn.Linear(40, 3, place)]),
    ],
  ];
  test.each(layers)("%s: near float32, with gradients of float32", (_, make) => {
    const layer = make();
    const input = x.flatten().narrow(0, 0, 120).reshape([3, 5, 8]);
    const run = (half: HalfType | false): Tensor => {
      for (const p of layer.parameters()) p.grad = null;
      const loss = autocast(half, () => {
        const out = layer.forward(input) as Tensor | [Tensor];
        return mean(sigmoid(Array.isArray(out) ? out[0] : out).mul(3));
      });
      loss.backward();
      return loss;
    };
    const expected = run(false).item() as number;
    const grads = [...layer.parameters()].map((p) => p.grad as Tensor);
    for (const half of ["bfloat16", "float16"] as const) {
      expect(Math.abs((run(half).item() as number) - expected)).toBeLessThan(ulp[half]);
      [...layer.parameters()].forEach((p, i) => {
        expect(p.grad?.dtype).toBe("float32");
        const difference = (p.grad as Tensor).sub(grads[i]).abs().max().item() as number;
        expect(difference).toBeLessThan(ulp[half] / 2);
        expect((p.grad as Tensor).abs().max().item()).toBeGreaterThan(0);
      });
    }
  });

  test("captured: a weight is converted once a step, and the values are those of eager work", () => {
    const w = tensor(figures.x.slice(0, 64), place).reshape([8, 8]).detach().requireGrad();
    const input = tensor(figures.x.slice(64, 80), place).reshape([2, 8]);
    const body = (t: Tensor): [Tensor, Tensor] => {
      w.grad = null;
      const loss = autocast("bfloat16", () => mseLoss(t.matmul(w).matmul(w).matmul(w), zeros([2, 8], place)));
      loss.backward();
      return [loss, w.grad as unknown as Tensor];
    };
    const f = compile(body);
    const [loss, grad] = f(input);
    const [expected, eager] = body(input);
    expect(distance(loss, [expected.item() as number])).toBeLessThan(ulp.bfloat16);
    expect(distance(grad, [...eager.flatten().dataSync()].map(Number))).toBeLessThan(2 * ulp.bfloat16);
    const plan = String(f.programs[0]);
    expect(plan.match(/\[8, 8\]:bfloat16 = copy\(/g)?.length, plan).toBe(1);
  });
});

test("what is no precision, and promises, are refused", () => {
  expect(() => autocast("bf16" as never, () => 1)).toThrow(/"bfloat16" or "float16".*did you mean "bfloat16"/);
  expect(() => autocast(true as never, () => 1)).toThrow(/got the boolean true/);
  expect(() => autocast("float16", async () => 1)).toThrow(/autocast holds for synchronous code only/);
  expect(() => autocast("float16", 3 as never)).toThrow(/a function is needed/);
});

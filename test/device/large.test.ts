// Tensors large enough for blocks and threads. Their values are small integers, so that every order of summation is
// exact and the devices must agree to the bit.
import { afterAll, expect, test } from "vitest";
import {
  amax,
  arange,
  argmax,
  conv2d,
  cumsum,
  Generator,
  indexAdd,
  indexAdd_,
  matmul,
  maxPool2d,
  randint,
  scatterAdd,
  setDefaultDevice,
  sort,
  sum,
  type Tensor,
} from "../../lib/index.js";
import { absent, onEveryDevice, titled } from "../devices.js";

const generator = new Generator();
const small = (shape: number[]): Tensor => randint(-3, 4, shape, { dtype: "float32", generator });

const works: Record<string, () => Tensor[]> = {
  ...Object.fromEntries(
    [
      [1, 1031, 515],
      [515, 1031, 1],
      [129, 257, 65],
      [67, 1300, 131],
      [260, 70, 261],
      [6, 20_011, 6],
    ].map(([m, k, n]) => [
      `matmul ${m}×${k}×${n}`,
      () => {
        const [a, b] = [small([m, k]), small([n, k])];
        return [matmul(a, b.t()), matmul(a.long(), b.t().long()), matmul(a.flip(1), b.flip(1).t()).t()];
      },
    ]),
  ),
  reductions: () => {
    const x = small([41, 67, 73]);
    const turned = x.permute([2, 0, 1]);
    return [0, 1, 2, [0, 2], [1, 2], undefined].flatMap((dim) => [sum(x, dim), sum(turned, dim), amax(turned, dim)]);
  },
  "positions and order": () => {
    const x = small([301, 407]);
    return [argmax(x, 0), argmax(x.t(), 0), ...["values", "indices"].map((k) => sort(x, 0)[k as "values"])];
  },
  cumsum: () => [cumsum(small([200_003]), 0), cumsum(small([301, 203]), 0), cumsum(small([301, 203]).flip(1), 1)],
  "adding at places": () => [
    indexAdd(small([7, 301]), 0, randint(-7, 7, [3001], { generator }), small([3001, 301])),
    scatterAdd(small([301, 13]), 1, randint(13, [301, 503], { generator }), small([301, 503])),
    scatterAdd(small([11]), 0, randint(11, [100_003], { generator }), small([100_003])),
  ],
  "conv2d and its gradients": () =>
    [
      { shape: [3, 5, 23, 21], weight: [7, 5, 3, 3], options: { padding: 1 } },
      { shape: [4, 4, 17, 19], weight: [8, 1, 5, 3], options: { stride: 2, padding: 2, groups: 4 } },
      { shape: [1, 8, 20, 20], weight: [9, 8, 3, 3], options: { padding: 2, dilation: 2 } },
      { shape: [6, 8, 17, 17], weight: [9, 8, 1, 1], options: {} },
    ].flatMap(({ shape, weight, options }) => {
      const [x, w, b] = [shape, weight, [weight[0]]].map((s) => small(s).requireGrad());
      const y = conv2d(x, w, { ...options, bias: b });
      y.backward({ gradient: small([...y.shape]) });
      return [y, ...[x, w, b].map((t) => t.grad as Tensor)];
    }),
  "maxPool2d and its gradient": () => {
    const x = small([3, 5, 31, 33]).requireGrad();
    const y = maxPool2d(x, 3, { stride: 2, padding: 1 });
    y.backward({ gradient: small([...y.shape]) });
    return [y, x.grad as Tensor];
  },
};

const missing = absent("cpu");
afterAll(() => setDefaultDevice("auto"));

test.skipIf(missing !== null).each(Object.entries(works))(
  titled("%s: the CPU's results are the definition's", missing),
  (_, work) => {
    const [wanted, found] = ["js", "cpu"].map((device) => {
      setDefaultDevice(device);
      generator.manualSeed(3);
      return work().map((t) => ({ dtype: t.dtype, shape: t.shape, values: t.contiguous().dataSync() }));
    });
    // A sum of zeros may have either sign.
    const unsigned = (values: ArrayLike<number | bigint>) => Array.from(values, (v) => (v === 0 ? 0 : v));
    found.forEach((t, i) => {
      expect([t.dtype, t.shape]).toEqual([wanted[i].dtype, wanted[i].shape]);
      const [a, b] = [unsigned(t.values as Float32Array), unsigned(wanted[i].values as Float32Array)];
      const wrong = a.findIndex((v, k) => v !== b[k]);
      expect(wrong < 0 ? "" : `result ${i}: ${a[wrong]} at ${wrong} instead of ${b[wrong]}`).toBe("");
    });
  },
);

onEveryDevice("a large operand that overlaps the target", (device) => {
  const n = 100_003;
  const numbers = () => arange(n, { device, dtype: "float32" });

  test("is read before it is written", () => {
    const x = numbers();
    x.slice(0, 1).copy_(x.slice(0, 0, -1));
    expect(x.eq(numbers().sub(1).clamp(0)).all().item()).toBe(1);
    const y = numbers();
    y.slice(0, 0, -1).add_(y.slice(0, 1));
    expect(
      y
        .slice(0, 0, -1)
        .eq(numbers().mul(2).add(1).slice(0, 0, -1))
        .all()
        .item(),
    ).toBe(1);
    const z = numbers();
    indexAdd_(z, 0, arange(1, n, { device, dtype: "int64" }), z.slice(0, 0, -1));
    expect(z.slice(0, 1).eq(numbers().mul(2).sub(1).slice(0, 1)).all().item()).toBe(1);
  });
});

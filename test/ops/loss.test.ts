// The kernel of cross-entropy against its composition, and what the rows of cases/loss.ts are too small for.
import { describe, expect, test } from "vitest";
import { getDevice } from "../../lib/device/registry.js";
import {
  compile,
  crossEntropy,
  gradgradcheck,
  IndexError,
  manualSeed,
  randint,
  randn,
  type Tensor,
  tensor,
} from "../../lib/index.js";
import { targets } from "./devices.js";

const KERNELS = ["crossEntropy", "crossEntropyGrad"];

/** Runs f as on a device that has not got the kernels. */
function composed<T>(device: string, f: () => T): T {
  const ops = getDevice(device).ops as Map<string, number>;
  const ids = KERNELS.map((name) => ops.get(name) as number);
  for (const name of KERNELS) ops.delete(name);
  try {
    return f();
  } finally {
    for (const [i, name] of KERNELS.entries()) ops.set(name, ids[i]);
  }
}

function lossAndGradient(x: Tensor, target: Tensor, reduction: "mean" | "sum" | "none"): number[][] {
  const leaf = x.detach().requireGrad();
  const loss = crossEntropy(leaf, target, { reduction, ignoreIndex: 1 });
  (reduction === "none" ? loss.square().sum() : loss).backward();
  return [loss, leaf.grad as Tensor].map((t) => Array.from(t.to("float64").dataSync() as Float64Array));
}

function meanAndGradient(x: Tensor, target: Tensor): number[][] {
  const leaf = x.detach().requireGrad();
  const loss = crossEntropy(leaf, target);
  loss.backward();
  return [loss, leaf.grad as Tensor].map((t) => Array.from(t.dataSync() as Float32Array));
}

function near(found: number[][], wanted: number[][], tolerance: number): void {
  found.forEach((list, k) => {
    expect(list.length).toBe(wanted[k].length);
    for (const [i, value] of list.entries())
      expect(Math.abs(value - wanted[k][i])).toBeLessThanOrEqual(tolerance * (1 + Math.abs(wanted[k][i])));
  });
}

describe.each(targets)("device $name", ({ name: device, missing }) => {
  if (missing) {
    test.skip(`${missing}: nothing is run on it`, () => {});
    return;
  }
  // Around the vectors, the short rows side by side and the leaves of the sum.
  const shapes = [
    [1, 1],
    [5, 2],
    [33, 3],
    [16, 10],
    [17, 16],
    [4, 17],
    [3, 100],
    [2, 2100],
    [4, 10, 3, 5],
  ];
  test.each(shapes)("kernel and composition agree: %s, %s, …", (...shape) => {
    manualSeed(3);
    const x = randn(shape, { dtype: "float64", device }).mul(3);
    const target = randint(0, shape[1], [shape[0], ...shape.slice(2)], { device });
    for (const reduction of ["mean", "sum", "none"] as const) {
      const wanted = composed(device, () => lossAndGradient(x, target, reduction));
      near(lossAndGradient(x, target, reduction), wanted, 1e-12);
      near(lossAndGradient(x.to("float32"), target.to("int32"), reduction), wanted, 1e-5);
      near(
        lossAndGradient(x.to("bfloat16"), target, reduction),
        composed(device, () => lossAndGradient(x.to("bfloat16"), target, reduction)),
        1e-2,
      );
    }
  });

  test("second order of the composition", () => {
    const x = randn([3, 4], { dtype: "float64", device }).requireGrad();
    const target = tensor([0, 3, 2], { dtype: "int64", device });
    expect(composed(device, () => gradgradcheck((y) => crossEntropy(y, target), [x]))).toBe(true);
  });

  test("large logits lose nothing to their size", () => {
    const x = tensor([[10000, 10001, 9999.5]], { device, requiresGrad: true });
    const loss = crossEntropy(x, tensor([0], { dtype: "int64", device }));
    loss.backward();
    const e = [Math.exp(-1), 1, Math.exp(-1.5)];
    const sum = e[0] + e[1] + e[2];
    expect(loss.item()).toBeCloseTo(Math.log(sum) + 1, 6);
    const grad = (x.grad as Tensor).toArray() as number[][];
    for (const [i, v] of e.entries()) expect(grad[0][i]).toBeCloseTo(v / sum - (i === 0 ? 1 : 0), 6);
  });

  test("NaN and infinities", () => {
    const rows = tensor(
      [
        [Infinity, 0],
        [-Infinity, -Infinity],
        [Number.NaN, 0],
        [-Infinity, 0],
        [Number.NaN, 0],
      ],
      { device },
    );
    const target = tensor([0, 0, 1, 0, -100], { dtype: "int64", device });
    expect(crossEntropy(rows, target, { reduction: "none" }).toArray()).toEqual([
      Number.NaN,
      Number.NaN,
      Number.NaN,
      Infinity,
      0,
    ]);
  });

  test("wrong labels spare what was there; no samples, no classes", () => {
    const long = (values: number[]) => tensor(values, { dtype: "int64", device });
    for (const label of [20, -1]) {
      const x = randn([40, 20], { device, requiresGrad: true });
      const loss = crossEntropy(x, long([...new Array(39).fill(0), label]));
      expect(() => loss.item()).toThrow(IndexError);
      expect(() => crossEntropy(x, long([...new Array(39).fill(0), label])).item()).toThrow(
        `label ${label} is out of range for 20 classes`,
      );
    }
    expect(crossEntropy(randn([0, 3], { device }), long([])).item()).toBeNaN();
    expect(crossEntropy(randn([0, 3], { device }), long([]), { reduction: "sum" }).item()).toBe(0);
    expect(() => crossEntropy(randn([1, 0], { device }), long([0])).item()).toThrow(IndexError);
  });

  test("two instructions of a captured step", () => {
    const x = randn([6, 5], { device, requiresGrad: true });
    const target = randint(0, 5, [6], { device });
    const step = compile((logits: Tensor, labels: Tensor) => {
      const leaf = logits.detach().requireGrad();
      const loss = crossEntropy(leaf, labels);
      loss.backward();
      return [loss, leaf.grad as Tensor];
    });
    const [loss, grad] = step(x, target);
    near([[loss.item()], Array.from(grad.dataSync() as Float32Array)], meanAndGradient(x, target), 0);
    const plan = String(step.programs[0]);
    expect(plan).toMatch(/crossEntropy\(/);
    expect(plan).toMatch(/crossEntropyGrad\(/);
    expect(plan).not.toMatch(/softmax|gather|scatter/i);
  });
});

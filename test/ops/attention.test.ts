// The kernel of attention against its composition, and what the rows of cases/einsum.ts are too small for.
import { describe, expect, test } from "vitest";
import { getDevice } from "../../lib/device/registry.js";
import {
  gradgradcheck,
  manualSeed,
  ones,
  randn,
  scaledDotProductAttention,
  type Tensor,
  tensor,
  zeros,
} from "../../lib/index.js";
import type { AttentionOptions } from "../../lib/ops/attention.js";
import { targets } from "./devices.js";

const KERNELS = ["attention", "attentionGrad"];

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

/** The result and the gradients of its square's sum. */
function all(xs: Tensor[], options: AttentionOptions): number[][] {
  const leaves = xs.map((x) => x.detach().requireGrad());
  const y = scaledDotProductAttention(leaves[0], leaves[1], leaves[2], options);
  y.square().sum().backward();
  return [y, ...leaves.map((x) => x.grad as Tensor)].map((t) => Array.from(t.to("float64").dataSync() as Float64Array));
}

function near(found: number[][], wanted: number[][], tolerance: number): void {
  found.forEach((list, k) => {
    expect(list.length).toBe(wanted[k].length);
    let worst = 0;
    for (const [i, value] of list.entries())
      worst = Math.max(worst, Math.abs(value - wanted[k][i]) / (1 + Math.abs(wanted[k][i])));
    expect(worst).toBeLessThanOrEqual(tolerance);
  });
}

describe.each(targets)("device $name", ({ name: device, missing }) => {
  if (missing) {
    test.skip(`${missing}: nothing is run on it`, () => {});
    return;
  }
  // [B, H, L, S, E, F]: one and several blocks of queries and keys.
  const sizes = [
    [1, 1, 1, 1, 1, 1],
    [2, 3, 17, 33, 5, 7],
    [1, 2, 131, 130, 16, 8],
    [1, 1, 70, 1100, 9, 3],
    [1, 1, 600, 520, 4, 4],
  ];
  test.each(sizes)("kernel and composition agree: %s %s %s %s %s %s", (b, h, l, s, e, f) => {
    manualSeed(5);
    const make = (...shape: number[]) => randn(shape, { dtype: "float64", device });
    const xs = [make(b, h, l, e).mul(2), make(b, h, s, e), make(b, s, h, f).permute([0, 2, 1, 3])];
    const added = make(h, l, s);
    // Whole blocks unseen at first; something to see for every row.
    const bool = make(l, s)
      .gt(1)
      .logicalOr(
        tensor(
          Array.from({ length: s }, (_, j) => j === s - 1),
          { dtype: "bool", device },
        ),
      );
    for (const options of [{}, { isCausal: true }, { mask: added, scale: 0.7 }, { mask: bool }]) {
      const wanted = composed(device, () => all(xs, options));
      near(all(xs, options), wanted, 1e-12);
      const mask = options.mask?.dtype === "bool" ? options.mask : options.mask?.to("float32");
      near(
        all(
          xs.map((x) => x.to("float32")),
          { ...options, mask },
        ),
        wanted,
        2e-4,
      );
    }
  });

  test("rows that see nothing are NaN, as are their gradients", () => {
    const q = randn([2, 3], { device }).requireGrad();
    const mask = tensor(
      [
        [false, false],
        [true, false],
      ],
      { device },
    );
    const y = scaledDotProductAttention(q, ones([2, 3], { device }), ones([2, 1], { device }), { mask });
    expect(y.toArray()).toEqual([[Number.NaN], [1]]);
    y.sum().backward();
    expect((q.grad as Tensor).toArray()).toEqual([
      [Number.NaN, Number.NaN, Number.NaN],
      [0, 0, 0],
    ]);
  });

  test("a mask that needs a gradient gets one", () => {
    const x = randn([2, 3], { device });
    const mask = zeros([2, 2], { device }).requireGrad();
    scaledDotProductAttention(x, x, x, { mask }).square().sum().backward();
    expect((mask.grad as Tensor).abs().sum().item()).toBeGreaterThan(0);
  });

  test("second order of the composition", () => {
    const [q, k, v] = [2, 3, 3].map((n) => randn([n, 2], { dtype: "float64", device }).requireGrad());
    const f = (...xs: Tensor[]) => scaledDotProductAttention(xs[0], xs[1], xs[2]);
    expect(composed(device, () => gradgradcheck(f, [q, k, v]))).toBe(true);
  });
});

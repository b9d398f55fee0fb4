// Normalisation of shapes beyond one vector and one piece, on native devices as on js.
import { describe, expect, test } from "vitest";
import { batchNorm, groupNorm, manualSeed, randn, sum, type Tensor } from "../../lib/index.js";
import { targets } from "./devices.js";

const run = (x: Tensor, device: string, f: (x: Tensor) => Tensor): number[][] => {
  const leaf = x.to(device).detach().requireGrad();
  const y = f(leaf);
  sum(y.mul(y).mul(y)).backward();
  return [y, leaf.grad as Tensor].map((t) => Array.from(t.to("float64").dataSync() as Float64Array));
};

describe.each(targets.filter((t) => t.name !== "js"))("device $name", ({ name: device, missing }) => {
  if (missing) {
    test.skip(`${missing}: nothing is run on it`, () => {});
    return;
  }
  const batch = (x: Tensor): Tensor => batchNorm(x, { training: true });
  const cases: [string, number[], (x: Tensor) => Tensor][] = [
    ["columns", [131, 77], batch],
    ["one column", [131, 1], batch],
    ["images", [5, 19, 7, 11], batch],
    ["long images", [3, 2, 50, 50], batch],
    ["groups", [5, 6, 7, 11], (x) => groupNorm(x, 3)],
  ];
  test.each(cases)("%s", (_, shape, f) => {
    manualSeed(7);
    const x = randn(shape, { device: "js" }).mul(3).add(2);
    for (const [dtype, tolerance] of [
      ["float32", 2e-4],
      ["float64", 1e-11],
    ] as const) {
      const wanted = run(x.to(dtype), "js", f);
      for (const [k, found] of run(x.to(dtype), device, f).entries()) {
        const most = wanted[k].reduce((m, v) => Math.max(m, Math.abs(v)), 1);
        const error = found.reduce((m, v, i) => Math.max(m, Math.abs(v - wanted[k][i])), 0);
        expect(error / most).toBeLessThan(tolerance);
      }
    }
  });
});

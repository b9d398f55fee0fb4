// Convolutions large enough for the tiles of the fast products, and their gradients, exactly as on the JS device.
import { afterAll, describe, expect, test } from "vitest";
import * as nabla from "../../lib/index.js";
import { absent, titled } from "../devices.js";
import { values } from "./products.js";
import { orders, shim } from "./shim.js";

const missing = absent("cuda");

describe.skipIf(missing !== null)(titled("device cuda, convolutions", missing), () => {
  afterAll(() => {
    process.env.NABLA_CUDA_TF32 = "0";
    shim?.order("forward");
  });

  /** Results and gradients as numbers, and the kernels that ran. */
  function run(
    device: string,
    dtype: nabla.DType,
    options: object,
    groups: number,
  ): { lists: number[][]; kernels: string } {
    const make = (shape: readonly number[], seed: number) =>
      nabla.tensor(
        values(
          shape.reduce((a, b) => a * b),
          seed,
        ),
        { shape, dtype, device, requiresGrad: true },
      );
    const x = make([2, 36 * groups, 8, 9], 1);
    const w = make([40 * groups, 36, 3, 2], 2);
    shim?.launched();
    const y = nabla.conv2d(x, w, { groups, ...options });
    y.mul(make(y.shape, 3).detach()).sum().backward();
    const lists = [y, x.grad, w.grad].map(
      (t) =>
        (t as nabla.Tensor)
          .reshape([(t as nabla.Tensor).numel])
          .to("float64")
          .toArray() as number[],
    );
    return { lists, kernels: shim?.launched() ?? "" };
  }
  const apart = (a: number[][], b: number[][]): number =>
    a.reduce((sum, list, k) => sum + list.filter((x, i) => x !== b[k][i]).length, 0);

  test("depthwise, two results a channel", () => {
    const results = (device: string) => {
      const x = nabla.tensor(values(2 * 12 * 90, 1), { shape: [2, 12, 9, 10], device, requiresGrad: true });
      const w = nabla.tensor(values(24 * 9, 2), { shape: [24, 1, 3, 3], device, requiresGrad: true });
      shim?.launched();
      const y = nabla.conv2d(x, w, { groups: 12, stride: [2, 1], padding: [1, 2], dilation: [2, 1] });
      y.mul(y.detach()).sum().backward();
      const lists = [y, x.grad, w.grad].map((t) => (t as nabla.Tensor).flatten().toArray() as number[]);
      return { lists, kernels: shim?.launched() };
    };
    const found = results("cuda");
    if (shim) expect(found.kernels).toContain("directKernel");
    expect(apart(found.lists, results("js").lists)).toBe(0);
  });

  test.each([
    ["float32", {}, 1, "0"],
    ["float32", { stride: [2, 1], padding: [1, 2], dilation: [1, 3] }, 2, "0"],
    ["float32", { padding: 1 }, 1, "1"],
    ["float16", { stride: 2, padding: 1 }, 1, "0"],
    ["bfloat16", { padding: [2, 0], dilation: 2 }, 2, "0"],
  ] as const)("%s %o, %i groups, TF32: %s", (dtype, options, groups, tf32) => {
    process.env.NABLA_CUDA_TF32 = tf32;
    const wanted = run("js", dtype, options, groups);
    for (const order of shim && dtype === "float32" && tf32 === "0" ? orders : ["forward"]) {
      shim?.order(order);
      const found = run("cuda", dtype, options, groups);
      if (shim) expect(found.kernels).toMatch(dtype === "float32" && tf32 === "0" ? /simtKernel/ : /mmaKernel/);
      expect(apart(found.lists, wanted.lists)).toBe(0);
    }
  });
});

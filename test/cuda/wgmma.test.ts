// Products by wgmma and TMA, through the twins of the shim, whose second GPU is an sm_90: tiles, layouts, batches, what
// falls back. (On a GPU: bench/gpu-check.mjs.)
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as nabla from "../../lib/index.js";
import { titled } from "../devices.js";
import { reference, values } from "./products.js";
import { orders, shim } from "./shim.js";

const device = "cuda:1";
const differences = (a: number[], b: number[]): number =>
  a.filter((x, i) => x !== b[i]).length + Math.abs(a.length - b.length);

describe.skipIf(!shim)(titled("wgmma", shim ? null : "NABLA_CUDA_ADDON does not name the shim"), () => {
  afterAll(() => shim?.order("forward"));

  /** a·b of float numbers that are exact in every dtype, and the kernels that ran for it. */
  function product(
    [m, k, n]: readonly [number, number, number],
    dtype: nabla.DType,
    [sideA, sideB]: readonly [boolean, boolean],
    batches = 1,
  ): { found: number[]; wanted: number[]; kernels: string } {
    const list = [values(m * k * batches, 1), values(k * n, 2)];
    const make = (list: number[], shape: number[], side: boolean) => {
      const x = nabla.tensor(list, { shape, dtype, device });
      const last = shape.length - 1;
      return side
        ? x
            .transpose(last - 1, last)
            .contiguous()
            .transpose(last - 1, last)
        : x;
    };
    const a = make(list[0], batches > 1 ? [batches, m, k] : [m, k], sideA);
    const b = make(list[1], [k, n], sideB);
    b.select(0, 0).select(0, 0).item(); // copies are done
    shim?.launched();
    const y = nabla.matmul(a, b);
    const found = y
      .reshape([batches * m * n])
      .to("float64")
      .toArray() as number[];
    const kernels = shim?.launched() ?? "";
    const exact = Array.from({ length: batches }, (_, i) =>
      reference(list[0].slice(i * m * k, (i + 1) * m * k), list[1], m, k, n),
    ).flat();
    const wanted = nabla.tensor(exact, { dtype, device: "js" }).to("float64").toArray() as number[];
    return { found, wanted, kernels };
  }

  const layouts = [
    [false, false],
    [false, true],
    [true, false],
  ] as const;

  // The tiles are 128 × 256 in the second and the third, where k takes the ring twice around.
  test.each([
    [128, 456, 128],
    [136, 456, 264],
    [1032, 64, 136],
  ] as const)("%i × %i × %i, all layouts that it takes", (...size) => {
    shim?.order("forward");
    for (const layout of layouts) {
      const { found, wanted, kernels } = product(size, "bfloat16", layout);
      expect(kernels).toContain("wgmmaKernel");
      expect(differences(found, wanted)).toBe(0);
    }
  });
  test.each(orders)("float16, threads in %s order", (order) => {
    shim?.order(order);
    for (const layout of order === "forward" ? layouts : layouts.slice(1, 2)) {
      const { found, wanted, kernels } = product([136, 456, 264], "float16", layout);
      expect(kernels).toContain("wgmmaKernel");
      expect(differences(found, wanted)).toBe(0);
    }
  });

  describe("TF32", () => {
    beforeAll(() => {
      process.env.NABLA_CUDA_TF32 = "1";
    });
    afterAll(() => {
      process.env.NABLA_CUDA_TF32 = "0";
    });
    test.each(orders)("with k inside, threads in %s order", (order) => {
      shim?.order(order);
      const { found, wanted, kernels } = product([136, 72, 264], "float32", [false, true]);
      expect(kernels).toContain("wgmmaKernel");
      expect(differences(found, wanted)).toBe(0);
    });
    test("rounds what is not TF32", () => {
      const x = nabla.full([128, 64], 1 + 2 ** -12, { device });
      const y = nabla.matmul(x, x.transpose(0, 1));
      expect(y.select(0, 0).select(0, 0).item()).toBe(64);
    });
    test("an epilogue", () => {
      shim?.order("forward");
      const [m, k, n] = [130, 64, 200];
      const [a, w, bias] = [values(m * k, 1), values(k * n, 2), values(n, 3)];
      const x = nabla.tensor(a, { shape: [m, k], device });
      const weight = nabla
        .tensor(w, { shape: [k, n], device })
        .transpose(0, 1)
        .contiguous();
      const b = nabla.tensor(bias, { device });
      const layer = nabla.compile((x: nabla.Tensor) => nabla.relu(nabla.linear(x, weight, b)));
      const exact = reference(a, w, m, k, n).map((x, i) => Math.max(0, x + bias[i % n]));
      for (let run = 0; run < 3; run++) {
        shim?.launched();
        const y = layer(x) as nabla.Tensor;
        expect(differences(y.reshape([m * n]).toArray() as number[], exact)).toBe(0);
        expect(shim?.launched()).toContain("wgmmaKernel");
      }
    });
  });

  test("batches, one factor the same for all", () => {
    shim?.order("reverse");
    const { found, wanted, kernels } = product([72, 64, 72], "bfloat16", [false, false], 3);
    expect(kernels).toContain("wgmmaKernel");
    expect(differences(found, wanted)).toBe(0);
  });

  test("what TMA cannot read, or is small, goes to other kernels", () => {
    shim?.order("forward");
    for (const [size, layout] of [
      [
        [128, 68, 128],
        [false, true],
      ], // rows of 136 bytes
      [
        [128, 64, 32],
        [false, false],
      ],
      [
        [128, 64, 128],
        [true, true],
      ],
    ] as const) {
      const { found, wanted, kernels } = product(size, "float16", layout);
      expect(kernels).not.toContain("wgmmaKernel");
      expect(differences(found, wanted)).toBe(0);
    }
    process.env.NABLA_CUDA_WGMMA = "0";
    expect(product([128, 64, 128], "float16", [false, false]).kernels).toContain("mmaKernel");
    delete process.env.NABLA_CUDA_WGMMA;
  });

  test("descriptors, bit by bit", () => {
    // CUTLASS's GmmaDescriptor of a tile at 0x400 with the swizzle of 128 bytes: 62: 1, 32: 1024 / 16, 16: 8192 / 16, 0: 0x40.
    expect(shim?.descriptor(0x400, 8192, 1024)).toBe((1n << 62n) | (64n << 32n) | (512n << 16n) | 0x40n);
  });

  test("every tile once, neighbours together", () => {
    for (const [rows, columns, batches] of [
      [1, 1, 1],
      [3, 5, 2],
      [8, 4, 1],
      [19, 7, 2],
    ]) {
      const places = Array.from(
        { length: rows * columns * batches },
        (_, i) => shim?.tilePlace(i, rows, columns) ?? [],
      );
      expect(new Set(places.map(String)).size).toBe(rows * columns * batches);
      for (const [batch, row, column] of places) {
        expect(batch).toBeLessThan(batches);
        expect(row).toBeLessThan(rows);
        expect(column).toBeLessThan(columns);
      }
      if (rows >= 8) expect(new Set(places.slice(0, 8).map((place) => place[2])).size).toBe(1);
    }
  });
});

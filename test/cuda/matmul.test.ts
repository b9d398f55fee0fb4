// Products at sizes around the tiles of the fast kernels, in all layouts, with and without an epilogue.
import { describe, expect, test } from "vitest";
import * as nabla from "../../lib/index.js";
import { absent, titled } from "../devices.js";
import { reference, values } from "./products.js";

/** The matrix [rows, columns], lying on its side in memory when `transposed`. */
function matrix(
  list: readonly number[],
  rows: number,
  columns: number,
  dtype: nabla.DType,
  transposed: boolean,
): nabla.Tensor {
  const x = nabla.tensor([...list], { shape: [rows, columns], dtype, device: "cuda" });
  return transposed ? x.transpose(0, 1).contiguous().transpose(0, 1) : x;
}

const sizes = [
  [64, 16, 64],
  [65, 33, 130],
  [131, 47, 129],
  [256, 24, 256],
  [1, 300, 70], // split along k
  [5, 4000, 3],
] as const;
const layouts = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const;

const missing = absent("cuda");

describe.skipIf(missing !== null)(titled("device cuda, products", missing), () => {
  describe.each(sizes)("%i × %i × %i", (m, k, n) => {
    const [a, b] = [values(m * k, 1), values(k * n, 2)];
    const c = reference(a, b, m, k, n);
    test.each(["float32", "float16", "bfloat16", "float64", "int32"] as const)("%s in all layouts", (dtype) => {
      const ones = nabla.tensor(c, { dtype, device: "js" }).to("float64").toArray();
      for (const [ta, tb] of layouts) {
        const y = nabla.matmul(matrix(a, m, k, dtype, ta), matrix(b, k, n, dtype, tb));
        expect(
          y
            .reshape([m * n])
            .to("float64")
            .toArray(),
        ).toEqual(ones);
      }
    });
    test.each([false, true])("an epilogue, TF32: %s", (tf32) => {
      process.env.NABLA_CUDA_TF32 = tf32 ? "1" : "0"; // these numbers are exact in TF32 too
      const bias = nabla.tensor(values(n, 3), { device: "cuda" });
      const layer = nabla.compile((x: nabla.Tensor, w: nabla.Tensor) => nabla.relu(nabla.matmul(x, w).add(bias)));
      const wanted = c.map((x, i) => Math.max(0, x + values(n, 3)[i % n]));
      for (let run = 0; run < 3; run++) {
        const y = layer(matrix(a, m, k, "float32", false), matrix(b, k, n, "float32", false)) as nabla.Tensor;
        expect(y.reshape([m * n]).toArray()).toEqual(wanted);
      }
      process.env.NABLA_CUDA_TF32 = "0";
    });
  });

  test("batches, some of them the same matrix", () => {
    const [m, k, n] = [70, 20, 66];
    const a = Array.from({ length: 3 }, (_, i) => values(m * k, i));
    const b = values(k * n, 5);
    const x = nabla.tensor(a.flat(), { shape: [3, m, k], device: "cuda" });
    const y = nabla.matmul(x, nabla.tensor(b, { shape: [k, n], device: "cuda" }));
    expect(y.reshape([3 * m * n]).toArray()).toEqual(a.flatMap((one) => reference(one, b, m, k, n)));
  });
});

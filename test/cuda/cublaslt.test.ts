// The calls of cuBLASLt, with a library of that name that computes on the CPU (cublaslt-stub.c), under the shim.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as nabla from "../../lib/index.js";
import { titled } from "../devices.js";
import { reference, values } from "./products.js";
import { shim } from "./shim.js";

describe.skipIf(!shim)(titled("cuBLASLt", shim ? null : "NABLA_CUDA_ADDON does not name the shim"), () => {
  const folder = mkdtempSync(join(tmpdir(), "nabla-cublas-"));
  beforeAll(() => {
    const library = join(folder, "libcublasLt.so");
    const source = join(import.meta.dirname, "cublaslt-stub.c");
    const { status, stderr } = spawnSync("cc", ["-O1", "-shared", "-fPIC", source, "-o", library], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(stderr);
    process.env.NABLA_CUBLAS_PATH = library;
  });
  afterAll(() => {
    delete process.env.NABLA_CUBLAS_PATH;
    delete process.env.NABLA_CUDA_CUBLAS;
    rmSync(folder, { recursive: true });
  });

  test("factors anywhere in memory: the library is told how they are aligned", () => {
    const [rows, inner, columns] = [5, 6, 7];
    const [p, q] = [values(rows * inner + 1, 3), values(inner * columns + 3, 4)];
    const x = nabla.tensor(p, { device: "cuda" }).slice(0, 1).reshape([rows, inner]);
    const y = nabla.tensor(q, { device: "cuda" }).slice(0, 3).reshape([inner, columns]);
    process.env.NABLA_CUDA_CUBLAS = "1";
    const product = nabla
      .matmul(x, y)
      .reshape([rows * columns])
      .toArray();
    process.env.NABLA_CUDA_CUBLAS = "0";
    const exact = reference(p.slice(1), q.slice(3), rows, inner, columns);
    expect(product).toEqual(nabla.tensor(exact, { dtype: "float32", device: "js" }).toArray());
  });

  const [m, k, n] = [33, 20, 70];
  const on = { device: "cuda" };
  const [a, b] = [values(3 * m * k, 1), values(k * n, 2)];

  test.each(["float32", "bfloat16", "float64"] as const)(
    "%s: all layouts, batches, a factor for all of them",
    (dtype) => {
      for (const [sideA, sideB] of [
        [false, false],
        [true, false],
        [false, true],
        [true, true],
      ]) {
        const x = nabla.tensor(a, { shape: [3, m, k], dtype, ...on });
        const y = nabla.tensor(b, { shape: [k, n], dtype, ...on });
        const turn = (t: nabla.Tensor) => t.transpose(-1, -2).contiguous().transpose(-1, -2);
        const factors = [sideA ? turn(x) : x, sideB ? turn(y) : y] as const;
        factors[1].select(0, 0).select(0, 0).item();
        const run = (asked: string) => {
          process.env.NABLA_CUDA_CUBLAS = asked;
          shim?.launched();
          const product = nabla.matmul(...factors);
          product.select(0, 0).select(0, 0).select(0, 0).item();
          const kernels = shim?.launched();
          process.env.NABLA_CUDA_CUBLAS = "0";
          return {
            kernels,
            list: product
              .reshape([3 * m * n])
              .to("float64")
              .toArray(),
          };
        };
        const [rival, own] = [run("1"), run("0")];
        expect(own.kernels).toMatch(/gemm|mma|simt/);
        expect(rival.kernels).not.toMatch(/gemm|mma|simt/);
        const exact = [0, 1, 2].flatMap((i) => reference(a.slice(i * m * k, (i + 1) * m * k), b, m, k, n));
        const wanted = nabla.tensor(exact, { dtype, device: "js" }).to("float64").toArray();
        expect(rival.list).toEqual(wanted);
        expect(own.list).toEqual(wanted);
      }
    },
  );
});

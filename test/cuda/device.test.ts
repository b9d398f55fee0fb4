// What is special about the CUDA device: captured programs as graphs, indices that are checked in them, copies in pieces,
// its memory. On a GPU, or with the shim; skipped where neither is.
import { spawnSync } from "node:child_process";
import { buildSync } from "esbuild";
import { describe, expect, test } from "vitest";
import { getDevice } from "../../lib/device/registry.js";
import * as nabla from "../../lib/index.js";
import { absent, titled } from "../devices.js";

const missing = absent("cuda");

describe.skipIf(missing !== null)(titled("device cuda", missing), () => {
  const on = { device: "cuda" };

  test("a captured step runs as eager ones do, with new numbers and buffers at each replay", () => {
    const run = (captured: boolean): number[] => {
      nabla.manualSeed(3);
      const x = nabla.randn([16, 5], on);
      const y = nabla.tensor(
        Array.from({ length: 16 }, (_, i) => i % 3),
        { dtype: "int64", ...on },
      );
      const model = new nabla.nn.Sequential([
        new nabla.nn.Linear(5, 8),
        new nabla.nn.ReLU(),
        new nabla.nn.Linear(8, 3),
      ]);
      model.to("cuda");
      const optimizer = new nabla.optim.Adam(model.parameters(), { lr: 0.05 });
      const step = (x: nabla.Tensor, y: nabla.Tensor): nabla.Tensor => {
        optimizer.zeroGrad();
        const loss = nabla.crossEntropy(model.forward(x), y);
        loss.backward();
        optimizer.step();
        return loss;
      };
      const call = captured ? nabla.compile(step) : step;
      return Array.from({ length: 12 }, () => (call(x, y) as nabla.Tensor).item() as number);
    };
    const eager = run(false);
    expect(run(true)).toEqual(eager);
    expect(eager[11]).toBeLessThan(eager[0]);
  });

  test("a wrong label in a captured step is an error, and spoils what came of it", () => {
    const loss = nabla.compile((x: nabla.Tensor, y: nabla.Tensor) => nabla.crossEntropy(nabla.relu(x), y).mul(2));
    const x = nabla.rand([4, 3], on);
    const labels = (list: number[]) => nabla.tensor(list, { dtype: "int64", ...on });
    const good = [0, 1, 2, 0];
    const first = (loss(x, labels(good)) as nabla.Tensor).item();
    for (let i = 0; i < 3; i++) expect((loss(x, labels(good)) as nabla.Tensor).item()).toBe(first);
    const wrong = loss(x, labels([0, 7, 2, 0])) as nabla.Tensor;
    expect(() => wrong.item()).toThrow(/crossEntropy: label 7 is out of range for 3 classes/);
    expect(() => wrong.item()).toThrow(nabla.IndexError);
    expect((loss(x, labels(good)) as nabla.Tensor).item()).toBe(first);
  });

  test("a wrong index leaves what is not concerned", () => {
    const x = nabla.arange(6, on);
    const y = x.gather(0, nabla.tensor([0, 6], { dtype: "int64", ...on }));
    expect(() => y.toArray()).toThrow(/gather: index 6 is out of range for dimension 0 of size 6 \(allowed: -6 to 5\)/);
    expect(x.add(1).toArray()).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("copies larger than a piece, to and from the device", async () => {
    const n = 2_500_000; // 10 MB, in pieces of 4 MB
    const values = Float32Array.from({ length: n }, (_, i) => i % 1009);
    const x = nabla.tensor(values, { shape: [n], ...on });
    const differ = (found: nabla.TypedArray): number => values.findIndex((value, i) => found[i] !== value);
    expect(differ(await x.data())).toBe(-1);
    expect(differ(x.dataSync())).toBe(-1);
  });

  test("memory goes back", () => {
    const device = getDevice("cuda");
    const before = device.memory().inUse;
    const x = nabla.zeros([1 << 20], on);
    x.sum().item();
    expect(device.memory().inUse).toBeGreaterThanOrEqual(before + 4 * 2 ** 20);
    x.dispose();
    nabla.zeros([1], on).item();
    expect(device.memory().inUse).toBeLessThan(before + 4 * 2 ** 20);
    device.emptyCache();
    expect(device.memory().pooled).toBeLessThan(4 * 2 ** 20);
  });

  test("each device of a kind is one of its own", () => {
    if (absent("cuda:1") !== null) return;
    const x = nabla.ones([2], on);
    const y = nabla.ones([2], { device: "cuda:1" });
    expect(y.device).toBe("cuda:1");
    expect(() => x.add(y)).toThrow(nabla.DeviceError);
    expect(x.to("cuda:1").add(y).toArray()).toEqual([2, 2]);
  });
});

test.skipIf(missing !== null)(
  titled("NABLA_CUDA_MEMORY_LIMIT bounds what buffers take, and a size that is none is refused", missing),
  () => {
    const script = `
    import { getDevice } from "./lib/device/registry.ts";
    const device = getDevice("cuda");
    device.stage(new Float32Array(1 << 18));
    try {
      device.stage(new Float32Array(1 << 22));
    } catch (error) {
      console.log(error.constructor.name, error.message);
    }`;
    const run = (limit: string): string => {
      const built = buildSync({
        stdin: { contents: script, resolveDir: process.cwd(), loader: "ts" },
        bundle: true,
        write: false,
        format: "cjs",
        platform: "node",
        packages: "external",
        define: { "import.meta.url": "__url" },
        banner: { js: 'const __url = require("node:url").pathToFileURL(process.cwd() + "/x.js").href;' },
      });
      const { stdout, stderr } = spawnSync(process.execPath, ["-"], {
        input: built.outputFiles[0].text,
        encoding: "utf8",
        env: { ...process.env, NABLA_CUDA_MEMORY_LIMIT: limit },
      });
      return stdout + stderr;
    };
    expect(run("8 MiB")).toMatch(
      /MemoryError a buffer of 16777216 bytes cannot be had on this GPU: .*the limit is 8388608/,
    );
    expect(run("lots")).toMatch(/NABLA_CUDA_MEMORY_LIMIT: "lots" is not a size; write bytes, or "512MiB", "2GiB"/);
  },
);

test("a GPU that is not there", () => {
  expect(() => nabla.zeros([1], { device: "cuda:99" })).toThrow(/^device cuda:99: .*use device "(cpu|js)"/s);
});

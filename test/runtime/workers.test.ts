// worker_threads: many at once, ended in the middle, each with a state of its own. They load the built package.
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { add, tensor } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

interface Result {
  loss: number;
  weights: unknown[];
}

const script = new URL("./worker.mjs", import.meta.url);
const start = (workerData: object) => new Worker(script, { workerData });
const result = (worker: Worker) =>
  new Promise<Result>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`the worker ended with ${code} before its result`)));
  });

onEveryDevice("workers", (device) => {
  test("eight train at once, and equal seeds give equal weights", { timeout: 120_000 }, async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, i) => result(start({ device, seed: i % 2, steps: 300, captured: i < 4 }))),
    );
    const [even, odd] = results;
    for (let i = 0; i < 8; i++) expect(results[i]).toEqual(i % 2 ? odd : even);
    expect(even.weights).not.toEqual(odd.weights);
    expect(even.loss).toBeLessThan(0.25);
  });

  test("workers that are ended in the middle leave the others intact", { timeout: 120_000 }, async () => {
    const x = tensor([1, 2], { device });
    for (let i = 0; i < 6; i++) {
      const worker = start({ device, seed: 0, steps: 1e9, captured: i % 2 === 0 });
      await new Promise((resolve) => setTimeout(resolve, 150 + 60 * i));
      await worker.terminate();
    }
    expect(add(x, 1).toArray()).toEqual([2, 3]);
    expect((await result(start({ device, seed: 0, steps: 300, captured: true }))).loss).toBeLessThan(0.25);
  });
});

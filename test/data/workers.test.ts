// Batches loaded in worker threads: the same for any number of them, errors with their stack, no thread left behind.
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { expect, test } from "vitest";

// The built package, which is what the workers load as well.
const { data } = createRequire(import.meta.url)("../../dist/index.js") as typeof import("../../lib/index.js");
const module = new URL("./samples.mjs", import.meta.url);

interface Batch {
  x: { toArray(): unknown };
  y: [{ dtype: string; toArray(): unknown }, { dtype: string; toArray(): unknown }];
  noise: { toArray(): unknown };
  name: string[];
  thread: { toArray(): number[] };
}
const plain = (b: Batch) => ({
  ...{ x: b.x.toArray(), flags: b.y[0].toArray(), big: b.y[1].toArray(), name: b.name },
  dtypes: b.y.map((t) => t.dtype),
});
const collect = async (loader: AsyncIterable<Batch>) => {
  const seen: Batch[] = [];
  for await (const b of loader) seen.push(b);
  return seen;
};
/** Threads of this process, where the system tells. */
const threads = () => (process.platform === "linux" ? readdirSync("/proc/self/task").length : 0);

const load = (options: object = {}, length = 23, settings: object = {}) =>
  data
    .fromModule<Batch>(module, { args: [length, settings] })
    .then((d) => new data.DataLoader(d, { batchSize: 4, shuffle: true, seed: 5, ...options }));

test("batches and their order are the same for any number of workers, epoch after epoch", {
  timeout: 120_000,
}, async () => {
  const reference = await load();
  const expected = [...(await collect(reference)), ...(await collect(reference))].map(plain);
  const noise: unknown[] = [];
  for (const workers of [1, 2]) {
    const loader = await load({ workers });
    const seen = [...(await collect(loader)), ...(await collect(loader))];
    expect(seen.map(plain)).toEqual(expected);
    noise.push(seen.map((b) => b.noise.toArray()));
    const used = new Set(seen.flatMap((b) => b.thread.toArray()));
    expect([used.has(0), used.size]).toEqual([false, 2 * workers]);
  }
  expect(noise[0]).toEqual(noise[1]);
  expect(new Set((noise[0] as unknown[][]).map(String)).size).toBe(12); // no batch has another's random numbers
});

test("a loader goes on from any position, whatever the number of workers", { timeout: 120_000 }, async () => {
  const whole = await collect(await load({ workers: 1 }));
  const first = await load({ workers: 2 });
  let n = 0;
  let most = 0;
  for await (const _ of first) {
    most = Math.max(most, threads());
    if (++n === 2) break;
  }
  if (process.platform === "linux") expect(most - threads()).toBeGreaterThanOrEqual(2); // they are gone after the loop
  const resumed = await load({ workers: 1 });
  resumed.loadStateDict(first.stateDict());
  const rest = await collect(resumed);
  expect(rest.map(plain)).toEqual(whole.slice(2).map(plain));
  expect(rest.map((b) => b.noise.toArray())).toEqual(whole.slice(2).map((b) => b.noise.toArray()));
});

test("parts of a dataset are loaded in workers, too", { timeout: 120_000 }, async () => {
  const dataset = await data.fromModule<Batch>(module, { args: [20] });
  const [part] = data.split(dataset, [0.5, 0.5], { seed: 1 });
  const inner = new data.Subset(part, [4, 1, 9]);
  const numbers = async (workers: number) =>
    (await collect(new data.DataLoader(inner, { batchSize: 3, workers }))).map((b) => b.name);
  expect(await numbers(1)).toEqual([[4, 1, 9].map((i) => `#${part.indices[i]}`)]);
  expect(await numbers(0)).toEqual(await numbers(1));
});

test("errors come in their turn, with the worker's stack; threads end", { timeout: 120_000 }, async () => {
  const before = threads();
  const failing = async (loader: AsyncIterable<Batch>) => {
    let n = 0;
    try {
      for await (const _ of loader) n++;
    } catch (error) {
      return { n, message: (error as Error).message, stack: ((error as Error).cause as Error)?.stack };
    }
    return { n };
  };
  const broken = await failing(await load({ shuffle: false, workers: 1 }, 23, { broken: 9 }));
  expect(broken).toMatchObject({ n: 2, message: "DataLoader: in a worker: RangeError: sample 9 is broken" });
  expect(broken.stack).toMatch(/samples\.mjs:\d+/);
  expect(await failing(await load({ shuffle: false, workers: 1 }, 8, { unsendable: 5, batchSize: 1 }))).toMatchObject({
    n: 1,
    message: expect.stringMatching(/in a worker: /),
  });
  expect(await failing(await load({ shuffle: false, workers: 1 }, 23, { exits: 6 }))).toMatchObject({
    n: 1,
    message: "DataLoader: a worker ended by itself, with exit code 3",
  });
  const other = new data.DataLoader(await data.fromModule<Batch>(module, { export: "other" }), { workers: 1 });
  expect((await failing(other)).message).toMatch(/6 samples in the worker and 5 in the main thread/);
  const fails = new data.DataLoader(await data.fromModule<Batch>(module, { export: "fails" }), { workers: 1 });
  expect((await failing(fails)).message).toMatch(/in a worker: Error: there is no such folder/);
  expect(threads()).toBe(before);
});

test("a program that stops reading ends at once", { timeout: 120_000 }, () => {
  const program = `
    import { data } from "nablajs";
    const d = await data.fromModule(${JSON.stringify(module.href)}, { args: [100] });
    const loader = new data.DataLoader(d, { batchSize: 2, workers: 2 });
    for await (const b of loader) break;
    const abandoned = loader[Symbol.asyncIterator]();
    await abandoned.next(); // and never returned
    console.log("end", loader.stateDict().batch);`;
  const cwd = new URL("../..", import.meta.url).pathname;
  const out = execFileSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd,
    encoding: "utf8",
    timeout: 30_000,
  });
  expect(out).toBe("end 2\n");
});

test("what cannot be made again in a worker is refused in words", { timeout: 120_000 }, async () => {
  const plainDataset = new (class extends data.Dataset<number> {
    readonly length = 3;
    get(i: number) {
      return i;
    }
  })();
  expect(() => new data.DataLoader(plainDataset, { workers: 1 })).toThrow(/lives in this thread; make it in a module/);
  expect(() => new data.DataLoader(new data.MapDataset(plainDataset, (x) => x), { workers: 1 })).toThrow(
    /a MapDataset, which lives/,
  );
  const dataset = await data.fromModule(module, { args: [3] });
  expect(() => new data.DataLoader(dataset, { workers: 1, collate: (s) => s[0] })).toThrow(
    /collate is a function of this thread/,
  );
  expect(() => new data.DataLoader(dataset, { workers: -1 })).toThrow(/workers must be an integer ≥ 0/);
  await expect(data.fromModule("./samples.mjs")).rejects.toThrow(/a file URL or an absolute path is needed/);
  await expect(data.fromModule(`${module.href}x`)).rejects.toThrow(/cannot be loaded/);
  await expect(data.fromModule(module, { export: "nothing" })).rejects.toThrow(
    /exports no function nothing; it exports .*other/,
  );
  await expect(data.fromModule(module, { export: "constant" })).rejects.toThrow(/exports no function constant/);
  await expect(data.fromModule(module, { export: "wrong" })).rejects.toThrow(/made the number 5 instead of a Dataset/);
  await expect(data.fromModule(module, { args: [() => 1] })).rejects.toThrow(/args cannot be sent to a worker/);
});

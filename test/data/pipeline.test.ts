// Pipelines: what tf.data's words do, laziness, backpressure, repeated passes, sources that are closed.
import fc from "fast-check";
import { expect, test } from "vitest";
import { arange, data, manualSeed, type Tensor, ValueError } from "../../lib/index.js";

const { from, fromGenerator, zip } = data;
const numbers = (n: number) => from(Array.from({ length: n }, (_, i) => i));
const plain = (batches: unknown[]) => (batches as Tensor[]).map((t) => t.toArray());

/** A source that says what is done with it. */
function watched(n: number) {
  const log = { opened: 0, read: 0, closed: 0 };
  const source = fromGenerator(async function* () {
    log.opened++;
    try {
      for (let i = 0; i < n; i++) {
        log.read++;
        yield i;
      }
    } finally {
      log.closed++;
    }
  });
  return { log, source };
}

test("each word does what it says, as often as the pipeline is iterated", async () => {
  const source = numbers(7);
  const cases: [data.Pipeline<unknown>, unknown[]][] = [
    [source.map((v, i) => v * 10 + i), [0, 11, 22, 33, 44, 55, 66]],
    [source.map(async (v) => v + 1), [1, 2, 3, 4, 5, 6, 7]],
    [source.filter((v) => v % 2 === 1), [1, 3, 5]],
    [source.take(3), [0, 1, 2]],
    [source.take(0), []],
    [source.skip(5), [5, 6]],
    [source.skip(3).take(2).repeat(2), [3, 4, 3, 4]],
    [source.repeat().take(9), [0, 1, 2, 3, 4, 5, 6, 0, 1]],
    [source.repeat(0), []],
    [source.prefetch(3), [0, 1, 2, 3, 4, 5, 6]],
    [source.take(2).concatenate(numbers(1), numbers(2)), [0, 1, 0, 0, 1]],
    [zip(source, source.skip(5)), [[0, 5], [1, 6]]], // biome-ignore format: short
    [numbers(3).interleave((v) => [v, v]), [0, 0, 1, 1, 2, 2]],
    [numbers(3).interleave((v) => numbers(3 - v).map((w) => [v, w]), { cycle: 2, block: 2 }), [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [2, 0]]], // biome-ignore format: short
    [from(new Set([1, 2])), [1, 2]],
    [from(new data.MapDataset(new data.TensorDataset(arange(3)), ([t]) => (t as Tensor).item())), [0, 1, 2]],
  ];
  for (const [pipeline, expected] of cases) {
    for (let pass = 0; pass < 2; pass++) {
      const got = await pipeline.toArray();
      expect(got).toEqual(expected);
      if (pipeline.length !== undefined) expect(pipeline.length).toBe(got.length);
    }
  }
  expect(plain(await source.batch(3).toArray())).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
  expect(plain(await source.batch(3, { dropLast: true }).toArray())).toEqual([[0, 1, 2], [3, 4, 5]]); // biome-ignore format: short
  expect([source.batch(3).length, source.batch(3, { dropLast: true }).length]).toEqual([3, 2]);
  expect(await source.batch(4, { collate: (s) => s.join("") }).toArray()).toEqual(["0123", "456"]);
  const pairs = source.map((v) => ({ x: [v, v * v], y: v > 3 }));
  const [batch] = (await pairs.batch(2).toArray()) as unknown as { x: Tensor[]; y: Tensor }[];
  expect([plain(batch.x), batch.y.toArray()]).toEqual([[[0, 1], [0, 1]], [false, false]]); // biome-ignore format: short
  const again = (await pairs.batch(2).unbatch<{ x: Tensor[]; y: Tensor }>().toArray()).map((s) => [
    s.x[1].item(),
    s.y.item(),
  ]);
  expect(again).toEqual([0, 1, 4, 9, 16, 25, 36].map((v) => [v, Number(v > 9)]));
});

test("batch and unbatch, skip and take are each other's inverses", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer(), { maxLength: 20 }), fc.integer({ min: 1, max: 7 }), async (list, n) => {
      const source = from(list);
      expect(
        await source
          .batch(n, { collate: (s) => s })
          .unbatch<number>()
          .toArray(),
      ).toEqual(list);
      expect(await source.take(n).concatenate(source.skip(n)).toArray()).toEqual(list);
      expect((await source.shuffle(n, 1).toArray()).sort()).toEqual([...list].sort());
    }),
    { numRuns: 40 },
  );
});

test("shuffle: the seed decides, every pass has its own order, a sample moves no further ahead than the buffer", async () => {
  const order = async (buffer: number, seed?: number) => {
    const p = numbers(100).shuffle(buffer, seed);
    return [await p.toArray(), await p.toArray()];
  };
  const [first, second] = await order(100, 3);
  expect(await order(100, 3)).toEqual([first, second]);
  expect(first).not.toEqual(second);
  expect((await order(100, 4))[0]).not.toEqual(first);
  expect([...first].sort((a, b) => a - b)).toEqual(await numbers(100).toArray());
  const [near] = await order(5, 1);
  near.forEach((v, i) => {
    expect(v - i).toBeLessThan(5);
  });
  expect((await order(1, 0))[0]).toEqual(await numbers(100).toArray());
  // Each of the 6 orders of 3 samples about equally often (chi-square, 5 degrees of freedom, p = 0.001: 20.5).
  const shuffled = numbers(3).shuffle(3, 11);
  const counts = new Map<string, number>();
  for (let i = 0; i < 300; i++) {
    const key = (await shuffled.toArray()).join();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  expect([...counts.values()].reduce((s, c) => s + (c - 50) ** 2 / 50, (6 - counts.size) * 50)).toBeLessThan(20.5);
  manualSeed(5);
  const [a] = await order(100);
  const [b] = await order(100);
  manualSeed(5);
  expect([await order(100), a]).not.toEqual([b, b]);
  manualSeed(5);
  expect((await order(100))[0]).toEqual(a);
});

test("nothing is read before it is asked for, no more than that, and what is open is closed", async () => {
  const { log, source } = watched(100);
  const pipeline = source
    .map((v) => v)
    .filter(() => true)
    .batch(4);
  expect(log.opened).toBe(0);
  for await (const _ of pipeline) break;
  expect(log).toEqual({ opened: 1, read: 4, closed: 1 });
  await source.take(3).toArray();
  expect(log).toEqual({ opened: 2, read: 7, closed: 2 });

  const chains: ((p: data.Pipeline<number>) => data.Pipeline<unknown>)[] = [
    (p) => p.shuffle(3, 0),
    (p) => p.repeat(),
    (p) => p.prefetch(2),
    (p) => p.cache(),
    (p) => p.concatenate(p),
    (p) => zip(p, numbers(200)),
    (p) => numbers(3).interleave(() => p, { cycle: 2 }),
    (p) => p.interleave((v) => [v]),
    (p) => p.batch(2).unbatch(),
  ];
  for (const chain of chains) {
    for (const ending of ["break", "throw"]) {
      const w = watched(100);
      const use = async () => {
        let n = 0;
        for await (const _ of chain(w.source)) {
          if (++n < 5) continue;
          if (ending === "throw") throw new Error("the step failed");
          break;
        }
      };
      if (ending === "throw") await expect(use()).rejects.toThrow("the step failed");
      else await use();
      expect([String(chain), w.log.opened > 0, w.log.closed]).toEqual([String(chain), true, w.log.opened]);
      expect(w.log.read).toBeLessThan(12);
    }
  }
});

test("prefetch reads ahead while a sample is worked on, no further than asked; errors come in their turn", async () => {
  const { log, source } = watched(100);
  const iterator = source.prefetch(3)[Symbol.asyncIterator]();
  await iterator.next();
  await new Promise((resolve) => setImmediate(resolve));
  expect(log.read).toBe(4);
  await iterator.return(undefined);
  expect(log.closed).toBe(1);
  const broken = numbers(10).map((v) => {
    if (v === 3) throw new Error("sample 3 is broken");
    return v;
  });
  const seen: number[] = [];
  const run = async () => {
    for await (const v of broken.prefetch(5)) seen.push(v);
  };
  await expect(run()).rejects.toThrow("sample 3 is broken");
  expect(seen).toEqual([0, 1, 2]);
});

test("cache reads the source once, after a pass that went to its end", async () => {
  const { log, source } = watched(5);
  const cached = source.cache();
  for await (const v of cached) if (v === 2) break;
  expect(await cached.toArray()).toEqual([0, 1, 2, 3, 4]);
  expect(await cached.toArray()).toEqual([0, 1, 2, 3, 4]);
  expect(log.opened).toBe(2);
});

test("what cannot work is refused in words", async () => {
  expect(() => from(5 as never)).toThrow(/something that can be iterated is needed, got the number 5/);
  expect(() => from((() => []) as never)).toThrow(/fromGenerator takes a function/);
  expect(() => fromGenerator([] as never)).toThrow(/a function is needed/);
  await expect(fromGenerator(() => 5 as never).toArray()).rejects.toThrow(
    /gave the number 5, which cannot be iterated/,
  );
  expect(() => numbers(3).batch(0)).toThrow(/batch's size must be an integer ≥ 1, got the number 0/);
  expect(() => numbers(3).batch(2, { droplast: true } as object)).toThrow(
    /unknown option droplast; did you mean dropLast/,
  );
  expect(() => numbers(3).shuffle(0)).toThrow(ValueError);
  expect(() => numbers(3).shuffle(2, -1)).toThrow(/seed must be an integer/);
  expect(() => numbers(3).take(-1)).toThrow(/take's number of samples must be an integer ≥ 0/);
  expect(() => numbers(3).map(5 as never)).toThrow(/a function is needed, got the number 5/);
  expect(() => zip()).toThrow(/at least one source/);
  await expect(numbers(3).unbatch().toArray()).rejects.toThrow(/the number 0 is no batch/);
  const once = from(
    (function* () {
      yield 1;
    })(),
  );
  expect(await once.toArray()).toEqual([1]);
  await expect(once.toArray()).rejects.toThrow(/was gone through before; data.fromGenerator/);
  expect(await numbers(0).repeat().toArray()).toEqual([]);
});

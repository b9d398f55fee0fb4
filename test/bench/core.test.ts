// The measuring core, with clocks and contestants that are made up.
import { describe, expect, test } from "vitest";
import {
  attainable,
  check,
  contestant,
  gflops,
  interleave,
  inUnit,
  leastTime,
  makeData,
  matmulFlops,
  median,
  nsPerElement,
  PlainMlp,
  pairwiseRatio,
  quantile,
  referenceOf,
  rows,
  type Spec,
  summarize,
  workload,
  workOf,
} from "../../lib/bench/index.js";

describe("statistics", () => {
  test("quantiles lie between neighbours", () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([3, 1, 2], 0)).toBe(1);
    expect(quantile([3, 1, 2], 1)).toBe(3);
    expect(median([])).toBeNaN();
  });

  test("a summary leaves out rounds that were not run", () => {
    const { count, best, median: middle, worst, spread } = summarize([3, Number.NaN, 1, 2]);
    expect({ count, best, middle, worst, spread }).toEqual({ count: 3, best: 1, middle: 2, worst: 3, spread: 0.5 });
    expect(summarize([Number.NaN])).toMatchObject({ count: 0, best: Number.NaN });
  });

  test("ratios are formed round by round", () => {
    // Twice as fast in each round, though the machine slowed down tenfold in the middle one.
    expect(pairwiseRatio([1, 10, 1.5], [2, 20, 3])).toBe(2);
    expect(pairwiseRatio([1, Number.NaN, 1], [3, 5, Number.NaN])).toBe(3);
    expect(pairwiseRatio([1, Number.NaN], [Number.NaN, 2])).toBeNaN();
  });
});

describe("interleave", () => {
  /** Takes `cost` ms a repeat, and writes down when it ran. */
  const fake = (name: string, cost: number, log: string[]) => ({
    name,
    run: (repeats: number) => {
      log.push(`${name}${repeats}`);
      return repeats * cost;
    },
  });
  const sleep = async () => {};

  test("runs in turns, there and back, as often as a turn takes", async () => {
    const log: string[] = [];
    const results = await interleave([fake("a", 1, log), fake("b", 5, log)], { rounds: 3, turn: 10, warmUp: 4, sleep });
    expect(log).toEqual(["a1", "a2", "a4", "b1", "a10", "b2", "b2", "a10", "a10", "b2"]);
    expect(results.map(({ name, times, repeats }) => ({ name, times, repeats }))).toEqual([
      { name: "a", times: [1, 1, 1], repeats: 10 },
      { name: "b", times: [5, 5, 5], repeats: 2 },
    ]);
  });

  test("turns are as long as they should be, whatever paused or was slow during the warm-up", async () => {
    let runs = 0;
    let done = 0;
    const compiledLate = {
      name: "a",
      run: (repeats: number) => {
        done += repeats;
        return repeats * (done > 3 ? 1 : 5) + (++runs === 2 ? 40 : 0);
      },
    };
    const [{ repeats }] = await interleave([compiledLate], { rounds: 1, turn: 50, warmUp: 20, sleep });
    expect(repeats).toBe(50);
  });

  test("rests before every turn", async () => {
    const rests: number[] = [];
    const options = { rounds: 2, turn: 1, rest: 7, sleep: async (ms: number) => void rests.push(ms) };
    await interleave([fake("a", 1, []), fake("b", 1, [])], options);
    expect(rests).toEqual([7, 7, 7, 7, 7, 7]);
  });

  test("a slow one sits rounds out", async () => {
    const log: string[] = [];
    const [slow, quick] = await interleave([fake("slow", 100, log), fake("quick", 1, log)], {
      rounds: 4,
      turn: 10,
      warmUp: 10,
      budget: 350,
      sleep,
    });
    expect(slow.times).toEqual([100, 100, Number.NaN, Number.NaN]);
    expect(quick.times).toEqual([1, 1, 1, 1]);
  });

  test("one that throws is dropped with its error, and what it measured is kept", async () => {
    let runs = 0;
    const bad = {
      name: "bad",
      run: () => {
        if (++runs > 2) throw new Error("broken");
        return 50;
      },
    };
    const [first, second] = await interleave([bad, fake("good", 50, [])], { rounds: 3, sleep });
    expect(first.error?.message).toBe("broken");
    expect(first.times).toEqual([50, Number.NaN, Number.NaN]);
    expect(second.error).toBeUndefined();
    expect(second.times).toEqual([50, 50, 50]);
  });

  test("a signal ends it, keeping what is there", async () => {
    const stop = new AbortController();
    let turns = 0;
    const one = {
      name: "a",
      run: () => {
        if (++turns === 3) stop.abort();
        return 50;
      },
    };
    const [a] = await interleave([one], { rounds: 5, sleep, signal: stop.signal });
    expect(a.times).toEqual([50, 50]);
    expect(a.error).toBeUndefined();
  });

  test("a contestant is timed by its clock, promises awaited", async () => {
    let clock = 0;
    const now = () => clock;
    const spend = (ms: number): void => {
      clock += ms;
    };
    const plain = contestant("plain", () => spend(3), now);
    expect(await plain.run(4)).toBe(12);
    const awaited = contestant("awaited", async () => spend(5), now);
    expect(await awaited.run(3)).toBe(15);
  });
});

describe("what times mean", () => {
  test("units", () => {
    expect(gflops(matmulFlops(100, 100, 100), 2)).toBe(1);
    expect(nsPerElement(1e6, 2)).toBe(2);
    const product = rows.find(({ id }) => id === "G1");
    expect(inUnit(product!, 2 * 1024 ** 3 * 1e-9)).toBeCloseTo(1000, 6); // 2 GFLOP in 2 µs
    const relu = rows.find(({ id }) => id === "E1");
    expect(inUnit(relu!, 1)).toBe(1);
  });

  test("the roofline", () => {
    const limits = { gflops: 100, gigabytes: 10 };
    expect(attainable(limits, 1)).toBe(10);
    expect(attainable(limits, 20)).toBe(100);
    expect(leastTime(limits, { flops: 1e8, bytes: 1e6 })).toBe(1);
    expect(leastTime(limits, { flops: 1e6, bytes: 1e8 })).toBe(10);
  });

  test("the LeNet takes 1.52 million operations a sample", () => {
    const { spec } = rows.find(({ id }) => id === "T6")!;
    expect(workOf(spec).flops / 64 / 1e6).toBeCloseTo(1.52, 2);
  });
});

describe("workloads", () => {
  const small: Spec[] = [
    { kind: "matmul", m: 5, k: 7, n: 3, chain: 1 },
    { kind: "matmul", m: 8, k: 8, n: 8, chain: 5 },
    { kind: "unary", fn: "gelu", n: 1000 },
    { kind: "softmax", rows: 3, columns: 10 },
    { kind: "mlp", sizes: [4, 5, 3], batch: 6, batches: 2 },
    { kind: "inference", sizes: [4, 5, 3], batch: 6, batches: 2 },
    { kind: "add", grad: true },
  ];

  test.each(small)("agree with float64: $kind", async (spec) => {
    const data = makeData(spec);
    const reference = referenceOf(spec, data)!;
    const variants = workload(spec, data);
    expect(variants.length).toBeGreaterThan(1);
    for (const variant of variants) {
      check(variant.output(), reference);
      expect(await variant.run(3)).toBeGreaterThan(0);
    }
  });

  test("the check notices one wrong number", () => {
    const data = makeData(small[0]);
    const reference = referenceOf(small[0], data)!;
    const [variant] = workload(small[0], data);
    const output = Float32Array.from(variant.output());
    output[14] += 1e-3;
    expect(() => check(output, reference)).toThrow(/element 14 is/);
    output[14] = Number.NaN;
    expect(() => check(output, reference)).toThrow(/element 14 is NaN/);
    expect(() => check(output.subarray(0, 10), reference)).toThrow(/element 10 is undefined/);
  });

  test("the network by hand learns", () => {
    const spec = { kind: "mlp", sizes: [4, 16, 3], batch: 8, batches: 1 } as const;
    const data = makeData(spec);
    const net = new PlainMlp(spec.sizes, spec.batch, data, Float64Array);
    const first = net.step(data.x, data.y, 0);
    for (let i = 0; i < 300; i++) net.step(data.x, data.y, 0);
    expect(net.step(data.x, data.y, 0)).toBeLessThan(0.7 * first);
  });

  test("data are the same every time", () => {
    expect(makeData(small[0])).toEqual(makeData(small[0]));
  });
});

import { describe, expect, it } from "vitest";
import { JsDevice } from "../../../lib/device/js/index.js";
import { detLog, inverseNormal, philox4x32 } from "../../../lib/device/js/random.js";
import { Bench } from "../encode.js";

const hex = (words: Uint32Array) => Array.from(words, (w) => w.toString(16).padStart(8, "0")).join(" ");

describe("random numbers", () => {
  const bench = new Bench(new JsDevice());
  const f = (value: number) => ({ dtype: "float64", value }) as const;

  it("Philox gives the published vectors", () => {
    // kat_vectors of the authors' Random123 library
    expect(hex(philox4x32(0, 0, 0, 0, 0, 0))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    expect(hex(philox4x32(-1, -1, -1, -1, -1, -1))).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
    const pi = philox4x32(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0);
    expect(hex(pi)).toBe("d16cfe09 94fdcceb 5001e420 24126ea1");
  });

  it("the logarithm and the inverse normal distribution are accurate", () => {
    for (const x of [1e-16, 0.001, 0.3, 0.7, 0.999, 1, 1.5, 123]) {
      expect(Math.abs(detLog(x) - Math.log(x))).toBeLessThanOrEqual(4e-16 * Math.max(1, Math.abs(Math.log(x))));
    }
    expect(inverseNormal(0.25)).toBeCloseTo(-0.6744897501960817, 15); // AS 241, test values
    expect(inverseNormal(0.001)).toBeCloseTo(-3.090232306167814, 14);
    expect(inverseNormal(1e-20)).toBeCloseTo(-9.26234008979841, 13);
    expect(inverseNormal(1)).toBe(-inverseNormal(2 ** -54));
  });

  it("normal numbers have the bits of the C++ functions", () => {
    // native/core/philox.h: seed 1234567890123, block 2^40
    const y = bench.compute("normal", "float64", [4], [f(1234567890123), f(2 ** 40)]);
    expect(y).toEqual([-0.26731159654020881, -1.9637387806648958, -0.40825216895722988, 0.28908073132978446]);
  });

  it("numbers do not depend on where a range begins, or on the layout", () => {
    const all = bench.compute("uniform", "float32", [5000], [f(9), f(0)]);
    expect(bench.compute("uniform", "float32", [8], [f(9), f(1200)])).toEqual(all.slice(4800, 4808));
    const memory = bench.empty("float32", [15]);
    bench.run({ op: "uniform", out: [{ ...memory, shape: [3, 5], strides: [1, 3] }], in: [f(9), f(0)] });
    const columns = bench.numbers(memory);
    expect([0, 3, 6, 9, 12, 1].map((p) => columns[p])).toEqual(all.slice(0, 6));
    expect(Math.min(...all)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...all)).toBeLessThan(1);
  });

  it("normal, randint and arange", () => {
    const z = bench.compute("normal", "float32", [20000], [f(1), f(0)]);
    const mean = z.reduce((a, b) => a + b) / z.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(z.reduce((a, b) => a + b * b, 0) / z.length - 1)).toBeLessThan(0.05);
    const r = bench.compute("randint", "int64", [1000], [f(1), f(0), f(-2), f(3)]);
    expect(new Set(r)).toEqual(new Set([-2, -1, 0, 1, 2]));
    expect(bench.compute("arange", "float32", [4], [f(0.5), f(0.25)])).toEqual([0.5, 0.75, 1, 1.25]);
    const start = { dtype: "int64", value: 2n ** 63n - 2n } as const;
    expect(bench.compute("arange", "int64", [3], [start, { dtype: "int64", value: 1 }]).map(Math.sign)).toEqual([
      1, 1, -1,
    ]);
  });

  it("seeds must be integers", () => {
    expect(() => bench.compute("uniform", "float32", [4], [f(0.5), f(0)])).toThrow(/uniform: seed must be an integer/);
    expect(() => bench.compute("randint", "int32", [4], [f(1), f(0), f(3), f(3)])).toThrow(
      /low must be less than high/,
    );
  });
});

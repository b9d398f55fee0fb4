// Trend tests against SciPy, and what they do where there is no trend.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { noiseOf, normalCdf, strips, trend } from "../../lib/diagnosis/trend.js";
import { noisy, normal } from "./curves.js";

const figures = JSON.parse(readFileSync(new URL("trend.json", import.meta.url), "utf8")) as {
  rows: { values: number[]; slope: number; rising?: number; falling?: number }[];
  normal: { z: number; p: number }[];
};

describe("trend", () => {
  test.each(figures.rows.map((row) => [row.values.length, row] as const))(
    "of %i values agrees with SciPy",
    (_, row) => {
      const found = trend(row.values);
      expect(found.slope).toBeCloseTo(row.slope, 12);
      if (row.rising !== undefined && row.falling !== undefined) {
        expect(found.rising).toBeCloseTo(row.rising, 10);
        expect(found.falling).toBeCloseTo(row.falling, 10);
      }
    },
  );

  test("the normal distribution agrees with SciPy", () => {
    for (const { z, p } of figures.normal) expect(Math.abs(normalCdf(z) - p)).toBeLessThan(1e-7);
  });

  test("without a trend p is below 0.05 in about one of twenty series", () => {
    const runs = 400;
    const found = (ar: number): number =>
      Array.from({ length: runs }, (_, seed) => trend(noisy(() => 0, 40, 1, seed, ar)).rising).filter((p) => p < 0.05)
        .length / runs;
    expect(found(0)).toBeLessThan(0.09);
    expect(found(0)).toBeGreaterThan(0.015);
    // Unadjusted, autocorrelation of 0.7 would make it one of four.
    expect(found(0.7)).toBeLessThan(0.16);
  });

  test("equal values have none", () => {
    expect(trend([2, 2, 2, 2, 2])).toEqual({ slope: 0, error: 0, rising: 1, falling: 1 });
  });

  test("the error of a slope is that of a regression's", () => {
    const slopes = Array.from({ length: 200 }, (_, seed) => trend(normal(50, seed)));
    const deviation = Math.sqrt(slopes.reduce((s, t) => s + t.slope ** 2, 0) / slopes.length);
    const error = slopes.reduce((s, t) => s + t.error, 0) / slopes.length;
    expect(error / deviation).toBeGreaterThan(0.8);
    expect(error / deviation).toBeLessThan(1.4);
  });
});

test("noise is found around a curve that moves, jumps do not count", () => {
  const curve = noisy((s) => 3 * Math.exp(-5 * s), 400, 0.1, 3);
  curve[200] += 50;
  expect(noiseOf(curve)).toBeGreaterThan(0.085);
  expect(noiseOf(curve)).toBeLessThan(0.115);
});

test("strips are means of k values", () => {
  expect(strips([1, 3, 5, 7, 10], 2)).toEqual([2, 6, 10]);
});

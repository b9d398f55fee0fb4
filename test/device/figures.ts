// Runs every case of test/figures/kernels.json (PyTorch's figures) on a device, with operands in several layouts.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Device } from "../../lib/device/device.js";
import { halfToFloat } from "../../lib/device/js/view.js";
import { type DType, dtypes } from "../../lib/tensor/dtype.js";
import { Bench, rowMajor, type Tensor } from "./encode.js";

interface Figure {
  dtype: DType;
  shape: number[];
  values: (number | string)[];
}
interface Case {
  op: string;
  fn?: string;
  attr: number[];
  out: Figure[];
  in: Figure[];
  start?: Figure;
}

export const cases: readonly Case[] = JSON.parse(
  readFileSync(new URL("../figures/kernels.json", import.meta.url), "utf8"),
);

type Layout = "row-major" | "reversed" | "transposed";

/** Where the elements of a shape lie: strides and an offset that leaves a gap before. */
function layOut(shape: readonly number[], layout: Layout): { strides: number[]; offset: number; length: number } {
  const n = shape.reduce((a, b) => a * b, 1);
  if (layout === "row-major") return { strides: rowMajor(shape), offset: 0, length: n };
  if (layout === "transposed") {
    const strides = rowMajor([...shape].reverse()).reverse();
    return { strides: strides.map((s) => 2 * s), offset: 3, length: 2 * n + 3 };
  }
  const strides = rowMajor(shape);
  strides[strides.length - 1] *= -1;
  return { strides, offset: Math.max(0, (shape.at(-1) ?? 1) - 1), length: n + (n === 0 ? shape.at(-1)! : 0) };
}

function positions(shape: readonly number[], strides: readonly number[], offset: number): number[] {
  let list = [offset];
  shape.forEach((size, d) => {
    list = list.flatMap((p) => Array.from({ length: size }, (_, i) => p + i * strides[d]));
  });
  return list;
}

const parse = (v: number | string, dtype: DType): number | bigint =>
  dtype === "int64"
    ? BigInt(v)
    : v === "nan"
      ? Number.NaN
      : v === "inf"
        ? Infinity
        : v === "-inf"
          ? -Infinity
          : Number(v);

const noneBit = (dtype: DType) => (dtype === "int64" ? 0n : 0);

/** Bits of the 16-bit floats as numbers. */
function decoded(v: number | bigint, dtype: DType): number | bigint {
  if (dtype === "float16") return halfToFloat(Number(v));
  if (dtype !== "bfloat16") return v;
  return new Float32Array(Uint32Array.of(Number(v) << 16).buffer)[0];
}

/** Relative and absolute error allowed: rounding of the dtype, and sums of float32. */
const tolerances: Partial<Record<DType, number>> = { float32: 2e-6, float64: 4e-14, float16: 2e-3, bfloat16: 1.6e-2 };

function compare(actual: (number | bigint)[], expected: (number | bigint)[], dtype: DType, what: string): void {
  const tolerance = tolerances[dtype];
  expected.forEach((want, i) => {
    const got = actual[i];
    const isFloat = typeof got === "number" && typeof want === "number" && tolerance !== undefined;
    const close = isFloat && Math.abs(got - want) <= tolerance * Math.min(1e300, Math.abs(want)) + tolerance * 1e-1;
    if (!(got === want || Object.is(got, want) || close)) {
      expect.fail(`${what}: element ${i} is ${got}, should be ${want}`);
    }
  });
}

function runCase(bench: Bench, c: Case, layout: Layout): void {
  const place = ({ dtype, shape, values }: Figure): Tensor => {
    const { strides, offset, length } = layOut(shape, shape.length === 0 ? "row-major" : layout);
    const memory = new Array(length).fill(noneBit(dtype));
    positions(shape, strides, offset).forEach((p, i) => {
      memory[p] = parse(values[i], dtype);
    });
    return { ...bench.tensor(dtype, [length], memory), shape, strides, offset };
  };
  const inputs = c.in.map((figure) => {
    // A scalar is sometimes an immediate.
    if (figure.shape.length === 0 && (layout === "reversed" || c.op === "normalize")) {
      return { dtype: figure.dtype, value: parse(figure.values[0], figure.dtype) };
    }
    return place(figure);
  });
  const outputs = c.out.map((figure) => {
    const start = c.start ?? { ...figure, values: figure.values.map(() => 0) };
    return place(start);
  });
  const attr = [...c.attr];
  if (c.fn) {
    const ctypes: Record<string, DType> = { float16: "float32", bfloat16: "float32" };
    const from = c.in[c.fn === "where" ? 1 : 0].dtype;
    const args = [0, 1, 2].map((i) => (i < inputs.length ? i : -1));
    attr.push(1, bench.device.elementwise.get(c.fn)!, dtypes.indexOf(ctypes[from] ?? from), ...args, inputs.length);
  }
  bench.run({ op: c.op, attr, out: outputs, in: inputs });
  c.out.forEach((figure, k) => {
    const out = outputs[k];
    const { length } = layOut(figure.shape, figure.shape.length === 0 ? "row-major" : layout);
    const memory = bench.read({ ...out, shape: [length] });
    const actual = positions(figure.shape, out.strides!, out.offset!).map((p) => decoded(memory[p], figure.dtype));
    const expected = figure.values.map((v) => decoded(parse(v, figure.dtype), figure.dtype));
    compare(actual, expected, figure.dtype, `${c.fn ?? c.op} ${JSON.stringify(c.attr)} ${layout}, output ${k}`);
  });
}

/** One test a kernel (and element-wise function). */
export function testFigures(device: Device): void {
  const bench = new Bench(device);
  const groups = new Map<string, Case[]>();
  for (const c of cases) groups.set(c.fn ?? c.op, [...(groups.get(c.fn ?? c.op) ?? []), c]);
  for (const [name, list] of groups) {
    it(`${name}: ${list.length} cases agree with PyTorch`, () => {
      for (const c of list)
        for (const layout of ["row-major", "reversed", "transposed"] as const) runCase(bench, c, layout);
    });
  }
}

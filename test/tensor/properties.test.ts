// Random shapes, layouts and dtypes against the slow and obvious array.
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  add,
  all,
  amax,
  amin,
  any,
  argmax,
  cat,
  cumsum,
  type DType,
  dtypes,
  eq,
  gather,
  indexAdd,
  indexSelect,
  lt,
  matmul,
  maximum,
  mean,
  mul,
  pad,
  prod,
  promoteTypes,
  remainder,
  roll,
  scatter,
  scatterAdd,
  sort,
  split,
  sub,
  sum,
  type Tensor,
  tensor,
  where,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";
import {
  at,
  build,
  coordinates,
  filled,
  layouts,
  make,
  type Nd,
  read,
  replaced,
  shapes,
  sizeOf,
  spreadAt,
} from "./nd.js";

const check = <T extends [unknown, ...unknown[]]>(
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  body: (...values: T) => void,
  numRuns = 80,
): void => fc.assert(fc.property(...arbitraries, body), { numRuns });

const signed = fc.constantFrom<DType>("float32", "float64", "int32", "int64", "float16", "bfloat16");
/** An axis, or the same one counted from the end. */
const either = (axis: number, ndim: number, pick: number): number => (pick % 2 ? axis - ndim : axis);
/** Equal numbers; the sign of a zero is left to the tests of single operations. */
const equal = (found: Tensor, wanted: Nd<number | boolean>): void =>
  expect({ shape: found.shape, values: read(found).values.map((v) => v + 0) }).toEqual({
    shape: wanted.shape,
    values: wanted.values.map((v) => Number(v) + 0),
  });

const binary: Record<string, [(a: Tensor, b: Tensor) => Tensor, (a: number, b: number) => number | boolean]> = {
  add: [add, (a, b) => a + b],
  sub: [sub, (a, b) => a - b],
  mul: [mul, (a, b) => a * b],
  maximum: [maximum, Math.max],
  remainder: [
    (a, b) => remainder(a, where(eq(b, 0), tensor(7, { dtype: b.dtype, device: b.device }), b)),
    (a, b) => a - (b || 7) * Math.floor(a / (b || 7)),
  ],
  lt: [lt, (a, b) => a < b],
  eq: [eq, (a, b) => a === b],
};

/** Two shapes that broadcast to one. */
const broadcastable = fc
  .tuple(shapes(), fc.nat(15), fc.nat(15), fc.nat(4), fc.nat(4))
  .map(([shape, onesA, onesB, dropA, dropB]) => {
    const thin = (ones: number, drop: number) => shape.map((n, d) => ((ones >> d) & 1 ? 1 : n)).slice(drop);
    const [a, b] = [thin(onesA, dropA), thin(onesB, dropA === 0 ? dropB : 0)];
    const size = (s: number[], d: number): number => s[d - shape.length + s.length] ?? 1;
    return { a, b, shape: shape.map((_, d) => (size(a, d) === 1 ? size(b, d) : size(a, d))) };
  });

interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}
const steps = fc.array(fc.record({ kind: fc.nat(7), a: fc.nat(20), b: fc.nat(20), c: fc.nat(20) }), { maxLength: 6 });

/** A view of a tensor, and the same of the obvious array. */
type View = [(t: Tensor) => Tensor, <T>(x: Nd<T>) => Nd<T>];

/** One view of a random chain, for tensors of shape x. */
function viewOf(x: readonly number[], { kind, a, b, c }: Step): View {
  const ndim = x.length;
  const d = ndim ? a % ndim : 0;
  const n = x[d] ?? 0;
  const axis = either(d, ndim, b);
  if (kind === 0 && ndim < 5) {
    const i = a % (ndim + 1);
    return [(t) => t.unsqueeze(i), (y) => ({ ...y, shape: [...x.slice(0, i), 1, ...x.slice(i)] })];
  }
  if (ndim === 0) return [(t) => t.reshape([1, 1]), (y) => ({ ...y, shape: [1, 1] })];
  if (kind === 1) {
    const shape = [...x.slice(0, d), n * (x[d + 1] ?? 1), ...x.slice(d + 2)];
    return [(t) => t.reshape(b % 2 && sizeOf(shape) ? replaced(shape, d, -1) : shape), (y) => ({ ...y, shape })];
  }
  if (kind === 2) {
    const order = x.map((_, i) => i);
    order.splice(b % ndim, 0, ...order.splice(d, 1));
    const from = order.map((_, i) => order.indexOf(i));
    return [
      (t) => t.permute(order.map((i) => either(i, ndim, c))),
      (y) =>
        build(
          order.map((i) => x[i]),
          (w) =>
            at(
              y,
              from.map((i) => w[i]),
            ),
        ),
    ];
  }
  if (kind === 3) {
    const [start, stop, step] = [b % (n + 1), c % (n + 2), 1 + (b % 3)];
    const size = Math.max(0, Math.ceil((Math.min(stop, n) - start) / step));
    return [
      (t) => t.slice(axis, start, stop, step),
      (y) => build(replaced(x, d, size), (w) => at(y, replaced(w, d, start + step * w[d]))),
    ];
  }
  if (kind === 4) return [(t) => t.flip(axis), (y) => build(x, (w) => at(y, replaced(w, d, n - 1 - w[d])))];
  const without = [...x.slice(0, d), ...x.slice(d + 1)];
  if (kind === 5 && n > 0) {
    const i = b % n;
    return [
      (t) => t.select(axis, c % 2 ? i : i - n),
      (y) => build(without, (w) => at(y, [...w.slice(0, d), i, ...w.slice(d)])),
    ];
  }
  if (kind === 6 && n === 1) return [(t) => t.squeeze(axis), (y) => ({ ...y, shape: without })];
  const e = b % ndim;
  const swap = (s: readonly number[]) => replaced(replaced(s, d, s[e]), e, s[d]);
  return [(t) => t.transpose(axis, e), (y) => build(swap(x), (w) => at(y, swap(w)))];
}

function chain(start: readonly number[], list: readonly Step[]): View {
  let shape = start;
  const views = list.map((step) => {
    const view = viewOf(shape, step);
    shape = view[1]<number>({ shape, values: [] }).shape;
    return view;
  });
  return [(t) => views.reduce((y, [f]) => f(y), t), (x) => views.reduce((y, [, f]) => f(y), x)];
}

/** Rounding to a float of `digits` binary digits, the last of which never counts less than 2^least. */
function roundTo(x: number, digits: number, least: number, largest: number): number {
  const y = Math.fround(x);
  if (!Number.isFinite(y) || y === 0) return y;
  let unit = 2 ** least;
  while (Math.abs(y) / unit >= 2 ** digits) unit *= 2;
  const [low, rest] = [Math.floor(Math.abs(y) / unit), (Math.abs(y) / unit) % 1];
  const rounded = (rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low) * unit;
  return Math.sign(y) * (rounded > largest ? Number.POSITIVE_INFINITY : rounded);
}

type Value = number | bigint;
/** As a signed integer: integers wrap, floats saturate. */
function integer(x: Value, bits: number): bigint {
  if (typeof x === "bigint") return BigInt.asIntN(bits, x);
  const limit = 2n ** BigInt(bits - 1);
  if (Math.abs(x) >= Number(limit)) return x < 0 ? -limit : limit - 1n;
  return Number.isNaN(x) ? 0n : BigInt(Math.trunc(x));
}
/** What a value becomes in each dtype (docs/kernels.md, Data). Integers are bigints, so that they are exact. */
const converted: Record<DType, (x: Value) => Value> = {
  float32: (x) => Math.fround(Number(x)),
  float64: Number,
  float16: (x) => roundTo(Number(x), 11, -24, 65504),
  bfloat16: (x) => roundTo(Number(x), 8, -133, 3.3895313892515355e38),
  int32: (x) => integer(x, 32),
  int64: (x) => integer(x, 64),
  uint8: (x) => BigInt.asUintN(8, integer(x, 64)),
  bool: (x) => (Number(x) === 0 ? 0n : 1n),
};
/** Without denormal float32, which the native device takes as zero. */
const numbers = fc
  .oneof(
    fc.double(),
    fc.float(),
    fc.integer({ min: -70_000, max: 70_000 }).map((x) => x / 8),
    fc.double({ min: -1e-4, max: 1e-4 }),
    fc.integer({ min: -40, max: 40 }).map((e) => 2 ** e * 1.0009765625),
    fc.constantFrom(65504, 65519.99, 65520, 2 ** -24, 2 ** -25, 3 * 2 ** -25, 2 ** -14 - 2 ** -25, 255.5, 256, -1.5),
    fc.constantFrom(0, -0, 3.3961775e38, 2 ** 31 - 0.5, 2 ** 31, -(2 ** 31) - 1, 2 ** 63, -(2 ** 63), Number.NaN),
  )
  .map((x) => (Math.abs(x) < 2 ** -126 ? 0 * x : x));

onEveryDevice("against the obvious", (device) => {
  test("broadcasting of binary operations", () => {
    const pairs = broadcastable.chain((s) => fc.tuple(filled(s.a), filled(s.b), fc.constant(s.shape)));
    check(
      [pairs, fc.constantFrom(...Object.keys(binary)), signed, signed, layouts, layouts],
      ([a, b, shape], name, left, right, layoutA, layoutB) => {
        const [op, rule] = binary[name];
        const found = op(make(a, { dtype: left, device }, layoutA), make(b, { dtype: right, device }, layoutB));
        equal(
          found,
          build(shape, (w) => rule(spreadAt(a, w), spreadAt(b, w))),
        );
        if (typeof rule(1, 2) === "boolean") expect(found.dtype).toBe("bool");
        else if (a.shape.length && b.shape.length) expect(found.dtype).toBe(promoteTypes(left, right));
      },
      150,
    );
  });

  test("chains of views, and writes through them", () => {
    const cases = shapes().chain((shape) => fc.tuple(filled(shape, 0, 9), steps));
    check(
      [cases, fc.constantFrom<DType>("float32", "int64", "uint8", "float16"), layouts],
      ([x, list], dtype, layout) => {
        const base = make(x, { dtype, device }, layout);
        const [through, rule] = chain(x.shape, list);
        const [found, wanted] = [through(base), rule(x)];
        equal(found, wanted);
        equal(found.clone(), wanted);
        equal(add(found, found), { ...wanted, values: wanted.values.map((v) => 2 * v) });
        if (found.storage !== base.storage) return; // a reshape had to copy
        const places = rule({ shape: x.shape, values: x.values.map((_, i) => i) }).values;
        found.mul_(3).add_(1);
        const written = [...x.values];
        for (const p of places) written[p] = written[p] * 3 + 1;
        equal(base, { shape: x.shape, values: written });
      },
      200,
    );
  });

  test("an operand may lie across the tensor that is written", () => {
    const cases = fc.integer({ min: 0, max: 6 }).chain((n) => fc.tuple(filled([n, n]), fc.nat(3)));
    check([cases, fc.constantFrom<DType>("float32", "float64", "int32")], ([x, kind], dtype) => {
      const t = make(x, { dtype, device });
      const n = x.shape[0] - 1;
      const turned = [t.transpose(0, 1), t.flip(0), t.flip(), t.transpose(0, 1).flip(1)][kind];
      const from = ([i, j]: number[]) => [
        [j, i],
        [n - i, j],
        [n - i, n - j],
        [n - j, i],
      ];
      t.mul_(2).sub_(turned);
      equal(
        t,
        build(x.shape, (w) => 2 * at(x, w) - 2 * at(x, from(w)[kind])),
      );
    });
  });

  test("a write whose elements would meet in memory is refused", () => {
    const x = tensor([1, 2, 3, 4, 5], { device });
    expect(() => x.unfold(0, 3, 1).add_(1)).toThrow(/share one place in memory/);
    expect(x.unfold(0, 2, 2).add_(1).shape).toEqual([2, 2]);
    expect(x.toArray()).toEqual([2, 3, 4, 5, 5]);
  });

  test("reductions over any dimensions", () => {
    const cases = shapes().chain((shape) => fc.tuple(filled(shape, -2, 2), fc.subarray(shape.map((_, d) => d))));
    const rules: Record<
      string,
      [(x: Tensor, dims: number[] | undefined, keep: boolean) => Tensor, (v: number[]) => number | boolean]
    > = {
      sum: [sum, (v) => v.reduce((a, b) => a + b, 0)],
      mean: [mean, (v) => v.reduce((a, b) => a + b, 0) / v.length],
      prod: [prod, (v) => v.reduce((a, b) => a * b, 1)],
      amax: [amax, (v) => Math.max(...v)],
      amin: [amin, (v) => Math.min(...v)],
      any: [any, (v) => v.some((a) => a !== 0)],
      all: [all, (v) => v.every((a) => a !== 0)],
    };
    check(
      [cases, fc.constantFrom(...Object.keys(rules)), signed, layouts, fc.boolean(), fc.nat(1)],
      ([x, picked], name, wanted, layout, keep, negative) => {
        const dtype = name === "mean" ? "float64" : wanted;
        const dims = picked.length === 0 ? x.shape.map((_, d) => d) : picked;
        const kept = x.shape.map((n, d) => (dims.includes(d) ? 1 : n));
        const inside = coordinates(x.shape.map((n, d) => (dims.includes(d) ? n : 1)));
        const [op, rule] = rules[name];
        const axes = picked.length ? picked.map((d) => either(d, x.shape.length, negative)) : undefined;
        const run = () => op(make(x, { dtype, device }, layout), axes, keep);
        if (name.startsWith("am") && dims.some((d) => x.shape[d] === 0)) {
          expect(run).toThrow(/no elements/);
          return;
        }
        const result = build(kept, (w) =>
          rule(
            inside.map((i) =>
              at(
                x,
                i.map((k, d) => k + w[d]),
              ),
            ),
          ),
        );
        equal(run(), { ...result, shape: keep ? kept : x.shape.filter((_, d) => !dims.includes(d)) });
      },
      200,
    );
  });

  test("argmax, sort and cumsum along a dimension", () => {
    const cases = shapes(1).chain((shape) => fc.tuple(filled(shape, -2, 2), fc.nat(shape.length - 1)));
    check([cases, signed, layouts, fc.boolean()], ([x, d], dtype, layout, descending) => {
      const t = make(x, { dtype, device }, layout);
      const line = (w: number[]) => Array.from({ length: x.shape[d] }, (_, i) => at(x, replaced(w, d, i)));
      const order = (w: number[]) => {
        const v = line(w);
        return v.map((_, i) => i).sort((i, j) => (descending ? v[j] - v[i] : v[i] - v[j]) || i - j);
      };
      const sorted = sort(t, either(d, x.shape.length, Number(descending)), descending);
      equal(
        sorted.indices,
        build(x.shape, (w) => order(w)[w[d]]),
      );
      equal(
        sorted.values,
        build(x.shape, (w) => line(w)[order(w)[w[d]]]),
      );
      const sums = build(x.shape, (w) =>
        line(w)
          .slice(0, w[d] + 1)
          .reduce((a, b) => a + b, 0),
      );
      equal(cumsum(t, d), sums);
      if (x.shape[d] === 0) return;
      equal(
        argmax(t, d, true),
        build(replaced(x.shape, d, 1), (w) => line(w).indexOf(Math.max(...line(w)))),
      );
    });
  });

  test("matmul of any batches and layouts", () => {
    const sizes = fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5));
    const vectors = fc.constantFrom("", "", "", "a", "b", "ab");
    const cases = fc
      .tuple(broadcastable, sizes, vectors)
      .chain(([s, [m, k, n], flat]) =>
        fc.tuple(
          filled(flat.includes("a") ? [k] : [...s.a, m, k], 0),
          filled(flat.includes("b") ? [k] : [...s.b, k, n], 0),
        ),
      );
    const kinds = fc.constantFrom<DType>("float32", "float64", "int32", "int64", "float16", "uint8");
    check(
      [cases, kinds, layouts, layouts],
      ([a, b], dtype, layoutA, layoutB) => {
        const left = a.shape.length === 1 ? { ...a, shape: [1, ...a.shape] } : a;
        const right = b.shape.length === 1 ? { ...b, shape: [...b.shape, 1] } : b;
        const [leads, trails] = [left.shape.slice(0, -2), right.shape.slice(0, -2)];
        const ndim = Math.max(leads.length, trails.length);
        const batch = Array.from({ length: ndim }, (_, i) => {
          const [p, q] = [leads[i - ndim + leads.length] ?? 1, trails[i - ndim + trails.length] ?? 1];
          return p === 1 ? q : p;
        });
        const [[m, k], n] = [left.shape.slice(-2), right.shape[right.shape.length - 1]];
        // Broadcasting is for the batch alone.
        const one = (x: Nd, w: number[], i: number, j: number) => {
          const lead = x.shape.slice(0, -2).map((size, d) => (size === 1 ? 0 : w[d + ndim - x.shape.length + 2]));
          return at(x, [...lead, i, j]);
        };
        const result = build([...batch, m, n], (w) => {
          const [i, j] = w.slice(-2);
          return Array.from({ length: k }, (_, p) => one(left, w, i, p) * one(right, w, p, j)).reduce(
            (u, v) => u + v,
            0,
          );
        });
        const shape = [...batch, ...(a.shape.length === 1 ? [] : [m]), ...(b.shape.length === 1 ? [] : [n])];
        const found = matmul(make(a, { dtype, device }, layoutA), make(b, { dtype, device }, layoutB));
        equal(found, { ...result, shape });
      },
      150,
    );
  });

  test("cat undoes split, slice undoes pad, roll undoes roll", () => {
    const cases = shapes(1).chain((shape) =>
      fc.tuple(filled(shape, 0, 1), fc.nat(shape.length - 1), fc.nat(4), fc.integer({ min: -9, max: 9 })),
    );
    check([cases, fc.constantFrom(...dtypes), layouts], ([x, d, n, shift], dtype, layout) => {
      const t = make(x, { dtype, device }, dtype === "bool" ? undefined : layout);
      const parts = split(t, n + 1, d);
      expect(parts.length).toBe(Math.max(1, Math.ceil(x.shape[d] / (n + 1))));
      equal(cat(parts, d), x);
      let padded = pad(
        t,
        x.shape.flatMap(() => [n, d]),
        "constant",
        1,
      );
      expect(padded.shape).toEqual(x.shape.map((s) => s + n + d));
      const total = sizeOf(padded.shape) - sizeOf(x.shape) + x.values.reduce((a, b) => a + b, 0);
      expect(padded.double().sum().item()).toBe(total);
      for (let i = 0; i < x.shape.length; i++) padded = padded.slice(i, n, n + x.shape[i]);
      equal(padded, x);
      const size = x.shape[d];
      const rolled = roll(t, shift, d);
      equal(
        rolled,
        build(x.shape, (w) => at(x, replaced(w, d, (((w[d] - shift) % size) + size) % size))),
      );
      equal(roll(rolled, -shift, d), x);
    });
  });

  test("gather, scatter, indexSelect and indexAdd", () => {
    const cases = shapes(1, 3)
      .chain((shape) => fc.record({ x: filled(shape), dim: fc.nat(shape.length - 1), n: fc.nat(5) }))
      .chain(({ x, dim, n }) => {
        const size = x.shape[dim];
        const picks = (shape: number[]) => (size ? filled(shape, -size, size - 1) : filled(replaced(shape, dim, 0)));
        return picks(replaced(x.shape, dim, n)).chain((index) =>
          fc.record({
            x: fc.constant(x),
            dim: fc.constant(dim),
            index: fc.constant(index),
            src: filled(index.shape),
            rows: size ? filled([n], -size, size - 1) : filled([0]),
          }),
        );
      });
    check(
      [cases, signed, fc.constantFrom<DType>("int64", "int32"), layouts, layouts],
      ({ x, dim, index, src, rows }, dtype, kind, layoutA, layoutB) => {
        const t = make(x, { dtype, device }, layoutA);
        const i = make(index, { dtype: kind, device }, layoutB);
        const s = make(src, { dtype, device }, layoutB);
        const row = (k: number) => (k < 0 ? k + x.shape[dim] : k);
        const target = (w: number[]) => replaced(w, dim, row(at(index, w)));
        const position = (w: number[]) => w.reduce((p, k, d) => p * x.shape[d] + k, 0);
        equal(
          gather(t, dim, i),
          build(index.shape, (w) => at(x, target(w))),
        );
        const [put, added, more] = [[...x.values], [...x.values], [...x.values]];
        for (const w of coordinates(index.shape)) {
          put[position(target(w))] = at(src, w);
          added[position(target(w))] += at(src, w);
        }
        equal(scatter(t, dim, i, s), { ...x, values: put });
        equal(scatterAdd(t, dim, i, s), { ...x, values: added });

        const r = make(rows, { dtype: kind, device });
        const source = (w: number[]) => replaced(w, dim, row(rows.values[w[dim]]));
        const selected = build(replaced(x.shape, dim, rows.values.length), (w) => at(x, source(w)));
        for (const w of coordinates(selected.shape)) more[position(source(w))] += at(selected, w);
        equal(indexSelect(t, dim, r), selected);
        equal(indexAdd(t, dim, r, indexSelect(t, dim, r)), { ...x, values: more });
      },
      120,
    );
  });

  test("conversions between dtypes", () => {
    const lists = fc.array(numbers, { maxLength: 40 });
    check(
      [lists, fc.constantFrom(...dtypes), fc.constantFrom(...dtypes), fc.boolean()],
      (list, from, to, backwards) => {
        const x = tensor(list, { dtype: "float64", device, shape: [list.length] });
        const middle = (backwards ? x.flip().clone().flip() : x).to(from);
        const first = list.map(converted[from]);
        const second = first.map(converted[to]);
        const found = [read(middle).values, read(middle.to(to)).values];
        list.forEach((value, k) => {
          const seen = `${value} as ${from}, then ${to}: ${found[0][k]}, ${found[1][k]}`;
          expect(seen).toBe(`${value} as ${from}, then ${to}: ${Number(first[k])}, ${Number(second[k])}`);
        });
      },
      200,
    );
  });

  test("large integers are rounded to float32 once", () => {
    const odd = 2n ** 60n + 2n ** 36n + 1n; // as a float64 it would be half way between two float32
    const x = tensor(BigInt64Array.of(odd, -odd, 2n ** 53n + 1n, 2n ** 63n - 1n), { device });
    const wanted = [2 ** 60 + 2 ** 37, -(2 ** 60) - 2 ** 37, 2 ** 53, 2 ** 63];
    expect(x.float().toArray()).toEqual(wanted);
    expect(x.mul(1).float().toArray()).toEqual(wanted);
    expect(add(x, tensor(0, { dtype: "float32", device })).toArray()).toEqual(wanted);
  });
});

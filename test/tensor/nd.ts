// The slow and obvious array that tensors are compared with, and random tensors of the same values in any layout.
import fc from "fast-check";
import { type DType, permute, stack, type Tensor, tensor } from "../../lib/index.js";

/** Values in row-major order. */
export interface Nd<T = number> {
  readonly shape: readonly number[];
  readonly values: readonly T[];
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** All coordinates of a shape in row-major order. */
export function coordinates(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (list, size) => list.flatMap((c) => Array.from({ length: size }, (_, i) => [...c, i])),
    [[]],
  );
}

export const build = <T>(shape: readonly number[], value: (at: number[]) => T): Nd<T> => ({
  shape,
  values: coordinates(shape).map(value),
});

export const at = <T>(x: Nd<T>, where: readonly number[]): T =>
  x.values[where.reduce((position, i, d) => position * x.shape[d] + i, 0)];

/** An element of `x` broadcast to a shape that has coordinates `where`. */
export const spreadAt = <T>(x: Nd<T>, where: readonly number[]): T =>
  at(
    x,
    x.shape.map((size, d) => (size === 1 ? 0 : where[where.length - x.shape.length + d])),
  );

/** A list with one element replaced. */
export const replaced = <T>(list: readonly T[], i: number, value: T): T[] => list.map((x, k) => (k === i ? value : x));

/** A shape with few elements; sizes of 0 and 1 are not rare. */
export const shapes = (min = 0, max = 4): fc.Arbitrary<number[]> =>
  fc.array(
    fc.oneof({ weight: 1, arbitrary: fc.constant(0) }, { weight: 9, arbitrary: fc.integer({ min: 1, max: 4 }) }),
    {
      minLength: min,
      maxLength: max,
    },
  );

/** Small integers, so that every dtype and order of summation is exact. */
export const filled = (shape: readonly number[], min = -4, max = 5): fc.Arbitrary<Nd> =>
  fc
    .array(fc.integer({ min, max }), { minLength: sizeOf(shape), maxLength: sizeOf(shape) })
    .map((values) => ({ shape, values }));

/** How a tensor lies in memory: the order of dimensions, which of them run backwards, and whether there are gaps. */
export interface Layout {
  readonly order: number;
  readonly flips: number;
  readonly gaps: boolean;
}
export const layouts: fc.Arbitrary<Layout> = fc.record({
  order: fc.nat(100),
  flips: fc.nat(15),
  gaps: fc.boolean(),
});

/** The values as a tensor with the layout. */
export function make(x: Nd, options: { dtype?: DType; device: string }, layout?: Layout): Tensor {
  let t = tensor([...x.values], { dtype: "float32", ...options, shape: x.shape });
  if (!layout) return t;
  // Put in the wrong order first, for a view to put right.
  const order = x.shape.map((_, d) => d);
  for (let d = order.length - 1, r = layout.order; d > 0; r = Math.floor(r / (d + 1)), d--) {
    const e = r % (d + 1);
    [order[d], order[e]] = [order[e], order[d]];
  }
  const flips = order.filter((d) => (layout.flips >> d) & 1);
  t = permute(flips.length ? t.flip(flips) : t, order).clone();
  if (layout.gaps) t = stack([t, t.mul(0)], t.ndim).select(t.ndim, 0);
  t = permute(
    t,
    order.map((_, d) => order.indexOf(d)),
  );
  return flips.length ? t.flip(flips) : t;
}

/** The values of a tensor as numbers, those of int64 rounded. */
export const read = (t: Tensor): Nd => ({
  shape: t.shape,
  values:
    t.dtype === "int64"
      ? Array.from(t.contiguous().dataSync(), Number)
      : ([t.toArray()] as unknown[]).flat(9).map(Number),
});

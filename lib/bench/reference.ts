// What results must be, in float64; a contestant's output is held against it before the clock starts.
import { type Data, linksOf } from "./data.js";
import { PlainMlp, plainMatmul } from "./plain.js";
import type { Spec, UnaryName } from "./rows.js";

/** Steps whose losses are compared. */
export const CHECKED_STEPS = 4;

/** Some results by position, how far from them is allowed, and how they came about. */
export interface Reference {
  readonly at: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  /** Allowed distance: absolute + relative·|value|. */
  readonly absolute: number;
  readonly relative: number;
}

/** Abramowitz and Stegun 7.1.26 is too coarse for float32; this series and continued fraction are not. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let [term, sum] = [z, z];
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-z * z) / fraction / Math.sqrt(Math.PI));
}

const functions: Readonly<Record<UnaryName, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  exp: Math.exp,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
};

/** About `count` positions spread over an array, its ends among them. */
function spread(length: number, count: number): number[] {
  if (length <= count) return Array.from({ length }, (_, i) => i);
  const stride = (length - 1) / (count - 1);
  return Array.from({ length: count }, (_, i) => Math.round(i * stride));
}

/** The losses of the first steps of a network of linear layers. */
function losses(spec: Extract<Spec, { kind: "mlp" }>, data: Data): number[] {
  const net = new PlainMlp(spec.sizes, spec.batch, data, Float64Array);
  // A step of the largest takes seconds in plain JavaScript: two of them say enough.
  const steps = spec.batch * spec.sizes[0] > 2e5 ? 2 : CHECKED_STEPS;
  return Array.from({ length: steps }, (_, i) => net.step(data.x, data.y, (i % spec.batches) * spec.batch));
}

const all = (values: ArrayLike<number>, absolute: number, relative: number): Reference => ({
  at: Array.from({ length: values.length }, (_, i) => i),
  values,
  absolute,
  relative,
});

/** Results of a workload in float64; undefined for one that has no reference of its own (a CNN's losses). */
export function referenceOf(spec: Spec, data: Data): Reference | undefined {
  switch (spec.kind) {
    case "matmul":
      return spec.chain > 1 ? chained(spec, data) : product(spec, data);
    case "unary": {
      const at = spread(spec.n, 200_000);
      const values = Float64Array.from(at, (i) => functions[spec.fn](data.x[i]));
      // gelu of numbers near −4 is a difference of near equals.
      return { at, values, absolute: spec.fn === "gelu" ? 4e-6 : 1e-6, relative: 3e-6 };
    }
    case "softmax": {
      const { rows, columns } = spec;
      const at: number[] = [];
      const values: number[] = [];
      for (const r of spread(rows, 100)) {
        const row = Float64Array.from(data.x.subarray(r * columns, (r + 1) * columns), Math.exp);
        const sum = row.reduce((a, b) => a + b, 0);
        row.forEach((value, c) => {
          at.push(r * columns + c);
          values.push(value / sum);
        });
      }
      return { at, values, absolute: 0, relative: 1e-5 };
    }
    case "mlp":
      return all(losses(spec, data), 0, 2e-4);
    case "inference": {
      const { sizes, batch } = spec;
      return all(new PlainMlp(sizes, batch, data, Float64Array).forward(data.x, 0), 1e-5, 1e-4);
    }
    case "add":
      return all(
        Float64Array.from(data.x, (v, i) => v + data.y[i]),
        0,
        1e-7,
      );
    case "cnn":
      return undefined;
  }
}

/** Some elements of a product, as float64 sums. */
function product({ m, k, n }: Extract<Spec, { kind: "matmul" }>, { a, b }: Data): Reference {
  const at = spread(m * n, 500);
  const values = at.map((e) => {
    const [i, j] = [Math.floor(e / n), e % n];
    let sum = 0;
    for (let p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
    return sum;
  });
  // Products of numbers in ±1, added in order: after p of them the sum is about √p / 3 and is rounded. The standard
  // deviation of the error is 2⁻²⁴·k / 7.
  return { at, values, absolute: 1e-6 + 2 ** -24 * k, relative: 0 };
}

function chained(spec: Extract<Spec, { kind: "matmul" }>, { a, b }: Data): Reference {
  const { m, k, n, chain } = spec;
  let c: Float64Array = Float64Array.from(a);
  for (let i = 0; i < chain; i++) {
    const next = new Float64Array(m * n);
    const link = i % linksOf(spec);
    plainMatmul(c, Float64Array.from(b.subarray(link * k * n, (link + 1) * k * n)), next, m, k, n);
    c = next;
  }
  const scale = Math.sqrt(c.reduce((sum, v) => sum + v * v, 0) / c.length);
  return all(c, 2e-6 * Math.sqrt(chain) * scale * 10, 0);
}

/** Throws, naming the first element that is too far away, unless `output` agrees with the reference. */
export function check(output: ArrayLike<number>, reference: Reference): void {
  for (let i = 0; i < reference.values.length; i++) {
    const [at, wanted] = [reference.at[i], reference.values[i]];
    const got = output[at];
    if (!(Math.abs(got - wanted) <= reference.absolute + reference.relative * Math.abs(wanted))) {
      throw new Error(`wrong result: element ${at} is ${got}, not ${wanted}`);
    }
  }
}

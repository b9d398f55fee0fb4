// What a row of the catalogue's tests is, and the small deterministic generator of its inputs.
import { createHash } from "node:crypto";
import type { DType, Tensor } from "../../lib/index.js";

/** An input of a row. `"float"` is float32 or float64, whichever is being tested. */
export interface InputSpec {
  readonly shape: readonly number[];
  readonly dtype: DType | "float";
  /** Values in row-major order, all of them exact in float32. */
  readonly values: (seed: string, shape?: readonly number[]) => number[];
  /** Whether gradients with respect to it are checked; by default those of floats are. */
  readonly grad: boolean;
  /** `"permuted"`: the dimensions lie in reverse order in memory; `"strided"`: with gaps between the elements. */
  readonly layout: "contiguous" | "permuted" | "strided";
}

/** One row: a public function, its inputs, and the same in PyTorch. */
export interface Case {
  /** Name of the public function, as exported. */
  readonly name: string;
  /** What this row is about, where a function has several. */
  readonly note?: string;
  readonly inputs: readonly InputSpec[];
  readonly run: (xs: Tensor[]) => Tensor | readonly Tensor[];
  /** The function's in-place twin, which changes and returns xs[0]. */
  readonly inPlace?: (xs: Tensor[]) => Tensor;
  /** Expression for the same over x0, x1 …, with `torch` and `F` (torch.nn.functional) at hand. */
  readonly torch: string;
  /** Why no gradient is checked: there is none, or it is elsewhere. */
  readonly noGrad?: string;
  /** Why differences do not give the gradient: a kink. */
  readonly noFirst?: string;
  /** Why there is no second derivative to check. */
  readonly noSecond?: string;
  /** Why PyTorch's gradient is no measure; the numerical one still is. */
  readonly ownGrad?: string;
  /** The sign of a zero in the result counts. */
  readonly signedZero?: boolean;
  /** Relative error allowed in float32, where rounding is amplified. Default 1e-5. */
  readonly tolerance?: number;
}

export const titleOf = (c: Case): string => (c.note ? `${c.name}: ${c.note}` : c.name);

/** A generator of numbers in [0, 1) from a text (FNV-1a, then Marsaglia's xorshift32). */
function generator(seed: string): () => number {
  let s = 0x811c9dc5;
  for (let i = 0; i < seed.length; i++) s = Math.imul(s ^ seed.charCodeAt(i), 0x01000193);
  s ||= 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2 ** 32;
  };
}

const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Whole numbers 0 … n − 1 in random order. */
function shuffled(n: number, next: () => number): number[] {
  const list = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

/**
 * Floats spread over [low, high], distinct, in random order, and odd multiples of 2⁻¹²: exact in float32 and away from
 * integers and halves, where functions have their kinks.
 */
export const f = (shape: readonly number[], low = -2, high = 2): InputSpec => ({
  shape,
  dtype: "float",
  grad: true,
  layout: "contiguous",
  values: (seed, size = shape) => {
    const next = generator(seed);
    const n = count(size);
    return shuffled(n, next).map((k) => {
      const x = low + ((k + 0.3 + 0.4 * next()) * (high - low)) / n;
      return (2 * Math.floor(x * 2048) + 1) / 4096;
    });
  },
});

/** Integers in [low, high]. */
export const i = (shape: readonly number[], low = -5, high = 5, dtype: DType = "int64"): InputSpec => ({
  shape,
  dtype,
  grad: false,
  layout: "contiguous",
  values: (seed) => {
    const next = generator(seed);
    return Array.from({ length: count(shape) }, () => low + Math.floor(next() * (high - low + 1)));
  },
});

/** Booleans. */
export const b = (shape: readonly number[]): InputSpec => i(shape, 0, 1, "bool");

/** A whole permutation 0 … n − 1, n being the number of elements. */
export const permutation = (shape: readonly number[], dtype: DType = "int64"): InputSpec => ({
  ...i(shape, 0, 0, dtype),
  values: (seed) => shuffled(count(shape), generator(seed)),
});

/** The values given. */
export const v = (values: readonly number[], dtype: DType | "float" = "float", shape = [values.length]): InputSpec => ({
  shape,
  dtype,
  grad: dtype === "float",
  layout: "contiguous",
  values: () => [...values],
});

/** The same input without a gradient. */
export const fixed = (x: InputSpec): InputSpec => ({ ...x, grad: false });
/** The same input with its dimensions in reverse order in memory. */
export const permuted = (x: InputSpec): InputSpec => ({ ...x, layout: "permuted" });
/** The same input with gaps between its elements in memory. */
export const strided = (x: InputSpec): InputSpec => ({ ...x, layout: "strided" });

/** Weights of an output's elements in the sum whose gradient is compared; `ops.py` has the same formula. */
export const weights = (n: number): number[] => Array.from({ length: n }, (_, k) => (((k * 37) % 64) - 31.5) / 32);

/** A row as the script that asks PyTorch reads it. The digest tells figures of an older row. */
export function describe(c: Case) {
  const row = {
    title: titleOf(c),
    torch: c.torch,
    grad: !c.noGrad && !c.ownGrad,
    inputs: c.inputs.map((x, k) => ({
      shape: x.shape,
      dtype: x.dtype,
      grad: x.grad,
      values: x.values(`${c.name} ${k}`).map(spell),
    })),
  };
  return { ...row, digest: createHash("sha1").update(JSON.stringify(row)).digest("hex").slice(0, 12) };
}

/** JSON has no NaN, no infinities and, in JavaScript, no −0. */
export const spell = (x: number): number | string =>
  Number.isFinite(x) && !Object.is(x, -0) ? x : Object.is(x, -0) ? "-0" : String(x);

// Writes instructions in the flat encoding of docs/kernels.md, for the eager stream and for programs alike.
import type { DType } from "../tensor/dtype.js";
import { dtypeFacts } from "../tensor/dtype.js";
import { MAX_DIMS, type Shape } from "../tensor/shape.js";
import type { Storage } from "../tensor/storage.js";

/** A strided window on a storage: what a Tensor is to a kernel. */
export interface View {
  readonly storage: Storage;
  readonly dtype: DType;
  readonly offset: number;
  readonly shape: Shape;
  readonly strides: Shape;
}

/**
 * A number as an operand. A function is called each time the operation runs, also at every replay of a captured
 * program: learning rates, step counts and random offsets are such numbers.
 */
export class Scalar {
  constructor(
    readonly value: number | bigint | (() => number),
    readonly dtype: DType = "float64",
  ) {}
}

export type Operand = View | Scalar | null;

export const isView = (x: Operand): x is View => x !== null && !(x instanceof Scalar);

/** How storages become slots, and changing scalars parameters of a program; null where they are immediates. */
export interface Resolver {
  slot(storage: Storage): number;
  readonly parameter: ((scalar: Scalar) => number) | null;
}

const KIND_VIEW = 0;
const KIND_IMMEDIATE = 1;
const KIND_PARAMETER = 2;
const KIND_NOTHING = 3;

const float64 = new Float64Array(1);
const int64 = new BigInt64Array(float64.buffer);
const pair = new Int32Array(float64.buffer);

/** Words that an operand takes at most. */
export const OPERAND_WORDS = 3 + 2 * MAX_DIMS;

/** Words that an instruction takes at most (a parameter takes one less than an immediate). */
export function encodedLength(attrs: readonly number[], outs: readonly Operand[], ins: readonly Operand[]): number {
  let n = 5 + attrs.length;
  for (let i = 0; i < outs.length; i++) n += operandLength(outs[i]);
  for (let i = 0; i < ins.length; i++) n += operandLength(ins[i]);
  return n;
}

function operandLength(x: Operand): number {
  if (x === null) return 1;
  return x instanceof Scalar ? 3 : 3 + 2 * x.shape.length;
}

/** Writes one instruction at `at` and returns the position after it. `words` must have room for `encodedLength`. */
export function encode(
  words: Int32Array,
  at: number,
  op: number,
  attrs: readonly number[],
  outs: readonly Operand[],
  ins: readonly Operand[],
  resolver: Resolver,
): number {
  let p = at + 5;
  for (let i = 0; i < attrs.length; i++) words[p++] = attrs[i];
  for (let i = 0; i < outs.length; i++) p = encodeOperand(words, p, outs[i], resolver);
  for (let i = 0; i < ins.length; i++) p = encodeOperand(words, p, ins[i], resolver);
  words[at] = op;
  words[at + 1] = p - at;
  words[at + 2] = outs.length;
  words[at + 3] = ins.length;
  words[at + 4] = attrs.length;
  return p;
}

function encodeOperand(words: Int32Array, at: number, x: Operand, resolver: Resolver): number {
  let p = at;
  if (x === null) {
    words[p++] = KIND_NOTHING;
    return p;
  }
  const facts = dtypeFacts[x.dtype];
  if (x instanceof Scalar) {
    let value = x.value;
    if (typeof value === "function") {
      if (resolver.parameter) {
        words[p++] = KIND_PARAMETER | (facts.code << 8);
        words[p++] = resolver.parameter(x);
        return p;
      }
      value = value();
    }
    words[p++] = KIND_IMMEDIATE | (facts.code << 8);
    writeNumber(words, p, value, facts.kind !== "float");
    return p + 2;
  }
  const { shape, strides } = x;
  const ndim = shape.length;
  words[p++] = KIND_VIEW | (facts.code << 8) | (ndim << 16);
  words[p++] = resolver.slot(x.storage);
  words[p++] = x.offset;
  for (let i = 0; i < ndim; i++) words[p++] = shape[i];
  for (let i = 0; i < ndim; i++) words[p++] = strides[i];
  return p;
}

/** Two words: the bits of a float64, or of an int64 when `integer`. */
export function writeNumber(words: Int32Array, at: number, value: number | bigint, integer = false): void {
  if (integer) {
    if (typeof value === "number" && (value | 0) === value) {
      words[at] = value;
      words[at + 1] = value < 0 ? -1 : 0;
      return;
    }
    int64[0] = typeof value === "bigint" ? value : toInt64(value);
  } else {
    float64[0] = Number(value);
  }
  words[at] = pair[0];
  words[at + 1] = pair[1];
}

const INT64_MAX = 2n ** 63n - 1n;

/** Conversion of a number to int64 as kernels do it: truncated, saturated, NaN as 0. */
function toInt64(value: number): bigint {
  if (Number.isNaN(value)) return 0n;
  if (value >= 2 ** 63) return INT64_MAX;
  if (value < -(2 ** 63)) return -INT64_MAX - 1n;
  return BigInt(Math.trunc(value));
}

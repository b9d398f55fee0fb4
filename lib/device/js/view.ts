// Memory and views of it: dtypes, conversions, loads and stores of rows, and the walk over index space.
import { MemoryError, ProgramError } from "../../errors.js";
import type { TypedArray } from "../../tensor/dtype.js";

export type { TypedArray };

export const F32 = 0;
export const F64 = 1;
export const F16 = 2;
export const BF16 = 3;
export const I32 = 4;
export const I64 = 5;
export const U8 = 6;
export const BOOL = 7;
export const sizes: readonly number[] = [4, 8, 2, 2, 4, 8, 1, 1];
export const dtypeNames: readonly string[] = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
  "int32",
  "int64",
  "uint8",
  "bool",
];
const arrays = [
  Float32Array,
  Float64Array,
  Uint16Array,
  Uint16Array,
  Int32Array,
  BigInt64Array,
  Uint8Array,
  Uint8Array,
] as const;

export const isFloat = (dtype: number): boolean => dtype <= BF16;

/** An error that buffers carry on (docs/kernels.md, Errors). */
export interface Failure {
  readonly error: Error;
  /** How many errors there were before it. */
  readonly number: number;
}

/** The first dtype that is held in such an array, −1 when there is none. */
const dtypeOf = (array: ArrayBufferView): number => arrays.findIndex((type) => array instanceof type);

/** Elements up to which a loop is faster than a call of the engine's own copy. */
const FEW = 16;

/** The bytes of one buffer, seen through a typed array a dtype. */
export class Memory {
  written = false;
  /** Why the contents are not valid. */
  failure: Failure | undefined = undefined;
  private readonly seen: (TypedArray | undefined)[] = [];

  /** `born`: how many errors there were when it was made. A hollow buffer has a size but no contents. */
  constructor(
    readonly bytes: number,
    public born = 0,
    readonly hollow = false,
  ) {
    // V8 keeps arrays of up to 64 bytes on its heap: their allocation waits for the dtype that is asked for.
    if (bytes > 64 && !hollow) this.seen[F32] = new Float32Array(Math.ceil(bytes / 8) * 2);
  }

  /** A failed instruction would have written this. A buffer that was complete before the error keeps its values. */
  poison(failure: Failure): void {
    if (!this.written || this.born > failure.number) this.failure = failure;
  }

  /** A copy of host data. */
  static of(source: ArrayBufferView): Memory {
    const memory = new Memory(source.byteLength);
    const dtype = dtypeOf(source);
    if (dtype >= 0) (memory.array(dtype) as Float32Array).set(source as Float32Array);
    else memory.array(U8).set(new Uint8Array(source.buffer, source.byteOffset, source.byteLength) as never);
    memory.written = true;
    return memory;
  }

  /** Copies bytes from an offset into a host array, in whole elements where it can. */
  copyTo(target: ArrayBufferView, byteOffset: number): void {
    const dtype = dtypeOf(target);
    const at = byteOffset / sizes[dtype];
    if (Number.isInteger(at)) {
      const from = this.array(dtype) as Float32Array;
      const to = target as Float32Array;
      const n = to.length;
      if (n > FEW) to.set(from.subarray(at, at + n));
      else for (let i = 0; i < n; i++) to[i] = from[at + i];
    } else {
      const { byteLength } = target;
      const bytes = new Uint8Array(target.buffer, target.byteOffset, byteLength);
      bytes.set((this.array(U8) as Uint8Array).subarray(byteOffset, byteOffset + byteLength));
    }
  }

  array(dtype: number): TypedArray {
    const array = this.seen[dtype];
    if (array !== undefined) return array;
    const type = arrays[dtype] as new (from: number | ArrayBufferLike) => TypedArray;
    const other = this.seen.find((a) => a !== undefined);
    const made = other ? new type(other.buffer) : new type((Math.ceil(this.bytes / 8) * 8) / sizes[dtype]);
    this.seen[dtype] = made;
    return made;
  }
}

/** A strided window on a typed array; positions count elements from the start of `data`. */
export class View {
  present = false;
  dtype = F32;
  /** Slot in the table that the instruction refers to; −1 for immediates and parameters. */
  slot = -1;
  offset = 0;
  ndim = 0;
  readonly shape = [0, 0, 0, 0, 0, 0, 0, 0];
  readonly strides = [0, 0, 0, 0, 0, 0, 0, 0];
  numel = 1;
  data: TypedArray = nowhere;
  /** The bytes touched, [low, high) of a region; views of different regions never overlap. */
  region = -1;
  low = 0;
  high = 0;
  private scalars: TypedArray[] | undefined = undefined;

  /** Row-major without gaps. */
  get contiguous(): boolean {
    let expect = 1;
    for (let i = this.ndim - 1; i >= 0; i--) {
      const d = this.shape[i];
      if (d !== 1 && this.strides[i] !== expect) return this.numel === 0;
      expect *= d;
    }
    return true;
  }

  /** Makes this a 0-dimensional view of one number, converted to the dtype. */
  setScalar(dtype: number, value: number | bigint): void {
    this.present = true;
    this.dtype = dtype;
    this.slot = -1;
    this.low = this.high = 0;
    this.offset = 0;
    this.ndim = 0;
    this.numel = 1;
    this.scalars ??= [];
    this.scalars[dtype] ??= new arrays[dtype](1);
    this.data = this.scalars[dtype];
    store(this.data, dtype, 0, value);
  }

  /** The value of a 0-dimensional view as a float64. */
  get scalar(): number {
    return Number(load(this.data, this.dtype, this.offset));
  }

  get dims(): number[] {
    return this.shape.slice(0, this.ndim);
  }

  toString(): string {
    return this.present ? `${dtypeNames[this.dtype]}[${this.dims.join(", ")}]` : "nothing";
  }
}

/** What `data` is before a buffer was found. */
export const nowhere: TypedArray = new Uint8Array(0);

// --- conversions (docs/kernels.md, Data) ---

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);
const halfScale = Float64Array.from({ length: 32 }, (_, e) => 2 ** (Math.max(e, 1) - 25));

export function halfToFloat(h: number): number {
  const e = (h >> 10) & 31;
  const m = h & 1023;
  const x = e === 31 ? (m ? NaN : Infinity) : (e ? m + 1024 : m) * halfScale[e];
  return h & 0x8000 ? -x : x;
}

export function floatToHalf(x: number): number {
  f32[0] = x;
  const sign = (u32[0] >>> 16) & 0x8000;
  const bits = u32[0] & 0x7fffffff;
  if (bits > 0x7f800000) return 0x7e00;
  if (bits >= 0x477ff000) return sign | 0x7c00; // 65520 and more
  // Below 2^-14 a half is a multiple of 2^-24; adding 2^52 rounds a float64 to an integer, ties to even.
  if (bits < 0x38800000) return sign | (Math.abs(f32[0]) * 2 ** 24 + 2 ** 52 - 2 ** 52);
  return sign | ((bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >>> 13);
}

export function bfloatToFloat(b: number): number {
  u32[0] = b << 16;
  return f32[0];
}

export function floatToBfloat(x: number): number {
  f32[0] = x;
  if (Number.isNaN(x)) return 0x7fc0;
  return (u32[0] + 0x7fff + ((u32[0] >>> 16) & 1)) >>> 16;
}

export function toInt32(x: number): number {
  return x >= 2147483647 ? 2147483647 : x <= -2147483648 ? -2147483648 : x | 0;
}

export function toInt64(x: number): bigint {
  if (Number.isNaN(x)) return 0n;
  if (x >= 2 ** 63) return 0x7fffffffffffffffn;
  if (x <= -(2 ** 63)) return -0x8000000000000000n;
  return BigInt(Math.trunc(x));
}

export function toUint8(x: number): number {
  return x >= 2 ** 63 ? 255 : x & 255; // through int64: saturates there, then wraps; doubles from 2^61 on end in zeros
}

/** int64 → float32 with one rounding: the bits that float64 would drop are folded into its last bit (round to odd). */
export function longToFloat(x: bigint): number {
  const near = Number(x);
  if (near >= -(2 ** 53) && near <= 2 ** 53) return Math.fround(near);
  const odd = (x & 2047n) !== 0n ? (x & ~2047n) | 2048n : x;
  return Math.fround(Number(odd));
}

/** One element as a number, or as a bigint for int64. */
export function load(data: TypedArray, dtype: number, at: number): number | bigint {
  const x = data[at];
  return dtype === F16 ? halfToFloat(x as number) : dtype === BF16 ? bfloatToFloat(x as number) : x;
}

/** Stores a number (or, for int64 sources, a bigint) with the conversion of the contract. */
export function store(data: TypedArray, dtype: number, at: number, value: number | bigint): void {
  if (typeof value === "bigint") {
    if (dtype === I64) data[at] = value;
    else if (dtype === BOOL) data[at] = value === 0n ? 0 : 1;
    else if (dtype === I32 || dtype === U8) data[at] = Number(BigInt.asIntN(32, value));
    else if (dtype === F64) data[at] = Number(value);
    else store(data, dtype, at, longToFloat(value));
    return;
  }
  switch (dtype) {
    case F32:
    case F64:
      data[at] = value;
      break;
    case F16:
      data[at] = floatToHalf(value);
      break;
    case BF16:
      data[at] = floatToBfloat(value);
      break;
    case I32:
      data[at] = toInt32(value);
      break;
    case I64:
      data[at] = toInt64(value);
      break;
    case U8:
      data[at] = toUint8(value);
      break;
    default:
      data[at] = value !== 0 ? 1 : 0;
  }
}

// --- rows: n elements at a stride, to and from contiguous float64 or int64 ---

/** Reads n elements of any dtype as float64 (int64 beyond 2^53 is rounded) into to[start], to[start + step], … */
export function loadRow(
  data: TypedArray,
  dtype: number,
  at: number,
  stride: number,
  n: number,
  to: Float64Array,
  start = 0,
  step = 1,
): void {
  const end = start + n * step;
  switch (dtype) {
    case F32: {
      const from = data as Float32Array;
      for (let i = start, p = at; i < end; i += step, p += stride) to[i] = from[p];
      break;
    }
    case F64: {
      const from = data as Float64Array;
      for (let i = start, p = at; i < end; i += step, p += stride) to[i] = from[p];
      break;
    }
    case F16: {
      const from = data as Uint16Array;
      for (let i = start, p = at; i < end; i += step, p += stride) to[i] = halfToFloat(from[p]);
      break;
    }
    case BF16: {
      const from = data as Uint16Array;
      for (let i = start, p = at; i < end; i += step, p += stride) to[i] = bfloatToFloat(from[p]);
      break;
    }
    case I32: {
      const from = data as Int32Array;
      for (let i = start, p = at; i < end; i += step, p += stride) to[i] = from[p];
      break;
    }
    case I64: {
      const from = data as BigInt64Array;
      for (let i = start, p = at; i < end; i += step, p += stride) to[i] = Number(from[p]);
      break;
    }
    default: {
      const from = data as Uint8Array;
      for (let i = start, p = at; i < end; i += step, p += stride) to[i] = from[p];
    }
  }
}

/** Writes n float64 values with the conversion to the dtype. */
export function storeRow(
  data: TypedArray,
  dtype: number,
  at: number,
  stride: number,
  n: number,
  from: Float64Array,
  start = 0,
): void {
  const end = start + n;
  if (dtype === F32) {
    const to = data as Float32Array;
    for (let i = start, p = at; i < end; i++, p += stride) to[p] = from[i];
  } else if (dtype === F64) {
    const to = data as Float64Array;
    for (let i = start, p = at; i < end; i++, p += stride) to[p] = from[i];
  } else {
    for (let i = start, p = at; i < end; i++, p += stride) store(data, dtype, p, from[i]);
  }
}

/** Reads n elements of an int dtype or bool as int64, to[start] on. */
export function loadLongs(
  data: TypedArray,
  dtype: number,
  at: number,
  stride: number,
  n: number,
  to: BigInt64Array,
  start = 0,
): void {
  const end = start + n;
  if (dtype === I64) {
    const from = data as BigInt64Array;
    for (let i = start, p = at; i < end; i++, p += stride) to[i] = from[p];
  } else {
    const from = data as Int32Array;
    for (let i = start, p = at; i < end; i++, p += stride) to[i] = BigInt(from[p]);
  }
}

const SCRATCH_KEPT = 1 << 20;
const SCRATCH_MOST = 1 << 27;

function scratch<T extends Float64Array | Int32Array | BigInt64Array>(type: new (n: number) => T) {
  const kept = new Map<string, T>();
  return (who: string, n: number): T => {
    let array = kept.get(who);
    if (array === undefined || array.length < n) {
      if (n > SCRATCH_MOST) throw new MemoryError(`device js: ${n} elements are too many for a kernel's working space`);
      array = new type(n);
      if (n <= SCRATCH_KEPT) kept.set(who, array);
    }
    return array;
  };
}
/** Working space of at least n elements, contents undefined; one array a name, so names must not be in use twice. */
export const doubles = scratch(Float64Array);
export const longs = scratch(BigInt64Array);
export const ints = scratch(Int32Array);

// --- walking ---

/** Some dimensions of a view, those that step through memory as one merged; size-1 dimensions dropped. */
export interface Dims {
  sizes: number[];
  strides: number[];
}

export function mergeDims(v: View, from: number, to: number): Dims {
  const sizes: number[] = [];
  const strides: number[] = [];
  for (let d = from; d < to; d++) {
    const last = sizes.length - 1;
    if (v.shape[d] === 1) continue;
    if (last >= 0 && strides[last] === v.strides[d] * v.shape[d]) {
      sizes[last] *= v.shape[d];
      strides[last] = v.strides[d];
    } else {
      sizes.push(v.shape[d]);
      strides.push(v.strides[d]);
    }
  }
  return { sizes, strides };
}

/**
 * Visits every index of a shape in row-major order and keeps the position of each operand:
 * `for (const w = new Walk(shape, [a, b]); w.more; w.next()) use(w.at[0], w.at[1])`.
 */
export class Walk {
  readonly at: number[] = [];
  /** Number of indices visited before this one. */
  index = 0;
  more = false;
  private readonly counter: number[] = [];

  constructor(
    private readonly shape: readonly number[],
    private readonly operands: readonly { readonly offset: number; readonly strides: readonly number[] }[],
  ) {
    this.restart();
  }

  /** Back to the first index, at the offsets that the operands have now. */
  restart(): this {
    this.index = 0;
    this.more = true;
    for (let k = 0; k < this.operands.length; k++) this.at[k] = this.operands[k].offset;
    for (let d = 0; d < this.shape.length; d++) {
      this.counter[d] = 0;
      if (this.shape[d] <= 0) this.more = false;
    }
    return this;
  }

  next(): void {
    this.index++;
    for (let d = this.shape.length - 1; d >= 0; d--) {
      if (++this.counter[d] < this.shape[d]) {
        for (let k = 0; k < this.at.length; k++) this.at[k] += this.operands[k].strides[d];
        return;
      }
      this.counter[d] = 0;
      for (let k = 0; k < this.at.length; k++) this.at[k] -= this.operands[k].strides[d] * (this.shape[d] - 1);
    }
    this.more = false;
  }
}

// --- kernels ---

/** A decoded instruction. `out` and `in` may be longer than nOut and nIn: they are reused. */
export interface Call {
  op: string;
  attr: Int32Array;
  nAttr: number;
  out: View[];
  nOut: number;
  in: View[];
  nIn: number;
  /** The call is an instruction of a program, run many times: `memo` may hold what a kernel worked out about it. */
  keep: boolean;
  memo: unknown;
}

export interface Kernel {
  /** Outputs may overlap inputs, which the decoder refuses for all others. */
  aliasing?: boolean;
  /** With `aliasing`: as many inputs, the first ones, which they may not overlap all the same. */
  apart?: number;
  /** Throws ProgramError unless the call obeys docs/kernels.md; looks at shapes, dtypes and attributes only. */
  check(call: Call): void;
  /** May trust a checked call, and that some output has elements; checks index values before it writes. */
  run(call: Call): void;
}

/** Whether any output has elements; kernels run only then. */
export function hasWork(call: Call): boolean {
  for (let k = 0; k < call.nOut; k++) if (call.out[k].numel > 0) return true;
  return false;
}

export function demand(ok: boolean, call: Call, rule: string): asserts ok {
  if (ok) return;
  const list = (views: View[], n: number) => views.slice(0, n).join(", ");
  throw new ProgramError(
    `${call.op}: ${rule}; got outputs (${list(call.out, call.nOut)}), inputs (${list(call.in, call.nIn)}), ` +
      `attributes [${call.attr.subarray(0, Math.min(call.nAttr, 16)).join(", ")}]`,
  );
}

/** The counts of a call, and that every operand is there. */
export function demandCounts(call: Call, nOut: number, nIn: number, nAttr: number): void {
  const ok = call.nOut === nOut && call.nIn === nIn && call.nAttr === nAttr;
  demand(ok, call, `takes ${nOut} outputs, ${nIn} inputs and ${nAttr} attributes`);
  for (let i = 0; i < nOut; i++) demand(call.out[i].present, call, `output ${i} is missing`);
  for (let i = 0; i < nIn; i++) demand(call.in[i].present, call, `input ${i} is missing`);
}

/** That each view has exactly this shape. */
export function demandShape(call: Call, shape: readonly number[], ...views: View[]): void {
  for (const v of views) {
    let same = v.ndim === shape.length;
    for (let i = 0; same && i < shape.length; i++) same = v.shape[i] === shape[i];
    demand(same, call, `an operand must have shape [${shape.join(", ")}], not [${v.dims.join(", ")}]`);
  }
}

export function demandDType(call: Call, dtype: number, ...views: View[]): void {
  for (const v of views) demand(v.dtype === dtype, call, `an operand must be ${dtypeNames[dtype]}`);
}

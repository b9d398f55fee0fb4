// arange and the random numbers: uniform, normal, randint.
//
// Philox 4×32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Inverse normal distribution:
// Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37, 1988. These functions repeat native/core/philox.h line by
// line: every float64 operation in the order written, so that all devices agree bit for bit.
import { ProgramError } from "../../errors.js";
import {
  type Call,
  demand,
  demandCounts,
  doubles,
  F64,
  I64,
  isFloat,
  type Kernel,
  load,
  mergeDims,
  store,
  storeRow,
  toInt64,
  type View,
  Walk,
} from "./view.js";

// --- Philox ---

const word = new Uint32Array(4);

/** The upper 32 bits of the product of two unsigned 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const mid = ah * bl + ((al * bl) >>> 16);
  return (ah * bh + (mid >>> 16) + ((al * bh + (mid & 0xffff)) >>> 16)) >>> 0;
}

/** One block of four words, into the array that is returned (the same at every call). */
export function philox4x32(x0: number, x1: number, x2: number, x3: number, y0: number, y1: number): Uint32Array {
  let c0 = x0;
  let c1 = x1;
  let c2 = x2;
  let c3 = x3;
  let k0 = y0;
  let k1 = y1;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = mulHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0; // the golden ratio
    k1 = (k1 + 0xbb67ae85) | 0; // √3 − 1
  }
  word[0] = c0;
  word[1] = c1;
  word[2] = c2;
  word[3] = c3;
  return word;
}

const high = (x: number): number => Math.floor(x / 2 ** 32);

/** The block of a seed; both below 2^53. */
const philox = (seed: number, block: number): Uint32Array =>
  philox4x32(block >>> 0, high(block), 0, 0, seed >>> 0, high(seed));

/** [0, 1) in steps of 2^-24. */
const uniform32 = (u: number): number => (u >>> 8) * 2 ** -24;

/** [0, 1) in steps of 2^-53. */
const uniform64 = (w0: number, w1: number): number => ((w0 >>> 5) * 67108864 + (w1 >>> 6)) * 2 ** -53;

const f64 = new Float64Array(1);
const u32 = new Uint32Array(f64.buffer);

/** Natural logarithm of a positive normal float64 by a fixed sequence of IEEE operations, within 2 ulp. */
export function detLog(x: number): number {
  f64[0] = x;
  let k = (u32[1] >>> 20) - 1023;
  u32[1] = (u32[1] & 0x000fffff) | 0x3ff00000;
  let m = f64[0]; // in [1, 2)
  if (m > Math.SQRT2) {
    m = m * 0.5;
    k = k + 1;
  }
  const f = m - 1; // exact
  const s = f / (m + 1);
  const z = s * s;
  let p = 1 / 21;
  p = p * z + 1 / 19;
  p = p * z + 1 / 17;
  p = p * z + 1 / 15;
  p = p * z + 1 / 13;
  p = p * z + 1 / 11;
  p = p * z + 1 / 9;
  p = p * z + 1 / 7;
  p = p * z + 1 / 5;
  p = p * z + 1 / 3;
  p = p * z;
  const tail = (s + s) * p + k * 1.9082149292705877e-10;
  return k * 0.6931471803691238 + (f - (s * f - tail));
}

/** Horner's rule for eight coefficients, highest first. */
const horner = (r: number, c: readonly number[]): number =>
  ((((((c[0] * r + c[1]) * r + c[2]) * r + c[3]) * r + c[4]) * r + c[5]) * r + c[6]) * r + c[7];

// Coefficients of AS 241, highest first, each the shortest text of its float64: the central region, 0.425 < |p − ½| with
// r ≤ 5, and the far tail.
const centralA = [
  2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946, 1971.5909503065513,
  133.14166789178438, 3.3871328727963665,
];
const centralB = [
  5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751, 687.1870074920579,
  42.31333070160091, 1,
];
const tailC = [
  0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684, 3.6478483247632045,
  5.769497221460691, 4.630337846156546, 1.4234371107496835,
];
const tailD = [
  1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008, 0.6897673349851,
  1.6763848301838038, 2.053191626637759, 1,
];
const farE = [
  2.0103343992922881e-7, 2.7115555687434876e-5, 0.0012426609473880784, 0.026532189526576124, 0.29656057182850487,
  1.7848265399172913, 5.463784911164114, 6.657904643501103,
];
const farF = [
  2.0442631033899397e-15, 1.421511758316446e-7, 1.8463183175100548e-5, 0.0007868691311456133, 0.014875361290850615,
  0.1369298809227358, 0.599832206555888, 1,
];

/** The value below which a standard normal variable lies with probability p, 0 < p <= 1 (1 stands for 1 − 2^-54). */
export function inverseNormal(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * horner(r, centralA)) / horner(r, centralB);
  }
  let tail = q < 0 ? p : 1 - p;
  if (tail === 0) tail = 2 ** -54;
  const r = Math.sqrt(-detLog(tail));
  const x = r <= 5 ? horner(r - 1.6, tailC) / horner(r - 1.6, tailD) : horner(r - 5, farE) / horner(r - 5, farF);
  return q < 0 ? -x : x;
}

/** Standard normal from two words; the half keeps 0 out. */
const normal64 = (w0: number, w1: number): number =>
  inverseNormal(((w0 >>> 5) * 67108864 + (w1 >>> 6) + 0.5) * 2 ** -53);

// --- kernels ---

const CHUNK = 4096;

/** Fills y in row-major order: make(first, count, values) computes the elements first … first + count − 1. */
function fill(y: View, make: (first: number, count: number, values: Float64Array) => void): void {
  const { sizes, strides } = mergeDims(y, 0, y.ndim);
  const length = sizes.pop() ?? 1;
  const stride = strides.pop() ?? 0;
  const values = doubles("random", CHUNK);
  for (const w = new Walk(sizes, [{ offset: y.offset, strides }]); w.more; w.next()) {
    for (let from = 0; from < length; from += CHUNK) {
      const n = Math.min(CHUNK, length - from);
      make(w.index * length + from, n, values);
      storeRow(y.data, y.dtype, w.at[0] + from * stride, stride, n, values);
    }
  }
}

/** Fills y from two random words an element. */
function fillFromPairs(y: View, seed: number, offset: number, value: (w0: number, w1: number) => number): void {
  fill(y, (first, count, values) => {
    for (let j = 0; j < count; j++) {
      const i = first + j;
      const odd = i & 1;
      const w = j === 0 || !odd ? philox(seed, offset + Math.floor(i / 2)) : word;
      values[j] = value(w[2 * odd], w[2 * odd + 1]);
    }
  });
}

function counter(call: Call, what: string, v: View): number {
  const value = v.scalar;
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new ProgramError(`${call.op}: ${what} must be an integer from 0 to 2^53 − 1, got ${value}`);
}

function demandScalars(call: Call): void {
  for (let i = 0; i < call.nIn; i++) {
    const v = call.in[i];
    demand(v.ndim === 0 && (v.dtype === F64 || v.dtype === I64), call, `input ${i} must be a float64 or int64 scalar`);
  }
}

const arange: Kernel = {
  check(call) {
    demandCounts(call, 1, 2, 0);
    demand(call.out[0].ndim === 1, call, "gives one dimension");
    demandScalars(call);
  },
  run(call) {
    const [y] = call.out;
    const integers = !isFloat(y.dtype);
    const [start, step] = call.in.slice(0, 2).map((v) => (integers ? integer(v) : v.scalar));
    const end = Math.abs(Number(start)) + y.numel * Math.abs(Number(step));
    if (integers && end >= 2 ** 53) {
      for (let i = 0; i < y.numel; i++) {
        const value = BigInt.asIntN(64, (start as bigint) + BigInt(i) * (step as bigint));
        store(y.data, y.dtype, y.offset + i * y.strides[0], value);
      }
      return;
    }
    const first = Number(start);
    const by = Number(step);
    fill(y, (from, count, values) => {
      for (let j = 0; j < count; j++) values[j] = first + (from + j) * by;
    });
  },
};

function integer(v: View): bigint {
  const value = load(v.data, v.dtype, v.offset);
  return typeof value === "bigint" ? value : toInt64(value);
}

function checkRandom(nIn: number): (call: Call) => void {
  return (call) => {
    demandCounts(call, 1, nIn, 0);
    demandScalars(call);
    if (nIn === 2) demand(isFloat(call.out[0].dtype), call, "the output must be float");
  };
}

const uniform: Kernel = {
  check: checkRandom(2),
  run(call) {
    const [y] = call.out;
    const seed = counter(call, "seed", call.in[0]);
    const offset = counter(call, "offset", call.in[1]);
    if (y.dtype === F64) {
      fillFromPairs(y, seed, offset, uniform64);
      return;
    }
    fill(y, (first, count, values) => {
      for (let j = 0; j < count; j++) {
        const i = first + j;
        const lane = i & 3;
        const w = j === 0 || lane === 0 ? philox(seed, offset + Math.floor(i / 4)) : word;
        values[j] = uniform32(w[lane]);
      }
    });
  },
};

const normal: Kernel = {
  check: checkRandom(2),
  run(call) {
    const seed = counter(call, "seed", call.in[0]);
    fillFromPairs(call.out[0], seed, counter(call, "offset", call.in[1]), normal64);
  },
};

const randint: Kernel = {
  check: checkRandom(4),
  run(call) {
    const seed = counter(call, "seed", call.in[0]);
    const offset = counter(call, "offset", call.in[1]);
    const low = call.in[2].scalar;
    const range = call.in[3].scalar - low;
    if (!(range > 0 && Number.isFinite(range))) {
      throw new ProgramError(`randint: low must be less than high, both finite, got ${low} and ${call.in[3].scalar}`);
    }
    fillFromPairs(call.out[0], seed, offset, (w0, w1) => low + Math.floor(uniform64(w0, w1) * range));
  },
};

export const kernels: Record<string, Kernel> = { arange, uniform, normal, randint };

// From words to checked calls: the encoding of docs/kernels.md, read without trusting any word of it.
import { ProgramError } from "../../errors.js";
import { BOOL, type Call, isFloat, type Kernel, nowhere, sizes, View } from "./view.js";

export const MAX_ATTRS = 512;
export const MAX_INPUTS = 32;
export const MAX_OUTPUTS = 16;
const HEADER = 5;
const MAX_NUMEL = 2 ** 31 - 1;

/** What the decoder asks about the slots that operands name. */
export interface Slots {
  /** The size of a slot in bytes; throws where there is none. */
  bytes(slot: number): number;
  /** The region of memory that a slot lies in, and where it begins there. */
  region(slot: number): number;
  base(slot: number): number;
}

const f64 = new Float64Array(1);
const pair = new Int32Array(f64.buffer);
const i64 = new BigInt64Array(f64.buffer);

/** A float64 in two words, low word first. */
export function readDouble(words: Int32Array, at: number): number {
  pair[0] = words[at];
  pair[1] = words[at + 1];
  return f64[0];
}

export function readLong(words: Int32Array, at: number): bigint {
  pair[0] = words[at];
  pair[1] = words[at + 1];
  return i64[0];
}

/** A size in bytes: an int64 from 0 to 2^53. */
export function readBytes(words: Int32Array, at: number): number {
  const hi = words[at + 1];
  if (hi < 0 || hi > 0x1fffff) throw new ProgramError(`${hi * 2 ** 32 + (words[at] >>> 0)} is not a size in bytes`);
  return hi * 2 ** 32 + (words[at] >>> 0);
}

/** A call with room for the largest instruction, to decode into again and again. */
export function roomyCall(): Call {
  const views = (n: number) => Array.from({ length: n }, () => new View());
  return {
    op: "",
    attr: new Int32Array(MAX_ATTRS),
    nAttr: 0,
    out: views(MAX_OUTPUTS),
    nOut: 0,
    in: views(MAX_INPUTS),
    nIn: 0,
    keep: false,
    memo: undefined,
  };
}

/** The length of the instruction at `at`, or a ProgramError when it cannot be told from the words up to `end`. */
export function instructionLength(words: Int32Array, at: number, end: number): number {
  const length = end - at >= HEADER ? words[at + 1] : 0;
  if (length < HEADER || length > end - at) {
    throw new ProgramError(`an instruction at word ${at} says length ${length}, with ${end - at} words left`);
  }
  return length;
}

/** Reads the counts and attributes of one instruction; returns where its operands begin. */
export function decodeHead(words: Int32Array, at: number, call: Call): number {
  const nOut = words[at + 2];
  const nIn = words[at + 3];
  const nAttr = words[at + 4];
  const fits =
    nOut >= 0 &&
    nOut <= MAX_OUTPUTS &&
    nIn >= 0 &&
    nIn <= MAX_INPUTS &&
    nAttr >= 0 &&
    nAttr <= Math.min(MAX_ATTRS, words[at + 1] - HEADER);
  if (!fits)
    throw new ProgramError(`${call.op}: impossible counts: ${nOut} outputs, ${nIn} inputs, ${nAttr} attributes`);
  call.nOut = nOut;
  call.nIn = nIn;
  call.nAttr = nAttr;
  call.memo = undefined;
  for (let i = 0; i < nAttr; i++) call.attr[i] = words[at + HEADER + i];
  return at + HEADER + nAttr;
}

/**
 * Decodes an instruction of known length into `call` and checks it. `parameter` receives each operand of kind 2
 * (programs); without it such operands are errors.
 */
export function decode(
  words: Int32Array,
  at: number,
  call: Call,
  kernel: Kernel,
  slots: Slots,
  parameter?: (view: View, dtype: number, index: number) => void,
): void {
  const end = at + words[at + 1];
  let p = decodeHead(words, at, call);
  for (let k = 0; k < call.nOut + call.nIn; k++) {
    const isOutput = k < call.nOut;
    const view = isOutput ? call.out[k] : call.in[k - call.nOut];
    p = decodeOperand(words, p, end, call, view, slots, isOutput, parameter);
  }
  if (p !== end) throw new ProgramError(`${call.op}: ${end - p} words are left over`);
  demandApart(call, kernel);
  kernel.check(call);
}

/** That no output overlaps another operand, those aside for which it is allowed. */
function demandApart(call: Call, { aliasing = false, apart = 0 }: Kernel): void {
  const end = call.nOut + (aliasing ? apart : call.nIn);
  for (let i = 0; i < call.nOut; i++) {
    const a = call.out[i];
    for (let k = aliasing ? call.nOut : i + 1; k < end; k++) {
      const b = k < call.nOut ? call.out[k] : call.in[k - call.nOut];
      if (a.region === b.region && a.low < b.high && b.low < a.high) {
        throw new ProgramError(`${call.op}: output ${i} overlaps operand ${k}`);
      }
    }
  }
}

function decodeOperand(
  words: Int32Array,
  at: number,
  end: number,
  call: Call,
  view: View,
  slots: Slots,
  isOutput: boolean,
  parameter: ((view: View, dtype: number, index: number) => void) | undefined,
): number {
  if (at >= end) throw new ProgramError(`${call.op}: an operand is cut off`);
  const word = words[at];
  const kind = word & 255;
  const dtype = (word >>> 8) & 255;
  const ndim = word >>> 16;
  if (kind > 3 || (isOutput && kind !== 0) || dtype > BOOL || ndim > 8 || (kind !== 0 && ndim !== 0)) {
    throw new ProgramError(`${call.op}: ${word} is not an ${isOutput ? "output" : "input"} operand`);
  }
  const length = kind === 0 ? 3 + 2 * ndim : kind === 1 ? 3 : kind === 2 ? 2 : 1;
  if (at + length > end) throw new ProgramError(`${call.op}: an operand is cut off`);
  if (kind === 0) decodeView(words, at, call, view, dtype, ndim, slots, isOutput);
  else if (kind === 1) {
    view.setScalar(dtype, isFloat(dtype) ? readDouble(words, at + 1) : readLong(words, at + 1));
  } else if (kind === 2) {
    if (!parameter) throw new ProgramError(`${call.op}: parameters exist in programs only`);
    view.setScalar(dtype, 0);
    parameter(view, dtype, words[at + 1]);
  } else {
    view.present = false;
    view.slot = -1;
    view.low = view.high = 0;
  }
  return at + length;
}

function decodeView(
  words: Int32Array,
  at: number,
  call: Call,
  view: View,
  dtype: number,
  ndim: number,
  slots: Slots,
  isOutput: boolean,
): void {
  const slot = words[at + 1];
  const offset = words[at + 2];
  const bytes = slots.bytes(slot);
  let numel = 1;
  let low = offset;
  let high = offset;
  let ok = offset >= 0;
  let repeats = false;
  for (let d = 0; d < ndim; d++) {
    const size = words[at + 3 + d];
    const stride = words[at + 3 + ndim + d];
    view.shape[d] = size;
    view.strides[d] = stride;
    if (size < 0) ok = false;
    numel *= size;
    if (stride > 0) high += (size - 1) * stride;
    else low += (size - 1) * stride;
    if (stride === 0 && size > 1) repeats = true;
  }
  if (isOutput && repeats && numel > 0) throw new ProgramError(`${call.op}: an output overlaps itself`);
  view.present = true;
  view.dtype = dtype;
  view.slot = slot;
  view.offset = offset;
  view.ndim = ndim;
  view.numel = numel;
  view.data = nowhere;
  view.region = slots.region(slot);
  view.low = numel === 0 ? 0 : slots.base(slot) + low * sizes[dtype];
  view.high = numel === 0 ? 0 : slots.base(slot) + (high + 1) * sizes[dtype];
  ok &&= numel <= MAX_NUMEL && (numel === 0 || (low >= 0 && (high + 1) * sizes[dtype] <= bytes));
  if (!ok)
    throw new ProgramError(`${call.op}: ${view} at offset ${offset} lies outside slot ${slot} of ${bytes} bytes`);
}

/** A call of just the size of one instruction, to keep in a program. */
export function freshCall(words: Int32Array, at: number, op: string): Call {
  const count = (n: number, most: number) => Math.min(Math.max(n, 0), most);
  const views = (n: number) => Array.from({ length: n }, () => new View());
  return {
    op,
    attr: new Int32Array(count(words[at + 4], MAX_ATTRS)),
    nAttr: 0,
    out: views(count(words[at + 2], MAX_OUTPUTS)),
    nOut: 0,
    in: views(count(words[at + 3], MAX_INPUTS)),
    nIn: 0,
    keep: true,
    memo: undefined,
  };
}

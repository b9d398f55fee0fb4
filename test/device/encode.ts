// Writes instructions and programs by hand, as docs/kernels.md lays them out, for tests of any device.
import type { Device, Owner } from "../../lib/device/device.js";
import { type DType, dtypeFacts, dtypes, type TypedArray } from "../../lib/tensor/dtype.js";

/** An operand of kind 0 (in a program `slot` is an index of its table). */
export interface ViewOperand {
  slot: number | Owner;
  dtype: DType;
  shape: readonly number[];
  strides?: readonly number[];
  offset?: number;
}
export type Operand =
  | ViewOperand
  | { dtype: DType; value: number | bigint }
  | { dtype: DType; parameter: number }
  | "nothing";

export interface Instruction {
  op: string;
  attr?: readonly number[];
  out?: readonly Operand[];
  in?: readonly Operand[];
}

const f64 = new Float64Array(1);
const pair = new Int32Array(f64.buffer);
const i64 = new BigInt64Array(f64.buffer);

/** The two words of a float64. */
export function doubleWords(x: number): number[] {
  f64[0] = x;
  return [pair[0], pair[1]];
}
/** The two words of an int64. */
export function longWords(x: number | bigint): number[] {
  i64[0] = BigInt(x);
  return [pair[0], pair[1]];
}

export function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= shape[d];
  }
  return strides;
}

function encodeOperand(device: Device, operand: Operand): number[] {
  if (operand === "nothing") return [3];
  const dtype = dtypes.indexOf(operand.dtype) << 8;
  if ("slot" in operand) {
    const { slot, shape, strides = rowMajor(shape), offset = 0 } = operand;
    const id = typeof slot === "number" ? slot : device.bind(slot);
    return [dtype | (shape.length << 16), id, offset, ...shape, ...strides];
  }
  if ("parameter" in operand) return [2 | dtype, operand.parameter];
  const isFloat = dtypeFacts[operand.dtype].kind === "float";
  return [1 | dtype, ...(isFloat ? doubleWords(Number(operand.value)) : longWords(operand.value))];
}

export function encodeInstruction(device: Device, { op, attr = [], out = [], in: inputs = [] }: Instruction): number[] {
  const id = device.ops.get(op);
  if (id === undefined) throw new Error(`the device has no op ${op}`);
  const operands = [...out, ...inputs].flatMap((operand) => encodeOperand(device, operand));
  return [id, 5 + attr.length + operands.length, out.length, inputs.length, attr.length, ...attr, ...operands];
}

/** The instruction of one element-wise function. */
export function elementwise(device: Device, fn: string, ctype: DType, out: Operand, ...inputs: Operand[]): Instruction {
  const args = [0, 1, 2].map((i) => (i < inputs.length ? i : -1));
  const id = device.elementwise.get(fn);
  if (id === undefined) throw new Error(`the device has no function ${fn}`);
  return { op: "elementwise", attr: [1, id, dtypes.indexOf(ctype), ...args, inputs.length], out: [out], in: inputs };
}

export interface SlotRow {
  /** Offset in the arena; absent for a slot that is bound at replay. */
  offset?: number;
  bytes: number;
}

export function encodeProgram(
  device: Device,
  slots: readonly SlotRow[],
  instructions: readonly Instruction[],
  { params = 0, arena = 0 } = {},
): Int32Array {
  const table = slots.flatMap(({ offset, bytes }) => [
    offset === undefined ? 0 : 1,
    ...longWords(bytes),
    ...longWords(offset ?? 0),
  ]);
  const body = instructions.flatMap((i) => encodeInstruction(device, i));
  const total = 7 + table.length + body.length;
  return Int32Array.from([
    0x4e424c31,
    total,
    slots.length,
    params,
    ...longWords(arena),
    instructions.length,
    ...table,
    ...body,
  ]);
}

/** A device with a pen: runs instructions at once and moves arrays in and out. */
export class Bench {
  constructor(readonly device: Device) {}

  /** Executes instructions in one batch. */
  run(...instructions: Instruction[]): void {
    this.submit(instructions.flatMap((i) => encodeInstruction(this.device, i)));
  }

  submit(words: readonly number[]): void {
    this.device.stream.set(words);
    this.device.flush(words.length);
  }

  /** A new owner with a buffer of undefined contents. */
  empty(dtype: DType, shape: readonly number[]): Tensor {
    const bytes = shape.reduce((a, b) => a * b, 1) * dtypeFacts[dtype].bytes;
    const owner: Owner = { slot: -1, memory: undefined, bytes };
    this.run({ op: "alloc", attr: [this.device.bind(owner), ...longWords(bytes)] });
    return { slot: owner, dtype, shape };
  }

  /** A tensor with these values: numbers (bits for the 16-bit floats), or bigints for int64. */
  tensor(dtype: DType, shape: readonly number[], values: readonly (number | bigint)[]): Tensor {
    const { array, bytes } = dtypeFacts[dtype];
    const owner: Owner = { slot: -1, memory: undefined, bytes: values.length * bytes };
    const source = new array(values.length);
    for (let i = 0; i < values.length; i++) source[i] = dtype === "int64" ? BigInt(values[i]) : Number(values[i]);
    const id = this.device.stage(source);
    this.run({ op: "adopt", attr: [this.device.bind(owner), id] });
    return { slot: owner, dtype, shape };
  }

  /** Reads a buffer from its beginning, as many elements as the shape has. */
  read({ slot, dtype, shape }: Tensor): TypedArray {
    const target = new dtypeFacts[dtype].array(shape.reduce((a, b) => a * b, 1));
    this.device.read(slot, 0, target, 0);
    return target;
  }

  /** Reads as plain numbers. */
  numbers(tensor: Tensor): number[] {
    return Array.from(this.read(tensor) as Iterable<number | bigint>, Number);
  }

  /** Runs one instruction with a new output of that dtype and shape, and reads it. */
  compute(
    op: string,
    dtype: DType,
    shape: readonly number[],
    inputs: readonly Operand[],
    attr: readonly number[] = [],
  ): number[] {
    const out = this.empty(dtype, shape);
    this.run({ op, attr, out: [out], in: inputs });
    return this.numbers(out);
  }
}

export interface Tensor extends ViewOperand {
  slot: Owner;
}

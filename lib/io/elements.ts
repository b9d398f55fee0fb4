// Values in files of other programs' formats: their element types, byte orders, and the dtypes that hold them here.
import { endianness } from "node:os";
import { DTypeError, FileError } from "../errors.js";
import type { DType, TypedArray } from "../tensor/dtype.js";

/** An element type in NumPy's words: kind and bytes. `V2` is what the ml_dtypes package's bfloat16 is stored as. */
export type ElementType = keyof typeof facts;

const facts = {
  f8: { bytes: 8, dtype: "float64", from: Float64Array },
  f4: { bytes: 4, dtype: "float32", from: Float32Array },
  f2: { bytes: 2, dtype: "float16", from: Uint16Array },
  V2: { bytes: 2, dtype: "bfloat16", from: Uint16Array },
  i8: { bytes: 8, dtype: "int64", from: BigInt64Array },
  u8: { bytes: 8, dtype: "int64", from: BigUint64Array },
  u4: { bytes: 4, dtype: "int64", from: Uint32Array },
  i4: { bytes: 4, dtype: "int32", from: Int32Array },
  u2: { bytes: 2, dtype: "int32", from: Uint16Array },
  i2: { bytes: 2, dtype: "int32", from: Int16Array },
  i1: { bytes: 1, dtype: "int32", from: Int8Array },
  u1: { bytes: 1, dtype: "uint8", from: Uint8Array },
  b1: { bytes: 1, dtype: "bool", from: Uint8Array },
} as const;

export const isElementType = (type: string): type is ElementType => Object.hasOwn(facts, type);
export const bytesOf = (type: ElementType): number => facts[type].bytes;

const storedAs: Record<DType, ElementType> = {
  ...{ float64: "f8", float32: "f4", float16: "f2", bfloat16: "V2" },
  ...{ int64: "i8", int32: "i4", uint8: "u1", bool: "b1" },
} as const;
/** The element type that holds a dtype. */
export const elementTypeOf = (dtype: DType): ElementType => storedAs[dtype];

const hostIsBig = endianness() === "BE";

/** Turns the bytes of each element round, in place, where the file's order is not this machine's. */
function order(bytes: Uint8Array, width: number, bigEndian: boolean): void {
  if (width === 1 || bigEndian === hostIsBig) return;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (width === 2) buffer.swap16();
  else if (width === 4) buffer.swap32();
  else buffer.swap64();
}

/** Elements of a file, in a dtype that holds all values of their type; `bytes` begin at a multiple of 8 and are used up. */
export function decode(bytes: Uint8Array, type: ElementType, bigEndian: boolean, label: string) {
  const { bytes: width, dtype, from } = facts[type];
  order(bytes, width, bigEndian);
  const own = new from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / width);
  let values: TypedArray;
  if (type === "u8") {
    values = BigInt64Array.from(own as BigUint64Array, (v) => {
      if (v >= 2n ** 63n) throw new FileError(`${label}: the uint64 value ${v} does not fit in int64`);
      return v;
    });
  } else if (type === "u4") values = BigInt64Array.from(own as Uint32Array, BigInt);
  else if (type === "u2" || type === "i2" || type === "i1") values = Int32Array.from(own as Int16Array);
  else values = own as TypedArray;
  if (dtype === "bool") for (let i = 0; i < values.length; i++) values[i] = values[i] === 0 ? 0 : 1;
  return { values, dtype: dtype as DType };
}

/** The bytes of a tensor's values; a copy where they must be turned round. */
export function encode(values: TypedArray, dtype: DType, bigEndian: boolean): Uint8Array {
  const { bytes: width } = facts[elementTypeOf(dtype)];
  const bytes = new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  if (width === 1 || bigEndian === hostIsBig) return bytes;
  const turned = bytes.slice();
  order(turned, width, bigEndian);
  return turned;
}

/** The product of dimensions from a file, which may be anything; refuses what no tensor can have. */
export function elementCount(shape: readonly number[], label: string): number {
  let count = 1;
  for (const n of shape) count *= n;
  if (!Number.isSafeInteger(count) || shape.some((n) => !Number.isSafeInteger(n) || n < 0)) {
    throw new FileError(`${label}: its shape [${shape.join(", ")}] is not possible`);
  }
  return count;
}

/** Throws for a dtype that a format has no type for. */
export function unsupported(dtype: DType, format: string, known: readonly DType[]): never {
  throw new DTypeError(`${format} files hold ${known.join(", ")}, not ${dtype}; convert with .to("float32") first`);
}

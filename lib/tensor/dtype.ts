// The dtypes: codes, sizes, typed arrays and PyTorch's promotion rules.
import { DTypeError } from "../errors.js";

export const dtypes = ["float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool"] as const;

/** Element type of a tensor. float16 and bfloat16 are storage types, computed in float32 on CPU. */
export type DType = (typeof dtypes)[number];

/** The typed array that holds each dtype; float16 and bfloat16 hold their bits. */
export type TypedArray = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array | Uint8Array;

interface Facts {
  /** Index in the encoding of programs (docs/kernels.md). */
  readonly code: number;
  readonly bytes: number;
  readonly kind: "bool" | "int" | "float";
  readonly array: new (buffer: ArrayBufferLike | number, offset?: number, length?: number) => TypedArray;
}

// biome-ignore lint/suspicious/noExplicitAny: the typed array constructors have no common type
const facts = (code: number, bytes: number, kind: Facts["kind"], array: any): Facts => ({ code, bytes, kind, array });

export const dtypeFacts: Readonly<Record<DType, Facts>> = {
  float32: facts(0, 4, "float", Float32Array),
  float64: facts(1, 8, "float", Float64Array),
  float16: facts(2, 2, "float", Uint16Array),
  bfloat16: facts(3, 2, "float", Uint16Array),
  int32: facts(4, 4, "int", Int32Array),
  int64: facts(5, 8, "int", BigInt64Array),
  uint8: facts(6, 1, "int", Uint8Array),
  bool: facts(7, 1, "bool", Uint8Array),
};

export const isFloat = (dtype: DType): boolean => dtypeFacts[dtype].kind === "float";

/** The dtype in which a device computes: 16-bit floats are computed in float32. */
export const computeDType = (dtype: DType): DType => (dtype === "float16" || dtype === "bfloat16" ? "float32" : dtype);

/** Checks a dtype that came from a user. */
export function checkDType(dtype: unknown, op: string): DType {
  if (typeof dtype === "string" && dtype in dtypeFacts) return dtype as DType;
  throw new DTypeError(`${op}: unknown dtype ${String(dtype)}; the dtypes are ${dtypes.join(", ")}`);
}

/** Kinds of dtypes, a higher one holding the lower ones. */
export const kindRank = { bool: 0, int: 1, float: 2 } as const;

/** The smallest dtype of PyTorch's lattice that holds both (`torch.promote_types`). */
export function promoteTypes(a: DType, b: DType): DType {
  if (a === b) return a;
  const ra = kindRank[dtypeFacts[a].kind];
  const rb = kindRank[dtypeFacts[b].kind];
  if (ra !== rb) return ra > rb ? a : b;
  if (ra === 2) {
    if (a === "float64" || b === "float64") return "float64";
    return "float32"; // float32 with a half type, or float16 with bfloat16
  }
  if (a === "int64" || b === "int64") return "int64";
  return "int32"; // int32 with uint8
}

/**
 * Result dtype of an operation on several operands (`torch.result_type`): tensors with dimensions count first, then
 * 0-dimensional tensors, then JavaScript numbers and booleans; a lower group only matters when it is of a higher kind
 * (bool < int < float).
 */
export function resultType(operands: readonly (Operand | number | boolean | bigint)[]): DType {
  let dimensioned: DType | undefined;
  let scalar: DType | undefined;
  let wrapped: DType | undefined;
  for (const x of operands) {
    if (typeof x === "object") {
      if (x.shape.length > 0) dimensioned = dimensioned ? promoteTypes(dimensioned, x.dtype) : x.dtype;
      else scalar = scalar ? promoteTypes(scalar, x.dtype) : x.dtype;
    } else {
      const dtype =
        typeof x === "boolean" ? "bool" : typeof x === "number" && !Number.isInteger(x) ? "float32" : "int64";
      wrapped = wrapped ? promoteTypes(wrapped, dtype) : dtype;
    }
  }
  const higher = (a: DType | undefined, b: DType | undefined): DType | undefined => {
    if (!a || !b) return a ?? b;
    return kindRank[dtypeFacts[b].kind] > kindRank[dtypeFacts[a].kind] ? b : a;
  };
  return higher(higher(dimensioned, scalar), wrapped) ?? "float32";
}

interface Operand {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

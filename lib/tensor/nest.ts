// Host values as JavaScript numbers, booleans and nested arrays.
import { bfloatToFloat, halfToFloat } from "../device/js/view.js";
import { DTypeError } from "../errors.js";
import type { DType, TypedArray } from "./dtype.js";
import type { Shape } from "./shape.js";

/** Numbers in as many nested arrays as there are dimensions; booleans for dtype bool. */
export type NestedArray = number | boolean | NestedArray[];

/** One element as a number or boolean. */
export function decoder(values: TypedArray, dtype: DType): (i: number) => number | boolean {
  switch (dtype) {
    case "bool":
      return (i) => values[i] !== 0;
    case "float16":
      return (i) => halfToFloat(values[i] as number);
    case "bfloat16":
      return (i) => bfloatToFloat(values[i] as number);
    case "int64":
      return (i) => exact(values[i] as bigint);
    default:
      return (i) => values[i] as number;
  }
}

function exact(value: bigint): number {
  const n = Number(value);
  if (Number.isSafeInteger(n)) return n;
  throw new DTypeError(`the int64 value ${value} is not exact as a number; use data() for a BigInt64Array`);
}

/** Row-major values as nested arrays of `shape`. */
export function nest(values: TypedArray, dtype: DType, shape: Shape): NestedArray {
  const at = decoder(values, dtype);
  const plain = dtype === "float32" || dtype === "float64" || dtype === "int32";
  let next = 0;
  const build = (dim: number): NestedArray => {
    if (dim === shape.length) return at(next++);
    const list = new Array<NestedArray>(shape[dim]);
    if (plain && dim + 1 === shape.length) {
      for (let i = 0; i < list.length; i++) list[i] = values[next++] as number;
      return list;
    }
    for (let i = 0; i < list.length; i++) list[i] = build(dim + 1);
    return list;
  };
  return build(0);
}

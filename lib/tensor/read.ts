// Reading values back to the host: typed arrays and nested arrays.
import { bfloatToFloat, halfToFloat } from "../device/js/view.js";
import { CaptureError, DTypeError } from "../errors.js";
import type { View } from "../graph/encode.js";
import { modes } from "../graph/modes.js";
import { streamOf } from "../graph/stream.js";
import { contiguousView } from "../ops/copy.js";
import { type DType, dtypeFacts, type TypedArray } from "./dtype.js";
import { numelOf, type Shape } from "./shape.js";

/** Numbers in as many nested arrays as there are dimensions; booleans for dtype bool. */
export type NestedArray = number | boolean | NestedArray[];

/** The values of a view in row-major order. */
export function readBack(view: View): TypedArray {
  const { target, source, byteOffset } = prepare(view);
  if (target.length > 0) streamOf(source.storage.device).read(source.storage, byteOffset, target);
  return target;
}

export async function readBackAsync(view: View): Promise<TypedArray> {
  const { target, source, byteOffset } = prepare(view);
  if (target.length > 0) await streamOf(source.storage.device).readAsync(source.storage, byteOffset, target);
  return target;
}

function prepare(view: View) {
  if (modes.capture) {
    throw new CaptureError(
      "reading a value inside a captured function: its operations are only being recorded and have no values yet; " +
        "return the tensor and read it outside, or do not compile the function",
    );
  }
  const { array, bytes } = dtypeFacts[view.dtype];
  const source = contiguousView(view);
  const target = new array(numelOf(view.shape));
  return { target, source, byteOffset: source.offset * bytes };
}

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
  let next = 0;
  const build = (dim: number): NestedArray => {
    if (dim === shape.length) return at(next++);
    const list = new Array<NestedArray>(shape[dim]);
    for (let i = 0; i < list.length; i++) list[i] = build(dim + 1);
    return list;
  };
  return build(0);
}

// Reading values back to the host.
import { CaptureError } from "../errors.js";
import type { View } from "../graph/encode.js";
import { modes } from "../graph/modes.js";
import { streamOf } from "../graph/stream.js";
import { rowMajorCopy } from "../ops/pointwise.js";
import { dtypeFacts, type TypedArray } from "./dtype.js";
import { late } from "./late.js";
import { isContiguous, numelOf } from "./shape.js";

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
  const source = isContiguous(view.shape, view.strides) ? view : rowMajorCopy(view);
  const target = new array(numelOf(view.shape));
  return { target, source, byteOffset: source.offset * bytes };
}

late.readBack = readBack;
late.readBackAsync = readBackAsync;

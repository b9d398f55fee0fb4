// The few functions that Tensor calls in layers above it. Those layers import Tensor, so it cannot import them: each
// enters its function here when it is loaded.
import type { BackwardOptions } from "../graph/backward.js";
import type { View } from "../graph/encode.js";
import type { TypedArray } from "./dtype.js";
import type { Tensor } from "./tensor.js";

interface Late {
  backward(root: Tensor, gradient: Tensor | null, options: BackwardOptions): void;
  rebase(view: Tensor): void;
  readBack(view: View): TypedArray;
  readBackAsync(view: View): Promise<TypedArray>;
  format(x: Tensor): string;
}

export const late = {} as Late;

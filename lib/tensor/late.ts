// The few functions that a layer calls in layers above it. Those import it, so it cannot import them: each enters its
// function here when it is loaded.
import type { BackwardOptions } from "../graph/backward.js";
import type { View } from "../graph/encode.js";
import type { Input } from "../ops/define.js";
import type { TypedArray } from "./dtype.js";
import type { Tensor } from "./tensor.js";

interface Late {
  backward(root: Tensor, gradient: Tensor | null, options: BackwardOptions): void;
  rebase(view: Tensor): void;
  readBack(view: View): TypedArray;
  readBackAsync(view: View): Promise<TypedArray>;
  format(x: Tensor): string;
  /** Gradient of a function of several inputs, each taken as independent of the others. */
  vjp(
    fn: (inputs: readonly Input[]) => Tensor[],
    inputs: readonly Input[],
    needs: readonly boolean[],
    grads: readonly (Tensor | null)[],
  ): (Tensor | null)[];
  arithmetic: Arithmetic;
}

/** The operations that the backward pass itself uses. */
interface Arithmetic {
  add(a: Tensor, b: Tensor): Tensor;
  addInPlace(a: Tensor, b: Tensor): Tensor;
  onesLike(x: Tensor): Tensor;
  cast(x: Tensor, dtype: Tensor["dtype"]): Tensor;
  copy(x: Tensor): Tensor;
  hasNaN(x: Tensor): boolean;
}

export const late = {} as Late;

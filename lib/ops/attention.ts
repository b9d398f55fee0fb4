// Attention as a composition of products and a softmax.
import { DTypeError, ShapeError, ValueError } from "../errors.js";
import { ones } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { tril } from "./arrange.js";
import { checkFloat, checkTensor } from "./define.js";
import { add, mul, where } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { transpose } from "./movement.js";
import { dropout } from "./random.js";
import { softmax } from "./softmax.js";

export interface AttentionOptions {
  /** Broadcast to …×L×S: bool (true: may be seen) or floats that are added to the scores. */
  mask?: Tensor | null;
  /** Position i sees positions ≤ i only; not together with `mask`. */
  isCausal?: boolean;
  /** Dropout of the weights. Default 0. */
  dropoutP?: number;
  /** Default 1 / √E. */
  scale?: number;
}

/**
 * softmax(scale · Q·Kᵀ + mask) · V (Vaswani et al. 2017, section 3.2.1):
 * query …×L×E, key …×S×E, value …×S×F → …×L×F. Rows that may see nothing give NaN.
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
): Tensor {
  const op = "scaledDotProductAttention";
  for (const x of [query, key, value]) checkFloat(checkTensor(x, op), op);
  const { mask, isCausal = false, dropoutP = 0 } = options;
  const [e, s] = [query.shape[query.ndim - 1], key.shape[key.ndim - 2]];
  if (
    [query, key, value].some((x) => x.ndim < 2) ||
    key.shape[key.ndim - 1] !== e ||
    value.shape[value.ndim - 2] !== s
  ) {
    throw new ShapeError(
      `${op}: query ${show(query.shape)}, key ${show(key.shape)} and value ${show(value.shape)} must be […, L, E], […, S, E] and […, S, F]`,
    );
  }
  if (mask && isCausal) throw new ValueError(`${op}: give either mask or isCausal, not both`);
  const scale = options.scale ?? 1 / Math.sqrt(e);
  if (!Number.isFinite(scale)) throw new ValueError(`${op}: scale must be a finite number, got ${scale}`);
  let scores = matmul(mul(query, scale), transpose(key, -2, -1)); // …×L×E · …×E×S → …×L×S
  const seen = isCausal ? tril(ones([query.shape[query.ndim - 2], s], { dtype: "bool", device: query.device })) : mask;
  if (seen) {
    checkTensor(seen, op);
    if (seen.dtype === "bool") scores = where(seen, scores, Number.NEGATIVE_INFINITY);
    else if (isFloat(seen.dtype)) scores = add(scores, seen);
    else throw new DTypeError(`${op}: the mask must be bool or floats, got ${seen.dtype}`);
  }
  return matmul(dropout(softmax(scores, -1), dropoutP), value); // …×L×S · …×S×F → …×L×F
}

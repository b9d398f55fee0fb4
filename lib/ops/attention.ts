// Attention: a kernel, or a composition of products and a softmax.
import { DTypeError, ShapeError, ValueError } from "../errors.js";
import { ones } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { broadcastShapes, type Shape, sameShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { tril } from "./arrange.js";
import { halfFor } from "./autocast.js";
import { apply, checkFloat, checkTensor, type Input, type OpDef, Scalar } from "./define.js";
import { add, exp, log, mul, sub, where } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { expand, transpose } from "./movement.js";
import { cast } from "./pointwise.js";
import { dropout } from "./random.js";
import { amax, sum } from "./reduce.js";
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

interface Setting {
  readonly causal: boolean;
  readonly scale: number;
}

const causalMask = (query: Tensor, key: Tensor): Tensor =>
  tril(ones([query.shape[query.ndim - 2], key.shape[key.ndim - 2]], { dtype: "bool", device: query.device }));

/** scale·Q·Kᵀ with −∞ where nothing may be seen. */
function scoresOf(query: Tensor, key: Tensor, mask: Tensor | null | undefined, { causal, scale }: Setting): Tensor {
  const scores = matmul(mul(query, scale), transpose(key, -2, -1)); // …×L×E · …×E×S → …×L×S
  const seen = causal ? causalMask(query, key) : mask;
  if (!seen) return scores;
  return seen.dtype === "bool" ? where(seen, scores, Number.NEGATIVE_INFINITY) : add(scores, seen);
}

/**
 * The gradients of q, k and v, with the result and the logarithms of the rows' sums that the forward pass kept. Its own
 * gradient is that of the composition, which forms the weights from q and k and so knows all of the dependence on them.
 */
const attentionGradDef: OpDef<Setting> = {
  name: "attentionGrad",
  compose: (inputs, _attrs, setting) => {
    const [q, k, v, , , dy, , mask] = inputs as Tensor[];
    const weights = softmax(scoresOf(q, k, mask, setting), -1);
    const dWeights = matmul(dy, transpose(v, -2, -1));
    const dScores = mul(weights, sub(dWeights, sum(mul(weights, dWeights), -1, true)));
    return [
      mul(matmul(dScores, k), setting.scale),
      mul(matmul(transpose(dScores, -2, -1), q), setting.scale),
      matmul(transpose(weights, -2, -1), dy),
    ];
  },
  work: (inputs) => scoreCount(inputs),
};

/** The result and the logarithm of the sum of each row's exponentials, of q, k, v, scale and perhaps a mask. */
const attentionDef: OpDef<Setting> = {
  name: "attention",
  saves: (needs) => ({ inputs: needs.length > 4 ? [0, 1, 2, 4] : [0, 1, 2], outputs: [0, 1] }),
  grad: ([g], { inputs: [q, k, v, , mask], outputs: [y, lse], extra }) => {
    const given: Input[] = [q, k, v, y.detach(), lse.detach(), g, new Scalar(extra.scale), ...(mask ? [mask] : [])];
    return [
      ...(g ? apply(attentionGradDef, given, [Number(extra.causal)], [q, k, v], extra) : [null, null, null]),
      null,
      null,
    ];
  },
  compose: (inputs, _attrs, setting) => {
    const [q, k, v, , mask] = inputs as Tensor[];
    const scores = scoresOf(q, k, mask, setting);
    const largest = amax(scores, -1, true);
    const lse = add(largest, log(sum(exp(sub(scores, largest)), -1, true)));
    return [matmul(softmax(scores, -1), v), lse.select(-1, 0)];
  },
  work: (inputs) => scoreCount(inputs),
};
const scoreCount = ([q, k]: readonly Input[]): number =>
  (q as Tensor).numel * (k as Tensor).shape[(k as Tensor).ndim - 2];

/** By the kernel, whose operands are views of the batch's full shape; undefined where it does not apply. */
function byKernel(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | null | undefined, setting: Setting) {
  const { dtype } = query;
  if ((dtype !== "float32" && dtype !== "float64") || key.dtype !== dtype || value.dtype !== dtype) return undefined;
  if (query.numel === 0 || key.numel === 0 || value.numel === 0) return undefined;
  if (mask && (mask.requiresGrad || (mask.dtype !== "bool" && mask.dtype !== dtype))) return undefined;
  const outer = (x: Tensor): Shape => x.shape.slice(0, -2);
  const op = "scaledDotProductAttention";
  const batch = broadcastShapes(broadcastShapes(outer(query), outer(key), op), outer(value), op);
  const full = (x: Tensor): Tensor => expand(x, [...batch, ...x.shape.slice(-2)]);
  const [l, s] = [query.shape[query.ndim - 2], key.shape[key.ndim - 2]];
  const inputs: Input[] = [full(query), full(key), full(value), new Scalar(setting.scale)];
  if (mask) {
    const shape = [...batch, l, s];
    if (!sameShape(broadcastShapes(mask.shape, shape, op), shape)) return undefined;
    inputs.push(expand(mask, shape));
  }
  const specs = [
    { shape: [...batch, l, value.shape[value.ndim - 1]], dtype },
    { shape: [...batch, l], dtype },
  ];
  return apply(attentionDef, inputs, [Number(setting.causal)], specs, setting)[0];
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
  if (mask && checkTensor(mask, op).dtype !== "bool" && !isFloat(mask.dtype)) {
    throw new DTypeError(`${op}: the mask must be bool or floats, got ${mask.dtype}`);
  }
  const setting = { causal: isCausal, scale };
  const half = halfFor(query, key, value);
  // Operands and result have 16 bits; the kernel's scores and sums need more.
  const [q, k, v] = half ? [query, key, value].map((x) => cast(cast(x, half), "float32")) : [query, key, value];
  const y = dropoutP === 0 ? byKernel(q, k, v, mask, setting) : undefined;
  if (y) return half ? cast(y, half) : y;
  return matmul(dropout(softmax(scoresOf(query, key, mask, setting), -1), dropoutP), value); // …×L×S · …×S×F → …×L×F
}

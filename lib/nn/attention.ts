// Attention with several heads, and the transformer layers made of it. B batch, L queries, S keys, E features.
import { checkFunction, checkOptions } from "../check.js";
import { ShapeError, ValueError } from "../errors.js";
import { gelu, relu } from "../ops/activation.js";
import { tril } from "../ops/arrange.js";
import { scaledDotProductAttention } from "../ops/attention.js";
import { add, mul, where } from "../ops/elementwise.js";
import { linear, matmul } from "../ops/matmul.js";
import { chunk, reshape, squeeze, transpose, unsqueeze } from "../ops/movement.js";
import { dropout } from "../ops/random.js";
import { mean } from "../ops/reduce.js";
import { softmax } from "../ops/softmax.js";
import { empty, ones, zeros } from "../tensor/create.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { Dropout } from "./dropout.js";
import { xavierUniform_, zeros_ } from "./init.js";
import { Linear } from "./linear.js";
import { Module, Parameter } from "./module.js";
import { LayerNorm } from "./norm.js";
import { checkProbability, checkSizes, PLACEMENT, type Placement, repr } from "./settings.js";

export interface MultiheadAttentionOptions extends Placement {
  /** Of the attention weights. Default 0. */
  dropout?: number;
  /** Default true. */
  bias?: boolean;
  /** Features of the keys. Default embedDim. */
  kdim?: number;
  /** Features of the values. Default embedDim. */
  vdim?: number;
  /** Inputs are B×L×E instead of L×B×E. Default false. */
  batchFirst?: boolean;
}

export interface AttentionCall {
  /** B×S, true: that key is not to be seen; or floats that are added to the scores. */
  keyPaddingMask?: Tensor | null;
  /** L×S or (B·heads)×L×S, true: not to be seen; or floats that are added to the scores. */
  attnMask?: Tensor | null;
  /** Return the attention weights too. Default true; without them it is faster. */
  needWeights?: boolean;
  /** Return their mean over the heads. Default true. */
  averageAttnWeights?: boolean;
  /** Position i sees positions ≤ i only. Default false. */
  isCausal?: boolean;
}

/**
 * Attention with several heads (Vaswani et al. 2017, section 3.2.2). `forward(query, key, value, options)` gives
 * `[output, weights]`, weights being B×L×S, B×heads×L×S or null.
 *
 * @example
 * const x = rand([2, 10, 64]);
 * const [y] = new nn.MultiheadAttention(64, 8, { batchFirst: true }).forward(x, x, x);
 * y.shape; // [2, 10, 64]
 */
export class MultiheadAttention extends Module {
  readonly headDim: number;
  readonly dropout: number;
  readonly batchFirst: boolean;
  /** Projections of query, key and value, one below the other, where all have embedDim features … */
  readonly inProjWeight: Parameter | null = null;
  /** … else one each. */
  readonly qProjWeight: Parameter | null = null;
  readonly kProjWeight: Parameter | null = null;
  readonly vProjWeight: Parameter | null = null;
  readonly inProjBias: Parameter | null;
  readonly outProj: Linear;

  constructor(
    readonly embedDim: number,
    readonly numHeads: number,
    options: MultiheadAttentionOptions = {},
  ) {
    super();
    checkOptions(options, ["dropout", "bias", "kdim", "vdim", "batchFirst", ...PLACEMENT], "MultiheadAttention");
    const { bias = true, kdim = embedDim, vdim = embedDim, batchFirst = false, dtype, device } = options;
    checkSizes("MultiheadAttention", { embedDim, numHeads, kdim, vdim });
    checkProbability("MultiheadAttention", "dropout", options.dropout ?? 0);
    if (embedDim % numHeads !== 0) {
      throw new ShapeError(`MultiheadAttention: embedDim=${embedDim} cannot be divided among ${numHeads} heads`);
    }
    this.headDim = embedDim / numHeads;
    this.dropout = options.dropout ?? 0;
    this.batchFirst = batchFirst;
    const weight = (rows: number, cols: number) =>
      xavierUniform_(new Parameter(empty([rows, cols], { dtype, device }))) as Parameter;
    if (kdim === embedDim && vdim === embedDim) {
      this.inProjWeight = weight(3 * embedDim, embedDim);
    } else {
      this.qProjWeight = weight(embedDim, embedDim);
      this.kProjWeight = weight(embedDim, kdim);
      this.vProjWeight = weight(embedDim, vdim);
    }
    this.inProjBias = bias ? new Parameter(zeros([3 * embedDim], { dtype, device })) : null;
    this.outProj = new Linear(embedDim, embedDim, { bias, dtype, device });
    if (this.outProj.bias) zeros_(this.outProj.bias);
  }

  override forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options: AttentionCall = {},
  ): [output: Tensor, weights: Tensor | null] {
    checkOptions(
      options,
      ["keyPaddingMask", "attnMask", "needWeights", "averageAttnWeights", "isCausal"],
      "MultiheadAttention",
    );
    const { needWeights = true, averageAttnWeights = true } = options;
    const batched = query.ndim === 3;
    if ((query.ndim !== 3 && query.ndim !== 2) || key.ndim !== query.ndim || value.ndim !== query.ndim) {
      throw new ShapeError(
        `MultiheadAttention: query, key and value must all have 3 dimensions (or 2, without a batch), got ` +
          `${show(query.shape)}, ${show(key.shape)}, ${show(value.shape)}`,
      );
    }
    /** → B×length×features */
    const rows = (x: Tensor): Tensor => (!batched ? unsqueeze(x, 0) : this.batchFirst ? x : transpose(x, 0, 1));
    const weights = this.inProjWeight
      ? chunk(this.inProjWeight, 3, 0)
      : [this.qProjWeight as Tensor, this.kProjWeight as Tensor, this.vProjWeight as Tensor];
    const biases = this.inProjBias ? chunk(this.inProjBias, 3, 0) : [null, null, null];
    /** → B×heads×length×headDim */
    const heads = (x: Tensor, i: number): Tensor => {
      const y = linear(rows(x), weights[i], biases[i]);
      return transpose(reshape(y, [y.shape[0], y.shape[1], this.numHeads, this.headDim]), 1, 2);
    };
    const [q, k, v] = [query, key, value].map(heads);
    const mask = this.mask(q, k, options);
    let out: Tensor;
    let seen: Tensor | null = null;
    if (needWeights) {
      const scores = matmul(mul(q, 1 / Math.sqrt(this.headDim)), transpose(k, -1, -2));
      seen = softmax(mask ? add(scores, mask) : scores, -1);
      if (this.dropout > 0) seen = dropout(seen, this.dropout, this.training);
      out = matmul(seen, v);
      if (averageAttnWeights) seen = mean(seen, 1);
      if (!batched) seen = squeeze(seen, 0);
    } else {
      const dropoutP = this.training ? this.dropout : 0;
      out = scaledDotProductAttention(q, k, v, { mask, dropoutP });
    }
    const merged = transpose(out, 1, 2);
    let y = this.outProj.forward(reshape(merged, [merged.shape[0], merged.shape[1], this.embedDim]));
    if (!batched) y = squeeze(y, 0);
    else if (!this.batchFirst) y = transpose(y, 0, 1);
    return [y, seen];
  }

  /** What is added to the scores B×heads×L×S: 0 or −∞, or what was given. */
  private mask(q: Tensor, k: Tensor, { keyPaddingMask, attnMask, isCausal }: AttentionCall): Tensor | null {
    const [B, heads, L] = q.shape;
    const S = k.shape[2];
    const place = { dtype: q.dtype, device: q.device };
    const added = (t: Tensor): Tensor =>
      t.dtype === "bool" ? where(t, Number.NEGATIVE_INFINITY, zeros([], place)) : t;
    const parts: Tensor[] = [];
    if (keyPaddingMask) {
      const of = keyPaddingMask.ndim === 1 ? unsqueeze(keyPaddingMask, 0) : keyPaddingMask;
      if (of.ndim !== 2 || of.shape[0] !== B || of.shape[1] !== S) {
        throw new ShapeError(
          `MultiheadAttention: keyPaddingMask must be [${B}, ${S}], got ${show(keyPaddingMask.shape)}`,
        );
      }
      parts.push(reshape(added(of), [B, 1, 1, S]));
    }
    if (attnMask) {
      const [l, s] = attnMask.shape.slice(-2);
      const whole = attnMask.ndim === 2 || (attnMask.ndim === 3 && attnMask.shape[0] === B * heads);
      if (!whole || l !== L || s !== S) {
        throw new ShapeError(
          `MultiheadAttention: attnMask must be [${L}, ${S}] or [${B * heads}, ${L}, ${S}], got ${show(attnMask.shape)}`,
        );
      }
      parts.push(attnMask.ndim === 2 ? added(attnMask) : reshape(added(attnMask), [B, heads, L, S]));
    }
    if (isCausal) {
      const visible = tril(ones([L, S], { dtype: "bool", device: q.device }));
      parts.push(where(visible, 0, zeros([], place).add(Number.NEGATIVE_INFINITY)));
    }
    return parts.length === 0 ? null : parts.reduce((a, b) => add(a, b));
  }

  protected override extraRepr(): string {
    const { embedDim, numHeads, batchFirst } = this;
    return repr({ embedDim, numHeads, dropout: this.dropout, batchFirst });
  }
}

export interface TransformerEncoderLayerOptions extends Placement {
  /** Width of the feed-forward part. Default 2048. */
  dimFeedforward?: number;
  /** Default 0.1. */
  dropout?: number;
  /** Default `"relu"`. */
  activation?: "relu" | "gelu" | ((x: Tensor) => Tensor);
  /** Default 1e-5. */
  layerNormEps?: number;
  /** Inputs are B×T×E instead of T×B×E. Default false. */
  batchFirst?: boolean;
  /** Normalise before attention and feed-forward instead of after (Xiong et al. 2020). Default false. */
  normFirst?: boolean;
  /** Default true. */
  bias?: boolean;
}

/** Masks of a transformer's call, in the words of MultiheadAttention. */
export interface EncoderCall {
  srcMask?: Tensor | null;
  srcKeyPaddingMask?: Tensor | null;
  isCausal?: boolean;
}

const LAYER_OPTIONS = [
  ...["dimFeedforward", "dropout", "activation", "layerNormEps", "batchFirst", "normFirst", "bias"],
  ...PLACEMENT,
];

/**
 * Self-attention and a feed-forward network, each with a residual connection and layer norm (Vaswani et al. 2017, section
 * 3.1).
 *
 * @example
 * new nn.TransformerEncoderLayer(64, 8, { batchFirst: true }).forward(rand([2, 10, 64])).shape; // [2, 10, 64]
 */
export class TransformerEncoderLayer extends Module {
  readonly selfAttn: MultiheadAttention;
  readonly linear1: Linear;
  readonly dropout: Dropout;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly dropout1: Dropout;
  readonly dropout2: Dropout;
  readonly normFirst: boolean;
  readonly activation: (x: Tensor) => Tensor;

  constructor(dModel: number, numHeads: number, options: TransformerEncoderLayerOptions = {}) {
    super();
    checkOptions(options, LAYER_OPTIONS, "TransformerEncoderLayer");
    const { dimFeedforward = 2048, dropout: p = 0.1, activation = "relu", layerNormEps = 1e-5 } = options;
    const { batchFirst = false, normFirst = false, bias = true, dtype, device } = options;
    const place = { dtype, device };
    this.selfAttn = new MultiheadAttention(dModel, numHeads, { dropout: p, bias, batchFirst, ...place });
    this.linear1 = new Linear(dModel, dimFeedforward, { bias, ...place });
    this.dropout = new Dropout(p);
    this.linear2 = new Linear(dimFeedforward, dModel, { bias, ...place });
    this.norm1 = new LayerNorm(dModel, { eps: layerNormEps, bias, ...place });
    this.norm2 = new LayerNorm(dModel, { eps: layerNormEps, bias, ...place });
    this.dropout1 = new Dropout(p);
    this.dropout2 = new Dropout(p);
    this.normFirst = normFirst;
    const named = { relu, gelu: (x: Tensor) => gelu(x) };
    if (typeof activation === "string" && !(activation in named)) {
      throw new ValueError(`TransformerEncoderLayer: activation must be "relu", "gelu" or a function`);
    }
    this.activation = typeof activation === "string" ? named[activation] : activation;
    checkFunction(this.activation, "TransformerEncoderLayer: activation");
  }

  override forward(src: Tensor, options: EncoderCall = {}): Tensor {
    checkOptions(options, ["srcMask", "srcKeyPaddingMask", "isCausal"], "TransformerEncoderLayer");
    if (this.normFirst) {
      const x = add(src, this.attend(this.norm1.forward(src), options));
      return add(x, this.feedForward(this.norm2.forward(x)));
    }
    const x = this.norm1.forward(add(src, this.attend(src, options)));
    return this.norm2.forward(add(x, this.feedForward(x)));
  }

  private attend(x: Tensor, { srcMask, srcKeyPaddingMask, isCausal }: EncoderCall): Tensor {
    const masks = { attnMask: srcMask, keyPaddingMask: srcKeyPaddingMask, isCausal, needWeights: false };
    return this.dropout1.forward(this.selfAttn.forward(x, x, x, masks)[0]);
  }

  private feedForward(x: Tensor): Tensor {
    const hidden = this.dropout.forward(this.activation(this.linear1.forward(x)));
    return this.dropout2.forward(this.linear2.forward(hidden));
  }
}

/**
 * Encoder layers on top of each other.
 *
 * @param layer makes one layer; called `numLayers` times, so that each has values of its own
 * @example
 * new nn.TransformerEncoder(() => new nn.TransformerEncoderLayer(64, 8), 6);
 */
export class TransformerEncoder extends Module {
  readonly layers: readonly Module[];

  constructor(
    layer: () => Module,
    numLayers: number,
    readonly norm: Module | null = null,
  ) {
    super();
    checkFunction(layer, "TransformerEncoder: layer");
    checkSizes("TransformerEncoder", { numLayers });
    this.layers = Array.from({ length: numLayers }, layer);
  }

  override forward(src: Tensor, options: EncoderCall = {}): Tensor {
    const y = this.layers.reduce((x, layer) => layer.forward(x, options) as Tensor, src);
    return this.norm ? (this.norm.forward(y) as Tensor) : y;
  }
}

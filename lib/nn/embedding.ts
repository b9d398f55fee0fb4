// Embedding: a table of vectors.
import { checkOptions } from "../check.js";
import { ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { fill_ } from "../ops/convert.js";
import { embedding, type IndexLike } from "../ops/indexing.js";
import { select } from "../ops/movement.js";
import { randn } from "../ops/random.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module, Parameter } from "./module.js";
import { checkSizes, PLACEMENT, type Placement, repr } from "./settings.js";

export interface EmbeddingOptions extends Placement {
  /** A row that starts as zeros and gets no gradient. */
  paddingIdx?: number | null;
}

/**
 * Integers to rows of a learned table: shape S → S×embeddingDim. The table (numEmbeddings×embeddingDim) starts standard
 * normal.
 *
 * @example
 * new nn.Embedding(1000, 64).forward(tensor([[3, 7, 1]], { dtype: "int64" })).shape; // [1, 3, 64]
 */
export class Embedding extends Module {
  readonly weight: Parameter;
  readonly paddingIdx: number | null;

  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    options: EmbeddingOptions = {},
  ) {
    super();
    checkOptions(options, ["paddingIdx", ...PLACEMENT], "Embedding");
    checkSizes("Embedding", { numEmbeddings, embeddingDim });
    const { paddingIdx = null, dtype, device } = options;
    if (paddingIdx !== null && !(Number.isInteger(paddingIdx) && Math.abs(paddingIdx + 0.5) < numEmbeddings + 0.5)) {
      throw new ValueError(`Embedding: paddingIdx must be a row of ${numEmbeddings}, got ${paddingIdx}`);
    }
    this.paddingIdx = paddingIdx !== null && paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    this.weight = new Parameter(randn([numEmbeddings, embeddingDim], { dtype, device }));
    const row = this.paddingIdx;
    if (row !== null) noGrad(() => fill_(select(this.weight, 0, row), 0));
  }

  override forward(index: IndexLike): Tensor {
    return embedding(this.weight, index, { paddingIdx: this.paddingIdx });
  }

  protected override extraRepr(): string {
    const { numEmbeddings, embeddingDim, paddingIdx } = this;
    return repr({ numEmbeddings, embeddingDim, paddingIdx: paddingIdx ?? undefined });
  }
}

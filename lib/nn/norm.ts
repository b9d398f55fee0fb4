// Normalisation as layers.
import { checkOptions } from "../check.js";
import { ShapeError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { add_ } from "../ops/elementwise.js";
import { batchNorm, groupNorm, instanceNorm, layerNorm, rmsNorm } from "../ops/norm.js";
import { ones, zeros } from "../tensor/create.js";
import { type Shape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { Buffer, Module, Parameter } from "./module.js";
import { checkSizes, PLACEMENT, type Placement, repr } from "./settings.js";

export interface NormOptions extends Placement {
  /** Added to the variance. Default 1e-5. */
  eps?: number;
  /** Learn a scale and a shift. Default true (InstanceNorm: false). */
  affine?: boolean;
}

export interface BatchNormOptions extends NormOptions {
  /** Share of the batch's statistics in the running ones. Default 0.1. */
  momentum?: number;
  /** Keep running statistics for evaluation; otherwise the batch's are used there too. Default true. */
  trackRunningStats?: boolean;
}

const BATCH_OPTIONS = ["eps", "affine", "momentum", "trackRunningStats", ...PLACEMENT] as const;

/** Channels [N, C, …] with learned scale and shift and running statistics. */
abstract class ChannelNorm extends Module {
  readonly eps: number;
  readonly momentum: number;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly runningMean: Buffer | null;
  readonly runningVar: Buffer | null;
  /** Batches that have gone into the running statistics; BatchNorm counts them, InstanceNorm, as in PyTorch, does not. */
  readonly numBatchesTracked: Buffer | null;

  constructor(
    name: string,
    readonly numFeatures: number,
    private readonly dims: readonly number[],
    options: BatchNormOptions,
    defaults: { affine: boolean; trackRunningStats: boolean },
  ) {
    super();
    checkOptions(options, BATCH_OPTIONS, name);
    checkSizes(name, { numFeatures });
    const { eps = 1e-5, momentum = 0.1, dtype, device } = options;
    const { affine, trackRunningStats } = { ...defaults, ...options };
    Object.defineProperty(this, "dims", { enumerable: false });
    this.eps = eps;
    this.momentum = momentum;
    const place = { dtype, device };
    this.weight = affine ? new Parameter(ones([numFeatures], place)) : null;
    this.bias = affine ? new Parameter(zeros([numFeatures], place)) : null;
    this.runningMean = trackRunningStats ? new Buffer(zeros([numFeatures], place)) : null;
    this.runningVar = trackRunningStats ? new Buffer(ones([numFeatures], place)) : null;
    this.numBatchesTracked = trackRunningStats ? new Buffer(zeros([], { dtype: "int64", device })) : null;
  }

  protected check(x: Tensor): void {
    if (this.dims.includes(x.ndim)) return;
    throw new ShapeError(
      `${this.constructor.name}: an input of ${this.dims.join(" or ")} dimensions is needed, got ${show(x.shape)}`,
    );
  }

  protected override extraRepr(): string {
    const { numFeatures, eps, momentum } = this;
    return repr({
      numFeatures,
      eps,
      momentum,
      affine: this.weight !== null,
      trackRunningStats: this.runningMean !== null,
    });
  }
}

abstract class BatchNorm extends ChannelNorm {
  override forward(x: Tensor): Tensor {
    this.check(x);
    const { weight, bias, runningMean, runningVar, numBatchesTracked, eps, momentum } = this;
    if (numBatchesTracked && this.training) noGrad(() => add_(numBatchesTracked, 1));
    const training = this.training || runningMean === null;
    return batchNorm(x, { weight, bias, runningMean, runningVar, eps, momentum, training });
  }
}

const TRACKED = { affine: true, trackRunningStats: true };

/**
 * Each of C channels of N×C or N×C×L normalised over the batch while training, by running statistics in evaluation
 * mode; scaled and shifted. Ioffe and Szegedy 2015.
 */
export class BatchNorm1d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super("BatchNorm1d", numFeatures, [2, 3], options, TRACKED);
  }
}

/** The same for N×C×H×W. */
export class BatchNorm2d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super("BatchNorm2d", numFeatures, [4], options, TRACKED);
  }
}

abstract class InstanceNorm extends ChannelNorm {
  override forward(x: Tensor): Tensor {
    this.check(x);
    const { weight, bias, runningMean, runningVar, eps, momentum } = this;
    const useInputStats = this.training || runningMean === null;
    return instanceNorm(x, { weight, bias, runningMean, runningVar, eps, momentum, useInputStats });
  }
}

const UNTRACKED = { affine: false, trackRunningStats: false };

/** Each channel of each sample of N×C×L normalised over its positions. Ulyanov et al. 2016. */
export class InstanceNorm1d extends InstanceNorm {
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super("InstanceNorm1d", numFeatures, [3], options, UNTRACKED);
  }
}

/** The same for N×C×H×W. */
export class InstanceNorm2d extends InstanceNorm {
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super("InstanceNorm2d", numFeatures, [4], options, UNTRACKED);
  }
}

/** The channels of [N, C, …] in groups, each normalised for each sample. Wu and He 2018. */
export class GroupNorm extends Module {
  readonly eps: number;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;

  constructor(
    readonly numGroups: number,
    readonly numChannels: number,
    options: NormOptions = {},
  ) {
    super();
    checkOptions(options, ["eps", "affine", ...PLACEMENT], "GroupNorm");
    checkSizes("GroupNorm", { numGroups, numChannels });
    if (numChannels % numGroups !== 0) {
      throw new ShapeError(`GroupNorm: ${numChannels} channels cannot be divided into ${numGroups} groups`);
    }
    const { eps = 1e-5, affine = true, dtype, device } = options;
    this.eps = eps;
    this.weight = affine ? new Parameter(ones([numChannels], { dtype, device })) : null;
    this.bias = affine ? new Parameter(zeros([numChannels], { dtype, device })) : null;
  }

  override forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return groupNorm(x, this.numGroups, { weight, bias, eps });
  }

  protected override extraRepr(): string {
    const { numGroups, numChannels, eps } = this;
    return repr({ numGroups, numChannels, eps, affine: this.weight !== null });
  }
}

export interface LayerNormOptions extends Placement {
  /** Default 1e-5. */
  eps?: number;
  /** Learn a scale (and a shift). Default true. */
  elementwiseAffine?: boolean;
  /** Learn a shift too, with `elementwiseAffine`. Default true. */
  bias?: boolean;
}

/**
 * The last dimensions, of shape `normalizedShape`, normalised together. Ba et al. 2016.
 *
 * @example
 * new nn.LayerNorm(64).forward(rand([2, 10, 64])).shape; // [2, 10, 64]
 */
export class LayerNorm extends Module {
  readonly normalizedShape: Shape;
  readonly eps: number;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super();
    checkOptions(options, ["eps", "elementwiseAffine", "bias", ...PLACEMENT], "LayerNorm");
    const { eps = 1e-5, elementwiseAffine = true, bias = true, dtype, device } = options;
    this.normalizedShape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    this.eps = eps;
    this.weight = elementwiseAffine ? new Parameter(ones(this.normalizedShape, { dtype, device })) : null;
    this.bias = elementwiseAffine && bias ? new Parameter(zeros(this.normalizedShape, { dtype, device })) : null;
  }

  override forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return layerNorm(x, this.normalizedShape, { weight, bias, eps });
  }

  protected override extraRepr(): string {
    const { normalizedShape, eps } = this;
    return repr({ normalizedShape, eps, elementwiseAffine: this.weight !== null });
  }
}

/** The last dimensions divided by their root mean square, and scaled. Zhang and Sennrich 2019. */
export class RMSNorm extends Module {
  readonly normalizedShape: Shape;
  readonly eps: number | undefined;
  readonly weight: Parameter | null;

  /** @param options `eps` defaults to the smallest normal step of the input's dtype, as in PyTorch */
  constructor(normalizedShape: number | Shape, options: Omit<LayerNormOptions, "bias"> = {}) {
    super();
    checkOptions(options, ["eps", "elementwiseAffine", ...PLACEMENT], "RMSNorm");
    const { eps, elementwiseAffine = true, dtype, device } = options;
    this.normalizedShape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    this.eps = eps;
    this.weight = elementwiseAffine ? new Parameter(ones(this.normalizedShape, { dtype, device })) : null;
  }

  override forward(x: Tensor): Tensor {
    const { weight, eps } = this;
    return rmsNorm(x, this.normalizedShape, { weight, eps });
  }

  protected override extraRepr(): string {
    const { normalizedShape, eps } = this;
    return repr({ normalizedShape, eps, elementwiseAffine: this.weight !== null });
  }
}

// Convolutions as layers.
import { checkOptions } from "../check.js";
import { ShapeError } from "../errors.js";
import { pad } from "../ops/arrange.js";
import { conv1d, conv2d, convTranspose1d, convTranspose2d, type Sizes } from "../ops/conv.js";
import { empty } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import { kaimingUniform_, uniform_ } from "./init.js";
import { Module, Parameter } from "./module.js";
import { checkSizes, PLACEMENT, type Placement, repr, spread } from "./settings.js";

/** How the border is filled before the convolution. */
export type PaddingMode = "zeros" | "reflect" | "replicate" | "circular";

export interface ConvLayerOptions extends Placement {
  /** Default 1. */
  stride?: Sizes;
  /** Border on both sides, `"valid"` (none) or `"same"` (keeps the size; stride 1 only). Default 0. */
  padding?: Sizes | "same" | "valid";
  /** Default `"zeros"`. */
  paddingMode?: PaddingMode;
  /** Distance of the kernel's elements. Default 1. */
  dilation?: Sizes;
  /** Blocks of channels that do not see each other. Default 1. */
  groups?: number;
  /** Add a learned bias to each output channel. Default true. */
  bias?: boolean;
}

export interface ConvTransposeLayerOptions extends Omit<ConvLayerOptions, "padding" | "paddingMode"> {
  /** Default 0. */
  padding?: Sizes;
  /** Added to the size of the result at one side. Default 0. */
  outputPadding?: Sizes;
}

/** What all four have: weight and bias, uniform in ±1/√fanIn at first, as in PyTorch. */
abstract class Convolution extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    readonly kernelSize: readonly number[],
    readonly groups: number,
    shape: number[],
    options: ConvLayerOptions | ConvTransposeLayerOptions,
  ) {
    super();
    const { dtype, device, bias = true } = options;
    this.weight = new Parameter(empty(shape, { dtype, device }));
    // Of kaimingUniform_ with a = √5 the bound is 1 / √fanIn.
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    const bound = 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1));
    this.bias = bias
      ? (uniform_(new Parameter(empty([outChannels], { dtype, device })), -bound, bound) as Parameter)
      : null;
  }
}

function checkChannels(layer: string, inChannels: number, outChannels: number, groups: number): void {
  checkSizes(layer, { inChannels, outChannels, groups });
  if (inChannels % groups !== 0 || outChannels % groups !== 0) {
    throw new ShapeError(
      `${layer}: ${inChannels} input and ${outChannels} output channels cannot be parted into ${groups} groups`,
    );
  }
}

const OPTIONS = ["stride", "padding", "paddingMode", "dilation", "groups", "bias", ...PLACEMENT] as const;

abstract class Conv extends Convolution {
  readonly stride: Sizes;
  readonly padding: Sizes | "same" | "valid";
  readonly paddingMode: PaddingMode;
  readonly dilation: Sizes;

  constructor(
    name: string,
    dims: number,
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvLayerOptions,
  ) {
    checkOptions(options, OPTIONS, name);
    const { groups = 1 } = options;
    checkChannels(name, inChannels, outChannels, groups);
    const kernel = spread(name, "kernelSize", kernelSize, dims);
    super(inChannels, outChannels, kernel, groups, [outChannels, inChannels / groups, ...kernel], options);
    this.stride = options.stride ?? 1;
    this.padding = options.padding ?? 0;
    this.paddingMode = options.paddingMode ?? "zeros";
    this.dilation = options.dilation ?? 1;
  }

  override forward(x: Tensor): Tensor {
    const { stride, dilation, groups, bias, paddingMode } = this;
    const convolve = this.kernelSize.length === 1 ? conv1d : conv2d;
    if (paddingMode === "zeros") {
      return convolve(x, this.weight, { bias, stride, padding: this.padding, dilation, groups });
    }
    return convolve(pad(x, this.border(), paddingMode), this.weight, { bias, stride, dilation, groups });
  }

  /** Sizes of the border for `pad`: last dimension first, both sides. */
  private border(): number[] {
    const { padding, kernelSize } = this;
    if (padding === "valid") return kernelSize.flatMap(() => [0, 0]);
    const each = (v: Sizes, i: number): number => (typeof v === "number" ? v : v[i]);
    const sides = kernelSize.map((k, i) => {
      if (padding !== "same") return [each(padding, i), each(padding, i)];
      const span = each(this.dilation, i) * (k - 1);
      return [Math.floor(span / 2), Math.ceil(span / 2)];
    });
    return sides.reverse().flat();
  }

  protected override extraRepr(): string {
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, groups } = this;
    return repr({ inChannels, outChannels, kernelSize, stride, padding, dilation, groups, bias: this.bias !== null });
  }
}

/**
 * Convolution over N×C×L (or C×L) → N×outChannels×L′.
 *
 * @example
 * new nn.Conv1d(3, 8, 5, { padding: 2 }).forward(rand([4, 3, 100])).shape; // [4, 8, 100]
 */
export class Conv1d extends Conv {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvLayerOptions = {}) {
    super("Conv1d", 1, inChannels, outChannels, kernelSize, options);
  }
}

/**
 * Convolution over N×C×H×W (or C×H×W) → N×outChannels×H′×W′.
 *
 * @example
 * new nn.Conv2d(1, 6, 5).forward(rand([64, 1, 28, 28])).shape; // [64, 6, 24, 24]
 */
export class Conv2d extends Conv {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvLayerOptions = {}) {
    super("Conv2d", 2, inChannels, outChannels, kernelSize, options);
  }
}

const TRANSPOSE_OPTIONS = ["stride", "padding", "outputPadding", "dilation", "groups", "bias", ...PLACEMENT] as const;

abstract class ConvTranspose extends Convolution {
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly outputPadding: Sizes;
  readonly dilation: Sizes;

  constructor(
    name: string,
    dims: number,
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvTransposeLayerOptions,
  ) {
    checkOptions(options, TRANSPOSE_OPTIONS, name);
    const { groups = 1 } = options;
    checkChannels(name, inChannels, outChannels, groups);
    const kernel = spread(name, "kernelSize", kernelSize, dims);
    super(inChannels, outChannels, kernel, groups, [inChannels, outChannels / groups, ...kernel], options);
    this.stride = options.stride ?? 1;
    this.padding = options.padding ?? 0;
    this.outputPadding = options.outputPadding ?? 0;
    this.dilation = options.dilation ?? 1;
  }

  override forward(x: Tensor): Tensor {
    const { stride, padding, outputPadding, dilation, groups, bias } = this;
    const convolve = this.kernelSize.length === 1 ? convTranspose1d : convTranspose2d;
    return convolve(x, this.weight, { bias, stride, padding, outputPadding, dilation, groups });
  }

  protected override extraRepr(): string {
    const { inChannels, outChannels, kernelSize, stride, padding, outputPadding, dilation, groups } = this;
    const bias = this.bias !== null;
    return repr({ inChannels, outChannels, kernelSize, stride, padding, outputPadding, dilation, groups, bias });
  }
}

/** The adjoint of Conv1d in its input: N×C×L → N×outChannels×L′, L′ = (L − 1)·stride − 2·padding + kernel + … */
export class ConvTranspose1d extends ConvTranspose {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvTransposeLayerOptions = {}) {
    super("ConvTranspose1d", 1, inChannels, outChannels, kernelSize, options);
  }
}

/** The adjoint of Conv2d in its input: N×C×H×W → N×outChannels×H′×W′. */
export class ConvTranspose2d extends ConvTranspose {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvTransposeLayerOptions = {}) {
    super("ConvTranspose2d", 2, inChannels, outChannels, kernelSize, options);
  }
}

// Linear: an affine map of the last dimension.
import { checkOptions } from "../check.js";
import { ValueError } from "../errors.js";
import { linear } from "../ops/matmul.js";
import { rand } from "../ops/random.js";
import type { TensorOptions } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module, Parameter } from "./module.js";

export interface LinearOptions extends Pick<TensorOptions, "dtype" | "device"> {
  /** Add a learned bias. Default true. */
  bias?: boolean;
}

/**
 * y = x·Wᵀ + b: …×inFeatures → …×outFeatures. Weight (outFeatures×inFeatures) and bias start uniform in ±1/√inFeatures,
 * as in PyTorch.
 *
 * @example
 * new nn.Linear(4, 3).forward(rand([8, 4])).shape; // [8, 3]
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: LinearOptions = {},
  ) {
    super();
    checkOptions(options, ["bias", "dtype", "device"], "Linear");
    const { bias = true, dtype, device } = options;
    for (const n of [inFeatures, outFeatures]) {
      if (!Number.isInteger(n) || n < 1)
        throw new ValueError(`Linear: sizes must be integers ≥ 1, got ${inFeatures} and ${outFeatures}`);
    }
    const bound = 1 / Math.sqrt(inFeatures);
    const uniform = (shape: number[]) =>
      new Parameter(
        rand(shape, { dtype, device })
          .mul(2 * bound)
          .sub(bound),
      );
    this.weight = uniform([outFeatures, inFeatures]);
    this.bias = bias ? uniform([outFeatures]) : null;
  }

  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  protected override extraRepr(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.bias !== null}`;
  }
}

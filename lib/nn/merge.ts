// Layers that make one tensor of several, for graphs that join.
import { checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { cat } from "../ops/arrange.js";
import { add as addOp, div, maximum as maximumOp, minimum as minimumOp, mul, sub } from "../ops/elementwise.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";
import type { SymbolicTensor } from "./symbolic.js";

abstract class Merge extends Module {
  /** Two of them. */
  protected abstract join(a: Tensor, b: Tensor): Tensor;

  override forward(...inputs: Tensor[]): Tensor {
    if (inputs.length < 2) {
      throw new ValueError(`${this.constructor.name}: at least two tensors are needed, got ${inputs.length}`);
    }
    return inputs.reduce((a, b) => this.join(a, b));
  }
}

/** The sum of its inputs. */
export class Add extends Merge {
  protected override join(a: Tensor, b: Tensor): Tensor {
    return addOp(a, b);
  }
}

/** The first input less the others. */
export class Subtract extends Merge {
  protected override join(a: Tensor, b: Tensor): Tensor {
    return sub(a, b);
  }
}

/** The product of its inputs, element by element. */
export class Multiply extends Merge {
  protected override join(a: Tensor, b: Tensor): Tensor {
    return mul(a, b);
  }
}

/** The larger of its inputs, element by element. */
export class Maximum extends Merge {
  protected override join(a: Tensor, b: Tensor): Tensor {
    return maximumOp(a, b);
  }
}

/** The smaller of its inputs, element by element. */
export class Minimum extends Merge {
  protected override join(a: Tensor, b: Tensor): Tensor {
    return minimumOp(a, b);
  }
}

/** The mean of its inputs. */
export class Average extends Add {
  override forward(...inputs: Tensor[]): Tensor {
    return div(super.forward(...inputs), inputs.length);
  }
}

/**
 * Its inputs joined along a dimension.
 *
 * @example
 * new nn.Concatenate(1).forward(rand([8, 2]), rand([8, 3])).shape; // [8, 5]
 */
export class Concatenate extends Module {
  /** @param dim default: the last */
  constructor(readonly dim = -1) {
    super();
    if (!Number.isInteger(dim)) throw new ValueError(`Concatenate: dim must be an integer, got ${describe(dim)}`);
  }

  override forward(...inputs: Tensor[]): Tensor {
    return cat(inputs, this.dim);
  }

  protected override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

type Symbols = readonly SymbolicTensor[];

const listed = (inputs: unknown, op: string): Symbols => {
  if (Array.isArray(inputs)) return inputs;
  throw new ValueError(`nn.${op}: the tensors come in one array: nn.${op}([a, b]); got ${describe(inputs)}`);
};

/**
 * The sum of symbolic tensors, in a graph.
 *
 * @example
 * const y = nn.add([x, block.call(x)]);
 */
export const add = (inputs: Symbols): SymbolicTensor => new Add().call(...listed(inputs, "add"));
/** The first of symbolic tensors less the others. */
export const subtract = (inputs: Symbols): SymbolicTensor => new Subtract().call(...listed(inputs, "subtract"));
/** The product of symbolic tensors, element by element. */
export const multiply = (inputs: Symbols): SymbolicTensor => new Multiply().call(...listed(inputs, "multiply"));
/** The mean of symbolic tensors. */
export const average = (inputs: Symbols): SymbolicTensor => new Average().call(...listed(inputs, "average"));
/** The larger of symbolic tensors, element by element. */
export const maximum = (inputs: Symbols): SymbolicTensor => new Maximum().call(...listed(inputs, "maximum"));
/** The smaller of symbolic tensors, element by element. */
export const minimum = (inputs: Symbols): SymbolicTensor => new Minimum().call(...listed(inputs, "minimum"));
/** Symbolic tensors joined along a dimension, by default the last. */
export const concatenate = (inputs: Symbols, options: { dim?: number } = {}): SymbolicTensor => {
  checkOptions(options, ["dim"], "nn.concatenate");
  return new Concatenate(options.dim).call(...listed(inputs, "concatenate"));
};

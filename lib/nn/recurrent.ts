// Recurrent layers. T time steps, B batch, C features, H hidden size, D 1 or, in both directions, 2.
//
// Of a whole sequence the products with the input are one; what must go step by step is the product with the state.
import { checkOptions, describe } from "../check.js";
import { ShapeError, ValueError } from "../errors.js";
import { relu, sigmoid } from "../ops/activation.js";
import { cat, stack } from "../ops/arrange.js";
import { add, mul, sub, tanh } from "../ops/elementwise.js";
import { linear } from "../ops/matmul.js";
import { chunk, select, squeeze, transpose, unsqueeze } from "../ops/movement.js";
import { dropout } from "../ops/random.js";
import { empty, zeros } from "../tensor/create.js";
import { sameShape, show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { uniform_ } from "./init.js";
import { Module, Parameter } from "./module.js";
import { checkProbability, checkSizes, PLACEMENT, type Placement, repr } from "./settings.js";

export interface RecurrentOptions extends Placement {
  /** Layers on top of each other. Default 1. */
  numLayers?: number;
  /** Default true. */
  bias?: boolean;
  /** Input and output are B×T×C instead of T×B×C. Default false. */
  batchFirst?: boolean;
  /** Dropout between layers. Default 0. */
  dropout?: number;
  /** A second pass from the end; outputs are concatenated. Default false. */
  bidirectional?: boolean;
}

export interface RNNOptions extends RecurrentOptions {
  /** Default `"tanh"`. */
  nonlinearity?: "tanh" | "relu";
}

/** One step: new states from the input's part of the gates and the states, hidden state first. */
type Cell = (gates: Tensor, states: readonly Tensor[], weight: Tensor, bias: Tensor | null) => Tensor[];

const cells = {
  tanh: ((x, [h], w, b) => [tanh(add(x, linear(h, w, b)))]) as Cell,
  relu: ((x, [h], w, b) => [relu(add(x, linear(h, w, b)))]) as Cell,
  /** Gates in PyTorch's order: input, forget, cell, output. Hochreiter and Schmidhuber 1997; Gers et al. 2000. */
  lstm: ((x, [h, c], w, b) => {
    const [i, f, g, o] = chunk(add(x, linear(h, w, b)), 4, -1);
    const cell = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(g)));
    return [mul(sigmoid(o), tanh(cell)), cell];
  }) as Cell,
  /** Gates in PyTorch's order: reset, update, new; the reset gate acts after the product. Cho et al. 2014. */
  gru: ((x, [h], w, b) => {
    const [xr, xz, xn] = chunk(x, 3, -1);
    const [hr, hz, hn] = chunk(linear(h, w, b), 3, -1);
    const z = sigmoid(add(xz, hz));
    const n = tanh(add(xn, mul(sigmoid(add(xr, hr)), hn)));
    return [add(n, mul(z, sub(h, n)))];
  }) as Cell,
};

const OPTIONS = ["numLayers", "bias", "batchFirst", "dropout", "bidirectional", ...PLACEMENT] as const;

abstract class Recurrent extends Module {
  readonly numLayers: number;
  readonly batchFirst: boolean;
  readonly dropout: number;
  readonly bidirectional: boolean;
  // Parameters have PyTorch's names in camelCase: weightIhL0, weightHhL0, biasIhL0, biasHhL0, weightIhL0Reverse …
  [name: string]: unknown;

  constructor(
    name: string,
    readonly inputSize: number,
    readonly hiddenSize: number,
    private readonly cell: Cell,
    gates: number,
    private readonly states: number,
    options: RecurrentOptions,
    more: readonly string[] = [],
  ) {
    super();
    checkOptions(options, [...OPTIONS, ...more], name);
    const { numLayers = 1, bias = true, batchFirst = false, bidirectional = false, dtype, device } = options;
    checkSizes(name, { inputSize, hiddenSize, numLayers });
    checkProbability(name, "dropout", options.dropout ?? 0);
    for (const key of ["cell", "states"]) Object.defineProperty(this, key, { enumerable: false });
    this.numLayers = numLayers;
    this.batchFirst = batchFirst;
    this.dropout = options.dropout ?? 0;
    this.bidirectional = bidirectional;
    const bound = 1 / Math.sqrt(hiddenSize);
    const uniform = (shape: number[]) => uniform_(new Parameter(empty(shape, { dtype, device })), -bound, bound);
    const rows = gates * hiddenSize;
    for (const { layer, suffix } of this.passes()) {
      const width = layer === 0 ? inputSize : hiddenSize * (bidirectional ? 2 : 1);
      this[`weightIh${suffix}`] = uniform([rows, width]);
      this[`weightHh${suffix}`] = uniform([rows, hiddenSize]);
      if (!bias) continue;
      this[`biasIh${suffix}`] = uniform([rows]);
      this[`biasHh${suffix}`] = uniform([rows]);
    }
  }

  /** Each layer in each direction, in the order of the states. */
  private *passes(): Generator<{ layer: number; reverse: boolean; suffix: string }> {
    for (let layer = 0; layer < this.numLayers; layer++) {
      yield { layer, reverse: false, suffix: `L${layer}` };
      if (this.bidirectional) yield { layer, reverse: true, suffix: `L${layer}Reverse` };
    }
  }

  /** Output of every step, and the last states, each (layers·D)×B×H. */
  protected run(input: Tensor, given: readonly Tensor[] | undefined): { output: Tensor; last: Tensor[] } {
    const name = this.constructor.name;
    if ((input.ndim !== 3 && input.ndim !== 2) || input.shape[input.ndim - 1] !== this.inputSize) {
      const order = this.batchFirst ? "B, T" : "T, B";
      throw new ShapeError(
        `${name}: the input must be [${order}, ${this.inputSize}] or, without a batch, [T, ${this.inputSize}], ` +
          `got ${show(input.shape)}`,
      );
    }
    const batched = input.ndim === 3;
    const time = !batched ? unsqueeze(input, 1) : this.batchFirst ? transpose(input, 0, 1) : input;
    const [steps, batch] = time.shape;
    if (steps === 0) throw new ShapeError(`${name}: the sequence is empty: ${show(input.shape)}`);
    const directions = this.bidirectional ? 2 : 1;
    const shape = [this.numLayers * directions, ...(batched ? [batch] : []), this.hiddenSize];
    const start = Array.from({ length: this.states }, (_, s) => {
      const state = given?.[s] ?? zeros(shape, { dtype: input.dtype, device: input.device });
      if (!sameShape(state.shape, shape)) {
        throw new ShapeError(`${name}: the initial state must be ${show(shape)}, got ${show(state.shape)}`);
      }
      return batched ? state : unsqueeze(state, 1);
    });
    const last: Tensor[][] = start.map(() => []);
    let layerInput = time;
    let outputs: Tensor[] = [];
    for (const { layer, reverse, suffix } of this.passes()) {
      const parameter = (what: string) => (this[`${what}${suffix}`] as Tensor | undefined) ?? null;
      const gates = linear(layerInput, parameter("weightIh") as Tensor, parameter("biasIh"));
      const pass = last[0].length;
      let states = start.map((s) => select(s, 0, pass));
      const hidden = new Array<Tensor>(steps);
      for (let i = 0; i < steps; i++) {
        const t = reverse ? steps - 1 - i : i;
        states = this.cell(select(gates, 0, t), states, parameter("weightHh") as Tensor, parameter("biasHh"));
        hidden[t] = states[0];
      }
      states.forEach((s, k) => {
        last[k].push(s);
      });
      outputs.push(stack(hidden, 0));
      if (outputs.length < directions) continue;
      layerInput = outputs.length === 1 ? outputs[0] : cat(outputs, -1);
      outputs = [];
      if (this.dropout > 0 && layer < this.numLayers - 1) layerInput = dropout(layerInput, this.dropout, this.training);
    }
    const back = (t: Tensor): Tensor => (batched ? t : squeeze(t, 1));
    const output = batched && this.batchFirst ? transpose(layerInput, 0, 1) : layerInput;
    return { output: back(output), last: last.map((list) => back(stack(list, 0))) };
  }

  protected override extraRepr(): string {
    const { inputSize, hiddenSize, numLayers, batchFirst, bidirectional } = this;
    return repr({ inputSize, hiddenSize, numLayers, batchFirst, dropout: this.dropout, bidirectional });
  }
}

/**
 * h′ = tanh(W·x + b + U·h + c), layer by layer (Elman 1990). `forward(input, h0?)` gives `[output, h]`: the output of
 * every step, T×B×(D·H), and the last states, (layers·D)×B×H.
 *
 * @example
 * const [output, h] = new nn.RNN(8, 16, { batchFirst: true }).forward(rand([4, 10, 8]));
 * output.shape; // [4, 10, 16]
 */
export class RNN extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    const { nonlinearity = "tanh" } = options;
    if (nonlinearity !== "tanh" && nonlinearity !== "relu") {
      throw new ValueError(`RNN: nonlinearity must be "tanh" or "relu", got "${String(nonlinearity)}"`);
    }
    super("RNN", inputSize, hiddenSize, cells[nonlinearity], 1, 1, options, ["nonlinearity"]);
  }

  override forward(input: Tensor, h0?: Tensor): [output: Tensor, h: Tensor] {
    const { output, last } = this.run(input, h0 && [h0]);
    return [output, last[0]];
  }
}

/**
 * Long short-term memory (Hochreiter and Schmidhuber 1997). `forward(input, [h0, c0]?)` gives `[output, [h, c]]`, shapes
 * as for RNN.
 */
export class LSTM extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super("LSTM", inputSize, hiddenSize, cells.lstm, 4, 2, options);
  }

  override forward(
    input: Tensor,
    states?: readonly [h0: Tensor, c0: Tensor],
  ): [output: Tensor, states: [h: Tensor, c: Tensor]] {
    const { output, last } = this.run(input, states);
    return [output, [last[0], last[1]]];
  }
}

/** Gated recurrent unit (Cho et al. 2014). `forward(input, h0?)` gives `[output, h]`, shapes as for RNN. */
export class GRU extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super("GRU", inputSize, hiddenSize, cells.gru, 3, 1, options);
  }

  override forward(input: Tensor, h0?: Tensor): [output: Tensor, h: Tensor] {
    const { output, last } = this.run(input, h0 && [h0]);
    return [output, last[0]];
  }
}

/** What a recurrent layer gives: its output at every step, and its last states. */
type RecurrentResult = readonly [output: Tensor, states: Tensor | readonly [h: Tensor, c: Tensor]];

function checkResult(result: unknown, name: string): RecurrentResult {
  if (Array.isArray(result) && result.length === 2 && result[0] instanceof Tensor) {
    return result as unknown as RecurrentResult;
  }
  throw new ValueError(`${name}: it follows an RNN, LSTM or GRU, whose result is a pair; got ${describe(result)}`);
}

/**
 * Of a recurrent layer's result the output at every step, so that layers can follow in a Sequential (Keras:
 * `return_sequences=True`).
 *
 * @example
 * new nn.Sequential([new nn.LSTM(8, 16, { batchFirst: true }), new nn.OutputSequence(), new nn.Linear(16, 3)])
 *   .forward(rand([4, 10, 8])).shape; // [4, 10, 3]
 */
export class OutputSequence extends Module {
  override forward(result: RecurrentResult): Tensor {
    return checkResult(result, "OutputSequence")[0];
  }
}

/**
 * Of a recurrent layer's result the last output of its uppermost layer, B×(D·H), so that layers can follow in a
 * Sequential (Keras: `return_sequences=False`). In both directions it is that after the last step and, of the way back,
 * that after the first.
 *
 * @example
 * new nn.Sequential([new nn.LSTM(8, 16, { batchFirst: true }), new nn.LastOutput(), new nn.Linear(16, 3)])
 *   .forward(rand([4, 10, 8])).shape; // [4, 3]
 */
export class LastOutput extends Module {
  override forward(result: RecurrentResult): Tensor {
    const [output, states] = checkResult(result, "LastOutput");
    // A state is there for each layer and direction, and has the features of one direction.
    const h = states instanceof Tensor ? states : states[0];
    const directions = output.shape[output.ndim - 1] / h.shape[h.ndim - 1];
    const top = Array.from({ length: directions }, (_, d) => select(h, 0, h.shape[0] - directions + d));
    return top.length === 1 ? top[0] : cat(top, -1);
  }
}

// Operations whose gradient a user writes.
import { AutogradError, ValueError } from "../errors.js";
import { checkTensor, makeNode } from "../ops/define.js";
import { isFloat } from "../tensor/dtype.js";
import { Tensor } from "../tensor/tensor.js";
import { noGrad } from "./modes.js";

/** What the forward function gives to the backward one. */
export interface ForwardContext {
  /** Keeps tensors (inputs, outputs or others) for the backward function; a second call replaces the first. */
  save(...tensors: Tensor[]): void;
}

/** What the backward function finds. */
export interface BackwardContext {
  /** The tensors that were saved. */
  readonly saved: readonly Tensor[];
  /** Which inputs want a gradient. */
  readonly needs: readonly boolean[];
}

export interface CustomFunction<A extends readonly unknown[], R extends Tensor | readonly Tensor[]> {
  /** Name on the tape and in messages. */
  name?: string;
  /** Computes the result; what it does is not recorded. */
  forward(context: ForwardContext, ...inputs: A): R;
  /**
   * Gradients of the inputs from those of the outputs, one for each input: null for an input that is no tensor or
   * wants none. The gradient of an output that nothing used is null. Written with ordinary operations it can be
   * differentiated again.
   */
  backward(context: BackwardContext, ...grads: (Tensor | null)[]): Tensor | null | readonly (Tensor | null)[];
}

/**
 * A function with a gradient of its own (`torch.autograd.Function`).
 *
 * @throws AutogradError in the backward pass, when the number or the shapes of the gradients are wrong.
 * @example
 * const clip = customGrad({
 *   forward: (_, x) => x.clamp(-1, 1),
 *   backward: (_, g) => g, // straight through
 * });
 */
export function customGrad<A extends readonly unknown[], R extends Tensor | readonly Tensor[]>(
  definition: CustomFunction<A, R>,
): (...inputs: A) => R {
  const { name = "custom", forward, backward } = definition;
  return (...inputs) => {
    let kept: Tensor[] = [];
    const context: ForwardContext = {
      save: (...tensors) => {
        kept = tensors.map((t) => checkTensor(t, `${name}.save`));
      },
    };
    const result = noGrad(() => forward(context, ...inputs));
    const many = Array.isArray(result);
    const outs = (many ? (result as readonly Tensor[]) : [result as Tensor]).map((y) => {
      checkTensor(y, `${name}: the result of forward`);
      // An input that is returned as it came would become its own ancestor.
      return inputs.includes(y) || y.node || y.requiresGrad ? y.detach() : y;
    });
    if (outs.length === 0) throw new ValueError(`${name}: forward returned no tensor`);
    const operands = inputs.map((x) => (x instanceof Tensor ? x : null));
    const def = {
      name,
      // What is saved comes after the outputs in the list of values.
      saves: { outputs: kept.map((_, i) => outs.length + i) },
      grad: (
        grads: readonly (Tensor | null)[],
        { outputs, needs }: { outputs: readonly Tensor[]; needs: readonly boolean[] },
      ) => {
        const found = backward({ saved: outputs.slice(outs.length), needs }, ...grads.slice(0, outs.length));
        const list = found === null || found instanceof Tensor ? [found] : found;
        if (!Array.isArray(list) || list.length !== inputs.length) {
          throw new AutogradError(
            `${name}: backward returned ${Array.isArray(list) ? list.length : typeof list} gradients for ${inputs.length} inputs; ` +
              "return an array with one (or null) for each",
          );
        }
        return list.map((g, i) => (needs[i] ? g : null));
      },
    };
    const node = makeNode(def, operands, [...outs, ...kept], [], null);
    if (node) {
      outs.forEach((y, i) => {
        if (!isFloat(y.dtype)) return;
        y.node = node;
        y.outputIndex = i;
      });
    }
    return (many ? outs : outs[0]) as unknown as R;
  };
}

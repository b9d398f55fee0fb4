// Checks gradients against central differences.
import { AutogradError, DTypeError } from "../errors.js";
import { eye, tensor, zerosLike } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { gradients } from "./backward.js";
import { enableGrad, noGrad } from "./modes.js";

export interface GradcheckOptions {
  /** Step of the differences. Default 1e-6. */
  eps?: number;
  /** Allowed difference. Default 1e-5. */
  atol?: number;
  /** Allowed difference relative to the numerical value. Default 1e-3. */
  rtol?: number;
}

/** A function of tensors with one or more results. */
export type TensorFunction = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

const listOf = (out: Tensor | readonly Tensor[]): readonly Tensor[] => (Array.isArray(out) ? out : [out as Tensor]);
/** The results that can have a gradient. */
const floats = (out: Tensor | readonly Tensor[]): Tensor[] => listOf(out).filter((y) => isFloat(y.dtype));

/** Row-major position as indices. */
function place(position: number, shape: readonly number[]): string {
  const indices: number[] = [];
  let rest = position;
  for (let i = shape.length - 1; i >= 0; i--) {
    indices.unshift(rest % shape[i]);
    rest = Math.floor(rest / shape[i]);
  }
  return show(indices);
}

/**
 * Checks the gradients of `fn` with respect to those inputs that require one against central differences, for every
 * element of every input and result. The inputs must be float64.
 *
 * @returns true
 * @throws AutogradError that names the input, the elements and both values where they differ.
 * @example
 * gradcheck((x) => x.sin(), [randn([3], { dtype: "float64", requiresGrad: true })]);
 */
export function gradcheck(fn: TensorFunction, inputs: readonly Tensor[], options: GradcheckOptions = {}): true {
  const { eps = 1e-6, atol = 1e-5, rtol = 1e-3 } = options;
  const checked = inputs.flatMap((x, i) => (x.requiresGrad ? [i] : []));
  if (checked.length === 0) throw new AutogradError("gradcheck: no input requires a gradient");
  for (const i of checked) {
    if (inputs[i].dtype === "float64") continue;
    throw new DTypeError(`gradcheck: input ${i} is ${inputs[i].dtype}; differences need float64`);
  }
  const found = analytical(fn, inputs, checked);
  for (const i of checked) {
    const x = inputs[i];
    const values = x.detach().dataSync() as Float64Array;
    for (let k = 0; k < values.length; k++) {
      const at = (delta: number): Float64Array[] => {
        const moved = values.slice();
        moved[k] += delta;
        const xs = inputs.map((t, j) => (j === i ? tensor(moved, { shape: x.shape, device: x.device }) : t.detach()));
        return noGrad(() =>
          floats(fn(...xs)).map((y) => Float64Array.from(y.to("float64").dataSync() as Float64Array)),
        );
      };
      const [above, below] = [at(eps), at(-eps)];
      above.forEach((high, output) => {
        const { shape, rows } = found[output];
        for (let j = 0; j < high.length; j++) {
          const numerical = (high[j] - below[output][j]) / (2 * eps);
          const value = rows[j][checked.indexOf(i)][k];
          if (Math.abs(value - numerical) <= atol + rtol * Math.abs(numerical)) continue;
          throw new AutogradError(
            `gradcheck: the derivative of result ${output} at ${place(j, shape)} with respect to input ${i} at ` +
              `${place(k, x.shape)} is ${value} by the gradient rule and ${numerical} by differences`,
          );
        }
      });
    }
  }
  return true;
}

/** For every result and every element of it, the gradients of the checked inputs. */
function analytical(fn: TensorFunction, inputs: readonly Tensor[], checked: readonly number[]) {
  const xs = inputs.map((x) => (x.requiresGrad ? x.detach().requireGrad() : x.detach()));
  const wanted = checked.map((i) => xs[i]);
  return enableGrad(() => floats(fn(...xs))).map((y) => {
    const units = eye(y.numel, { dtype: y.dtype, device: y.device });
    const rows = Array.from({ length: y.numel }, (_, j) => {
      const unit = units.select(0, j).reshape(y.shape);
      const grads = y.requiresGrad ? gradients([y], wanted, [unit], { retainGraph: true }) : [];
      return wanted.map((x, i) => (grads[i] ?? zerosLike(x)).dataSync() as Float64Array);
    });
    return { shape: y.shape, rows };
  });
}

/**
 * Checks second derivatives: `gradcheck` of the gradients of `fn`, with respect to the inputs and to the gradients of
 * its results, for which fixed numbers are taken.
 */
export function gradgradcheck(fn: TensorFunction, inputs: readonly Tensor[], options: GradcheckOptions = {}): true {
  const checked = inputs.flatMap((x, i) => (x.requiresGrad ? [i] : []));
  const results = noGrad(() => floats(fn(...inputs.map((x) => x.detach()))));
  const factors = results.map((y, n) => {
    const values = Float64Array.from({ length: y.numel }, (_, k) => Math.sin(k + 1 + n) + 1.5);
    return tensor(values, { shape: y.shape, device: y.device, requiresGrad: true });
  });
  const first = (...all: Tensor[]): Tensor[] => {
    // The function is differentiated at the inputs alone; where they are constants now, at copies.
    const xs = all
      .slice(0, inputs.length)
      .map((x, i) => (checked.includes(i) && !x.requiresGrad ? x.detach().requireGrad() : x));
    const out = enableGrad(() => floats(fn(...xs)));
    const used = out.flatMap((y, n) => (y.requiresGrad ? [n] : []));
    const wanted = checked.map((i) => xs[i]);
    const grads =
      used.length === 0
        ? []
        : enableGrad(() =>
            gradients(
              used.map((n) => out[n]),
              wanted,
              used.map((n) => all[inputs.length + n]),
              { createGraph: true },
            ),
          );
    return wanted.map((x, i) => grads[i] ?? zerosLike(x));
  };
  return gradcheck(first, [...inputs, ...factors], options);
}

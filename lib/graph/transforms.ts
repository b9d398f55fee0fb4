// Functions of functions: gradients, products with Jacobians, Jacobians and Hessians. Words and meaning are those of
// torch.func and JAX; they nest, and what they return can be differentiated again.
import { checkFunction, checkOptions, describe } from "../check.js";
import { AutogradError, ShapeError, ValueError } from "../errors.js";
import { stack } from "../ops/arrange.js";
import { applyView, checkTensor } from "../ops/define.js";
import { reshape } from "../ops/movement.js";
import { eye, zerosLike } from "../tensor/create.js";
import { isFloat } from "../tensor/dtype.js";
import { sameShape, show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { gradients } from "./backward.js";
import { enableGrad, modes } from "./modes.js";
import type { GradNode } from "./tape.js";

/** A tensor, or arrays and plain objects of such: parameters by name, for example. */
export type Tree = Tensor | readonly Tree[] | { readonly [key: string]: Tree };

/** The same structure with other tensors. */
type Same<T> = T extends Tensor ? Tensor : { [K in keyof T]: Same<T[K]> };

// biome-ignore lint/suspicious/noExplicitAny: arguments are passed through
type Args = readonly any[];

/** Which arguments to differentiate: one gives its gradient, several an array of them. */
export interface GradOptions<N extends number | readonly number[] = number> {
  argnums?: N;
}
type Grads<A extends Args, N> = N extends readonly number[] ? Same<A[number]>[] : Same<A[0]>;

function mapTree(tree: unknown, fn: (t: Tensor) => Tensor, op: string): unknown {
  if (tree instanceof Tensor) return fn(tree);
  if (Array.isArray(tree)) return tree.map((t) => mapTree(t, fn, op));
  if (typeof tree === "object" && tree !== null && Object.getPrototypeOf(tree) === Object.prototype) {
    return Object.fromEntries(Object.entries(tree).map(([k, t]) => [k, mapTree(t, fn, op)]));
  }
  throw new ValueError(
    `${op}: an argument to differentiate must be a tensor, or arrays or objects of tensors, got ${describe(tree)}`,
  );
}

const aliasDef = { name: "alias", grad: (grads: readonly (Tensor | null)[]) => [grads[0]] };

/** A tensor of the same values that stands for itself alone on the tape, with a way back to `x` where x has one. */
function variable(x: Tensor, op: string): Tensor {
  checkTensor(x, op);
  if (!isFloat(x.dtype)) {
    throw new AutogradError(
      `${op}: gradients exist with respect to floating point tensors only, an argument is ${x.dtype}`,
    );
  }
  if (modes.grad && x.requiresGrad) return applyView(aliasDef, x, x.shape, x.strides, x.offset, null);
  return x.detach().requireGrad();
}

/** True when the graph of `outputs` leads to anything but `inputs`: then gradients must be part of that graph. */
function leadsElsewhere(outputs: readonly Tensor[], inputs: readonly Tensor[]): boolean {
  const own = new Set(inputs.map((x) => x.node ?? x.leafNode()));
  const seen = new Set<GradNode>();
  const stack: GradNode[] = [];
  for (const y of outputs) if (y.requiresGrad) stack.push(y.node ?? y.leafNode());
  for (const x of inputs) if (x.node) stack.push(...x.node.edges.flatMap((e) => (e ? [e.node] : [])));
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node) || own.has(node)) continue;
    seen.add(node);
    const edges = node.edges.filter((e) => e !== null);
    if (edges.length === 0) return true;
    for (const e of edges) stack.push(e.node);
  }
  return false;
}

/** The function at fresh variables: what every transform starts with. */
class Evaluation {
  readonly variables: Tensor[] = [];
  readonly result: unknown;
  private readonly trees: readonly unknown[];
  private readonly outer = modes.grad;

  constructor(
    fn: (...args: Args) => unknown,
    args: Args,
    argnums: readonly number[],
    private readonly op: string,
  ) {
    checkFunction(fn, op);
    for (const n of argnums) {
      if (!Number.isInteger(n) || n < 0 || n >= args.length) {
        throw new ValueError(`${op}: there is no argument ${n} among the ${args.length}; count from 0`);
      }
    }
    const given = [...args];
    this.trees = argnums.map((n) => {
      const tree = mapTree(args[n], (x) => this.add(variable(x, op)), op);
      given[n] = tree;
      return tree;
    });
    this.result = enableGrad(() => fn(...given));
  }

  private add(x: Tensor): Tensor {
    this.variables.push(x);
    return x;
  }

  /** The result, which must be one tensor. */
  get output(): Tensor {
    return checkTensor(this.result, `${this.op}: the function's result`);
  }

  /** The value without the graph that only this evaluation needed. */
  get value(): Tensor {
    return this.tracked() ? this.output : this.output.detach();
  }

  private isTracked: boolean | undefined;
  /** True when the result must be part of a graph that was there before. */
  tracked(): boolean {
    this.isTracked ??= this.outer && leadsElsewhere([this.output], this.variables);
    return this.isTracked;
  }

  /** Gradients of the output with respect to the variables; zeros where it does not depend on them. */
  pull(cotangent: Tensor | null, options: { createGraph?: boolean; retainGraph?: boolean } = {}): Tensor[] {
    const { output, variables } = this;
    const createGraph = options.createGraph ?? this.tracked();
    const found = output.requiresGrad
      ? gradients([output], variables, [cotangent], { createGraph, retainGraph: options.retainGraph || createGraph })
      : [];
    return variables.map((x, i) => found[i] ?? zerosLike(x));
  }

  /** One tensor for each variable, in the structure of the arguments. */
  arrange(tensors: readonly Tensor[]): unknown[] {
    let next = 0;
    return this.trees.map((tree) => mapTree(tree, () => tensors[next++], this.op));
  }
}

const listOf = (argnums: number | readonly number[]): readonly number[] =>
  typeof argnums === "number" ? [argnums] : argnums;
const pick = (argnums: number | readonly number[], grads: unknown[]): unknown =>
  typeof argnums === "number" ? grads[0] : grads;

/**
 * The function that gives the value of `fn`, a function with a scalar result, and its gradient with respect to the
 * first argument (or `argnums`): `[value, gradient]`. An argument may be an array or an object of tensors.
 *
 * @example
 * const [loss, g] = valueAndGrad((w) => w.square().sum())(tensor([1, 2])); // 5 and [2, 4]
 */
export function valueAndGrad<A extends Args, N extends number | readonly number[] = number>(
  fn: (...args: A) => Tensor,
  options: GradOptions<N> = {},
): (...args: A) => [value: Tensor, grad: Grads<A, N>] {
  return differentiated(fn, options, "valueAndGrad");
}

function differentiated<A extends Args, N extends number | readonly number[]>(
  fn: (...args: A) => Tensor,
  options: GradOptions<N>,
  op: string,
): (...args: A) => [value: Tensor, grad: Grads<A, N>] {
  if (fn instanceof Tensor)
    throw new ValueError(`${op}: a function is needed; for the gradients of a tensor call its backward()`);
  checkFunction(fn, op);
  checkOptions(options, ["argnums"], op);
  const argnums = options.argnums ?? 0;
  return (...args) => {
    const at = new Evaluation(fn as (...args: Args) => unknown, args, listOf(argnums), op);
    if (at.output.numel !== 1) {
      throw new ShapeError(
        `${op}: the function must return one number, got a tensor of shape ${show(at.output.shape)}; reduce it (sum(), mean()), or use jacobian or vjp`,
      );
    }
    const grads = at.arrange(at.pull(null));
    return [at.value, pick(argnums, grads) as Grads<A, N>];
  };
}

/**
 * The function that gives the gradient of `fn`, a function with a scalar result, with respect to its first argument (or
 * `argnums`). It can be nested: `grad(grad(f))` is the second derivative.
 *
 * @throws ShapeError when the result is not one number.
 * @example
 * grad((x) => x.pow(3))(tensor(2)).item(); // 12
 */
export function grad<A extends Args, N extends number | readonly number[] = number>(
  fn: (...args: A) => Tensor,
  options: GradOptions<N> = {},
): (...args: A) => Grads<A, N> {
  const both = differentiated(fn, options, "grad");
  return (...args) => both(...args)[1];
}

function checkLike(t: Tensor, like: Tensor, what: string, op: string): Tensor {
  if (!sameShape(checkTensor(t, op).shape, like.shape)) {
    throw new ShapeError(`${op}: ${what} has shape ${show(t.shape)}, it must be ${show(like.shape)}`);
  }
  return t;
}

/**
 * The value of `fn` at the arguments, and the function that multiplies a tensor of the value's shape with the Jacobian
 * from the left: `[value, pullback]`. The pullback returns one gradient for each argument and can be called often.
 *
 * @example
 * const [y, pullback] = vjp((x) => x.square(), tensor([1, 2]));
 * pullback(tensor([1, 10]))[0].toArray(); // [2, 40]
 */
export function vjp<A extends readonly Tree[]>(
  fn: (...args: A) => Tensor,
  ...args: A
): [value: Tensor, pullback: (cotangent: Tensor) => { [K in keyof A]: Same<A[K]> }] {
  if (args.length === 0) throw new ValueError("vjp: the arguments come after the function: vjp(fn, x)");
  const at = new Evaluation(
    fn as (...args: Args) => unknown,
    args,
    args.map((_, i) => i),
    "vjp",
  );
  const pullback = (cotangent: Tensor) => {
    checkLike(cotangent, at.output, "the cotangent", "vjp");
    const createGraph = modes.grad && (cotangent.requiresGrad || undefined);
    return at.arrange(at.pull(cotangent, { createGraph, retainGraph: true }));
  };
  return [at.value, pullback as unknown as (cotangent: Tensor) => { [K in keyof A]: Same<A[K]> }];
}

/**
 * The value of `fn` at `args`, and its derivative in the direction of `tangents`, which have the arguments' shapes:
 * `[value, derivative]`. Computed as the gradient of a product with the Jacobian, which is linear in its factor (J.
 * Townsend, "A new trick for calculating Jacobian vector products", 2017).
 *
 * @example
 * jvp((x) => x.square(), [tensor([1, 2])], [tensor([1, 0])])[1].toArray(); // [2, 0]
 */
export function jvp<A extends readonly Tensor[]>(
  fn: (...args: A) => Tensor,
  args: A,
  tangents: readonly Tensor[],
): [value: Tensor, derivative: Tensor] {
  if (args.length !== tangents.length) {
    throw new ValueError(`jvp: ${args.length} arguments need as many tangents, got ${tangents.length}`);
  }
  args.forEach((x, i) => {
    checkLike(tangents[i], checkTensor(x, "jvp"), `tangent ${i}`, "jvp");
  });
  const at = new Evaluation(
    fn as (...args: Args) => unknown,
    args,
    args.map((_, i) => i),
    "jvp",
  );
  const { output } = at;
  if (!output.requiresGrad) return [at.value, zerosLike(output)];
  const pulled = new Evaluation(
    (factor: Tensor) => {
      const grads = at.pull(factor, { createGraph: true });
      return grads.map((g, i) => g.mul(tangents[i]).sum()).reduce((a, b) => a.add(b));
    },
    [zerosLike(output)],
    [0],
    "jvp",
  );
  const createGraph = at.tracked() || (modes.grad && tangents.some((t) => t.requiresGrad));
  return [at.value, pulled.pull(null, { createGraph })[0]];
}

/**
 * The function that gives the Jacobian of `fn` with respect to its first argument (or `argnums`): of shape
 * [...shape of the result, ...shape of the argument]. One backward pass for each element of the result.
 *
 * @example
 * jacobian((x) => x.square())(tensor([1, 2])).toArray(); // [[2, 0], [0, 4]]
 */
export function jacobian<A extends Args, N extends number | readonly number[] = number>(
  fn: (...args: A) => Tensor,
  options: GradOptions<N> = {},
): (...args: A) => Grads<A, N> {
  checkFunction(fn, "jacobian");
  checkOptions(options, ["argnums"], "jacobian");
  const argnums = options.argnums ?? 0;
  return (...args) => {
    const at = new Evaluation(fn as (...args: Args) => unknown, args, listOf(argnums), "jacobian");
    const { output } = at;
    const directions = eye(output.numel, { dtype: output.dtype, device: output.device });
    const rows = Array.from({ length: output.numel }, (_, k) =>
      at.pull(reshape(directions.select(0, k), output.shape), { retainGraph: true }),
    );
    const blocks = at.variables.map((x, i) => {
      const shape = [...output.shape, ...x.shape];
      return rows.length > 0 ? reshape(stack(rows.map((r) => r[i])), shape) : zerosLike(x).expand(shape);
    });
    return pick(argnums, at.arrange(blocks)) as Grads<A, N>;
  };
}

/**
 * The function that gives the second derivatives of `fn` with respect to its first argument (or one `argnums`): of
 * shape [...shape of the result, ...shape of the argument, ...shape of the argument].
 *
 * @example
 * hessian((x) => x.pow(3).sum())(tensor([1, 2])).toArray(); // [[6, 0], [0, 12]]
 */
export function hessian<A extends Args>(
  fn: (...args: A) => Tensor,
  options: GradOptions<number> = {},
): (...args: A) => Tensor {
  const first = jacobian(fn, options) as (...args: A) => Tensor;
  return jacobian(first, options) as (...args: A) => Tensor;
}

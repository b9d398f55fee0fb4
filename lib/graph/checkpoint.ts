// Checkpoints trade time for memory: what a function would keep for its gradient is computed again in the backward
// pass (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
import { AutogradError } from "../errors.js";
import { inScope, Scope } from "../tensor/scope.js";
import { Tensor } from "../tensor/tensor.js";
import type { Scalar } from "./encode.js";
import { enableGrad, modes, withAutocast } from "./modes.js";
import { type GradNode, type Kept, keeping, type Recomputed } from "./tape.js";

// biome-ignore lint/suspicious/noExplicitAny: arguments are passed through
type Args = readonly any[];

/** Where the random numbers of a function started: written by its first run, read by the second. */
interface Draws {
  readonly list: (readonly Scalar[])[];
  /** Position of the second run; −1 in the first. */
  next: number;
}
let draws: Draws | null = null;

/** @internal The seed and offset of a random operation: those that `take` gives, or gave in the first run. */
export function drawn(take: () => readonly Scalar[]): readonly Scalar[] {
  const now = draws;
  if (now && now.next >= 0) return now.list[now.next++] ?? take();
  const taken = take();
  now?.list.push(taken);
  return taken;
}

function run<R>(instead: typeof keeping.instead, given: Draws, fn: () => R): R {
  const { capture } = modes;
  const before = { instead: keeping.instead, draws, again: capture?.again ?? false };
  keeping.instead = instead;
  draws = given;
  if (capture) capture.again ||= given.next >= 0;
  try {
    return fn();
  } finally {
    keeping.instead = before.instead;
    draws = before.draws;
    if (capture) capture.again = before.again;
  }
}

/** One call of a checkpointed function. */
class Frame {
  private readonly tensors: readonly Tensor[];
  private readonly versions: readonly number[];
  private readonly draws: Draws = { list: [], next: -1 };
  private readonly autocast = modes.autocast;
  /** Number of values that were not kept, and of those whose node may still ask. */
  private count = 0;
  private wanted = 0;
  private values: Kept[] | null = null;

  constructor(
    private readonly fn: (...args: Args) => unknown,
    private readonly args: Args,
  ) {
    this.tensors = args.filter((x) => x instanceof Tensor);
    this.versions = this.tensors.map((x) => x.storage.version);
    for (const x of this.tensors) x.storage.references++;
  }

  forward(): unknown {
    const result = run(
      (value, output) => this.drop(value, output),
      this.draws,
      () => this.fn(...this.args),
    );
    if (this.count === 0) this.free();
    return result;
  }

  /** Leaves and arguments are there anyway; everything else is dropped. */
  private isKept(value: Tensor, args: readonly Tensor[]): boolean {
    return (value.isLeaf && value.requiresGrad) || args.some((x) => x.storage === value.storage);
  }

  private drop({ tensor }: Kept, output: number): Recomputed | null {
    if (this.isKept(tensor, this.tensors)) return null;
    const index = this.count++;
    this.wanted++;
    // Where the value is in the graph, for second derivatives: an output belongs to the node that keeps it.
    const { node, outputIndex } = tensor;
    let made: Kept | null = null;
    return {
      value: (keeper) => {
        made ??= this.take(index, output < 0 ? node : keeper, output < 0 ? outputIndex : output);
        return made;
      },
      release: () => {
        made?.tensor.dispose();
        if (this.values) this.values[index].tensor.dispose();
        if (--this.wanted === 0) this.free();
      },
    };
  }

  private free(): void {
    this.values = null;
    for (const x of this.tensors) x.release();
  }

  private take(index: number, node: GradNode | null, outputIndex: number): Kept {
    this.values ??= this.recompute();
    const { tensor, version } = this.values[index];
    const { storage, dtype, shape, strides, offset } = tensor;
    const value = inScope(null, () => new Tensor(storage, dtype, shape, strides, offset));
    value.node = node;
    value.outputIndex = outputIndex;
    return { tensor: value, version };
  }

  private recompute(): Kept[] {
    this.tensors.forEach((x, i) => {
      if (x.storage.version === this.versions[i]) return;
      throw new AutogradError(
        `checkpoint: an argument of shape [${x.shape.join(", ")}] was overwritten by ${x.storage.writer} since the function ran ` +
          "on it, and its values cannot be computed again; use the operation without the underscore, or clone() first",
      );
    });
    const values: Kept[] = [];
    const scope = new Scope();
    const stands: Tensor[] = [];
    this.draws.next = 0;
    inScope(scope, () => {
      const args = this.args.map((x) => {
        if (!(x instanceof Tensor)) return x;
        const stand = new Tensor(x.storage, x.dtype, x.shape, x.strides, x.offset);
        if (x.requiresGrad) stand.requireGrad();
        stands.push(stand);
        return stand;
      });
      const collect = (value: Kept): Recomputed => {
        const { tensor, version } = value;
        // A handle for each place, as several nodes may keep one tensor and let it go at different times.
        if (!this.isKept(tensor, stands)) values.push({ tensor: inScope(null, () => tensor.detach()), version });
        return forgotten;
      };
      run(collect, this.draws, () => withAutocast(this.autocast, () => enableGrad(() => this.fn(...args))));
    });
    scope.close(new Set());
    if (values.length !== this.count) {
      throw new AutogradError(
        `checkpoint: the function kept ${this.count} values for its gradient at first and ${values.length} when it was run ` +
          "again; it must do the same each time",
      );
    }
    return values;
  }
}

/** What nodes of the second run keep: nothing, they are never visited. */
const forgotten: Recomputed = {
  value: () => {
    throw new AutogradError("checkpoint: the graph of a repeated run is not there to be used");
  },
  release: () => {},
};

/**
 * `fn(...args)`, without keeping the values in between for the gradient: the backward pass runs `fn` again, with the
 * same random numbers, when it needs them. Gradients are the same, also of parameters that `fn` uses and of second
 * order; `fn` must compute the same each time.
 *
 * @throws AutogradError in the backward pass, when an argument was overwritten or `fn` did something else.
 * @example
 * const y = checkpoint((x) => block.forward(x), x);
 */
export function checkpoint<A extends Args, R>(fn: (...args: A) => R, ...args: A): R {
  return new Frame(fn as (...args: Args) => unknown, args).forward() as R;
}

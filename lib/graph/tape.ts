// The tape: one node for each operation that takes part in differentiation, linked to the nodes of its inputs.

import { AutogradError } from "../errors.js";
import { callers } from "../package.js";
import type { DType } from "../tensor/dtype.js";
import type { Shape } from "../tensor/shape.js";
import type { Storage } from "../tensor/storage.js";
import type { Tensor } from "../tensor/tensor.js";
import { Scalar } from "./encode.js";
import { modes } from "./modes.js";

/** What a gradient rule may use: the values that the operation saved, and what is known without values. */
export interface GradContext<X = unknown> {
  /** The inputs: the tensors named in `saves`, and every Scalar (which element-wise operations take like a tensor). */
  readonly inputs: readonly Tensor[];
  /** The outputs; only those named in `saves` hold values. */
  readonly outputs: readonly Tensor[];
  /** Which inputs want a gradient. */
  readonly needs: readonly boolean[];
  /** Shape and dtype of every input (of a Scalar: a 0-dimensional one). */
  readonly like: readonly Like[];
  /** What the operation handed to `apply` for its rule. */
  readonly extra: X;
}

export interface Like {
  readonly shape: Shape;
  readonly dtype: DType;
}

/**
 * Gradients of the inputs from those of the outputs, by ordinary operations. A gradient that nothing wants may be null
 * or undefined. `grads[i]` is null when output i did not take part.
 */
export type GradRule<X = unknown> = (
  grads: readonly (Tensor | null)[],
  context: GradContext<X>,
) => readonly (Tensor | null | undefined)[];

/** Indices of the inputs and outputs whose values a rule uses. */
export interface Saves {
  readonly inputs?: readonly number[];
  readonly outputs?: readonly number[];
}

/** The same, where it depends on which inputs want a gradient. */
export type SavesRule = Saves | ((needs: readonly boolean[]) => Saves);

export interface Edge {
  readonly node: GradNode;
  /** Which output of the node. */
  readonly index: number;
}

export type Hook = (grad: Tensor) => Tensor | undefined;

let count = 0;

/** A node of the tape. */
export class GradNode {
  /** Grows with time, so that descending order is a topological order. */
  readonly id = ++count;
  /** Stack of the forward call, kept only by `detectAnomaly`. */
  readonly trace: string | undefined = modes.anomaly ? callers() : undefined;
  hooks: Map<number, Hook[]> | undefined = undefined;
  released = false;
  /** The last backward pass whose order this node has its place in. */
  walk = 0;

  constructor(
    /** Name of the forward operation. */
    readonly op: string,
    readonly edges: readonly (Edge | null)[],
    readonly outputs: readonly Like[],
    private readonly rule: GradRule<never> | null,
    private saved: SavedValues | null,
  ) {}

  /** How the node is printed: `MeanBackward`. */
  get name(): string {
    return `${this.op[0].toUpperCase()}${this.op.slice(1)}Backward`;
  }

  /** Gradients of the inputs. */
  backward(grads: readonly (Tensor | null)[]): readonly (Tensor | null | undefined)[] {
    if (this.released) {
      throw new AutogradError(
        `backward: the graph was already used (its values of ${this.op} are freed); ` +
          "call backward({ retainGraph: true }) the first time to go through it again",
      );
    }
    return (this.rule as GradRule)(grads, this.saved?.unpack(this) as GradContext);
  }

  /** Lets the saved values go. */
  release(): void {
    this.saved?.release();
    this.saved = null;
    this.released = true;
  }

  addHook(index: number, hook: Hook): () => void {
    this.hooks ??= new Map();
    const list = this.hooks.get(index) ?? [];
    this.hooks.set(index, list);
    list.push(hook);
    return () => {
      const i = list.indexOf(hook);
      if (i >= 0) list.splice(i, 1);
    };
  }
}

/** The node of a leaf: its gradient is added to `tensor.grad`. */
export class LeafNode extends GradNode {
  constructor(readonly tensor: Tensor) {
    super("accumulateGrad", [], [{ shape: tensor.shape, dtype: tensor.dtype }], null, null);
  }
  override get name(): string {
    return "AccumulateGrad";
  }
}

export interface Kept {
  readonly tensor: Tensor;
  readonly version: number;
}

/** A value that is not kept but computed again when the node needs it. */
export interface Recomputed {
  /** @param node the node that kept it. */
  value(node: GradNode): Kept;
  release(): void;
}

/** While set, decides what is kept of a value: null keeps it as it is. `output` is its index among the outputs, or −1. */
export const keeping: { instead: ((value: Kept, output: number) => Recomputed | null) | null } = { instead: null };

/** The values that a node keeps for its rule, with the version that they had. Nothing else of a tensor is kept. */
export class SavedValues {
  private readonly inputs: (Kept | Recomputed | undefined)[] = [];
  private readonly outputs: (Kept | Recomputed | undefined)[] = [];
  private readonly scalars: Scalar[] = [];

  constructor(
    inputs: readonly unknown[],
    outputs: readonly Tensor[],
    private readonly like: readonly Like[],
    private readonly needs: readonly boolean[],
    private readonly extra: unknown,
    saves: Saves | undefined,
    inPlace: boolean,
  ) {
    for (let i = 0; i < inputs.length; i++) {
      const x = inputs[i];
      if (x instanceof Scalar) this.scalars[i] = x;
    }
    if (!saves) return;
    // An in-place operation has overwritten its input already: the version that the rule needs is gone.
    const written = inPlace ? outputs[0].storage : null;
    for (const i of saves.inputs ?? []) this.inputs[i] = keep(inputs[i], written, -1);
    for (const i of saves.outputs ?? []) this.outputs[i] = keep(outputs[i], null, i);
  }

  unpack(node: GradNode): GradContext {
    const open = (kept: Kept | Recomputed | undefined): Tensor => {
      if (!kept) return undefined as unknown as Tensor;
      const { tensor, version } = "value" in kept ? kept.value(node) : kept;
      const { storage } = tensor;
      if (storage.version !== version) {
        throw new AutogradError(
          `backward: a value of shape [${tensor.shape.join(", ")}] that ${node.op} needs for its gradient was overwritten ` +
            `by ${storage.writer} (it is at version ${storage.version}, version ${version} is needed); ` +
            "use the operation without the underscore, or clone() first",
        );
      }
      return tensor.disposed ? tensor.alias() : tensor;
    };
    const inputs: unknown[] = this.like.map((_, i) => this.scalars[i] ?? open(this.inputs[i]));
    return {
      inputs: inputs as Tensor[],
      outputs: this.outputs.map(open),
      needs: this.needs,
      like: this.like,
      extra: this.extra,
    };
  }

  release(): void {
    releaseAll(this.inputs);
    releaseAll(this.outputs);
  }
}

function releaseAll(list: readonly (Kept | Recomputed | undefined)[]): void {
  for (let i = 0; i < list.length; i++) {
    const kept = list[i];
    if (kept === undefined) continue;
    if ("value" in kept) kept.release();
    else kept.tensor.release();
  }
}

function keep(value: unknown, written: Storage | null, output: number): Kept | Recomputed | undefined {
  const tensor = value as Tensor | null;
  if (!tensor?.storage) return undefined;
  const { storage } = tensor;
  const kept = { tensor, version: storage === written ? storage.version - 1 : storage.version };
  const recomputed = keeping.instead?.(kept, output);
  if (recomputed) return recomputed;
  storage.references++;
  return kept;
}

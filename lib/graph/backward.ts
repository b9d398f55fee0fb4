// The backward pass: walks the tape from the outputs to the leaves in descending order of time. Gradient rules emit
// ordinary operations, so this file appends to the graph and computes nothing itself.
import { AutogradError, ShapeError } from "../errors.js";
import { applyView, checkTensor, edgeOf, type Input } from "../ops/define.js";
import { late } from "../tensor/late.js";
import { inScope, Scope } from "../tensor/scope.js";
import { sameShape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { enableGrad, modes } from "./modes.js";
import { type Edge, type GradNode, LeafNode } from "./tape.js";

export interface BackwardOptions {
  /** Gradient of the result with respect to this tensor; needed unless it has one element. */
  gradient?: Tensor;
  /** Keep the saved values so that the graph can be used again. Default: the value of `createGraph`. */
  retainGraph?: boolean;
  /** Record the backward pass itself, so that gradients can be differentiated again. */
  createGraph?: boolean;
}

/** `Tensor.backward`: adds to the `grad` of every leaf. */
export function backward(root: Tensor, gradient: Tensor | null, options: BackwardOptions): void {
  run([root], [gradient], options, null, "backward");
}

/** Gradients of `outputs` with respect to `inputs`, returned and not accumulated; null where there is no path. */
export function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  grads: readonly (Tensor | null)[],
  options: BackwardOptions,
): (Tensor | null)[] {
  return run(outputs, grads, options, inputs, "grad");
}

late.backward = backward;

function run(
  roots: readonly Tensor[],
  rootGrads: readonly (Tensor | null)[],
  options: BackwardOptions,
  wanted: readonly Tensor[] | null,
  op: string,
): (Tensor | null)[] {
  const createGraph = options.createGraph ?? false;
  const retainGraph = options.retainGraph ?? createGraph;
  const before = { grad: modes.grad, autocast: modes.autocast };
  modes.grad = createGraph;
  modes.autocast = null; // the forward pass has chosen the dtypes
  const pass = new Pass(createGraph, retainGraph);
  try {
    return pass.run(roots, rootGrads, wanted, op);
  } finally {
    Object.assign(modes, before);
    pass.end();
  }
}

class Pass {
  private readonly pending = new Map<GradNode, (Tensor | null)[]>();
  /** In how many places of `pending` a gradient waits. */
  private readonly waiting = new Map<Tensor, number>();
  /** Storages that are the gradient of a leaf or belong to somebody else: another leaf needs a copy. */
  private readonly owned = new Set<unknown>();
  /** What outlives the pass. */
  private readonly kept = new Set<Tensor>();
  /** Gradients made in the pass that wait: freed when their last place has been visited. */
  private readonly made = new Set<Tensor>();
  /** Where temporaries are gathered; none when the pass is recorded, whose graph keeps what it needs. */
  private readonly scope: Scope | null;

  constructor(
    private readonly createGraph: boolean,
    private readonly retainGraph: boolean,
  ) {
    this.scope = createGraph || modes.capture ? null : new Scope();
  }

  /** True for a tensor that must not be freed yet. */
  has(t: Tensor): boolean {
    return this.waiting.has(t) || this.kept.has(t);
  }

  /** Frees the temporaries of the node that was just visited, and the gradients that nobody waits for any more. */
  private freeAfter(grads: readonly (Tensor | null)[]): void {
    for (const g of grads) if (g) this.forget(g);
    if (this.scope === null) return;
    this.scope.close(this, this.made);
    for (const g of grads) if (g && this.made.has(g) && !this.has(g)) this.free(g);
  }

  private free(t: Tensor): void {
    this.made.delete(t);
    t.dispose();
  }

  private forget(g: Tensor): void {
    const places = (this.waiting.get(g) ?? 0) - 1;
    if (places > 0) this.waiting.set(g, places);
    else this.waiting.delete(g);
  }

  /** Frees what an error left behind. */
  end(): void {
    this.waiting.clear();
    this.scope?.close(this);
    for (const t of this.made) if (!this.kept.has(t)) t.dispose();
  }

  run(
    roots: readonly Tensor[],
    rootGrads: readonly (Tensor | null)[],
    wanted: readonly Tensor[] | null,
    op: string,
  ): (Tensor | null)[] {
    const starts: GradNode[] = [];
    for (let i = 0; i < roots.length; i++) {
      const root = roots[i].use(op);
      const edge = edgeOf(root);
      if (!edge) {
        throw new AutogradError(
          `${op}: this tensor does not require a gradient and has no graph; ` +
            "make an input with requiresGrad: true, and do not detach or use noGrad on the way",
        );
      }
      this.give(edge, this.rootGradient(root, rootGrads[i], op));
      starts.push(edge.node);
    }
    const targets = wanted?.map((x) => {
      const edge = edgeOf(x.use(op));
      if (!edge) throw new AutogradError(`${op}: an input does not require a gradient; set requiresGrad on it`);
      return edge;
    });
    const results: (Tensor | null)[] = targets ? targets.map(() => null) : [];
    const targetsOf = new Map<GradNode, number[]>();
    targets?.forEach((edge, i) => {
      const list = targetsOf.get(edge.node);
      if (list) list.push(i);
      else targetsOf.set(edge.node, [i]);
    });
    const { nodes, through } = order(starts, targets);
    for (const node of nodes) {
      const grads = this.pending.get(node);
      if (!grads) continue;
      this.pending.delete(node);
      const arrived = node.hooks ? [...grads] : grads;
      if (node.hooks) this.callHooks(node.hooks, grads);
      if (targets) {
        for (const i of targetsOf.get(node) ?? []) {
          results[i] = grads[targets[i].index] ?? null;
          if (results[i]) this.kept.add(results[i]);
        }
      }
      if (node instanceof LeafNode) {
        if (!targets && grads[0]) this.accumulate(node.tensor, grads[0]);
      } else if (through === null || through.has(node)) {
        this.propagate(node, grads);
        if (!this.retainGraph) node.release();
      }
      this.freeAfter(arrived);
    }
    return results;
  }

  private rootGradient(root: Tensor, gradient: Tensor | null, op: string): Tensor {
    if (gradient === null) {
      if (root.numel !== 1) {
        throw new ShapeError(
          `${op}: a tensor of shape ${show(root.shape)} is not one number; reduce it (sum(), mean()) ` +
            "or give the gradient of the result with respect to it",
        );
      }
      return inScope(this.scope, () => late.arithmetic.onesLike(root));
    }
    checkTensor(gradient, op);
    if (!sameShape(gradient.shape, root.shape)) {
      throw new ShapeError(
        `${op}: the gradient has shape ${show(gradient.shape)}, the tensor ${show(root.shape)}; they must be equal`,
      );
    }
    this.owned.add(gradient.storage);
    return gradient.dtype === root.dtype
      ? gradient
      : inScope(this.scope, () => late.arithmetic.cast(gradient, root.dtype));
  }

  private give(edge: Edge, grad: Tensor): void {
    let grads = this.pending.get(edge.node);
    if (!grads) {
      grads = new Array<Tensor | null>(edge.node.outputs.length).fill(null);
      this.pending.set(edge.node, grads);
    }
    const first = grads[edge.index];
    const sum = first ? inScope(this.scope, () => late.arithmetic.add(first, grad)) : grad;
    grads[edge.index] = sum;
    this.waiting.set(sum, (this.waiting.get(sum) ?? 0) + 1);
    if (first) {
      this.forget(first);
      if (this.made.has(first) && !this.has(first)) this.free(first);
    }
  }

  private propagate(node: GradNode, grads: readonly (Tensor | null)[]): void {
    const results = inScope(this.scope, () => node.backward(grads));
    const { edges } = node;
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[i];
      const grad = results[i];
      if (!edge || !grad) continue;
      const expected = edge.node.outputs[edge.index];
      if (!sameShape(grad.shape, expected.shape)) {
        throw new AutogradError(
          `backward: the gradient rule of ${node.op} returned shape ${show(grad.shape)} for input ${i} of shape ${show(expected.shape)}`,
        );
      }
      if (modes.anomaly && late.arithmetic.hasNaN(grad)) {
        throw new AutogradError(
          `backward: the gradient of ${node.op} with respect to its input ${i} has NaN; it was called\n${node.trace ?? ""}`,
        );
      }
      this.give(
        edge,
        grad.dtype === expected.dtype ? grad : inScope(this.scope, () => late.arithmetic.cast(grad, expected.dtype)),
      );
    }
  }

  private accumulate(leaf: Tensor, grad: Tensor): void {
    const old = leaf.grad;
    if (old) {
      if (this.createGraph) leaf.grad = late.arithmetic.add(old, grad);
      else inScope(this.scope, () => late.arithmetic.addInPlace(old, grad));
      return;
    }
    const mine = this.createGraph || (!this.owned.has(grad.storage) && grad.isContiguous());
    const own = mine ? grad : inScope(null, () => late.arithmetic.copy(grad));
    this.owned.add(own.storage);
    this.kept.add(own);
    leaf.grad = own;
  }

  private callHooks(all: NonNullable<GradNode["hooks"]>, grads: (Tensor | null)[]): void {
    for (const [index, hooks] of all) {
      for (const hook of hooks) {
        const grad = grads[index];
        if (!grad) continue;
        this.kept.add(grad);
        this.owned.add(grad.storage);
        const replaced = inScope(null, () => hook(grad));
        if (replaced) {
          checkTensor(replaced, "hook");
          if (!sameShape(replaced.shape, grad.shape)) {
            throw new ShapeError(
              `hook: returned shape ${show(replaced.shape)} for a gradient of shape ${show(grad.shape)}`,
            );
          }
          grads[index] = replaced;
        }
      }
    }
  }
}

let walks = 0;

/**
 * The nodes to visit, latest first, and those among them to walk through: null for all; with targets, only those from
 * which another target can be reached.
 */
function order(
  starts: readonly GradNode[],
  targets: readonly Edge[] | undefined,
): { nodes: GradNode[]; through: ReadonlySet<GradNode> | null } {
  const walk = ++walks;
  const nodes: GradNode[] = [];
  const stack = [...starts];
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (node.walk === walk) continue;
    node.walk = walk;
    nodes.push(node);
    const { edges } = node;
    for (let i = 0; i < edges.length; i++) {
      const next = edges[i]?.node;
      if (next && next.walk !== walk) stack.push(next);
    }
  }
  nodes.sort((a, b) => b.id - a.id);
  if (!targets) return { nodes, through: null };
  const useful = new Set(targets.map((t) => t.node));
  const through = new Set<GradNode>();
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    if (node.edges.some((e) => e && useful.has(e.node))) {
      through.add(node);
      useful.add(node);
    }
  }
  return { nodes: nodes.filter((n) => useful.has(n)), through };
}

const aliasDef = { name: "alias", grad: (grads: readonly (Tensor | null)[]) => [grads[0]] };

/** Gradient of a function of several inputs, each taken as independent of the others. */
late.vjp = (fn, inputs, needs, grads) => {
  const createGraph = modes.grad;
  return enableGrad(() => {
    const xs: Input[] = inputs.map((input, i) => {
      if (!needs[i]) return input;
      const x = input as Tensor;
      return createGraph ? applyView(aliasDef, x, x.shape, x.strides, x.offset, null) : x.detach().requireGrad();
    });
    const outputs = fn(xs);
    const used = outputs.map((y, i) => ({ y, grad: grads[i] })).filter(({ y, grad }) => grad && y.requiresGrad);
    const wanted = xs.filter((_, i) => needs[i]) as Tensor[];
    const found = gradients(
      used.map((u) => u.y),
      wanted,
      used.map((u) => u.grad),
      { createGraph },
    );
    let next = 0;
    return inputs.map((_, i) => (needs[i] ? found[next++] : null));
  });
};

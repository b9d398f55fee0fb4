// The Tensor: a strided view of a storage, and its place on the tape. Operations are added to it as methods by the
// families of lib/ops.
import { describe } from "../check.js";
import { AutogradError, CaptureError, DisposedError, DTypeError, ShapeError, ValueError } from "../errors.js";
import type { BackwardOptions } from "../graph/backward.js";
import { spentGradient } from "../graph/capture.js";
import { modes } from "../graph/modes.js";
import { streamOf } from "../graph/stream.js";
import { type GradNode, type Hook, LeafNode } from "../graph/tape.js";
import { type DType, isFloat, type TypedArray } from "./dtype.js";
import { late } from "./late.js";
import { type NestedArray, nest } from "./nest.js";
import { currentScope } from "./scope.js";
import { isContiguous, normalizeAxis, numelOf, rowMajor, type Shape, show } from "./shape.js";
import type { Storage } from "./storage.js";

/** @internal A gradient that becomes a tensor when somebody asks for it. */
export interface Unopened {
  open(): Tensor;
}

/**
 * A multi-dimensional array on a device, with PyTorch's semantics.
 *
 * Make one with `tensor`, `zeros`, `randn` …; every operation is a method here and a function of the package. Shapes,
 * dtypes and errors are immediate; values are computed at the latest when they are read.
 *
 * @example
 * const a = tensor([[1, 2], [3, 4]], { requiresGrad: true });
 * const c = a.matmul(a).relu().mean();
 * c.backward();
 * a.grad.toArray();
 */
export class Tensor {
  /** True after `dispose()`. */
  disposed = false;
  /** @internal Node of the tape that made this tensor; null for a leaf. */
  node: GradNode | null = null;
  /** @internal Which output of the node this is. */
  outputIndex = 0;
  /** @internal The tensor that this one is a view of. */
  viewBase: Tensor | null = null;
  /** @internal Node of the base when this view's own node was made: another one now means a write since. */
  baseNode: GradNode | null = null;
  private leaf: LeafNode | null = null;
  private wantsGrad = false;
  private gradient: Tensor | Unopened | null = null;
  /** @internal The gradient was used up inside a captured function and not stored. */
  gradSpent = false;

  /** @internal Use `tensor`, `zeros` … */
  constructor(
    /** @internal */
    readonly storage: Storage,
    readonly dtype: DType,
    readonly shape: Shape,
    /** Distance of neighbours along each dimension, in elements. */
    readonly strides: Shape,
    /** Position of the first element in the storage, in elements. */
    readonly offset: number,
  ) {
    if (strides === undefined)
      throw new ValueError("Tensor: make tensors with tensor(…), zeros(…), randn(…) and the like");
    storage.references++;
    currentScope()?.add(this);
  }

  /** Name of the device: `"cpu"`, `"js"`, `"cuda"`. */
  get device(): string {
    return this.storage.device.name;
  }

  /** Number of dimensions. */
  get ndim(): number {
    return this.shape.length;
  }

  /** Number of dimensions, as a method (`dim()` of PyTorch). */
  dim(): number {
    return this.shape.length;
  }

  /** The shape, or the size of one dimension. */
  size(): Shape;
  size(dim: number): number;
  size(dim?: number): Shape | number {
    return dim === undefined ? this.shape : this.shape[normalizeAxis(dim, this.ndim, "size")];
  }

  /** Number of elements. */
  get numel(): number {
    return numelOf(this.shape);
  }

  /** Size of the first dimension. */
  get length(): number {
    if (this.shape.length === 0) throw new ShapeError("length: a 0-dimensional tensor has none");
    return this.shape[0];
  }

  /** True when the elements lie one after the other in row-major order. */
  isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }

  // ---- gradients

  /** True when gradients flow to this tensor. */
  get requiresGrad(): boolean {
    if (this.viewBase !== null && this.viewBase.node !== this.baseNode) late.rebase(this);
    return this.wantsGrad || this.node !== null;
  }
  set requiresGrad(value: boolean) {
    this.requireGrad(value);
  }

  /** Makes this leaf require a gradient, or not; returns it (`requires_grad_`). */
  requireGrad(value = true): this {
    if (this.node) {
      if (value) return this;
      throw new AutogradError("requiresGrad: only a leaf can stop requiring a gradient; use detach()");
    }
    if (value && !isFloat(this.dtype)) {
      throw new DTypeError(
        `requiresGrad: only floating point tensors can require gradients, this one is ${this.dtype}`,
      );
    }
    this.wantsGrad = value;
    return this;
  }

  /** True for a tensor that no recorded operation made. */
  get isLeaf(): boolean {
    return this.node === null;
  }

  /** The node that made this tensor, or null; `gradFn.name` is for example `"MeanBackward"`. */
  get gradFn(): { readonly name: string } | null {
    return this.node;
  }

  /**
   * Gradient accumulated by `backward()`, of the shape and dtype of this tensor; null before.
   *
   * @throws CaptureError after a captured function that used the gradient up (see `compile`).
   */
  get grad(): Tensor | null {
    if (modes.capture) return modes.capture.readGrad(this);
    if (this.gradSpent) throw spentGradient();
    return this.ownGrad;
  }
  set grad(value: Tensor | null) {
    if (value !== null && !(value instanceof Tensor)) {
      throw new ValueError(`grad: a gradient is a tensor or null, got ${describe(value)}`);
    }
    if (value && (numelOf(value.shape) !== this.numel || show(value.shape) !== show(this.shape))) {
      throw new ShapeError(
        `grad: a gradient of shape ${show(value.shape)} does not fit a tensor of shape ${show(this.shape)}`,
      );
    }
    if (modes.capture) modes.capture.writeGrad(this, value);
    else this.ownGrad = value;
  }

  /** @internal The gradient as it is outside of any capture. */
  get ownGrad(): Tensor | null {
    const { gradient } = this;
    if (gradient === null || gradient instanceof Tensor) return gradient;
    const opened = gradient.open();
    this.gradient = opened;
    return opened;
  }
  /** @internal */
  set ownGrad(value: Tensor | null) {
    this.gradient = value;
    this.gradSpent = false;
  }

  /** @internal Takes a gradient of which no tensor has been made yet. */
  receive(gradient: Unopened): void {
    this.gradient = gradient;
    this.gradSpent = false;
  }

  /** @internal The node that receives this leaf's gradient. */
  leafNode(): LeafNode {
    this.leaf ??= new LeafNode(this);
    return this.leaf;
  }

  /**
   * Computes the gradients of this tensor with respect to the leaves of its graph and adds them to their `grad`.
   *
   * @param options a gradient for a tensor of more than one element, and/or `retainGraph` (keep the graph for another
   *   pass), `createGraph` (record the backward pass itself, for gradients of gradients).
   * @throws AutogradError when the graph was used before, or there is none.
   * @example
   * x.mul(x).sum().backward();
   */
  backward(gradient?: Tensor | BackwardOptions | null, options?: BackwardOptions): void {
    if (gradient instanceof Tensor || gradient === null || gradient === undefined) {
      late.backward(this, gradient ?? null, options ?? {});
    } else {
      late.backward(this, gradient.gradient ?? null, gradient);
    }
  }

  /** Calls `hook` with the gradient of this tensor whenever one is computed; a returned tensor replaces it. */
  registerHook(hook: Hook): () => void {
    if (!this.requiresGrad) throw new AutogradError("registerHook: this tensor does not require a gradient");
    return this.node ? this.node.addHook(this.outputIndex, hook) : this.leafNode().addHook(0, hook);
  }

  /** Keeps the gradient of this non-leaf tensor in `grad` (`retain_grad`). */
  retainGrad(): this {
    if (!this.node) return this;
    this.node.addHook(this.outputIndex, (grad) => {
      this.grad = this.grad ? this.grad.add(grad) : grad;
    });
    return this;
  }

  /** The same values without a graph: gradients do not flow through. Shares memory. */
  detach(): Tensor {
    return new Tensor(this.use("detach").storage, this.dtype, this.shape, this.strides, this.offset);
  }

  // ---- values

  /**
   * The values in row-major order, as a typed array (bits in a Uint16Array for float16 and bfloat16). Waits on the
   * device without blocking the event loop.
   */
  async data(): Promise<TypedArray> {
    return late.readBackAsync(this.use("data"));
  }

  /** The values in row-major order; blocks until they are computed. */
  dataSync(): TypedArray {
    return late.readBack(this.use("dataSync"));
  }

  /** The value of a tensor of one element, as a number (0 or 1 for bool). */
  item(): number {
    this.use("item");
    if (this.numel !== 1) {
      throw new ShapeError(
        `item: a tensor of shape ${show(this.shape)} has ${this.numel} elements, not one; use toArray() or dataSync()`,
      );
    }
    return Number(nest(late.readBack(this), this.dtype, []));
  }

  /** The values as nested arrays of numbers (booleans for bool). */
  toArray(): NestedArray {
    return nest(late.readBack(this.use("toArray")), this.dtype, this.shape);
  }

  /** What `JSON.stringify` writes: the values as nested arrays (JSON has no NaN and no infinity: they become null). */
  toJSON(): NestedArray {
    return this.toArray();
  }

  /** Prints like PyTorch; large tensors are summarised. */
  toString(): string {
    if (this.disposed) return "Tensor(disposed)";
    if (this.storage.capture) return `Tensor(shape=${show(this.shape)}, dtype=${this.dtype}, captured)`;
    return late.format(this);
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** Refused: a tensor in a condition or in arithmetic would silently compare objects. */
  [Symbol.toPrimitive](hint: string): number | string {
    if (hint === "string") return this.toString();
    throw new ValueError("a tensor is not a number: use item() for its value, and add(), mul() … for arithmetic");
  }

  // ---- memory

  /**
   * Frees this handle early; the memory goes when no other tensor, view or recorded graph needs it. Never required.
   */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.release();
  }

  /** `using t = zeros([1024])` frees the tensor at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal One reference less to the storage. */
  release(): void {
    const { storage } = this;
    if (--storage.references === 0 && storage.alive && !storage.capture) streamOf(storage.device).free(storage);
  }

  /** @internal Another handle of the same value, at the same place of the tape. */
  alias(): Tensor {
    const t = new Tensor(this.storage, this.dtype, this.shape, this.strides, this.offset);
    t.node = this.node;
    t.outputIndex = this.outputIndex;
    return t;
  }

  /** @internal Checks that this tensor can be used, and returns it. */
  use(op: string): this {
    const { storage } = this;
    if (this.disposed || !storage.alive) {
      throw new DisposedError(
        `${op}: this tensor of shape ${show(this.shape)} was disposed; keep it until its last use`,
      );
    }
    if (storage.capture !== null && storage.capture !== modes.capture) {
      throw new CaptureError(
        `${op}: this tensor of shape ${show(this.shape)} exists only inside the captured function that made it; return it from there`,
      );
    }
    return this;
  }
}

/** Row-major tensor over a whole storage. */
export const onStorage = (storage: Storage, dtype: DType, shape: Shape): Tensor =>
  new Tensor(storage, dtype, shape, rowMajor(shape), 0);

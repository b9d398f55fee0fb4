// Module: a part of a model with parameters, buffers and parts of its own.
import { ShapeError, ValueError } from "../errors.js";
import { depends } from "../graph/capture.js";
import { noGrad } from "../graph/modes.js";
import { checkTensor } from "../ops/define.js";
import { copy_ } from "../ops/pointwise.js";
import type { DType } from "../tensor/dtype.js";
import { sameShape, show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { callSymbolically, type Symbolic, type SymbolicArguments } from "./symbolic.js";

/** A tensor that a Module owns and an optimizer updates. Requires gradients unless told otherwise. */
export class Parameter extends Tensor {
  constructor(data: Tensor, requiresGrad = true) {
    const own = data.contiguous();
    super(own.storage, own.dtype, own.shape, own.strides, own.offset);
    this.requireGrad(requiresGrad);
  }
}

/** A tensor that belongs to a Module's state but is not trained, such as running statistics. */
export class Buffer extends Tensor {
  constructor(data: Tensor) {
    const own = data.contiguous();
    super(own.storage, own.dtype, own.shape, own.strides, own.offset);
  }
}

/** Where a module, parameter or buffer is: `"0.weight"`. */
type Named<T> = [name: string, value: T];

/**
 * Base class of all layers and models. Parameters, buffers and modules that are assigned to properties (also in
 * arrays) belong to it.
 *
 * @example
 * class Net extends nn.Module {
 *   hidden = new nn.Linear(4, 8);
 *   output = new nn.Linear(8, 3);
 *   forward(x: Tensor): Tensor {
 *     return this.output.forward(this.hidden.forward(x).relu());
 *   }
 * }
 */
export abstract class Module {
  private mode = true;

  /** Computes the module's output. */
  // biome-ignore lint/suspicious/noExplicitAny: each module has inputs of its own
  abstract forward(...inputs: any[]): any;

  /**
   * Calls the module on symbolic tensors, to make a graph of layers for `nn.Graph`; see there.
   *
   * @returns what `forward` would give, with symbolic tensors in place of real ones
   * @throws ShapeError where the shapes do not fit
   * @example
   * const x = nn.Input({ shape: [4] });
   * new nn.Linear(4, 8).call(x).shape; // [null, 8]
   */
  call(...inputs: SymbolicArguments<Parameters<this["forward"]>>): Symbolic<ReturnType<this["forward"]>> {
    return callSymbolically(this, inputs as readonly unknown[]) as Symbolic<ReturnType<this["forward"]>>;
  }

  /** True in training mode, false in evaluation mode; Dropout and BatchNorm behave differently. */
  get training(): boolean {
    return depends(() => this.mode);
  }

  /** Sets training mode for this module and all its parts. */
  train(mode = true): this {
    for (const m of this.modules()) m.mode = mode;
    return this;
  }

  /** Sets evaluation mode for this module and all its parts. */
  eval(): this {
    return this.train(false);
  }

  /** This module and all its parts, with names; each once. */
  *namedModules(prefix = "", seen = new Set<Module>()): Generator<Named<Module>> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, value] of this.members()) {
      if (value instanceof Module) yield* value.namedModules(join(prefix, name), seen);
    }
  }

  *modules(): Generator<Module> {
    for (const [, m] of this.namedModules()) yield m;
  }

  /** The direct parts. */
  *children(): Generator<Module> {
    for (const [, value] of this.members()) if (value instanceof Module) yield value;
  }

  /** All parameters with their names; a shared one is listed once. */
  namedParameters(): Generator<Named<Parameter>> {
    return this.namedTensors(Parameter);
  }

  *parameters(): Generator<Parameter> {
    for (const [, p] of this.namedParameters()) yield p;
  }

  namedBuffers(): Generator<Named<Buffer>> {
    return this.namedTensors(Buffer);
  }

  *buffers(): Generator<Buffer> {
    for (const [, b] of this.namedBuffers()) yield b;
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /** Calls `fn` with every part and then with this module itself. */
  apply(fn: (module: Module) => void): this {
    for (const child of this.children()) child.apply(fn);
    fn(this);
    return this;
  }

  /** Parameters and buffers by name; the live tensors, not copies. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries([...this.namedParameters(), ...this.namedBuffers()]);
  }

  /**
   * Copies values into the parameters and buffers.
   *
   * @param strict every name must be on both sides (default true)
   * @returns the names that were missing or unexpected
   * @throws ValueError for other names, ShapeError for other shapes; nothing is copied then
   */
  loadStateDict(dict: Record<string, Tensor>, { strict = true } = {}): { missing: string[]; unexpected: string[] } {
    const own = this.stateDict();
    const missing = Object.keys(own).filter((k) => !(k in dict));
    const unexpected = Object.keys(dict).filter((k) => !(k in own));
    if (strict && missing.length + unexpected.length > 0) {
      throw new ValueError(
        `loadStateDict: the names do not agree; missing: ${missing.join(", ") || "none"}; unexpected: ${unexpected.join(", ") || "none"}`,
      );
    }
    const common = Object.keys(own).filter((k) => k in dict);
    for (const k of common) {
      checkTensor(dict[k], `loadStateDict: ${k}`);
      if (!sameShape(own[k].shape, dict[k].shape)) {
        throw new ShapeError(
          `loadStateDict: ${k} has shape ${show(own[k].shape)} here and ${show(dict[k].shape)} in the dictionary`,
        );
      }
    }
    noGrad(() => {
      for (const k of common) copy_(own[k], dict[k].device === own[k].device ? dict[k] : dict[k].to(own[k].device));
    });
    return { missing, unexpected };
  }

  /**
   * Moves parameters and buffers to a device or dtype. They become new tensors, so make the optimizer afterwards.
   */
  to(target: string | DType): this {
    for (const m of this.modules()) {
      replaceMembers(m as unknown as Record<string, unknown>, (t) => {
        const moved = noGrad(() => t.detach().to(target as DType));
        return t instanceof Parameter ? new Parameter(moved, t.requiresGrad) : new Buffer(moved);
      });
    }
    return this;
  }

  /** Number of elements of all parameters. */
  parameterCount(): number {
    let n = 0;
    for (const p of this.parameters()) n += p.numel;
    return n;
  }

  /** What stands between the parentheses when the module is printed. */
  protected extraRepr(): string {
    return "";
  }

  toString(): string {
    const lines: string[] = [];
    for (const [name, value] of this.members()) {
      if (value instanceof Module) lines.push(`  (${name}): ${value.toString().replaceAll("\n", "\n  ")}`);
    }
    const name = this.constructor.name;
    return lines.length > 0 ? `${name}(\n${lines.join("\n")}\n)` : `${name}(${this.extraRepr()})`;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** Own tensors and modules with their names, those in arrays as `name.0`. */
  private *members(): Generator<Named<unknown>> {
    for (const [name, value] of Object.entries(this)) {
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) yield [`${name}.${i}`, value[i]];
      } else {
        yield [name, value];
      }
    }
  }

  private *namedTensors<T extends Tensor>(kind: new (...args: never[]) => T): Generator<Named<T>> {
    const seen = new Set<unknown>();
    for (const [prefix, module] of this.namedModules()) {
      for (const [name, value] of module.members()) {
        if (!(value instanceof kind) || seen.has(value)) continue;
        seen.add(value);
        yield [join(prefix, name), value];
      }
    }
  }
}

const join = (prefix: string, name: string): string => (prefix === "" ? name : `${prefix}.${name}`);

function replaceMembers(owner: Record<string, unknown> | unknown[], map: (t: Parameter | Buffer) => Tensor): void {
  const place = owner as Record<string, unknown>;
  for (const [name, value] of Object.entries(owner)) {
    if (value instanceof Parameter || value instanceof Buffer) place[name] = map(value);
    else if (Array.isArray(value)) replaceMembers(value, map);
  }
}

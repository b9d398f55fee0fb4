// Scopes free the tensors that were made inside them: `tidy` for users, and the backward pass for its temporaries.
import { AsyncLocalStorage } from "node:async_hooks";
import { ValueError } from "../errors.js";
import type { Tensor } from "./tensor.js";

export class Scope {
  private readonly tensors: Tensor[] = [];

  add(tensor: Tensor): void {
    this.tensors.push(tensor);
  }

  /** Disposes of everything made inside except what `kept` has, which is added to `left`. */
  close(kept: { has(tensor: Tensor): boolean }, left?: Set<Tensor>): void {
    const { tensors } = this;
    for (let t = tensors.pop(); t; t = tensors.pop()) {
      if (kept.has(t)) left?.add(t);
      else t.dispose();
    }
  }
}

let current: Scope | null = null;
let asynchronous: AsyncLocalStorage<Scope> | null = null;

/** The scope that a new tensor belongs to. */
export const currentScope = (): Scope | null => current ?? asynchronous?.getStore() ?? null;

/** Runs `fn` with `scope` (null: outside of all synchronous scopes) as the current one. */
export function inScope<R>(scope: Scope | null, fn: () => R): R {
  const before = current;
  current = scope;
  try {
    return fn();
  } finally {
    current = before;
  }
}

/**
 * Runs `fn` and frees every tensor made inside it, except those that it returns (in arrays and plain objects too), the
 * gradients of leaves and the values that a recorded graph still needs. `fn` may be an async function. Nothing needs
 * `tidy`; it frees early what garbage collection would free later.
 *
 * @example
 * const y = tidy(() => x.mul(2).add(1).relu()); // the two intermediate tensors are freed at once
 */
export function tidy<R>(fn: () => R): R {
  const scope = new Scope();
  const outer = currentScope();
  const finish = (result: unknown): void => {
    const kept = new Set<Tensor>();
    collect(result, kept);
    scope.close(kept);
    if (outer) for (const t of kept) outer.add(t);
  };
  if (fn.constructor.name === "AsyncFunction") {
    asynchronous ??= new AsyncLocalStorage();
    const promise = inScope(null, () => (asynchronous as AsyncLocalStorage<Scope>).run(scope, fn)) as Promise<unknown>;
    return promise.then(
      (result) => {
        finish(result);
        return result;
      },
      (error) => {
        finish(null);
        throw error;
      },
    ) as R;
  }
  let result: unknown = null;
  try {
    result = inScope(scope, fn);
    if (result instanceof Promise) {
      result.catch(() => {}); // its own failure, if any, has no other listener and would end the process
      throw new ValueError("tidy: a function that returns a promise must be declared async");
    }
    return result as R;
  } finally {
    finish(result);
  }
}

function collect(value: unknown, into: Set<Tensor>): void {
  if (typeof value !== "object" || value === null) return;
  if (isTensor(value)) into.add(value);
  else if (Array.isArray(value)) for (const v of value) collect(v, into);
  else if (Object.getPrototypeOf(value) === Object.prototype) for (const v of Object.values(value)) collect(v, into);
}

const isTensor = (value: object): value is Tensor => "storage" in value && "dispose" in value;

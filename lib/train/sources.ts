// Sources: whatever gives batches, as the loops ask for them.
import { describe } from "../check.js";
import { Dataset } from "../data/dataset.js";
import { DataLoader } from "../data/loader.js";
import type { Rows } from "../data/rows.js";
import { ValueError } from "../errors.js";
import type { Saveable } from "../io/checkpoint.js";
import { type DType, isFloat } from "../tensor/dtype.js";
import { Tensor } from "../tensor/tensor.js";
import type { Batch } from "./module.js";

type Iterated = AsyncIterable<unknown> | Iterable<unknown>;

/** Batches: a DataLoader, a Dataset (whose samples are then batches), any iterable, or a function that gives one. */
export type BatchSource = DataLoader<never> | DataLoader<Batch> | Iterated | (() => Iterated);

type Next = IteratorResult<unknown> | Promise<IteratorResult<unknown>>;

/** An epoch's batches, one after another; promises only where the data needs them. */
export interface Batches {
  next(): Next;
  /** The same as rows of tensors in memory, where they are that. */
  readonly rows: Rows | null;
  /** No more are wanted. */
  close(): void | Promise<void>;
}

/** Where an epoch's batches come from, again and again. */
export class Source {
  private readonly make: () => Iterator<unknown> | AsyncIterator<unknown>;
  /** An iterator that cannot be started again goes on from epoch to epoch. */
  private ongoing: Iterator<unknown> | AsyncIterator<unknown> | null = null;
  private readonly stateful: { stateDict(): Saveable; loadStateDict(state: Saveable): void } | null;
  /** Batches an epoch, where the data says. */
  readonly length: number | undefined;

  constructor(
    readonly data: BatchSource,
    op: string,
  ) {
    this.length = undefined;
    this.stateful = isStateful(data) ? data : null;
    if (data instanceof DataLoader) {
      this.length = data.length;
      this.make = () => (data as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    } else if (typeof data === "function") {
      this.make = () => iterator(data(), op);
    } else if (isIterable(data)) {
      const { length } = data as { length?: unknown };
      if (typeof length === "number") this.length = length;
      if (this.length === 0) throw new ValueError(`${op}: the data are empty: there is no batch`);
      this.make = () => {
        const it = iterator(data, op);
        return (it as unknown) === data ? this.again(it) : it;
      };
    } else {
      throw new ValueError(
        `${op}: batches are needed, from a data.DataLoader or an iterable; got ${describe(data)}` +
          ((data as unknown) instanceof Dataset
            ? "; new data.DataLoader(dataset, { batchSize }) makes batches of it"
            : ""),
      );
    }
  }

  private again(it: Iterator<unknown> | AsyncIterator<unknown>): Iterator<unknown> | AsyncIterator<unknown> {
    this.ongoing ??= it;
    return this.ongoing;
  }

  /** The batches of an epoch, or the rest of it after `done` batches. */
  async epoch(done = 0): Promise<Batches> {
    const { data } = this;
    if (done === 0 && data instanceof DataLoader) {
      const state = data.stateDict();
      // Left in the middle, as by a limit of batches: another epoch has another order.
      if (state.batch > 0) data.loadStateDict({ ...state, epoch: state.epoch + 1, batch: 0 });
    }
    const rows = data instanceof DataLoader ? data.inMemory() : null;
    if (rows) {
      const next = (): IteratorResult<unknown> =>
        rows.next() ? { done: false, value: rows.batch() } : { done: true, value: undefined };
      return { rows, next, close() {} };
    }
    const it = this.make();
    // A stateful source stands there already, and an iterator that goes on has given them.
    if (!this.stateful && !this.ongoing) for (let i = 0; i < done; i++) await it.next();
    return {
      rows: null,
      next: () => it.next(),
      close: () => {
        if (it !== this.ongoing) return it.return?.() as void | Promise<void>;
      },
    };
  }

  stateDict(): Saveable {
    return this.stateful?.stateDict();
  }

  loadStateDict(state: Saveable): void {
    if (state !== undefined && state !== null) this.stateful?.loadStateDict(state);
  }
}

const isStateful = (x: unknown): x is { stateDict(): Saveable; loadStateDict(state: Saveable): void } =>
  typeof (x as { stateDict?: unknown } | null)?.stateDict === "function" &&
  typeof (x as { loadStateDict?: unknown }).loadStateDict === "function";

export const isIterable = (x: unknown): x is Iterated =>
  typeof x === "object" &&
  x !== null &&
  !(x instanceof Tensor) &&
  (typeof (x as Iterable<unknown>)[Symbol.iterator] === "function" ||
    typeof (x as AsyncIterable<unknown>)[Symbol.asyncIterator] === "function");

function iterator(data: unknown, op: string): Iterator<unknown> | AsyncIterator<unknown> {
  if (!isIterable(data)) throw new ValueError(`${op}: the function must return an iterable, got ${describe(data)}`);
  return Symbol.asyncIterator in data ? data[Symbol.asyncIterator]() : (data as Iterable<unknown>)[Symbol.iterator]();
}

/** Every tensor of a batch, through lists and plain objects. */
export function mapBatch(value: unknown, map: (t: Tensor) => Tensor): unknown {
  if (value instanceof Tensor) return map(value);
  if (Array.isArray(value)) {
    // The common case, that nothing changes, makes nothing new.
    let changed: unknown[] | null = null;
    for (let i = 0; i < value.length; i++) {
      const mapped = mapBatch(value[i], map);
      if (mapped === value[i]) continue;
      changed ??= [...value];
      changed[i] = mapped;
    }
    return changed ?? value;
  }
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    const entries = Object.entries(value).map(([k, v]) => [k, mapBatch(v, map)] as const);
    return entries.every(([k, v]) => v === (value as Record<string, unknown>)[k]) ? value : Object.fromEntries(entries);
  }
  return value;
}

/** The batch on a device, and with floats in a dtype where one is asked for. */
export const placeBatch = (batch: unknown, device: string, dtype: DType | undefined): unknown =>
  mapBatch(batch, (t) => {
    const there = t.device === device ? t : t.to(device);
    return dtype === undefined || !isFloat(there.dtype) || there.dtype === dtype ? there : there.to(dtype);
  });

/** True for rows that are where they shall be, and in the dtype that is asked for. */
export const arePlain = (rows: Rows | null, device: string, dtype: DType | undefined): boolean =>
  rows?.tensors.every((t) => t.device === device && (dtype === undefined || !isFloat(t.dtype) || t.dtype === dtype)) ??
  false;

/** Rows of a batch: the first dimension of its first tensor; 1 where there is none. */
export function rowsIn(value: unknown): number {
  if (value instanceof Tensor) return value.ndim > 0 ? value.shape[0] : 1;
  const parts: unknown[] = Array.isArray(value)
    ? value
    : typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
      ? Object.values(value)
      : [];
  for (const part of parts) {
    if (part instanceof Tensor || Array.isArray(part)) {
      const rows = rowsIn(part);
      if (rows > 0) return rows;
    }
  }
  return 1;
}

// DataLoader: batches of a dataset, shuffled by a seed, prepared ahead, from any position on.
import { checkFunction, checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { indexSelect } from "../ops/indexing.js";
import { narrow } from "../ops/movement.js";
import { clone } from "../ops/pointwise.js";
import { randperm } from "../ops/random.js";
import { fromTyped } from "../tensor/create.js";
import { defaultGenerator, Generator } from "../tensor/random.js";
import type { Tensor } from "../tensor/tensor.js";
import { Dataset, rowsOf } from "./dataset.js";

export interface DataLoaderOptions<T> {
  /** Samples a batch. Default 1. */
  batchSize?: number;
  /** Another order in each epoch. Default false. */
  shuffle?: boolean;
  /** Leave out a last batch that is not full. Default false. */
  dropLast?: boolean;
  /** Decides the orders: the same seed gives the same ones. Default: one that `manualSeed` decides. */
  seed?: number;
  /** Batches prepared ahead while one is worked on. Default 2. */
  prefetch?: number;
  /** Joins samples to a batch. Default `data.collate`. */
  collate?: (samples: T[]) => T | Promise<T>;
}

/** Where a loader is: plain numbers, for a checkpoint. */
export interface LoaderState {
  readonly seed: number;
  readonly epoch: number;
  /** Batches of this epoch that were given out. */
  readonly batch: number;
}

/**
 * Batches of a dataset. Iterating goes through one epoch; a loader that `loadStateDict` set in the middle of an epoch
 * goes through the rest of it first.
 *
 * @example
 * const loader = new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 32, shuffle: true });
 * for await (const [xb, yb] of loader) step(xb, yb);
 */
export class DataLoader<T> implements AsyncIterable<T> {
  readonly batchSize: number;
  private readonly settings: Required<Omit<DataLoaderOptions<T>, "collate" | "batchSize" | "seed">>;
  private readonly join: DataLoaderOptions<T>["collate"];
  private seed: number;
  private epoch = 0;
  private position = 0;
  /** Rows of the samples of a subset, on the device. */
  private rows: { of: Dataset<T>; index: Tensor } | null = null;

  constructor(
    readonly dataset: Dataset<T>,
    options: DataLoaderOptions<T> = {},
  ) {
    const known = ["batchSize", "shuffle", "dropLast", "seed", "prefetch", "collate"];
    checkOptions(options, known, "DataLoader");
    const { batchSize = 1, shuffle = false, dropLast = false, prefetch = 2, collate } = options;
    if (!(dataset instanceof Dataset)) {
      throw new ValueError(
        `DataLoader: a Dataset is needed, got ${describe(dataset)}; new data.TensorDataset(x, y) makes one of tensors`,
      );
    }
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new ValueError(`DataLoader: batchSize must be an integer ≥ 1, got ${describe(batchSize)}`);
    }
    if (!Number.isInteger(prefetch) || prefetch < 0) {
      throw new ValueError(`DataLoader: prefetch must be an integer ≥ 0, got ${describe(prefetch)}`);
    }
    if (collate) checkFunction(collate, "DataLoader: collate");
    if (dataset.length === 0) throw new ValueError("DataLoader: the dataset is empty");
    if (dropLast && dataset.length < batchSize) {
      throw new ValueError(`DataLoader: ${dataset.length} samples make no batch of ${batchSize} with dropLast`);
    }
    this.batchSize = batchSize;
    this.settings = { shuffle, dropLast, prefetch };
    this.join = collate;
    // A number below 2^53 of the default generator's sequence.
    this.seed = options.seed ?? (defaultGenerator.seed * 31 + defaultGenerator.take(1)) % 2 ** 53;
  }

  /** Batches an epoch. */
  get length(): number {
    const n = this.dataset.length / this.batchSize;
    return this.settings.dropLast ? Math.floor(n) : Math.ceil(n);
  }

  /** Numbers of the samples in the order of an epoch. */
  private order(): number[] {
    const n = this.dataset.length;
    if (!this.settings.shuffle) return Array.from({ length: n }, (_, i) => i);
    return Array.from(randperm(n, { device: "js", generator: this.generator() }).dataSync() as BigInt64Array, Number);
  }

  private async load(order: readonly number[], batch: number): Promise<T> {
    const indices = order.slice(batch * this.batchSize, (batch + 1) * this.batchSize);
    if (!this.join) return this.dataset.batch(indices);
    return this.join(await Promise.all(indices.map((i) => this.dataset.get(i))));
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    const order = this.order();
    const { length } = this;
    const ahead: Promise<T>[] = [];
    let next = this.position;
    const epoch = this.epoch;
    while (this.position < length) {
      while (next < length && ahead.length <= this.settings.prefetch) {
        const batch = this.load(order, next++);
        batch.catch(() => {}); // thrown when its turn comes
        ahead.push(batch);
      }
      const batch = await (ahead.shift() as Promise<T>);
      this.position++;
      if (this.position === length) {
        // Counted before the last batch is given out: who stops after it has seen the whole epoch.
        this.epoch = epoch + 1;
        this.position = 0;
        yield batch;
        return;
      }
      yield batch;
    }
  }

  /**
   * @internal The same without promises, where samples are rows of tensors in memory: the order is made on their device
   * and a batch is one selection a tensor. Null elsewhere.
   */
  immediate(): Iterator<T> | null {
    if (this.join) return null;
    const found = rowsOf(this.dataset);
    if (!found) return null;
    const { tensors, rows } = found;
    if (rows && this.rows?.of !== this.dataset) {
      const device = tensors[0].storage.device;
      const index = fromTyped(BigInt64Array.from(rows, BigInt), "int64", [rows.length], device);
      this.rows = { of: this.dataset, index };
    }
    return this.select(tensors, rows && this.rows ? this.rows.index : null);
  }

  private *select(tensors: readonly Tensor[], rows: Tensor | null): IterableIterator<T> {
    const { length, batchSize, epoch } = this;
    const n = this.dataset.length;
    const mixed = this.settings.shuffle
      ? randperm(n, { device: tensors[0].device, generator: this.generator() })
      : null;
    const order = mixed && rows ? indexSelect(rows, 0, mixed) : (mixed ?? rows);
    while (this.position < length) {
      const at = this.position++ * batchSize;
      if (this.position === length) {
        this.epoch = epoch + 1;
        this.position = 0;
      }
      const size = Math.min(batchSize, n - at);
      const index = order && narrow(order, 0, at, size);
      yield noGrad(() =>
        tensors.map((t) => (index ? indexSelect(t, 0, index) : clone(narrow(t, 0, at, size)))),
      ) as unknown as T;
      if (this.epoch !== epoch) return;
    }
  }

  /** Where the random numbers of an epoch's order come from. */
  private generator(): Generator {
    return new Generator(this.seed).setState({ seed: this.seed, offset: this.epoch * 2 ** 32 });
  }

  /** Position and seed, to be continued by `loadStateDict`. */
  stateDict(): LoaderState {
    return { seed: this.seed, epoch: this.epoch, batch: this.position };
  }

  /** Continues where another loader of the same dataset was. */
  loadStateDict(state: LoaderState): void {
    for (const key of ["seed", "epoch", "batch"] as const) {
      if (!Number.isSafeInteger(state?.[key]) || state[key] < 0) {
        throw new ValueError(`DataLoader: the state's ${key} must be an integer ≥ 0, got ${describe(state?.[key])}`);
      }
    }
    if (state.batch >= this.length) {
      throw new ValueError(
        `DataLoader: the state is at batch ${state.batch} of an epoch that has ${this.length} here; is the dataset another?`,
      );
    }
    this.seed = state.seed;
    this.epoch = state.epoch;
    this.position = state.batch;
  }

  /** Begins the present epoch again. */
  restart(): void {
    this.position = 0;
  }
}

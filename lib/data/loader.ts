// DataLoader: batches of a dataset, shuffled by a seed, prepared ahead, from any position on.
import { checkFunction, checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { indexSelect } from "../ops/indexing.js";
import { randperm } from "../ops/random.js";
import { fromTyped } from "../tensor/create.js";
import { Generator } from "../tensor/random.js";
import type { Tensor } from "../tensor/tensor.js";
import { Dataset, rowsOf } from "./dataset.js";
import { demandFinite } from "./finite.js";
import { originOf } from "./module.js";
import { permutation } from "./permutation.js";
import { drawSeed } from "./random.js";
import { Rows } from "./rows.js";
import { WorkerPool } from "./workers.js";

export interface DataLoaderOptions<T> {
  /** Samples a batch. Default 1. */
  batchSize?: number;
  /** Another order in each epoch. Default false. */
  shuffle?: boolean;
  /** Leave out a last batch that is not full. Default false. */
  dropLast?: boolean;
  /** Decides the orders: the same seed gives the same ones. Default: one that `manualSeed` decides. */
  seed?: number;
  /** Batches prepared ahead while one is worked on; with workers, by each of them. Default 2. */
  prefetch?: number;
  /**
   * Threads that load batches, each with a copy of the dataset, which must be one of `data.fromModule`. Order and batches
   * are the same for any number of them; they begin and end with each epoch. Default 0: batches are loaded in this thread.
   */
  workers?: number;
  /** Refuse batches with NaN or infinite values, naming the sample. Reads each batch back. Default false. */
  checkFinite?: boolean;
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
  private readonly source: ReturnType<typeof originOf> | undefined;
  private seed: number;
  private epoch = 0;
  private position = 0;
  /** Rows of the samples of a subset, on the device. */
  private rows: { of: Dataset<T>; index: Tensor } | null = null;

  constructor(
    readonly dataset: Dataset<T>,
    options: DataLoaderOptions<T> = {},
  ) {
    const known = ["batchSize", "shuffle", "dropLast", "seed", "prefetch", "workers", "checkFinite", "collate"];
    checkOptions(options, known, "DataLoader");
    const {
      batchSize = 1,
      shuffle = false,
      dropLast = false,
      prefetch = 2,
      workers = 0,
      checkFinite = false,
      collate,
    } = options;
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
    if (!Number.isInteger(workers) || workers < 0) {
      throw new ValueError(`DataLoader: workers must be an integer ≥ 0, got ${describe(workers)}`);
    }
    if (workers > 0) {
      this.source = originOf(dataset);
      if (collate) {
        throw new ValueError(
          "DataLoader: collate is a function of this thread; with workers give the dataset a batch method of its own",
        );
      }
    }
    if (collate) checkFunction(collate, "DataLoader: collate");
    if (dataset.length === 0) throw new ValueError("DataLoader: the dataset is empty");
    if (dropLast && dataset.length < batchSize) {
      throw new ValueError(`DataLoader: ${dataset.length} samples make no batch of ${batchSize} with dropLast`);
    }
    this.batchSize = batchSize;
    this.settings = { shuffle, dropLast, prefetch, workers, checkFinite };
    this.join = collate;
    this.seed = options.seed ?? drawSeed();
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
    return permutation(n, this.generator());
  }

  private async load(order: readonly number[], batch: number, pool: WorkerPool | undefined): Promise<T> {
    const indices = order.slice(batch * this.batchSize, (batch + 1) * this.batchSize);
    const loaded = await this.samples(indices, batch, pool);
    if (this.settings.checkFinite) await demandFinite(loaded, indices);
    return loaded;
  }

  private async samples(indices: readonly number[], batch: number, pool: WorkerPool | undefined): Promise<T> {
    if (pool && this.source) {
      // Random numbers of a batch follow from its place alone, whichever worker loads it.
      const rng = { seed: this.seed, offset: 2 ** 52 + ((this.epoch * this.length + batch) % 2 ** 28) * 2 ** 24 };
      return (await pool.load(indices.map(this.source.number), rng)) as T;
    }
    if (!this.join) return this.dataset.batch(indices);
    return this.join(await Promise.all(indices.map((i) => this.dataset.get(i))));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const order = this.order();
    const { length, epoch } = this;
    const { workers, prefetch } = this.settings;
    const pool = this.source && new WorkerPool(workers, this.source.origin, this.source.length);
    const ahead: Promise<T>[] = [];
    const most = pool ? Math.max(1, prefetch) * workers : prefetch;
    let next = this.position;
    try {
      while (this.position < length) {
        while (next < length && ahead.length <= most) {
          const batch = this.load(order, next++, pool);
          batch.catch(() => {}); // thrown when its turn comes
          ahead.push(batch);
        }
        const batch = await (ahead.shift() as Promise<T>);
        this.position++;
        if (this.position < length) yield batch;
        else {
          // Counted before the last batch is given out: who stops after it has seen the whole epoch.
          this.epoch = epoch + 1;
          this.position = 0;
          yield batch;
          return;
        }
      }
    } finally {
      await pool?.close();
    }
  }

  /**
   * @internal The same where samples are rows of tensors in memory: the order is made on their device. Null elsewhere.
   */
  inMemory(): Rows | null {
    if (this.join || this.source || this.settings.checkFinite) return null;
    const found = rowsOf(this.dataset);
    if (!found) return null;
    const { tensors, rows } = found;
    const { device } = tensors[0].storage;
    if (tensors.some((t) => t.storage.device !== device)) return null;
    if (rows && this.rows?.of !== this.dataset) {
      const index = fromTyped(BigInt64Array.from(rows, BigInt), "int64", [rows.length], device);
      this.rows = { of: this.dataset, index };
    }
    const own = rows && this.rows ? this.rows.index : null;
    const { length, batchSize, epoch } = this;
    const n = this.dataset.length;
    const mixed = this.settings.shuffle ? randperm(n, { device: device.name, generator: this.generator() }) : null;
    return new Rows(tensors, mixed && own ? indexSelect(own, 0, mixed) : (mixed ?? own), () => {
      if (this.epoch !== epoch) return null;
      const at = this.position++ * batchSize;
      if (this.position === length) {
        this.epoch = epoch + 1;
        this.position = 0;
      }
      return { at, count: Math.min(batchSize, n - at) };
    });
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

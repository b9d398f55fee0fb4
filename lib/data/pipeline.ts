// Pipelines: streams of samples in tf.data's words, evaluated lazily, one sample at a time, and as often as wanted.
import { checkFunction, checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { select } from "../ops/movement.js";
import { Generator } from "../tensor/random.js";
import { Tensor } from "../tensor/tensor.js";
import { collate, Dataset } from "./dataset.js";
import { drawSeed, HostRandom } from "./random.js";

type Source<T> = Iterable<T | Promise<T>> | AsyncIterable<T>;
type Awaitable<T> = T | Promise<T>;

const isIterable = (x: unknown): x is Iterable<unknown> | AsyncIterable<unknown> =>
  typeof x === "object" && x !== null && (Symbol.iterator in x || Symbol.asyncIterator in x);

function checkCount(n: unknown, least: number, what: string): void {
  if (!Number.isInteger(n) || (n as number) < least) {
    throw new ValueError(`Pipeline: ${what} must be an integer ≥ ${least}, got ${describe(n)}`);
  }
}

/**
 * A stream of samples. Every method gives a new pipeline and reads nothing; iterating reads, one sample at a time, no
 * faster than the samples are taken (`prefetch` reads ahead), and can be done again: each pass begins at the source.
 * Leaving a loop early closes what the source has open.
 *
 * @example
 * const batches = data.from(io.csvRows("big.csv.gz"))
 *   .filter((row) => row.age !== null)
 *   .map((row) => [row.age, row.fare])
 *   .shuffle(10_000, 1)
 *   .batch(32)
 *   .prefetch(2);
 * for await (const x of batches) step(x); // [32, 2]
 */
export class Pipeline<T> implements AsyncIterable<T> {
  /**
   * @param open begins a pass
   * @param length samples in a pass where that is known, else undefined
   */
  constructor(
    private readonly open: () => AsyncGenerator<T>,
    readonly length?: number,
  ) {}

  [Symbol.asyncIterator](): AsyncGenerator<T> {
    return this.open();
  }

  private through<U>(pass: (source: AsyncIterable<T>) => AsyncGenerator<U>, length?: number): Pipeline<U> {
    return new Pipeline(() => pass(this), length);
  }

  /** Each sample as `fn` changes it; `fn` may be async, and gets the sample's number in the pass. */
  map<U>(fn: (sample: T, index: number) => Awaitable<U>): Pipeline<U> {
    checkFunction(fn, "Pipeline: map");
    return this.through(async function* (source) {
      let i = 0;
      for await (const sample of source) yield await fn(sample, i++);
    }, this.length);
  }

  /** The samples for which `fn` is true. */
  filter(fn: (sample: T, index: number) => Awaitable<boolean>): Pipeline<T> {
    checkFunction(fn, "Pipeline: filter");
    return this.through(async function* (source) {
      let i = 0;
      for await (const sample of source) if (await fn(sample, i++)) yield sample;
    });
  }

  /**
   * The samples in another order: each is drawn from a buffer of the next `bufferSize` ones. A buffer as large as the
   * source gives every order the same chance. Another order in each pass; the seed decides all of them.
   *
   * @param seed default: one that `manualSeed` decides
   */
  shuffle(bufferSize: number, seed?: number): Pipeline<T> {
    checkCount(bufferSize, 1, "shuffle's bufferSize");
    const chosen = new Generator(seed ?? drawSeed()).seed;
    let pass = 0;
    return this.through(async function* (source) {
      const draw = new HostRandom(chosen, pass++);
      const buffer: T[] = [];
      for await (const sample of source) {
        if (buffer.length < bufferSize) {
          buffer.push(sample);
          continue;
        }
        const i = draw.below(bufferSize);
        const out = buffer[i];
        buffer[i] = sample;
        yield out;
      }
      while (buffer.length > 0) {
        const i = draw.below(buffer.length);
        const out = buffer[i];
        buffer[i] = buffer[buffer.length - 1];
        buffer.pop();
        yield out;
      }
    }, this.length);
  }

  /**
   * `size` samples at a time, joined by `data.collate` (tensors and numbers stacked, arrays and objects member by
   * member) or a function of your own.
   *
   * @param options `dropLast` leaves out a last batch that is not full
   */
  batch<U = T>(
    size: number,
    options: { dropLast?: boolean; collate?: (samples: T[]) => Awaitable<U> } = {},
  ): Pipeline<U> {
    checkCount(size, 1, "batch's size");
    checkOptions(options, ["dropLast", "collate"], "Pipeline: batch");
    const { dropLast = false, collate: join = collate as unknown as (samples: T[]) => U } = options;
    checkFunction(join, "Pipeline: batch: collate");
    const batches = this.length === undefined ? undefined : this.length / size;
    return this.through(
      async function* (source) {
        let samples: T[] = [];
        for await (const sample of source) {
          if (samples.push(sample) < size) continue;
          yield await join(samples);
          samples = [];
        }
        if (samples.length > 0 && !dropLast) yield await join(samples);
      },
      batches === undefined ? undefined : dropLast ? Math.floor(batches) : Math.ceil(batches),
    );
  }

  /** The samples of batches one by one: rows of tensors, elements of arrays that are members of the batch. */
  unbatch<U = T>(): Pipeline<U> {
    return this.through(async function* (source) {
      for await (const batch of source) {
        const n = batchLength(batch);
        for (let i = 0; i < n; i++) yield sampleOf(batch, i) as U;
      }
    });
  }

  /** The whole pass `n` times, or without end. */
  repeat(n = Number.POSITIVE_INFINITY): Pipeline<T> {
    if (n !== Number.POSITIVE_INFINITY) checkCount(n, 0, "repeat's number of passes");
    return this.through(
      async function* (source) {
        for (let pass = 0; pass < n; pass++) {
          let empty = true;
          for await (const sample of source) {
            empty = false;
            yield sample;
          }
          if (empty) return; // would never end
        }
      },
      n === 0 || this.length === 0 ? 0 : this.length === undefined || !Number.isFinite(n) ? undefined : this.length * n,
    );
  }

  /** The first `n` samples; the source is closed after them. */
  take(n: number): Pipeline<T> {
    checkCount(n, 0, "take's number of samples");
    return this.through(
      async function* (source) {
        let left = n;
        if (left === 0) return;
        for await (const sample of source) {
          yield sample;
          if (--left === 0) return;
        }
      },
      n === 0 ? 0 : this.length === undefined ? undefined : Math.min(n, this.length),
    );
  }

  /** All but the first `n` samples. */
  skip(n: number): Pipeline<T> {
    checkCount(n, 0, "skip's number of samples");
    return this.through(
      async function* (source) {
        let left = n;
        for await (const sample of source) if (left-- <= 0) yield sample;
      },
      this.length === undefined ? undefined : Math.max(0, this.length - n),
    );
  }

  /** Up to `n` samples are read ahead while one is worked on. */
  prefetch(n: number): Pipeline<T> {
    checkCount(n, 0, "prefetch's number of samples");
    return this.through(async function* (source) {
      const iterator = source[Symbol.asyncIterator]();
      const ahead: Promise<IteratorResult<T>>[] = [];
      let ended = false;
      try {
        for (;;) {
          while (ahead.length <= n) {
            const next = iterator.next();
            next.catch(() => {}); // thrown when its turn comes
            ahead.push(next);
          }
          const { value, done } = await (ahead.shift() as Promise<IteratorResult<T>>).catch((error) => {
            ended = true;
            throw error;
          });
          ended = done === true;
          if (done) return;
          yield value;
        }
      } finally {
        if (!ended) await iterator.return?.();
      }
    }, this.length);
  }

  /** All samples of this pipeline, then those of the others. */
  concatenate(...others: Pipeline<T>[]): Pipeline<T> {
    const all = [this as Pipeline<T>, ...others.map(from)];
    return new Pipeline(
      async function* () {
        for (const source of all) yield* source;
      },
      total(all, (a, b) => a + b),
    );
  }

  /** Keeps the samples of the first complete pass in memory; further passes take them from there. */
  cache(): Pipeline<T> {
    let kept: T[] | undefined;
    return this.through(async function* (source) {
      if (kept) {
        yield* kept;
        return;
      }
      const seen: T[] = [];
      for await (const sample of source) {
        seen.push(sample);
        yield sample;
      }
      kept = seen;
    }, this.length);
  }

  /**
   * The samples of the sources that `fn` makes of each sample, such as the rows of each file: `block` of one, then of the
   * next, in turns among `cycle` sources at a time. With `cycle: 1` (default) one source after the other (`flatMap`).
   */
  interleave<U>(
    fn: (sample: T) => Awaitable<Source<U>>,
    options: { cycle?: number; block?: number } = {},
  ): Pipeline<U> {
    checkFunction(fn, "Pipeline: interleave");
    checkOptions(options, ["cycle", "block"], "Pipeline: interleave");
    const { cycle = 1, block = 1 } = options;
    checkCount(cycle, 1, "interleave's cycle");
    checkCount(block, 1, "interleave's block");
    return this.through(async function* (source) {
      const outer = source[Symbol.asyncIterator]();
      const open: AsyncIterator<U>[] = [];
      let more = true;
      try {
        for (;;) {
          while (more && open.length < cycle) {
            const next = await outer.next();
            if (next.done) more = false;
            else open.push(from(await fn(next.value))[Symbol.asyncIterator]());
          }
          if (open.length === 0) return;
          const [inner] = open; // stays in the list, to be closed whatever happens meanwhile
          let taken = 0;
          for (; taken < block; taken++) {
            const next = await inner.next();
            if (next.done) break;
            yield next.value;
          }
          open.shift();
          if (taken === block) open.push(inner);
        }
      } finally {
        for (const inner of open) await inner.return?.();
        await outer.return?.(undefined);
      }
    });
  }

  /** All samples, in an array. */
  async toArray(): Promise<T[]> {
    const out: T[] = [];
    for await (const sample of this) out.push(sample);
    return out;
  }
}

const total = (all: readonly Pipeline<unknown>[], join: (a: number, b: number) => number): number | undefined =>
  all.every((p) => p.length !== undefined)
    ? all.map((p) => p.length as number).reduce((a, b) => join(a, b))
    : undefined;

/**
 * A pipeline over an array, a dataset, or anything that can be iterated: `io.csvRows(…)`, a `DataLoader`.
 *
 * @throws ValueError for what cannot be iterated; and, at the second pass, for an iterator that is used up
 */
export function from<T>(source: Source<T> | Dataset<T>): Pipeline<T> {
  if (source instanceof Pipeline) return source;
  if (source instanceof Dataset) {
    return new Pipeline(async function* () {
      for (let i = 0; i < source.length; i++) yield await source.get(i);
    }, source.length);
  }
  if (!isIterable(source)) {
    throw new ValueError(
      `data.from: an array, a Dataset or something that can be iterated is needed, got ${describe(source)}` +
        `${typeof source === "function" ? "; fromGenerator takes a function" : ""}`,
    );
  }
  let used = false;
  return new Pipeline(
    async function* () {
      // What is its own iterator can be gone through once.
      const own = (source as Iterable<T>)[Symbol.iterator] ?? (source as AsyncIterable<T>)[Symbol.asyncIterator];
      if ("next" in source && own.call(source) === (source as unknown)) {
        if (used) {
          throw new ValueError(
            "data.from: this iterator was gone through before; data.fromGenerator(() => …) makes a new one for each pass",
          );
        }
        used = true;
      }
      yield* source as AsyncIterable<T>;
    },
    Array.isArray(source) ? source.length : undefined,
  );
}

/**
 * A pipeline over what a function makes anew for each pass, such as a generator.
 *
 * @example
 * data.fromGenerator(function* () { for (let i = 0; i < 3; i++) yield i; });
 */
export function fromGenerator<T>(make: () => Awaitable<Source<T>>): Pipeline<T> {
  checkFunction(make, "data.fromGenerator");
  return new Pipeline(async function* () {
    const source = await make();
    if (!isIterable(source)) {
      throw new ValueError(`data.fromGenerator: the function gave ${describe(source)}, which cannot be iterated`);
    }
    yield* source as AsyncIterable<T>;
  });
}

/** The samples of several pipelines side by side, as arrays, until one of them ends. */
export function zip<T extends readonly unknown[]>(
  ...sources: { [K in keyof T]: Source<T[K]> | Dataset<T[K]> }
): Pipeline<T> {
  if (sources.length === 0) throw new ValueError("data.zip: at least one source is needed");
  const all = sources.map((s) => from(s as Source<unknown>));
  return new Pipeline(
    async function* () {
      const iterators = all.map((p) => p[Symbol.asyncIterator]());
      try {
        for (;;) {
          const next: unknown[] = [];
          for (const iterator of iterators) {
            const { value, done } = await iterator.next();
            if (done) return;
            next.push(value);
          }
          yield next as unknown as T;
        }
      } finally {
        for (const iterator of iterators) await iterator.return(undefined);
      }
    },
    total(all, Math.min),
  );
}

/** Samples in a batch: of the first tensor or array in it. */
function batchLength(batch: unknown): number {
  if (batch instanceof Tensor) {
    if (batch.ndim > 0) return batch.shape[0];
  } else if (ArrayBuffer.isView(batch)) return (batch as Uint8Array).length;
  else if (Array.isArray(batch) && batch.every((v) => typeof v !== "object")) return batch.length;
  else if (typeof batch === "object" && batch !== null) {
    const lengths = Object.values(batch).map(batchLength);
    if (new Set(lengths).size === 1) return lengths[0];
    throw new ValueError(`Pipeline: unbatch: the members of a batch have different lengths: ${lengths.join(", ")}`);
  }
  throw new ValueError(`Pipeline: unbatch: ${describe(batch)} is no batch of tensors or arrays`);
}

function sampleOf(batch: unknown, i: number): unknown {
  if (batch instanceof Tensor) return noGrad(() => select(batch, 0, i));
  if (ArrayBuffer.isView(batch)) return (batch as Uint8Array)[i];
  if (Array.isArray(batch)) {
    return batch.every((v) => typeof v !== "object") ? batch[i] : batch.map((member) => sampleOf(member, i));
  }
  return Object.fromEntries(Object.entries(batch as object).map(([k, member]) => [k, sampleOf(member, i)]));
}

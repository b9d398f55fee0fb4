// Worker threads that load batches for a DataLoader.
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { getDevice } from "../device/registry.js";
import { NablaError, ValueError } from "../errors.js";
import { builtin, packageRoot } from "../package.js";
import { fromTyped } from "../tensor/create.js";
import type { DType, TypedArray } from "../tensor/dtype.js";
import type { RngState } from "../tensor/random.js";
import type { Origin } from "./module.js";

/** What a worker is asked for. */
export interface Request {
  readonly id: number;
  readonly indices: readonly number[];
  /** Samples that the dataset must have. */
  readonly length: number;
  /** Where the default generator is set before the batch is loaded. */
  readonly rng: RngState;
}

/** A value on its way between threads. */
export type Packed =
  | { tensor: { values: TypedArray; dtype: DType; shape: number[]; device: string } }
  | { list: Packed[] }
  | { object: (readonly [string, Packed])[] }
  | { plain: unknown };

export interface Loaded {
  readonly id: number;
  readonly batch: Packed;
}

/** What a worker answers. */
export type Answer =
  | Loaded
  | { readonly id: number; readonly error: { name: string; message: string; stack?: string } };

function unpack(packed: Packed): unknown {
  if ("tensor" in packed) {
    const { values, dtype, shape, device } = packed.tensor;
    return fromTyped(values, dtype, shape, getDevice(device));
  }
  if ("list" in packed) return packed.list.map(unpack);
  if ("object" in packed) return Object.fromEntries(packed.object.map(([k, v]) => [k, unpack(v)]));
  return packed.plain;
}

interface Waiting {
  resolve(batch: unknown): void;
  reject(error: Error): void;
}

/** Threads with one copy of the dataset each, which load batches in turns. */
export class WorkerPool {
  private readonly workers: Worker[];
  private readonly waiting: Map<number, Waiting>[];
  private next = 0;
  private closing = false;

  constructor(
    count: number,
    origin: Origin,
    private readonly length: number,
  ) {
    const root = packageRoot();
    if (root === undefined) {
      throw new ValueError("DataLoader: workers need nablajs as an installed package, not inside of a bundle");
    }
    const threads = builtin<typeof import("node:worker_threads")>("node:worker_threads");
    this.waiting = Array.from({ length: count }, () => new Map());
    this.workers = this.waiting.map((waiting) => {
      const worker = new threads.Worker(join(root, "dist/data-worker.js"), { workerData: origin });
      worker.unref(); // only an open request keeps the process alive
      worker.on("message", (answer: Answer) => {
        const { resolve, reject } = waiting.get(answer.id) as Waiting;
        waiting.delete(answer.id);
        if (waiting.size === 0 && !this.closing) worker.unref(); // `close` waits for the exit
        if ("error" in answer) reject(failure(answer.error));
        else resolve(unpack(answer.batch));
      });
      const ended = (why: Error): void => {
        for (const { reject } of waiting.values()) reject(why);
        waiting.clear();
      };
      worker.on("error", (error) => ended(failure(error)));
      worker.on("exit", (code) => {
        if (!this.closing) ended(new NablaError(`DataLoader: a worker ended by itself, with exit code ${code}`));
      });
      return worker;
    });
  }

  /** The batch of these samples, from the worker whose turn it is. */
  load(indices: readonly number[], rng: RngState): Promise<unknown> {
    const id = this.next++;
    const turn = id % this.workers.length;
    return new Promise((resolve, reject) => {
      this.waiting[turn].set(id, { resolve, reject });
      this.workers[turn].ref();
      this.workers[turn].postMessage({ id, indices, length: this.length, rng } satisfies Request);
    });
  }

  /** Ends the threads; what they were loading is given up. */
  async close(): Promise<void> {
    this.closing = true;
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }
}

/** The error of a worker, with its stack as the cause. */
function failure({ name, message, stack }: { name: string; message: string; stack?: string }): NablaError {
  const cause = new Error(message);
  cause.name = name;
  cause.stack = stack;
  return new NablaError(`DataLoader: in a worker: ${name}: ${message}`, { cause });
}

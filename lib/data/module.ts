// Datasets that another thread can make again: a module, the function it exports, and that function's arguments.
import { checkOptions, describe } from "../check.js";
import { FileError, ValueError } from "../errors.js";
import { Dataset, Subset } from "./dataset.js";

/** Where a dataset comes from; plain values. */
export interface Origin {
  readonly url: string;
  readonly name: string;
  readonly args: readonly unknown[];
}

/** A dataset with the way to make it again. */
export class ModuleDataset<T> extends Dataset<T> {
  constructor(
    private readonly dataset: Dataset<T>,
    /** @internal */
    readonly origin: Origin,
  ) {
    super();
  }
  get length(): number {
    return this.dataset.length;
  }
  get(index: number): T | Promise<T> {
    return this.dataset.get(index);
  }
  override batch(indices: readonly number[]): Promise<T> {
    return this.dataset.batch(indices);
  }
}

/**
 * The dataset that a module's function makes (`(…args) => Dataset`, or a promise of one). Unlike an object, which stays in
 * its thread, it can be made again in the worker threads of a `DataLoader`.
 *
 * @param module a file URL or an absolute path: `new URL("./images.mjs", import.meta.url)`
 * @param options `export`: the function's name, default `"default"`; `args`: what it is called with, values that can be
 *   sent to a worker
 * @example
 * // images.mjs: export default (folder) => new ImageFolder(folder);
 * const images = await data.fromModule(new URL("./images.mjs", import.meta.url), { args: ["train"] });
 * const loader = new data.DataLoader(images, { batchSize: 64, shuffle: true, workers: 4 });
 */
export async function fromModule<T = unknown>(
  module: string | { readonly href: string },
  options: { export?: string; args?: readonly unknown[] } = {},
): Promise<ModuleDataset<T>> {
  checkOptions(options, ["export", "args"], "data.fromModule");
  const { export: name = "default", args = [] } = options;
  const text = typeof module === "string" ? module : module?.href;
  if (typeof text !== "string" || !/^(file:|\/|[A-Za-z]:[\\/])/.test(text)) {
    throw new ValueError(
      `data.fromModule: a file URL or an absolute path is needed, such as new URL("./dataset.mjs", import.meta.url); got ${describe(module)}`,
    );
  }
  if (!Array.isArray(args)) throw new ValueError(`data.fromModule: args must be an array, got ${describe(args)}`);
  try {
    structuredClone(args);
  } catch (error) {
    throw new ValueError(`data.fromModule: args cannot be sent to a worker: ${(error as Error).message}`);
  }
  const url = text.startsWith("file:") ? text : (await import("node:url")).pathToFileURL(text).href;
  const loaded = (await import(url).catch((error: Error) => {
    throw new FileError(`data.fromModule: ${url} cannot be loaded: ${error.message}`);
  })) as Record<string, unknown>;
  const make = loaded[name];
  if (typeof make !== "function") {
    throw new ValueError(
      `data.fromModule: ${url} exports no function ${name}; it exports ${Object.keys(loaded).join(", ") || "nothing"}`,
    );
  }
  const dataset = (await make(...args)) as Dataset<T>;
  if (typeof dataset?.get !== "function" || !Number.isInteger(dataset.length)) {
    throw new ValueError(`data.fromModule: ${name} of ${url} made ${describe(dataset)} instead of a Dataset`);
  }
  return new ModuleDataset(dataset, { url, name, args });
}

/** Where a dataset's samples come from, and their numbers there; throws for one that no other thread can make. */
export function originOf(dataset: Dataset<unknown>): {
  origin: Origin;
  /** Samples there. */
  length: number;
  number: (index: number) => number;
} {
  if (dataset instanceof ModuleDataset) return { origin: dataset.origin, length: dataset.length, number: (i) => i };
  if (dataset instanceof Subset) {
    const { number, ...rest } = originOf(dataset.dataset);
    return { ...rest, number: (i) => number(dataset.indices[i]) };
  }
  throw new ValueError(
    `DataLoader: workers cannot be given ${describe(dataset)}, which lives in this thread; ` +
      'make it in a module and use await data.fromModule(new URL("./dataset.mjs", import.meta.url)), or parts of that (split, Subset)',
  );
}

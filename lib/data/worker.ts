// The program of a DataLoader's worker thread: makes the dataset, then loads the batches it is asked for.
import { parentPort, workerData } from "node:worker_threads";
import { type data, setRngState, Tensor } from "../index.js";
import type { Answer, Packed, Request } from "./workers.js";

const port = parentPort as NonNullable<typeof parentPort>;
const { url, name, args } = workerData as { url: string; name: string; args: unknown[] };

const dataset = (async () => {
  const module = (await import(url)) as Record<string, (...args: unknown[]) => unknown>;
  return (await module[name](...args)) as data.Dataset<unknown>;
})();
dataset.catch(() => {}); // told with the first batch

/** A batch without tensors: their values go as typed arrays, whose memory is handed over. */
async function pack(value: unknown, memory: ArrayBuffer[]): Promise<Packed> {
  if (value instanceof Tensor) {
    const values = await value.data();
    memory.push(values.buffer as ArrayBuffer);
    return { tensor: { values, dtype: value.dtype, shape: [...value.shape], device: value.device } };
  }
  if (Array.isArray(value)) return { list: await Promise.all(value.map((v) => pack(v, memory))) };
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    const entries = Object.entries(value).map(async ([k, v]) => [k, await pack(v, memory)] as const);
    return { object: await Promise.all(entries) };
  }
  return { plain: value };
}

async function load({ id, indices, length, rng }: Request): Promise<void> {
  const memory: ArrayBuffer[] = [];
  const failed = ({ name, message, stack }: Error): Answer => ({ id, error: { name, message, stack } });
  try {
    const source = await dataset;
    if (source.length !== length) {
      throw new Error(`the dataset has ${source.length} samples in the worker and ${length} in the main thread`);
    }
    setRngState(rng);
    const batch = await pack(await source.batch(indices), memory);
    port.postMessage({ id, batch } satisfies Answer, memory); // refuses what cannot be sent, such as functions
  } catch (error) {
    port.postMessage(failed(error instanceof Error ? error : new Error(String(error))));
  }
}

// One batch after the other: two at once would take each other's random numbers.
let last: Promise<void> = Promise.resolve();
port.on("message", (request: Request) => {
  last = last.then(() => load(request));
});

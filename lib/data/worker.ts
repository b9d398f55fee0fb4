// The program of a DataLoader's worker thread: makes the dataset, then loads the batches it is asked for.
import { parentPort, workerData } from "node:worker_threads";
import { type data, setRngState, Tensor } from "../index.js";
import type { Answer, Loaded, Packed, Request } from "./workers.js";

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

port.on("message", async ({ id, indices, length, rng }: Request) => {
  const memory: ArrayBuffer[] = [];
  const answer: Answer = await (async (): Promise<Loaded> => {
    const source = await dataset;
    if (source.length !== length) {
      throw new Error(`the dataset has ${source.length} samples in the worker and ${length} in the main thread`);
    }
    setRngState(rng);
    return { id, batch: await pack(await source.batch(indices), memory) };
  })().catch((error: Error) => ({ id, error: { name: error?.name, message: error?.message, stack: error?.stack } }));
  try {
    port.postMessage(answer, "batch" in answer ? memory : []);
  } catch (error) {
    const { name, message, stack } = error as Error; // a sample that cannot be sent, such as a function
    port.postMessage({ id, error: { name, message, stack } } satisfies Answer);
  }
});

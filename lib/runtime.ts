// The machine under the tensors: memory, threads, waiting.

import type { MemoryUse } from "./device/device.js";
import { defaultDevice, getDevice } from "./device/registry.js";
import { ValueError } from "./errors.js";
import { allStreams, streamOf } from "./graph/stream.js";

/**
 * Bytes in use, kept for reuse, and the highest use so far, on a device (default: the default device). Looks for
 * buffers that the garbage collector has found dead, first.
 */
export function memory(device?: string): MemoryUse {
  return streamOf(device === undefined ? defaultDevice() : getDevice(device)).memory();
}

/** Gives the memory that is kept for reuse back to the system. */
export function emptyCache(): void {
  for (const stream of allStreams()) {
    stream.settle();
    stream.device.emptyCache();
  }
}

/** Sets the number of compute threads of the CPU device, for the whole process. */
export function setNumThreads(n: number): void {
  if (!Number.isInteger(n) || n < 1 || n > 1024)
    throw new ValueError(`setNumThreads: an integer from 1 to 1024, got ${n}`);
  defaultDevice().setThreads(n);
}

/** The number of compute threads. */
export const getNumThreads = (): number => defaultDevice().getThreads();

/** Resolves when everything asked for so far is computed; rejects with the first error not yet reported. */
export async function synchronize(): Promise<void> {
  for (const stream of allStreams()) await stream.synchronize();
}

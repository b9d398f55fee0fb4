// Numbers in random order, for what is arranged on the host.
import { randperm } from "../ops/random.js";
import type { Generator } from "../tensor/random.js";

/** Numbers 0 … n − 1 in random order; the same on every device. */
export const permutation = (n: number, generator: Generator): number[] =>
  Array.from(randperm(n, { device: "js", generator }).dataSync() as BigInt64Array, Number);

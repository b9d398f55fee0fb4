// What the addon of scripts/cuda-shim.mjs has beyond that for a GPU; undefined when it is not the one that is loaded.
import { loadCuda } from "../../lib/device/addon.js";

interface Shim {
  /** Which thread of a block runs first, and which block. */
  order(name: string): void;
  /** Runs a kernel with a mistake; says what the shim says. */
  planted(name: string): string;
  /** Names of the kernels that were launched since it was last asked. */
  launched(): string;
  /** The matrix descriptor of wgmma for an address, and the bytes that lead along and across. */
  descriptor(address: number, lead: number, stride: number): bigint;
  /** Batch, row and column of a tile of a product. */
  tilePlace(tile: number, rows: number, columns: number): number[];
}

const exported = loadCuda().addon as Partial<Shim> | undefined;
export const shim = exported?.planted ? (exported as Shim) : undefined;
export const orders = ["forward", "reverse", "random"];

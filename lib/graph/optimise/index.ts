// The rewrites of a captured program, in order. Each takes the list of instructions and returns another that leaves the
// same values in every storage that outlives the program.
import type { Device } from "../../device/device.js";
import type { Storage } from "../../tensor/storage.js";
import type { Instruction } from "../capture.js";
import { foldConstants } from "./constants.js";
import { shareSubexpressions } from "./cse.js";
import { dropDead } from "./dce.js";
import { fuseElementwise } from "./fuse.js";
import { hoist } from "./hoist.js";

export interface Rewrite {
  readonly device: Device;
  /** True for storages whose contents matter after the program: outputs, and everything that is not its own. */
  readonly survives: (storage: Storage) => boolean;
}

/** In order; a test takes some out to see what they change. */
export const rewrites = [foldConstants, dropDead, shareSubexpressions, fuseElementwise, hoist];

export function optimise(instructions: readonly Instruction[], rewrite: Rewrite): readonly Instruction[] {
  return rewrites.reduce((list, apply) => apply(list, rewrite), instructions);
}

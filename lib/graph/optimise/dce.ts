// Dead code elimination: instructions whose results nobody uses go.
import type { Storage } from "../../tensor/storage.js";
import type { Instruction } from "../capture.js";
import { isView } from "../encode.js";
import type { Rewrite } from "./index.js";

export function dropDead(instructions: readonly Instruction[], { survives }: Rewrite): Instruction[] {
  const live = new Set<Storage>();
  const kept: Instruction[] = [];
  for (let i = instructions.length - 1; i >= 0; i--) {
    const instruction = instructions[i];
    if (!instruction.outs.some((v) => survives(v.storage) || live.has(v.storage))) continue;
    kept.push(instruction);
    // An output may be written in part (or updated in place), so it stays live.
    for (const v of instruction.outs) live.add(v.storage);
    for (const x of instruction.ins) if (isView(x)) live.add(x.storage);
  }
  return kept.reverse();
}

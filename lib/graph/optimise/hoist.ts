// Instructions that write only what outlives the program (optimizer updates, results) run as early as they can: their
// inputs die sooner, which makes the arena smaller, and are likely to be in the cache still.
import type { Instruction } from "../capture.js";
import { isView } from "../encode.js";
import type { Rewrite } from "./index.js";

export function hoist(instructions: readonly Instruction[], { survives }: Rewrite): Instruction[] {
  const list: Instruction[] = [];
  for (const instruction of instructions) {
    let at = list.length;
    if (instruction.outs.every((v) => survives(v.storage))) {
      while (at > 0 && !ordered(list[at - 1], instruction)) at--;
    }
    list.splice(at, 0, instruction);
  }
  return list;
}

/** True when the order of two instructions matters. */
function ordered(a: Instruction, b: Instruction): boolean {
  const touches = ({ outs, ins }: Instruction, by: Instruction): boolean =>
    by.outs.some(({ storage }) => [...outs, ...ins].some((x) => isView(x) && x.storage === storage));
  return touches(a, b) || touches(b, a);
}

// Constants: a single number that the program itself makes, as the gradient that backward() starts from, is written in
// the instructions that read it, and not computed at each replay.
import type { Storage } from "../../tensor/storage.js";
import type { Instruction } from "../capture.js";
import { isView, type Operand, Scalar } from "../encode.js";
import type { Rewrite } from "./index.js";

export function foldConstants(instructions: readonly Instruction[], { device, survives }: Rewrite): Instruction[] {
  const writes = new Map<Storage, number>();
  for (const { outs } of instructions) for (const v of outs) writes.set(v.storage, (writes.get(v.storage) ?? 0) + 1);
  const copy = device.elementwise.get("copy");
  const constants = new Map<Storage, Scalar>();

  const note = ({ op, attrs, outs: [out], ins: [x] }: Instruction): void => {
    if (op !== "elementwise" || attrs[0] !== 1 || attrs[1] !== copy || out.shape.length > 0) return;
    // A number of another dtype would be converted by the copy, and not by its readers.
    if (!(x instanceof Scalar) || x.dtype !== out.dtype || typeof x.value === "function") return;
    if (writes.get(out.storage) === 1 && !survives(out.storage)) constants.set(out.storage, x);
  };
  return instructions.map((instruction) => {
    // Only element-wise kernels take one number for a larger operand.
    const spread = instruction.op === "elementwise";
    const folded = (x: Operand): Operand => {
      const constant = isView(x) && (spread || x.shape.length === 0) ? constants.get(x.storage) : undefined;
      return constant?.dtype === x?.dtype ? (constant ?? x) : x;
    };
    const ins = instruction.ins.map(folded);
    note(instruction);
    return ins.some((x, i) => x !== instruction.ins[i]) ? { ...instruction, ins } : instruction;
  });
}

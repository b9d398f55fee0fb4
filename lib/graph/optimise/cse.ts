// Common subexpressions: an instruction that repeats an earlier one on unchanged inputs goes, and its result is the
// earlier one's.
import type { Storage } from "../../tensor/storage.js";
import type { Instruction } from "../capture.js";
import { isView, type Operand, Scalar, type View } from "../encode.js";
import { viewKey } from "../merge.js";
import type { Rewrite } from "./index.js";

export function shareSubexpressions(instructions: readonly Instruction[], { survives }: Rewrite): Instruction[] {
  const writes = new Map<Storage, number>();
  for (const { outs } of instructions) for (const v of outs) writes.set(v.storage, (writes.get(v.storage) ?? 0) + 1);
  // Only values that are written once and live in the program can stand for each other.
  const isValue = (v: View): boolean => writes.get(v.storage) === 1 && !survives(v.storage);

  const versions = new Map<Storage, number>();
  const stands = new Map<Storage, Storage>();
  const resolve = <T extends Operand>(x: T): T => {
    if (!isView(x)) return x;
    const storage = stands.get(x.storage);
    return storage ? ({ storage, dtype: x.dtype, offset: x.offset, shape: x.shape, strides: x.strides } as T) : x;
  };
  const keyOf = (x: Operand): string => {
    if (x === null) return "-";
    if (x instanceof Scalar) return `${x.dtype} ${Object.is(x.value, -0) ? "-0" : x.value}`;
    return `${viewKey(x)} @${versions.get(x.storage) ?? 0} ${x.shape}`;
  };
  const seen = new Map<string, Instruction>();
  const kept: Instruction[] = [];
  for (const original of instructions) {
    const instruction = { ...original, ins: original.ins.map(resolve) };
    const pure =
      instruction.outs.every(isValue) &&
      !instruction.ins.some((x) => x instanceof Scalar && typeof x.value === "function");
    if (pure) {
      const key = [
        instruction.op,
        instruction.attrs,
        instruction.ins.map(keyOf),
        instruction.outs.map((v) => `${v.dtype} ${v.offset} ${v.shape} ${v.strides} ${v.storage.bytes}`),
      ].join(";");
      const earlier = seen.get(key);
      if (earlier && !instruction.again) {
        instruction.outs.forEach((v, i) => {
          stands.set(v.storage, earlier.outs[i].storage);
        });
        continue;
      }
      seen.set(key, instruction);
    }
    for (const v of instruction.outs) versions.set(v.storage, (versions.get(v.storage) ?? 0) + 1);
    kept.push(instruction);
  }
  return kept;
}

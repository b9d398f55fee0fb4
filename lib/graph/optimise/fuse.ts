// Element-wise fusion: instructions over the same shape become one pass over memory, also when others stand between
// them, as long as nobody can tell.

import { type Shape, sameShape } from "../../tensor/shape.js";
import type { Storage } from "../../tensor/storage.js";
import type { Instruction } from "../capture.js";
import { isView, type View } from "../encode.js";
import { MAX_INPUTS, MAX_OUTPUTS, MAX_STEPS, merge, viewKey } from "../merge.js";
import type { Rewrite } from "./index.js";

/** Element-wise instructions that wait to be emitted as one. Open groups are independent of each other. */
class Group {
  readonly members: Instruction[] = [];
  /** Every view of a storage that the group reads or writes, by key. */
  private readonly views = new Map<Storage, Set<string>>();
  private readonly writes = new Set<Storage>();
  private steps = 0;

  constructor(readonly shape: Shape) {}

  /** True when the order of this group and `instruction` matters. */
  conflicts({ outs, ins }: Instruction): boolean {
    return outs.some((v) => this.views.has(v.storage)) || ins.some((x) => isView(x) && this.writes.has(x.storage));
  }

  /** True when `instruction` can be a member: what it shares with the group it shares element by element. */
  accepts(instruction: Instruction): boolean {
    if (instruction.op !== "elementwise" || !sameShape(instruction.outs[0].shape, this.shape)) return false;
    if (this.steps + instruction.attrs[0] > MAX_STEPS) return false;
    const aligned = (v: View, written: boolean): boolean => {
      const known = this.views.get(v.storage);
      if (!known || !(written || this.writes.has(v.storage))) return true;
      return known.size === 1 && known.has(viewKey(v)) && sameShape(v.shape, this.shape);
    };
    if (!instruction.outs.every((v) => aligned(v, true))) return false;
    if (!instruction.ins.every((x) => !isView(x) || aligned(x, false))) return false;
    const members = [...this.members, instruction];
    const inputs = new Set<unknown>();
    for (const m of members) for (const x of m.ins) inputs.add(isView(x) ? viewKey(x) : x);
    let outputs = 0;
    for (const m of members) outputs += m.outs.length;
    return inputs.size <= MAX_INPUTS && outputs <= MAX_OUTPUTS;
  }

  add(instruction: Instruction): void {
    this.members.push(instruction);
    this.steps += instruction.attrs[0];
    const note = (v: View): void => {
      const known = this.views.get(v.storage);
      if (known) known.add(viewKey(v));
      else this.views.set(v.storage, new Set([viewKey(v)]));
    };
    for (const v of instruction.outs) {
      note(v);
      this.writes.add(v.storage);
    }
    for (const x of instruction.ins) if (isView(x)) note(x);
  }
}

export function fuseElementwise(instructions: readonly Instruction[], { device, survives }: Rewrite): Instruction[] {
  /** Positions of the instructions that read a storage. */
  const readers = new Map<Storage, number[]>();
  const position = new Map<Instruction, number>();
  instructions.forEach((instruction, i) => {
    position.set(instruction, i);
    for (const x of instruction.ins) {
      if (!isView(x)) continue;
      const list = readers.get(x.storage);
      if (list) list.push(i);
      else readers.set(x.storage, [i]);
    }
  });
  const out: Instruction[] = [];
  let open: Group[] = [];

  const close = (group: Group): void => {
    open = open.filter((g) => g !== group);
    if (group.members.length === 1) {
      out.push(group.members[0]);
      return;
    }
    // A value that only the group reads stays in registers.
    const inside = new Set(group.members.map((m) => position.get(m)));
    const stored = new Map<string, View>();
    for (const member of group.members) {
      const at = position.get(member) as number;
      for (const v of member.outs) {
        const later = (readers.get(v.storage) ?? []).some((r) => r > at && !inside.has(r));
        if (later || survives(v.storage)) stored.set(viewKey(v), v);
      }
    }
    const outs = [...stored.values()];
    const { attrs, ins } = merge(device, group.members, outs);
    out.push({ op: "elementwise", attrs, outs, ins, work: group.members[0].work });
  };

  for (const instruction of instructions) {
    const before = open.filter((g) => g.conflicts(instruction));
    // It may join one of the groups that it depends on (the latest), or an independent one of its shape.
    const candidates = before.length > 0 ? before.slice(-1) : open;
    const home = candidates.find((g) => g.accepts(instruction));
    for (const g of before) if (g !== home) close(g);
    if (home) {
      home.add(instruction);
    } else if (instruction.op === "elementwise") {
      const group = new Group(instruction.outs[0].shape);
      group.add(instruction);
      open.push(group);
    } else {
      out.push(instruction);
    }
  }
  for (const g of [...open]) close(g);
  return out;
}

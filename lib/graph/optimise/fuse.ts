// Element-wise fusion: instructions over the same shape become one pass over memory, also when others stand between
// them, as long as nobody can tell. Those that read a matrix product or a convolution become its epilogue: the result is
// handed on block by block and need not reach memory.

import { isContiguous, type Shape, sameShape } from "../../tensor/shape.js";
import type { Storage } from "../../tensor/storage.js";
import type { Instruction } from "../capture.js";
import { isView, type Operand, type View } from "../encode.js";
import { epilogueOf } from "../epilogue.js";
import { MAX_INPUTS, MAX_OUTPUTS, MAX_STEPS, merge, viewKey } from "../merge.js";
import type { Rewrite } from "./index.js";
import { type Layout, layoutOf, relaid } from "./layout.js";

/** Element-wise instructions that wait to be emitted as one. Open groups are independent of each other. */
class Group {
  readonly members: Instruction[] = [];
  /** How the members read the product, and how their operands are laid out for it. */
  window: View | null = null;
  layout: Layout | null = null;
  /** Every view of a storage that the group reads or writes, by key. */
  private readonly views = new Map<Storage, Set<string>>();
  private readonly writes = new Set<Storage>();
  private shape: Shape | null;
  private steps = 0;

  /** @param product the product or convolution of which the members are the epilogue, if any */
  constructor(
    shape: Shape | null,
    readonly product: Instruction | null = null,
  ) {
    this.shape = shape;
    if (product) this.note(product);
  }

  /** True when the order of this group and `instruction` matters. */
  conflicts({ outs, ins }: Instruction): boolean {
    return outs.some((v) => this.views.has(v.storage)) || ins.some((x) => isView(x) && this.writes.has(x.storage));
  }

  /** True when `instruction` can be a member: what it shares with the group it shares element by element. */
  accepts(instruction: Instruction): boolean {
    if (instruction.op !== "elementwise") return false;
    if (this.product && !this.acceptsEpilogue(this.product, instruction)) return false;
    if (this.shape && !sameShape(instruction.outs[0].shape, this.shape)) return false;
    if (this.steps + instruction.attrs[0] > MAX_STEPS) return false;
    const shape = this.shape ?? instruction.outs[0].shape;
    const window = this.windowFor(instruction);
    const aligned = (v: View, written: boolean): boolean => {
      const known = v.storage === window?.storage ? new Set([viewKey(window)]) : this.views.get(v.storage);
      if (!known || !(written || this.writes.has(v.storage))) return true;
      return known.size === 1 && known.has(viewKey(v)) && sameShape(v.shape, shape);
    };
    if (!instruction.outs.every((v) => aligned(v, true))) return false;
    if (!instruction.ins.every((x) => !isView(x) || aligned(x, false))) return false;
    const members = [...this.members, instruction];
    const inputs = new Set<unknown>();
    for (const m of members) for (const x of m.ins) inputs.add(isView(x) ? viewKey(x) : x);
    let outputs = 0;
    for (const m of members) outputs += m.outs.length;
    // A product has two operands, and an output of its own where others read it too.
    const taken = this.product ? 1 : 0;
    return inputs.size + taken <= MAX_INPUTS && outputs + taken <= MAX_OUTPUTS;
  }

  /** How the product is read, as the first reader has it. */
  private windowFor({ ins }: Instruction): View | null {
    const c = this.product?.outs[0].storage;
    return this.window ?? ins.find((x): x is View => isView(x) && x.storage === c) ?? null;
  }

  /** The same for the epilogue of a product: it goes through the elements as the product does. */
  private acceptsEpilogue(product: Instruction, instruction: Instruction): boolean {
    const { outs, ins } = instruction;
    // The factors are read for as long as blocks of the result are written.
    if (outs.some((v) => product.ins.some((x) => isView(x) && x.storage === v.storage))) return false;
    const window = this.windowFor(instruction);
    if (!window || !sameShape(window.shape, outs[0].shape)) return false;
    const layout = layoutOf(window, asPlanes(product));
    return layout !== null && [...outs, ...ins].every((x) => relaid(x, layout) !== undefined);
  }

  add(instruction: Instruction): void {
    this.shape ??= instruction.outs[0].shape;
    if (this.product && !this.window) {
      this.window = this.windowFor(instruction) as View;
      this.layout = layoutOf(this.window, asPlanes(this.product));
      this.views.set(this.window.storage, new Set([viewKey(this.window)]));
    }
    this.members.push(instruction);
    this.steps += instruction.attrs[0];
    this.note(instruction);
  }

  private note(instruction: Instruction): void {
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

/** The result of a product as its epilogue sees it. */
const asPlanes = (product: Instruction): View => ({
  ...product.outs[0],
  shape: epilogueOf(product)?.shape(product) ?? product.outs[0].shape,
});

/** Where an instruction that depends on all of these groups joins best: the latest product, else the latest. */
const preferred = (groups: readonly Group[]): Group[] => [
  ...groups.filter((g) => g.product).reverse(),
  ...groups.slice(-1).filter((g) => !g.product),
];

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
    const { product, members, window, layout } = group;
    if (members.length === 0 || (members.length === 1 && !product)) {
      out.push(product ?? members[0]);
      return;
    }
    // A value that only the group reads stays in registers.
    const inside = new Set(members.map((m) => position.get(m)));
    const stored = new Map<string, View>();
    const keep = (v: View, at: number): void => {
      const later = (readers.get(v.storage) ?? []).some((r) => r > at && !inside.has(r));
      if (later || survives(v.storage)) stored.set(viewKey(v), v);
    };
    if (product && window) keep(window, position.get(product) as number);
    for (const member of members) for (const v of member.outs) keep(v, position.get(member) as number);
    const outs = [...stored.values()];
    const epilogue = product && epilogueOf(product);
    if (!epilogue || !window || !layout) {
      const { attrs, ins } = merge(device, members, outs);
      out.push({ op: "elementwise", attrs, outs, ins, work: members[0].work });
      return;
    }
    const { attrs: program, ins } = merge(device, members, outs, [window]);
    const attrs = [...epilogue.attrs(product), ...program];
    const laid = <T extends Operand>(x: T): T => relaid(x, layout) as T;
    const work = product.work + members[0].work;
    const inputs = [...product.ins, ...ins.slice(1).map(laid)];
    out.push({ op: epilogue.kernel, attrs, outs: outs.map(laid), ins: inputs, work });
  };

  /** A product that an element-wise instruction reads. */
  const opens = (instruction: Instruction): boolean => {
    const [c] = instruction.outs;
    return (
      device.ops.has(epilogueOf(instruction)?.kernel ?? "") &&
      c.dtype === "float32" &&
      isContiguous(c.shape, c.strides) &&
      (readers.get(c.storage) ?? []).some((r) => instructions[r].op === "elementwise")
    );
  };

  for (const instruction of instructions) {
    const before = open.filter((g) => g.conflicts(instruction));
    // It may join one of the groups that it depends on (the latest), or an independent one of its shape.
    const candidates = before.length > 0 ? preferred(before) : open.filter((g) => !g.product);
    const home = candidates.find((g) => g.accepts(instruction));
    for (const g of before) if (g !== home) close(g);
    if (home) {
      home.add(instruction);
    } else if (instruction.op === "elementwise") {
      const group = new Group(instruction.outs[0].shape);
      group.add(instruction);
      open.push(group);
    } else if (opens(instruction)) {
      open.push(new Group(null, instruction));
    } else {
      out.push(instruction);
    }
  }
  for (const g of [...open]) close(g);
  return out;
}

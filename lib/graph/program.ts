// A program: the instructions of a capture with a place for every buffer, in the flat encoding that devices load.
import type { Device } from "../device/device.js";
import { dtypes } from "../tensor/dtype.js";
import { show } from "../tensor/shape.js";
import type { Storage } from "../tensor/storage.js";
import type { Instruction } from "./capture.js";
import {
  encode,
  encodedLength,
  isView,
  type Operand,
  type Resolver,
  Scalar,
  type View,
  writeNumber,
} from "./encode.js";
import { programAt } from "./epilogue.js";
import { viewKey } from "./merge.js";
import { streamOf } from "./stream.js";

const MAGIC = 0x4e424c31;
const ALIGN = 64;

interface Slot {
  readonly storage: Storage;
  readonly index: number;
  /** Place in the arena, or −1 for a buffer that is bound at replay. */
  offset: number;
}

export class Program {
  /** Id by which the device knows the loaded program. */
  readonly id: number;
  /** Storages to be bound at replay, in order. */
  readonly bound: readonly Storage[];
  readonly arenaBytes: number;
  /** Cost measure, in elements. */
  readonly work: number;
  private readonly slots = new Map<Storage, Slot>();

  /**
   * @param isBound true for storages that are given at replay: inputs, outputs and whatever existed before
   * @param scalars the numbers given at replay, in order
   */
  constructor(
    readonly device: Device,
    readonly instructions: readonly Instruction[],
    isBound: (storage: Storage) => boolean,
    scalars: readonly Scalar[],
  ) {
    for (const storage of storagesOf(instructions)) {
      if (!this.slots.has(storage)) this.slots.set(storage, { storage, index: this.slots.size, offset: -1 });
    }
    this.arenaBytes = plan(instructions, this.slots, isBound);
    this.bound = [...this.slots.values()].filter((s) => s.offset < 0).map((s) => s.storage);
    this.work = instructions.reduce((sum, i) => sum + i.work, 0);
    this.id = streamOf(device).load(this.encode(scalars), this.arenaBytes);
  }

  private encode(scalars: readonly Scalar[]): Int32Array {
    const parameters = new Map(scalars.map((s, i) => [s, i]));
    const resolver: Resolver = {
      slot: (storage) => (this.slots.get(storage) as Slot).index,
      parameter: (scalar) => parameters.get(scalar) as number,
    };
    let room = 7 + 5 * this.slots.size;
    for (const { attrs, outs, ins } of this.instructions) room += encodedLength(attrs, outs, ins);
    const words = new Int32Array(room);
    words.set([MAGIC, 0, this.slots.size, scalars.length]);
    writeNumber(words, 4, this.arenaBytes, true);
    words[6] = this.instructions.length;
    let p = 7;
    for (const { storage, offset } of this.slots.values()) {
      words[p] = offset < 0 ? 0 : 1;
      writeNumber(words, p + 1, storage.bytes, true);
      writeNumber(words, p + 3, Math.max(offset, 0), true);
      p += 5;
    }
    for (const { op, attrs, outs, ins } of this.instructions) {
      p = encode(words, p, this.device.ops.get(op) as number, attrs, outs, ins, resolver);
    }
    words[1] = p;
    return words.subarray(0, p);
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** The plan: buffers, arena, then one line a step, fused groups with their functions. */
  toString(): string {
    const names = [...this.device.elementwise.keys()];
    const buffers = [...this.slots.values()].map(({ storage, index, offset }) =>
      offset < 0 ? `  %${index}: ${storage.bytes} B, bound` : `  %${index}: ${storage.bytes} B, arena +${offset}`,
    );
    const operand = (x: Operand): string => {
      if (x === null) return "–";
      if (x instanceof Scalar) return typeof x.value === "function" ? "parameter" : String(x.value);
      return `%${(this.slots.get(x.storage) as Slot).index}${show(x.shape)}${x.dtype === "float32" ? "" : `:${x.dtype}`}`;
    };
    const steps = this.instructions.map(({ op, attrs, outs, ins }, i) => {
      const results = outs.map(operand).join(", ");
      const call = `${ins.map(operand).join(", ")}`;
      const at = programAt(op);
      const epilogue = op !== "elementwise";
      if (at === undefined) return `  ${i}: ${results} = ${op}(${call})${attrs.length > 0 ? ` {${attrs}}` : ""}`;
      const registers = ins.length - (epilogue ? 1 : 0); // r0 is the product
      const fused: string[] = [];
      for (let s = 0; s < attrs[at]; s++) {
        const [fn, ctype, ...args] = attrs.slice(at + 1 + 5 * s, at + 6 + 5 * s);
        const operands = args.filter((a) => a >= 0).map((a) => `r${a}`);
        fused.push(`r${registers + s} = ${names[fn]}.${dtypes[ctype]}(${operands.join(", ")})`);
      }
      if (attrs[0] === 1 && !epilogue) return `  ${i}: ${results} = ${names[attrs[1]]}(${call})`;
      const before = at > 0 ? ` {${attrs.slice(0, at)}}` : "";
      return `  ${i}: ${results} = ${epilogue ? op : "fused"}(${call})${before}\n${fused.map((f) => `       ${f}`).join("\n")}`;
    });
    return [
      `program on ${this.device.name}: ${this.instructions.length} steps, ${this.slots.size} buffers (${this.bound.length} bound), arena ${this.arenaBytes} B`,
      "buffers",
      ...buffers,
      "steps",
      ...steps,
    ].join("\n");
  }
}

function* storagesOf(instructions: readonly Instruction[]): Generator<Storage> {
  for (const { outs, ins } of instructions) {
    for (const v of outs) yield v.storage;
    for (const x of ins) if (isView(x)) yield x.storage;
  }
}

/** Gives every buffer of the program a place in one arena; buffers whose lives do not meet share memory. */
function plan(
  instructions: readonly Instruction[],
  slots: ReadonlyMap<Storage, Slot>,
  isBound: (storage: Storage) => boolean,
): number {
  const last = new Map<Storage, number>();
  instructions.forEach((instruction, i) => {
    for (const storage of storagesOf([instruction])) last.set(storage, i);
  });
  const arena = new Arena();
  instructions.forEach((instruction, i) => {
    const inherited = new Set<Slot>();
    for (const v of instruction.outs) {
      const slot = slots.get(v.storage) as Slot;
      if (slot.offset >= 0 || isBound(v.storage)) continue;
      const ends = [...storagesOf([instruction])].map((s) => slots.get(s) as Slot).filter((s) => s.offset >= 0);
      const old = ends.find(
        (s) => last.get(s.storage) === i && !inherited.has(s) && canTakeOver(instruction, v, s.storage),
      );
      if (old) inherited.add(old);
      slot.offset = old ? old.offset : arena.take(v.storage.bytes);
    }
    for (const storage of new Set(storagesOf([instruction]))) {
      const slot = slots.get(storage) as Slot;
      if (last.get(storage) === i && slot.offset >= 0 && !inherited.has(slot)) arena.give(slot.offset, storage.bytes);
    }
  });
  return arena.bytes;
}

/** True when an element-wise result can lie where an input that ends here lay. */
function canTakeOver({ op, outs, ins }: Instruction, out: View, storage: Storage): boolean {
  // A convolution makes its result where the output is, before the program reads its inputs.
  if (op !== "elementwise" && op !== "matmulFused") return false;
  if (storage.bytes !== out.storage.bytes || outs.some((v) => v.storage === storage)) return false;
  // The factors of a product are read until its last block is written.
  if (op === "matmulFused" && ins.slice(0, 2).some((x) => isView(x) && x.storage === storage)) return false;
  const same = (x: View): boolean => x.dtype === out.dtype && viewKey({ ...x, storage: out.storage }) === viewKey(out);
  return ins.every((x) => !isView(x) || x.storage !== storage || same(x));
}

/** First-fit allocation of intervals that are given back. */
class Arena {
  bytes = 0;
  private readonly free: { offset: number; bytes: number }[] = [];

  take(wanted: number): number {
    const bytes = round(wanted);
    const best = this.free.filter((f) => f.bytes >= bytes).sort((a, b) => a.bytes - b.bytes)[0];
    if (best) {
      const { offset } = best;
      best.offset += bytes;
      best.bytes -= bytes;
      if (best.bytes === 0) this.free.splice(this.free.indexOf(best), 1);
      return offset;
    }
    // Grow from a free tail where there is one.
    const tail = this.free.find((f) => f.offset + f.bytes === this.bytes);
    const offset = tail ? tail.offset : this.bytes;
    if (tail) this.free.splice(this.free.indexOf(tail), 1);
    this.bytes = offset + bytes;
    return offset;
  }

  give(offset: number, wanted: number): void {
    const bytes = round(wanted);
    const next = this.free.findIndex((f) => f.offset > offset);
    this.free.splice(next < 0 ? this.free.length : next, 0, { offset, bytes });
    for (let i = this.free.length - 1; i > 0; i--) {
      const [a, b] = [this.free[i - 1], this.free[i]];
      if (a.offset + a.bytes === b.offset) {
        a.bytes += b.bytes;
        this.free.splice(i, 1);
      }
    }
  }
}

const round = (bytes: number): number => Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);

// One adapter between the device interface and an addon's exports: slot numbers for owners, and typed errors.
import { DisposedError, IndexError, MemoryError, ProgramError } from "../errors.js";
import type { Addon } from "./addon.js";
import type { Device, MemoryUse, Owner } from "./device.js";

const streamWords = 1 << 16;

const errorTypes = { PROGRAM: ProgramError, INDEX: IndexError, MEMORY: MemoryError, DISPOSED: DisposedError } as const;

/** The typed error for one that the addon threw; errors without a code of ours are passed on as they are. */
function typed(error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string };
  const type = errorTypes[code as keyof typeof errorTypes];
  return type ? new type(message, { cause: error }) : error;
}

function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw typed(error);
  }
}

const indexOf = (names: readonly string[]): ReadonlyMap<string, number> => new Map(names.map((name, id) => [name, id]));

/** What a slot number is in use for. */
const FREE = 0;
/** Given to an owner that the addon does not watch yet (it is in `newcomers`). */
const NEW = 1;
/** The addon watches the owner. */
const WATCHED = 2;

export class NativeDevice implements Device {
  readonly ops: ReadonlyMap<string, number>;
  readonly elementwise: ReadonlyMap<string, number>;
  readonly stream = new Int32Array(streamWords);

  private states = new Uint8Array(1024);
  private slotCount = 0;
  private readonly freeSlots: number[] = [];
  /** Owners bound since the last batch, held alive until the addon watches them. */
  private newcomers: Owner[] = [];
  /** Slots released since the last batch whose former owners the addon still watches. */
  private leavers: number[] = [];

  constructor(
    readonly name: string,
    private readonly addon: Addon,
    private readonly path: string,
  ) {
    const { ops, elementwise } = addon.info();
    this.ops = indexOf(ops);
    this.elementwise = indexOf(elementwise);
    guarded(() => addon.open(this.stream));
  }

  bind(owner: Owner): number {
    if (owner.slot >= 0) return owner.slot;
    const slot = this.freeSlots.pop() ?? this.newSlot();
    this.states[slot] = NEW;
    owner.slot = slot;
    this.newcomers.push(owner);
    return slot;
  }

  release(owner: Owner): number {
    const slot = owner.slot;
    owner.slot = -1;
    if (this.states[slot] === WATCHED) this.leavers.push(slot);
    this.recycle(slot);
    return slot;
  }

  sweep(): Int32Array {
    const collected = this.addon.sweep();
    let kept = 0;
    for (const slot of collected) {
      if (this.states[slot] !== WATCHED) continue; // a leaver's: its `free` is written already
      collected[kept++] = slot;
      this.recycle(slot);
    }
    return collected.subarray(0, kept);
  }

  flush(words: number): void {
    this.watch();
    guarded(() => this.addon.flush(words));
  }

  submit(words: number): void {
    this.watch();
    guarded(() => this.addon.submit(words));
  }

  read(owner: Owner, byteOffset: number, target: ArrayBufferView): void {
    guarded(() => this.addon.read(owner.slot, byteOffset, target));
  }

  async readAsync(owner: Owner, byteOffset: number, target: ArrayBufferView): Promise<void> {
    try {
      await this.addon.readAsync(owner.slot, byteOffset, target);
    } catch (error) {
      throw typed(error);
    }
  }

  sync(): void {
    guarded(() => this.addon.sync());
  }

  async syncAsync(): Promise<void> {
    try {
      await this.addon.syncAsync();
    } catch (error) {
      throw typed(error);
    }
  }

  stage(source: ArrayBufferView): number {
    return guarded(() => this.addon.stage(source));
  }

  load(words: Int32Array): number {
    return guarded(() => this.addon.load(words));
  }

  unload(id: number): void {
    guarded(() => this.addon.unload(id));
  }

  adjustMemory(delta: number): void {
    this.addon.adjustMemory(delta);
  }

  memory(): MemoryUse {
    return this.addon.memory();
  }

  emptyCache(): void {
    guarded(() => this.addon.emptyCache());
  }

  setThreads(n: number): void {
    guarded(() => this.addon.setThreads(n));
  }

  getThreads(): number {
    return this.addon.getThreads();
  }

  describe(): Record<string, string | number> {
    const { isa, abi } = this.addon.info();
    return { isa, threads: this.addon.getThreads(), abi, path: this.path };
  }

  /** Tells the addon whom to watch no longer, and whom from now on: it reports them in `sweep` once they are collected. */
  private watch(): void {
    if (this.leavers.length > 0) {
      this.addon.untrack(Int32Array.from(this.leavers));
      this.leavers = [];
    }
    if (this.newcomers.length === 0) return;
    const owners = this.newcomers.filter((owner) => owner.slot >= 0); // the others were released meanwhile
    const slots = Int32Array.from(owners, (owner) => owner.slot);
    this.newcomers = [];
    this.addon.track(owners, slots);
    for (const slot of slots) this.states[slot] = WATCHED;
  }

  private newSlot(): number {
    if (this.slotCount === this.states.length) {
      const wider = new Uint8Array(2 * this.slotCount);
      wider.set(this.states);
      this.states = wider;
    }
    return this.slotCount++;
  }

  private recycle(slot: number): void {
    this.states[slot] = FREE;
    this.freeSlots.push(slot);
  }
}

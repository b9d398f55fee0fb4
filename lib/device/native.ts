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
/** Given to an owner that is watched with others, see `Page`. */
const SHARED = 3;

/** Owners, and bytes of theirs, that may wait to be watched: until then they are kept alive. */
const WAITING_OWNERS = 64;
const WAITING_BYTES = 1 << 20;

/** The largest buffers that are watched together, and how many. */
const PAGE_BYTES = 64;
const PAGE_OWNERS = 16;

/**
 * Owners of small buffers that the addon watches as one: a weak reference takes longer than an addition of four numbers.
 * All have the page's anchor as their `memory`, so it is collected after the last of them, and their buffers go then.
 * The page itself must not name it.
 */
class Page {
  /** The slots that were given to its owners; some may have been released, and given to others, since. */
  readonly slots: number[] = [];
  /** Owners not yet released. */
  live = 0;
  constructor(
    /** The anchor's slot, which has no buffer. */
    readonly id: number,
  ) {}
}

interface Anchor {
  slot: number;
}

/** Numbers that are read through the stream's memory: to tell a typed array's address takes longer than to copy them. */
const FETCHED = 32;

export class NativeDevice implements Device {
  readonly ops: ReadonlyMap<string, number>;
  readonly elementwise: ReadonlyMap<string, number>;
  readonly stream = new Int32Array(streamWords);

  private states = new Uint8Array(1024);
  private slotCount = 0;
  private readonly freeSlots: number[] = [];
  /** Owners bound since the last batch, held alive until the addon watches them. */
  private newcomers: Anchor[] = [];
  private newBytes = 0;
  /** Slots released since the last batch whose former owners the addon still watches. */
  private leavers: number[] = [];
  /** The page that the next small buffer belongs to, and its anchor. */
  private page: Page | null = null;
  private anchor: Anchor = { slot: -1 };
  /** Pages by the slots of their owners, and by their own. */
  private readonly pageOf: (Page | undefined)[] = [];
  private readonly pages = new Map<number, Page>();
  private readonly fetched = new Float32Array(this.stream.buffer, 0, FETCHED);

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
    owner.slot = slot;
    if (owner.bytes <= PAGE_BYTES) this.share(owner, slot);
    else this.expect(owner, owner.bytes);
    return slot;
  }

  private share(owner: Owner, slot: number): void {
    let { page } = this;
    if (page === null) {
      page = new Page(this.freeSlots.pop() ?? this.newSlot());
      this.page = page;
      this.anchor = { slot: page.id };
      this.states[page.id] = SHARED;
      this.pages.set(page.id, page);
    }
    this.states[slot] = SHARED;
    this.pageOf[slot] = page;
    owner.memory = this.anchor;
    page.live++;
    if (page.slots.push(slot) < PAGE_OWNERS) return;
    this.expect(this.anchor, PAGE_OWNERS * PAGE_BYTES);
    this.page = null;
  }

  private expect(owner: Anchor, bytes: number): void {
    this.states[owner.slot] = NEW;
    this.newcomers.push(owner);
    this.newBytes += bytes;
  }

  release(owner: Owner): number {
    const slot = owner.slot;
    const page = this.pageOf[slot];
    if (page) {
      this.pageOf[slot] = undefined;
      owner.slot = -1;
      this.recycle(slot);
      if (--page.live === 0 && page !== this.page) {
        this.pages.delete(page.id);
        this.leave(owner.memory as Anchor);
      }
    } else this.leave(owner);
    return slot;
  }

  private leave(owner: Anchor): void {
    const { slot } = owner;
    owner.slot = -1;
    if (this.states[slot] === WATCHED) this.leavers.push(slot);
    this.recycle(slot);
  }

  sweep(): readonly number[] {
    this.watch();
    const dead: number[] = [];
    for (const slot of this.addon.sweep()) {
      if (this.states[slot] !== WATCHED) continue; // a leaver's: its `free` is written already
      this.recycle(slot);
      const page = this.pages.get(slot);
      if (!page) {
        dead.push(slot);
        continue;
      }
      this.pages.delete(slot);
      for (const member of page.slots) {
        if (this.pageOf[member] !== page) continue;
        this.pageOf[member] = undefined;
        this.recycle(member);
        dead.push(member);
      }
    }
    return dead;
  }

  flush(words: number): void {
    this.watchMany();
    guarded(() => this.addon.flush(words));
  }

  submit(words: number): void {
    this.watchMany();
    guarded(() => this.addon.submit(words));
  }

  read(owner: Owner, byteOffset: number, target: ArrayBufferView, words: number): void {
    if (!(target instanceof Float32Array) || target.length > FETCHED) {
      if (words > 0) this.flush(words);
      guarded(() => this.addon.read(owner.slot, byteOffset, target));
      return;
    }
    this.watchMany();
    const { fetched } = this;
    try {
      this.addon.fetch(words, owner.slot, byteOffset, target.byteLength);
    } catch (error) {
      throw typed(error);
    }
    for (let i = 0; i < target.length; i++) target[i] = fetched[i];
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

  /** `watch`, when there is enough to do: owners that are released soon need not be watched at all. */
  private watchMany(): void {
    const waiting = this.newcomers.length + this.leavers.length;
    if (waiting >= WAITING_OWNERS || !(this.newBytes <= WAITING_BYTES)) this.watch();
  }

  /** Tells the addon whom to watch no longer, and whom from now on: it reports them in `sweep` once they are collected. */
  private watch(): void {
    if (this.leavers.length > 0) {
      this.addon.untrack(Int32Array.from(this.leavers));
      this.leavers = [];
    }
    if (this.newcomers.length === 0) return;
    const owners = this.newcomers.filter((owner) => owner.slot >= 0); // the others were released meanwhile
    const slots = new Int32Array(owners.length);
    for (let i = 0; i < slots.length; i++) {
      slots[i] = owners[i].slot;
      this.states[slots[i]] = WATCHED;
    }
    this.newcomers = [];
    this.newBytes = 0;
    this.addon.track(owners, slots);
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

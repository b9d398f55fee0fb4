// The eager command stream of a device: operations are appended as words and executed when a value is read, when the
// stream is full, or when enough work has gathered. Also the place where buffers are counted, freed and reclaimed.
import { totalmem } from "node:os";
import type { Device, MemoryUse } from "../device/device.js";
import { MemoryError, ValueError } from "../errors.js";
import { builtin } from "../package.js";
import { Storage } from "../tensor/storage.js";
import { encode, OPERAND_WORDS, type Operand, type Resolver } from "./encode.js";

/**
 * Elements of work after which a batch is handed to the device's own thread instead of waiting for a read: before the
 * next instruction or at the end of the running job. A read that comes at once runs the batch on its own thread, which
 * saves the waking of another (50 µs).
 */
const SUBMIT_WORK = 1 << 17;
/**
 * Milliseconds for which less than that is done in place of an awaited read too, before the event loop turns: a loop of
 * small awaited steps must not starve it.
 */
const IN_PLACE_MS = 2;
/** A program that took no longer than this when it was last awaited is small, too, whatever its work. */
const SHORT_MS = 1;
/** Bytes and buffers allocated between two looks at what the garbage collector has found dead. */
const SWEEP_BYTES = 16 << 20;
const SWEEP_BUFFERS = 4096;

export class Stream {
  private readonly words: Int32Array;
  private end = 0;
  private work = 0;
  private submitting = false;
  /** Batches handed to the device's own thread, and how many of them are known to be done. */
  private submitted = 0;
  private done = 0;
  /** The first program that waits to be replayed, and its work; 0: none. */
  private program = 0;
  private programWork = 0;
  /** Milliseconds that programs of more than SUBMIT_WORK took when they were last awaited. */
  private readonly took = new Map<number, number>();
  /** When something was first awaited in place since the event loop turned; 0: not since then. */
  private inPlaceSince = 0;
  private bytesSinceSweep = 0;
  private buffersSinceSweep = 0;
  /** An upper bound of the bytes in use, made exact when it reaches the limit. */
  private bytes = 0;
  /** Growth not yet reported to V8, whose collector finds the dead buffers. */
  private unreported = 0;
  /** Bytes of the buffer in each slot. */
  private readonly sizes: number[] = [];
  private readonly resolver: Resolver;
  private readonly control: { alloc: number; free: number; adopt: number; replay: number };

  constructor(readonly device: Device) {
    this.words = device.stream;
    this.resolver = { slot: (storage) => device.bind(storage), parameter: null };
    const id = (name: string) => device.ops.get(name) as number;
    this.control = { alloc: id("alloc"), free: id("free"), adopt: id("adopt"), replay: id("replay") };
  }

  /** A new buffer, its contents undefined. */
  allocate(bytes: number, op: string): Storage {
    this.count(bytes, op);
    const storage = new Storage(this.device, bytes);
    const p = this.begin(this.control.alloc, 3);
    this.words[p] = this.bind(storage);
    this.words[p + 1] = bytes | 0;
    this.words[p + 2] = Math.floor(bytes / 2 ** 32);
    return storage;
  }

  /** Makes the contents of a buffer undefined, as if it were a new one. */
  renew(storage: Storage): void {
    const { words, device } = this;
    let p = this.begin(this.control.free, 1);
    words[p] = device.bind(storage);
    p = this.begin(this.control.alloc, 3);
    words[p] = device.bind(storage);
    words[p + 1] = storage.bytes | 0;
    words[p + 2] = Math.floor(storage.bytes / 2 ** 32);
  }

  /** A new buffer with a copy of host data. */
  upload(source: ArrayBufferView, op: string): Storage {
    this.count(source.byteLength, op);
    const staged = this.device.stage(source);
    const storage = new Storage(this.device, source.byteLength);
    const p = this.begin(this.control.adopt, 2);
    this.words[p] = this.bind(storage);
    this.words[p + 1] = staged;
    return storage;
  }

  private bind(storage: Storage): number {
    const slot = this.device.bind(storage);
    this.sizes[slot] = storage.bytes;
    return slot;
  }

  /** Frees a buffer after the instructions that precede; the storage is dead from here on. */
  free(storage: Storage): void {
    if (!storage.alive) return;
    storage.alive = false;
    const p = this.begin(this.control.free, 1);
    this.words[p] = this.device.release(storage);
    this.uncount(storage.bytes);
  }

  /** Appends one instruction. `work` is a measure of its cost in elements. */
  append(op: number, attrs: readonly number[], outs: readonly Operand[], ins: readonly Operand[], work: number): void {
    this.room(5 + attrs.length + OPERAND_WORDS * (outs.length + ins.length));
    this.end = encode(this.words, this.end, op, attrs, outs, ins, this.resolver);
    this.worked(work);
  }

  /** Loads a program, whose arena counts like any other buffer; returns its id. */
  load(words: Int32Array, arenaBytes: number): number {
    this.count(arenaBytes, "compile");
    try {
      return this.device.load(words);
    } catch (error) {
      this.uncount(arenaBytes);
      throw error;
    }
  }

  unload(program: number, arenaBytes: number): void {
    this.submit(); // a replay of it may be among what waits
    this.device.unload(program);
    this.took.delete(program);
    this.uncount(arenaBytes);
  }

  /** Appends the replay of a loaded program; `parameters` are the words of its numbers. */
  replay(program: number, bound: readonly Storage[], parameters: Int32Array, work: number): void {
    const { words, device } = this;
    let p = this.begin(this.control.replay, 1 + bound.length + parameters.length);
    words[p++] = program;
    for (let i = 0; i < bound.length; i++) words[p++] = device.bind(bound[i]);
    for (let i = 0; i < parameters.length; i++) words[p++] = parameters[i];
    if (this.program === 0) {
      this.program = program;
      this.programWork = work;
    }
    this.worked(work);
  }

  /** Copies `target.byteLength` bytes from a buffer, after everything appended so far has run. */
  read(storage: Storage, byteOffset: number, target: ArrayBufferView): void {
    this.device.read(storage, byteOffset, target, this.reset());
    this.done = this.submitted;
  }

  /** The same without blocking this thread for long. */
  async readAsync(storage: Storage, byteOffset: number, target: ArrayBufferView): Promise<void> {
    const { program, programWork } = this;
    const heavy = programWork > SUBMIT_WORK;
    const started = heavy ? performance.now() : 0;
    const inPlace = this.inPlace(target.byteLength / 4);
    if (inPlace) this.read(storage, byteOffset, target);
    else await this.behind(() => this.device.readAsync(storage, byteOffset, target));
    if (heavy) this.took.set(program, performance.now() - started);
    if (inPlace) await this.turn();
  }

  /** Runs what was appended before it returns. */
  flush(): void {
    const n = this.reset();
    if (n === 0) return;
    this.device.flush(n);
    this.done = this.submitted;
  }

  /** Hands what was appended to the device's own thread. */
  submit(): void {
    const n = this.reset();
    if (n === 0) return;
    this.device.submit(n);
    this.submitted++;
  }

  /** Resolves when everything asked for so far is done; rejects with the first error not yet reported. */
  async synchronize(): Promise<void> {
    if (!this.inPlace(0)) return this.behind(() => this.device.syncAsync());
    this.flush();
    this.device.sync();
    await this.turn();
  }

  /** Waits for the device's own thread. */
  private async behind(wait: () => Promise<void>): Promise<void> {
    this.submit();
    const { submitted } = this;
    await wait();
    this.done = Math.max(this.done, submitted);
  }

  /** Whether what is awaited, `more` elements beyond what was appended, takes less time here than to wake a thread. */
  private inPlace(more: number): boolean {
    const short = (this.took.get(this.program) ?? Number.POSITIVE_INFINITY) <= SHORT_MS;
    const work = this.work + more - (short ? this.programWork : 0);
    if (work > SUBMIT_WORK || this.done < this.submitted) return false;
    const now = performance.now();
    if (this.inPlaceSince === 0) {
      this.inPlaceSince = now;
      setImmediate(() => {
        this.inPlaceSince = 0;
      });
    }
    return now - this.inPlaceSince < IN_PLACE_MS;
  }

  /** Lets the event loop turn if it has not for long. Whoever does not wait for that goes through the device's thread. */
  private turn(): Promise<void> | undefined {
    if (performance.now() - this.inPlaceSince < IN_PLACE_MS) return undefined;
    return new Promise((resolve) => setImmediate(resolve));
  }

  /** Frees the buffers whose owners the garbage collector has found unreachable. */
  sweep(): void {
    this.bytesSinceSweep = 0;
    this.buffersSinceSweep = 0;
    const { device } = this;
    if (Math.abs(this.unreported) >= 1 << 20) {
      device.adjustMemory(this.unreported);
      this.unreported = 0;
    }
    const dead = device.sweep();
    for (let i = 0; i < dead.length; i++) {
      const p = this.begin(this.control.free, 1);
      this.words[p] = dead[i];
      this.uncount(this.sizes[dead[i]]);
    }
  }

  /** Room for a control instruction of `nAttr` attributes, whose position is returned. */
  private begin(op: number, nAttr: number): number {
    this.room(5 + nAttr);
    const { words, end } = this;
    words[end] = op;
    words[end + 1] = 5 + nAttr;
    words[end + 2] = 0;
    words[end + 3] = 0;
    words[end + 4] = nAttr;
    this.end = end + 5 + nAttr;
    return end + 5;
  }

  /** Slots are good for one batch, so room is made before they are bound. */
  private room(words: number): void {
    if (this.end + words > this.words.length || this.work > SUBMIT_WORK) this.submit();
  }

  private worked(work: number): void {
    this.work += work;
    if (this.work <= SUBMIT_WORK || this.submitting) return;
    this.submitting = true;
    queueMicrotask(() => {
      this.submitting = false;
      if (this.work > SUBMIT_WORK) this.submit();
    });
  }

  private reset(): number {
    const n = this.end;
    this.end = 0;
    this.work = 0;
    this.program = 0;
    this.programWork = 0;
    return n;
  }

  /** Counts a buffer about to be made; looks for dead ones from time to time, and in earnest when memory is short. */
  private count(bytes: number, op: string): void {
    this.bytesSinceSweep += bytes;
    if (this.bytesSinceSweep > SWEEP_BYTES || ++this.buffersSinceSweep > SWEEP_BUFFERS) this.sweep();
    if (this.bytes + bytes > memoryLimit()) {
      this.bytes = this.memory().inUse;
      if (this.bytes + bytes > memoryLimit()) {
        collectGarbage();
        this.bytes = this.memory().inUse;
      }
      if (this.bytes + bytes > memoryLimit()) {
        throw new MemoryError(
          `${op}: ${size(bytes)} more are needed, ${size(this.bytes)} are in use on device "${this.device.name}" and ` +
            `${size(memoryLimit())} may be used; use smaller tensors or batches, or dispose of tensors that are done`,
        );
      }
    }
    this.bytes += bytes;
    this.unreported += bytes;
  }

  private uncount(bytes: number): void {
    this.bytes -= bytes;
    this.unreported -= bytes;
  }

  /** Waits until everything asked for is done and everything dead is freed. */
  settle(): void {
    this.sweep();
    this.submit();
    this.device.sync();
    this.done = this.submitted;
  }

  /** What is in use then. */
  memory(): MemoryUse {
    this.settle();
    return this.device.memory();
  }
}

const size = (bytes: number): string =>
  bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;

let limit = 0;
/**
 * Bytes that the buffers of this process may take: NABLA_MEMORY_LIMIT (bytes, or with a unit, "2GiB"), else nine tenths
 * of what the machine or the container has.
 */
export function memoryLimit(): number {
  if (limit === 0) {
    const constrained = process.constrainedMemory?.() ?? 0;
    const total = totalmem();
    limit = 0.9 * (constrained > 0 && constrained < total ? constrained : total);
    const asked = process.env.NABLA_MEMORY_LIMIT;
    if (asked) {
      const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])i?B)?$/i.exec(asked);
      if (!match)
        throw new ValueError(`NABLA_MEMORY_LIMIT: "${asked}" is not a size; write bytes, or "512MiB", "2GiB"`);
      limit = Number(match[1]) * 1024 ** " KMGT".indexOf((match[2] ?? " ").toUpperCase());
    }
  }
  return limit;
}

let collect: (() => void) | undefined;
/** A full garbage collection: the last resort before memory is refused. */
function collectGarbage(): void {
  if (!collect) {
    builtin<typeof import("node:v8")>("node:v8").setFlagsFromString("--expose-gc");
    collect = builtin<typeof import("node:vm")>("node:vm").runInNewContext("gc") as () => void;
  }
  collect();
}

const streams = new Map<Device, Stream>();

let latest: Stream | undefined;

/** The stream of a device in this environment. */
export function streamOf(device: Device): Stream {
  if (latest?.device === device) return latest;
  let stream = streams.get(device);
  if (!stream) {
    stream = new Stream(device);
    streams.set(device, stream);
  }
  latest = stream;
  return stream;
}

export const allStreams = (): Iterable<Stream> => streams.values();

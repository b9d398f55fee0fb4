// The executor of the JavaScript device: the table of buffers, the command stream, programs, errors and memory counts.
import { totalmem } from "node:os";
import { DisposedError, MemoryError, ProgramError } from "../../errors.js";
import type { Device, MemoryUse, Owner } from "../device.js";
import { decode, instructionLength, readBytes, readDouble, roomyCall } from "./decode.js";
import { functions } from "./elementwise.js";
import { kernels as table } from "./kernels.js";
import { Program } from "./program.js";
import { type Failure, hasWork, type Kernel, Memory } from "./view.js";

const STREAM_WORDS = 1 << 16;
const POOL_BYTES = 64 << 20;
/** Below this, making a buffer is as cheap as finding one. */
const POOLED_FROM = 4096;
/** Requests from here on are compared with what the machine has. */
const LARGE = 64 << 20;
/** Growth of the count after which it is compared with V8's. */
const SETTLE_BYTES = 1 << 20;

const control = ["alloc", "free", "adopt", "replay"];
const ALLOC = 0;
const FREE = 1;
const ADOPT = 2;
const names = [...control, ...Object.keys(table)];
const kernels: readonly (Kernel | undefined)[] = [...control.map(() => undefined), ...Object.values(table)];
const ops: ReadonlyMap<string, number> = new Map(names.map((name, id) => [name, id]));

function tensorsBelongToTheirThread(): void {}

/** There is no thread to wait for, but the event loop turns where something is awaited. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The kernels in plain TypeScript behind the device interface; everything runs at once, on the calling thread. */
export class JsDevice implements Device {
  readonly name = "js";
  readonly ops = ops;
  readonly elementwise = functions;
  readonly stream = new Int32Array(STREAM_WORDS);
  /** A function, which `structuredClone` refuses: a tensor that is posted to a worker would else take all this along. */
  readonly clone = tensorsBelongToTheirThread;

  /** Owners named by the pending batch; their index is their slot. */
  private owners: Owner[] = [];
  private readonly staged = new Map<number, Memory>();
  private readonly programs = new Map<number, Program>();
  private nextId = 1;
  /** The first error not yet thrown. */
  private pending: Error | undefined = undefined;
  /** How many errors there were. */
  private failures = 0;
  private readonly call = roomyCall();

  bind(owner: Owner): number {
    if (owner.slot < 0) owner.slot = this.owners.push(owner) - 1;
    return owner.slot;
  }

  release(owner: Owner): number {
    return this.bind(owner);
  }

  sweep(): Int32Array {
    return none;
  }

  flush(words: number): void {
    this.submit(words);
    this.throwPending();
  }

  submit(words: number): void {
    try {
      if (words < 0 || words > this.stream.length) throw new ProgramError(`the stream does not have ${words} words`);
      for (let at = 0; at < words; ) {
        const length = instructionLength(this.stream, at, words);
        this.step(at);
        at += length;
      }
    } catch (error) {
      // Where the next instruction begins is not known: what the rest would have made is lost.
      const failure = this.fail(error);
      for (const owner of this.owners) owner.memory ??= this.hollow(0, failure);
    } finally {
      for (const owner of this.owners) owner.slot = -1;
      this.owners = [];
    }
  }

  read(owner: Owner, byteOffset: number, target: ArrayBufferView, words: number): void {
    if (words > 0) this.submit(words);
    this.throwPending();
    const memory = owner.memory as Memory | undefined;
    if (!memory) throw new DisposedError("read: this buffer was freed, or never allocated");
    if (memory.failure) throw memory.failure.error;
    const { byteLength } = target;
    if (!(byteOffset >= 0 && byteOffset + byteLength <= memory.bytes)) {
      throw new ProgramError(`read: bytes ${byteOffset} to ${byteOffset + byteLength} of a buffer of ${memory.bytes}`);
    }
    memory.copyTo(target, byteOffset);
  }

  async readAsync(owner: Owner, byteOffset: number, target: ArrayBufferView): Promise<void> {
    this.read(owner, byteOffset, target, 0);
    await turn();
  }

  sync(): void {
    this.throwPending();
  }

  async syncAsync(): Promise<void> {
    this.throwPending();
    await turn();
  }

  stage(source: ArrayBufferView): number {
    const id = this.nextId++;
    this.staged.set(
      id,
      this.account(source.byteLength, () => Memory.of(source)),
    );
    return id;
  }

  load(words: Int32Array): number {
    const program = new Program(words, names, kernels, (bytes) => this.account(bytes, () => new Memory(bytes)));
    const id = this.nextId++;
    this.programs.set(id, program);
    return id;
  }

  unload(id: number): void {
    const program = this.programs.get(id);
    if (program) this.used -= program.arena.bytes;
    this.programs.delete(id);
  }

  // --- instructions ---

  /** Executes the instruction at a word of the stream, whose length is good; its errors stay with its outputs. */
  private step(at: number): void {
    try {
      const op = this.stream[at];
      if (op >= control.length && op < names.length) this.compute(at, op);
      else if (op >= 0 && op < control.length) this.control(at, op);
      else throw new ProgramError(`there is no op ${op}`);
    } catch (error) {
      this.poison(at, this.fail(error));
    }
  }

  private compute(at: number, op: number): void {
    const { call } = this;
    const kernel = kernels[op]!;
    call.op = names[op];
    decode(this.stream, at, call, kernel, this);
    for (let k = 0; k < call.nIn + call.nOut; k++) {
      const view = k < call.nIn ? call.in[k] : call.out[k - call.nIn];
      if (view.slot < 0) continue;
      const memory = this.memoryOf(view.slot);
      if (memory.failure && (k < call.nIn || memory.hollow)) {
        this.poison(at, memory.failure);
        return;
      }
      view.data = memory.array(view.dtype);
    }
    if (hasWork(call)) kernel.run(call);
    for (let k = 0; k < call.nOut; k++) this.memoryOf(call.out[k].slot).written = true;
  }

  private control(at: number, op: number): void {
    const { stream } = this;
    const nAttr = stream[at + 4];
    const count = op === ALLOC ? 3 : op === FREE ? 1 : op === ADOPT ? 2 : nAttr;
    if (stream[at + 2] !== 0 || stream[at + 3] !== 0 || nAttr !== count || stream[at + 1] !== 5 + count) {
      throw new ProgramError(`${names[op]}: wrong counts`);
    }
    if (op > ADOPT) this.replay(at + 5, nAttr);
    else {
      const owner = this.ownerOf(stream[at + 5]);
      if (op === ALLOC) this.allocate(owner, readBytes(stream, at + 6));
      else if (op === FREE) this.recycle(owner);
      else {
        const memory = this.staged.get(stream[at + 6]);
        if (!memory) throw new ProgramError(`adopt: there is no staging id ${stream[at + 6]}`);
        this.demandFree(owner);
        this.staged.delete(stream[at + 6]);
        memory.born = this.failures;
        owner.memory = memory;
      }
    }
  }

  private replay(at: number, nAttr: number): void {
    const { stream } = this;
    const program = nAttr > 0 ? this.programs.get(stream[at]) : undefined;
    if (!program) throw new ProgramError(`replay: there is no program ${stream[at]}`);
    const nBound = program.boundBytes.length;
    if (nAttr !== 1 + nBound + 2 * program.nParams) {
      throw new ProgramError(
        `replay: takes ${nBound} buffers and ${program.nParams} parameters, got ${nAttr - 1} words`,
      );
    }
    const bound: Memory[] = [];
    const params: number[] = [];
    for (let i = 0; i < nBound; i++) bound.push(this.memoryOf(stream[at + 1 + i]));
    for (let i = 0; i < program.nParams; i++) params.push(readDouble(stream, at + 1 + nBound + 2 * i));
    try {
      program.replay(bound, params, (error) => this.fail(error));
    } catch (error) {
      const failure = this.fail(error);
      bound.forEach((memory, i) => {
        if (program.writes[i]) memory.poison(failure);
      });
    }
  }

  private ownerOf(slot: number): Owner {
    const owner = this.owners[slot];
    if (!owner) throw new ProgramError(`there is no slot ${slot}`);
    return owner;
  }

  private memoryOf(slot: number): Memory {
    const memory = this.ownerOf(slot).memory;
    if (!memory) throw new ProgramError(`slot ${slot} has no buffer`);
    return memory as Memory;
  }

  // What the decoder asks.
  bytes(slot: number): number {
    return this.memoryOf(slot).bytes;
  }

  region(slot: number): number {
    return slot;
  }

  base(): number {
    return 0;
  }

  // --- errors ---

  private fail(error: unknown): Failure {
    this.pending ??= error as Error;
    return { error: error as Error, number: this.failures++ };
  }

  private throwPending(): void {
    const error = this.pending;
    this.pending = undefined;
    if (error) throw error;
  }

  /** Poisons the outputs of an instruction that did not run, as far as its words name any. */
  private poison(at: number, failure: Failure): void {
    const { stream } = this;
    const end = at + stream[at + 1];
    let p = at + 5 + stream[at + 4];
    for (let k = 0; k < stream[at + 2] && p > at && p + 1 < end && (stream[p] & 255) === 0; k++) {
      const memory = this.owners[stream[p + 1]]?.memory as Memory | undefined;
      memory?.poison(failure);
      p += 3 + 2 * (stream[p] >>> 16);
    }
  }

  // --- memory ---

  /** Bytes handed out and not freed; more than is alive, since a dropped owner's memory goes without a word. */
  private used = 0;
  private peak = 0;
  /** What `used` was when it was last corrected. */
  private settled = 0;
  private readonly pool = new Map<number, Memory[]>();
  private pooled = 0;

  private demandFree(owner: Owner): void {
    if (owner.memory) throw new ProgramError(`slot ${owner.slot} has a buffer already`);
  }

  private hollow(bytes: number, failure: Failure): Memory {
    const memory = new Memory(bytes, 0, true);
    memory.failure = failure;
    return memory;
  }

  private allocate(owner: Owner, bytes: number): void {
    this.demandFree(owner);
    const reused = bytes >= POOLED_FROM ? this.pool.get(bytes)?.pop() : undefined;
    if (reused) {
      this.pooled -= bytes;
      reused.failure = undefined;
      reused.written = false;
      reused.born = this.failures;
      owner.memory = reused;
      this.used += bytes;
      this.peak = Math.max(this.peak, this.used);
      return;
    }
    try {
      owner.memory = this.account(bytes, () => new Memory(bytes, this.failures));
    } catch (error) {
      owner.memory = this.hollow(bytes, this.fail(error));
    }
  }

  private recycle(owner: Owner): void {
    const memory = owner.memory as Memory | undefined;
    owner.memory = undefined;
    if (!memory || memory.hollow) return;
    this.used -= memory.bytes;
    if (memory.bytes < POOLED_FROM || this.pooled + memory.bytes > POOL_BYTES) return;
    const list = this.pool.get(memory.bytes);
    if (list) list.push(memory);
    else this.pool.set(memory.bytes, [memory]);
    this.pooled += memory.bytes;
  }

  /** Makes a buffer and counts it; a MemoryError where the machine has no room for it. */
  private account(bytes: number, make: () => Memory): Memory {
    if (bytes >= LARGE) {
      this.settle();
      const limit = memoryLimit();
      if (this.used + this.pooled + bytes > limit) this.emptyCache();
      if (this.used + bytes > limit) throw this.noRoom(bytes);
    }
    let memory: Memory;
    try {
      memory = make();
    } catch (error) {
      if (error instanceof RangeError) throw this.noRoom(bytes);
      throw error;
    }
    this.used += bytes;
    if (this.used > this.settled + SETTLE_BYTES) this.settle();
    this.peak = Math.max(this.peak, this.used);
    return memory;
  }

  private noRoom(bytes: number): MemoryError {
    return new MemoryError(
      `device js: there is no room for ${bytes} bytes: ${this.used} of ${memoryLimit()} are in use; ` +
        "use smaller tensors or dispose of some",
    );
  }

  /** Corrects the count by what V8 says all array buffers of this thread take. */
  private settle(): void {
    this.used = Math.max(0, Math.min(this.used, process.memoryUsage().arrayBuffers - this.pooled));
    this.settled = this.used;
  }

  adjustMemory(): void {} // V8 sees array buffers by itself

  memory(): MemoryUse {
    this.settle();
    return { inUse: this.used, pooled: this.pooled, peak: this.peak };
  }

  emptyCache(): void {
    this.pool.clear();
    this.pooled = 0;
  }

  setThreads(): void {} // kernels run on the calling thread

  getThreads(): number {
    return 1;
  }

  describe(): Record<string, string | number> {
    return { isa: "javascript", threads: 1, v8: process.versions.v8 };
  }
}

const none = new Int32Array(0);

function memoryLimit(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  const total = totalmem();
  return constrained > 0 && constrained < total ? constrained : total;
}

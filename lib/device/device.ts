// The interface of a device: what the tensor core hands to `lib/device/js` and, through `native.ts`, to the addons.
//
// How the core uses it
// --------------------
// The core keeps one object per buffer, its `Storage`, which implements `Owner`: `{ slot: -1, memory: undefined }` at
// birth; both fields belong to the device from then on. Instructions name a buffer by `device.bind(storage)`:
//
//   const slot = device.bind(storage);      // new storage: then write `alloc slot bytes` (or `adopt slot staging`)
//   words[n++] = device.bind(storage);      // operand of an instruction, slot of a `replay`
//   const slot = device.release(storage);   // early release: then write `free slot`; never use the storage again
//   for (const slot of device.sweep()) …    // write `free slot` for each, before the next `bind`
//
// A slot is good until the next `flush` or `submit`, so make room in the stream first and bind afterwards, and call
// `bind` for every operand that is written (an integer comparison when the storage is bound already).
//
// Why: JavaScript cannot learn inside a synchronous loop that an object was collected (FinalizationRegistry callbacks
// and WeakRefs wait for the end of the job), so a table of slots that holds memory would grow without bound there.
// On the JS device the memory therefore hangs on the owner alone (`owner.memory`), slots are numbered afresh in every
// batch, `bind` keeps the owner alive until the batch has run, and a dropped owner is ordinary garbage: `sweep` is
// always empty. The native device gives an owner one slot for life at its first `bind`, watches it through a weak
// reference (`track`; owners of small buffers in groups, together), and reports it in `sweep` once it was collected; a
// number is given out again only after that or after `release`. The core does the same on both.
//
// Errors: an instruction that fails poisons its unwritten outputs and the first such error stays pending. `flush`,
// `read` and `sync` throw it; `submit` does not.

/** What a device asks of the object that owns a buffer. */
export interface Owner {
  /** The buffer's name in the stream, −1 while it has none. Written by the device only. */
  slot: number;
  /** The device's own record of the buffer; undefined at birth. Written by the device only. */
  memory: unknown;
  /** Size of the buffer. */
  readonly bytes: number;
}

export interface MemoryUse {
  /** Bytes of live buffers. */
  inUse: number;
  /** Bytes kept for reuse. */
  pooled: number;
  /** The highest `inUse` so far. */
  peak: number;
}

export interface Device {
  /** `"js"`, `"cpu"`, `"cuda"`. */
  readonly name: string;
  /** Op name → op id, control instructions (`alloc`, `free`, `adopt`, `replay`) included. */
  readonly ops: ReadonlyMap<string, number>;
  /** Element-wise function name → fn. */
  readonly elementwise: ReadonlyMap<string, number>;
  /** The command stream shared with the executor. */
  readonly stream: Int32Array;

  /** The slot that names this owner's buffer in the pending batch. */
  bind(owner: Owner): number;
  /** Gives the owner up; returns the slot for which the caller writes `free`. */
  release(owner: Owner): number;
  /** Slots whose owners were collected, for each of which the caller writes `free`. */
  sweep(): Int32Array | readonly number[];

  /** Executes the first `words` words of the stream; throws decode errors and pending errors. */
  flush(words: number): void;
  /** The same without waiting; errors stay pending. */
  submit(words: number): void;
  /** Copies bytes of a buffer out, after everything flushed or submitted and the first `words` words of the stream. */
  read(owner: Owner, byteOffset: number, target: ArrayBufferView, words: number): void;
  readAsync(owner: Owner, byteOffset: number, target: ArrayBufferView): Promise<void>;
  /** Waits for everything submitted and throws a pending error. */
  sync(): void;
  syncAsync(): Promise<void>;
  /** Copies host data into a device buffer; returns the staging id that `adopt` takes, once. */
  stage(source: ArrayBufferView): number;

  /** Decodes and verifies a program; returns the id that `replay` takes. */
  load(words: Int32Array): number;
  unload(id: number): void;

  /** Tells V8 about memory that it does not see. */
  adjustMemory(delta: number): void;
  memory(): MemoryUse;
  emptyCache(): void;
  setThreads(n: number): void;
  getThreads(): number;
  /** Facts for `nabla doctor`: isa, version, … */
  describe(): Record<string, string | number>;
}

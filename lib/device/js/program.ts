// A loaded program: verified once, then replayed over its arena and the buffers bound to it.
import { ProgramError } from "../../errors.js";
import { decode, freshCall, instructionLength, readBytes } from "./decode.js";
import { type Call, type Failure, hasWork, type Kernel, type Memory, nowhere, sizes, type View } from "./view.js";

const MAGIC = 0x4e424c31;
const HEADER = 7;
const SLOT_WORDS = 5;

interface Step {
  kernel: Kernel;
  call: Call;
}

export class Program {
  /** Minimum sizes of the buffers to bind, in the order of binding. */
  readonly boundBytes: number[] = [];
  readonly nParams: number;
  /** For each bound buffer: whether the program writes it. */
  readonly writes: boolean[] = [];
  private readonly boundViews: View[][] = [];
  /** Slot of the program → its place among the bound ones, −1 for the arena. */
  private readonly boundAs: number[] = [];
  private readonly parameters: { view: View; dtype: number; index: number }[] = [];
  private readonly steps: Step[] = [];
  readonly arena: Memory;

  /** Throws ProgramError unless every word obeys docs/kernels.md. `kernels[id]` is undefined for control instructions. */
  constructor(
    words: Int32Array,
    names: readonly string[],
    kernels: readonly (Kernel | undefined)[],
    allocate: (bytes: number) => Memory,
  ) {
    const fail = (why: string): never => {
      throw new ProgramError(`program: ${why}`);
    };
    if (words.length < HEADER || words[0] !== MAGIC) fail("it does not begin with the magic word");
    if (words[1] !== words.length) fail(`it says ${words[1]} words and has ${words.length}`);
    const nSlots = words[2];
    this.nParams = words[3];
    const nInstructions = words[6];
    if (nSlots < 0 || nSlots > (words.length - HEADER) / SLOT_WORDS) fail(`${nSlots} slots do not fit`);
    if (this.nParams < 0 || nInstructions < 0) fail("negative counts");
    const arenaBytes = readBytes(words, 4);

    const bytes: number[] = [];
    const offsets: number[] = [];
    for (let i = 0; i < nSlots; i++) {
      const at = HEADER + i * SLOT_WORDS;
      bytes.push(readBytes(words, at + 1));
      const offset = readBytes(words, at + 3);
      offsets.push(offset);
      if (words[at] === 1) {
        if (offset % 64 !== 0 || offset + bytes[i] > arenaBytes) fail(`slot ${i} lies outside the arena`);
        this.boundAs.push(-1);
      } else if (words[at] === 0) {
        if (offset !== 0) fail(`bound slot ${i} has an arena offset`);
        this.boundAs.push(this.boundBytes.length);
        this.boundBytes.push(bytes[i]);
        this.boundViews.push([]);
        this.writes.push(false);
      } else fail(`slot ${i} is of kind ${words[at]}`);
    }
    const slots = {
      bytes: (slot: number) => (slot >= 0 && slot < nSlots ? bytes[slot] : fail(`there is no slot ${slot}`)),
      region: (slot: number) => this.boundAs[slot],
      base: (slot: number) => offsets[slot],
    };
    const parameter = (view: View, dtype: number, index: number) => {
      if (index < 0 || index >= this.nParams) fail(`there is no parameter ${index}`);
      this.parameters.push({ view, dtype, index });
    };

    let at = HEADER + nSlots * SLOT_WORDS;
    for (let i = 0; i < nInstructions; i++) {
      const length = instructionLength(words, at, words.length);
      const kernel = kernels[words[at]];
      if (!kernel) throw new ProgramError(`program: instruction ${i} has op ${words[at]}, which it cannot contain`);
      const call = freshCall(words, at, names[words[at]]);
      decode(words, at, call, kernel, slots, parameter);
      for (const view of call.out) {
        const k = this.boundAs[view.slot];
        if (k >= 0) this.writes[k] = true;
      }
      this.steps.push({ kernel, call });
      at += length;
    }
    if (at !== words.length) fail(`${words.length - at} words are left over`);

    this.arena = allocate(arenaBytes);
    for (const { call } of this.steps) {
      for (const view of [...call.out, ...call.in]) {
        if (!view.present || view.slot < 0) continue;
        const k = this.boundAs[view.slot];
        if (k >= 0) this.boundViews[k].push(view);
        else {
          view.offset += offsets[view.slot] / sizes[view.dtype];
          view.data = this.arena.array(view.dtype);
        }
      }
    }
  }

  /**
   * Runs all instructions; `bound` are the buffers in order, as many as there should be. An instruction that fails, or
   * reads what a failed one should have written, poisons its outputs, as in the stream; the others run. `caught` turns
   * an error into a failure.
   */
  replay(bound: readonly Memory[], params: readonly number[], caught: (error: unknown) => Failure): void {
    let clean = true;
    for (let i = 0; i < bound.length; i++) {
      const memory = bound[i];
      if (memory.bytes < this.boundBytes[i]) {
        throw new ProgramError(`replay: buffer ${i} has ${memory.bytes} bytes, ${this.boundBytes[i]} are needed`);
      }
      const first = bound.indexOf(memory);
      if (first < i && (this.writes[i] || this.writes[first])) {
        throw new ProgramError(`replay: buffer ${i} is bound twice and written`);
      }
      if (memory.failure) clean = false;
    }
    for (let i = 0; i < bound.length; i++) {
      if (!bound[i].hollow) for (const view of this.boundViews[i]) view.data = bound[i].array(view.dtype);
    }
    for (const { view, dtype, index } of this.parameters) view.setScalar(dtype, params[index]);
    const spoilt: (Failure | undefined)[] = []; // slots of the arena
    for (const { kernel, call } of this.steps) {
      let failure = clean ? undefined : this.inherited(call, bound, spoilt);
      if (!failure) {
        try {
          if (hasWork(call)) kernel.run(call);
        } catch (error) {
          failure = caught(error);
          clean = false;
        }
      }
      for (const { slot } of call.out) {
        const k = this.boundAs[slot];
        if (k < 0) spoilt[slot] = failure ?? spoilt[slot];
        else if (failure) bound[k].poison(failure);
        else bound[k].written = true;
      }
    }
    for (const views of this.boundViews) for (const view of views) view.data = nowhere; // keeps no buffer alive
  }

  /** The failure of a buffer that the call needs. */
  private inherited(
    call: Call,
    bound: readonly Memory[],
    spoilt: readonly (Failure | undefined)[],
  ): Failure | undefined {
    for (const { slot } of call.out) if (bound[this.boundAs[slot]]?.hollow) return bound[this.boundAs[slot]].failure;
    for (const { slot } of call.in) {
      const failure = slot < 0 ? undefined : (bound[this.boundAs[slot]]?.failure ?? spoilt[slot]);
      if (failure) return failure;
    }
    return undefined;
  }
}

// Merges element-wise instructions into one: the registers of docs/kernels.md, section "elementwise".
import type { Device } from "../device/device.js";
import { computeDType, dtypeFacts } from "../tensor/dtype.js";
import type { Storage } from "../tensor/storage.js";
import type { Instruction } from "./capture.js";
import { type Operand, Scalar, type View } from "./encode.js";

export const MAX_STEPS = 64;
export const MAX_INPUTS = 32;
export const MAX_OUTPUTS = 16;

const ids = new WeakMap<Storage, number>();
let nextId = 0;

/** A number for a storage, good for keys. */
function storageId(storage: Storage): number {
  let id = ids.get(storage);
  if (id === undefined) {
    id = nextId++;
    ids.set(storage, id);
  }
  return id;
}

/** Equal for views of the same elements in the same order. */
export const viewKey = (v: View): string =>
  `${storageId(v.storage)} ${v.dtype} ${v.offset} ${v.shape.length === 0 ? "" : `${v.shape} ${v.strides}`}`;

interface Step {
  readonly fn: number;
  readonly ctype: number;
  readonly args: readonly (Register | null)[];
}
type Register = { readonly input: Operand } | Step;

export interface Merged {
  readonly attrs: readonly number[];
  readonly ins: readonly Operand[];
}

/**
 * One register program that does what `instructions` do one after the other and delivers the values of the views
 * `outs`. `given` fixes the first inputs. A read of a view that an earlier instruction wrote takes that register.
 */
export function merge(
  device: Device,
  instructions: readonly Instruction[],
  outs: readonly View[],
  given: readonly View[] = [],
): Merged {
  const copy = device.elementwise.get("copy") as number;
  const registers = new Map<string, Register>();
  const ins: Operand[] = [];
  const input = (x: Operand): Register => {
    const register = { input: x };
    ins.push(x);
    return register;
  };
  for (const v of given) registers.set(viewKey(v), input(v));
  const scalars = new Map<string | Scalar, Register>();
  const read = (x: Operand): Register => {
    const known = x instanceof Scalar ? scalars : (registers as Map<unknown, Register>);
    const key =
      x instanceof Scalar
        ? typeof x.value === "function"
          ? x
          : `${x.dtype} ${Object.is(x.value, -0) ? "-0" : x.value}`
        : viewKey(x as View);
    let register = (known as Map<unknown, Register>).get(key);
    if (!register) {
      register = input(x);
      (known as Map<unknown, Register>).set(key, register);
    }
    return register;
  };
  const steps: Step[] = [];
  for (const { attrs, ins: operands, outs: results } of instructions) {
    const local = operands.map(read);
    const nSteps = attrs[0];
    for (let s = 0, p = 1; s < nSteps; s++, p += 5) {
      const args = [attrs[p + 2], attrs[p + 3], attrs[p + 4]].map((r) => (r < 0 ? null : local[r]));
      const step: Step = { fn: attrs[p], ctype: attrs[p + 1], args };
      steps.push(step);
      local.push(step);
    }
    results.forEach((v, i) => {
      let result = local[attrs[1 + 5 * nSteps + i]];
      const ctype = dtypeFacts[computeDType(v.dtype)].code;
      if (!("input" in result) && result.ctype !== ctype && v.dtype !== "bool") {
        // The store converts, and so must a later read of the register.
        result = { fn: copy, ctype, args: [result, null, null] };
        steps.push(result);
      }
      registers.set(viewKey(v), result);
    });
  }
  const used = needed(outs.map((v) => registers.get(viewKey(v)) as Register));
  const kept = steps.filter((s) => used.has(s));
  // Given inputs keep their places; others that only dead steps read go.
  const keptIns = ins.filter((x, i) => i < given.length || [...used].some((r) => "input" in r && r.input === x));
  const numbers = new Map<Register, number>();
  for (const r of [...registers.values(), ...scalars.values(), ...used]) {
    if ("input" in r) numbers.set(r, keptIns.indexOf(r.input));
  }
  kept.forEach((s, i) => {
    numbers.set(s, keptIns.length + i);
  });
  const number = (r: Register | null): number => (r === null ? -1 : (numbers.get(r) as number));
  const attrs = [kept.length];
  for (const s of kept) attrs.push(s.fn, s.ctype, number(s.args[0]), number(s.args[1]), number(s.args[2]));
  for (const v of outs) attrs.push(number(registers.get(viewKey(v)) as Register));
  return { attrs, ins: keptIns };
}

function needed(roots: readonly Register[]): Set<Register> {
  const used = new Set<Register>();
  const stack = [...roots];
  for (let r = stack.pop(); r; r = stack.pop()) {
    if (used.has(r)) continue;
    used.add(r);
    if (!("input" in r)) for (const a of r.args) if (a) stack.push(a);
  }
  return used;
}

/** A merged program whose inputs are symbols, to be used with any operands; numbers follow the inputs. */
export interface Template {
  readonly attrs: readonly number[];
  readonly constants: readonly Scalar[];
}

export function mergeElementwise(
  device: Device,
  instructions: readonly Instruction[],
  inputs: readonly View[],
  outs: readonly View[],
): Template {
  const { attrs, ins } = merge(device, instructions, outs, inputs);
  return { attrs, constants: ins.slice(inputs.length) as Scalar[] };
}

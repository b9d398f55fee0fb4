// Writes command streams and programs word by word and hands them to the addon: for the tests of the engine, in their
// own process and in others.
import { createRequire } from "node:module";
import { join } from "node:path";

export const addonPath = process.env.NABLA_ADDON ?? join(import.meta.dirname, "../../build/Release/nablajs.node");

export const float32 = 0;
export const float64 = 1;
export const int32 = 4;
export const int64 = 5;
export const bool = 7;

const float = new Float64Array(1);
const pair = new Int32Array(float.buffer);
/** The two words of a float64. */
export const words = (value) => {
  float[0] = value;
  return [...pair];
};
export const long = (value) => [value | 0, Math.floor(value / 2 ** 32)];

/** A contiguous view, or one of the given strides. */
export function view(slot, shape, { dtype = float32, offset = 0, strides } = {}) {
  const steps = strides ?? shape.map((_, i) => shape.slice(i + 1).reduce((n, m) => n * m, 1));
  return [(dtype << 8) | (shape.length << 16), slot, offset, ...shape, ...steps];
}
export const number = (value, dtype = float32) => [1 | (dtype << 8), ...words(value)];
export const integer = (value, dtype = int64) => [1 | (dtype << 8), ...long(value)];
export const parameter = (index, dtype = float32) => [2 | (dtype << 8), index];
export const nothing = [3];

export class Engine {
  constructor(path = addonPath, size = 1 << 16) {
    this.addon = createRequire(import.meta.url)(path);
    const { ops, elementwise } = this.addon.info();
    this.ops = ops;
    this.functions = elementwise;
    this.stream = new Int32Array(size);
    this.addon.open(this.stream);
    this.end = 0;
  }

  /** The words of an instruction. */
  instruction(name, attributes, outputs = [], inputs = []) {
    const operands = [...outputs, ...inputs].flat();
    const length = 5 + attributes.length + operands.length;
    return [
      this.ops.indexOf(name),
      length,
      outputs.length,
      inputs.length,
      attributes.length,
      ...attributes,
      ...operands,
    ];
  }

  /** One element-wise function of one or two operands, computed in `ctype`. */
  apply(name, output, inputs, ctype = float32) {
    const registers = [0, 1, 2].map((i) => (i < inputs.length ? i : -1));
    const step = [this.functions.indexOf(name), ctype, ...registers];
    return this.instruction("elementwise", [1, ...step, inputs.length], [output], inputs);
  }

  alloc = (slot, bytes) => this.instruction("alloc", [slot, ...long(bytes)]);
  free = (slot) => this.instruction("free", [slot]);
  adopt = (slot, source) => this.instruction("adopt", [slot, this.addon.stage(source)]);
  replay = (program, slots, parameters = []) =>
    this.instruction("replay", [program, ...slots, ...parameters.flatMap(words)]);

  /** The words of a program; a slot is { bytes } or { bytes, offset } for one in the arena. */
  program(slots, instructions, { parameters = 0, arena = 0 } = {}) {
    const table = slots.flatMap(({ bytes, offset }) => [
      offset === undefined ? 0 : 1,
      ...long(bytes),
      ...long(offset ?? 0),
    ]);
    const program = [0x4e424c31, 0, slots.length, parameters, ...long(arena), instructions.length, ...table];
    program.push(...instructions.flat());
    program[1] = program.length;
    return Int32Array.from(program);
  }

  write(...instructions) {
    for (const words of instructions) {
      this.stream.set(words, this.end);
      this.end += words.length;
    }
    return this;
  }
  flush() {
    const n = this.end;
    this.end = 0;
    this.addon.flush(n);
  }
  submit() {
    const n = this.end;
    this.end = 0;
    this.addon.submit(n);
  }
  /** Executes these instructions now. */
  run(...instructions) {
    this.write(...instructions).flush();
  }
  read(slot, count, Type = Float32Array) {
    const target = new Type(count);
    this.addon.read(slot, 0, target);
    return [...target];
  }
}

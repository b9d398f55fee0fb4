// Corrupts the words of valid instructions and programs: a device must throw typed errors and leave other buffers alone.
import { expect, it } from "vitest";
import type { Device, Owner } from "../../lib/device/device.js";
import { NablaError } from "../../lib/errors.js";
import {
  Bench,
  doubleWords,
  elementwise,
  encodeInstruction,
  encodeProgram,
  type Instruction,
  type Operand,
} from "./encode.js";

/** A small generator with a seed (xorshift32, Marsaglia 2003), so that a failure can be repeated. */
function random(seed: number): (n: number) => number {
  let x = seed;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

const odd = [-1, -2, 0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 255, 256, 1 << 8, 1 << 16, 3 << 16, 0x7fffffff, -0x80000000];

function corrupt(words: number[], next: (n: number) => number): number[] {
  const copy = words.slice();
  for (let k = next(3); k >= 0; k--) {
    const at = next(copy.length);
    copy[at] = next(3) === 0 ? copy[at] + next(5) - 2 : next(8) === 0 ? next(2 ** 31) : odd[next(odd.length)];
  }
  return next(20) === 0 ? copy.slice(0, next(copy.length)) : copy;
}

/** One valid instruction of each family; `view` makes operands of float32 (slots 0 and 1 are outputs). */
function instructions(
  device: Device,
  view: (slot: number, shape: number[]) => Operand,
  index: (slot: number, shape: number[]) => Operand,
): Instruction[] {
  const scalar = (value: number): Operand => ({ dtype: "float64", value });
  const one = (op: string, attr: number[], out: Operand[], inputs: Operand[]): Instruction => ({
    op,
    attr,
    out,
    in: inputs,
  });
  const v = view;
  const fn = (name: string): number => device.elementwise.get(name) as number;
  const epilogue = [2, fn("add"), 0, 0, 1, -1, fn("relu"), 0, 2, -1, -1, 3];
  return [
    elementwise(device, "add", "float32", v(0, [2, 6]), v(2, [2, 6]), v(3, [2, 6])),
    elementwise(device, "where", "int32", v(0, [12]), v(2, [12]), v(3, [12]), { dtype: "int32", value: 3 }),
    one("arange", [], [v(0, [12])], [scalar(0), scalar(1)]),
    one("uniform", [], [v(0, [12])], [scalar(1), scalar(0)]),
    one("randint", [], [v(0, [12])], [scalar(1), scalar(0), scalar(0), scalar(5)]),
    one("sum", [1], [v(0, [3])], [v(2, [3, 4])]),
    one("argmax", [1], [index(1, [3])], [v(2, [3, 4])]),
    one("cumsum", [], [v(0, [3, 4])], [v(2, [3, 4])]),
    one("sort", [0], [v(0, [12]), index(1, [12])], [v(2, [12])]),
    one("matmul", [], [v(0, [1, 3, 3])], [v(2, [1, 3, 4]), v(3, [1, 4, 3])]),
    // relu(product + input), its result on that input
    one("matmulFused", epilogue, [v(0, [1, 3, 3])], [v(2, [1, 3, 4]), v(3, [1, 4, 3]), v(0, [1, 3, 3])]),
    one("softmaxGrad", [], [v(0, [3, 4])], [v(2, [3, 4]), v(3, [3, 4])]),
    one("normalize", [], [v(0, [2, 2, 2]), v(5, [2]), v(6, [2])], [v(2, [2, 2, 2]), scalar(1e-5)]),
    one("crossEntropy", [2], [v(0, []), v(5, [3, 2]), v(6, [])], [v(2, [3, 4]), index(4, [3]), scalar(-100)]),
    one(
      "crossEntropyGrad",
      [],
      [v(0, [3, 4])],
      [v(2, [3]), v(3, [3, 4]), v(5, [3, 2]), index(4, [3]), scalar(-100), scalar(3)],
    ),
    one(
      "attention",
      [1],
      [v(0, [1, 3, 4]), v(5, [1, 3])],
      [v(2, [1, 3, 2]), v(3, [1, 4, 2]), v(6, [1, 4, 4]), scalar(0.5)],
    ),
    one(
      "attentionGrad",
      [0],
      [v(0, [1, 3, 2]), v(1, [1, 4, 2]), v(6, [1, 4, 4])],
      [v(2, [1, 3, 2]), v(3, [1, 4, 2]), v(3, [1, 4, 4]), v(2, [1, 3, 4]), v(5, [1, 3]), v(2, [1, 3, 4]), scalar(0.5)],
    ),
    one("gather", [0], [v(0, [4])], [v(2, [12]), index(4, [4])]),
    one("scatter", [0, 1], [v(0, [12])], [index(4, [4]), v(2, [4])]),
    one("indexSelect", [1], [v(0, [3, 4])], [v(2, [3, 4]), index(4, [4])]),
    one("indexAdd", [0], [v(0, [12])], [index(4, [4]), v(2, [4])]),
    one("conv2d", [1, 1, 1, 1, 1, 1, 1], [v(0, [1, 1, 3, 4])], [v(2, [1, 1, 3, 4]), v(3, [1, 1, 3, 3])]),
    one("conv2dInputGrad", [1, 1, 1, 1, 1, 1, 1], [v(0, [1, 1, 3, 4])], [v(2, [1, 1, 3, 4]), v(3, [1, 1, 3, 3])]),
    one(
      "conv2dFused",
      [1, 1, 1, 1, 1, 1, 1, 3, 4, ...epilogue],
      [v(0, [1, 1, 12])],
      [v(2, [1, 1, 3, 4]), v(3, [1, 1, 3, 3]), v(0, [1, 1, 12])],
    ),
    one(
      "conv2dInputGradFused",
      [1, 1, 1, 1, 1, 1, 1, 3, 4, ...epilogue],
      [v(0, [1, 1, 12])],
      [v(2, [1, 1, 3, 4]), v(3, [1, 1, 3, 3]), v(1, [1, 1, 12])],
    ),
    one("conv2dWeightGrad", [1, 1, 1, 1, 1, 1, 1], [v(0, [1, 1, 3, 3])], [v(2, [1, 1, 3, 4]), v(3, [1, 1, 3, 4])]),
    one("maxPool2d", [2, 2, 1, 1, 0, 0, 1, 1], [v(0, [1, 1, 2, 3]), index(1, [1, 1, 2, 3])], [v(2, [1, 1, 3, 4])]),
    one("maxPool2dGrad", [], [v(0, [1, 1, 3, 4])], [v(2, [1, 1, 2, 3]), index(4, [1, 1, 2, 3])]),
    one("avgPool2dGrad", [2, 2, 1, 1, 0, 0, 1], [v(0, [1, 1, 3, 4])], [v(2, [1, 1, 2, 3])]),
  ];
}

const bytes = 96; // of every buffer: 12 int64, 24 float32

/** Adds the tests; `rounds` corruptions of each instruction, alone and as a program. */
export function testFuzz(device: Device, rounds: number): void {
  const bench = new Bench(device);
  const canary = bench.tensor("int32", [24], new Array(24).fill(0x5a5a5a5a));
  const reset = (): Owner[] => {
    const list: Owner[] = [];
    for (let i = 0; i < 7; i++) {
      const values = i === 4 ? [0, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0] : new Array(24).fill(i + 0.5);
      list.push(bench.tensor(i === 4 ? "int64" : "float32", [values.length], values).slot);
    }
    return list;
  };
  const attempt = (run: () => void, words: number[]) => {
    try {
      run();
    } catch (error) {
      if (!(error instanceof NablaError)) throw new Error(`not a typed error, for [${words}]`, { cause: error });
    }
  };
  const untouched = () => expect(new Set(bench.numbers(canary))).toEqual(new Set([0x5a5a5a5a]));

  it("corrupted instructions", () => {
    const next = random(20240607);
    for (let which = 0; which < instructions(device, blank, blank).length; which++) {
      for (let round = 0; round < rounds; round++) {
        const owners = reset();
        const words = instructions(
          device,
          (slot, shape) => ({ slot: owners[slot], dtype: "float32", shape }),
          (slot, shape) => ({ slot: owners[slot], dtype: "int64", shape }),
        ).flatMap((i, k) => (k === which ? encodeInstruction(device, i) : []));
        const bad = round === 0 ? words : corrupt(words, next);
        if (round === 0) bench.submit(bad);
        else attempt(() => bench.submit(bad), bad);
      }
      untouched();
    }
  });

  it("corrupted programs", () => {
    const next = random(77);
    for (let round = 0; round < rounds * 10; round++) {
      const owners = reset();
      const list = instructions(
        device,
        (slot, shape) => ({ slot, dtype: "float32", shape }),
        (slot, shape) => ({ slot, dtype: "int64", shape }),
      ).filter(() => next(6) === 0);
      list.push(elementwise(device, "mul", "float32", arena, arena, { dtype: "float32", parameter: 0 }));
      const slots = [...owners.map(() => ({ bytes })), { bytes, offset: 64 }];
      const words = [...encodeProgram(device, slots, list, { params: 1, arena: 192 })];
      const bad = round % 10 === 0 ? words : corrupt(words, next);
      attempt(() => {
        const id = device.load(Int32Array.from(bad));
        const attr = [id, ...owners.map((o) => device.bind(o)), ...doubleWords(2)];
        bench.run({ op: "replay", attr });
        device.unload(id);
      }, bad);
      if (round % 10 === 0) expect(() => device.unload(device.load(Int32Array.from(words)))).not.toThrow();
    }
    untouched();
  });
}

const arena: Operand = { slot: 7, dtype: "float32", shape: [24] };
const blank = (slot: number, shape: number[]): Operand => ({ slot, dtype: "float32", shape });

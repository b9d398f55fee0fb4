// Hands corrupt words to the addon: `node fuzz.mjs CASES SEED`. Each case must run or throw an error with a code; a crash
// ends the process. Says what came of the cases.
import { bool, Engine, float64, int64, integer, nothing, number, parameter, view } from "./engine.mjs";

const cases = Number(process.argv[2] ?? 10_000);
const seed = Number(process.argv[3] ?? 1);
const engine = new Engine();
const { addon } = engine;

// mulberry32
let state = seed;
const random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];
const wild = () =>
  pick([
    -1,
    0,
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    63,
    64,
    65,
    255,
    256,
    4096,
    65536,
    2 ** 31 - 1,
    -(2 ** 31),
    below(2 ** 32) | 0,
  ]);

const slots = 8;
const bytes = 512;
const v = (slot, shape, options) => view(slot, shape, options);
const i64 = (slot, shape) => view(slot, shape, { dtype: int64 });
const conv = [1, 1, 1, 1, 1, 1, 1];
const pool = [2, 2, 2, 2, 0, 0];
const two = (value) => number(value, float64);

/** relu(product + input) */
const epilogue = [2, engine.functions.indexOf("add"), 0, 0, 1, -1, engine.functions.indexOf("relu"), 0, 2, -1, -1, 3];

/** A valid instruction of every kernel, on the slots 0 … 7 of 512 bytes each. */
const valid = {
  elementwise: [
    [1, engine.functions.indexOf("add"), 0, 0, 1, -1, 2],
    [v(0, [4, 4])],
    [v(1, [4, 4]), v(2, [4, 4], { strides: [0, 1] })],
  ],
  arange: [[], [v(0, [9])], [two(1), two(2)]],
  uniform: [[], [v(0, [5, 5])], [two(7), two(0)]],
  normal: [[], [v(0, [5, 5])], [two(7), two(0)]],
  randint: [[], [i64(0, [5])], [two(7), two(0), two(-3), two(9)]],
  sum: [[1], [v(0, [4])], [v(1, [4, 6])]],
  prod: [[1], [v(0, [4])], [v(1, [4, 6])]],
  mean: [[2], [v(0, [])], [v(1, [4, 6])]],
  max: [[1], [v(0, [4])], [v(1, [4, 6])]],
  min: [[1], [v(0, [6])], [v(1, [6, 4], { strides: [1, 6] })]],
  any: [[1], [v(0, [4], { dtype: bool })], [v(1, [4, 6])]],
  all: [[1], [v(0, [4], { dtype: bool })], [v(1, [4, 6])]],
  argmax: [[1], [i64(0, [4])], [v(1, [4, 6])]],
  argmin: [[1], [i64(0, [4])], [v(1, [4, 6])]],
  cumsum: [[], [v(0, [4, 6])], [v(1, [4, 6])]],
  cumprod: [[], [v(0, [4, 6])], [v(1, [4, 6])]],
  sort: [[0], [v(0, [4, 6]), i64(2, [4, 6])], [v(1, [4, 6])]],
  matmul: [[], [v(0, [2, 3, 4])], [v(1, [2, 3, 5]), v(2, [2, 5, 4], { strides: [0, 4, 1] })]],
  matmulFused: [epilogue, [v(0, [2, 3, 4])], [v(1, [2, 3, 5]), v(2, [2, 5, 4]), v(0, [2, 3, 4])]],
  softmax: [[], [v(0, [4, 6])], [v(1, [4, 6])]],
  logSoftmax: [[], [v(0, [4, 6])], [v(1, [4, 6])]],
  softmaxGrad: [[], [v(0, [4, 6])], [v(1, [4, 6]), v(2, [4, 6])]],
  logSoftmaxGrad: [[], [v(0, [4, 6])], [v(1, [4, 6]), v(2, [4, 6])]],
  normalize: [[], [v(0, [2, 4, 3]), v(2, [4]), v(3, [4])], [v(1, [2, 4, 3]), two(1e-5)]],
  normalizeGrad: [[], [v(0, [2, 4, 3])], [v(1, [2, 4, 3]), v(2, [2, 4, 3]), v(3, [4])]],
  crossEntropy: [[2], [v(0, []), v(2, [4, 2]), v(3, [])], [v(1, [4, 6]), i64(7, [4]), two(-100)]],
  crossEntropyGrad: [[], [v(0, [4, 6])], [v(1, [4]), v(2, [4, 6]), v(3, [4, 2]), i64(7, [4]), two(-100), two(4)]],
  attention: [
    [1],
    [v(0, [2, 3, 4]), v(1, [2, 3])],
    [v(2, [2, 3, 5]), v(3, [2, 4, 5]), v(4, [2, 4, 4]), two(0.5), v(5, [2, 3, 4])],
  ],
  attentionGrad: [
    [0],
    [v(0, [2, 3, 5]), v(1, [2, 4, 5]), v(6, [2, 4, 4])],
    [v(2, [2, 3, 5]), v(3, [2, 4, 5]), v(4, [2, 4, 4]), v(5, [2, 3, 4]), v(7, [2, 3]), v(5, [2, 3, 4]), two(0.5)],
  ],
  gather: [[1], [v(0, [4, 6])], [v(1, [4, 6]), i64(7, [4, 6])]],
  scatter: [[1, 1], [v(0, [4, 6])], [i64(7, [4, 6]), v(1, [4, 6])]],
  indexSelect: [[0], [v(0, [5, 6])], [v(1, [4, 6]), i64(7, [5])]],
  indexAdd: [[0], [v(0, [4, 6])], [i64(7, [5]), v(1, [5, 6])]],
  conv2d: [conv, [v(0, [1, 2, 4, 4])], [v(1, [1, 2, 4, 4]), v(2, [2, 2, 3, 3])]],
  conv2dInputGrad: [conv, [v(0, [1, 2, 4, 4])], [v(1, [1, 2, 4, 4]), v(2, [2, 2, 3, 3])]],
  conv2dFused: [
    [...conv, 4, 4, ...epilogue],
    [v(0, [1, 2, 16])],
    [v(1, [1, 2, 4, 4]), v(2, [2, 2, 3, 3]), v(3, [1, 2, 16])],
  ],
  conv2dInputGradFused: [
    [...conv, 4, 4, ...epilogue],
    [v(0, [1, 2, 16])],
    [v(1, [1, 2, 4, 4]), v(2, [2, 2, 3, 3]), v(0, [1, 2, 16])],
  ],
  conv2dWeightGrad: [conv, [v(0, [2, 2, 3, 3])], [v(1, [1, 2, 4, 4]), v(2, [1, 2, 4, 4])]],
  maxPool2d: [[...pool, 1, 1], [v(0, [1, 2, 2, 2]), i64(2, [1, 2, 2, 2])], [v(1, [1, 2, 4, 4])]],
  maxPool2dGrad: [[], [v(0, [1, 2, 4, 4])], [v(1, [1, 2, 2, 2]), i64(2, [1, 2, 2, 2])]],
  avgPool2d: [[...pool, 1], [v(0, [1, 2, 2, 2])], [v(1, [1, 2, 4, 4])]],
  avgPool2dGrad: [[...pool, 1], [v(0, [1, 2, 4, 4])], [v(1, [1, 2, 2, 2])]],
};
const kernels = engine.ops.slice(0, engine.ops.indexOf("alloc"));
const missing = kernels.filter((name) => !(name in valid));
if (missing.length) throw new Error(`no instruction for ${missing}`);
const instructions = kernels.map((name) => engine.instruction(name, ...valid[name]));

const outcomes = { ran: 0 };
const attempt = (run) => {
  try {
    run();
    outcomes.ran++;
  } catch (error) {
    if (!["PROGRAM", "INDEX", "MEMORY", "DISPOSED"].includes(error.code)) throw error;
    outcomes[error.code] = (outcomes[error.code] ?? 0) + 1;
  }
};
/** Slots back to live buffers of zeros, whatever happened before. */
const reset = () => {
  for (let slot = 0; slot < slots; slot++) {
    attempt(() => engine.run(engine.free(slot)));
    engine.run(engine.adopt(slot, new Uint8Array(bytes)));
  }
};

reset();
for (const [i, instruction] of instructions.entries()) {
  try {
    engine.run(instruction);
  } catch (error) {
    throw new Error(`${kernels[i]}: the valid instruction fails: ${error.message}`);
  }
}

/** Words with a few of them overwritten, swapped, removed or doubled. */
const mutate = (words) => {
  const result = [...words];
  for (let n = 1 + below(3); n > 0; n--) {
    const at = below(result.length);
    const kind = below(10);
    if (kind < 6) result[at] = wild();
    else if (kind < 8) result[at] = (result[at] + pick([-1, 1, 256, 65536])) | 0;
    else if (kind < 9) result.splice(at, 1);
    else result.splice(at, 0, wild());
  }
  return result;
};

const bound = Array.from({ length: slots }, (_, slot) =>
  slot < 4 ? { bytes } : { bytes, offset: (slot - 4) * bytes },
);
const scale = engine.apply("mul", v(0, [4, 4]), [v(1, [4, 4]), parameter(0)]);
const programs = instructions.map((instruction, i) =>
  engine.program(bound, [scale, instruction, pick(instructions)], { parameters: 1, arena: 4 * bytes + (i % 2) * 64 }),
);
const loaded = [];

for (let n = 0; n < cases; n++) {
  const kind = below(10);
  if (kind < 5) {
    const words = mutate(pick(instructions));
    attempt(() => engine.run(words.slice(0, 1000)));
  } else if (kind < 8) {
    const words = Int32Array.from(mutate(pick(programs)));
    if (below(4)) words[1] = words.length; // so that more is read than the header
    attempt(() => loaded.push(addon.load(words)));
    if (loaded.length) attempt(() => engine.run(engine.replay(pick(loaded), [0, 1, 2, 3], [random()])));
    if (loaded.length > 50) addon.unload(loaded.shift());
  } else if (kind < 9) {
    const control = pick([
      engine.instruction("alloc", [below(slots), wild(), pick([0, 0, 0, wild()])]),
      engine.free(below(slots)),
      engine.instruction("adopt", [below(slots), wild()]),
      engine.replay(pick([...loaded, wild()]), [wild(), 1, 2, 3], [random()]),
      engine.instruction("gather", [0], [v(0, [2])], [nothing, integer(1)]),
    ]);
    attempt(() => engine.run(below(2) ? mutate(control) : control));
  } else {
    const words = Array.from({ length: 1 + below(40) }, wild);
    attempt(() => engine.run(words));
  }
  if (n % 20 === 0) reset();
  if (n % 500 === 0) {
    // Slots that a wild word made.
    for (const slot of [8, 9, 63, 64, 65, 255, 256, 4096, 65536]) attempt(() => engine.run(engine.free(slot)));
  }
}
for (const id of loaded) addon.unload(id);
console.log(JSON.stringify(outcomes));

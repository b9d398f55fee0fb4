import { describe, expect, it } from "vitest";
import type { Owner } from "../../../lib/device/device.js";
import { JsDevice } from "../../../lib/device/js/index.js";
import { DisposedError, IndexError, MemoryError, ProgramError } from "../../../lib/errors.js";
import { Bench, doubleWords, elementwise, encodeInstruction, encodeProgram, longWords } from "../encode.js";

const device = new JsDevice();
const bench = new Bench(device);
const f = (value: number) => ({ dtype: "float32", value }) as const;

describe("the stream", () => {
  it("runs instructions in order in one batch", () => {
    const a = bench.tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
    const b = bench.empty("float32", [2, 3]);
    const c = bench.empty("float32", [2]);
    bench.run(elementwise(device, "mul", "float32", b, a, f(2)), { op: "sum", attr: [1], out: [c], in: [b] });
    expect(bench.numbers(c)).toEqual([12, 30]);
  });

  it("computes a chain with several outputs in one instruction, over inputs", () => {
    const a = bench.tensor("float32", [3], [1, 2, 3]);
    const b = bench.tensor("int32", [], [10]);
    const y = bench.empty("bool", [3]);
    const fn = (name: string) => device.elementwise.get(name)!;
    // r2 = a · b; r3 = r2 + a; r4 = r3 > b, compared as int32
    const attr = [3, fn("mul"), 0, 0, 1, -1, fn("add"), 0, 2, 0, -1, fn("gt"), 4, 3, 1, -1, 4, 3];
    bench.run({ op: "elementwise", attr, out: [y, a], in: [a, b] });
    expect(bench.numbers(a)).toEqual([11, 22, 33]);
    expect(bench.numbers(y)).toEqual([1, 1, 1]);
  });

  it("fills and copies in bulk", () => {
    const y = bench.empty("float16", [5, 40]);
    const z = bench.empty("float16", [5, 40]);
    const inner = { ...y, shape: [5, 36], strides: [40, 1], offset: 2 };
    bench.run(
      elementwise(device, "copy", "float32", y, { dtype: "float64", value: 0 }),
      elementwise(device, "copy", "float32", inner, f(1 / 3)),
      elementwise(device, "copy", "float32", z, y),
    );
    const row = [0, 0, ...new Array(36).fill(0x3555), 0, 0];
    expect(bench.numbers(z)).toEqual([row, row, row, row, row].flat());
  });

  it("frees, reuses and refuses freed buffers", () => {
    const a = bench.tensor("float64", [4096], new Array(4096).fill(1));
    const before = device.memory();
    bench.run({ op: "free", attr: [device.release(a.slot)] });
    const after = device.memory();
    expect(before.inUse - after.inUse).toBe(32768);
    expect(after.pooled - before.pooled).toBe(32768);
    expect(() => bench.numbers(a)).toThrow(DisposedError);
    device.emptyCache();
    expect(device.memory().pooled).toBe(0);
  });

  it("reads parts, in bytes", async () => {
    const a = bench.tensor("int64", [3], [1, -2, 3]);
    const target = new BigInt64Array(2);
    await device.readAsync(a.slot, 8, target);
    expect([...target]).toEqual([-2n, 3n]);
    expect(() => device.read(a.slot, 16, target, 0)).toThrow(ProgramError);
  });
});

describe("errors", () => {
  it("a failed instruction poisons what it would have written, and no more", () => {
    const x = bench.tensor("float32", [3], [1, 2, 3]);
    const index = bench.tensor("int64", [1], [3]);
    const y = bench.empty("float32", [1]);
    const z = bench.empty("float32", [1]);
    const fine = bench.empty("float32", [3]);
    const words = [
      { op: "indexSelect", attr: [0], out: [y], in: [x, index] },
      elementwise(device, "neg", "float32", z, y),
      elementwise(device, "neg", "float32", fine, x),
    ].flatMap((i) => encodeInstruction(device, i));
    device.stream.set(words);
    device.submit(words.length);
    expect(() => device.sync()).toThrow(IndexError);
    expect(() => device.sync()).not.toThrow();
    expect(bench.numbers(fine)).toEqual([-1, -2, -3]);
    expect(() => bench.numbers(z)).toThrow("indexSelect: index 3 is out of range for a dimension of size 3");
    // In place: the buffer had been written, so it stays as it was.
    const bad = { op: "scatter", attr: [0, 0], out: [x], in: [index, f(0)] };
    expect(() => bench.run(bad)).toThrow(ProgramError);
    expect(bench.numbers(x)).toEqual([1, 2, 3]);
  });

  it("what was complete before an error keeps its values, what was begun after it does not", () => {
    const x = bench.tensor("float32", [2], [1, 2]);
    const weights = bench.tensor("float32", [2], [5, 6]);
    const index = bench.tensor("int64", [2], [0, 9]);
    const y = bench.empty("float32", [2]);
    expect(() => bench.run({ op: "gather", attr: [0], out: [y], in: [x, index] })).toThrow(IndexError);
    const grad = bench.empty("float32", [2]);
    const good = bench.tensor("int64", [2], [0, 1]);
    bench.run(
      elementwise(device, "copy", "float32", grad, f(0)),
      { op: "scatter", attr: [0, 1], out: [grad], in: [good, y] },
      elementwise(device, "sub", "float32", weights, weights, grad),
    );
    expect(() => bench.numbers(grad)).toThrow(IndexError);
    expect(bench.numbers(weights)).toEqual([5, 6]);
  });

  it("an output may overlap an input in element-wise instructions only", () => {
    const x = bench.tensor("float32", [4], [1, 2, 3, 4]);
    const scan = { op: "cumsum", out: [{ ...x, shape: [2] }], in: [{ ...x, shape: [2], offset: 1 }] };
    expect(() => bench.run(scan)).toThrow(/cumsum: output 0 overlaps operand 1/);
    bench.run({ op: "cumsum", out: [{ ...x, shape: [2] }], in: [{ ...x, shape: [2], offset: 2 }] });
    expect(bench.numbers(x)).toEqual([3, 7, 3, 4]);
  });

  it("indices are checked before anything is written", () => {
    const x = bench.tensor("float32", [3], [1, 2, 3]);
    const index = bench.tensor("int32", [3], [0, 1, -4]);
    const src = bench.tensor("float32", [3], [7, 8, 9]);
    for (const [op, attr] of [
      ["scatter", [0, 1]],
      ["indexAdd", [0]],
    ] as const) {
      expect(() => bench.run({ op, attr, out: [x], in: [index, src] })).toThrow(IndexError);
    }
    expect(bench.numbers(x)).toEqual([1, 2, 3]);
  });

  it("more memory than there is is a MemoryError, and work goes on", () => {
    const owner: Owner = { slot: -1, memory: undefined, bytes: 2 ** 50 };
    const alloc = { op: "alloc", attr: [device.bind(owner), ...longWords(2 ** 50)] };
    expect(() => bench.run(alloc)).toThrow(MemoryError);
    expect(() => device.read(owner, 0, new Uint8Array(1), 0)).toThrow(MemoryError);
    expect(bench.numbers(bench.tensor("int32", [1], [5]))).toEqual([5]);
  });

  it("wrong words are ProgramErrors", () => {
    const x = bench.tensor("float32", [2, 2], [1, 2, 3, 4]);
    const y = bench.empty("float32", [2, 2]);
    const cases: [RegExp, () => void][] = [
      [/there is no op/, () => bench.submit([999, 5, 0, 0, 0])],
      [/says length/, () => bench.submit([4, 50, 0, 0, 0])],
      [/lies outside slot/, () => bench.run(elementwise(device, "neg", "float32", { ...y, offset: 1 }, x))],
      [/lies outside slot/, () => bench.run(elementwise(device, "neg", "float32", y, { ...x, strides: [-2, 1] }))],
      [/overlaps itself/, () => bench.run(elementwise(device, "neg", "float32", { ...y, strides: [0, 1] }, x))],
      [/does not exist for ctype/, () => bench.run(elementwise(device, "exp", "int32", y, x))],
      [
        /parameters exist in programs only/,
        () => bench.run(elementwise(device, "neg", "float32", y, { dtype: "float32", parameter: 0 })),
      ],
      [/there is no program/, () => bench.submit([device.ops.get("replay")!, 6, 0, 0, 1, 77])],
      [/there is no staging id/, () => bench.run({ op: "adopt", attr: [device.bind(y.slot), 12345] })],
      [
        /matmul: takes a\[B, M, K\]/,
        () =>
          bench.run({
            op: "matmul",
            out: [{ ...y, shape: [1, 2, 2] }],
            in: [
              { ...x, shape: [1, 1, 4] },
              { ...x, shape: [1, 2, 2] },
            ],
          }),
      ],
    ];
    for (const [message, run] of cases) {
      expect(run).toThrow(message);
      expect(run).toThrow(ProgramError);
    }
  });
});

describe("programs", () => {
  // y = (x · p0) summed along rows, through the arena
  const make = () =>
    encodeProgram(
      device,
      [{ bytes: 24 }, { offset: 64, bytes: 24 }, { bytes: 8 }],
      [
        elementwise(
          device,
          "mul",
          "float32",
          { slot: 1, dtype: "float32", shape: [2, 3] },
          { slot: 0, dtype: "float32", shape: [2, 3] },
          { dtype: "float32", parameter: 0 },
        ),
        {
          op: "sum",
          attr: [1],
          out: [{ slot: 2, dtype: "float32", shape: [2] }],
          in: [{ slot: 1, dtype: "float32", shape: [2, 3] }],
        },
      ],
      { params: 1, arena: 128 },
    );
  const replay = (id: number, owners: Owner[], p: number) =>
    bench.run({ op: "replay", attr: [id, ...owners.map((o) => device.bind(o)), ...doubleWords(p)] });

  it("replay with other buffers and parameters", () => {
    const id = device.load(make());
    const x = bench.tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
    const y = bench.empty("float32", [2]);
    replay(id, [x.slot, y.slot], 2);
    expect(bench.numbers(y)).toEqual([12, 30]);
    const x2 = bench.tensor("float32", [2, 3], [1, 1, 1, 2, 2, 2]);
    const y2 = bench.empty("float32", [2]);
    replay(id, [x2.slot, y2.slot], -1);
    expect(bench.numbers(y2)).toEqual([-3, -6]);
    expect(bench.numbers(y)).toEqual([12, 30]);
    const small = bench.empty("float32", [1]);
    expect(() => replay(id, [x.slot, small.slot], 2)).toThrow(/replay: buffer 1 has 4 bytes, 8 are needed/);
    expect(() => bench.numbers(small)).toThrow(ProgramError);
    device.unload(id);
    expect(() => replay(id, [x.slot, y.slot], 2)).toThrow(/there is no program/);
  });

  it("an instruction that fails in a replay spoils only what depends on it", () => {
    const view = (slot: number, dtype: "float32" | "int64" = "float32") => ({ slot, dtype, shape: [2] });
    const id = device.load(
      encodeProgram(
        device,
        [{ bytes: 8 }, { bytes: 16 }, { bytes: 8 }, { bytes: 8 }, { offset: 0, bytes: 8 }],
        [
          { op: "gather", attr: [0], out: [view(4)], in: [view(0), view(1, "int64")] },
          elementwise(device, "neg", "float32", view(2), view(4)),
          elementwise(device, "neg", "float32", view(3), view(0)),
        ],
        { arena: 8 },
      ),
    );
    const x = bench.tensor("float32", [2], [1, 2]);
    const index = bench.tensor("int64", [2], [0, 9]);
    const [y, z] = [bench.empty("float32", [2]), bench.empty("float32", [2])];
    const run = () => bench.run({ op: "replay", attr: [id, ...[x, index, y, z].map((t) => device.bind(t.slot))] });
    expect(run).toThrow(IndexError);
    expect(() => bench.numbers(y)).toThrow(IndexError);
    expect(bench.numbers(z)).toEqual([-1, -2]);
  });

  it("a program is verified when it is loaded", () => {
    const good = make();
    const broken = (at: number, value: number) => {
      const words = good.slice();
      words[at] = value;
      return () => device.load(words);
    };
    expect(broken(0, 1)).toThrow(/magic/);
    expect(broken(1, 5)).toThrow(/words/);
    expect(broken(2, 1 << 30)).toThrow(/slots do not fit/);
    expect(broken(6, 3)).toThrow(ProgramError);
    expect(broken(7 + 5 + 3, 32)).toThrow(/outside the arena/);
    expect(broken(7 + 15, device.ops.get("alloc")!)).toThrow(/cannot contain/);
    expect(() => device.load(good.subarray(0, 20))).toThrow(ProgramError);
  });
});

it("a synchronous loop that drops its buffers stays flat in memory", () => {
  const x = bench.tensor("float32", [65536], new Array(65536).fill(1));
  const rss: number[] = [];
  for (let i = 0; i < 6000; i++) {
    const y = bench.empty("float32", [65536]);
    bench.run(elementwise(device, "add", "float32", y, x, f(i)));
    if (i % 1000 === 999) rss.push(process.memoryUsage().arrayBuffers);
  }
  // 1.5 GiB were allocated in all
  expect(Math.max(...rss)).toBeLessThan(300 * 2 ** 20);
  expect(device.memory().peak).toBeLessThan(400 * 2 ** 20);
});

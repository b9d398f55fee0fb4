// The native engine below TypeScript: streams and programs written word by word (docs/kernels.md).
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { addonPath, bool, Engine, int32, int64, integer, nothing, number, parameter, view } from "./engine.mjs";

const here = import.meta.dirname;

/** Runs a program in a process of its own, with the engine's helpers at hand. */
function child(code: string, env: Record<string, string> = {}) {
  const source = `import { Engine, view, number } from ${JSON.stringify(join(here, "engine.mjs"))};\n${code}`;
  const result = spawnSync(process.execPath, ["--input-type=module", "-e", source], {
    encoding: "utf8",
    timeout: 60_000,
    env: { ...process.env, ...env },
  });
  return { code: result.status, signal: result.signal, out: result.stdout.trim(), err: result.stderr };
}

/** What an error was: its code and message. */
function thrown(run: () => void): string {
  try {
    run();
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code}: ${message}`;
  }
  return "nothing was thrown";
}

const built = existsSync(addonPath);
describe.skipIf(!built)(built ? "the engine" : `the engine [there is no ${addonPath}]`, () => {
  const engine = new Engine();
  const { addon } = engine;
  let slots = 0;
  /** A new slot that holds these numbers. */
  const put = (values: number[] | BigInt64Array | Int32Array): number => {
    engine.run(engine.adopt(slots, Array.isArray(values) ? Float32Array.from(values) : values));
    return slots++;
  };
  const empty = (bytes: number): number => {
    engine.run(engine.alloc(slots, bytes));
    return slots++;
  };
  const gather = (y: number, x: number, index: number, n: number) =>
    engine.instruction("gather", [0], [view(y, [n])], [view(x, [3]), view(index, [n], { dtype: int64 })]);

  it("says what it offers", () => {
    const { ops, elementwise, isa, threads, abi } = addon.info();
    expect(ops.slice(-4)).toEqual(["alloc", "free", "adopt", "replay"]);
    expect(new Set(ops).size).toBe(ops.length);
    expect(elementwise).toContain("add");
    expect(["baseline", "avx2", "avx512", "neon"]).toContain(isa);
    expect(threads).toBe(addon.getThreads());
    expect(abi).toBe(2);
  });

  describe("the eager stream", () => {
    it("computes on views, immediates and flipped or broadcast strides", () => {
      const [x, y] = [put([1, 2, 3, 4, 5, 6]), empty(24)];
      const flipped = view(x, [2, 3], { offset: 5, strides: [-3, -1] });
      engine.run(engine.apply("add", view(y, [2, 3]), [flipped, number(0.5)]));
      expect(engine.read(y, 6)).toEqual([6.5, 5.5, 4.5, 3.5, 2.5, 1.5]);
      engine.run(engine.apply("mul", view(y, [2, 3]), [view(x, [2, 3], { strides: [0, 1] }), view(x, [2, 3])]));
      expect(engine.read(y, 6)).toEqual([1, 4, 9, 4, 10, 18]);
    });

    it("converts immediates to their dtype", () => {
      const y = empty(64);
      const as = (operand: number[], dtype: number) => {
        engine.run(engine.apply("copy", view(y, [], { dtype }), [operand], dtype));
        return y;
      };
      expect(engine.read(as(number(1e300), 0), 1)).toEqual([Number.POSITIVE_INFINITY]);
      expect(engine.read(as(integer(-5), int64), 1, BigInt64Array)).toEqual([-5n]);
      as(integer(2 ** 32 + 7, int32), int32);
      const target = new Int32Array(1);
      addon.read(y, 0, target);
      expect(target[0]).toBe(7);
      as(integer(256, bool), bool);
      const byte = new Uint8Array(1);
      addon.read(y, 0, byte);
      expect(byte[0]).toBe(1);
    });

    it("reads a part of a buffer, and nothing outside it", () => {
      const x = put([1, 2, 3]);
      const target = new Float32Array(2);
      addon.read(x, 4, target);
      expect([...target]).toEqual([2, 3]);
      expect(thrown(() => addon.read(x, 8, target))).toBe("PROGRAM: read: 8 bytes at 8 of a buffer of 12");
      expect(thrown(() => addon.read(x, -1, target))).toMatch(/^PROGRAM: argument 2/);
      expect(thrown(() => addon.read(1e6, 0, target))).toBe("DISPOSED: slot 1000000 has no buffer");
    });

    it("fetches into the stream after running what is there", () => {
      const [x, y] = [put([1, 2, 3]), empty(12)];
      const fetched = new Float32Array(engine.stream.buffer, 0, 2);
      engine.write(engine.apply("neg", view(y, [3]), [view(x, [3])]));
      const n = engine.end;
      engine.end = 0;
      addon.fetch(n, y, 4, 8);
      expect([...fetched]).toEqual([-2, -3]);
      engine.write(engine.apply("neg", view(y, [3]), [view(y, [3])])).submit();
      addon.fetch(0, y, 0, 8); // waits for the queue
      expect([...fetched]).toEqual([1, 2]);
      expect(thrown(() => addon.fetch(0, y, 8, 8))).toBe("PROGRAM: read: 8 bytes at 8 of a buffer of 12");
      expect(thrown(() => addon.fetch(engine.stream.length + 1, y, 0, 4))).toMatch(/^PROGRAM: \d+ words of a stream/);
      expect(thrown(() => addon.fetch(0, y, 0, engine.stream.byteLength + 1))).toMatch(/^PROGRAM: fetch: \d+ bytes/);
      expect(thrown(() => addon.fetch(0, 1e6, 0, 4))).toBe("DISPOSED: slot 1000000 has no buffer");
      expect(engine.read(y, 3)).toEqual([1, 2, 3]);
    });

    it("keeps order between flush and submit", () => {
      const x = put([0]);
      const once = engine.apply("add", view(x, [1]), [view(x, [1]), number(1)]);
      const twice = engine.apply("mul", view(x, [1]), [view(x, [1]), number(2)]);
      for (let i = 0; i < 10; i++) {
        engine.write(once).submit();
        engine.run(twice);
      }
      expect(engine.read(x, 1)).toEqual([2046]);
    });

    it("waits when many batches are queued, and loses none", () => {
      const x = put([0]);
      const once = engine.apply("add", view(x, [1]), [view(x, [1]), number(1)]);
      for (let i = 0; i < 1000; i++) engine.write(once).submit();
      expect(engine.read(x, 1)).toEqual([1000]);
    });

    it("flushes denormals in its own arithmetic only", () => {
      const x = put([1e-40]);
      engine.run(engine.apply("mul", view(x, [1]), [view(x, [1]), number(1)]));
      expect(engine.read(x, 1)).toEqual([0]);
      expect(Math.fround(1e-40) * 0.5).toBeGreaterThan(0);
    });
  });

  describe("verification", () => {
    const y = empty(64);
    const x = empty(64);
    const copy = (output: number[], input: number[]) => () => engine.run(engine.apply("copy", output, [input]));
    const changed = (at: number, value: number) => () => {
      const words = engine.apply("copy", view(y, [4, 4]), [view(x, [4, 4])]);
      words[at] = value;
      engine.run(words);
    };
    // words: op, length, nOut, nIn, nAttr; nSteps, fn, ctype, a, b, c, register; kind, slot, offset, 2 + 2; the input
    it.each<[string, () => void, RegExp]>([
      ["an op that does not exist", changed(0, 9999), /there is no op 9999/],
      ["a negative op", changed(0, -1), /there is no op -1/],
      ["a length below the header's", changed(1, 4), /not framed/],
      ["a length beyond the batch", changed(1, 1000), /not framed/],
      ["a length too short for its operands", changed(1, 20), /beyond the instruction|left over/],
      ["a negative count", changed(2, -1), /outputs/],
      ["too many operands", changed(3, 33), /inputs/],
      ["more attributes than words", changed(4, 1 << 30), /attributes/],
      ["a function that does not exist", changed(6, 1000), /PROGRAM/],
      ["a kind that does not exist", changed(19, 4), /kind 4/],
      ["a dtype that does not exist", changed(19, (9 << 8) | (2 << 16)), /dtype code 9/],
      ["nine dimensions", changed(19, 9 << 16), /9 dimensions/],
      ["a slot without a buffer", changed(20, 1 << 20), /slot 1048576 has no buffer/],
      ["a negative slot", changed(20, -1), /slot -1 has no buffer/],
      ["a negative extent", changed(22, -4), /extent -4/],
      ["an offset past the end", changed(21, 1), /outside its 64 bytes/],
      ["an offset before the start", changed(21, -1), /outside its 64 bytes/],
      ["a stride that leaves the buffer", changed(24, 5), /outside its 64 bytes/],
      ["a stride that leaves it backwards", changed(24, -1), /outside its 64 bytes/],
      ["an output that is an immediate", copy(number(1), view(x, [])), /not a view/],
      ["an output that overlaps itself", copy(view(y, [4], { strides: [0] }), view(x, [4])), /overlaps itself/],
      ["a parameter outside a program", copy(view(y, []), parameter(0)), /no parameter 0/],
      ["an absent operand", copy(view(y, []), nothing), /PROGRAM/],
      [
        "extents and strides whose products leave 64 bits",
        copy(view(y, Array(8).fill(2)), view(x, Array(8).fill(2), { strides: Array(8).fill(2 ** 31 - 1) })),
        /outside its 64 bytes/,
      ],
      ["2^31 elements", copy(view(y, [1]), view(x, [65536, 32768], { strides: [0, 0] })), /2\^31 elements/],
      [
        "an output that overlaps an input",
        () => engine.run(engine.instruction("softmax", [], [view(y, [4], { offset: 2 })], [view(y, [4])])),
        /softmax: output 0 overlaps operand 1/,
      ],
      ["alloc of a live slot", () => engine.run(engine.alloc(x, 64)), /has a buffer already/],
      [
        "alloc with outputs",
        () => engine.run(engine.instruction("alloc", [9999, 4, 0], [view(x, [])])),
        /only attributes/,
      ],
      ["free of a slot without a buffer", () => engine.run(engine.free(77_777)), /slot 77777 has no buffer/],
      ["a slot number out of all bounds", () => engine.run(engine.alloc(2 ** 31 - 1, 4)), /is not below/],
      ["replay of no program", () => engine.run(engine.replay(12_345, [])), /no such program/],
    ])("refuses %s", (_, run, message) => {
      expect(thrown(run)).toMatch(/^PROGRAM: /);
      expect(thrown(run)).toMatch(message);
    });

    it("accepts views without elements, whatever their strides", () => {
      const odd = { strides: [2 ** 31 - 1, -7, 0], offset: 1 << 20 };
      copy(view(y, [0, 3, 2]), view(x, [0, 3, 2], odd))();
      expect(thrown(copy(view(y, [4]), view(x, [4])))).toBe("nothing was thrown");
    });

    it("goes on after an instruction that was refused", () => {
      const [a, b] = [put([1, 2]), empty(8)];
      const bad = engine.apply("copy", view(b, [2]), [view(a, [2])]);
      bad[0] = 9999;
      const good = engine.apply("neg", view(a, [2]), [view(a, [2])]);
      expect(thrown(() => engine.run(bad, good))).toMatch(/no op/);
      expect(engine.read(a, 2)).toEqual([-1, -2]);
    });

    it("refuses what is not for it", () => {
      const call = (name: string, ...args: unknown[]) =>
        thrown(() => (addon as unknown as Record<string, (...args: unknown[]) => void>)[name](...args));
      expect(call("open", new Int32Array(8))).toMatch(/^PROGRAM: open: the stream is open already/);
      expect(call("flush", engine.stream.length + 1)).toMatch(/^PROGRAM: 65537 words/);
      for (const n of [-1, 0.5, Number.NaN, "1", undefined, {}])
        expect(call("flush", n)).toMatch(/^PROGRAM: argument 1/);
      expect(call("read", 0, 0, [1])).toMatch(/^PROGRAM: argument 3 must be a typed array/);
      expect(call("stage", new ArrayBuffer(8))).toMatch(/^PROGRAM/);
      expect(call("load", new Float32Array(8))).toMatch(/^PROGRAM: argument 1 must be an Int32Array/);
      expect(call("track", [{}], new Int32Array(2))).toMatch(/^PROGRAM: track/);
      expect(call("track", [1], new Int32Array(1))).toMatch(/^PROGRAM: track: owner 0 is not an object/);
      expect(call("track", [{}], Int32Array.of(-1))).toMatch(/^PROGRAM: track: there is no slot -1/);
      expect(call("setThreads", 0)).toMatch(/^PROGRAM: argument 1/);
    });

    it.each([1, 2])("survives corrupt words, seed %i", (seed) => {
      const result = spawnSync(process.execPath, [join(here, "fuzz.mjs"), "10000", String(seed)], { encoding: "utf8" });
      expect(result.stderr).toBe("");
      expect(result.status).toBe(0);
      const outcomes = JSON.parse(result.stdout) as Record<string, number>;
      expect(outcomes.ran).toBeGreaterThan(1000);
      expect(outcomes.PROGRAM).toBeGreaterThan(1000);
    });
  });

  describe("errors", () => {
    const outside = () => put(BigInt64Array.of(0n, 7n));

    it("poison what was not written yet, and what reads it", () => {
      const [x, index, y, z] = [put([1, 2, 3]), outside(), empty(8), empty(8)];
      const bad = gather(y, x, index, 2);
      const after = engine.apply("neg", view(z, [2]), [view(y, [2])]);
      expect(thrown(() => engine.run(bad, after))).toMatch(/^INDEX: .*7.*3/);
      expect(thrown(() => engine.flush())).toBe("nothing was thrown");
      for (const slot of [y, z]) expect(thrown(() => engine.read(slot, 2))).toMatch(/^INDEX/);
      expect(engine.read(x, 3)).toEqual([1, 2, 3]);
    });

    it("leave buffers that were complete before as they were", () => {
      const [x, index, y, weight] = [put([1, 2, 3]), outside(), empty(8), put([10, 20])];
      const update = engine.apply("add", view(weight, [2]), [view(weight, [2]), view(y, [2])]);
      expect(thrown(() => engine.run(gather(y, x, index, 2), update))).toMatch(/^INDEX/);
      expect(engine.read(weight, 2)).toEqual([10, 20]);
    });

    it("spread to what was allocated after them, written or not", () => {
      const [x, index, y] = [put([1, 2, 3]), outside(), empty(8)];
      const z = slots++;
      const fill = engine.apply("copy", view(z, [2]), [number(0)]);
      const copy = engine.apply("copy", view(z, [2]), [view(y, [2])]);
      expect(thrown(() => engine.run(gather(y, x, index, 2), engine.alloc(z, 8), fill, copy))).toMatch(/^INDEX/);
      expect(thrown(() => engine.read(z, 2))).toMatch(/^INDEX/);
    });

    it("of a batch on its way are thrown by the next call that waits, once", async () => {
      const [x, index, y] = [put([1, 2, 3]), outside(), empty(8)];
      engine.write(gather(y, x, index, 2)).submit();
      expect(thrown(() => addon.sync())).toMatch(/^INDEX/);
      addon.sync();
      engine.write(gather(y, x, index, 2)).submit();
      await expect(addon.syncAsync()).rejects.toMatchObject({ code: "INDEX" });
      await addon.syncAsync();
      await expect(addon.readAsync(y, 0, new Float32Array(2))).rejects.toMatchObject({ code: "INDEX" });
    });

    it("are over once the slot has a new buffer", () => {
      const [x, index, y] = [put([1, 2, 3]), outside(), empty(8)];
      expect(thrown(() => engine.run(gather(y, x, index, 2)))).toMatch(/^INDEX/);
      engine.run(engine.free(y), engine.adopt(y, Float32Array.of(5)));
      expect(engine.read(y, 1)).toEqual([5]);
    });

    it("say that memory is short, and everything else lives on", () => {
      const [x, y] = [put([1, 2, 3]), empty(12)];
      const huge = slots++;
      const use = engine.apply("copy", view(y, [3]), [view(huge, [3])]);
      const fill = engine.apply("copy", view(huge, [3]), [view(x, [3])]);
      for (const bytes of [2 ** 46, 2 ** 62]) {
        expect(thrown(() => engine.run(engine.alloc(huge, bytes), fill, use))).toMatch(
          /^MEMORY: a buffer of \d+ bytes/,
        );
        expect(thrown(() => engine.flush())).toBe("nothing was thrown");
        expect(thrown(() => engine.read(huge, 1))).toMatch(/^MEMORY/);
        expect(thrown(() => engine.read(y, 1))).toMatch(/^MEMORY/);
        engine.run(engine.free(huge));
      }
      expect(engine.read(x, 3)).toEqual([1, 2, 3]);
    });
  });

  describe("programs", () => {
    const f = (slot: number) => view(slot, [4]);
    /** y = (x + p0)·x, with the sum in the arena. */
    const source = () =>
      engine.program(
        [{ bytes: 16 }, { bytes: 16, offset: 64 }, { bytes: 16 }],
        [engine.apply("add", f(1), [f(0), parameter(0)]), engine.apply("mul", f(2), [f(1), f(0)])],
        { parameters: 1, arena: 128 },
      );

    it("run with new buffers and parameters at every replay", () => {
      const id = addon.load(source());
      const [x, y, z] = [put([1, 2, 3, 4]), empty(16), empty(16)];
      engine.run(engine.replay(id, [x, y], [10]), engine.replay(id, [y, z], [0.5]));
      expect(engine.read(y, 4)).toEqual([11, 24, 39, 56]);
      expect(engine.read(z, 4)).toEqual([126.5, 588, 1540.5, 3164]);
      engine.run(engine.free(x), engine.adopt(x, Float32Array.of(2, 2, 2, 2)), engine.replay(id, [x, y], [1]));
      expect(engine.read(y, 4)).toEqual([6, 6, 6, 6]);
      addon.unload(id);
    });

    it("convert parameters to the operand's dtype", () => {
      const dtype = int32;
      const id = addon.load(
        engine.program([{ bytes: 4 }], [engine.apply("copy", view(0, [1], { dtype }), [parameter(0, dtype)], dtype)], {
          parameters: 1,
        }),
      );
      const y = empty(4);
      const target = new Int32Array(1);
      for (const [given, stored] of [
        [-2.7, -2],
        [1e10, 2 ** 31 - 1],
        [-1e10, -(2 ** 31)],
        [Number.NaN, 0],
      ]) {
        engine.run(engine.replay(id, [y], [given]));
        addon.read(y, 0, target);
        expect(target[0]).toBe(stored);
      }
      addon.unload(id);
    });

    it.each<[string, (words: Int32Array) => void]>([
      ["another magic number", (w) => w.set([1], 0)],
      ["another length", (w) => w.set([w.length + 1], 1)],
      ["a negative number of slots", (w) => w.set([-1], 2)],
      ["more slots than words", (w) => w.set([1 << 28], 2)],
      ["fewer parameters than are used", (w) => w.set([0], 3)],
      ["an arena too small for its slots", (w) => w.set([64], 4)],
      ["a negative arena", (w) => w.set([-1], 5)],
      ["an arena beyond all memory", (w) => w.set([1 << 20], 5)],
      ["more instructions than there are", (w) => w.set([3], 6)],
      ["fewer instructions than there are", (w) => w.set([1], 6)],
      ["a slot of an unknown kind", (w) => w.set([2], 7)],
      ["a slot of negative size", (w) => w.set([-1], 9)],
      ["a slot too small for its views", (w) => w.set([12], 8)],
      ["a bound slot with an arena offset", (w) => w.set([64], 10)],
      ["an arena offset that is not aligned", (w) => w.set([32], 15)],
      ["a negative arena offset", (w) => w.set([-64, -1], 15)],
      ["a slot outside the table", (w) => w.set([3], 22 + 5 + 7 + 1)],
      ["an instruction beyond the end", (w) => w.set([1000], 23)],
      ["a control instruction", (w) => w.set([engine.ops.indexOf("free")], 22)],
    ])("are refused with %s", (_, corrupt) => {
      const words = source();
      corrupt(words);
      expect(thrown(() => addon.load(words))).toMatch(/^(PROGRAM|MEMORY): /);
    });

    it("are refused when an output overlaps an input in the arena", () => {
      const overlapping = (offset: number) => () => {
        const slots = [
          { bytes: 64, offset: 0 },
          { bytes: 64, offset },
        ];
        const softmax = engine.instruction("softmax", [], [view(0, [16])], [view(1, [16])]);
        addon.unload(addon.load(engine.program(slots, [softmax], { arena: 128 })));
      };
      expect(thrown(overlapping(0))).toMatch(/overlaps/);
      expect(thrown(overlapping(64))).toBe("nothing was thrown");
    });

    it("check what they are bound to", () => {
      const id = addon.load(source());
      const [x, y, small] = [put([1, 2, 3, 4]), empty(16), empty(12)];
      const attempt = (slots: number[], parameters = [1]) =>
        thrown(() => engine.run(engine.replay(id, slots, parameters)));
      expect(attempt([x, small])).toMatch(/^PROGRAM: replay: slot \d+ has 12 bytes, 16 are needed/);
      expect(attempt([x, 99_999])).toMatch(/^PROGRAM: replay: slot 99999 has no buffer/);
      expect(attempt([x])).toMatch(/^PROGRAM: replay: 4 attributes/);
      expect(attempt([x, y], [])).toMatch(/^PROGRAM: replay/);
      expect(attempt([x, x])).toMatch(/^PROGRAM: replay: slot \d+ is bound twice and written/);
      addon.unload(id);
      expect(attempt([x, y])).toMatch(/^PROGRAM: replay: no such program/);
    });

    it("do as eager instructions do when one of them fails", () => {
      const index = put(BigInt64Array.of(0n, 1n, 2n, 9n));
      const [x, bad, good, weight] = [put([1, 2, 3, 4]), empty(16), empty(16), put([7, 7, 7, 7])];
      const id = addon.load(
        engine.program(
          [{ bytes: 16 }, { bytes: 32 }, { bytes: 16, offset: 0 }, { bytes: 16 }, { bytes: 16 }, { bytes: 16 }],
          [
            engine.apply("neg", f(4), [f(0)]),
            engine.instruction("gather", [0], [f(2)], [f(0), view(1, [4], { dtype: int64 })]),
            engine.apply("neg", f(3), [f(2)]),
            engine.apply("add", f(4), [f(4), number(1)]),
            engine.apply("add", f(5), [f(5), f(2)]),
          ],
          { arena: 64 },
        ),
      );
      expect(thrown(() => engine.run(engine.replay(id, [x, index, bad, good, weight])))).toMatch(/^INDEX: .*9/);
      expect(thrown(() => engine.read(bad, 4))).toMatch(/^INDEX/);
      expect(engine.read(good, 4)).toEqual([0, -1, -2, -3]);
      expect(engine.read(weight, 4)).toEqual([7, 7, 7, 7]);
      // The arena is clean again at the next replay, and a poisoned input spreads.
      engine.run(engine.free(bad), engine.alloc(bad, 16), engine.free(index));
      engine.run(
        engine.adopt(index, BigInt64Array.of(3n, 2n, 1n, 0n)),
        engine.replay(id, [x, index, bad, good, weight]),
      );
      expect(engine.read(bad, 4)).toEqual([-4, -3, -2, -1]);
      addon.unload(id);
    });

    it("may be unloaded while batches that replay them are queued", () => {
      const id = addon.load(source());
      const [x, y] = [put([1, 2, 3, 4]), empty(16)];
      for (let i = 0; i < 300; i++) engine.write(engine.replay(id, [x, y], [i]));
      engine.submit();
      addon.unload(id);
      expect(engine.read(y, 4)).toEqual([300, 602, 906, 1212]);
    });

    it("give their arena back", () => {
      const before = addon.memory().inUse;
      const id = addon.load(
        engine.program([{ bytes: 1 << 20, offset: 0 }], [engine.apply("copy", view(0, [1]), [number(1)])], {
          arena: 1 << 20,
        }),
      );
      expect(addon.memory().inUse).toBeGreaterThanOrEqual(before + (1 << 20));
      addon.unload(id);
      expect(addon.memory().inUse).toBe(before);
    });
  });

  describe("memory", () => {
    it("is recycled, counted and given back", () => {
      addon.emptyCache();
      const before = addon.memory();
      expect(before.pooled).toBe(0);
      const slot = empty(1 << 20);
      expect(addon.memory().inUse).toBe(before.inUse + (1 << 20));
      expect(addon.memory().peak).toBeGreaterThanOrEqual(before.inUse + (1 << 20));
      engine.run(engine.free(slot));
      expect(addon.memory().inUse).toBe(before.inUse);
      expect(addon.memory().pooled).toBe(1 << 20);
      engine.run(engine.alloc(slot, 1 << 20));
      expect(addon.memory().pooled).toBe(0);
      engine.run(engine.free(slot));
      addon.emptyCache();
      expect(addon.memory().pooled).toBe(0);
    });

    it("stays flat in a synchronous loop whose owners are garbage, and is kept while they live", () => {
      const { code, out, err } = child(`
        const engine = new Engine(), { addon } = engine;
        const bytes = 65536, free = [], kept = [];
        let next = 0, peak = 0, swept = 0, owners = [], slots = [];
        const used = [];
        for (let i = 0; i < 200_000; i++) {
          const slot = free.pop() ?? next++;
          const owner = { slot };
          if (i % 10_000 === 0) { kept.push(owner); used[slot] = true; }
          engine.write(engine.alloc(slot, bytes));
          owners.push(owner);
          slots.push(slot);
          if (owners.length < 64) continue;
          addon.track(owners, Int32Array.from(slots));
          addon.adjustMemory(owners.length * bytes);
          owners = [];
          slots = [];
          engine.submit();
          const dead = addon.sweep();
          addon.adjustMemory(-dead.length * bytes);
          swept += dead.length;
          for (const slot of dead) {
            if (used[slot]) throw new Error("the owner of slot " + slot + " lives");
            engine.run(engine.free(slot));
            free.push(slot);
          }
          peak = Math.max(peak, addon.memory().inUse);
        }
        console.log(JSON.stringify({ peak, swept, kept: kept.length, rss: process.memoryUsage().rss }));`);
      expect(err).toBe("");
      expect(code).toBe(0);
      const { peak, swept, rss } = JSON.parse(out) as Record<string, number>;
      expect(peak).toBeLessThan(400 * 2 ** 20); // of 13 GB
      expect(swept).toBeGreaterThan(190_000);
      expect(rss).toBeLessThan(800 * 2 ** 20);
    });

    it("forgets owners on request", () => {
      const { code, out, err } = child(
        `const { addon } = new Engine();
        let owners = Array.from({ length: 10 }, () => ({}));
        addon.track(owners, Int32Array.from({ length: 10 }, (_, i) => i));
        addon.track([owners[9]], Int32Array.of(3)); // instead of the former owner
        addon.untrack(Int32Array.of(0, 1, 2, 500, -1));
        globalThis.last = owners[9];
        owners = undefined;
        await new Promise(setImmediate);
        gc();
        console.log(JSON.stringify([[...addon.sweep()].sort(), [...addon.sweep()]]));`,
        { NODE_OPTIONS: "--expose-gc" },
      );
      expect(err).toBe("");
      expect(code).toBe(0);
      expect(JSON.parse(out)).toEqual([[4, 5, 6, 7, 8], []]);
    });
  });

  describe("threads and the event loop", () => {
    /** Writes some tenths of a second of work. */
    const heavy = `
      const engine = new Engine();
      const shape = [1, 512, 512];
      for (const slot of [0, 1]) engine.write(engine.alloc(slot, 2 ** 20));
      engine.write(engine.apply("copy", view(0, shape), [number(1)]));
      for (let i = 0; i < 150; i++) {
        engine.write(engine.instruction("matmul", [], [view(1, shape)], [view(0, shape), view(0, shape)]));
      }
      engine.submit();
      const target = new Float32Array(512 * 512);`;

    it("lets timers fire while a read waits", () => {
      const { code, out, err } = child(`${heavy}
        let ticks = 0;
        const timer = setInterval(() => ticks++, 1);
        const promise = engine.addon.readAsync(1, 0, target);
        await promise;
        clearInterval(timer);
        console.log(JSON.stringify([ticks, target.every((x) => x === 512)]));`);
      expect(err).toBe("");
      expect(code).toBe(0);
      const [ticks, right] = JSON.parse(out) as [number, boolean];
      expect(ticks).toBeGreaterThan(10);
      expect(right).toBe(true);
    });

    it.each([
      ["stays alive for a promise", "engine.addon.syncAsync().then(() => console.log('done'));", "done"],
      ["does not stay alive without one", "console.log('end');", "end"],
      ["may end in the middle", "engine.addon.readAsync(1, 0, target); process.exit();", ""],
      [
        "keeps the target of a read",
        "for (let i = 0; i < 3; i++) await engine.addon.readAsync(1, 0, new Float32Array(512 * 512)).then(() => gc());",
        "",
      ],
    ])("%s", (_, code, out) => {
      expect(child(heavy + code, { NODE_OPTIONS: "--expose-gc" })).toEqual({ code: 0, signal: null, out, err: "" });
    });

    it("serves eight workers at once, which may be terminated at any time", () => {
      // The main thread does not load the addon: the workers' end unloads what can be unloaded.
      const { code, signal, out, err } = child(`
        import { once } from "node:events";
        import { Worker } from "node:worker_threads";
        for (let round = 0; round < 3; round++) {
          const right = await Promise.all(
            Array.from({ length: 8 }, async (_, i) => {
              const workerData = { value: i + 1, forever: i % 2 === 1 };
              const worker = new Worker(${JSON.stringify(join(here, "worker.mjs"))}, { workerData, execArgv: [] });
              const exit = once(worker, "exit");
              const [right] = await once(worker, "message");
              if (workerData.forever) {
                await new Promise((done) => setTimeout(done, 20 * i));
                await worker.terminate();
              } else {
                await exit;
              }
              return right;
            }),
          );
          console.log(right.every((x) => x === true));
        }`);
      expect(err).toBe("");
      expect([code, signal]).toEqual([0, null]);
      expect(out.split("\n")).toEqual(["true", "true", "true"]);
    });

    it.each<[Record<string, string>, number]>([
      [{ NABLA_NUM_THREADS: "3", OMP_NUM_THREADS: "5" }, 3],
      [{ OMP_NUM_THREADS: "2,1" }, 2],
      [{ SLURM_CPUS_PER_TASK: "1" }, 1],
      [{ NABLA_NUM_THREADS: "none", SLURM_CPUS_PER_TASK: "1" }, 1],
    ])("takes the number of threads from %o", (env, threads) => {
      const none = { NABLA_NUM_THREADS: "", OMP_NUM_THREADS: "", SLURM_CPUS_PER_TASK: "" };
      expect(child("console.log(new Engine().addon.getThreads())", { ...none, ...env }).out).toBe(String(threads));
    });

    it("takes a lower instruction set from NABLA_ISA, and refuses one that is not there", () => {
      const isa = (name: string) => child("console.log(new Engine().addon.info().isa)", { NABLA_ISA: name });
      expect(isa("baseline").out).toBe("baseline");
      expect(isa("mmx").err).toMatch(/NABLA_ISA=mmx: this CPU has the levels baseline/);
    });

    it("gives the same bits for any number of threads", () => {
      const threads = addon.getThreads();
      const x = put(Array.from({ length: 1 << 16 }, (_, i) => Math.sin(i)));
      const [y, z] = [empty(1 << 18), empty(4)];
      const results = [1, 2, 5, 3].map((n) => {
        addon.setThreads(n);
        expect(addon.getThreads()).toBe(n);
        const square = [1, 256, 256];
        engine.run(
          engine.instruction("matmul", [], [view(y, square)], [view(x, square), view(x, square)]),
          engine.instruction("sum", [1], [view(z, [])], [view(y, [1 << 16])]),
        );
        return [...engine.read(y, 1 << 16), ...engine.read(z, 1)];
      });
      addon.setThreads(threads);
      for (const result of results) expect(result).toEqual(results[0]);
    });
  });
});

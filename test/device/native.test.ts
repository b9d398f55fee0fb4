// The native adapter over an addon that only keeps books: slot numbers of owners, and typed errors.
import { describe, expect, it } from "vitest";
import { type Addon, abi } from "../../lib/device/addon.js";
import type { Owner } from "../../lib/device/device.js";
import { NativeDevice } from "../../lib/device/native.js";
import { DisposedError, IndexError, MemoryError, NablaError, ProgramError } from "../../lib/errors.js";

function fake(over: Partial<Addon> = {}) {
  const watched = new Map<number, object>();
  const dead = new Set<object>();
  const addon: Addon = {
    info: () => ({ ops: ["alloc", "matmul"], elementwise: ["copy", "neg"], isa: "avx2", threads: 2, abi }),
    open() {},
    flush() {},
    submit() {},
    read() {},
    fetch() {},
    readAsync: async () => {},
    sync() {},
    syncAsync: async () => {},
    stage: () => 7,
    load: () => 3,
    unload() {},
    track(owners, slots) {
      owners.forEach((owner, i) => {
        if (watched.has(slots[i])) throw new Error(`slot ${slots[i]} has two owners`);
        watched.set(slots[i], owner);
      });
    },
    untrack(slots) {
      for (const slot of slots) watched.delete(slot);
    },
    sweep() {
      const slots = [...watched].filter(([, owner]) => dead.has(owner)).map(([slot]) => slot);
      for (const slot of slots) watched.delete(slot);
      return Int32Array.from(slots);
    },
    adjustMemory() {},
    memory: () => ({ inUse: 0, pooled: 0, peak: 0 }),
    emptyCache() {},
    setThreads() {},
    getThreads: () => 2,
    ...over,
  };
  /** What the garbage collector does. */
  const collect = (...owners: object[]) => {
    for (const owner of owners) dead.add(owner);
  };
  return { device: new NativeDevice("cpu", addon, "/x/nablajs.node"), watched, collect };
}

/** Of a buffer so large that it is watched at the next batch, or of a small one, which is watched with others. */
const owner = (bytes = 2 ** 22): Owner => ({ slot: -1, memory: undefined, bytes });
const small = () => owner(16);

describe("slots", () => {
  it("are given at the first bind and kept", () => {
    const { device, watched } = fake();
    const [a, b] = [owner(), owner()];
    expect([device.bind(a), device.bind(b), device.bind(a)]).toEqual([0, 1, 0]);
    expect(watched.size).toBe(0);
    device.flush(0);
    expect(watched).toEqual(
      new Map([
        [0, a],
        [1, b],
      ]),
    );
  });

  it("of owners released in the same batch are used again at once, and those owners are not watched", () => {
    const { device, watched } = fake();
    const [a, b] = [owner(), owner()];
    device.bind(a);
    expect(device.release(a)).toBe(0);
    expect(device.bind(b)).toBe(0);
    device.submit(0);
    expect([...watched]).toEqual([[0, b]]);
  });

  it("of watched owners are used again at once, and only the new owner is watched from the next batch on", () => {
    const { device, watched, collect } = fake();
    const [a, b] = [owner(), owner()];
    device.bind(a);
    device.flush(0);
    expect(device.release(a)).toBe(0);
    expect(device.bind(b)).toBe(0);
    collect(a); // the addon still speaks of a, whose `free` was written at its release
    expect([...device.sweep()]).toEqual([]);
    device.flush(0);
    expect([...watched]).toEqual([[0, b]]);
    device.release(b);
    expect([...device.sweep()]).toEqual([]);
    expect(watched.size).toBe(0);
    collect(b);
    expect([...device.sweep()]).toEqual([]);
  });

  it("of collected owners are reported for `free`, then used again", () => {
    const { device, collect } = fake();
    const owners = Array.from({ length: 5000 }, owner);
    expect(owners.map((one) => device.bind(one))).toEqual(owners.map((_, i) => i));
    device.flush(0);
    device.release(owners[17]);
    collect(owners[3], owners[17], owners[4999]);
    expect([...device.sweep()]).toEqual([3, 4999]);
    expect([...device.sweep()]).toEqual([]);
    expect([owner(), owner(), owner(), owner()].map((one) => device.bind(one)).sort((x, y) => x - y)).toEqual([
      3, 17, 4999, 5000,
    ]);
    device.flush(0);
  });

  it("of small buffers are watched sixteen at a time, and reported together", () => {
    const { device, watched, collect } = fake();
    const owners = Array.from({ length: 40 }, small);
    const slots = owners.map((one) => device.bind(one));
    expect(new Set(slots).size).toBe(40);
    device.flush(0);
    expect(watched.size).toBe(0); // few and small: they can wait
    expect([...device.sweep()]).toEqual([]);
    expect([...watched.values()]).toEqual([owners[0].memory, owners[16].memory]); // the third page is not full
    const released = [owners[2], owners[16], owners[17]].map((one) => device.release(one));
    const again = [owner(), small()].map((one) => device.bind(one));
    expect(released).toEqual(expect.arrayContaining(again));
    collect(...watched.values());
    const rest = slots.slice(0, 32).filter((slot) => !released.includes(slot));
    expect([...device.sweep()]).toEqual(rest);
    expect(watched.size).toBe(1); // the large one
  });

  it("of small buffers that were all released are not watched any longer", () => {
    const { device, watched } = fake();
    const pages = [1, 2].map(() => Array.from({ length: 16 }, small));
    for (const one of pages[0]) device.bind(one);
    device.sweep();
    expect(watched.size).toBe(1);
    for (const one of pages[1]) device.bind(one);
    for (const one of pages.flat()) device.release(one);
    device.sweep();
    expect(watched.size).toBe(0);
    expect(new Set(pages.flat().map((one) => device.bind(one))).size).toBe(32);
  });

  it("stay consistent through random use", () => {
    const { device, watched, collect } = fake();
    let seed = 1;
    const random = (n: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % n;
    };
    let live: Owner[] = [];
    for (let step = 0; step < 20_000; step++) {
      const action = random(6);
      if (action < 3) {
        const one = random(2) === 0 ? owner() : small();
        device.bind(one);
        live.push(one);
      } else if (action === 3 && live.length) {
        const [one] = live.splice(random(live.length), 1);
        device.release(one);
        collect(one); // nobody holds it any longer
      } else if (action === 4) {
        device.flush(0); // throws if a slot has two owners
      } else {
        // Owners of small buffers are lost with the others of their page, those that were released included.
        const lostOnes = new Set([...watched.values()].filter(() => random(8) === 0));
        const lost = live.filter((one) => lostOnes.has(one.memory ? (one.memory as object) : one));
        collect(...lostOnes);
        expect([...device.sweep()].sort()).toEqual(lost.map(({ slot }) => slot).sort());
        live = live.filter((one) => !lost.includes(one));
      }
      if (step % 1000 === 0) expect(new Set(live.map(({ slot }) => slot)).size).toBe(live.length);
    }
  });
});

describe("errors", () => {
  const thrower = (code?: string) => () => {
    throw Object.assign(new Error("what happened"), code ? { code } : {});
  };

  it.each([
    ["PROGRAM", ProgramError],
    ["INDEX", IndexError],
    ["MEMORY", MemoryError],
    ["DISPOSED", DisposedError],
  ])("%s", async (code, type) => {
    const fails = thrower(code);
    const { device } = fake({
      flush: fails,
      readAsync: async () => fails(),
      syncAsync: async () => fails(),
      stage: fails,
    });
    expect(() => device.flush(1)).toThrow(type);
    expect(() => device.stage(new Uint8Array(1))).toThrow("what happened");
    await expect(device.readAsync(owner(), 0, new Uint8Array(1))).rejects.toThrow(type);
    await expect(device.syncAsync()).rejects.toThrow(type);
  });

  it("others are passed on", () => {
    const { device } = fake({ flush: thrower() });
    expect(() => device.flush(1)).toThrow("what happened");
    expect(() => device.flush(1)).not.toThrow(NablaError);
  });
});

it("describes itself", () => {
  const { device } = fake();
  expect(device.ops.get("matmul")).toBe(1);
  expect(device.elementwise.get("neg")).toBe(1);
  expect(device.describe()).toEqual({ isa: "avx2", threads: 2, abi, path: "/x/nablajs.node" });
});

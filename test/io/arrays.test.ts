// Arrays of other programs: npy, npz and IDX files, against NumPy's own; round trips; damaged and foreign files.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { type DType, dtypes, FileError, io, type Tensor, tensor } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const folder = mkdtempSync(join(tmpdir(), "nabla-arrays-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const figures = new URL("../figures/arrays/", import.meta.url).pathname;
const figure = (name: string) => join(figures, name);
const file = (name: string) => join(folder, name);

/** dtype, shape, and values as Python writes them, but for the sign of the exponent. */
const facts = (t: Tensor) => {
  const wide = t.dtype === "float16" || t.dtype === "bfloat16" ? t.to("float32") : t;
  return [t.dtype, t.shape, Array.from(wide.dataSync() as Float32Array, (v) => (Object.is(v, -0) ? "-0" : String(v)))];
};
const stated = ([dtype, shape, values]: [string, number[], string[]]) => [
  ...[dtype, shape],
  values
    .map((v) => v.replace(/\.0$/, "").replace("inf", "Infinity").replace("e+", "e"))
    .map((v) => (v === "1e300" ? "1e+300" : v)),
];
const expected = JSON.parse(readFileSync(figure("arrays.json"), "utf8")) as Record<
  string,
  [string, number[], string[]]
>;

onEveryDevice("NumPy's files", (device) => {
  test("of every element type, byte order, memory order and version are read", async () => {
    const names = Object.keys(expected).filter((name) => !/npz|idx/.test(name));
    expect(names.length).toBeGreaterThan(25);
    for (const name of names) {
      expect([name, facts(await io.readNpy(figure(`${name}.npy`), { device }))]).toEqual([
        name,
        stated(expected[name]),
      ]);
    }
    for (const name of ["stored.npz", "deflated.npz"]) {
      const arrays = await io.readNpz(figure(name), { device });
      expect(Object.keys(arrays)).toEqual(["x", "a/b", "fortran"]);
      for (const [key, t] of Object.entries(arrays)) {
        expect([t.isContiguous(), t.device]).toEqual([true, device]);
        expect(facts(t)).toEqual(stated(expected[`npz ${key}`]));
      }
    }
    expect(facts(await io.readIdx(figure("images.idx.gz"), { device }))).toEqual(stated(expected["images.idx.gz"]));
  });

  test("what is written is what NumPy would write, and is read again", async () => {
    // The header and the values, byte for byte; NumPy writes the same for what is not in Fortran's order.
    for (const name of ["f8", "f4", "f2", "i8", "i4", "u1", "bool", "scalar", "empty", "vector", "extremes"]) {
      const path = file(`${name}-${device}.npy`);
      await io.writeNpy(path, await io.readNpy(figure(`${name}.npy`), { device }));
      expect([name, readFileSync(path).equals(readFileSync(figure(`${name}.npy`)))]).toEqual([name, true]);
    }
    const x = tensor([[1, 2, 3], [4, 5, 6]], { device }); // biome-ignore format: a matrix
    const state = { view: x.t(), half: x.bfloat16(), "a.b": tensor([true, false], { device }) };
    for (const compress of [false, true]) {
      const path = file(`state-${device}.npz`);
      await io.writeNpz(path, state, { compress });
      const again = await io.readNpz(path, { device });
      expect(Object.entries(again).map(([k, t]) => [k, facts(t)])).toEqual(
        Object.entries(state).map(([k, t]) => [k, facts(t)]),
      );
    }
    for (const name of ["x.idx", "x.idx.gz"]) {
      await io.writeIdx(file(name), x.t());
      expect(facts(await io.readIdx(file(name), { device }))).toEqual(facts(x.t()));
    }
    expect(gunzipSync(readFileSync(file("x.idx.gz"))).equals(readFileSync(file("x.idx")))).toBe(true);
    await expect(io.writeIdx(file("x.idx"), x.half())).rejects.toThrow(
      /IDX files hold uint8, int32, float32, float64, not/,
    );
  });
});

test("MNIST's four files, by their usual names", async () => {
  const images = tensor(
    Array.from({ length: 24 }, (_, i) => i),
    { dtype: "uint8", shape: [2, 3, 4] },
  );
  await io.writeIdx(file("train-images-idx3-ubyte.gz"), images);
  await io.writeIdx(file("train-labels.idx1-ubyte"), tensor([7, 2], { dtype: "uint8" }));
  await io.writeIdx(file("t10k-images-idx3-ubyte"), images);
  await io.writeIdx(file("t10k-labels-idx1-ubyte"), tensor([1, 2, 3], { dtype: "uint8" }));
  const part = await io.readMnist(folder, "train");
  expect([part.images.equal(images), part.labels.dtype, part.labels.toArray()]).toEqual([true, "int64", [7, 2]]);
  await expect(io.readMnist(folder, "test")).rejects.toThrow(
    /images \[2, 3, 4\] and labels \[3\] do not belong together/,
  );
  await expect(io.readMnist(figures, "test")).rejects.toThrow(
    /there is no t10k-images-idx3-ubyte, with or without .gz/,
  );
  await expect(io.readMnist(folder, "tests" as "test")).rejects.toThrow(/the part is "train" or "test"/);
});

test("arrays of any dtype and shape come back as they were", async () => {
  const values = (dtype: DType) =>
    dtype === "int64"
      ? fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
      : dtype === "bool"
        ? fc.boolean()
        : dtype === "uint8"
          ? fc.integer({ min: 0, max: 255 })
          : dtype === "int32"
            ? fc.integer()
            : fc.double();
  const array = fc
    .tuple(fc.constantFrom(...dtypes), fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }))
    .chain(([dtype, shape]) => {
      const n = shape.reduce((a, b) => a * b, 1);
      return fc.record({
        dtype: fc.constant(dtype),
        shape: fc.constant(shape),
        values: fc.array(values(dtype) as fc.Arbitrary<number>, { minLength: n, maxLength: n }),
      });
    });
  await fc.assert(
    fc.asyncProperty(array, fc.boolean(), async ({ dtype, shape, values }, compress) => {
      const x = tensor(values, { dtype, shape, device: "js" });
      await io.writeNpy(file("any.npy"), x);
      await io.writeNpz(file("any.npz"), { x }, { compress });
      expect(facts(await io.readNpy(file("any.npy"), { device: "js" }))).toEqual(facts(x));
      expect(facts((await io.readNpz(file("any.npz"), { device: "js" })).x)).toEqual(facts(x));
    }),
    { numRuns: 20 },
  );
});

test("files that are none, or hold what no tensor can, are refused in words", async () => {
  const reason = (name: string) =>
    io.readNpy(figure(name)).then(
      () => "read",
      (e: Error) => `${e.name}: ${e.message}`,
    );
  expect(await reason("refused-objects.npy")).toMatch(
    /^FileError: .*pickled Python objects, which are not read because/,
  );
  expect(await reason("refused-records.npy")).toMatch(/records of several fields/);
  expect(await reason("refused-complex.npy")).toMatch(/its dtype <c16 has no counterpart here/);
  expect(await reason("refused-texts.npy")).toMatch(/its dtype <U5 has no counterpart/);
  expect(await reason("refused-range.npy")).toMatch(/the uint64 value 18446744073709551615 does not fit in int64/);
  expect(await reason("stored.npz")).toMatch(/a zip archive; read it with io.readNpz/);
  expect(await reason("images.idx.gz")).toMatch(/this is no npy file: it begins with/);
  expect(await reason("absent.npy")).toMatch(/absent.npy: there is no such file/);
  await expect(io.readIdx(figure("f4.npy"))).rejects.toThrow(/this is no IDX file: it begins with 934e554d/);
  await expect(io.readNpz(figure("f4.npy"))).rejects.toThrow(/not a whole zip archive: it has no end record/);
  await expect(io.readNpy(5 as never)).rejects.toThrow(
    /readNpy: a path, \{ text \} or \{ bytes \} is needed, got the number 5/,
  );

  // A header may announce anything; nothing is allocated for it.
  const npy = (shape: string) => {
    const header = Buffer.from(`{'descr': '<f8', 'fortran_order': False, 'shape': ${shape}, }\n`);
    return {
      bytes: Buffer.concat([
        Buffer.from("\x93NUMPY\x01\x00", "latin1"),
        Buffer.from([header.length, 0]),
        header,
        Buffer.alloc(16),
      ]),
    };
  };
  expect((await io.readNpy(npy("(2,)"))).shape).toEqual([2]);
  await expect(io.readNpy(npy("(1000000, 1000000)"))).rejects.toThrow(
    /takes 8000000000000 bytes, the file has 16: it is truncated/,
  );
  await expect(io.readNpy(npy("(1,)"))).rejects.toThrow(/takes 8 bytes, the file has more/);
  await expect(io.readNpy(npy("(99999999, 99999999, 99999999)"))).rejects.toThrow(/its shape .* is not possible/);
  await expect(io.readNpy(npy("(__import__('os'),)"))).rejects.toThrow(/this is no npy header/);
  const idx = { bytes: Buffer.from("00000803ffffffffffffffffffffffff01", "hex") };
  await expect(io.readIdx(idx)).rejects.toThrow(/its shape .* is not possible|truncated/);
});

test("damage anywhere is refused or harmless, never a crash or another error", async () => {
  const readers = { npy: io.readNpy, npz: io.readNpz, gz: io.readIdx } as const;
  const originals = readdirSync(figures)
    .filter((name) => !name.startsWith("refused") && !name.endsWith(".json"))
    .map((name) => ({ name, bytes: readFileSync(figure(name)), read: readers[name.split(".").at(-1) as "npy"] }));
  const attempt = async (read: typeof io.readNpy, bytes: Uint8Array): Promise<boolean> => {
    try {
      await read({ bytes }, { device: "js" });
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(FileError);
      return false;
    }
  };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...originals), fc.nat(), fc.integer({ min: 1, max: 255 }), async (o, at, flip) => {
      const changed = Buffer.from(o.bytes);
      changed[at % changed.length] ^= flip;
      await attempt(o.read, changed);
      expect([o.name, at, await attempt(o.read, o.bytes.subarray(0, at % o.bytes.length))]).toEqual([
        o.name,
        at,
        false,
      ]);
    }),
    { numRuns: 200 },
  );
  // A changed value in an archive is noticed by its checksum.
  const archive = readFileSync(figure("stored.npz"));
  archive[200] ^= 1;
  writeFileSync(file("changed.npz"), archive);
  await expect(io.readNpz(file("changed.npz"))).rejects.toThrow(/the checksum of x.npy is wrong/);
});

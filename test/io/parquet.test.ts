// Parquet files of pyarrow: every codec and type that is read, and what is refused.
import { readFileSync } from "node:fs";
import * as zlib from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FileError, io } from "../../lib/index.js";

const figure = (name: string) => new URL(`../figures/parquet/${name}`, import.meta.url).pathname;
const rows = JSON.parse(readFileSync(figure("rows.json"), "utf8")) as Record<string, string | boolean | null>[];
const hasZstd = "zstdDecompressSync" in zlib;

/** A row as the reference has it: numbers as Python writes them, times as dates. */
const stated = (row: io.Row) =>
  Object.fromEntries(
    Object.entries(row).map(([k, v]) => {
      if (k === "day") return [k, (v as string).slice(0, 10)];
      return [k, typeof v === "number" || typeof v === "bigint" ? Number(v) : v];
    }),
  );
const numbers = (row: (typeof rows)[0]) =>
  Object.fromEntries(
    Object.entries(row).map(([k, v]) => {
      if (typeof v !== "string" || k === "color" || k === "day") return [k, v];
      const value = v === "inf" ? Number.POSITIVE_INFINITY : Number(v);
      return [k, k === "float" ? Math.fround(value) : value];
    }),
  );

test.each(["none", "snappy", "gzip", "brotli", "plain", ...(hasZstd ? ["zstd"] : [])])("%s", async (codec) => {
  const table = await io.readParquet(figure(`${codec}.parquet`));
  expect(table.columns.map((c) => c.type)).toEqual(
    ["int64", "int32", "int64", "float32", "float64", "bool", "category", "float64", "string"], // biome-ignore format: short
  );
  expect([...table].map(stated)).toEqual(rows.map(numbers));
  expect(table.row(1).id).toBe(9007199254740993n);
});

test("chosen columns, missing values, a target and a limit as with CSV; the types of the file", async () => {
  const table = await io.readParquet(figure("snappy.parquet"), {
    ...{ columns: ["small", "flag"], target: "color", fill: "drop", limit: 5 },
    categories: { color: ["red", "green", "blue", "é"] },
  });
  expect(table.x.toArray()).toEqual([[-3, 1], [4, 0], [127, 1], [-128, 0]]); // biome-ignore format: a matrix
  expect(table.y.toArray()).toEqual([0, 1, 2, 0]);
  expect(table.tensor("small").dtype).toBe("int32");
  const filled = await io.readParquet(figure("none.parquet"), { columns: ["float"], fill: { float: 9 } });
  expect(filled.x.select(0, 1).item()).toBe(9);
  expect((await io.readParquet({ bytes: readFileSync(figure("none.parquet")) }, { columns: ["id"] })).length).toBe(7);
});

test("what cannot be read is refused in words", async () => {
  const rejects = (promise: Promise<unknown>) =>
    promise.then(
      () => "read",
      (e: Error) => `${e.name}: ${e.message}`,
    );
  expect(await rejects(io.readParquet(figure("lz4.parquet")))).toMatch(
    /FileError: .*compressed with LZ4.*write it with snappy or gzip/,
  );
  if (!hasZstd)
    expect(await rejects(io.readParquet(figure("zstd.parquet")))).toMatch(/zstd, which Node can read from 22.15 on/);
  expect(await rejects(io.readParquet(figure("nested.parquet")))).toMatch(
    /column "list" holds .*; numbers, booleans, texts and times/,
  );
  expect((await io.readParquet(figure("nested.parquet"), { columns: ["id"] })).length).toBe(7);
  expect(await rejects(io.readParquet(figure("rows.json")))).toMatch(
    /not a whole Parquet file: it begins and ends with/,
  );
  expect(await rejects(io.readParquet({ bytes: new Uint8Array(3) }))).toMatch(/it has 3 bytes/);
  expect(await rejects(io.readParquet(figure("none.parquet"), { columns: ["colour"] }))).toMatch(
    /did you mean "color"\?/,
  );
  expect(await rejects(io.readParquet(figure("none.parquet"), { limits: 3 } as object))).toMatch(
    /did you mean limit\?/,
  );
  const open = await io.readParquet(figure("none.parquet"), { columns: ["float"] });
  expect(() => open.x).toThrow(/line 2, column "float": the value is missing/);
});

test("a truncated file is refused wherever it ends, and so is one whose parts lie outside of it", async () => {
  const whole = readFileSync(figure("snappy.parquet"));
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), async (n) => {
      await expect(io.readParquet({ bytes: whole.subarray(0, n) })).rejects.toThrow(/not a whole Parquet file/);
    }),
    { numRuns: 50 },
  );
  // The middle is missing: the footer is whole, what it points to is not.
  const middle = Buffer.concat([whole.subarray(0, 4), whole.subarray(whole.length - 2000)]);
  await expect(io.readParquet({ bytes: middle })).rejects.toThrow(FileError);
  const footer = Buffer.from(whole);
  footer.writeUInt32LE(0x7fffffff, whole.length - 8);
  await expect(io.readParquet({ bytes: footer })).rejects.toThrow(/metadata length 2147483647 exceeds/);
});

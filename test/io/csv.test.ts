// CSV: types that are found and declared, missing values, lines in messages, batches of large files, writing.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { FileError, io, ValueError } from "../../lib/index.js";

const folder = mkdtempSync(join(tmpdir(), "nabla-csv-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, content?: string | Uint8Array) => {
  const path = join(folder, name);
  if (content !== undefined) writeFileSync(path, content);
  return path;
};
const example = (name: string) => new URL(`../../examples/data/${name}`, import.meta.url).pathname;
const read = (text: string, options: io.CsvOptions = {}) => io.readCsv({ text }, options);
const rejects = (promise: Promise<unknown>) =>
  promise.then(
    () => "read",
    (e: Error) => `${e.name}: ${e.message}`,
  );

const people = `name,age,city,member,score
"Ann, the first",34,Oslo,true,1e-3
Bob,NA,Rome,False,-2.5
"Cy ""C"" D",51,,TRUE,inf

Dee,28,Oslo,false,7
`;

test("types are those of all rows; quotes, blank lines and missing values are understood", async () => {
  const table = await read(people);
  expect(table.columns.map((c) => [c.name, c.type, c.missing])).toEqual([
    ["name", "category", []],
    ["age", "float32", [1]],
    ["city", "category", [2]],
    ["member", "bool", []],
    ["score", "float32", []],
  ]);
  expect(table.column("city").categories).toEqual(["Oslo", "Rome"]);
  expect([...table]).toEqual([
    { name: "Ann, the first", age: 34, city: "Oslo", member: true, score: 1e-3 },
    { name: "Bob", age: null, city: "Rome", member: false, score: -2.5 },
    { name: 'Cy "C" D', age: 51, city: null, member: true, score: Number.POSITIVE_INFINITY },
    { name: "Dee", age: 28, city: "Oslo", member: false, score: 7 },
  ]);
  expect(Array.from(table.lines)).toEqual([2, 3, 4, 6]);
});

test("features and target as tensors; categories one-hot, or as their numbers", async () => {
  const options = {
    columns: ["age", "city", "member"],
    target: "score",
    fill: { age: "mean", city: { value: "?" } },
  } as const;
  const table = await read(people, options);
  expect(table.features).toEqual(["age", "city=?", "city=Oslo", "city=Rome", "member"]);
  expect(table.x.dtype).toBe("float32");
  expect(table.x.toArray()).toEqual([
    [34, 0, 1, 0, 1],
    [Math.fround((34 + 51 + 28) / 3), 0, 0, 1, 0],
    [51, 1, 0, 0, 1],
    [28, 0, 1, 0, 0],
  ]);
  expect([table.y.shape, table.y.dtype]).toEqual([[4], "float32"]);
  expect([table.tensor("city").dtype, table.tensor("city").toArray()]).toEqual(["int64", [1, 2, 0, 1]]);
  expect(table.tensor(["member", "age"], { dtype: "float64" }).select(0, 1).toArray()).toEqual([0, (34 + 51 + 28) / 3]);
  const dropped = await read(people, { columns: ["age", "score"], target: ["score"], fill: "drop" });
  expect([dropped.x.toArray(), Array.from(dropped.lines)]).toEqual([
    [[34], [51], [28]],
    [2, 4, 6],
  ]);
  expect((await read("a,b,c\n1,2,x\n3,4,y\n", { target: ["a", "b"] })).y.toArray()).toEqual([[1, 2], [3, 4]]); // biome-ignore format: a matrix
});

test("declared types and categories, other headers and delimiters, comments, a limit", async () => {
  const table = await read("# made up\nid;zip;flag;level\n9007199254740993;0123;1;high\n-5;0999;0;low\n", {
    ...{ delimiter: ";", comment: "#", target: "level", dtypes: { id: "int64", zip: "string", flag: "bool" } },
    categories: { level: ["low", "medium", "high"] },
  });
  expect([...table]).toEqual([
    { id: 9007199254740993n, zip: "0123", flag: true, level: "high" },
    { id: -5n, zip: "0999", flag: false, level: "low" },
  ]);
  expect(table.tensor("id").dtype).toBe("int64");
  expect(table.y.toArray()).toEqual([2, 0]);
  expect((await read("1,2\n3,4\n5,6", { header: false, limit: 2 })).columns.map((c) => [c.name, ...(c.values as Float64Array)])).toEqual([["c0", 1, 3], ["c1", 2, 4]]); // biome-ignore format: short
  expect((await read("\ufeffa\tb\r\n1\t2\r\n", { delimiter: "\t" })).row(0)).toEqual({ a: 1, b: 2 });
  expect((await io.readCsv(file("x.tsv", "a\tb\n1\t2\n"))).row(0)).toEqual({ a: 1, b: 2 });
  const iris = await io.readCsv(example("iris.csv"), {
    header: ["sepal length", "sepal width", "petal length", "petal width", "species"],
    ...{ target: "species", dtypes: { species: "category" } },
  });
  expect([iris.x.shape, iris.x.mean(0).toArray()]).toEqual([[150, 4], [5.843333, 3.057333, 3.758, 1.199333].map((v) => expect.closeTo(v, 5))]); // biome-ignore format: short
  const digits = await io.readCsv(example("digits.csv.gz"), {
    header: false,
    target: "c64",
    dtypes: { c64: "int64" },
    limit: 500,
  });
  expect([digits.x.shape, digits.y.dtype, digits.y.shape]).toEqual([[500, 64], "int64", [500]]);
});

test("what does not fit is named with its line", async () => {
  expect(await rejects(read("a,b,c\n1,2,3\n\n4,5\n"))).toBe(
    "FileError: the text: line 4: 2 fields where the header has 3",
  );
  expect(await rejects(read('a,b\n"x\ny",1\nz,2,3\n'))).toBe(
    "FileError: the text: line 4: 3 fields where the header has 2",
  );
  const ages = `age\n${"30\n".repeat(7)}abc\n31\n`;
  expect(await rejects(read(ages, { dtypes: { age: "float32" } }))).toBe(
    'FileError: the text: line 9, column "age": "abc" is not a number',
  );
  // Undeclared, it is text; to be used as a feature it must be declared.
  const table = await read(ages);
  expect(table.row(0)).toEqual({ age: "30" });
  expect(() => table.x).toThrow(
    /line 9, column "age": "abc" is not a number, but 8 other values are; if it stands for/,
  );
  expect((await read(ages, { missing: ["abc"], fill: "drop" })).x.shape).toEqual([8, 1]);
  expect((await read(ages, { dtypes: { age: "category" } })).features).toEqual(["age=30", "age=31", "age=abc"]);
  expect(() => table.column("agee")).toThrow(/no column "agee"; did you mean "age"\? the columns are age/);

  expect(await rejects(read("n\n1\n1.5", { dtypes: { n: "int32" } }))).toMatch(
    /line 3, column "n": 1.5 is not a whole number from/,
  );
  expect(await rejects(read("n\n256", { dtypes: { n: "uint8" } }))).toMatch(/from 0 to 255, as uint8 needs/);
  expect(await rejects(read("n\n9223372036854775808", { dtypes: { n: "int64" } }))).toMatch(
    /not a whole number that int64 holds/,
  );
  expect(await rejects(read("n\nyes", { dtypes: { n: "bool" } }))).toMatch(
    /line 2, column "n": "yes" is not true, false, 1 or 0/,
  );
  expect(await rejects(read("c\nred\ngren", { categories: { c: ["red", "green"] } }))).toMatch(
    /line 3, column "c": "gren" is not one of its categories; did you mean "green"\? they are red, green/,
  );
  expect(await rejects(read('a,b\n1,2\n3,"4\n5,6\n'))).toBe(
    "FileError: the text: the quote that is opened in line 3 or below is not closed",
  );
  expect(await rejects(read('a,b\nx"y,2'))).toMatch(/FileError: .*line 2/);
  expect(await rejects(read(""))).toBe("FileError: the text: the file is empty");
  expect(await rejects(read("a,b\n"))).toMatch(/there is no row below the header/);
  expect(await rejects(read("a,a\n1,2"))).toMatch(/line 1: the header has "a" twice/);
  expect(await rejects(read("1,2\n3,4"))).toMatch(/the header is only numbers; header: false is for files without one/);
  expect(await rejects(read("a;b\n1;2"))).toMatch(/"a;b" is one field; did you mean delimiter: ";"\?/);
  const missing = await read("a,b\n1,\n2,3\n");
  expect(() => missing.tensor("b")).toThrow(
    /line 2, column "b": the value is missing; fill: \{ "b": "mean" \} or "drop"/,
  );
  expect(missing.tensor("a").toArray()).toEqual([1, 2]);
  expect(() => missing.y).toThrow(/no target was named/);
  expect(await rejects(io.readCsv(example("../../test/figures/reference.safetensors")))).toMatch(
    /FileError: .*this is no text/,
  );
  expect(await rejects(io.readCsv(file("none.csv")))).toMatch(/none.csv: there is no such file/);
  const packed = gzipSync(people);
  expect(await rejects(io.readCsv(file("cut.csv.gz", packed.subarray(0, 60))))).toMatch(
    /its gzip data is damaged or truncated/,
  );

  for (const [options, message] of [
    [{ colums: ["a"] }, /unknown option colums; did you mean columns\?/],
    [{ columns: ["A"] }, /there is no column "A"; did you mean "a"\?/],
    [{ target: "c" }, /there is no column "c"/],
    [{ fill: "median" }, /fill must be "error", "mean", "drop", a number/],
    [{ fill: { a: { value: "x" } } }, /the column is float32; give a number/],
    [{ dtypes: { a: "float31" } }, /a column's type is a dtype/],
    [{ limit: 0 }, /limit must be an integer ≥ 1/],
    [{ delimiter: "" }, /delimiter must be a text/],
  ] as [object, RegExp][]) {
    expect(await rejects(read("a,b\n1,2\n", options))).toMatch(message);
  }
});

test("files larger than memory: batches by one schema, closed when the loop ends early", async () => {
  const rows = Array.from({ length: 2000 }, (_, i) => [i, i % 7 === 0 ? "" : i / 2, ["red", "green", "blue"][i % 3]]);
  const path = file("large.csv.gz", gzipSync(`id,half,color\n${rows.map((r) => r.join(",")).join("\n")}\n`));
  const whole = await io.readCsv(path, { target: "color", fill: { half: "mean" } });
  expect(await io.inferCsvSchema(path, { target: "color", fill: { half: "mean" } })).toEqual(whole.schema);
  const schema = JSON.parse(JSON.stringify(whole.schema));
  for (const options of [{ target: "color", fill: { half: "mean" } } as const, { schema }]) {
    const batches = io.csvBatches(path, { batchSize: 640, ...options });
    for (let pass = 0; pass < 2; pass++) {
      let at = 0;
      for await (const table of batches) {
        expect(table.x.equal(whole.x.slice(0, at, at + table.length))).toBe(true);
        expect(table.y.equal(whole.y.slice(0, at, at + table.length))).toBe(true);
        expect(table.lines[0]).toBe(at + 2);
        at += table.length;
      }
      expect(at).toBe(2000);
    }
  }
  const open = () => readdirSync("/proc/self/fd").length;
  if (process.platform === "linux") {
    const before = open();
    for (let i = 0; i < 3; i++) for await (const row of io.csvRows(path, { schema })) if (row.id === 10) break;
    expect(open()).toBe(before);
  }
  // Another file, to be predicted: other columns, another order, no target.
  const other = "more,color2,half,id\n7,x,,1\n8,y,3,2\n";
  const tables: io.Table[] = [];
  for await (const table of io.csvBatches({ text: other }, { schema })) tables.push(table);
  const mean = schema.columns[1].fill;
  expect(tables[0].x.toArray()).toEqual([[1, Math.fround(mean)], [2, 3]]); // biome-ignore format: a matrix
  await expect(io.readCsv({ text: "Id,half\n1,2" }, { schema })).rejects.toThrow(/no column "id"; did you mean "Id"\?/);
  await expect(io.readCsv({ text: "id,half\n1,2" }, { schema, fill: "drop" })).rejects.toThrow(
    /fill and schema exclude/,
  );
  await expect(io.readCsv({ text: "id,half\n1,\nq,2" }, { schema })).rejects.toThrow(
    /line 3, column "id": "q" is not a number/,
  );
});

test("CSV in, CSV out, row by row; the old file stays where the rows end with an error", async () => {
  const path = file("out.csv");
  const source = io.csvRows({ text: people });
  async function* doubled(fail: boolean) {
    for await (const row of source) {
      if (fail && row.name === "Bob") throw new Error("stopped");
      yield { ...row, twice: row.age === null ? null : 2 * (row.age as number) };
    }
  }
  await io.writeCsv(path, doubled(false));
  const written = readFileSync(path, "utf8");
  expect(written).toBe(
    'name,age,city,member,score,twice\n"Ann, the first",34,Oslo,true,0.001,68\nBob,,Rome,false,-2.5,\n' +
      '"Cy ""C"" D",51,,true,Infinity,102\nDee,28,Oslo,false,7,56\n',
  );
  await expect(io.writeCsv(path, doubled(true))).rejects.toThrow("stopped");
  expect([readFileSync(path, "utf8"), readdirSync(folder).filter((f) => f.endsWith(".tmp"))]).toEqual([written, []]);
  await io.writeCsv(file("out.csv.gz"), doubled(false));
  expect(gunzipSync(readFileSync(file("out.csv.gz"))).toString()).toBe(written);
  await expect(io.writeCsv(file("out.csv.gz"), doubled(true))).rejects.toThrow("stopped");
  await io.writeCsv(path, [[1, "a b"], [2, " c"]], { header: ["n", "t"] }); // biome-ignore format: short
  expect(readFileSync(path, "utf8")).toBe('n,t\n1,a b\n2," c"\n');
  for (const [rows, message] of [
    [[[1, 2], [3]], /row 2 has 1 fields, the others 2/],
    [[{ a: 1 }, { a: 2, b: 3 }], /row 2 has "b", which is not among a/],
    [[{ a: {} }], /a field is a plain object/],
    [[5], /row 1 is the number 5/],
  ] as [never[], RegExp][]) {
    await expect(io.writeCsv(path, rows)).rejects.toThrow(message);
  }
});

test("any texts and numbers come back as they were written", async () => {
  const text = fc.string({ unit: fc.constantFrom(..."ab,;\"'\n\r\t é#") }).map((s) => `x${s}`);
  const rows = fc.array(fc.tuple(text, fc.double({ noNaN: true }), text), { minLength: 1, maxLength: 8 });
  const delimiters = fc.constantFrom(",", ";", "\t");
  let n = 0;
  await fc.assert(
    fc.asyncProperty(rows, delimiters, async (list, delimiter) => {
      const path = file(`any-${n++ % 4}.csv`);
      await io.writeCsv(path, list, { header: ["a", "n", "z"], delimiter });
      const table = await io.readCsv(path, { delimiter, dtypes: { a: "string", n: "float64", z: "string" } });
      expect([...table].map((r) => [r.a, Object.is(r.n, -0) ? 0 : r.n, r.z])).toEqual(
        list.map(([a, v, z]) => [a, Object.is(v, -0) ? 0 : v, z]),
      );
    }),
    { numRuns: 40 },
  );
  // Arbitrary bytes are read or refused, never anything else.
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: fc.constantFrom(...'1a,"\n\r ;\0é') }), async (text) => {
      const error = await read(text).then(
        () => null,
        (e) => e,
      );
      if (error !== null) expect(error).toBeInstanceOf(FileError);
    }),
    { numRuns: 200 },
  );
  await expect(io.readCsv({} as never)).rejects.toThrow(ValueError);
});

test("streams: bytes that come once, texts that go on, errors of both", async () => {
  const { schema } = await io.readCsv({ text: "a,b\n1,x\n2,y\n" });
  const pieces = (...texts: string[]) => Readable.from(texts.map((text) => Buffer.from(text)));
  const rows = io.csvRows(pieces("b,a\nx", ",1.5\ny", ",2\n"), { schema });
  const written: string[] = [];
  const writer = {
    write(text: string, done: () => void) {
      written.push(text);
      setImmediate(done);
    },
  };
  await io.writeCsv(writer, rows);
  expect(written.join("")).toBe("a,b\n1.5,x\n2,y\n");
  expect(() => io.csvBatches(pieces("a\n1\n"))).toThrow(
    "a stream can be read once only, so it needs the option schema",
  );
  await expect(io.writeCsv(writer, io.csvRows(pieces("a,b\nz,x\n"), { schema }))).rejects.toThrow("the stream: line 2");
  const broken = { write: (_: string, done: (error: Error) => void) => done(new Error("EPIPE")) };
  await expect(io.writeCsv(broken, [{ a: 1 }])).rejects.toThrow("EPIPE");
});

test("a limit that dropped rows exhaust; columns that are called as members of every object", async () => {
  const text = "a,b\n,1\n,2\n3,3\n";
  await expect(io.readCsv({ text }, { fill: "drop", limit: 2 })).rejects.toThrow(/no row without missing values/);
  expect((await io.readCsv({ text }, { fill: "drop", limit: 3 })).length).toBe(1);
  const table = await io.readCsv({ text: "constructor,toString\n1,constructor\n2,valueOf\n" });
  expect(table.column("constructor").type).toBe("float32");
  expect(table.column("toString").type).not.toBe("bool");
});

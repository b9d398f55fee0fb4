// `nabla predict`: tables in, predictions out.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { predict } from "../../lib/cli/predict.js";
import { train } from "../../lib/cli/train.js";
import { folder, here, iris, irisCsv, nabla } from "./nabla.js";

const at = (name: string): string => join(folder, name);
const table = (text: string): string[][] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => line.split(","));

beforeAll(async () => {
  await here(train, iris, "--directory", at("iris"), "--epochs", "15", "--log", "none");
});

describe("rows", () => {
  test("are read by the names of their columns and written in their order", async () => {
    const [header, ...rows] = table(readFileSync(irisCsv, "utf8"));
    expect(header).toEqual(["sepalLength", "sepalWidth", "petalLength", "petalWidth", "species"]);
    // Another order of the columns, one more, and nothing of what is to be predicted.
    const mixed = rows.map(([a, b, c, d], i) => [d, `flower ${i}`, a, c, b].join(","));
    writeFileSync(at("mixed.csv"), `petalWidth,id,sepalLength,petalLength,sepalWidth\n${mixed.join("\n")}\n`);
    const plain = table((await here(predict, at("iris"), irisCsv)).stdout);
    expect(plain).toHaveLength(151);
    expect(plain[0]).toEqual(["species"]);
    const right = rows.filter(([, , , , species], i) => plain[i + 1][0] === species).length;
    expect(right).toBeGreaterThan(135);
    const options = ["--keep", "id,petalWidth", "--probabilities", "--batch-size", "7"];
    const full = table((await here(predict, at("iris"), at("mixed.csv"), ...options)).stdout);
    expect(full[0]).toEqual(["id", "petalWidth", "species", "p_setosa", "p_versicolor", "p_virginica"]);
    expect(full.map((row) => row[2])).toEqual(plain.map((row) => row[0]));
    for (const [i, [id, width, species, ...shares]] of full.slice(1).entries()) {
      const p = shares.map(Number);
      expect([id, Number(width)]).toEqual([`flower ${i}`, Number(rows[i][3])]);
      expect(p.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      expect(species).toBe(["setosa", "versicolor", "virginica"][p.indexOf(Math.max(...p))]);
    }
    // A file without a header.
    writeFileSync(at("bare.csv"), `${rows.map((row) => row.slice(0, 4).join(",")).join("\n")}\n`);
    const names = ["--header", "sepalLength,sepalWidth,petalLength,petalWidth", "--output", at("bare.out.csv")];
    expect(await here(predict, at("iris"), at("bare.csv"), ...names)).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(table(readFileSync(at("bare.out.csv"), "utf8"))).toEqual(plain);
  });

  test("numbers and two classes", { timeout: 60_000 }, async () => {
    const rows = Array.from({ length: 40 }, (_, i) => `${i / 10},${2 * (i / 10) + 1},${i < 20 ? "low" : "high"}`);
    writeFileSync(at("line.csv"), `x,y,side\n${rows.join("\n")}\n`);
    const job = {
      model: [{ Linear: [1, 1] }],
      optimizer: { name: "adam", lr: 0.1 },
      epochs: 80,
      log: "none",
      batchSize: 8,
    };
    const run = async (name: string, data: object, loss: string) => {
      writeFileSync(
        at(`${name}.json`),
        JSON.stringify({ ...job, loss, data: { csv: "line.csv", columns: ["x"], ...data } }),
      );
      expect((await here(train, at(`${name}.json`), "--directory", at(name))).code).toBe(0);
      writeFileSync(at("asked.csv"), "x\n0.5\n3.5\n");
      const options = loss === "mse" ? [] : ["--probabilities"];
      return table((await here(predict, at(name), at("asked.csv"), ...options)).stdout);
    };
    const [head, [low], [high]] = await run("numbers", { target: "y" }, "mse");
    expect(head).toEqual(["y"]);
    expect([Number(low), Number(high)]).toEqual([expect.closeTo(2, 1), expect.closeTo(8, 1)]);
    const two = await run("two", { target: "side" }, "bce_with_logits");
    expect(two[0]).toEqual(["side", "p_high", "p_low"]);
    expect(two.slice(1).map(([side]) => side)).toEqual(["low", "high"]);
    for (const [, a, b] of two.slice(1)) expect(Number(a) + Number(b)).toBeCloseTo(1, 5);
    await expect(here(predict, at("numbers"), at("asked.csv"), "--probabilities")).rejects.toThrow(
      "predicts numbers, not classes",
    );
  });
});

describe("mistakes", () => {
  const header = "sepalLength,sepalWidth,petalLength,petalWidth\n";
  test.each([
    [
      "a column",
      "sepalLength,sepalWidth,petalLngth,petalWidth\n1,2,3,4\n",
      'there is no column "petalLength"; did you mean "petalLngth"?',
    ],
    ["a value", `${header}1,2,3,4\n1,2,x3,4\n`, 'line 3, column "petalLength": "x3" is not a number'],
    ["a row", `${header}1,2,3,4\n1,2,3,4\n1,2,3\n`, "line 4: 3 fields where the header has 4"],
    ["a missing value", `${header}1,2,3,4\n1,,3,4\n`, 'line 3, column "sepalWidth": the value is missing'],
  ])("%s: the line is named, and nothing is written", async (_, text, message) => {
    writeFileSync(at("bad.csv"), text);
    await expect(here(predict, at("iris"), at("bad.csv"), "-o", at("bad.out.csv"))).rejects.toThrow(message);
    expect(existsSync(at("bad.out.csv"))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("the command's own", async () => {
    await expect(here(predict, at("iris"))).rejects.toThrow("<input.csv> is missing");
    await expect(here(predict, at("iris"), irisCsv, "--probabilites")).rejects.toThrow("did you mean --probabilities?");
    await expect(here(predict, at("nowhere"), irisCsv)).rejects.toThrow("there is no such file");
    await expect(here(predict, iris, irisCsv)).rejects.toThrow("a run's directory is needed");
    await expect(here(predict, at("iris"), irisCsv, "--weights", "first")).rejects.toThrow("best or last, got first");
    await expect(here(predict, at("iris"), irisCsv, "--keep", "specis")).rejects.toThrow('did you mean "species"?');
  });
});

describe("as a process", () => {
  /** Rows that begin with a text of that length. */
  function* rows(count: number, length: number): Generator<string> {
    yield "id,sepalLength,sepalWidth,petalLength,petalWidth\n";
    for (let i = 0; i < count; i += 1000) {
      const row = (n: number) => `${String(n).padEnd(length, "x")},${5 + (n % 7) / 3},3.25,${1 + (n % 11) / 2},0.5\n`;
      yield Array.from({ length: 1000 }, (_, j) => row(i + j)).join("");
    }
  }

  test("a table of any size goes through in little memory", { timeout: 60_000 }, async () => {
    const [count, length] = [40_000, 1000]; // 40 MB of texts, which are kept
    const text = "process.on('exit', () => console.error(process.resourceUsage().maxRSS))";
    // They would not fit in a heap of 32 MB.
    const node = [
      "--max-old-space-size=32",
      "--max-semi-space-size=2",
      "--import",
      `data:text/javascript,${encodeURIComponent(text)}`,
    ];
    let [seen, last] = [0, ""];
    const { child, ended } = nabla(
      ["predict", at("iris"), "-", "--keep", "id"],
      (line) => {
        seen++;
        last = line;
      },
      node,
    );
    for (const piece of rows(count, length)) {
      if (!child.stdin.write(piece)) await new Promise((resolve) => child.stdin.once("drain", resolve));
    }
    child.stdin.end();
    const { code, stderr } = await ended;
    expect(code, stderr).toBe(0);
    expect([seen, last.split("x")[0]]).toEqual([count + 1, String(count - 1)]);
    expect(Number(stderr) / 1024).toBeLessThan(160); // MiB; 60 of them are Node's own
  });

  test("ends quietly when nobody reads on", async () => {
    const { child, ended } = nabla(["predict", at("iris"), "-"], () => child.stdout.destroy());
    child.stdin.on("error", () => {}); // it stops reading, too
    for (const piece of rows(20_000, 1)) child.stdin.write(piece);
    child.stdin.end();
    expect(await ended).toMatchObject({ code: 0, stderr: "" });
  });
});

// The examples, each run as a user runs it: with node, on the built package.
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const folder = new URL("../examples/", import.meta.url);
const programs = readdirSync(folder).filter((name) => name.endsWith(".mjs"));
// `npm start` runs this one; it trains for longer and writes a report.
const numbered = programs.filter((name) => name !== "digits.mjs");

// A minute and more without native code.
const slow = process.env.NABLA_DEVICE === "js" ? numbered.filter((name): boolean => name === "07-cnn.mjs") : [];

describe("examples", () => {
  test.skip.each(slow)("%s (it takes minutes on the JS device)", () => {});

  test.each(numbered.filter((name) => !slow.includes(name)))("%s", { timeout: 60_000 }, async (name) => {
    // A nonzero exit code rejects, with what the program wrote to stderr.
    const run = await promisify(execFile)(process.execPath, [fileURLToPath(new URL(name, folder))]);
    expect(run.stdout).not.toBe("");
    expect(run.stderr).toBe("");
  });

  test("the list names every one", () => {
    const list = readFileSync(new URL("README.md", folder), "utf8");
    for (const name of programs) expect(list).toContain(`[${name}](${name})`);
  });
});

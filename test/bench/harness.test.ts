// The harness as a program: a tiny row against peers that are missing, wrong or crash, and an interruption midway.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addonPath } from "../package/installed.js";

const root = resolve(import.meta.dirname, "../..");
const peers = join(import.meta.dirname, "peers");
const folder = mkdtempSync(join(tmpdir(), "nabla-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  code: number | null;
  stderr: string;
  result: {
    interrupted: boolean;
    rows: {
      id: string;
      name: string;
      contestants: { peer: string; ours: boolean; best?: number; times: (number | null)[] }[];
      gaps: { peer: string; why: string; crashed?: boolean }[];
    }[];
    contestants: { name: string; why?: string }[];
  };
  report: string;
}

/** Runs the harness; `interrupt` sees what it says and may end it. */
function bench(name: string, args: string[], interrupt?: (said: string, stop: () => void) => void): Promise<Run> {
  const json = join(folder, `${name}.json`);
  const child = spawn(process.execPath, ["bench/run.mjs", "--threads", "1", "--json", json, ...args], {
    cwd: root,
    env: { ...process.env, NABLA_DEVICE: "" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
    interrupt?.(stderr, () => child.kill("SIGINT"));
  });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code) => {
      if (!existsSync(json)) return fail(new Error(`no results: ${stderr}`));
      const result = JSON.parse(readFileSync(json, "utf8"));
      done({ code, stderr, result, report: readFileSync(json.replace(/json$/, "md"), "utf8") });
    });
  });
}

const device = addonPath ? "cpu" : "js";

describe("the harness", () => {
  let run: Run;
  beforeAll(async () => {
    const list = ["crashing.mjs", "wrong.mjs", "missing.mjs"].map((file) => join(peers, file));
    run = await bench("gaps", ["--only", "D1", "--rounds", "2", "--devices", device, "--peers", list.join(",")]);
  }, 60_000);

  test("measures ourselves whatever the peers do", () => {
    expect(run.code).toBe(0);
    expect(run.result.interrupted).toBe(false);
    expect(run.result.rows.map(({ id, name }) => `${id} ${name}`)).toEqual([
      "D1 add, 4 elements",
      "D1 add, 4 elements, with gradient",
    ]);
    for (const { contestants } of run.result.rows) {
      const ours = contestants.filter((c) => c.ours);
      expect(ours.length).toBe(2);
      for (const { best, times } of ours) {
        expect(best).toBeGreaterThan(0);
        expect(times.length).toBe(2);
      }
    }
  });

  test("a peer that crashes is a gap with the reason, and is tried again in the next row", () => {
    for (const { gaps } of run.result.rows) {
      expect(gaps).toContainEqual({ peer: "crashing", why: "exit code 7: Error: out of luck", crashed: true });
    }
  });

  test("a peer with wrong numbers is never timed", () => {
    for (const { contestants, gaps } of run.result.rows) {
      expect(contestants.some(({ peer }) => peer === "wrong")).toBe(false);
      expect(gaps.find(({ peer }) => peer === "wrong")?.why).toMatch(/^wrong result: element 0 is 0, not /);
    }
  });

  test("a peer that is not there is a gap", () => {
    expect(run.result.rows[0].gaps.find(({ peer }) => peer === "missing")?.why).toMatch(/missing\.mjs/);
    expect(run.report).toMatch(/\| missing \| gap: /);
    expect(run.report).toMatch(/\| crashing \| gap: exit code 7: Error: out of luck/);
  });

  test("the report has the targets and our figures", () => {
    expect(run.report).toMatch(/^## Targets: \d of 2 met$/m);
    expect(run.report).toMatch(/\| D1 add, 4 elements \| eager ≤ 0\.6 µs \| [\d.]+ µs \| /);
  });
});

test("an interruption keeps what was measured", { timeout: 60_000 }, async () => {
  let asked = false;
  const args = ["--only", "D1,T5,T4,G3", "--rounds", "3", "--devices", device, "--peers", ""];
  const run = await bench("interrupted", args, (said, stop) => {
    // T5 has begun when T4 is told.
    if (asked || !said.includes("bench: T4")) return;
    asked = true;
    stop();
  });
  expect(run.code).toBe(130);
  expect(run.stderr).toContain("interrupted: what was measured is kept");
  expect(run.result.interrupted).toBe(true);
  const ids = run.result.rows.map(({ id }) => id);
  expect(ids).toContain("T4");
  expect(ids).not.toContain("D1");
  expect(run.report).toContain("interrupted: partial");
  for (const { gaps } of run.result.rows) expect(gaps.filter(({ peer }) => peer !== "limit")).toEqual([]);
});

test("an option that is wrong is refused", async () => {
  const child = spawn(process.execPath, ["bench/run.mjs", "--only", "G9"], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const code = await new Promise((done) => child.on("close", done));
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining("there is no row G9") });
});

// `nabla report` and `nabla board`, as a user runs them.
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { folder, makeRun } from "../report/runs.js";

const root = resolve(import.meta.dirname, "../..");
const cli = join(root, "dist/cli.js");
beforeAll(() => {
  execFileSync(process.execPath, [join(root, "scripts/build.mjs"), "--if-stale"], { stdio: "inherit" });
}, 120_000);

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}
const nabla = (...args: string[]): Promise<Ended> =>
  promisify(execFile)(process.execPath, [cli, ...args]).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error) => error as Ended,
  );

test("nabla report writes the page and says what the curves say", { timeout: 60_000 }, async () => {
  const run = makeRun(folder(), "a");
  const { code, stdout, stderr } = await nabla("report", run);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(
    /^The model overfits from epoch \d+ on.*\n\nreport: .*report\.html, with 2 pictures beside it\n$/,
  );
  expect(existsSync(join(run, "report.html"))).toBe(true);
  const json = await nabla("report", "--json", "--out", join(run, "other.html"), run);
  expect(JSON.parse(json.stdout)).toMatchObject({ path: join(run, "other.html"), diagnosis: { verdict: "overfits" } });
});

test("nabla report says what is wrong without a stack", { timeout: 60_000 }, async () => {
  const at = folder();
  mkdirSync(join(at, "empty"));
  for (const [args, message] of [
    [["report"], /<run> is missing/],
    [["report", join(at, "nowhere")], /there is no such directory/],
    [["report", join(at, "empty")], /holds neither run\.json nor log\.jsonl/],
    [["report", "a", "b"], /unexpected argument "b"/],
    [["board", join(at, "nowhere")], /there is no folder/],
    [["board", at, "--port", "many"], /an integer from 0 to 65535/],
  ] as const) {
    const { code, stderr } = await nabla(...args);
    expect([code, stderr.split("\n").length]).toEqual([2, 2]);
    expect(stderr).toMatch(message);
  }
});

test("nabla board serves until it is told to end", { timeout: 60_000 }, async () => {
  const at = folder();
  makeRun(at, "a");
  const child: ChildProcess = spawn(process.execPath, [cli, "board", at, "--port", "0"]);
  const ended = new Promise<number | null>((done) => child.once("exit", done));
  const said = await new Promise<string>((done) => child.stdout?.once("data", (chunk) => done(String(chunk))));
  const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(said)?.[0] as string;
  expect(await (await fetch(url)).text()).toContain("overfits");
  child.kill("SIGTERM");
  expect(await ended).toBe(0);
});

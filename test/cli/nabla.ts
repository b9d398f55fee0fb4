// The command, run in this process (its exit code and what it writes), or as a process of its own.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, vi } from "vitest";

export const root = resolve(import.meta.dirname, "../..");
export const iris = join(root, "examples/jobs/iris.json");
export const irisCsv = join(root, "examples/jobs/iris.csv");

export const folder = mkdtempSync(join(tmpdir(), "nabla-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a subcommand here; what it throws is thrown. */
export async function here(command: (args: string[]) => Promise<number>, ...args: string[]) {
  let stdout = "";
  let stderr = "";
  const write = (add: (text: string) => void) => (text: unknown, done?: unknown) => {
    add(String(text));
    if (typeof done === "function") done();
    return true;
  };
  const toOut = (text: string) => {
    stdout += text;
  };
  const toErr = (text: string) => {
    stderr += text;
  };
  const out = vi.spyOn(process.stdout, "write").mockImplementation(write(toOut) as never);
  const err = vi.spyOn(process.stderr, "write").mockImplementation(write(toErr) as never);
  const log = vi.spyOn(console, "log").mockImplementation((text) => toOut(`${text}\n`));
  try {
    const code = await command(args);
    return { code, stdout, stderr };
  } finally {
    for (const spy of [out, err, log]) spy.mockRestore();
  }
}

/** The built command as a process; `onLine` sees each line that it writes. */
export function nabla(
  args: readonly string[],
  onLine: (line: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
  node: readonly string[] = [],
) {
  const child = spawn(process.execPath, [...node, join(root, "dist/cli.js"), ...args], { cwd: folder });
  let stdout = "";
  let stderr = "";
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    const lines = (rest + text).split("\n");
    rest = lines.pop() as string;
    for (const line of lines) onLine(line, (signal) => child.kill(signal));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>((done) => {
    child.on("close", (code, signal) => done({ code, signal, stdout, stderr }));
  });
  return { child, ended };
}

export const hash = (...path: string[]): string =>
  createHash("sha256")
    .update(readFileSync(join(folder, ...path)))
    .digest("hex");
export const json = (...path: string[]) => JSON.parse(readFileSync(join(folder, ...path), "utf8"));
export const lines = (...path: string[]) =>
  readFileSync(join(folder, ...path), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

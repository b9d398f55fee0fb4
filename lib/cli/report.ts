// `nabla report`: writes the page of a run. `nabla board`: serves the runs of a folder as they go.
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { FileError, ValueError } from "../index.js";
import { shown } from "./run.js";
import { parse, UsageError } from "./usage.js";

const reportHelp = `Usage: nabla report <run> [options]

Writes the report of a run, such as runs/digits: one page with curves, diagnosis, evaluation, model and settings, and the
pictures as SVG files beside it. A run that is still going on has one, too.

  --out FILE  the page (default: report.html in the run's directory)
  --open      show it in the browser
  --json      what the curves say, for a program
`;

const boardHelp = `Usage: nabla board [folder] [options]

Shows the runs in a folder (default: runs) in the browser, and follows those that are going on. For this machine only, and
without a password; ends with Ctrl+C.

  --port N     default 6070; 0 takes a free one
  --host NAME  default 127.0.0.1
`;

/** What a user gave wrongly is said without a stack. */
async function asked<R>(work: Promise<R>): Promise<R> {
  return work.catch((error: unknown) => {
    throw error instanceof FileError || error instanceof ValueError ? new UsageError(error.message) : error;
  });
}

export async function report(args: string[]): Promise<number> {
  const known = { out: { type: "string" }, open: { type: "boolean" }, json: { type: "boolean" } } as const;
  const options = parse(args, known, reportHelp, ["<run>"]);
  if (!options) return 0;
  const { writeReport } = await import("../report/index.js");
  const { path, pictures, diagnosis } = await asked(writeReport(options.operands[0], options.out));
  if (options.json) process.stdout.write(`${JSON.stringify({ path, pictures, diagnosis }, null, 2)}\n`);
  else {
    if (diagnosis) process.stdout.write(`${diagnosis.text}\n\n`);
    process.stdout.write(`report: ${shown(resolve(path))}, with ${pictures.length} pictures beside it\n`);
  }
  if (options.open) open(resolve(path));
  return 0;
}

/** Shows a file with the program that the system has for it. */
function open(path: string): void {
  const openers: Record<string, string[]> = { darwin: ["open"], win32: ["cmd", "/c", "start", ""] };
  const [command, ...args] = openers[process.platform] ?? ["xdg-open"];
  const child = spawn(command, [...args, path], { detached: true, stdio: "ignore" });
  child.on("error", () => process.stderr.write(`nabla: there is no ${command} to show ${path}\n`));
  child.unref();
}

export async function board(args: string[]): Promise<number> {
  const options = parse(args, { port: { type: "string" }, host: { type: "string" } }, boardHelp, ["[folder]"]);
  if (!options) return 0;
  const { operands, port, host } = options;
  const [directory = "runs"] = operands;
  const ended = new Promise<void>((done) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => done());
  });
  const { board: serve } = await import("../report/index.js");
  const served = await asked(serve({ directory, port: port === undefined ? undefined : Number(port), host }));
  process.stdout.write(`runs in ${directory}: ${served.url}\n`);
  await ended;
  await served.close();
  return 0;
}

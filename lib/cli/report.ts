// `nabla report`: writes the page of a run. `nabla board`: serves the runs of a folder as they go.
import { relative } from "node:path";
import { FileError, ValueError } from "../index.js";
import { board, writeReport } from "../report/index.js";
import { parse, UsageError } from "./usage.js";

const reportHelp = `Usage: nabla report <run> [options]

Writes the report of a run, such as runs/digits: one page with curves, diagnosis, evaluation, model and settings, and the
pictures as SVG files beside it.

  --out FILE  the page (default: report.html in the run's directory)
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
  const options = parse(args, { out: { type: "string" }, json: { type: "boolean" } }, reportHelp, 1);
  if (!options) return 0;
  const [directory] = options.positionals;
  if (directory === undefined) throw new UsageError("nabla report needs the directory of a run, such as runs/digits");
  const { path, pictures, diagnosis } = await asked(writeReport(directory, options.out as string | undefined));
  if (options.json) process.stdout.write(`${JSON.stringify({ path, pictures, diagnosis }, null, 2)}\n`);
  else {
    if (diagnosis) process.stdout.write(`${diagnosis.text}\n\n`);
    process.stdout.write(`report: ${relative("", path)}, with ${pictures.length} pictures beside it\n`);
  }
  return 0;
}

export async function serve(args: string[]): Promise<number> {
  const options = parse(args, { port: { type: "string" }, host: { type: "string" } }, boardHelp, 1);
  if (!options) return 0;
  const { positionals, port, host } = options;
  const [directory = "runs"] = positionals;
  const where = {
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(host === undefined ? {} : { host: String(host) }),
  };
  const served = await asked(board({ directory, ...where }));
  process.stdout.write(`runs in ${directory}: ${served.url}\n`);
  await new Promise<void>((done) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => done());
  });
  await served.close();
  return 0;
}

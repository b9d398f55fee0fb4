// `nabla report`: the report of a run, as a page. `nabla board`: runs as they go, in a browser.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { shown } from "./run.js";
import { parse, UsageError } from "./usage.js";

const reportHelp = `Usage: nabla report <run> [options]

Writes a page with the curves of a run, what they say, its evaluation, model and settings; also while it is under way.

  --output, -o FILE  where to (default: report.html in the run's directory); pictures go beside it
  --open             show it in the browser
`;

export async function report(args: string[]): Promise<number> {
  const options = parse(args, { output: { type: "string", short: "o" }, open: { type: "boolean" } }, reportHelp, [
    "<run>",
  ]);
  if (!options) return 0;
  const [directory] = options.operands;
  if (!existsSync(join(directory, "run.json"))) {
    throw new UsageError(`${directory}: there is no run.json in it; is it a run's directory?`);
  }
  const { writeReport } = await import("../report/index.js");
  const { path } = await writeReport(directory, options.output);
  process.stdout.write(`${shown(resolve(path))}\n`);
  if (options.open) open(resolve(path));
  return 0;
}

/** Shows a file with the program that the system has for it. */
function open(path: string): void {
  const [command, ...args] = { darwin: ["open"], win32: ["cmd", "/c", "start", ""] }[process.platform as string] ?? [
    "xdg-open",
  ];
  const child = spawn(command, [...args, path], { detached: true, stdio: "ignore" });
  child.on("error", () => process.stderr.write(`nabla: ${command} is not there to open ${path}\n`));
  child.unref();
}

const boardHelp = `Usage: nabla board [directory] [options]

Serves the runs in a directory (default: runs) as pages that follow the training, until it is stopped. It has no password:
leave the host as it is and reach another machine's board through ssh -L.

  --port N     default 6070; 0 takes one that is free
  --host HOST  default 127.0.0.1: for this machine only
`;

export async function board(args: string[]): Promise<number> {
  const options = parse(args, { port: { type: "string" }, host: { type: "string" } }, boardHelp, ["[directory]"]);
  if (!options) return 0;
  const [directory = "runs"] = options.operands;
  if (!existsSync(directory))
    throw new UsageError(`${directory}: there is no such directory; nabla train makes runs/<name>`);
  const port = options.port === undefined ? undefined : Number(options.port);
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port < 65536)) {
    throw new UsageError(`--port: a whole number from 0 to 65535, got ${options.port}`);
  }
  const ended = new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, resolve);
  });
  const { board: serve } = await import("../report/index.js");
  const server = await serve({ directory, port, host: options.host });
  process.stdout.write(`${server.url}\n`);
  await ended;
  await server.close();
  return 0;
}

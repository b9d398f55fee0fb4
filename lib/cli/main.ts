// The `nabla` command: finds the subcommand and runs it.
import { closest } from "../closest.js";
import { version } from "../index.js";
import { bench } from "./bench.js";
import { doctor } from "./doctor.js";
import { report, serve } from "./report.js";
import { UsageError } from "./usage.js";

interface Command {
  readonly summary: string;
  /** Returns the exit code. */
  run(args: string[]): number | Promise<number>;
}

const commands: Readonly<Record<string, Command>> = {
  doctor: {
    summary: "say what this machine offers, what Nabla uses of it, and what to do about what is missing",
    run: doctor,
  },
  bench: {
    summary: "measure how fast this machine's device is, in about a minute",
    run: bench,
  },
  report: {
    summary: "write the report of a training run as a page",
    run: report,
  },
  board: {
    summary: "show training runs in the browser as they go",
    run: serve,
  },
};

const help = (): string => `Usage: nabla <command> [options]

Commands:
${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`)
  .join("\n")}

Options:
  --help, -h     this text; after a command, what that command takes
  --version, -v  the version of nablajs
`;

function unknown(name: string): UsageError {
  const close = closest(name, Object.keys(commands));
  const what = name.startsWith("-") ? "option" : "command";
  return new UsageError(
    `unknown ${what} ${JSON.stringify(name)}; ${close ? `did you mean "nabla ${close}"?` : "`nabla --help` lists what there is"}`,
  );
}

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined) {
    process.stderr.write(help());
    return 2;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    process.stdout.write(help());
    return 0;
  }
  if (name === "--version" || name === "-v") {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  if (!Object.hasOwn(commands, name)) throw unknown(name);
  return commands[name].run(args);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    if (error instanceof UsageError) {
      process.stderr.write(`nabla: ${error.message}\n`);
      process.exitCode = 2;
      return;
    }
    process.stderr.write(`nabla: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);

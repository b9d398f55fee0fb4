// The `nabla` command: finds the subcommand and runs it.
import { closest } from "../closest.js";
import { NablaError, version } from "../index.js";
import { bench } from "./bench.js";
import { doctor } from "./doctor.js";
import { evaluate } from "./evaluate.js";
import { predict } from "./predict.js";
import { board, report } from "./report.js";
import { train } from "./train.js";
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
  train: {
    summary: "train what a settings file or a module describes; may be stopped and continued",
    run: train,
  },
  evaluate: {
    summary: "the loss and metrics of a run's model, on its test data or another table",
    run: evaluate,
  },
  predict: {
    summary: "a table in, its predictions out",
    run: predict,
  },
  report: {
    summary: "write the report of a run: curves, what they say, model and settings",
    run: report,
  },
  board: {
    summary: "follow runs in a browser while they are trained",
    run: board,
  },
  bench: {
    summary: "measure how fast this machine's device is, in about a minute",
    run: bench,
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

// Who read the output has gone (`nabla … | head`): there is nobody to write for, and nothing went wrong.
const isBrokenPipe = (error: unknown): boolean => (error as NodeJS.ErrnoException | undefined)?.code === "EPIPE";
process.stdout.on("error", (error) => {
  if (!isBrokenPipe(error)) throw error;
});

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    if (isBrokenPipe(error)) return;
    // What the library refuses on purpose says all there is to say; anything else has its stack.
    const known = error instanceof UsageError || error instanceof NablaError;
    const text = error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
    process.stderr.write(`nabla: ${text}\n`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  },
);

// The `nabla` command: finds the subcommand and runs it.
import { version } from "../index.js";
import { bench } from "./bench.js";
import { doctor } from "./doctor.js";
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

/** How many letters must change to make one word of the other (Levenshtein's distance). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

function unknown(name: string): UsageError {
  const close = Object.keys(commands)
    .map((command) => ({ command, letters: distance(name.toLowerCase(), command) }))
    .filter(({ command, letters }) => letters <= command.length / 2)
    .sort((x, y) => x.letters - y.letters)[0];
  const what = name.startsWith("-") ? "option" : "command";
  return new UsageError(
    `unknown ${what} ${JSON.stringify(name)}; ${close ? `did you mean "nabla ${close.command}"?` : "`nabla --help` lists what there is"}`,
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

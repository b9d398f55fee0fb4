// What the subcommands share: their options, parsed, and the error for those that are wrong.
import { type ParseArgsConfig, parseArgs } from "node:util";
import { closest } from "../closest.js";

/** Wrong use of the command: printed without a stack, exit code 2. */
export class UsageError extends Error {}

/** `; did you mean "x"?`, or else what there is. */
export function suggest(name: string, known: readonly string[], all = `there are ${known.join(", ")}`): string {
  const near = closest(name, known);
  return near === undefined ? all : `did you mean ${near}?`;
}

/**
 * The options of a subcommand and its operands, as many as `operands` names (those in brackets may be left out); prints
 * `help` and returns undefined when --help is among them.
 */
export function parse<T extends NonNullable<ParseArgsConfig["options"]>>(
  args: string[],
  options: T,
  help: string,
  operands: readonly string[] = [],
) {
  try {
    const { values, positionals } = parseArgs({
      args,
      options: { ...options, help: { type: "boolean", short: "h" } },
      strict: true,
      allowPositionals: true,
    });
    if ((values as { help?: boolean }).help) {
      process.stdout.write(help);
      return undefined;
    }
    const least = operands.filter((name) => !name.startsWith("[")).length;
    if (positionals.length < least)
      throw new UsageError(`${operands[positionals.length]} is missing; --help says more`);
    if (positionals.length > operands.length) {
      throw new UsageError(`unexpected argument ${JSON.stringify(positionals[operands.length])}; --help says more`);
    }
    return Object.assign(values, { operands: positionals });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION") {
      const name = /'(-[^' ]+)/.exec(message)?.[1] ?? "";
      const known = Object.keys(options).map((key) => `--${key}`);
      throw new UsageError(`unknown option ${name}; ${suggest(name, known)}`);
    }
    if (code?.startsWith("ERR_PARSE_ARGS")) throw new UsageError(message);
    throw error;
  }
}

/** A whole number from 1 on, from an option's text. */
export function wholeNumber(text: string, name: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) throw new UsageError(`--${name}: a whole number from 1 on, got ${text}`);
  return n;
}

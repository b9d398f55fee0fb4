// What the subcommands share: their options, parsed, and the error for those that are wrong.
import { type ParseArgsConfig, parseArgs } from "node:util";

/** Wrong use of the command: printed without a stack, exit code 2. */
export class UsageError extends Error {}

/**
 * The options of a subcommand; prints `help` and returns undefined when --help is among them.
 *
 * @param most arguments that are no options; they are in `positionals`
 */
export function parse<T extends NonNullable<ParseArgsConfig["options"]>>(
  args: string[],
  options: T,
  help: string,
  most = 0,
) {
  try {
    const { values, positionals } = parseArgs({
      args,
      options: { ...options, help: { type: "boolean", short: "h" } },
      strict: true,
      allowPositionals: most > 0,
    });
    if ((values as { help?: boolean }).help) {
      process.stdout.write(help);
      return undefined;
    }
    if (positionals.length > most) throw new Error(`one argument too many: ${JSON.stringify(positionals[most])}`);
    return { ...values, positionals };
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/\. To specify a positional.*$/s, ""));
  }
}

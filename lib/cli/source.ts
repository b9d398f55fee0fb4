// Where the settings of a job are: a JSON file, a module, or the directory of an earlier run.
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Module, manualSeed } from "../index.js";
import { namedOptions } from "./parts.js";
import { files, readJson } from "./run.js";
import {
  type Flag,
  fromEnvironment,
  fromFlags,
  fromObject,
  isLive,
  merge,
  type Schema,
  schemaOf,
  type Values,
} from "./settings.js";
import { UsageError } from "./usage.js";

/** A job as it is kept in its run's directory, in settings.json. */
export interface SavedJob {
  /** The module that has what JSON cannot hold. */
  readonly module?: string;
  /** All settings that JSON can hold, as they were used. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface Source {
  /** Name of a run where none is given. */
  readonly name: string;
  /** The run's directory, if the settings are from there. */
  readonly directory?: string;
  readonly module?: string;
  readonly schema: Schema;
  /** The settings, once the hyper-parameters are known. */
  read(params: Readonly<Record<string, unknown>>): Promise<Values>;
}

/** Opens a JSON file, a module or a run's directory; nothing of a module's settings is made yet. */
export async function openSource(path: string): Promise<Source> {
  const full = resolve(path);
  if (!existsSync(full))
    throw new UsageError(`${path}: there is no such file; give a .json file, an ES module or a run's directory`);
  if (statSync(full).isDirectory()) return { ...(await fromRun(full, path)), directory: full };
  const name = basename(full, extname(full));
  if (extname(full) === ".json") {
    const schema = schemaOf(namedOptions());
    const values = fromObject(parseJson(readFileSync(full, "utf8"), path), schema, path, dirname(full));
    return { name, schema, read: async () => values };
  }
  if (![".mjs", ".js", ".cjs"].includes(extname(full))) {
    throw new UsageError(`${path}: settings are a .json file, an ES module (.mjs, .js) or a run's directory`);
  }
  return { name, ...(await fromModule(full, path)) };
}

async function fromRun(directory: string, label: string): Promise<Source> {
  const { module, settings } = readJson<SavedJob>(directory, "settings");
  const inner = module === undefined ? undefined : await fromModule(module, module);
  const schema = inner?.schema ?? schemaOf(namedOptions());
  const saved = fromObject(settings, schema, join(label, files.settings), directory);
  return {
    name: basename(directory),
    module,
    schema,
    // The run is where it was found, wherever it was written.
    read: async (params) =>
      new Map([
        ...((await inner?.read({ ...(settings.params as object), ...params })) ?? []),
        ...saved,
        ["directory", directory],
      ]),
  };
}

async function fromModule(full: string, label: string): Promise<Omit<Source, "name">> {
  if (!existsSync(full)) throw new UsageError(`${label}: there is no such module`);
  manualSeed(0); // for what a module makes while it is loaded
  const { default: job, params = null } = (await import(pathToFileURL(full).href)) as {
    default?: unknown;
    params?: unknown;
  };
  if (job === undefined) {
    throw new UsageError(
      `${label}: the module has no default export; export default an object of settings, a function of the hyper-parameters that returns one, or a TrainModule`,
    );
  }
  if (params !== null && (typeof params !== "object" || isLive(params) || Array.isArray(params))) {
    throw new UsageError(`${label}: params must be an object with the hyper-parameters' defaults`);
  }
  const schema = schemaOf(namedOptions(), params as Record<string, unknown> | null);
  return {
    module: full,
    schema,
    read: async (given) => {
      const made =
        typeof job === "function" && !isModuleClass(job) ? await job({ ...(params as object | null), ...given }) : job;
      return fromObject(isLive(made) ? { model: made } : made, schema, label, dirname(full));
    },
  };
}

const isModuleClass = (f: unknown): boolean => typeof f === "function" && f.prototype instanceof Module;

/** All settings: those of the source, then of the environment, then of the flags. */
export async function gather(
  source: Source,
  env: Readonly<Record<string, string | undefined>>,
  flags: readonly Flag[],
  others: readonly string[],
): Promise<Record<string, unknown>> {
  const { schema } = source;
  const outside = [fromEnvironment(env, schema), fromFlags(flags, schema, others)];
  const { params = {} } = merge<{ params?: Record<string, unknown> }>({}, ...outside);
  return merge(schema, await source.read(params), ...outside);
}

/** JSON; what is wrong in it has its line in the message. */
export function parseJson(text: string, label: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, "")); // which editors of Windows write
  } catch (error) {
    const { message } = error as Error;
    const what = wordsOf(message);
    const said = / in JSON at position (\d+)/.exec(message)?.[1];
    const at = said === undefined ? shortest(text, what) - 1 : Number(said);
    throw new UsageError(`${label}: line ${text.slice(0, at).split("\n").length} is not JSON: ${what}`);
  }
}

/** A message of JSON.parse without the place or the text. */
const wordsOf = (message: string): string =>
  message.replace(/ in JSON at position .*|, (?:\.\.\.)?".* is not valid JSON$/s, "");

/** Length of the shortest beginning of a text that has the same error: V8 does not always say where it is. */
function shortest(text: string, what: string): number {
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    try {
      JSON.parse(text.slice(0, middle));
      low = middle + 1;
    } catch (error) {
      if (wordsOf((error as Error).message) === what) high = middle;
      else low = middle + 1;
    }
  }
  return low;
}

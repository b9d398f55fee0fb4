// Settings of a training job: one table says which there are; files, environment and flags are read and checked by it.
import { resolve } from "node:path";
import { suggest, UsageError } from "./usage.js";

/** What a value is. */
interface Kind {
  /** In words, for help and messages. */
  readonly word: string;
  /** A value from the text of a flag or variable. */
  read(text: string): unknown;
  ok(value: unknown): boolean;
  /** Makes the value independent of the folder that it was said in. */
  settle?(value: unknown, folder: string): unknown;
}

const isText = (v: unknown): v is string => typeof v === "string" && v !== "";
const isObject = (v: unknown): v is Record<string, unknown> =>
  typeof v === "object" && v !== null && [Object.prototype, null].includes(Object.getPrototypeOf(v));
/** Is it something that only a module can give? */
export const isLive = (v: unknown): v is object =>
  typeof v === "function" || (typeof v === "object" && v !== null && !isObject(v) && !Array.isArray(v));
const inFolder = (v: unknown, folder: string): unknown => (isText(v) ? resolve(folder, v) : v);
/** Text that is JSON, or else itself. */
const jsonOr = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};
const number = (word: string, right: (n: number) => boolean): Kind => ({
  word,
  read: (text) => (text.trim() === "" ? text : Number.isNaN(Number(text)) ? text : Number(text)),
  ok: (v) => typeof v === "number" && Number.isFinite(v) && right(v),
});
const oneOf = (...words: string[]): Kind => ({
  word: words.map((w) => JSON.stringify(w)).join(", "),
  read: (text) => text,
  ok: (v) => words.includes(v as string),
});

const kinds = {
  text: { word: "a text", read: (text: string) => text, ok: isText },
  count: number("a whole number ≥ 1", (n) => Number.isSafeInteger(n) && n >= 1),
  natural: number("a whole number ≥ 0", (n) => Number.isSafeInteger(n) && n >= 0),
  number: number("a number", () => true),
  positive: number("a number > 0", (n) => n > 0),
  flag: {
    word: "true or false",
    read: (text: string) => (text === "true" ? true : text === "false" ? false : text),
    ok: (v: unknown) => typeof v === "boolean",
  },
  list: {
    word: "a list of names",
    read: (text: string) => (text.startsWith("[") ? jsonOr(text) : text.split(",").map((t) => t.trim())),
    ok: (v: unknown) => isText(v) || (Array.isArray(v) && v.length > 0 && v.every((w) => isText(w) || isLive(w))),
  },
  path: { word: "the path of a file", read: (text: string) => text, ok: isText, settle: inFolder },
  share: {
    word: "a share between 0 and 1, or the path of a file",
    read: (text: string) => (text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text)),
    ok: (v: unknown) => isText(v) || (typeof v === "number" && v > 0 && v < 1),
    settle: inFolder,
  },
  /** Checked where it is used. */
  json: { word: "JSON", read: jsonOr, ok: (v: unknown) => v !== undefined },
} satisfies Record<string, Kind>;

export interface Setting {
  readonly kind: Kind;
  readonly doc: string;
  readonly default?: unknown;
  /** Only a module can give it: `kind` is none of text, and there is no flag. */
  readonly live?: boolean;
}

/** Settings by their names; those of a group have the group's before a dot. */
export type Schema = Readonly<Record<string, Setting>>;

const option = (kind: Kind, doc: string, fallback?: unknown): Setting => ({ kind, doc, default: fallback });

/** What a module gives instead of a description; any object. */
const live = (doc: string): Setting => ({
  kind: { word: "an object", read: (text) => text, ok: (v) => typeof v === "object" || typeof v === "function" },
  doc,
  live: true,
});

/** In a group, the setting that a bare value is: `"optimizer": "adam"` is `{ "name": "adam" }`. */
const principal: Readonly<Record<string, string>> = {
  data: "csv",
  optimizer: "name",
  scheduler: "name",
  earlyStopping: "patience",
  checkpoint: "everyNSteps",
};

/**
 * All settings.
 *
 * @param options of optimizers and schedules: `optimizer.lr` and the like, with who has them
 * @param params the hyper-parameters of a module with their defaults; null where it does not say which there are, and
 *   undefined where there is no module
 */
export function schemaOf(
  named: Readonly<Record<string, string>>,
  params?: Readonly<Record<string, unknown>> | null,
): Schema {
  const k = kinds;
  return {
    name: option(k.text, "name of the run (default: that of the file)"),
    directory: option(
      { ...k.path, word: "a path", settle: undefined },
      "where the run keeps its files (default: runs/<name>)",
    ),
    seed: option(k.natural, "decides initial weights, order of samples, splits, dropout", 0),
    device: option(k.text, "where to compute: auto, cpu, js …", "auto"),
    threads: option(k.count, "compute threads (default: the cores that the job may use)"),
    model: option(
      k.json,
      'layers of nabla.nn: [{"Linear": [4, 16]}, "ReLU", {"Linear": [16, 3]}]; "features" and "classes" stand for the data\'s sizes',
    ),
    "data.csv": option(k.path, "the table with a row a sample"),
    "data.target": option(k.list, "the column to be predicted (several: regression with several values)"),
    "data.columns": option(k.list, "the columns to predict from (default: all others)"),
    "data.header": option(k.json, "the first line has the names of the columns; or the names", true),
    "data.delimiter": option(k.text, "between the columns (default: a comma; a tab in .tsv files)"),
    "data.comment": option(k.text, "how lines begin that are skipped"),
    "data.dtypes": option(k.json, 'types of columns that are not what they look like: {"zip": "category"}'),
    "data.categories": option(k.json, 'the values that a column can have, in order: {"size": ["S", "M", "L"]}'),
    "data.missing": option(k.json, "texts that mean that a value is missing (default: nothing, NA, NaN, null …)"),
    "data.fill": option(
      k.json,
      'what is done about them: "error", "mean", "drop", a number; or by column: {"age": "mean"}',
      "error",
    ),
    "data.validation": option(k.share, "samples kept from training to judge it by: a share, or another table"),
    "data.test": option(k.share, "samples kept from both, for `nabla evaluate`: a share, or another table"),
    "data.stratify": option(k.flag, "splits keep the shares of the classes (default: when classes are predicted)"),
    "data.scale": option(oneOf("standard", "minMax", "none"), "scaling of the columns with numbers", "standard"),
    "data.train": live("a Dataset, a DataLoader or tensors [x, y], instead of data.csv; validation and test likewise"),
    loss: option(k.text, "the loss (default: crossEntropy for classes, mse for numbers)"),
    "optimizer.name": option(k.text, "the optimizer", "adam"),
    "scheduler.name": option(k.text, "the learning-rate schedule"),
    "scheduler.interval": option(oneOf("epoch", "step"), "when the schedule steps"),
    "scheduler.monitor": option(k.text, "what ReduceLROnPlateau goes by"),
    ...Object.fromEntries(Object.entries(named).map(([name, who]) => [name, option(k.json, `of ${who}`)])),
    metrics: option(k.list, "measures beside the loss (default: accuracy for classes)"),
    epochs: option(k.count, "passes over the training data", 10),
    maxSteps: option(k.count, "end after so many optimizer steps"),
    batchSize: option(k.count, "samples a step", 32),
    precision: option(oneOf("float32", "bf16", "fp16", "float64"), "of the computation; bf16 and fp16 are mixed"),
    gradientClipVal: option(k.positive, "limit of the gradients' norm, or value"),
    gradientClipAlgorithm: option(oneOf("norm", "value"), "what gradientClipVal limits"),
    accumulateGradBatches: option(k.count, "batches a step"),
    "earlyStopping.patience": option(k.natural, "end after so many epochs without improvement"),
    "earlyStopping.monitor": option(k.text, "the value that must improve (default: val_loss)"),
    "earlyStopping.minDelta": option(k.number, "smaller changes are no improvement"),
    "earlyStopping.mode": option(oneOf("auto", "min", "max"), "which values are better"),
    "checkpoint.everyNSteps": option(k.count, "save the run every so many steps too, not only after epochs"),
    "checkpoint.monitor": option(
      k.text,
      "the value that says which weights are the best (default: val_loss, else loss)",
    ),
    "checkpoint.mode": option(oneOf("auto", "min", "max"), "which values are better"),
    callbacks: live("callbacks.Callback objects"),
    trainer: live("further options of the Trainer"),
    report: option(k.flag, "write report.html at the end", false),
    log: option(
      oneOf("lines", "json", "none"),
      "what goes to standard output: a line an epoch, the lines of log.jsonl, nothing",
      "lines",
    ),
    logEveryNSteps: option(k.count, "write every so many steps to log.jsonl too"),
    ...Object.fromEntries(Object.entries(params ?? {}).map(([name, value]) => [`params.${name}`, parameter(value)])),
    ...(params === null && { [FREE]: option(k.json, "hyper-parameters of the module") }),
  };
}

/** Stands for hyper-parameters of any name. */
const FREE = "params.*";

/** The setting of that name. */
const settingOf = (schema: Schema, name: string): Setting | undefined => {
  if (Object.hasOwn(schema, name)) return schema[name];
  return /^params\.\w+$/.test(name) ? schema[FREE] : undefined;
};

/** A hyper-parameter of a module: of the type that its default has. */
function parameter(value: unknown): Setting {
  const kind = { number: kinds.number, boolean: kinds.flag, string: kinds.text }[typeof value as string] ?? kinds.json;
  return option(kind, "of the module", value);
}

/** Values by the names of their settings. */
export type Values = ReadonlyMap<string, unknown>;

const shown = (value: unknown): string => {
  const text = isObject(value) || Array.isArray(value) || isText(value) ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
};

/** Is it the name of a group of settings? */
const isGroup = (schema: Schema, name: string): boolean =>
  Object.keys(schema).some((key) => key.startsWith(`${name}.`));

function checked({ kind }: Setting, value: unknown, where: string, folder: string): unknown {
  if (value === null) return null; // as if it had never been said
  if (isLive(value)) return value; // to be checked where it is used
  if (!kind.ok(value)) throw new UsageError(`${where} must be ${kind.word}, got ${shown(value)}`);
  return kind.settle ? kind.settle(value, folder) : value;
}

/**
 * The settings in an object: JSON, or what a module exports, in which live objects may stand for descriptions.
 *
 * @param label the file, for messages
 * @param folder of the file: paths in it start there
 * @throws UsageError for what is unknown or of the wrong kind
 */
export function fromObject(object: unknown, schema: Schema, label: string, folder: string): Values {
  const found = new Map<string, unknown>();
  const visit = (value: Record<string, unknown>, prefix: string): void => {
    for (const [key, v] of Object.entries(value)) {
      const name = prefix + key;
      const setting = settingOf(schema, name);
      if (setting) {
        found.set(name, checked(setting, v, `${label}: ${name}`, folder));
      } else if (isGroup(schema, name)) {
        if (isObject(v)) visit(v, `${name}.`);
        else if (v !== null && principal[name]) {
          const full = `${name}.${principal[name]}`;
          found.set(full, checked(schema[full], v, `${label}: ${name}`, folder));
        } else if (v !== null) throw new UsageError(`${label}: ${name} must be an object, got ${shown(v)}`);
      } else {
        const siblings = Object.keys(schema)
          .filter((k) => k.startsWith(prefix))
          .map((k) => k.slice(prefix.length).split(".")[0]);
        const names = [...new Set(siblings)];
        throw new UsageError(`${label}: unknown setting ${name}; ${suggest(key, names)}`);
      }
    }
  };
  if (!isObject(object)) throw new UsageError(`${label}: settings are an object, got ${shown(object)}`);
  visit(object, "");
  return found;
}

/** Settings whose values can be texts, with their short forms: `optimizer` is `optimizer.name`. */
function textNames(schema: Schema): Map<string, string> {
  const names = new Map(
    Object.keys(schema)
      .filter((name) => !schema[name].live && name !== FREE)
      .map((name) => [name, name]),
  );
  for (const [group, key] of Object.entries(principal)) names.set(group, `${group}.${key}`);
  return names;
}

const PREFIX = "NABLA_TRAIN_";

/** `data.batchSize` → `NABLA_TRAIN_DATA_BATCH_SIZE` */
export const variableOf = (name: string): string =>
  PREFIX +
  name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/\./g, "_")
    .toUpperCase();

/** A value from text; `null` takes back what was set before. */
const fromText = (setting: Setting, text: string, where: string): unknown =>
  checked(setting, text === "null" ? null : setting.kind.read(text), where, ".");

/** The settings in the environment: `NABLA_TRAIN_…`. */
export function fromEnvironment(env: Readonly<Record<string, string | undefined>>, schema: Schema): Values {
  const variables = new Map([...textNames(schema)].map(([name, full]) => [variableOf(name), full]));
  const found = new Map<string, unknown>();
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || text === undefined) continue;
    const full = variables.get(variable);
    if (full === undefined) {
      const all = "`nabla train --help` lists the settings";
      throw new UsageError(`unknown variable ${variable}; ${suggest(variable, [...variables.keys()], all)}`);
    }
    found.set(full, fromText(schema[full], text, variable));
  }
  return found;
}

/** A flag as it was written: without its dashes, and its value, if it had one. */
export type Flag = readonly [name: string, value: string | undefined];

/**
 * Sorts arguments into flags and the rest.
 *
 * @param alone flags that take no value: true unless `--flag=false`
 */
export function splitArguments(args: readonly string[], alone: (name: string) => boolean) {
  const flags: Flag[] = [];
  const operands: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [, dashed, value] = /^--([^=]+)(?:=(.*))?$/s.exec(args[i]) ?? [];
    if (args[i] === "-h") flags.push(["help", undefined]);
    else if (!dashed) operands.push(args[i]);
    else {
      const name = dashed.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()); // --batch-size is batchSize
      if (value !== undefined || alone(name)) flags.push([name, value]);
      else if (i + 1 < args.length && !args[i + 1].startsWith("--")) flags.push([name, args[++i]]);
      else flags.push([name, undefined]);
    }
  }
  return { flags, operands };
}

export const isSwitch = (schema: Schema, name: string): boolean => schema[name]?.kind === kinds.flag;

/** The settings in flags. */
export function fromFlags(flags: readonly Flag[], schema: Schema, others: readonly string[] = []): Values {
  const names = textNames(schema);
  const found = new Map<string, unknown>();
  for (const [name, text] of flags) {
    const full = names.get(name) ?? name;
    const setting = settingOf(schema, full);
    if (!setting || setting.live) {
      const all = "`nabla train --help` lists the settings";
      const known = [...names.keys(), ...others].map((n) => `--${n}`);
      throw new UsageError(`unknown option --${name}; ${suggest(`--${name}`, known, all)}`);
    }
    if (text === undefined && setting.kind !== kinds.flag) throw new UsageError(`--${name} needs a value`);
    found.set(full, fromText(setting, text ?? "true", `--${name}`));
  }
  return found;
}

/** Settings as one object, in which groups are objects; later values have precedence, the table's defaults none. */
export function merge<T>(schema: Schema, ...layers: readonly Values[]): T {
  const all = new Map<string, unknown>();
  for (const [name, { default: value }] of Object.entries(schema)) if (value !== undefined) all.set(name, value);
  for (const layer of layers) for (const [name, value] of layer) all.set(name, value);
  const tree: Record<string, unknown> = {};
  for (const [name, value] of all) {
    if (value === null) continue;
    const at = name.indexOf(".");
    if (at < 0) tree[name] = value;
    else {
      const group = name.slice(0, at);
      tree[group] = { ...(tree[group] as object), [name.slice(at + 1)]: value };
    }
  }
  return tree as T;
}

/** The table for a person, with two blanks before each line. */
export function describeSchema(schema: Schema): string {
  const rows = Object.entries(schema);
  const width = Math.min(32, Math.max(...rows.map(([name]) => name.length)));
  return rows
    .map(([name, { doc, kind, default: value, live }]) => {
      const word = live || kind === kinds.json ? "" : `: ${kind.word}`;
      return `  ${name.padEnd(width)}  ${doc}${word}${value === undefined ? "" : ` (default ${shown(value)})`}`;
    })
    .join("\n");
}

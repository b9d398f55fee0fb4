// The data of a job: tables read, split and scaled, and what another table needs to be read the same way.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { data, io, type Tensor, tensor } from "../index.js";
import { UsageError } from "./usage.js";

/** Settings under `data`. */
export interface DataSettings {
  readonly csv?: string;
  readonly target?: string | readonly string[];
  readonly validation?: number | string;
  readonly test?: number | string;
  readonly stratify?: boolean;
  readonly scale?: "standard" | "minMax" | "none";
  /** How the tables are read: as for `io.readCsv`. */
  readonly [option: string]: unknown;
}

/** What is predicted: one of several classes, one of two by a single score, or numbers. */
export type Task = "classes" | "binary" | "numbers";

/** What must be known to read another table as those of the training were; plain values. */
export interface Preprocessing {
  readonly task: Task;
  readonly schema: io.TableSchema;
  /** Options of `io.readCsv` that say how such files look. */
  readonly reading: Readonly<Record<string, unknown>>;
  /** Names of the columns that are predicted from. */
  readonly columns: readonly string[];
  /** Names of what the model gets: `color=red` for a category. */
  readonly features: readonly string[];
  /** Names of the classes, in the order of their numbers. */
  readonly labels?: readonly string[];
  /** (x − center) / scale, for each feature. */
  readonly scaler?: { readonly center: readonly number[]; readonly scale: readonly number[] };
  /** The tables that were read (csv, validation, test), by SHA-256 of their contents. */
  readonly files: Readonly<Record<string, string>>;
}

export type Part = "train" | "validation" | "test";

export interface Tables {
  readonly preprocessing: Preprocessing;
  readonly parts: Readonly<Partial<Record<Part, data.TensorDataset<[Tensor, Tensor]>>>>;
}

const READING = ["header", "delimiter", "comment", "missing"] as const;
const INFERENCE = ["columns", "target", "dtypes", "categories", "fill"] as const;

const chosen = (settings: DataSettings, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(names.filter((name) => settings[name] !== undefined).map((name) => [name, settings[name]]));

/**
 * Reads the tables of a job.
 *
 * @param task what the loss asks for; undefined: what the target looks like
 * @throws UsageError for settings that do not fit the tables, FileError for what is wrong in them
 */
export async function readTables(settings: DataSettings, task: Task | undefined, seed: number): Promise<Tables> {
  const { csv, scale = "standard" } = settings;
  if (csv === undefined)
    throw new UsageError("data.csv is missing: the table to train with (or in a module data.train)");
  if (settings.target === undefined) throw new UsageError("data.target is missing: the column to be predicted");
  const target = [settings.target].flat() as string[];
  const reading = chosen(settings, READING);
  const inference = chosen(settings, INFERENCE);
  if (task !== undefined && task !== "numbers") {
    // Numbers of classes are names of classes, unless the order is given.
    inference.dtypes = { ...Object.fromEntries(target.map((t) => [t, "category"])), ...(inference.dtypes as object) };
  }
  const table = await io.readCsv(csv, { ...reading, ...inference });
  const kind = task ?? (target.length === 1 && table.column(target[0]).type === "category" ? "classes" : "numbers");
  const labels = kind === "numbers" ? undefined : labelsOf(table, target, kind);
  if (kind === "numbers") {
    const text = target.find((t) => ["category", "string"].includes(table.column(t).type));
    if (text !== undefined) {
      throw new UsageError(
        `data.target: the loss is for numbers, and column ${JSON.stringify(text)} has texts; crossEntropy is for classes`,
      );
    }
  }
  const columns = table.columns.map(({ name }) => name).filter((name) => !target.includes(name));
  const files: Record<string, string> = { csv: await digest(csv) };
  const known = { task: kind, schema: table.schema, reading, columns, features: table.features, labels };
  const whole = new data.TensorDataset(table.x, targetOf(table, known));
  const shares = (["validation", "test"] as const)
    .map((part) => settings[part])
    .map((s) => (typeof s === "number" ? s : 0));
  const rest = 1 - shares[0] - shares[1];
  if (rest < 1e-9) throw new UsageError("data: validation and test leave nothing to train with");
  const { stratify = kind !== "numbers" } = settings;
  const options = { shuffle: true, seed, ...(stratify && { stratify: whole.tensors[1].flatten() }) };
  const [train, ...kept] = data.split(whole, [rest, ...shares], options);
  const x = await take(train);
  const scaler = scale === "none" ? undefined : fitScaler(x[0], table, scale);
  const preprocessing = { ...known, scaler, files };
  const parts: Partial<Record<Part, data.TensorDataset<[Tensor, Tensor]>>> = {};
  const add = (part: Part, [features, y]: [Tensor, Tensor]) => {
    parts[part] = new data.TensorDataset(scaled(features, preprocessing), y);
  };
  add("train", x);
  for (const [i, part] of (["validation", "test"] as const).entries()) {
    const source = settings[part];
    if (typeof source === "string") {
      const other = await io.readCsv(source, { ...reading, schema: table.schema });
      files[part] = await digest(source);
      add(part, [other.tensor(columns), targetOf(other, preprocessing)]);
    } else if (source !== undefined) {
      if (kept[i].length === 0) throw new UsageError(`data.${part}: ${source} of ${whole.length} samples is none`);
      add(part, await take(kept[i]));
    }
  }
  return { preprocessing, parts };
}

const take = ({ dataset, indices }: data.Subset<[Tensor, Tensor]>): Promise<[Tensor, Tensor]> =>
  dataset.batch(indices) as Promise<[Tensor, Tensor]>;

/** SHA-256 of a file, by which a run that goes on knows its data. */
async function digest(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

function labelsOf(table: io.Table, target: readonly string[], kind: Task): readonly string[] {
  if (target.length > 1)
    throw new UsageError("data.target: classes are predicted from one column; several are for numbers");
  const { type, categories, name } = table.column(target[0]);
  if (type !== "category" || !categories) {
    throw new UsageError(
      `data.target: the loss is for classes, and data.dtypes has ${JSON.stringify(name)} as ${type}; leave that out`,
    );
  }
  if (categories.length < 2)
    throw new UsageError(`data.target: column ${JSON.stringify(name)} has one value only, ${categories[0]}`);
  if (kind === "binary" && categories.length > 2) {
    throw new UsageError(
      `data.target: the loss is for two classes, and column ${JSON.stringify(name)} has ${categories.length}; crossEntropy is for more`,
    );
  }
  return categories;
}

/** The target as the losses want it: numbers of classes [n], or [n, targets]. */
export function targetOf(table: io.Table, { task, schema }: Pick<Preprocessing, "task" | "schema">): Tensor {
  const { target } = schema;
  if (task === "classes") return table.tensor(target[0]);
  if (task === "binary") return table.tensor(target[0]).to("float32").unsqueeze(1);
  return table.tensor(target);
}

/** The features of rows, scaled. */
export const featuresOf = (table: io.Table, preprocessing: Preprocessing): Tensor =>
  scaled(table.tensor(preprocessing.columns), preprocessing);

function scaled(x: Tensor, { scaler }: Pick<Preprocessing, "scaler">): Tensor {
  if (!scaler) return x;
  const own = new data.StandardScaler();
  own.loadStateDict({ center: tensor([...scaler.center]), scale: tensor([...scaler.scale]) });
  return own.transform(x);
}

/** Center and scale of the columns with numbers; those of categories stay 0 and 1. */
function fitScaler(x: Tensor, table: io.Table, scale: "standard" | "minMax"): NonNullable<Preprocessing["scaler"]> {
  const state = (scale === "standard" ? new data.StandardScaler() : new data.MinMaxScaler()).fit(x).stateDict();
  const numeric = table.columns
    .filter(({ name }) => !table.target.includes(name))
    .flatMap(({ type, categories }) => (type === "category" ? (categories ?? []).map(() => false) : [true]));
  const list = (t: Tensor, otherwise: number) => (t.toArray() as number[]).map((v, i) => (numeric[i] ? v : otherwise));
  return { center: list(state.center, 0), scale: list(state.scale, 1) };
}

/** Throws where the tables of a run are not those that it began with; `remedy` says what can be done. */
export function checkUnchanged(now: Preprocessing, before: Preprocessing, remedy: string): void {
  const changed = Object.entries(before.files).find(([part, sum]) => now.files[part] !== sum);
  if (changed) throw new UsageError(`the table data.${changed[0]} has changed since the run began; ${remedy}`);
}

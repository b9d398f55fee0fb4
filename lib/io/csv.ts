// CSV files (RFC 4180), through the csv-parse package: whole, as one table, or in batches of rows for files of any size.
import { checkOptions, describe } from "../check.js";
import { FileError, ValueError } from "../errors.js";
import { ColumnBuilder, type ColumnPlan, choose } from "./columns.js";
import { chunks } from "./file.js";
import { checkSource, isStream, labelOf, type Source, type Stream } from "./source.js";
import {
  type ColumnType,
  checkColumnType,
  type Fill,
  isFill,
  noColumn,
  type Row,
  Table,
  type TableSchema,
} from "./table.js";

export interface CsvOptions {
  /** Does the first line name the columns (default), or does none, or which names have they? */
  header?: boolean | readonly string[];
  /** Default: a tab for names in .tsv or .tsv.gz, otherwise a comma. */
  delimiter?: string;
  /** Lines that begin with this text are skipped. Default: none are. */
  comment?: string;
  /** Which columns to read, in this order. Default: all. */
  columns?: readonly string[];
  /** The column or columns to be predicted: `y`. The others are `x`. */
  target?: string | readonly string[];
  /** Types of columns that shall not be inferred. */
  dtypes?: Readonly<Record<string, ColumnType>>;
  /** The categories of columns, in the order of their numbers; any other value is an error. */
  categories?: Readonly<Record<string, readonly string[]>>;
  /** Texts that mean that a value is missing. Default: nothing, NA, N/A, n/a, NaN, nan, NULL, null. */
  missing?: readonly string[];
  /** What to do about missing values, for all columns or by name. Default "error": a tensor of the column is refused. */
  fill?: Fill | Readonly<Record<string, Fill>>;
  /** Read as this table was read (`table.schema`), instead of inferring anything. Columns it does not name are skipped. */
  schema?: TableSchema;
  /** At most so many rows. */
  limit?: number;
}

const OPTIONS = [
  ...["header", "delimiter", "comment", "columns", "target", "dtypes", "categories", "missing", "fill"],
  ...["schema", "limit"],
];
const MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null"];

/** A quote that is never closed would have the rest of the file held in memory. */
const MAX_RECORD = 1 << 24;

interface Settings extends Omit<CsvOptions, "target" | "missing"> {
  readonly delimiter: string;
  readonly target: readonly string[];
  readonly missing: ReadonlySet<string>;
  readonly limit: number;
  readonly label: string;
}

/** What lies between the columns of a file of that name. */
export const delimiterOf = (name: string): string => (/\.tsv(\.gz)?$/i.test(name) ? "\t" : ",");

function settingsOf(source: Source | Stream, options: CsvOptions, op: string, more: readonly string[] = []): Settings {
  if (!isStream(source)) checkSource(source, op);
  else if (!options.schema)
    throw new ValueError(`${op}: a stream can be read once only, so it needs the option schema`);
  checkOptions(options, [...OPTIONS, ...more], op);
  const label = labelOf(source);
  const { header = true, target = [], limit = Number.POSITIVE_INFINITY, missing = MISSING, fill = "error" } = options;
  const { delimiter = delimiterOf(label), dtypes = {}, schema } = options;
  const texts = (list: unknown): list is string[] => Array.isArray(list) && list.every((t) => typeof t === "string");
  const need = (ok: boolean, what: string, value: unknown): void => {
    if (!ok) throw new ValueError(`${op}: ${what}, got ${describe(value)}`);
  };
  need(typeof header === "boolean" || texts(header), "header must be true, false or names", header);
  need(typeof delimiter === "string" && delimiter.length > 0, 'delimiter must be a text such as ","', delimiter);
  need(options.comment === undefined || !!options.comment, "comment must be a text such as #", options.comment);
  need(
    limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit > 0),
    "limit must be an integer ≥ 1",
    limit,
  );
  need(texts(missing), "missing must be an array of texts", missing);
  need(options.columns === undefined || texts(options.columns), "columns must be an array of names", options.columns);
  need(typeof target === "string" || texts(target), "target must be a name or names", target);
  for (const type of Object.values(dtypes)) checkColumnType(type, op);
  for (const list of Object.values(options.categories ?? {})) need(texts(list), "categories are arrays of texts", list);
  const fills = isFill(fill) ? [fill] : Object.values(typeof fill === "object" && fill !== null ? fill : [fill]);
  for (const f of fills) need(isFill(f), 'fill must be "error", "mean", "drop", a number or { value: "…" }', f);
  if (schema) {
    for (const key of ["columns", "target", "dtypes", "categories", "fill"] as const) {
      if (options[key] !== undefined) {
        throw new ValueError(`${op}: ${key} and schema exclude each other: the schema says it already`);
      }
    }
    need(Array.isArray(schema.columns) && Array.isArray(schema.target), "schema must be a table's schema", schema);
    for (const { type } of schema.columns) checkColumnType(type, `${op}: schema`);
  }
  return {
    ...options,
    ...{ header, delimiter, limit, dtypes, label },
    fill,
    missing: new Set(missing),
    target: schema ? schema.target : typeof target === "string" ? [target] : target,
  };
}

/** A line's fields, and its number. */
interface Fields {
  readonly fields: readonly string[];
  readonly line: number;
}

/** The records of a CSV source, as many at a time as come with a piece of the file. */
async function* records(source: Source | Stream, { delimiter, comment, label }: Settings): AsyncGenerator<Fields[]> {
  const { Parser } = await import("csv-parse");
  let ready: Fields[] = [];
  let before = 0;
  const parser = new Parser({
    ...{
      bom: true,
      delimiter,
      trim: true,
      max_record_size: MAX_RECORD,
      ...(comment && { comment, comment_no_infix: true }),
    },
    // The number of fields is checked against the header, in words of our own.
    ...{ skip_empty_lines: true, relax_column_count: true },
    on_record: (fields: string[], { lines }) => {
      // The count is that of a record's last line; quoted fields may have several.
      const inside = lines - before > 1 ? fields.reduce((n, f) => n + (f.match(/\r\n|\n|\r/g)?.length ?? 0), 0) : 0;
      ready.push({ fields, line: lines - inside });
      before = lines;
      return null; // nothing goes through the stream's own queue
    },
  });
  parser.resume();
  parser.on("error", () => {}); // it comes to the callback as well
  const step = (act: (done: (error?: Error | null) => void) => void): Promise<void> =>
    new Promise((resolve, reject) => act((error) => (error ? reject(error) : resolve())));
  const refuse = (error: unknown): never => {
    if (error instanceof FileError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const open = code === "CSV_QUOTE_NOT_CLOSED" || code === "CSV_MAX_RECORD_SIZE";
    throw new FileError(
      open ? `${label}: the quote that is opened in line ${before + 1} or below is not closed` : `${label}: ${message}`,
    );
  };
  try {
    let first = true;
    for await (const chunk of chunks(source)) {
      if (first && chunk.includes(0)) {
        throw new FileError(`${label}: this is no text: it begins with ${chunk.toString("hex", 0, 8)}`);
      }
      first = false;
      await step((done) => parser.write(chunk, done)).catch(refuse);
      if (ready.length > 0) yield ready;
      ready = [];
    }
    await step((done) => parser.end(done)).catch(refuse);
    if (ready.length > 0) yield ready;
  } finally {
    parser.destroy();
  }
}

/** Names of the columns, checked. */
function namesOf({ fields, line }: Fields, { header, delimiter, label }: Settings): string[] {
  const refuse = (why: string): never => {
    throw new FileError(`${label}: ${why}`);
  };
  if (Array.isArray(header)) {
    if (header.length !== fields.length) {
      return refuse(`line ${line}: ${fields.length} fields where header names ${header.length}`);
    }
  } else if (header === false) return fields.map((_, i) => `c${i}`);
  else if (fields.every((f) => f !== "" && Number.isFinite(Number(f)))) {
    return refuse(`line ${line}: the header is only numbers; header: false is for files without one`);
  }
  const names = Array.isArray(header) ? [...header] : fields.map((f, i) => f || `column${i + 1}`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) return refuse(`line ${line}: the header has ${JSON.stringify(twice)} twice`);
  const other = [";", "\t", "|", ","].find((d) => d !== delimiter && fields[0].includes(d));
  if (fields.length === 1 && other !== undefined && !Array.isArray(header)) {
    return refuse(
      `line ${line}: the header ${JSON.stringify(fields[0])} is one field; did you mean delimiter: ${JSON.stringify(other)}?`,
    );
  }
  return names;
}

/** Which columns to read, and how. */
function plansOf(names: readonly string[], settings: Settings): ColumnPlan[] {
  const { schema, target, label } = settings;
  if (schema) {
    // What is to be predicted may be absent.
    const present = schema.columns.filter(({ name }) => names.includes(name) || !target.includes(name));
    return present.map(({ name, type, categories, fill: own }) => {
      if (!names.includes(name)) throw new FileError(`${label}: ${noColumn(name, names)}`);
      const isTarget = target.includes(name);
      return { name, type, categories, fill: own ?? "error", fillIsOwn: own !== undefined, isTarget };
    });
  }
  return choose(names, settings, label);
}

/** Goes through a file once, from builders to builders of `batch` rows; `keep` as in ColumnBuilder. */
async function* batches(
  source: Source | Stream,
  settings: Settings,
  { batch = Number.POSITIVE_INFINITY, keep = true, mixed = new Set<string>() } = {},
): AsyncGenerator<{ builders: ColumnBuilder[]; lines: number[] }> {
  const { label, limit, header, missing } = settings;
  let plans: ColumnPlan[] = [];
  let places: number[] = [];
  let drops = false;
  let width = -1;
  let read = 0;
  let builders: ColumnBuilder[] = [];
  let lines: number[] = [];
  const begin = (): void => {
    builders = plans.map((plan) => new ColumnBuilder(plan, label, keep));
    lines = [];
  };
  for await (const group of records(source, settings)) {
    for (const record of group) {
      const { fields, line } = record;
      if (width < 0) {
        width = fields.length;
        const names = namesOf(record, settings);
        plans = plansOf(names, settings).map((plan) => ({ ...plan, mixed: mixed.has(plan.name) }));
        places = plans.map(({ name }) => names.indexOf(name));
        drops = plans.some((plan) => plan.fill === "drop");
        begin();
        if (header === true) continue;
      }
      if (fields.length !== width) {
        throw new FileError(
          `${label}: line ${line}: ${fields.length} fields where the ${header === true ? "header" : "first line"} has ${width}`,
        );
      }
      if (read++ === limit) {
        if (lines.length > 0 || batch === Number.POSITIVE_INFINITY) yield { builders, lines };
        return;
      }
      const text = (i: number): string | null => {
        const field = fields[places[i]];
        return missing.has(field) ? null : field;
      };
      if (drops && plans.some((plan, i) => plan.fill === "drop" && text(i) === null)) continue;
      for (let i = 0; i < builders.length; i++) builders[i].push(text(i), line);
      lines.push(line);
      if (lines.length === batch) {
        yield { builders, lines };
        begin();
      }
    }
  }
  if (width < 0) throw new FileError(`${label}: the file is empty`);
  if (lines.length > 0 || batch === Number.POSITIVE_INFINITY) yield { builders, lines };
}

/** All rows; in a second go where a column turned out to be text late. */
async function whole(source: Source, settings: Settings, keep: boolean): Promise<Table> {
  let mixed = new Set<string>();
  for (;;) {
    for await (const { builders, lines } of batches(source, settings, { keep, mixed })) {
      const surprises = builders.filter((b) => b.mixed).map((b) => b.name);
      if (surprises.length > 0) {
        mixed = new Set(surprises);
        break;
      }
      if (lines.length === 0) {
        throw new FileError(
          `${settings.label}: there is no row ${settings.fill === "drop" ? "without missing values" : "below the header"}`,
        );
      }
      return new Table(
        builders.map((b) => b.finish()),
        settings.target,
        settings.label,
        Float64Array.from(lines),
      );
    }
  }
}

/**
 * A CSV file as a table. What is not declared is inferred from all rows: numbers (also with exponents, `inf`), booleans
 * (`true`, `false`), categories, or text where there are more than 100 different ones. Files in gzip are unpacked.
 *
 * A column that is numbers but for some values is only refused when a tensor of it is asked for; so are missing values.
 *
 * @param source a path, or `{ text }`
 * @throws FileError with the line for a row with too few or too many fields, a value that is not of the declared type,
 *   an open quote; ValueError for unknown options
 * @example
 * const table = await io.readCsv("titanic.csv", {
 *   columns: ["Pclass", "Sex", "Age", "Fare"], target: "Survived", fill: { Age: "mean" },
 * });
 * const model = fit(table.x, table.y);
 */
export async function readCsv(source: Source, options: CsvOptions = {}): Promise<Table> {
  return whole(source, settingsOf(source, options, "readCsv"), true);
}

/**
 * What `readCsv` would find out about a file (`table.schema`), without holding it in memory: to go through a large file
 * with `csvBatches`, or to read another one the same way.
 */
export async function inferCsvSchema(source: Source, options: CsvOptions = {}): Promise<TableSchema> {
  return (await whole(source, settingsOf(source, options, "inferCsvSchema"), false)).schema;
}

/**
 * A CSV file in tables of at most `batchSize` rows (default 1024), for files larger than memory. Without a `schema` the
 * file is gone through once before, to infer one. Can be iterated again; leaving a loop early closes the file. A stream
 * of bytes, such as `process.stdin`, comes once only, and needs a schema.
 *
 * @example
 * // Predictions for a file of any size, into another one.
 * async function* predictions() {
 *   for await (const table of io.csvBatches("in.csv.gz", { schema })) {
 *     const y = (await model.forward(table.x).data());
 *     for (let i = 0; i < table.length; i++) yield { ...table.row(i), prediction: y[i] };
 *   }
 * }
 * await io.writeCsv("out.csv", predictions());
 */
export function csvBatches(
  source: Source | Stream,
  { batchSize = 1024, ...options }: CsvOptions & { batchSize?: number } = {},
): AsyncIterable<Table> {
  const settings = settingsOf(source, options, "csvBatches", ["batchSize"]);
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ValueError(`csvBatches: batchSize must be an integer ≥ 1, got ${describe(batchSize)}`);
  }
  let { schema } = options;
  return {
    async *[Symbol.asyncIterator]() {
      schema ??= await inferCsvSchema(source as Source, options);
      const known = { ...settings, schema, target: schema.target };
      for await (const { builders, lines } of batches(source, known, { batch: batchSize })) {
        yield new Table(
          builders.map((b) => b.finish()),
          schema.target,
          settings.label,
          Float64Array.from(lines),
        );
      }
    },
  };
}

/** A CSV file row by row, as objects by the columns' names; otherwise as `csvBatches`. */
export function csvRows(source: Source | Stream, options: CsvOptions = {}): AsyncIterable<Row> {
  const tables = csvBatches(source, options);
  return {
    async *[Symbol.asyncIterator]() {
      for await (const table of tables) yield* table;
    },
  };
}

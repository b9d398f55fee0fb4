// Writing CSV (RFC 4180, with line feeds): rows as they come, into a file that appears when it is complete.
import { checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { builtin } from "../package.js";
import { replaceFile } from "./atomic.js";
import { delimiterOf } from "./csv.js";
import { isGzipName } from "./file.js";

/** What a field can be; null, undefined and NaN are written as nothing, which is read as missing. */
export type Field = string | number | bigint | boolean | null | undefined;

export interface CsvWriteOptions {
  /** Names of the columns; false for a file without a header. Default: the keys of the first row, none for arrays. */
  header?: readonly string[] | false;
  /** Default: a tab for names in .tsv or .tsv.gz, otherwise a comma. */
  delimiter?: string;
}

/** What takes texts one after the other, such as `process.stdout`. */
export interface Writer {
  write(text: string, done: (error?: Error | null) => void): unknown;
}

type Rows<T> = Iterable<T> | AsyncIterable<T>;

/** Texts are gathered to about this many characters before they go to the file. */
const PIECE = 1 << 16;

async function* lines(
  rows: Rows<Readonly<Record<string, Field>> | readonly Field[]>,
  { header, delimiter }: CsvWriteOptions & { delimiter: string },
): AsyncGenerator<string> {
  const quoted = (value: Field, alone: boolean): string => {
    if (value === null || value === undefined || Number.isNaN(value)) return alone ? '""' : "";
    if (!["string", "number", "bigint", "boolean"].includes(typeof value)) {
      throw new ValueError(`writeCsv: a field is ${describe(value)}; texts, numbers, booleans and null can be written`);
    }
    const text = String(value);
    // White space at the ends would be trimmed, an empty line skipped.
    const plain = !/["\n\r]|^\s|\s$/.test(text) && !text.includes(delimiter) && !(alone && text === "");
    return plain ? text : `"${text.replaceAll('"', '""')}"`;
  };
  const line = (fields: readonly Field[]): string =>
    `${fields.map((f) => quoted(f, fields.length === 1)).join(delimiter)}\n`;
  let names = header || undefined;
  let width = names?.length;
  let text = names ? line(names) : "";
  let count = 0;
  for await (const row of rows) {
    count++;
    if (!Array.isArray(row) && (typeof row !== "object" || row === null)) {
      throw new ValueError(`writeCsv: row ${count} is ${describe(row)}; rows are arrays or objects by column`);
    }
    if (!names && !Array.isArray(row)) {
      names = Object.keys(row);
      width = names.length;
      if (header !== false) text += line(names);
    }
    const known = names as readonly string[];
    const fields = Array.isArray(row) ? row : known.map((name) => (row as Record<string, Field>)[name]);
    width ??= fields.length;
    if (fields.length !== width) {
      throw new ValueError(`writeCsv: row ${count} has ${fields.length} fields, the others ${width}`);
    }
    if (!Array.isArray(row)) {
      const extra = Object.keys(row).find((key) => !known.includes(key));
      if (extra !== undefined) {
        throw new ValueError(
          `writeCsv: row ${count} has ${JSON.stringify(extra)}, which is not among ${known.join(", ")}`,
        );
      }
    }
    text += line(fields);
    if (text.length < PIECE) continue;
    yield text;
    text = "";
  }
  if (text !== "") yield text;
}

/**
 * Writes rows (objects by column, or arrays) as a CSV file, gzipped where the name ends in .gz: a table, an array, or
 * whatever a generator makes, one row at a time. Whatever goes wrong, the path holds the old file or the new one whole.
 * Into a stream such as `process.stdout` the rows go as they come, no faster than it takes them.
 *
 * @throws ValueError for rows of different lengths and fields that are no text or number
 * @example
 * await io.writeCsv("out.csv", [{ id: 1, label: "cat" }, { id: 2, label: "dog" }]);
 */
export async function writeCsv(
  path: string | Writer,
  rows: Rows<Readonly<Record<string, Field>> | readonly Field[]>,
  options: CsvWriteOptions = {},
): Promise<void> {
  checkOptions(options, ["header", "delimiter"], "writeCsv");
  const { delimiter = delimiterOf(String(path)), header } = options;
  if (typeof delimiter !== "string" || delimiter === "" || /["\n\r]/.test(delimiter)) {
    throw new ValueError(`writeCsv: delimiter must be a text such as ",", got ${describe(delimiter)}`);
  }
  if (header !== undefined && header !== false && !Array.isArray(header)) {
    throw new ValueError(`writeCsv: header must be names or false, got ${describe(header)}`);
  }
  const text = lines(rows, { header, delimiter });
  if (typeof path !== "string") {
    for await (const piece of text) {
      await new Promise<void>((resolve, reject) => path.write(piece, (error) => (error ? reject(error) : resolve())));
    }
    return;
  }
  await replaceFile(path, async (file) => {
    if (!isGzipName(path)) {
      for await (const piece of text) await file.writeFile(piece);
      return;
    }
    const { Readable } = builtin<typeof import("node:stream")>("node:stream");
    const source = Readable.from(text);
    const packed = source.pipe(builtin<typeof import("node:zlib")>("node:zlib").createGzip());
    source.on("error", (error) => packed.destroy(error));
    for await (const piece of packed) await file.writeFile(piece);
  });
}

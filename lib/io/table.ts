// Tables: named columns of numbers, categories and texts, as CSV and Parquet files have them, and tensors of them.
import { checkOptions, describe } from "../check.js";
import { closest, listed } from "../closest.js";
import { FileError, ValueError } from "../errors.js";
import { type TensorOptions, tensor } from "../tensor/create.js";
import { type DType, dtypeFacts, isFloat } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";

/** A dtype for numbers; `"category"` for one of a few texts, held as its number; `"string"` for any text. */
export type ColumnType = DType | "category" | "string";

/** What is done about missing values: complain when they are needed, take the mean or a value, leave out the row. */
export type Fill = "error" | "mean" | "drop" | number | { readonly value: string };

/** Is it one, and not one for each column by name? */
export const isFill = (fill: unknown): fill is Fill =>
  fill === "error" ||
  fill === "mean" ||
  fill === "drop" ||
  typeof fill === "number" ||
  (typeof fill === "object" && fill !== null && typeof (fill as { value?: unknown }).value === "string");

/** What must be known of a column to read it again the same way; plain values, for a checkpoint. */
export interface ColumnSchema {
  readonly name: string;
  readonly type: ColumnType;
  /** The texts of a category's numbers 0, 1, … */
  readonly categories?: readonly string[];
  /** Where values were filled in: what with. */
  readonly fill?: Fill;
}

/** What must be known of a table to read another file the same way. */
export interface TableSchema {
  readonly columns: readonly ColumnSchema[];
  /** Names of the columns to be predicted; the others are features. */
  readonly target: readonly string[];
}

/** One column's values. */
export interface Column extends ColumnSchema {
  /**
   * Numbers (booleans as 0 and 1; NaN where missing), bigints for int64 (0 where missing), numbers of categories (−1
   * where missing), or texts (empty where missing).
   */
  readonly values: Float64Array | BigInt64Array | Int32Array | readonly string[];
  /** Rows whose value is missing and was not filled in. */
  readonly missing: readonly number[];
  /** Why the column should not be used as it was guessed to be. */
  readonly doubt?: string;
}

/** A row by the names of its columns; null where a value is missing. */
export type Row = Record<string, number | bigint | boolean | string | null>;

/**
 * Columns of one length. `x` and `y` are the features and the target as tensors.
 *
 * @example
 * const table = await io.readCsv("iris.csv", { target: "species" });
 * const [train, test] = data.split(new data.TensorDataset(table.x, table.y), [0.8, 0.2], { stratify: table.y });
 */
export class Table {
  private readonly byName: ReadonlyMap<string, Column>;
  private made: { x?: Tensor; y?: Tensor } = {};

  /**
   * @param columns all of the length of `lines`
   * @param target names of the columns to be predicted
   * @param label the file, for messages
   * @param lines each row's line in the file, counted from 1 (of other formats: its number)
   */
  constructor(
    readonly columns: readonly Column[],
    readonly target: readonly string[],
    private readonly label: string,
    readonly lines: ArrayLike<number>,
  ) {
    this.byName = new Map(columns.map((c) => [c.name, c]));
  }

  /** Number of rows. */
  get length(): number {
    return this.lines.length;
  }

  /** What is needed to read another file the same way: give it as the option `schema`. */
  get schema(): TableSchema {
    return {
      columns: this.columns.map(({ name, type, categories, fill }) => ({
        name,
        type,
        ...(categories && { categories }),
        ...(fill !== undefined && { fill }),
      })),
      target: this.target,
    };
  }

  /** @throws ValueError when there is no such column. */
  column(name: string): Column {
    const found = this.byName.get(name);
    if (found) return found;
    throw new ValueError(`${this.label}: ${noColumn(name, [...this.byName.keys()])}`);
  }

  /** Names of the columns of `x`: those that are not the target, `color=red` for each category of `color`. */
  get features(): string[] {
    return this.featureColumns().flatMap(widened);
  }

  private featureColumns(): Column[] {
    const columns = this.columns.filter(({ name }) => !this.target.includes(name));
    if (columns.length === 0) throw new ValueError(`${this.label}: every column is a target; there are no features`);
    return columns;
  }

  /** The features as float32 [rows, features]: numbers as they are, categories one-hot. */
  get x(): Tensor {
    this.made.x ??= this.matrix(this.featureColumns(), {});
    return this.made.x;
  }

  /** The target: numbers of categories as int64 [rows], numbers in their dtype [rows] or, if several, [rows, targets]. */
  get y(): Tensor {
    if (this.target.length === 0) {
      throw new ValueError(`${this.label}: no target was named; give the option target: "…" or use tensor("…")`);
    }
    this.made.y ??= this.tensor(this.target.length === 1 ? this.target[0] : this.target);
    return this.made.y;
  }

  /**
   * One column as [rows], or several as [rows, columns] in float32, categories one-hot. Alone, categories are int64,
   * and inferred numbers float32.
   *
   * @throws FileError for missing values, and for columns that are text or seem to be numbers but for some values
   */
  tensor(names: string | readonly string[], options: TensorOptions = {}): Tensor {
    checkOptions(options, ["dtype", "device", "requiresGrad"], "Table.tensor");
    if (typeof names !== "string")
      return this.matrix(
        names.map((name) => this.column(name)),
        options,
      );
    const column = this.usable(this.column(names));
    const { type, values } = column;
    if (type === "category") return tensor(Int32Array.from(values as Int32Array), { dtype: "int64", ...options });
    return tensor(values as Float64Array, { dtype: type as DType, ...options });
  }

  private matrix(columns: readonly Column[], options: TensorOptions): Tensor {
    const width = columns.reduce((n, c) => n + widened(c).length, 0);
    const out =
      options.dtype === "float64" ? new Float64Array(this.length * width) : new Float32Array(this.length * width);
    let at = 0;
    for (const column of columns) {
      const { values, type, categories } = this.usable(column);
      for (let i = 0; i < this.length; i++) {
        if (type === "category") out[i * width + at + (values[i] as number)] = 1;
        else out[i * width + at] = Number(values[i]);
      }
      at += type === "category" ? (categories as readonly string[]).length : 1;
    }
    return tensor(out, { shape: [this.length, width], ...options });
  }

  /** The column, if each of its values can be a number. */
  private usable(column: Column): Column {
    const { name, type, missing, doubt } = column;
    const refuse = (why: string): never => {
      throw new FileError(`${this.label}: ${why}`);
    };
    if (doubt !== undefined) return refuse(doubt);
    if (type === "string") {
      return refuse(
        `column ${JSON.stringify(name)} is text; leave it out with columns: […], or declare it with dtypes: { ${JSON.stringify(name)}: "category" }`,
      );
    }
    if (missing.length > 0) {
      const value = type === "category" ? '{ value: "…" }' : isFloat(type) ? '"mean"' : "0";
      return refuse(
        `line ${this.lines[missing[0]]}, column ${JSON.stringify(name)}: the value is missing` +
          `${missing.length > 1 ? `, as in ${missing.length - 1} other rows` : ""}; ` +
          `fill: { ${JSON.stringify(name)}: ${value} } or "drop" says what to do`,
      );
    }
    return column;
  }

  /** Row i by the names of the columns. */
  row(i: number): Row {
    if (!Number.isInteger(i) || i < 0 || i >= this.length) {
      throw new ValueError(`${this.label}: there is no row ${i} among ${this.length}`);
    }
    return Object.fromEntries(this.columns.map((c) => [c.name, valueAt(c, i)]));
  }

  /** The rows one after the other. */
  *[Symbol.iterator](): Iterator<Row> {
    for (let i = 0; i < this.length; i++) yield this.row(i);
  }
}

const widened = ({ name, type, categories }: Column): string[] =>
  type === "category" ? (categories as readonly string[]).map((c) => `${name}=${c}`) : [name];

function valueAt({ type, values, categories }: Column, i: number): Row[string] {
  const value = values[i];
  if (type === "category") return categories?.[value as number] ?? null;
  if (typeof value !== "number") return value;
  if (Number.isNaN(value)) return null;
  return type === "bool" ? value !== 0 : value;
}

/** Says that a name is unknown, which one may have been meant, and which there are. */
export function noColumn(name: string, known: readonly string[]): string {
  const near = closest(name, known);
  return `there is no column ${JSON.stringify(name)}; ${near ? `did you mean ${JSON.stringify(near)}? ` : ""}the columns are ${listed(known)}`;
}

/** Is it the name of a column's type? */
export function checkColumnType(type: unknown, op: string): ColumnType {
  if (typeof type === "string" && (type === "category" || type === "string" || Object.hasOwn(dtypeFacts, type))) {
    return type as ColumnType;
  }
  throw new ValueError(
    `${op}: a column's type is a dtype (${Object.keys(dtypeFacts).join(", ")}), "category" or "string"; got ${describe(type)}`,
  );
}

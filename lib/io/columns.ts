// From texts to a column: its type found or checked, missing values noted and filled in.
import { closest, listed } from "../closest.js";
import { FileError, ValueError } from "../errors.js";
import { type DType, dtypeFacts, isFloat } from "../tensor/dtype.js";
import { type Column, type ColumnType, type Fill, isFill, noColumn } from "./table.js";

/** A column of texts with at most this many different ones is taken for categories, others for free text. */
const MAX_CATEGORIES = 100;

const NUMBER = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)$/i;
const WHOLE = /^[+-]?\d+$/;
const BOOLEAN: ReadonlyMap<string, number> = new Map([
  ["true", 1],
  ["false", 0],
]);
const BITS: ReadonlyMap<string, number> = new Map([
  ["1", 1],
  ["0", 0],
]);
const RANGES: Partial<Record<DType, readonly [number, number]>> = {
  uint8: [0, 255],
  int32: [-(2 ** 31), 2 ** 31 - 1],
};

/** The number that a text says; undefined where it says none. */
function parseNumber(text: string): number | undefined {
  if (!NUMBER.test(text)) return undefined;
  const value = Number(text);
  if (!Number.isNaN(value)) return value;
  const word = text.toLowerCase().replace(/^[+-]/, "");
  return word === "nan" ? Number.NaN : text[0] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** Whole numbers that float64 does not hold are identifiers rather than quantities. */
const isQuantity = (text: string, value: number | undefined): value is number =>
  value !== undefined && (Number.isSafeInteger(value) || !WHOLE.test(text));

/** A typed array that grows. */
class Growing<A extends Float64Array | Int32Array | BigInt64Array> {
  length = 0;
  constructor(private array: A) {}

  push(value: A[number]): void {
    if (this.length === this.array.length) {
      const larger = new (this.array.constructor as new (n: number) => A)(2 * this.length);
      larger.set(this.array as never);
      this.array = larger;
    }
    this.array[this.length++] = value;
  }
  done(): A {
    return this.array.slice(0, this.length) as A;
  }
}

/** How a column is to be read. */
export interface ColumnPlan {
  readonly name: string;
  /** Absent: to be found out. */
  readonly type?: ColumnType;
  readonly categories?: readonly string[];
  readonly fill: Fill;
  /** Was `fill` given for this very column, or for all? */
  readonly fillIsOwn: boolean;
  /** Does it hold texts, as an earlier reading found? */
  readonly mixed?: boolean;
  /** Is it to be predicted? Its texts are always categories. */
  readonly isTarget: boolean;
}

/** What callers say about columns, whatever the format of the file. */
export interface Choice {
  readonly columns?: readonly string[];
  readonly target: readonly string[];
  readonly dtypes?: Readonly<Record<string, ColumnType>>;
  readonly categories?: Readonly<Record<string, readonly string[]>>;
  readonly fill?: Fill | Readonly<Record<string, Fill>>;
}

/** The plans of the chosen columns of a file that has `names`; throws for one that it does not have. */
export function choose(names: readonly string[], choice: Choice, label: string): ColumnPlan[] {
  const { target, dtypes = {}, categories = {}, fill = "error" } = choice;
  const fills: Readonly<Record<string, Fill>> = isFill(fill) ? {} : fill;
  const wanted = [...(choice.columns ?? names)];
  for (const name of target) if (!wanted.includes(name)) wanted.push(name);
  for (const name of [...wanted, ...Object.keys(dtypes), ...Object.keys(categories), ...Object.keys(fills)]) {
    if (!names.includes(name)) throw new FileError(`${label}: ${noColumn(name, names)}`);
  }
  // A column may be called "constructor".
  const own = <T>(of: Readonly<Record<string, T>>, name: string): T | undefined =>
    Object.hasOwn(of, name) ? of[name] : undefined;
  return wanted.map((name) => ({
    name,
    type: own(dtypes, name) ?? (own(categories, name) ? "category" : undefined),
    categories: own(categories, name),
    fill: isFill(fill) ? fill : (own(fills, name) ?? "error"),
    fillIsOwn: Object.hasOwn(fills, name),
    isTarget: target.includes(name),
  }));
}

/** Takes a column's texts one by one. */
export class ColumnBuilder {
  /** Found to hold texts after it was taken for numbers: it must be read again, as `mixed`. */
  mixed = false;
  private kind: "none" | "number" | "bigint" | "bool" | "text";
  private readonly numbers = new Growing(new Float64Array(64));
  private readonly bigints = new Growing(new BigInt64Array(1));
  private readonly ids = new Growing(new Int32Array(64));
  private readonly texts = new Map<string, number>();
  private readonly missing: number[] = [];
  private rows = 0;
  private sum = 0;
  private counted = 0;
  /** Where there are texts: how many of the values are numbers, and the first one that is not. */
  private numeric = 0;
  private stranger: { text: string; line: number } | undefined;

  /** @param keep false: only to find out types, without holding the values */
  constructor(
    private readonly plan: ColumnPlan,
    private readonly label: string,
    private readonly keep = true,
  ) {
    const { type, categories } = plan;
    if (type === "category" || type === "string" || plan.mixed) this.kind = "text";
    else if (type === "int64") this.kind = "bigint";
    else if (type === "bool") this.kind = "bool";
    else this.kind = type === undefined ? "none" : "number";
    for (const text of categories ?? []) this.texts.set(text, this.texts.size);
  }

  get name(): string {
    return this.plan.name;
  }

  private refuse(line: number, why: string): never {
    throw new FileError(`${this.label}: line ${line}, column ${JSON.stringify(this.plan.name)}: ${why}`);
  }

  /** The next value; null where it is missing. */
  push(text: string | null, line: number): void {
    const row = this.rows++;
    if (text === null) {
      this.missing.push(row);
      if (!this.keep) return;
      if (this.kind === "text") this.ids.push(-1);
      else if (this.kind === "bigint") this.bigints.push(0n);
      else this.numbers.push(Number.NaN);
      return;
    }
    const { type } = this.plan;
    const number = type === "string" || type === "category" || type === "int64" ? undefined : parseNumber(text);
    if (type === undefined) this.guess(text, number, line);
    if (this.mixed) return;
    switch (this.kind) {
      case "bigint": {
        const value = WHOLE.test(text) ? BigInt(text.replace(/^\+/, "")) : undefined;
        if (value === undefined || BigInt.asIntN(64, value) !== value) {
          this.refuse(line, `${JSON.stringify(text)} is not a whole number that int64 holds`);
        }
        this.sum += Number(value);
        this.counted++;
        if (this.keep) this.bigints.push(value);
        break;
      }
      case "text":
        this.pushText(text, line);
        break;
      default: {
        const value = this.kind === "bool" ? this.boolean(text, line) : this.number(text, number, line);
        this.sum += value;
        this.counted++;
        if (this.keep) this.numbers.push(value);
      }
    }
  }

  /** The next value, where the file has numbers and not their texts; of the type that the plan declares. */
  put(value: number | bigint | boolean, line: number): void {
    if (this.kind === "text") {
      this.push(String(value), line); // declared as categories
      return;
    }
    if (this.kind === "bigint") {
      const whole = BigInt(value);
      if (BigInt.asIntN(64, whole) !== whole) this.refuse(line, `${whole} does not fit in int64`);
      if (this.keep) this.bigints.push(whole);
    } else if (this.keep) this.numbers.push(Number(value));
    this.rows++;
    this.counted++;
    this.sum += Number(value);
  }

  /** Follows what the values are, until one does not fit. */
  private guess(text: string, number: number | undefined, line: number): void {
    const numeric = isQuantity(text, number);
    const kind = numeric ? "number" : BOOLEAN.has(text.toLowerCase()) ? "bool" : "text";
    if (this.kind === "none") {
      this.kind = kind;
      // What was missing so far is missing as a text, too.
      if (kind === "text" && this.keep) for (let i = 1; i < this.rows; i++) this.ids.push(-1);
    } else if (this.kind !== kind && this.kind !== "text") this.mixed = true;
    if (numeric) this.numeric++;
    else this.stranger ??= { text, line };
  }

  private number(text: string, value: number | undefined, line: number): number {
    const { type } = this.plan;
    if (value === undefined) this.refuse(line, `${JSON.stringify(text)} is not a number`);
    const range = type && RANGES[type as DType];
    if (range && !(Number.isInteger(value) && value >= range[0] && value <= range[1])) {
      this.refuse(line, `${text} is not a whole number from ${range[0]} to ${range[1]}, as ${type} needs`);
    }
    return value;
  }

  private boolean(text: string, line: number): number {
    const value = BOOLEAN.get(text.toLowerCase()) ?? BITS.get(text);
    return value ?? this.refuse(line, `${JSON.stringify(text)} is not true, false, 1 or 0`);
  }

  private pushText(text: string, line: number): void {
    let id = this.texts.get(text);
    if (id === undefined) {
      const { categories } = this.plan;
      if (categories) {
        const near = closest(text, categories);
        this.refuse(
          line,
          `${JSON.stringify(text)} is not one of its categories; ${near ? `did you mean ${JSON.stringify(near)}? ` : ""}they are ${listed(categories)}`,
        );
      }
      id = this.texts.size;
      // Free text need not be remembered where only types are wanted.
      if (this.keep || id <= MAX_CATEGORIES || this.plan.type === "category" || this.plan.isTarget) {
        this.texts.set(text, id);
      }
    }
    if (this.keep) this.ids.push(id);
  }

  finish(): Column {
    const { name, type } = this.plan;
    if (this.kind === "text") return this.finishText();
    const dtype = (type as DType | undefined) ?? (this.kind === "bool" ? "bool" : "float32");
    const values = this.kind === "bigint" ? this.bigints.done() : this.numbers.done();
    const fill = this.fillNumber(dtype);
    if (fill === undefined || fill === "drop") {
      return { name, type: dtype, values, missing: this.missing, ...(fill && { fill }) };
    }
    if (this.keep) {
      for (const row of this.missing) {
        if (this.kind === "bigint") (values as BigInt64Array)[row] = BigInt(fill);
        else (values as Float64Array)[row] = fill;
      }
    }
    return { name, type: dtype, values, missing: [], fill };
  }

  /** What missing numbers become. */
  private fillNumber(dtype: DType): number | "drop" | undefined {
    const { name, fill, fillIsOwn } = this.plan;
    const whole = dtypeFacts[dtype].kind !== "float";
    const refuse = (why: string): never => {
      throw new ValueError(`${this.label}: fill of column ${JSON.stringify(name)}: ${why}`);
    };
    if (fill === "drop") return fill;
    if (typeof fill === "number") {
      if (whole && this.missing.length > 0 && !Number.isInteger(fill)) {
        return fillIsOwn ? refuse(`${fill} is not a whole number, as ${dtype} needs`) : undefined;
      }
      return fill;
    }
    if (fill === "mean") {
      if (!isFloat(dtype)) {
        return fillIsOwn ? refuse(`the mean is for floating point columns, this one is ${dtype}`) : undefined;
      }
      if (this.counted === 0) return this.rows > 0 && fillIsOwn ? refuse("all of its values are missing") : undefined;
      return this.sum / this.counted;
    }
    if (typeof fill === "object" && fillIsOwn) return refuse(`the column is ${dtype}; give a number`);
    return undefined;
  }

  private finishText(): Column {
    const { name, type: declared, categories: given, fill, fillIsOwn, isTarget } = this.plan;
    const shared = { name, ...(fill === "drop" && { fill }) };
    const few = this.texts.size <= MAX_CATEGORIES || isTarget;
    const type = declared ?? (few ? "category" : "string");
    const ids = this.ids.done();
    if (fillIsOwn && (fill === "mean" || typeof fill === "number")) {
      throw new ValueError(
        `${this.label}: fill of column ${JSON.stringify(name)}: the column is text; give { value: "…" } or "drop"`,
      );
    }
    let missing = this.missing;
    let filled = {};
    if (typeof fill === "object") {
      if (!this.texts.has(fill.value)) {
        if (given) {
          throw new ValueError(
            `${this.label}: fill of column ${JSON.stringify(name)}: ${JSON.stringify(fill.value)} is not one of its categories ${given.join(", ")}`,
          );
        }
        this.texts.set(fill.value, this.texts.size);
      }
      const id = this.texts.get(fill.value) as number;
      if (this.keep) for (const row of missing) ids[row] = id;
      missing = [];
      filled = { fill };
    }
    const found = [...this.texts.keys()];
    const doubt = declared === undefined && this.numeric > 0 && this.stranger ? this.doubt(this.stranger) : undefined;
    const common = { ...shared, ...filled, type, missing, ...(doubt !== undefined && { doubt }) };
    if (type === "string") return { ...common, values: Array.from(ids, (id) => found[id] ?? "") };
    if (given) return { ...common, values: ids, categories: given };
    // In the order of their texts, whatever the order of the rows.
    const categories = [...found].sort();
    const place = new Map(categories.map((text, i) => [text, i]));
    const renumbered = found.map((text) => place.get(text) as number);
    return { ...common, values: ids.map((id) => (id < 0 ? id : renumbered[id])), categories };
  }

  private doubt({ text, line }: { text: string; line: number }): string {
    const others = this.numeric === 1 ? "1 other value is" : `${this.numeric} other values are`;
    return (
      `line ${line}, column ${JSON.stringify(this.plan.name)}: ${JSON.stringify(text)} is not a number, but ${others}; ` +
      `if it stands for a missing value list it in missing: […], if the column is no number declare it with ` +
      `dtypes: { ${JSON.stringify(this.plan.name)}: "category" }`
    );
  }
}

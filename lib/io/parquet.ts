// Parquet files (parquet.apache.org), through the hyparquet package; compression is Node's own.
import type { SchemaTree } from "hyparquet";
import { checkOptions, describe } from "../check.js";
import { FileError, NablaError, ValueError } from "../errors.js";
import { builtin } from "../package.js";
import { ColumnBuilder, type ColumnPlan, choose } from "./columns.js";
import { withRandomAccess } from "./file.js";
import { checkSource, labelOf, type Source } from "./source.js";
import { type ColumnType, type Fill, Table } from "./table.js";

export interface ParquetOptions {
  /** Which columns to read, in this order. Default: all. */
  columns?: readonly string[];
  /** The column or columns to be predicted: `y`. The others are `x`. */
  target?: string | readonly string[];
  /** The categories of columns of texts, in the order of their numbers; any other value is an error. */
  categories?: Readonly<Record<string, readonly string[]>>;
  /** What to do about missing values, for all columns or by name. Default "error": a tensor of the column is refused. */
  fill?: Fill | Readonly<Record<string, Fill>>;
  /** At most so many rows. */
  limit?: number;
}

/** No compressor of the format makes more of a byte than this; what claims more is damaged. */
const MAX_RATIO = 1 << 15;

/** Decompressors by codec, each with the size that the page announces. */
async function compressors(label: string) {
  const zlib = builtin<typeof import("node:zlib")>("node:zlib") as typeof import("node:zlib") & {
    zstdDecompressSync?: (bytes: Uint8Array, options: { maxOutputLength: number }) => Buffer;
  };
  const { snappyUncompress } = await import("hyparquet");
  const checked =
    (unpack: (bytes: Uint8Array, size: number) => Uint8Array) =>
    (bytes: Uint8Array, size: number): Uint8Array => {
      if (!(size >= 0 && size <= (bytes.length + 1) * MAX_RATIO)) {
        throw new FileError(`${label}: a page of ${size} bytes cannot be in ${bytes.length}`);
      }
      return unpack(bytes, size);
    };
  const missing = (codec: string, remedy: string) => (): never => {
    throw new FileError(`${label}: it is compressed with ${codec}, ${remedy}`);
  };
  return {
    SNAPPY: checked((bytes, size) => {
      const out = new Uint8Array(size);
      snappyUncompress(bytes, out);
      return out;
    }),
    GZIP: checked((bytes, size) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(1, size) })),
    BROTLI: checked((bytes, size) => zlib.brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, size) })),
    ZSTD: zlib.zstdDecompressSync
      ? checked((bytes, size) =>
          (zlib.zstdDecompressSync as NonNullable<typeof zlib.zstdDecompressSync>)(bytes, {
            maxOutputLength: Math.max(1, size),
          }),
        )
      : missing("zstd", "which Node can read from 22.15 on; write it with snappy or gzip"),
    ...Object.fromEntries(
      ["LZ4", "LZ4_RAW", "LZO"].map((codec) => [
        codec,
        missing(codec, "which is not read; write it with snappy or gzip"),
      ]),
    ),
  };
}

/** The type of a column; undefined for texts, which may be categories. */
function typeOf({ element, children }: SchemaTree, label: string): ColumnType | undefined {
  const { name, type, converted_type: converted, logical_type: logical, repetition_type: repetition } = element;
  const refuse = (what: string): never => {
    throw new FileError(
      `${label}: column ${JSON.stringify(name)} holds ${what}; numbers, booleans, texts and times can be read: choose them with columns: […]`,
    );
  };
  if (children.length > 0) return refuse("nested values");
  if (repetition === "REPEATED") return refuse("lists");
  if (converted === "DECIMAL" || logical?.type === "DECIMAL") return "float64";
  if (
    converted?.startsWith("TIMESTAMP") ||
    converted === "DATE" ||
    logical?.type === "TIMESTAMP" ||
    logical?.type === "DATE"
  ) {
    return "string";
  }
  switch (type) {
    case "BOOLEAN":
      return "bool";
    case "INT32":
      return converted === "UINT_32" ? "int64" : "int32";
    case "INT64":
      return "int64";
    case "FLOAT":
      return "float32";
    case "DOUBLE":
      return "float64";
    case "INT96":
      return "string";
    case "BYTE_ARRAY":
      return undefined;
    default:
      return logical?.type === "FLOAT16" ? "float32" : logical?.type === "UUID" ? "string" : refuse(`${type} values`);
  }
}

/**
 * A Parquet file as a table; the types are the file's. Texts are categories where there are at most 100 different ones;
 * times are texts in ISO 8601. Compressed with snappy, gzip, brotli, or, from Node 22.15 on, zstd.
 *
 * @throws FileError for a file that is truncated or none, and for columns of lists or records unless they are left out
 * @example
 * const table = await io.readParquet("train.parquet", { target: "label", fill: "drop" });
 */
export async function readParquet(source: Source, options: ParquetOptions = {}): Promise<Table> {
  checkSource(source, "readParquet");
  checkOptions(options, ["columns", "target", "categories", "fill", "limit"], "readParquet");
  const label = labelOf(source);
  const { limit = Number.POSITIVE_INFINITY } = options;
  if (limit !== Number.POSITIVE_INFINITY && !(Number.isInteger(limit) && limit > 0)) {
    throw new ValueError(`readParquet: limit must be an integer ≥ 1, got ${describe(limit)}`);
  }
  const target = typeof options.target === "string" ? [options.target] : (options.target ?? []);
  try {
    return await withRandomAccess(source, async (size, readAt) => {
      const ends = size < 12 ? [] : [await readAt(0, 4), await readAt(size - 4, 4)];
      if (ends.length === 0 || ends.some((end) => end.toString("latin1") !== "PAR1")) {
        const found = ends.map((end) => JSON.stringify(end.toString("latin1"))).join(" and ");
        throw new FileError(
          `${label}: this is not a whole Parquet file: it ${found ? `begins and ends with ${found} instead of "PAR1"` : `has ${size} bytes`}`,
        );
      }
      const { parquetMetadataAsync, parquetScan, parquetSchema } = await import("hyparquet");
      const file = {
        byteLength: size,
        slice: (start: number, end = size): Promise<ArrayBuffer> => {
          const part = readAt(start, end - start).then((bytes) => new Uint8Array(bytes).buffer);
          part.catch(() => {}); // several are asked for at once, and one failure is reported
          return part;
        },
      };
      const metadata = await parquetMetadataAsync(file);
      const { children } = parquetSchema(metadata);
      const names = children.map(({ element }) => element.name);
      const plans = choose(names, { ...options, target }, label).map((plan): ColumnPlan => {
        const own = typeOf(children[names.indexOf(plan.name)], label);
        return { ...plan, type: plan.type ?? own, mixed: own === undefined };
      });
      const wanted = plans.map((plan) => plan.name);
      const builders = plans.map((plan) => new ColumnBuilder(plan, label));
      const lines: number[] = [];
      const scan = await parquetScan({ file, metadata, columns: wanted, compressors: await compressors(label) });
      for (const { rowStart, rowEnd } of scan.ranges) {
        const end = Math.min(rowEnd, limit);
        if (rowStart >= end) break;
        const values: ArrayLike<unknown>[] = [];
        for (const column of wanted) values.push(await scan.readColumn({ column, rowStart, rowEnd: end }));
        if (values.some((v) => v.length !== end - rowStart)) {
          throw new FileError(`${label}: rows ${rowStart} to ${end - 1} are not all there`);
        }
        for (let i = 0; i < end - rowStart; i++) {
          const row = rowStart + i + 1;
          if (values.some((v, j) => plans[j].fill === "drop" && isMissing(v[i]))) continue;
          values.forEach((v, j) => {
            put(builders[j], v[i], row);
          });
          lines.push(row);
        }
      }
      if (lines.length === 0) throw new FileError(`${label}: there is no row`);
      // Texts are declared as such in the file, whatever they look like.
      const columns = builders.map((b) => ({ ...b.finish(), doubt: undefined }));
      return new Table(columns, target, label, lines);
    });
  } catch (error) {
    if (error instanceof NablaError) throw error;
    throw new FileError(`${label}: the file is damaged, or of a kind that is not read: ${(error as Error).message}`);
  }
}

const isMissing = (value: unknown): boolean => value === null || value === undefined;

function put(builder: ColumnBuilder, value: unknown, row: number): void {
  if (isMissing(value)) builder.push(null, row);
  else if (typeof value === "string") builder.push(value, row);
  else if (value instanceof Date) builder.push(value.toISOString(), row);
  else if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean")
    builder.put(value, row);
  else throw new FileError(`column ${JSON.stringify(builder.name)}, row ${row}: ${describe(value)} cannot be read`);
}

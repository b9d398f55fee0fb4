// Files: weights and checkpoints, tables, arrays of other programs.
export { load, type Saveable, save } from "./checkpoint.js";
export { type CsvOptions, csvBatches, csvRows, inferCsvSchema, readCsv } from "./csv.js";
export { type CsvWriteOptions, type Field, type Writer, writeCsv } from "./csv-write.js";
export { readIdx, readMnist, writeIdx } from "./idx.js";
export { readNpy, readNpz, writeNpy, writeNpz } from "./npy.js";
export { type ParquetOptions, readParquet } from "./parquet.js";
export { loadSafetensors, type SafetensorsInfo, safetensorsInfo, saveSafetensors } from "./safetensors.js";
export {
  type Column,
  type ColumnSchema,
  type ColumnType,
  type Fill,
  type Row,
  Table,
  type TableSchema,
} from "./table.js";

// Weights in the safetensors format (github.com/huggingface/safetensors, "Format"): eight bytes with the length of a JSON
// header, the header, the values. Nothing in such a file can be executed.
import type { FileHandle } from "node:fs/promises";
import { describe } from "../check.js";
import type { Device } from "../device/device.js";
import { defaultDevice, getDevice } from "../device/registry.js";
import { FileError, ValueError } from "../errors.js";
import { fromTyped } from "../tensor/create.js";
import { type DType, dtypeFacts, type TypedArray } from "../tensor/dtype.js";
import { numelOf, type Shape } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { replaceFile } from "./atomic.js";
import { fill, withFile } from "./file.js";

const codes: Record<DType, string> = {
  ...{ float64: "F64", float32: "F32", float16: "F16", bfloat16: "BF16" },
  ...{ int64: "I64", int32: "I32", uint8: "U8", bool: "BOOL" },
};
const dtypeOf = new Map(Object.entries(codes).map(([dtype, code]) => [code, dtype as DType]));

/** Longer headers are refused, as the reference implementation does. */
const MAX_HEADER = 100_000_000;

interface Entry {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/** What a safetensors file says of itself. */
export interface SafetensorsInfo {
  /** Free texts, such as `{ format: "pt" }`. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: Readonly<Record<string, { readonly dtype: DType; readonly shape: Shape }>>;
}

/**
 * Writes tensors into a safetensors file, which PyTorch and the Hugging Face libraries read. The old file stays until
 * the new one is complete. The event loop stays free.
 *
 * @example
 * await io.saveSafetensors("model.safetensors", model.stateDict());
 */
export async function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const header: Record<string, unknown> = {};
  for (const [key, text] of Object.entries(metadata)) {
    if (typeof text !== "string") {
      throw new ValueError(`saveSafetensors: metadata must be strings, ${key} is ${describe(text)}`);
    }
  }
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  // Wider types first, so that each tensor is aligned; then by name, so that equal states give equal files.
  const list = Object.entries(tensors).map(([name, t]) => {
    if (!(t instanceof Tensor)) throw new ValueError(`saveSafetensors: ${name} is not a tensor but ${describe(t)}`);
    if (name === "__metadata__") throw new ValueError("saveSafetensors: a tensor cannot be called __metadata__");
    return { name, t: t.use("saveSafetensors"), width: dtypeFacts[t.dtype].bytes };
  });
  list.sort((a, b) => b.width - a.width || (a.name < b.name ? -1 : 1));
  let at = 0;
  for (const { name, t, width } of list) {
    const bytes = t.numel * width;
    header[name] = { dtype: codes[t.dtype], shape: t.shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  // All values as they are now: the caller may go on training while they are written.
  const values = list.map(({ t }) => t.detach().clone().data());
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8);
  const json = Buffer.from(text);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const arrays = await Promise.all(values);
  await replaceFile(path, async (file) => {
    await file.writeFile(Buffer.concat([length, json]));
    for (const a of arrays) {
      const array = a as TypedArray;
      if (array.byteLength > 0) await file.writeFile(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    }
  });
}

/**
 * The tensors of a safetensors file.
 *
 * @param options where the tensors shall be; default: the default device
 * @throws FileError when the file is truncated or not of this format
 * @example
 * model.loadStateDict(await io.loadSafetensors("model.safetensors"));
 */
export async function loadSafetensors(
  path: string,
  options: { device?: string } = {},
): Promise<Record<string, Tensor>> {
  const device = options.device === undefined ? defaultDevice() : getDevice(options.device);
  return withFile(path, async (file) => {
    const { entries, start } = await readHeader(file, path);
    const tensors: Record<string, Tensor> = {};
    for (const [name, entry] of entries) tensors[name] = await readTensor(file, path, entry, start, device);
    return tensors;
  });
}

/** Names, dtypes, shapes and metadata of a safetensors file, without its values. */
export async function safetensorsInfo(path: string): Promise<SafetensorsInfo> {
  return withFile(path, async (file) => {
    const { entries, metadata } = await readHeader(file, path);
    return { metadata, tensors: Object.fromEntries(entries.map(([k, { dtype, shape }]) => [k, { dtype, shape }])) };
  });
}

async function readTensor(file: FileHandle, path: string, entry: Entry, start: number, device: Device) {
  const { dtype, shape, begin } = entry;
  const array = new dtypeFacts[dtype].array(numelOf(shape));
  await fill(file, path, new Uint8Array(array.buffer, array.byteOffset, array.byteLength), start + begin);
  if (dtype === "bool") for (let i = 0; i < array.length; i++) array[i] = array[i] === 0 ? 0 : 1;
  return fromTyped(array, dtype, shape, device);
}

interface Header {
  readonly metadata: Record<string, string>;
  readonly entries: [name: string, entry: Entry][];
  /** Where the values begin. */
  readonly start: number;
}

async function readHeader(file: FileHandle, path: string): Promise<Header> {
  const refuse = (why: string): never => {
    throw new FileError(`${path}: this is not a whole safetensors file: ${why}`);
  };
  const { size } = await file.stat();
  if (size < 8) return refuse(`it has ${size} bytes`);
  const head = Buffer.alloc(8);
  await fill(file, path, head, 0);
  const length = Number(head.readBigUInt64LE());
  if (length > MAX_HEADER) return refuse(`its header would have ${length} bytes`);
  if (8 + length > size) return refuse(`its header of ${length} bytes does not fit in ${size}`);
  const text = Buffer.alloc(length);
  await fill(file, path, text, 8);
  let json: unknown;
  try {
    json = JSON.parse(text.toString("utf8"));
  } catch (error) {
    return refuse(`its header is not JSON: ${(error as Error).message}`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return refuse("its header is no JSON object");
  const { __metadata__: metadata = {}, ...rest } = json as Record<string, unknown>;
  const entries = Object.entries(rest).map(([name, value]): [string, Entry] => {
    const { dtype: code, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
    const natural = (list: unknown): list is number[] =>
      Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
    if (!natural(shape) || !natural(offsets) || offsets.length !== 2)
      return refuse(`the entry of ${name} is malformed`);
    const dtype = dtypeOf.get(code as string);
    if (!dtype) {
      throw new FileError(
        `${path}: ${name} has dtype ${String(code)}; tensors here can be ${[...dtypeOf.keys()].join(", ")}`,
      );
    }
    const [begin, end] = offsets;
    if (end - begin !== numelOf(shape) * dtypeFacts[dtype].bytes) {
      return refuse(`${name} has ${end - begin} bytes, which is not what ${code} [${shape}] takes`);
    }
    return [name, { dtype, shape, begin, end }];
  });
  // The values must fill the rest of the file without gaps or overlaps.
  let at = 0;
  for (const [name, { begin, end }] of [...entries].sort((a, b) => a[1].begin - b[1].begin || a[1].end - b[1].end)) {
    if (begin !== at) return refuse(`${name} begins at byte ${begin} of the values instead of ${at}`);
    at = end;
  }
  if (8 + length + at !== size) return refuse(`${at} bytes of values were announced, ${size - 8 - length} are there`);
  return { metadata: metadata as Record<string, string>, entries, start: 8 + length };
}

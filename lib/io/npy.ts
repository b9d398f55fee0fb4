// NumPy's files (numpy.org/neps/nep-0001-npy-format): one array in an .npy, several by name in an .npz, which is a zip
// archive of them. Arrays of Python objects are pickles, programs that is; they are refused.
import { checkOptions } from "../check.js";
import type { Device } from "../device/device.js";
import { defaultDevice, getDevice } from "../device/registry.js";
import { FileError, ValueError } from "../errors.js";
import { checkTensor } from "../ops/define.js";
import { contiguous, permute } from "../ops/movement.js";
import { fromTyped } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import { replaceFile } from "./atomic.js";
import { bytesOf, decode, elementCount, elementTypeOf, encode, isElementType } from "./elements.js";
import { type ByteReader, withBytes } from "./file.js";
import { checkSource, labelOf, type Source } from "./source.js";
import { withZip, writeZip } from "./zip.js";

const MAGIC = "\x93NUMPY";
/** Longer headers are refused; NumPy itself warns from 10000 on. */
const MAX_HEADER = 1 << 20;

interface Header {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: number[];
}

/** The three entries of the Python dictionary that the header is. Matched, not evaluated. */
function parseHeader(text: string, label: string): Header {
  const refuse = (why: string): never => {
    throw new FileError(`${label}: ${why}; its header is ${JSON.stringify(text.trim().slice(0, 200))}`);
  };
  const fortran = /'fortran_order'\s*:\s*(True|False)\b/.exec(text);
  const shape = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(text);
  const descr = /'descr'\s*:\s*('([^']*)'|\[)/.exec(text);
  if (!/^\{.*\}\s*$/s.test(text) || !fortran || !shape || !descr) return refuse("this is no npy header");
  if (descr[2] === undefined)
    return refuse("it holds records of several fields; save each field as an array of its own");
  const numbers = shape[1].split(",").map((n) => n.trim());
  if (numbers.at(-1) === "") numbers.pop();
  if (numbers.some((n) => !/^\d+$/.test(n))) return refuse("its shape is malformed");
  return { descr: descr[2], fortran: fortran[1] === "True", shape: numbers.map(Number) };
}

async function readArray(reader: ByteReader, label: string, device: Device): Promise<Tensor> {
  const start = Buffer.from(await reader.take(8));
  if (start.toString("latin1", 0, 6) !== MAGIC) {
    const zip = start.toString("latin1", 0, 2) === "PK";
    throw new FileError(
      `${label}: this is no npy file${zip ? " but a zip archive; read it with io.readNpz" : `: it begins with ${start.toString("hex") || "nothing"}`}`,
    );
  }
  const version = start[6];
  if (start.length < 8 || version < 1 || version > 3) {
    throw new FileError(`${label}: npy versions 1 to 3 can be read, this is version ${version ?? "unknown"}`);
  }
  const size = Buffer.from(await reader.take(version === 1 ? 2 : 4));
  const length = size.length < 2 ? 0 : size.readUIntLE(0, size.length);
  if (length > MAX_HEADER) throw new FileError(`${label}: its header would have ${length} bytes`);
  const header = Buffer.from(await reader.take(length));
  if (header.length < length || length === 0) throw new FileError(`${label}: the file is truncated within its header`);
  const { descr, fortran, shape } = parseHeader(header.toString(version === 3 ? "utf8" : "latin1"), label);
  const [order, type] = [descr[0], descr.slice(1)];
  if (type.startsWith("O")) {
    throw new FileError(`${label}: it holds pickled Python objects, which are not read because a pickle is a program`);
  }
  if (!"<>|=".includes(order) || !isElementType(type)) {
    throw new FileError(
      `${label}: its dtype ${descr} has no counterpart here; floats of 2, 4 and 8 bytes, integers and booleans can be read`,
    );
  }
  const wanted = elementCount(shape, label) * bytesOf(type);
  const bytes = await reader.take(wanted);
  if (bytes.length < wanted || (await reader.more())) {
    throw new FileError(
      `${label}: ${descr} [${shape.join(", ")}] takes ${wanted} bytes, ` +
        `the file has ${bytes.length < wanted ? `${bytes.length}: it is truncated` : "more"}`,
    );
  }
  const { values, dtype } = decode(bytes, type, order === ">", label);
  if (!fortran || shape.length < 2) return fromTyped(values, dtype, shape, device);
  // The first index runs fastest: the array of the reversed shape, with its dimensions turned round.
  const turned = fromTyped(values, dtype, [...shape].reverse(), device);
  return contiguous(permute(turned, shape.map((_, i) => i).reverse()));
}

/** The bytes of an npy file: header and values. */
async function arrayBytes(t: Tensor): Promise<[header: Buffer, values: Uint8Array]> {
  const type = elementTypeOf(t.dtype);
  const order = bytesOf(type) === 1 ? "|" : "<";
  const shape = `(${t.shape.join(", ")}${t.ndim === 1 ? "," : ""})`;
  const text = `{'descr': '${order}${type}', 'fortran_order': False, 'shape': ${shape}, }`;
  // The values begin at a multiple of 64 bytes. No header here comes near the 65535 bytes of version 1.
  const padded = `${text}${" ".repeat(63 - ((10 + text.length) % 64))}\n`;
  const length = Buffer.alloc(2);
  length.writeUInt16LE(padded.length);
  const header = Buffer.concat([
    Buffer.from(MAGIC, "latin1"),
    Buffer.from([1, 0]),
    length,
    Buffer.from(padded, "latin1"),
  ]);
  return [header, encode(await t.detach().clone().data(), t.dtype, false)];
}

const place = (options: { device?: string }): Device =>
  options.device === undefined ? defaultDevice() : getDevice(options.device);

/**
 * The array of an npy file (`numpy.load`), also gzipped. int8, int16 and uint16 become int32, uint32 and uint64 int64; `V2`,
 * which is how the ml_dtypes package's bfloat16 is stored, becomes bfloat16.
 *
 * @throws FileError when the file is truncated, not of this format, or holds objects, texts, records or complex numbers
 * @example
 * const x = await io.readNpy("x.npy");
 */
export async function readNpy(source: Source, options: { device?: string } = {}): Promise<Tensor> {
  checkSource(source, "readNpy");
  checkOptions(options, ["device"], "readNpy");
  return withBytes(source, (reader) => readArray(reader, labelOf(source), place(options)));
}

/** Writes a tensor as an npy file (`numpy.save`). The old file stays until the new one is complete. */
export async function writeNpy(path: string, x: Tensor): Promise<void> {
  const [header, values] = await arrayBytes(checkTensor(x, "writeNpy"));
  await replaceFile(path, async (file) => {
    await file.writeFile(header);
    if (values.length > 0) await file.writeFile(values);
  });
}

/** The arrays of an npz file by name, stored or compressed (`numpy.savez`, `numpy.savez_compressed`). */
export async function readNpz(source: Source, options: { device?: string } = {}): Promise<Record<string, Tensor>> {
  checkSource(source, "readNpz");
  checkOptions(options, ["device"], "readNpz");
  const label = labelOf(source);
  const device = place(options);
  return withZip(source, async (zip) => {
    const arrays: [string, Tensor][] = [];
    for (const entry of zip.entries) {
      if (!entry.name.endsWith(".npy"))
        throw new FileError(`${label}: ${entry.name} is no array; is this an npz file?`);
      const bytes = await zip.read(entry);
      const tensor = await withBytes({ bytes }, (reader) => readArray(reader, `${label}, ${entry.name}`, device));
      arrays.push([entry.name.slice(0, -4), tensor]);
    }
    return Object.fromEntries(arrays);
  });
}

/**
 * Writes tensors as an npz file. The old file stays until the new one is complete.
 *
 * @param options `compress: true` deflates them (`numpy.savez_compressed`)
 * @example
 * await io.writeNpz("split.npz", { x, y }, { compress: true });
 */
export async function writeNpz(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  options: { compress?: boolean } = {},
): Promise<void> {
  checkOptions(options, ["compress"], "writeNpz");
  const list = Object.entries(tensors).map(([name, t]) => {
    if (name === "") throw new ValueError("writeNpz: names must not be empty");
    return [name, checkTensor(t, `writeNpz: ${name}`).detach().clone()] as const;
  });
  async function* entries() {
    for (const [name, t] of list) yield { name: `${name}.npy`, bytes: Buffer.concat(await arrayBytes(t)) };
  }
  await replaceFile(path, (file) => writeZip(file, entries(), options.compress === true));
}

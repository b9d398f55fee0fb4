// Zip archives as far as npz files need them (PKWARE, APPNOTE.TXT 6.3.10): entries that are stored or deflated. The
// compressor and the checksum are Node's.
import type { FileHandle } from "node:fs/promises";
import { FileError, ValueError } from "../errors.js";
import { builtin } from "../package.js";
import { MAX_RATIO, withRandomAccess } from "./file.js";
import { labelOf, type Source } from "./source.js";

const zlib = () => builtin<typeof import("node:zlib")>("node:zlib");

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const STORED = 0;
const DEFLATED = 8;
/** In place of a size or a position that stands in the zip64 extra field. */
const ELSEWHERE = 0xffffffff;

export interface ZipEntry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  /** Where its local header is. */
  readonly at: number;
}

export interface Zip {
  readonly entries: readonly ZipEntry[];
  /** The bytes of an entry, unpacked and checked. */
  read(entry: ZipEntry): Promise<Uint8Array>;
}

/** Opens an archive for `fn` and closes it. */
export const withZip = <R>(source: Source, fn: (zip: Zip) => Promise<R>): Promise<R> =>
  withRandomAccess(source, async (size, readAt) => fn(await openZip(labelOf(source), size, readAt)));

async function openZip(
  label: string,
  size: number,
  readAt: (at: number, length: number) => Promise<Buffer>,
): Promise<Zip> {
  const refuse = (why: string): never => {
    throw new FileError(`${label}: this is not a whole zip archive: ${why}`);
  };
  const part = (at: number, length: number, what: string): Promise<Buffer> =>
    at >= 0 && length >= 0 && at + length <= size
      ? readAt(at, length)
      : refuse(`${what} would lie outside of its ${size} bytes`);
  const big = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

  // The end record is the last thing in the file but for a comment of at most 65535 bytes.
  const tailAt = Math.max(0, size - 22 - 0xffff - 20);
  const tail = await part(tailAt, size - tailAt, "the end record");
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== END) end--;
  if (end < 0) return refuse(size < 22 ? `it has ${size} bytes` : "it has no end record; it may be truncated");
  let count = tail.readUInt16LE(end + 10);
  let length = tail.readUInt32LE(end + 12);
  let at = tail.readUInt32LE(end + 16);
  if (end >= 20 && tail.readUInt32LE(end - 20) === LOCATOR64) {
    const record = await part(big(tail, end - 12), 56, "the zip64 end record");
    if (record.readUInt32LE(0) !== END64) return refuse("its zip64 end record is damaged");
    count = big(record, 32);
    length = big(record, 40);
    at = big(record, 48);
  }
  const directory = await part(at, length, "the list of entries");
  const entries: ZipEntry[] = [];
  for (let i = 0, p = 0; i < count; i++) {
    if (p + 46 > length || directory.readUInt32LE(p) !== CENTRAL)
      return refuse(`entry ${i + 1} of ${count} is damaged`);
    const flags = directory.readUInt16LE(p + 8);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => directory.readUInt16LE(p + o));
    const next = p + 46 + nameLength + extraLength + commentLength;
    if (next > length) return refuse(`entry ${i + 1} of ${count} is damaged`);
    const name = directory.toString("utf8", p + 46, p + 46 + nameLength);
    if (flags & 1) throw new FileError(`${label}: ${name} is encrypted`);
    let [packed, unpacked] = [directory.readUInt32LE(p + 20), directory.readUInt32LE(p + 24)];
    let local = directory.readUInt32LE(p + 42);
    const extraEnd = p + 46 + nameLength + extraLength;
    for (let e = p + 46 + nameLength; e + 4 <= extraEnd; e += 4 + directory.readUInt16LE(e + 2)) {
      if (directory.readUInt16LE(e) !== 1) continue;
      let field = e + 4;
      const take = (value: number): number => {
        if (value !== ELSEWHERE) return value;
        if (field + 8 > extraEnd) return refuse(`the sizes of ${name} are damaged`);
        field += 8;
        return big(directory, field - 8);
      };
      unpacked = take(unpacked);
      packed = take(packed);
      local = take(local);
    }
    entries.push({
      name,
      method: directory.readUInt16LE(p + 10),
      crc: directory.readUInt32LE(p + 16),
      packed,
      size: unpacked,
      at: local,
    });
    p = next;
  }

  return {
    entries,
    async read({ name, method, crc, packed, size: unpacked, at: local }) {
      const head = await part(local, 30, name);
      if (head.readUInt32LE(0) !== LOCAL) return refuse(`the header of ${name} is damaged`);
      const begin = local + 30 + head.readUInt16LE(26) + head.readUInt16LE(28);
      const bytes = await part(begin, packed, name);
      if (method !== STORED && method !== DEFLATED) {
        throw new FileError(
          `${label}: ${name} is compressed by method ${method}; stored (0) and deflated (8) entries can be read`,
        );
      }
      if (method === STORED ? unpacked !== packed : unpacked > packed * MAX_RATIO) {
        return refuse(`${name} of ${unpacked} bytes cannot be in ${packed}`);
      }
      const whole =
        method === STORED ? bytes : await inflate(bytes, unpacked).catch((e: Error) => refuse(`${name}: ${e.message}`));
      if (whole.length !== unpacked) return refuse(`${name} has ${whole.length} bytes instead of ${unpacked}`);
      if (zlib().crc32(whole) !== crc) return refuse(`the checksum of ${name} is wrong`);
      return whole;
    },
  };
}

const inflate = (bytes: Uint8Array, size: number): Promise<Buffer> =>
  new Promise((resolve, reject) =>
    // One byte more than announced is an error of its own.
    zlib().inflateRaw(bytes, { maxOutputLength: size + 1 }, (error, out) => (error ? reject(error) : resolve(out))),
  );

const deflate = (bytes: Uint8Array): Promise<Buffer> =>
  new Promise((resolve, reject) => zlib().deflateRaw(bytes, (error, out) => (error ? reject(error) : resolve(out))));

/** Midnight of 1 January 1980, so that equal contents give equal files. */
const DOS_DATE = (1 << 5) | 1;

/** Writes entries as an archive. */
export async function writeZip(
  file: FileHandle,
  entries: AsyncIterable<{ name: string; bytes: Uint8Array }>,
  compress: boolean,
): Promise<void> {
  const directory: Buffer[] = [];
  let at = 0;
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (bytes.length > 0) await file.writeFile(bytes);
    at += bytes.length;
  };
  for await (const { name, bytes } of entries) {
    const packed = compress ? await deflate(bytes) : bytes;
    if (at + bytes.length >= ELSEWHERE) {
      throw new ValueError(`writeNpz: ${name} does not fit in an archive of 4 GiB; use writeNpy or saveSafetensors`);
    }
    // Version 2.0, UTF-8 names; then method, time, date, checksum, sizes, length of the name.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(1 << 11, 2);
    common.writeUInt16LE(compress ? DEFLATED : STORED, 4);
    common.writeUInt16LE(DOS_DATE, 8);
    common.writeUInt32LE(zlib().crc32(bytes), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const u32 = (value: number): Buffer => {
      const out = Buffer.alloc(4);
      out.writeUInt32LE(value);
      return out;
    };
    const made = Buffer.from([20, 0]);
    directory.push(u32(CENTRAL), made, common, Buffer.alloc(10), u32(at), Buffer.from(name));
    await put(Buffer.concat([u32(LOCAL), common, Buffer.from(name)]));
    await put(packed);
  }
  const list = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END, 0);
  end.writeUInt16LE(directory.length / 6, 8);
  end.writeUInt16LE(directory.length / 6, 10);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(at, 16);
  await put(list);
  await put(end);
}

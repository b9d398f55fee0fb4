// Reading files of any kind: opened and closed in one place, whole or in pieces, gzip undone on the way.
import { type FileHandle, open } from "node:fs/promises";
import { FileError } from "../errors.js";
import { builtin } from "../package.js";
import { isStream, labelOf, type Source, type Stream } from "./source.js";

const opened = (path: string): Promise<FileHandle> =>
  open(path, "r").catch((error: NodeJS.ErrnoException) => {
    throw new FileError(
      `${path}: ${error.code === "ENOENT" ? "there is no such file" : error.message.replace(/, open .*/, "")}`,
    );
  });

/** Hands an open file to `fn` and closes it. */
export async function withFile<R>(path: string, fn: (file: FileHandle) => Promise<R>): Promise<R> {
  const file = await opened(path);
  try {
    return await fn(file);
  } finally {
    await file.close();
  }
}

/** Fills the array from a place in the file, which must have that much. */
export async function fill(file: FileHandle, path: string, array: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < array.length; ) {
    const { bytesRead } = await file.read(array, done, Math.min(array.length - done, 1 << 30), position + done);
    if (bytesRead === 0) throw new FileError(`${path}: the file is truncated`);
    done += bytesRead;
  }
}

/** Hands `fn` a source's size and a way to read any part of it, and closes it. */
export async function withRandomAccess<R>(
  source: Source,
  fn: (size: number, readAt: (at: number, length: number) => Promise<Buffer>) => Promise<R>,
): Promise<R> {
  const label = labelOf(source);
  const inside = (at: number, length: number, size: number): void => {
    if (at >= 0 && length >= 0 && at + length <= size) return;
    throw new FileError(
      `${label}: bytes ${at} to ${at + length} would be needed, the file has ${size}; it is truncated or damaged`,
    );
  };
  if (typeof source === "string") {
    return withFile(source, async (file) => {
      const { size } = await file.stat();
      return fn(size, async (at, length) => {
        inside(at, length, size);
        const bytes = Buffer.alloc(length);
        await fill(file, label, bytes, at);
        return bytes;
      });
    });
  }
  const all = Buffer.from("text" in source ? source.text : source.bytes);
  return fn(all.length, async (at, length) => {
    inside(at, length, all.length);
    return all.subarray(at, at + length);
  });
}

const CHUNK = 1 << 18;

async function* rawChunks(source: Source | Stream): AsyncGenerator<Buffer> {
  if (isStream(source)) {
    for await (const { buffer, byteOffset, length } of source) yield Buffer.from(buffer, byteOffset, length);
    return;
  }
  if (typeof source === "string") {
    const file = await opened(source);
    try {
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK), 0, CHUNK).catch((error: Error) => {
          throw new FileError(`${source}: ${error.message}`);
        });
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }
  const bytes =
    "text" in source
      ? Buffer.from(source.text)
      : Buffer.from(source.bytes.buffer as ArrayBuffer, source.bytes.byteOffset, source.bytes.length);
  for (let at = 0; at < bytes.length; at += CHUNK) yield bytes.subarray(at, at + CHUNK);
}

/**
 * The bytes of a source in pieces. What begins with gzip's mark is unpacked, whatever its name; leaving the loop early
 * closes the file.
 */
export async function* chunks(
  source: Source | Stream,
  onStart: (packed: boolean) => void = () => {},
): AsyncGenerator<Buffer> {
  const raw = rawChunks(source);
  try {
    const first = await raw.next();
    if (first.done) return;
    const head = first.value;
    const packed = head[0] === 0x1f && head[1] === 0x8b;
    onStart(packed);
    if (!packed) {
      yield head;
      yield* raw;
      return;
    }
    const { Readable } = builtin<typeof import("node:stream")>("node:stream");
    const input = Readable.from(
      (async function* () {
        yield head;
        yield* raw;
      })(),
      { objectMode: false },
    );
    const unpacked = input.pipe(builtin<typeof import("node:zlib")>("node:zlib").createGunzip());
    input.on("error", (error) => unpacked.destroy(error));
    try {
      yield* unpacked as AsyncIterable<Buffer>;
    } catch (error) {
      if (error instanceof FileError) throw error;
      throw new FileError(`${labelOf(source)}: its gzip data is damaged or truncated: ${(error as Error).message}`);
    } finally {
      unpacked.destroy();
      input.destroy();
    }
  } finally {
    await raw.return(undefined);
  }
}

/** No deflated byte stands for more than this many (zlib's technical notes, "Maximum Compression Factor"). */
export const MAX_RATIO = 1032;

/** Takes bytes from a source in order. */
export class ByteReader {
  private readonly chunks: AsyncGenerator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);
  private packed = false;
  private taken = 0;

  /** @param size how long the source is, before gzip is undone */
  constructor(
    readonly source: Source,
    readonly size: number,
  ) {
    this.chunks = chunks(source, (packed) => {
      this.packed = packed;
    });
  }

  /** Are there bytes left? */
  async more(): Promise<boolean> {
    while (this.rest.length === 0) {
      const next = await this.chunks.next();
      if (next.done) return false;
      this.rest = next.value;
    }
    return true;
  }

  /** The next bytes; fewer than `count` at the end. Nothing is allocated that the source cannot fill. */
  async take(count: number): Promise<Uint8Array> {
    await this.more();
    const out = new Uint8Array(Math.min(count, this.packed ? this.size * MAX_RATIO : this.size - this.taken));
    let have = 0;
    while (have < out.length && (await this.more())) {
      const part = this.rest.subarray(0, out.length - have);
      out.set(part, have);
      this.rest = this.rest.subarray(part.length);
      have += part.length;
    }
    this.taken += have;
    return out.subarray(0, have);
  }

  close(): Promise<unknown> {
    return this.chunks.return(undefined);
  }
}

const sizeOf = async (source: Source): Promise<number> => {
  if (typeof source === "string") {
    return withFile(source, async (file) => (await file.stat()).size);
  }
  return "text" in source ? Buffer.byteLength(source.text) : source.bytes.length;
};

/** Reads a source from its beginning and closes it. */
export async function withBytes<R>(source: Source, fn: (reader: ByteReader) => Promise<R>): Promise<R> {
  const reader = new ByteReader(source, await sizeOf(source));
  try {
    return await fn(reader);
  } finally {
    await reader.close();
  }
}

/** Does this name ask for gzip? */
export const isGzipName = (path: string): boolean => /\.gz$/i.test(path);

/** The bytes in gzip's format. */
export const gzip = (bytes: Uint8Array): Promise<Buffer> =>
  new Promise((resolve, reject) =>
    builtin<typeof import("node:zlib")>("node:zlib").gzip(bytes, (error, packed) =>
      error ? reject(error) : resolve(packed),
    ),
  );

// Checks a native binary before it is loaded: the dynamic linker maps a truncated file without complaint and the process
// then dies of SIGBUS, so the headers are read here first and must describe a whole file for this machine.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const elfMachines: Record<number, string> = {
  3: "ia32",
  21: "ppc64",
  22: "s390x",
  40: "arm",
  62: "x64",
  183: "arm64",
  243: "riscv64",
  258: "loong64",
};
const machMachines: Record<number, string> = { 16777223: "x64", 16777228: "arm64" };
const peMachines: Record<number, string> = { 332: "ia32", 34404: "x64", 43620: "arm64" };

/** Why the file at `path` cannot be loaded here; undefined when it looks right. */
export function checkBinary(
  path: string,
  platform: string = process.platform,
  arch: string = process.arch,
): string | undefined {
  let file: File | undefined;
  try {
    file = new File(path);
    const { format, machine, end } = describe(file);
    const want = platform === "darwin" ? "Mach-O" : platform === "win32" ? "PE" : "ELF";
    if (format !== want) return `it is a ${format} file; ${platform} loads ${want} files`;
    if (machine !== arch) return `it was built for ${machine}; this process is ${arch}`;
    if (end > file.length) return `it is truncated: ${file.length} bytes of ${end}`;
    return undefined;
  } catch (error) {
    // A field outside the file.
    if (error instanceof RangeError) return `it is truncated: its headers reach beyond its ${file?.length} bytes`;
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a directory" : message;
  } finally {
    file?.close();
  }
}

/** A file of which only the headers are read: the whole would be megabytes, at every start. */
class File {
  readonly length: number;
  private readonly fd: number;
  private readonly page = Buffer.allocUnsafe(4096);
  private from = 0;
  private bytes = 0;

  constructor(path: string) {
    this.fd = openSync(path, "r");
    this.length = fstatSync(this.fd).size;
  }

  close(): void {
    closeSync(this.fd);
  }

  /** Position in `page` of the `count` bytes at `at`; throws a RangeError where the file has none. */
  private find(at: number, count: number): number {
    if (!(at >= this.from && at + count <= this.from + this.bytes)) {
      this.from = at;
      this.bytes = readSync(this.fd, this.page, 0, this.page.length, at);
      if (this.bytes < count) throw new RangeError(`nothing at ${at}`);
    }
    return at - this.from;
  }

  readUInt8 = (at: number): number => this.page[this.find(at, 1)];
  readUInt16LE = (at: number): number => this.page.readUInt16LE(this.find(at, 2));
  readUInt16BE = (at: number): number => this.page.readUInt16BE(this.find(at, 2));
  readUInt32LE = (at: number): number => this.page.readUInt32LE(this.find(at, 4));
  readUInt32BE = (at: number): number => this.page.readUInt32BE(this.find(at, 4));
  readBigUInt64LE = (at: number): bigint => this.page.readBigUInt64LE(this.find(at, 8));
  readBigUInt64BE = (at: number): bigint => this.page.readBigUInt64BE(this.find(at, 8));
}

interface Description {
  readonly format: "ELF" | "Mach-O" | "PE";
  readonly machine: string;
  /** One past the last byte that the headers speak of. */
  readonly end: number;
}

function describe(file: File): Description {
  if (file.length < 64) throw new Error(`it is not a native binary: ${file.length} bytes`);
  const magic = file.readUInt32BE(0);
  if (magic === 0x7f454c46) return describeElf(file);
  if (magic === 0xcffaedfe) return describeMachO(file);
  if (magic >>> 16 === 0x4d5a) return describePe(file);
  throw new Error("it is not a native binary: neither an ELF, a Mach-O nor a PE header");
}

/** System V ABI, "Object Files". */
function describeElf(file: File): Description {
  const little = file.readUInt8(5) === 1;
  const u16 = (at: number) => (little ? file.readUInt16LE(at) : file.readUInt16BE(at));
  const u32 = (at: number) => (little ? file.readUInt32LE(at) : file.readUInt32BE(at));
  const u64 = (at: number) => Number(little ? file.readBigUInt64LE(at) : file.readBigUInt64BE(at));
  const code = u16(18);
  const machine = elfMachines[code] ?? `ELF machine ${code}`;
  if (file.readUInt8(4) !== 2) return { format: "ELF", machine: machine === "x64" ? "x32" : machine, end: 0 };
  if (u16(16) !== 3) throw new Error("it is an ELF file but not a shared library");
  const [segments, sections] = [u64(32), u64(40)];
  const [segmentSize, segmentCount, sectionSize, sectionCount] = [u16(54), u16(56), u16(58), u16(60)];
  let end = Math.max(segments + segmentSize * segmentCount, sections + sectionSize * sectionCount);
  let dynamic = false;
  for (let i = 0; i < segmentCount; i++) {
    const at = segments + i * segmentSize;
    end = Math.max(end, u64(at + 8) + u64(at + 32));
    dynamic ||= u32(at) === 2; // PT_DYNAMIC
  }
  if (!dynamic) throw new Error("it is an ELF file without dynamic linking information");
  for (let i = 1; i < sectionCount; i++) {
    const at = sections + i * sectionSize;
    const type = u32(at + 4);
    // The table stands at the end of the file: zeros in it are those of an interrupted copy into a sparse file.
    if (type === 0) throw new Error("it is corrupt: an empty entry in its section table");
    if (type !== 8) end = Math.max(end, u64(at + 24) + u64(at + 32)); // SHT_NOBITS has no bytes in the file
  }
  return { format: "ELF", machine, end };
}

/** Mach-O, 64 bit: the load commands LC_SEGMENT_64. */
function describeMachO(file: File): Description {
  const code = file.readUInt32LE(4);
  const machine = machMachines[code] ?? `Mach-O cpu ${code}`;
  const commands = file.readUInt32LE(16);
  let end = 32 + file.readUInt32LE(20);
  for (let i = 0, at = 32; i < commands; i++) {
    const size = file.readUInt32LE(at + 4);
    if (size < 8) throw new Error("it is corrupt: an empty load command");
    if (file.readUInt32LE(at) === 0x19) {
      end = Math.max(end, Number(file.readBigUInt64LE(at + 40)) + Number(file.readBigUInt64LE(at + 48)));
    }
    at += size;
  }
  return { format: "Mach-O", machine, end };
}

/** Microsoft PE format: the section table. */
function describePe(file: File): Description {
  const header = file.readUInt32LE(60);
  if (file.readUInt32LE(header) !== 0x00004550) throw new Error("it is not a native binary: an MZ header without PE");
  const code = file.readUInt16LE(header + 4);
  const sections = file.readUInt16LE(header + 6);
  const table = header + 24 + file.readUInt16LE(header + 20);
  let end = table + 40 * sections;
  for (let i = 0; i < sections; i++) {
    const at = table + 40 * i;
    end = Math.max(end, file.readUInt32LE(at + 20) + file.readUInt32LE(at + 16));
  }
  return { format: "PE", machine: peMachines[code] ?? `PE machine ${code}`, end };
}

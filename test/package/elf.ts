// Reads what a shared library asks of the system and what it offers, from its dynamic section (System V ABI; Linux
// Standard Base, "Symbol Versioning").

export interface ElfFacts {
  /** Shared libraries that it is linked with. */
  readonly needed: string[];
  /** Symbol versions that it asks for, such as GLIBC_2.28. */
  readonly versions: string[];
  /** Symbols that it defines for others. */
  readonly exports: string[];
}

const SHT_DYNAMIC = 6;
const SHT_DYNSYM = 11;
const SHT_GNU_VERNEED = 0x6ffffffe;
const DT_NEEDED = 1n;

/** Facts of a 64-bit little-endian ELF file. */
export function readElf(file: Buffer): ElfFacts {
  const u64 = (at: number) => Number(file.readBigUInt64LE(at));
  const table = u64(40);
  const sections = Array.from({ length: file.readUInt16LE(60) }, (_, i) => {
    const at = table + i * file.readUInt16LE(58);
    return {
      type: file.readUInt32LE(at + 4),
      offset: u64(at + 24),
      size: u64(at + 32),
      link: file.readUInt32LE(at + 40),
      info: file.readUInt32LE(at + 44),
    };
  });
  const find = (type: number) => sections.find((section) => section.type === type);
  const text = (strings: number, at: number) => {
    const start = sections[strings].offset + at;
    return file.toString("latin1", start, file.indexOf(0, start));
  };

  const needed: string[] = [];
  const dynamic = find(SHT_DYNAMIC);
  for (let at = dynamic?.offset ?? 0; dynamic && at < dynamic.offset + dynamic.size; at += 16) {
    if (file.readBigInt64LE(at) === DT_NEEDED) needed.push(text(dynamic.link, u64(at + 8)));
  }

  const versions: string[] = [];
  const need = find(SHT_GNU_VERNEED);
  for (let i = 0, at = need?.offset ?? 0; need && i < need.info; i++, at += file.readUInt32LE(at + 12)) {
    let entry = at + file.readUInt32LE(at + 8);
    for (let k = 0; k < file.readUInt16LE(at + 2); k++, entry += file.readUInt32LE(entry + 12)) {
      versions.push(text(need.link, file.readUInt32LE(entry + 8)));
    }
  }

  const exports: string[] = [];
  const symbols = find(SHT_DYNSYM);
  for (let at = symbols?.offset ?? 0; symbols && at < symbols.offset + symbols.size; at += 24) {
    const isLocal = file[at + 4] >> 4 === 0;
    const isDefined = file.readUInt16LE(at + 6) !== 0;
    if (!isLocal && isDefined) exports.push(text(symbols.link, file.readUInt32LE(at)));
  }
  return { needed, versions, exports };
}

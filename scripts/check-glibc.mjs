// Fails when a Linux binary asks for a symbol newer than glibc 2.28, and names it: `node scripts/check-glibc.mjs [FILE]`
// (build/Release/nablajs.node by default). Needs objdump of binutils.
import { execFileSync } from "node:child_process";
import { builtAddon } from "./lib.mjs";

const newest = [2, 28];
const file = process.argv[2] ?? builtAddon;
const symbols = execFileSync(process.env.OBJDUMP ?? "objdump", ["-T", file], { encoding: "utf8" });
let versioned = 0;
const tooNew = symbols.split("\n").filter((line) => {
  const [, major, minor] = /\bGLIBC_(\d+)\.(\d+)/.exec(line) ?? [];
  if (major === undefined) return false;
  versioned++;
  return Number(major) > newest[0] || (Number(major) === newest[0] && Number(minor) > newest[1]);
});
for (const line of tooNew) {
  const [, version, name] = /\(?(GLIBC_[\d.]+)\)?\s+(\S+)$/.exec(line);
  console.error(`${name} is of ${version}: give it an old version in native/core/glibc.cc`);
}
if (versioned === 0) console.error(`${file} has no versioned symbols: is it a binary for glibc?`);
else if (tooNew.length === 0) console.log(`${file}: ${versioned} symbols, none newer than glibc ${newest.join(".")}`);
process.exitCode = versioned > 0 && tooNew.length === 0 ? 0 : 1;

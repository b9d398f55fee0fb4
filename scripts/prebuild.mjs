// Makes prebuilds/<platform>-<arch>/nablajs.node, the binary that the npm tarball carries.
import { copyFileSync, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, relative } from "node:path";
import { builtAddon, isMain, prebuiltAddon, root, run, say } from "./lib.mjs";
import { buildNative } from "./native.mjs";

/** Copies the built addon, without its symbols where the platform's `strip` knows how. */
export function copyPrebuild() {
  mkdirSync(dirname(prebuiltAddon), { recursive: true });
  copyFileSync(builtAddon, prebuiltAddon);
  const flags = { linux: ["--strip-unneeded"], darwin: ["-x"] }[process.platform];
  if (flags && !run("strip", [...flags, prebuiltAddon])) say("the prebuilt binary keeps its symbols");
  say(`${relative(root, prebuiltAddon)}: ${(statSync(prebuiltAddon).size / 2 ** 20).toFixed(1)} MiB`);
}

/** A prebuilt binary is found first by the loader, so one that is older than the build must not stay. */
export const isStalePrebuild = () =>
  existsSync(prebuiltAddon) && statSync(prebuiltAddon).mtimeMs < statSync(builtAddon).mtimeMs;

if (isMain(import.meta)) {
  if (buildNative()) copyPrebuild();
  else process.exitCode = 1;
}

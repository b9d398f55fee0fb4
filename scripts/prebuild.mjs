// Makes prebuilds/<platform>-<arch>/nablajs.node and, where nvcc is, nablajs_cuda.node: what the npm tarball carries.
import { copyFileSync, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, relative } from "node:path";
import { builtAddon, builtCuda, isMain, prebuiltAddon, prebuiltCuda, root, run, say } from "./lib.mjs";
import { buildCuda, buildNative, hasCudaCompiler } from "./native.mjs";

/** Copies a built addon, without its symbols where the platform's `strip` knows how. */
export function copyPrebuild(built = builtAddon, to = prebuiltAddon) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(built, to);
  const flags = { linux: ["--strip-unneeded"], darwin: ["-x"] }[process.platform];
  if (flags && !run("strip", [...flags, to])) say("the prebuilt binary keeps its symbols");
  say(`${relative(root, to)}: ${(statSync(to).size / 2 ** 20).toFixed(1)} MiB`);
}

/** A prebuilt binary is found first by the loader, so one that is older than the build must not stay. */
export const isStalePrebuild = () =>
  existsSync(prebuiltAddon) && statSync(prebuiltAddon).mtimeMs < statSync(builtAddon).mtimeMs;

if (isMain(import.meta)) {
  if (buildNative()) copyPrebuild();
  else process.exitCode = 1;
  // Without a compiler for CUDA the package goes without that device.
  if (hasCudaCompiler()) {
    if (buildCuda()) copyPrebuild(builtCuda, prebuiltCuda);
    else process.exitCode = 1;
  }
}

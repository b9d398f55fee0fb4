// Makes what a fresh clone lacks, or what is older than its sources: dependencies, dist/ and the native addon. Nothing
// that is up to date is made again, so that this may run before every `npm start` and `npm test`.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readJson, root, run, say } from "./lib.mjs";

/** Are the packages in node_modules those of package-lock.json? Packages for other platforms are left out. */
function hasDependencies() {
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  const have = readJson(installed).packages;
  return Object.entries(readJson(join(root, "package-lock.json")).packages).every(
    ([path, { version, optional }]) => path === "" || have[path]?.version === version || (optional && !have[path]),
  );
}

if (!hasDependencies()) {
  say("installing dependencies (npm ci)");
  const npm = process.env.npm_execpath;
  const done = npm?.endsWith(".js")
    ? run(process.execPath, [npm, "ci", "--no-audit", "--no-fund"])
    : run("npm", ["ci", "--no-audit", "--no-fund"], { shell: process.platform === "win32" });
  if (!done) {
    say("npm ci failed; nothing can be built without the dependencies");
    process.exit(1);
  }
}

// These need the dependencies.
const { isCurrent } = await import("./build.mjs");
const { buildNative } = await import("./native.mjs");
const { copyPrebuild, isStalePrebuild } = await import("./prebuild.mjs");

if (!buildNative()) {
  say("going on without the native addon: the pure-JavaScript device is used, which is slow.");
  say("to have it, install a C++17 compiler and CMake (Debian: apt-get install build-essential cmake python3)");
} else if (isStalePrebuild()) {
  copyPrebuild();
}

if (!isCurrent()) {
  say("building dist/");
  if (!run(process.execPath, ["scripts/build.mjs"])) process.exit(1);
}

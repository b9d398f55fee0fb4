// Where this package lives on disk, and its version.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

interface Package {
  readonly name: string;
  readonly version: string;
}

let found: { root: string; manifest: Package } | null | undefined;

/** Walks up from this file: the source is in lib/, the build in dist/; inside a user's bundle there is nothing to find. */
function find(): typeof found {
  let directory: string;
  try {
    directory = dirname(fileURLToPath(import.meta.url));
  } catch {
    return null; // a bundler replaced import.meta.url by something that is not a file
  }
  for (;;) {
    try {
      const manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as Package;
      if (manifest.name === "nablajs") return { root: directory, manifest };
    } catch {
      // no package.json here, or not one to read: look further up
    }
    const parent = dirname(directory);
    if (parent === directory) return null;
    directory = parent;
  }
}

/** The directory of nablajs's package.json; undefined when the code was bundled into another program. */
export function packageRoot(): string | undefined {
  if (found === undefined) found = find();
  return found?.root;
}

/** The present stack without this package's own frames, which would hide the caller. */
export function callers(): string {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 100;
  const frames = (new Error().stack ?? "").split("\n").slice(1);
  Error.stackTraceLimit = before;
  const root = packageRoot();
  const folders = root === undefined ? [] : [join(root, "dist"), join(root, "lib")];
  const own = folders.flatMap((folder) => [folder + sep, `${pathToFileURL(folder).href}/`]);
  return frames.filter((frame) => !own.some((prefix) => frame.includes(prefix))).join("\n");
}

/** The version of nablajs. */
export function version(): string {
  packageRoot();
  return found?.manifest.version ?? "unknown (bundled)";
}

/** A module of Node's that few programs need: to load it with all others would slow every start by a millisecond or two. */
export const builtin = <T>(name: string): T => createRequire(process.execPath)(name) as T;

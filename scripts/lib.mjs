// What the scripts share: the project's root, running commands, content hashes of sources, progress lines.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const target = `${process.platform}-${process.arch}`;
export const builtAddon = join(root, "build", "Release", "nablajs.node");
export const prebuiltAddon = join(root, "prebuilds", target, "nablajs.node");
export const builtCuda = join(root, "build", "Release", "nablajs_cuda.node");
export const prebuiltCuda = join(root, "prebuilds", target, "nablajs_cuda.node");

/** A progress line, apart from the output of the program that is run afterwards. */
export const say = (text) => process.stderr.write(`nabla: ${text}\n`);

/** Is this script the one that node was started with, and not imported? */
export const isMain = (meta) => realpathSync(process.argv[1]) === meta.filename;

/** Runs a program of this project's dependencies by the file that its package names. */
export const tool = (path) => join(root, "node_modules", path);

/** Runs a command in the project's root, its output shown; returns whether it succeeded. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (error) say(`${command}: ${error.message}`);
  return status === 0;
}

/** Runs a Node script quietly; its output is returned. */
export function runQuietly(args, options = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    ...options,
  });
  return { ok: status === 0, output: `${stdout ?? ""}${stderr ?? ""}` };
}

function filesUnder(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesUnder(join(path, name)));
}

/** A hash of the contents of files and directories, and of anything else that the result depends on. */
export function hashOf(paths, ...more) {
  const hash = createHash("sha256");
  for (const path of paths.flatMap((path) => filesUnder(join(root, path)))) {
    hash.update(`${relative(root, path)}\0`).update(readFileSync(path));
  }
  return hash.update(more.join("\0")).digest("hex");
}

export const readText = (path) => (existsSync(path) ? readFileSync(path, "utf8") : undefined);

export const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

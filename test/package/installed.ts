// The package as a user gets it: the tarball of `npm pack`, installed in an empty folder with nothing but node on PATH.
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../..");
export const target = `${process.platform}-${process.arch}`;

/** The addon that is under test: the one named by NABLA_ADDON, a prebuilt one, or the one built here. */
export const addonPath = [
  process.env.NABLA_ADDON,
  join(root, "prebuilds", target, "nablajs.node"),
  join(root, "build/Release/nablajs.node"),
].find((path): path is string => path !== undefined && path !== "" && existsSync(path));

export interface Result {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Installed {
  /** The user's folder. */
  readonly folder: string;
  /** node_modules/nablajs in it. */
  readonly home: string;
  /** Writes a file of the user's. */
  write(name: string, text: string): void;
  /** Runs node with these arguments in the user's folder, in a bare environment. */
  node(args: readonly string[], env?: Readonly<Record<string, string>>): Result;
  remove(): void;
}

/** npm's own script, which runs under node alone. */
function npmScript(): string {
  const beside = dirname(realpathSync(process.execPath));
  const candidates = [
    process.env.npm_execpath,
    join(beside, "../lib/node_modules/npm/bin/npm-cli.js"),
    join(beside, "node_modules/npm/bin/npm-cli.js"),
    "/usr/share/nodejs/npm/bin/npm-cli.js",
    "/usr/lib/node_modules/npm/bin/npm-cli.js",
  ];
  const found = candidates.find((path) => path?.endsWith("npm-cli.js") && existsSync(path));
  if (found) return found;
  const onPath = (process.env.PATH ?? "").split(":").map((directory) => join(directory, "npm"));
  return realpathSync(onPath.find((path) => existsSync(path)) ?? "npm");
}

/** Packs what is built now and installs it. `withAddon` says whether the tarball carries the binary. */
export function install(withAddon: boolean): Installed {
  execFileSync(process.execPath, ["scripts/build.mjs", "--if-stale"], { cwd: root, stdio: "inherit" });
  const temporary = realpathSync(mkdtempSync(join(tmpdir(), "nabla-package-")));
  const bin = join(temporary, "bin");
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, basename(process.execPath)));
  const run = (args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): Result => {
    const { HOME = temporary, NODE_EXTRA_CA_CERTS } = process.env;
    const kept = NODE_EXTRA_CA_CERTS ? { NODE_EXTRA_CA_CERTS } : {};
    const { status, signal, stdout, stderr } = spawnSync(join(bin, basename(process.execPath)), args, {
      cwd,
      encoding: "utf8",
      env: { PATH: bin, HOME, ...kept, ...env },
      timeout: 120_000,
    });
    return { code: status, signal, stdout, stderr };
  };
  const must = (result: Result): Result => {
    if (result.code !== 0) throw new Error(`${result.stdout}\n${result.stderr}`);
    return result;
  };

  // Packed from a copy, so that the binary under test gets in the tarball without being put in the working tree.
  const source = join(temporary, "source");
  for (const name of ["package.json", "dist", "README.md", "CHANGELOG.md", "LICENSE", "prebuilds/README.md"]) {
    if (existsSync(join(root, name))) cpSync(join(root, name), join(source, name), { recursive: true });
  }
  if (withAddon && addonPath) cpSync(addonPath, join(source, "prebuilds", target, "nablajs.node"));
  const npm = npmScript();
  must(run([npm, "pack", "--ignore-scripts", "--pack-destination", temporary], source));
  const tarball = readdirSync(temporary).find((name) => name.endsWith(".tgz")) as string;

  const folder = join(temporary, "user");
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), '{ "name": "user", "private": true }\n');
  must(run([npm, "install", "--no-audit", "--no-fund", "--prefer-offline", join(temporary, tarball)], folder));
  return {
    folder,
    home: join(folder, "node_modules/nablajs"),
    write: (name, text) => writeFileSync(join(folder, name), text),
    node: (args, env) => run(args, folder, env),
    remove: () => rmSync(temporary, { recursive: true, force: true }),
  };
}

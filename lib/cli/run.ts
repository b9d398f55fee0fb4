// A run's directory: which files it has, and when it may be written to.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { replaceFile } from "../io/atomic.js";
import { UsageError } from "./usage.js";

/** Files of a run. */
export const files = {
  /** The job, to be continued and to make the model again. */
  settings: "settings.json",
  /** What reading another table needs. */
  preprocessing: "preprocessing.json",
  /** The state of the whole run, after an epoch or `checkpoint.everyNSteps` steps. */
  backup: "backup.ckpt",
  best: "best.safetensors",
  /** The weights at the end; only of a run that is complete. */
  last: "last.safetensors",
  log: "log.jsonl",
  /** What the report says of the best weights. */
  evaluation: "evaluation.json",
} as const;

export const has = (directory: string, file: keyof typeof files): boolean => existsSync(join(directory, files[file]));

export async function writeJson(directory: string, file: keyof typeof files, value: unknown): Promise<void> {
  await replaceFile(join(directory, files[file]), (handle) => handle.writeFile(`${JSON.stringify(value, null, 2)}\n`));
}

/** @throws UsageError when there is no such file: then it is no run */
export function readJson<T>(directory: string, file: keyof typeof files): T {
  const path = join(directory, files[file]);
  if (!existsSync(path))
    throw new UsageError(`${shown(directory)}: there is no ${files[file]} in it; is it a run's directory?`);
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

/** A path as short as it can be said here. */
export const shown = (path: string): string => {
  const short = relative(".", path);
  return short === "" ? "." : short.startsWith("..") ? path : short;
};

/** What is to be done about a directory that has files already. */
export interface Claim {
  readonly resume: boolean;
  readonly force: boolean;
}

/** Throws unless a run may begin or go on in the directory. */
export function checkClaim(directory: string, { resume, force }: Claim): void {
  if (resume && force) throw new UsageError("--resume continues a run, --force replaces it; give one of them");
  if (!existsSync(directory) || readdirSync(directory).length === 0 || resume) return;
  const isRun = has(directory, "settings");
  if (!isRun)
    throw new UsageError(
      `${shown(directory)} has files of something else than a run; give the run another --directory`,
    );
  if (force) return;
  throw new UsageError(
    `${shown(directory)} has a run already: --resume continues it, --force replaces it, --directory puts the new one elsewhere`,
  );
}

/** Makes the directory; with `force`, removes the run that is there. A run that goes on is no longer complete. */
export function claim(directory: string, { force }: Claim): void {
  rmSync(force ? directory : join(directory, files.last), { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
}

/** Settings that a continued run may have otherwise than at its beginning; tables are compared by their contents. */
const free =
  /^(name|directory|device|threads|epochs|maxSteps|log|logEveryNSteps|report|earlyStopping\..*|checkpoint\.everyNSteps)$/;
const tables = /^data\.(csv|validation|test)$/;

/** Throws where a run would go on with settings that change its course. */
export function checkSame(before: object, now: object): void {
  const [a, b] = [flat(before), flat(now)];
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    const [was, is] = [a.get(name), b.get(name)];
    if (free.test(name) || JSON.stringify(was) === JSON.stringify(is)) continue;
    if (tables.test(name) && typeof was === "string" && typeof is === "string") continue;
    const say = (v: unknown) => (v === undefined ? "not set" : JSON.stringify(v));
    throw new UsageError(
      `--resume: ${name} was ${say(was)} when the run began and is ${say(is)} now; leave it as it was, or begin another run`,
    );
  }
}

/** Members of groups by name. */
function flat(tree: object): Map<string, unknown> {
  const groups = ["data", "optimizer", "scheduler", "earlyStopping", "checkpoint", "params"];
  return new Map(
    Object.entries(tree).flatMap(([key, value]) =>
      groups.includes(key)
        ? Object.entries(value as object).map(([k, v]) => [`${key}.${k}`, v] as const)
        : [[key, value] as const],
    ),
  );
}

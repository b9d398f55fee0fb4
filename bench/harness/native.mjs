// Builds the small native peers on demand into bench/.cache, which git ignores.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const sources = join(import.meta.dirname, "../peers/native");
const cache = join(import.meta.dirname, "../.cache");

/** The first of some commands that runs. */
async function firstOf(commands) {
  for (const command of commands.filter(Boolean)) {
    try {
      const { stdout } = await run(command, ["--version"]);
      return { command, version: stdout.split("\n")[0] };
    } catch {
      // not installed
    }
  }
  return undefined;
}

/**
 * The program made of a source in peers/native; throws with the compiler's first complaint.
 * @param source file name; .cc is C++
 * @param options flags and libraries
 */
export async function buildNative(source, options = []) {
  const plus = source.endsWith(".cc");
  const compiler = await firstOf(
    plus ? [process.env.CXX, "c++", "g++", "clang++"] : [process.env.CC, "cc", "gcc", "clang"],
  );
  if (!compiler) throw new Error(`no ${plus ? "C++" : "C"} compiler`);
  const flags = ["-O3", "-march=native", ...(plus ? ["-std=c++17"] : ["-std=gnu11"])];
  const hash = createHash("sha256");
  const headers = readdirSync(sources).filter((file) => file.endsWith(".h"));
  for (const file of [source, ...headers]) hash.update(readFileSync(join(sources, file)));
  hash.update([compiler.version, cpus()[0]?.model, ...flags, ...options].join("\0"));
  const program = join(cache, `${source.replace(/\..*/, "")}-${hash.digest("hex").slice(0, 16)}`);
  if (!existsSync(program)) {
    mkdirSync(cache, { recursive: true });
    const made = `${program}.${process.pid}`;
    try {
      await run(compiler.command, [...flags, "-o", made, join(sources, source), ...options, "-lm", "-lpthread"]);
    } catch (error) {
      const complaint = String(error.stderr ?? error.message)
        .split("\n")
        .find((line) => /error|cannot find/i.test(line));
      throw new Error(`it does not build: ${(complaint ?? error.message).replace(/^.*?(fatal )?error: /, "")}`);
    }
    renameSync(made, program); // whole or not at all
  }
  return program;
}

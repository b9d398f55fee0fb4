// Builds the CUDA device for the CPU: its sources, compiled by the C++ compiler against native/cuda/shim, as
// build/cuda-shim/nablajs_cuda.node. For tests on machines without a GPU; it is never packed. `node scripts/cuda-shim.mjs`
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { hashOf, isMain, readJson, readText, root, say } from "./lib.mjs";

const folder = join(root, "build", "cuda-shim");
export const shimAddon = join(folder, "nablajs_cuda.node");

const compiler = process.env.CXX ?? "c++";
const launcher = process.env.CMAKE_CXX_COMPILER_LAUNCHER;
const manifest = readJson(join(root, "native/sources.json"));

/** Node's headers: those of its installation, or what node-gyp or cmake-js have fetched. */
function nodeHeaders() {
  const installed = join(dirname(dirname(process.execPath)), "include", "node");
  if (existsSync(join(installed, "node_api.h"))) return installed;
  throw new Error(`no node_api.h in ${installed}`);
}

const flags = [
  "-std=c++17",
  "-O1",
  "-g1",
  "-fPIC",
  "-fvisibility=hidden",
  "-ffp-contract=off",
  "-pthread",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wno-psabi",
  "-DNABLA_SHIM",
  "-DNAPI_VERSION=8",
  "-DNAPI_CPP_EXCEPTIONS",
  "-DBUILDING_NODE_EXTENSION",
];

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit" });
    child.on("error", (error) => {
      say(`${command}: ${error.message}`);
      resolve(false);
    });
    child.on("close", (code) => resolve(code === 0));
  });
}

/** Builds it unless it is current; returns whether it is there. */
export async function buildShim() {
  const hash = hashOf(["native", "scripts/cuda-shim.mjs"], compiler);
  const stamp = join(folder, ".stamp");
  if (existsSync(shimAddon) && readText(stamp) === hash) return true;
  mkdirSync(folder, { recursive: true });
  const { include_dir } = createRequire(import.meta.url)("node-addon-api");
  const includes = ["-isystem", nodeHeaders(), "-isystem", join(root, include_dir)];
  const sources = [
    ...manifest.cuda.common,
    ...manifest.cuda.kernels,
    ...manifest.cuda.hopper.kernels,
    ...manifest.cuda.shim,
  ];
  const object = (source) => join(folder, `${source.replaceAll("/", "_")}.o`);
  // The kernels first: they take longest.
  const queue = [...sources].sort((a, b) => statSync(join(root, b)).size - statSync(join(root, a)).size);
  let ok = true;
  const worker = async () => {
    for (let source = queue.shift(); source; source = queue.shift()) {
      const args = ["-x", "c++", ...flags, ...includes, "-c", source, "-o", object(source)];
      ok = (launcher ? await run(launcher, [compiler, ...args]) : await run(compiler, args)) && ok;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  const link = ["-shared", "-pthread", "-Wl,--version-script=native/exports.map", "-Wl,-z,nodelete"];
  const linked = `${shimAddon}.new`; // a process may have the old one loaded
  ok = ok && (await run(compiler, [...link, ...sources.map(object), "-o", linked]));
  if (!ok) return false;
  renameSync(linked, shimAddon);
  writeFileSync(stamp, hash);
  return ok;
}

if (isMain(import.meta)) process.exitCode = (await buildShim()) ? 0 : 1;

// Builds the native addon into build/Release with cmake-js or node-gyp: `node scripts/native.mjs [cmake-js|node-gyp]`; or
// the CUDA addon, for all architectures or some: `node scripts/native.mjs cuda ["80-real;90-real"]`.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import {
  builtAddon,
  builtCuda,
  hashOf,
  isMain,
  readJson,
  readText,
  root,
  runQuietly,
  say,
  target,
  tool,
} from "./lib.mjs";

const stampPath = join(root, "build", ".stamp");
const logPath = join(root, "build", "build.log");

/** What the addon is made of, or, with other kernels, the CUDA addon. */
const nativeHash = (kernels = ["native/addon.cc", "native/cpu"]) =>
  hashOf(
    [
      ...["native/core", "native/graph", "native/sources.json", "native/exports.map", "native/exports.txt"],
      ...[...kernels, "binding.gyp", "CMakeLists.txt", "scripts/native.mjs"],
    ],
    target,
    readJson(tool("node-addon-api/package.json")).version,
  );

const isCurrent = (stamp) => existsSync(builtAddon) && stamp?.hash === nativeHash();

const readStamp = () => {
  try {
    return JSON.parse(readText(stampPath));
  } catch {
    return undefined;
  }
};

/** The headers that a Node installation brings along, so that none are downloaded. */
function nodeDirectory() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, "include", "node", "node_api.h")) ? prefix : undefined;
}

const commands = {
  "cmake-js": () => [tool("cmake-js/bin/cmake-js"), "compile", "--parallel", String(availableParallelism())],
  "node-gyp": () => {
    const nodeDir = nodeDirectory();
    return [
      tool("node-gyp/bin/node-gyp.js"),
      "configure",
      "build",
      `--jobs=${availableParallelism()}`,
      ...(nodeDir ? [`--nodedir=${nodeDir}`] : []),
    ];
  },
};

/** Builds with one tool; returns whether the addon is there. */
function buildWith(name) {
  const build = join(root, "build");
  if (readStamp()?.tool !== name) rmSync(build, { recursive: true, force: true }); // both write build/Makefile
  const started = performance.now();
  const hash = nativeHash(); // before: what is edited during the build is not in it
  const { ok, output } = runQuietly(commands[name]());
  mkdirSync(build, { recursive: true });
  writeFileSync(logPath, output);
  writeFileSync(stampPath, JSON.stringify({ tool: name, hash: ok ? hash : "" }));
  if (ok && existsSync(builtAddon)) {
    say(`built the native addon with ${name} in ${((performance.now() - started) / 1000).toFixed(0)} s`);
    return true;
  }
  const lines = [...new Set(output.trimEnd().split("\n"))];
  const telling = lines.filter((line) => /\berror\b|gyp ERR! find|ERR! stack Error/i.test(line));
  const shown = (telling.length ? telling.slice(0, 4) : lines.slice(-4)).join("\n  ");
  say(`${name} did not build the addon; from build/build.log:\n  ${shown}`);
  return false;
}

/** Brings build/Release/nablajs.node up to date with whichever tool works; returns whether it is there. */
export function buildNative(tools = Object.keys(commands)) {
  const stamp = readStamp();
  if (isCurrent(stamp) && tools.includes(stamp.tool)) return true;
  say("building the native addon (a minute or two the first time)");
  return tools.some(buildWith);
}

/** Is there a compiler for CUDA? */
export const hasCudaCompiler = () =>
  spawnSync("nvcc", ["--version"]).status === 0 || existsSync("/usr/local/cuda/bin/nvcc");

/**
 * Builds build/Release/nablajs_cuda.node in a folder of its own, since it takes minutes and few who work on the rest need
 * it. `architectures`, as CMake writes them ("80-real;90-real"), are compiled instead of all. Returns whether it is there.
 */
export function buildCuda(architectures = readJson(join(root, "native/sources.json")).cuda.architectures.join(";")) {
  if (!hasCudaCompiler()) {
    say("no nvcc: nablajs_cuda.node is not built");
    return false;
  }
  const folder = join("build", "cuda");
  const stamp = join(root, folder, ".stamp");
  const hash = `${nativeHash(["native/cuda"])} ${architectures}`;
  if (existsSync(builtCuda) && readText(stamp) === hash) return true;
  say("building nablajs_cuda.node (some minutes)");
  const started = performance.now();
  rmSync(join(root, folder, "CMakeCache.txt"), { force: true }); // or else settings from before are kept
  const { ok, output } = runQuietly([
    tool("cmake-js/bin/cmake-js"),
    "compile",
    `--out=${folder}`,
    "--CDNABLA_CUDA=ON",
    `--CDNABLA_CUDA_ARCHITECTURES=${architectures}`,
    "--target=nablajs_cuda",
    "--parallel",
    String(availableParallelism()),
  ]);
  mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, folder, "build.log"), output);
  const made = join(root, folder, "Release", "nablajs_cuda.node");
  if (!ok || !existsSync(made)) {
    const telling = output.split("\n").filter((line) => /\berror\b/i.test(line));
    say(`nablajs_cuda.node was not built; from ${folder}/build.log:\n  ${telling.slice(0, 4).join("\n  ")}`);
    return false;
  }
  mkdirSync(dirname(builtCuda), { recursive: true });
  copyFileSync(made, builtCuda);
  writeFileSync(stamp, hash);
  say(`built nablajs_cuda.node in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return true;
}

if (isMain(import.meta) && process.argv[2] === "cuda") {
  process.exitCode = buildCuda(process.argv[3]) ? 0 : 1;
} else if (isMain(import.meta)) {
  const tools = process.argv.slice(2);
  const unknown = tools.find((name) => !(name in commands));
  if (unknown) say(`unknown tool ${unknown}; the tools are ${Object.keys(commands).join(" and ")}`);
  process.exitCode = !unknown && buildNative(tools.length ? tools : undefined) ? 0 : 1;
}

// Who is measured: ourselves and the peers, each with what it takes to start it, or why it cannot be.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { basename, delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";
import { buildNative } from "./native.mjs";

const bench = resolve(import.meta.dirname, "..");
const folder = join(bench, "peers");
const hasPackage = (name) => existsSync(join(bench, "node_modules", name, "package.json"));

/** Installs the packages of bench/ if some of those that peers need are missing. None of their scripts runs. */
export async function installPackages(ids, say) {
  const missing = ids.flatMap((id) => peers[id]?.packages ?? []).filter((name) => !hasPackage(name));
  if (missing.length === 0) return;
  say(`installing the peers' packages: ${[...new Set(missing)].join(", ")} …`);
  try {
    const install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    await promisify(execFile)("npm", install, { cwd: bench, timeout: 600_000, shell: process.platform === "win32" });
  } catch (error) {
    say(`npm install failed, they stay gaps: ${(error.stderr || error.message).trim().split("\n")[0]}`);
  }
}

/** A peer in Node that needs some packages. */
const inNode = (file, packages, args = []) => ({
  packages,
  async find() {
    const missing = packages.find((name) => !hasPackage(name));
    if (missing) throw new Error(`${missing} is not installed (npm install --ignore-scripts in bench/)`);
    return [{ command: process.execPath, args: ["--expose-gc", resolve(folder, file), ...args] }];
  },
});

const native = (source, options) => ({
  find: async () => [{ command: await buildNative(source, options), args: [] }],
});

/** Every Python at hand that has PyTorch: those of BENCH_PYTHON, the one on the PATH, Debian's. */
async function pythons() {
  const { BENCH_PYTHON, PATH = "" } = process.env;
  const candidates = [
    ...(BENCH_PYTHON ?? "").split(delimiter).filter(Boolean),
    ...PATH.split(delimiter).map((place) => join(place, "python3")),
    "/usr/bin/python3",
  ];
  // Asked of the installation, because importing takes seconds; one that cannot be imported ends its process, a gap.
  const ask = "import importlib.metadata as m, importlib.util as u; u.find_spec('torch') and print(m.version('torch'))";
  const seen = new Map();
  await Promise.all(
    candidates.map(async (path, i) => {
      const { stdout } = await promisify(execFile)(path, ["-c", ask]).catch(() => ({ stdout: "" }));
      const version = stdout.trim();
      if (version && (!seen.has(version) || seen.get(version).i > i)) seen.set(version, { i, path });
    }),
  );
  if (seen.size === 0) throw new Error("no python3 here imports torch (Debian: apt-get install python3-torch)");
  return [...seen.values()]
    .sort((a, b) => a.i - b.i)
    .map(({ path }) => ({ command: path, args: [join(folder, "pytorch.py")] }));
}

/**
 * id → how to find it. `find` resolves with one way to start it for each installation, or throws why there is none;
 * `threads: 1` says that it cannot use more, `kinds` that it does no other work than that, `script` that it needs no
 * native code, as the rows about the JavaScript device ask.
 */
export const peers = {
  ort: { name: "onnxruntime-node", ...inNode("ort.mjs", ["onnxruntime-node"]) },
  torch: { name: "torch", find: pythons },
  openblas: { name: "OpenBLAS", ...native("openblas.c", ["-lopenblas"]), kinds: ["matmul"] },
  onednn: { name: "oneDNN", ...native("onednn.cc", ["-Ofast", "-ldnnl", "-fopenmp"]), kinds: ["matmul", "mlp"] },
  c: { name: "C loop", ...native("loops.c", ["-Ofast"]), kinds: ["unary", "softmax"], threads: 1 },
  "tfjs-wasm": {
    name: "tfjs-wasm",
    ...inNode("tfjs.mjs", ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"], ["wasm"]),
    script: true,
    threads: 1,
  },
  "tfjs-cpu": { name: "tfjs-cpu", ...inNode("tfjs.mjs", ["@tensorflow/tfjs"], ["cpu"]), script: true, threads: 1 },
  "jax-js": { name: "jax-js", ...inNode("jax.mjs", ["@jax-js/jax"]), script: true, threads: 1 },
  plain: { name: "plain JS", ...inNode("plain.mjs", []), kinds: ["matmul", "mlp"], script: true, threads: 1 },
  // For its start and size only.
  "ml-matrix": { name: "ml-matrix", packages: ["ml-matrix"], find: async () => [], kinds: [] },
  "tfjs-node": {
    name: "tfjs-node",
    find: async () => {
      throw new Error("its install script downloads a library; not installed here");
    },
  },
};

export const ourselves = (device) => ({
  name: device === "cpu" ? "nabla" : `nabla, ${device}`,
  ...inNode("nabla.mjs", [], [device]),
  ...(device === "js" ? { threads: 1 } : {}),
});

/** A peer of the user's own: a program for Node that speaks as those in peers/ do. */
export const ownPeer = (path) => ({ name: basename(path).replace(/\.\w+$/, ""), ...inNode(resolve(path), []) });

export const limits = { name: "limit", ...native("limits.c", []) };

/** The environment of a peer: so many threads, by every name that libraries listen to, and no choice of kernels. */
export function environment(threads) {
  const env = { ...process.env, BENCH_THREADS: String(threads) };
  for (const name of ["NABLA", "OMP", "OPENBLAS", "MKL", "GOTO"]) env[`${name}_NUM_THREADS`] = String(threads);
  // They would make OpenBLAS use the kernels of another processor than this one.
  for (const name of ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_VERBOSE"]) delete env[name];
  return env;
}

// Who is measured: ourselves and the peers, each with what it takes to start it, or why it cannot be.
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { buildNative } from "./native.mjs";

const folder = join(import.meta.dirname, "../peers");
const require = createRequire(import.meta.url);

/** Finds a package without running it. */
function hasPackage(name) {
  try {
    require.resolve(`${name}/package.json`);
    return true;
  } catch (error) {
    return error.code === "ERR_PACKAGE_PATH_NOT_EXPORTED"; // it is there and hides its manifest
  }
}

/** A peer in Node that needs some packages. */
const inNode =
  (file, packages, args = []) =>
  async () => {
    const missing = packages.find((name) => !hasPackage(name));
    if (missing) throw new Error(`${missing} is not installed (npm install --ignore-scripts in bench/)`);
    return [{ command: process.execPath, args: ["--expose-gc", join(folder, file), ...args] }];
  };

const native = (source, options) => async () => [{ command: await buildNative(source, options), args: [] }];

/** Every Python at hand that has PyTorch: those of BENCH_PYTHON, the one on the PATH, Debian's. */
async function pythons() {
  const { BENCH_PYTHON, PATH = "" } = process.env;
  const candidates = [
    ...(BENCH_PYTHON ?? "").split(delimiter).filter(Boolean),
    ...PATH.split(delimiter).map((place) => join(place, "python3")),
    "/usr/bin/python3",
  ];
  const seen = new Map();
  await Promise.all(
    candidates.map(async (path, i) => {
      try {
        const real = await promisify(execFile)(path, ["-c", "import sys, torch; print(torch.__version__, sys.prefix)"]);
        const [version] = real.stdout.split(" ");
        if (!seen.has(version) || seen.get(version).i > i) seen.set(version, { i, path });
      } catch {
        // no such Python, or one without PyTorch
      }
    }),
  );
  if (seen.size === 0) throw new Error("no python3 here imports torch (Debian: apt-get install python3-torch)");
  return [...seen.values()]
    .sort((a, b) => a.i - b.i)
    .map(({ path }) => ({ command: path, args: [join(folder, "pytorch.py")] }));
}

/**
 * id → how to find it. `find` resolves with one way to start it for each installation, or throws why there is none;
 * `threads: 1` says that it cannot use more, `kinds` that it does no other work than that.
 */
export const peers = {
  ort: { name: "onnxruntime-node", find: inNode("ort.mjs", ["onnxruntime-node"]) },
  torch: { name: "torch", find: pythons },
  openblas: { name: "OpenBLAS", find: native("openblas.c", ["-lopenblas"]), kinds: ["matmul"] },
  onednn: { name: "oneDNN", find: native("onednn.cc", ["-ldnnl", "-fopenmp"]), kinds: ["matmul"] },
  c: { name: "C loop", find: native("loops.c", ["-Ofast"]), kinds: ["unary", "softmax"], threads: 1 },
  "tfjs-wasm": {
    name: "tfjs-wasm",
    find: inNode("tfjs.mjs", ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"], ["wasm"]),
    threads: 1,
  },
  "tfjs-cpu": { name: "tfjs-cpu", find: inNode("tfjs.mjs", ["@tensorflow/tfjs"], ["cpu"]), threads: 1 },
  "jax-js": { name: "jax-js", find: inNode("jax.mjs", ["@jax-js/jax"]), threads: 1 },
  plain: { name: "plain JS", find: inNode("plain.mjs", []), kinds: ["matmul", "mlp"], threads: 1 },
  "ml-matrix": { name: "ml-matrix", find: async () => [], kinds: [] },
  "tfjs-node": {
    name: "tfjs-node",
    find: async () => {
      throw new Error("its install script downloads a library; not installed here");
    },
  },
};

export const ourselves = (device) => ({
  name: device === "cpu" ? "nabla" : `nabla, ${device}`,
  find: inNode("nabla.mjs", ["nablajs"], [device]),
  ...(device === "js" ? { threads: 1 } : {}),
});

export const limits = { name: "limit", find: native("limits.c", []) };

/** The environment of a peer: so many threads, by every name that libraries listen to, and no choice of kernels. */
export function environment(threads) {
  const env = { ...process.env, BENCH_THREADS: String(threads) };
  for (const name of ["NABLA", "OMP", "OPENBLAS", "MKL", "GOTO"]) env[`${name}_NUM_THREADS`] = String(threads);
  // They would make OpenBLAS use the kernels of another processor than this one.
  for (const name of ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_VERBOSE"]) delete env[name];
  return env;
}

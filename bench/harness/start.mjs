// S1: what it costs to have a library: time from the start of a process to its first product, and the memory that
// process takes at most, both beyond what node itself does, and the size of what npm installs.
import { execFile } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { summarize } from "../../dist/bench.mjs";
import { environment } from "./peers.mjs";

const run = promisify(execFile);
const bench = resolve(import.meta.dirname, "..");
const root = resolve(bench, "..");
const modules = join(bench, "node_modules");

/** Programs that make [[1, 2], [3, 4]] · [[5, 6], [7, 8]] and end with the first element in `first`: 19. */
const programs = {
  nabla: {
    packages: [],
    code: `import { tensor } from "${pathToFileURL(join(root, "dist/index.mjs"))}";
      const first = tensor([[1, 2], [3, 4]]).matmul(tensor([[5, 6], [7, 8]])).dataSync()[0];`,
  },
  "onnxruntime-node": {
    packages: ["onnxruntime-node"],
    code: `import ort from "onnxruntime-node";
      // A model of one product of 2×2 matrices, in ONNX's protobuf.
      const model = Buffer.from("CAg6VQoRCgFhCgFiEgFjIgZNYXRNdWwSAWdaEwoBYRIOCgwIARIICgIIAgoCCAJaEwoBYhIOCgwIARIICgIIAgoCCAJiEwoBYxIOCgwIARIICgIIAgoCCAJCAhAN", "base64");
      const session = await ort.InferenceSession.create(model);
      const of = (...v) => new ort.Tensor("float32", Float32Array.from(v), [2, 2]);
      const first = (await session.run({ a: of(1, 2, 3, 4), b: of(5, 6, 7, 8) })).c.data[0];`,
  },
  "tfjs-cpu": {
    packages: ["@tensorflow/tfjs"],
    code: `import * as tf from "@tensorflow/tfjs";
      const first = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]])).dataSync()[0];`,
  },
  "jax-js": {
    packages: ["@jax-js/jax"],
    code: `import { defaultDevice, init, numpy as np } from "@jax-js/jax";
      await init("wasm");
      defaultDevice("wasm");
      const first = np.matmul(np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]])).dataSync()[0];`,
  },
  "ml-matrix": {
    packages: ["ml-matrix"],
    code: `import { Matrix } from "ml-matrix";
      const first = new Matrix([[1, 2], [3, 4]]).mmul(new Matrix([[5, 6], [7, 8]])).get(0, 0);`,
  },
};

const bare = "const first = 19;";

/**
 * KiB of the process at most. What resourceUsage says of a new process begins with the size of the one that started it
 * (the kernel's getrusage is not reset by exec), so Linux is asked for this program's own.
 */
const peak = `(await import("node:fs")).existsSync("/proc/self/status")
  ? Number(/VmHWM:\\s*(\\d+)/.exec((await import("node:fs")).readFileSync("/proc/self/status", "utf8"))[1])
  : process.resourceUsage().maxRSS`;

/** One process: milliseconds until it has ended, and the most memory it had. */
async function start(code, signal) {
  const started = performance.now();
  const { stdout } = await run(
    process.execPath,
    ["--input-type=module", "-e", `${code}; console.log(first, ${peak}); process.exit()`],
    { cwd: bench, env: environment(1), signal },
  );
  const ms = performance.now() - started;
  const [first, kib] = stdout.trim().split("\n").at(-1).split(" ").map(Number);
  if (first !== 19) throw new Error(`wrong result: ${first}, not 19`);
  return { ms, bytes: kib * 1024 };
}

const sizeOf = (path) => {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
};

const dependenciesOf = (folder) =>
  Object.keys(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).dependencies ?? {});

/** Bytes that npm installs for some packages: they and all that they depend on, found in `top`. */
function installedSize(packages, top) {
  const seen = new Set();
  const visit = (name, from) => {
    const folder = [from, top].map((place) => join(place, "node_modules", name)).find((path) => existsSync(path));
    if (!folder || seen.has(folder)) return 0;
    seen.add(folder);
    return dependenciesOf(folder).reduce((sum, one) => sum + visit(one, folder), sizeOf(folder));
  };
  return packages.reduce((sum, name) => sum + visit(name, top), 0);
}

/** The same for ourselves: what the tarball unpacks to, with the binary of this machine, and its dependencies. */
async function ownSize() {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    maxBuffer: 1 << 26,
  });
  const [{ unpackedSize, files }] = JSON.parse(stdout);
  const binary = join(root, "build/Release/nablajs.node");
  const packed = files.some(({ path }) => path.endsWith(".node"));
  return (
    unpackedSize +
    (packed || !existsSync(binary) ? 0 : lstatSync(binary).size) +
    installedSize(dependenciesOf(root), root)
  );
}

/** The three rows of S1, as measureRow would give them. */
export async function measureStart({ rounds, signal, wanted }) {
  const list = Object.entries(programs).filter(([name]) => name === "nabla" || wanted(name));
  const samples = new Map(list.map(([name]) => [name, { ms: [], bytes: [] }]));
  const gaps = [];
  for (let round = 0; round <= rounds && !signal.aborted; round++) {
    const base = await start(bare, signal).catch(() => undefined);
    if (!base) break;
    for (const [name, { code, packages }] of round % 2 ? [...list].reverse() : list) {
      if (signal.aborted || gaps.some((g) => g.peer === name)) continue;
      try {
        const missing = packages.find((p) => !existsSync(join(modules, p)));
        if (missing) throw new Error(`${missing} is not installed (npm install --ignore-scripts in bench/)`);
        const { ms, bytes } = await start(code, signal);
        if (round === 0) continue; // the files are in the page cache from here on
        samples.get(name).ms.push(ms - base.ms);
        samples.get(name).bytes.push((bytes - base.bytes) / 1e6);
      } catch (error) {
        if (!signal.aborted) gaps.push({ peer: name, why: (error.stderr || error.message).trim().split("\n")[0] });
      }
    }
  }
  const sizes = new Map();
  for (const [name, { packages }] of list) {
    if (signal.aborted || gaps.some((g) => g.peer === name)) continue;
    try {
      sizes.set(name, [(name === "nabla" ? await ownSize() : installedSize(packages, bench)) / 1e6]);
    } catch (error) {
      gaps.push({ peer: name, why: error.message.split("\n")[0] });
    }
  }
  const row = (name, unit, times) => ({
    id: "S1",
    name,
    unit,
    threads: 1,
    contestants: list
      .filter(([who]) => times(who)?.length)
      .map(([who]) => {
        const { best, median, spread, count } = summarize(times(who));
        return {
          peer: who,
          variant: "",
          ours: who === "nabla",
          best,
          median,
          spread: count > 1 ? spread : undefined,
          times: times(who),
        };
      }),
    gaps,
  });
  return [
    row("import to the first result, beyond bare node", "ms", (who) => samples.get(who).ms),
    row("peak memory, beyond bare node", "MB", (who) => samples.get(who).bytes),
    row("installed size", "MB", (who) => sizes.get(who)),
  ];
}

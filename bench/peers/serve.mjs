// The other side of harness/process.mjs, for peers in Node: `serve` reads requests and calls what the peer gave.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** Threads that this process may use. */
export const threads = Number(process.env.BENCH_THREADS ?? 1);

/** The row's numbers, as makeData made them. */
function readData(folder, names) {
  const data = {};
  for (const [name, type] of Object.entries(names)) {
    const bytes = new Uint8Array(readFileSync(`${folder}/${name}`)).buffer; // aligned, unlike a small Buffer's
    data[name] = type === "i32" ? new Int32Array(bytes) : new Float32Array(bytes);
  }
  return data;
}

/**
 * @param about what the harness shows: `version`, and anything worth knowing
 * @param workload (spec, data) → variants {name, output(), run(repeats)}, or a promise of them; a string says why the
 *   peer has none for this row
 */
export async function serve(about, workload) {
  let variants = new Map();
  const does = {
    hello: () => about,
    async prepare({ spec, folder, names }) {
      variants = new Map();
      const made = await workload(spec, readData(folder, names));
      if (typeof made === "string") return { variants: [], why: made };
      variants = new Map(made.map((v) => [v.name, v]));
      return { variants: [...variants.keys()] };
    },
    async output({ variant, file }) {
      const started = performance.now();
      const output = Float32Array.from(await variants.get(variant).output());
      const ms = performance.now() - started;
      writeFileSync(file, output);
      return { ms, length: output.length };
    },
    async run({ variant, repeats }) {
      return { ms: await variants.get(variant).run(repeats) };
    },
    release() {
      variants = new Map();
      globalThis.gc?.();
      return {};
    },
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = await does[request.do](request);
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify({ id: request.id, ...answer })}\n`);
  }
}

/** Times one variant in the way all are timed; `one(i)` does the work of repeat i, `finish` uses the last result. */
export const variant = (name, output, one, finish = () => {}) => ({
  name,
  output,
  async run(repeats) {
    const started = performance.now();
    let last;
    for (let i = 0; i < repeats; i++) {
      last = one(i);
      if (last instanceof Promise) last = await last;
    }
    await finish(last);
    return performance.now() - started;
  },
});

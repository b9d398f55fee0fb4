// Writes test/figures/ops.json: what PyTorch gives for every row of test/ops/cases.ts, values and gradients in float64.
// Needs a Python with PyTorch: PYTHON=/usr/bin/python3 node scripts/figures/ops.mjs
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const folder = mkdtempSync(join(root, "node_modules/.figures-"));
try {
  const bundle = join(folder, "cases.mjs");
  await build({
    stdin: {
      contents: 'export { cases } from "./test/ops/cases.ts"; export { describe } from "./test/ops/case.ts";',
      resolveDir: root,
    },
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    outfile: bundle,
    logLevel: "warning",
  });
  const { cases, describe } = await import(pathToFileURL(bundle).href);
  const input = JSON.stringify(cases.map(describe));
  const figures = execFileSync(process.env.PYTHON ?? "python3", [join(here, "ops.py")], {
    input,
    maxBuffer: 1 << 28,
    stdio: ["pipe", "pipe", "inherit"],
  });
  writeFileSync(join(root, "test/figures/ops.json"), figures);
  console.log(`${cases.length} rows, ${figures.length} bytes`);
} finally {
  rmSync(folder, { recursive: true });
}

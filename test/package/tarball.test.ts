// The installed package, used from ESM, CommonJS, TypeScript and a bundle, without a compiler on PATH.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addonPath, type Installed, install, root, target } from "./installed.js";

let user: Installed;
beforeAll(() => {
  user = install(true);
}, 120_000);
afterAll(() => user?.remove());

const device = addonPath ? "cpu" : "js";
const program = `
const c = matmul(tensor([[1, 2], [3, 4]]), tensor([[5, 6], [7, 8]]));
console.log(JSON.stringify(c.toArray()), c.device);
`;
const output = `[[19,22],[43,50]] ${device}\n`;

/** Runs a user's file and returns what it printed; nothing may be on stderr but the warning of a missing addon. */
function runs(...args: string[]): string {
  const { code, signal, stdout, stderr } = user.node(args);
  expect({ code, signal, stderr: addonPath ? stderr : "" }).toEqual({ code: 0, signal: null, stderr: "" });
  return stdout;
}

describe("the installed package", () => {
  it("holds what it needs and nothing else", () => {
    expect(readdirSync(user.home).sort()).toEqual(
      ["CHANGELOG.md", "LICENSE", "README.md", "dist", "package.json", "prebuilds"].filter(
        (name) => name !== "README.md" || existsSync(join(root, name)),
      ),
    );
    expect(existsSync(join(user.home, "prebuilds", target, "nablajs.node"))).toBe(addonPath !== undefined);
    expect(
      readdirSync(join(user.folder, "node_modules"))
        .filter((name) => !name.startsWith("."))
        .sort(),
    ).toEqual([
      ...["ansi-regex", "bindings", "cli-progress", "csv-parse", "emoji-regex", "file-uri-to-path", "hyparquet"],
      ...["is-fullwidth-code-point", "nablajs", "string-width", "strip-ansi"],
    ]);
  });

  it("works from ESM", () => {
    user.write("use.mjs", `import { matmul, tensor } from "nablajs";${program}`);
    expect(runs("use.mjs")).toBe(output);
  });

  it("works from CommonJS", () => {
    user.write("use.cjs", `const { matmul, tensor } = require("nablajs");${program}`);
    expect(runs("use.cjs")).toBe(output);
  });

  it("is one instance for both", () => {
    user.write(
      "both.mjs",
      `import * as esm from "nablajs";
       import { createRequire } from "node:module";
       const cjs = createRequire(import.meta.url)("nablajs");
       const missing = Object.keys(cjs).filter((name) => esm[name] !== cjs[name]);
       console.log(missing.length, Object.keys(cjs).length === Object.keys(esm).length);`,
    );
    expect(runs("both.mjs")).toBe("0 true\n");
  });

  it("does not have Node search the library's text for names when it is imported", () => {
    for (const face of ["index.mjs", "bench.mjs", "report.mjs"]) {
      const text = readFileSync(join(user.home, "dist", face), "utf8");
      const imported = [...text.matchAll(/^import \w+ from "(.*)"/gm)].map(([, path]) => path);
      expect(imported).toHaveLength(1);
      expect(statSync(join(user.home, "dist", imported[0])).size).toBeLessThan(200);
    }
  });

  it("loads neither anything native nor benchmarks, reports, pictures or a parser when it is imported", () => {
    user.write(
      "lazy.cjs",
      `require("nablajs");
       const loaded = Object.keys(require.cache);
       console.log(loaded.length, loaded.some((path) => /\\.node$|(bench|report|charts)\\.js$|csv-parse|hyparquet/.test(path)));`,
    );
    expect(runs("lazy.cjs")).toMatch(/^\d+ false\n$/);
  });

  it("reads CSV, and loads batches in workers", () => {
    user.write(
      "set.mjs",
      `import { data, tensor } from "nablajs";
       class Squares extends data.Dataset { length = 6; get(i) { return tensor([i * i]); } }
       export default () => new Squares();`,
    );
    user.write(
      "load.mjs",
      `import { data, io } from "nablajs";
       const set = await data.fromModule(new URL("./set.mjs", import.meta.url));
       for await (const x of new data.DataLoader(set, { batchSize: 4, workers: 1 })) console.log(JSON.stringify(x.toArray()));
       console.log(JSON.stringify((await io.readCsv({ text: "a,b\\n1,2\\n3,4\\n" })).x.toArray()));`,
    );
    expect(runs("load.mjs")).toBe("[[0],[1],[4],[9]]\n[[16],[25]]\n[[1,2],[3,4]]\n");
  });

  it.each([
    ["mjs", 'import { rows, summarize, workload } from "nablajs/bench"; import { tensor } from "nablajs";'],
    ["cjs", 'const { rows, summarize, workload } = require("nablajs/bench"); const { tensor } = require("nablajs");'],
  ])("has the benchmarking core for %s, on the same instance of the library", (kind, imports) => {
    user.write(
      `bench.${kind}`,
      `${imports}
       const [variant] = workload({ kind: "add", grad: false }, { x: new Float32Array([1]), y: new Float32Array([2]) });
       tensor([0]).dispose();
       console.log(variant.output()[0], summarize([3, 1, 2]).median, rows.length > 20);`,
    );
    expect(runs(`bench.${kind}`)).toBe("3 2 true\n");
  });

  it.each([
    ["use.mts", "node16"],
    ["use.cts", "node16"],
    ["use.mts", "bundler"],
  ])("type-checks under strict: %s, moduleResolution %s", (file, resolution) => {
    user.write(
      file,
      `import { matmul, ShapeError, Tensor, tensor } from "nablajs";
       import { contestant, interleave, type Measured, summarize } from "nablajs/bench";
       export const measured: Promise<Measured[]> = interleave([contestant("a", () => 1)], { rounds: 1 });
       export const best: number = summarize([1, 2]).best;
       // @ts-expect-error: a contestant needs something to do
       contestant("b");
       const c: Tensor = matmul(tensor([[1, 2]]), tensor([[3], [4]], { dtype: "float32" }));
       export const rows: readonly number[] = c.shape;
       export const error: Error = new ShapeError("x");
       { using t = tensor(1); t.shape; }
       // @ts-expect-error: a dtype that does not exist
       tensor(1, { dtype: "float31" });`,
    );
    user.write(
      "tsconfig.json",
      JSON.stringify({
        compilerOptions: {
          strict: true,
          skipLibCheck: false,
          exactOptionalPropertyTypes: true,
          target: "es2022",
          lib: ["es2022"],
          types: [],
          module: resolution === "node16" ? "node16" : "esnext",
          moduleResolution: resolution,
          noEmit: true,
        },
        files: [file],
      }),
    );
    const { code, stdout } = user.node([join(root, "node_modules/typescript/bin/tsc"), "-p", "."]);
    expect(stdout).toBe("");
    expect(code).toBe(0);
  });

  it("can be bundled, binary and all", async () => {
    user.write("bundled.js", `import { matmul, tensor } from "nablajs";${program}`);
    const outdir = join(user.folder, "../bundle"); // outside, where no node_modules is found
    await build({
      absWorkingDir: user.folder,
      entryPoints: ["bundled.js"],
      bundle: true,
      platform: "node",
      outdir,
      loader: { ".node": "copy" },
      logLevel: "silent",
    });
    expect(runs(join(outdir, "bundled.js"))).toBe(output);
  });

  it("brings the nabla command", () => {
    expect(runs("node_modules/.bin/nabla", "--version")).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(runs("node_modules/.bin/nabla", "--help")).toMatch(/^Usage: nabla <command>[\s\S]*doctor[\s\S]*bench/);
    expect(user.node(["node_modules/.bin/nabla", "docter"])).toMatchObject({
      code: 2,
      stderr: 'nabla: unknown command "docter"; did you mean "nabla doctor"?\n',
    });
    expect(user.node(["node_modules/.bin/nabla", "doctor", "--jsn"])).toMatchObject({ code: 2, stdout: "" });
    expect(user.node(["node_modules/.bin/nabla"])).toMatchObject({ code: 2, stdout: "" });
  });

  it("measures itself", () => {
    const report = JSON.parse(runs("node_modules/.bin/nabla", "bench", "--only", "D1", "--rounds", "1", "--json", "-"));
    expect(report).toMatchObject({ device, interrupted: false });
    expect(report.rows.map(({ id }: { id: string }) => id)).toEqual(["D1", "D1"]);
    for (const { variants } of report.rows) for (const { best } of variants) expect(best).toBeGreaterThan(0);
    const refused = user.node(["node_modules/.bin/nabla", "bench", "--only", "Z"]);
    expect(refused).toMatchObject({ code: 2, stderr: 'nabla: --only: there is no row "Z"\n' });
  });
});

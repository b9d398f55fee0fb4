// Builds dist/: a CommonJS bundle of the library (beside it the JavaScript device, which few programs load, and what the
// loader's workers run), one of its benchmarking core and one of its reports (beside it what draws the pictures), ESM faces
// that re-export them by name (so that both kinds of user share one instance), the command, and the types. With --if-stale
// only when the sources have changed.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";
import { hashOf, isMain, readJson, readText, root, run, say, tool } from "./lib.mjs";

const dist = join(root, "dist");
/** Made beside dist/ and put in its place at the end, so that nobody sees half a build. */
const fresh = join(root, `dist.${process.pid}`);

/** What dist/ is made of. */
const distHash = () => hashOf(["lib", "scripts/build.mjs", "package.json", "tsconfig.json", "tsconfig.build.json"]);

const common = {
  absWorkingDir: root,
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20",
  packages: "external",
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning",
  // What `import.meta.url` is in CommonJS; another bundler may have taken `__filename` away.
  define: { "import.meta.url": "__moduleUrl" },
};
const moduleUrl =
  'const __moduleUrl = typeof __filename === "string" ? require("node:url").pathToFileURL(__filename).href : "";';

/**
 * Completes the bundle. esbuild renames what would collide in one file (`arange2`, `_Tensor`); its own remedy, keepNames,
 * runs a call whenever a closure is made, so the names that users see are set right once, here. Without the characters
 * of a few comments the text is ASCII: otherwise V8 would read all of it as two bytes a character.
 */
function finish(bundle) {
  const exported = createRequire(import.meta.url)(bundle);
  const restored = (path, object) =>
    Object.keys(object)
      .filter((key) => typeof object[key] === "function" && RegExp(`^(_${key}\\d*|${key}\\d+)$`).test(object[key].name))
      .map((key) => `\nObject.defineProperty(module.exports${path}.${key}, "name", { value: "${key}" });`);
  const names = [
    ...restored("", exported),
    ...Object.keys(exported).flatMap((key) =>
      typeof exported[key] === "object" ? restored(`.${key}`, exported[key]) : [],
    ),
  ].join("");
  const text = readFileSync(bundle, "utf8").replace(/[^\0-\x7f]/g, "-");
  writeFileSync(bundle, text.replace(/\n\/\/# sourceMappingURL/, `${names}$&`));
  return exported;
}

/** The JavaScript device is a quarter of the library; it stays outside of the bundle until somebody asks for it. */
const deviceLater = {
  name: "device-later",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^\.\/js\/index\.js$/ }, () => ({ path: "js", namespace: "later" }));
    onResolve({ filter: /^\.\/device-js\.js$/ }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /^js$/, namespace: "later" }, () => ({
      contents: 'module.exports = { get JsDevice() { return require("./device-js.js").JsDevice; } };',
    }));
  },
};
/** Reports are a face of their own, which a run that asks for one loads at its end. */
const reportLater = {
  name: "report-later",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/report\/index\.js$/ }, () => ({ path: "./report.js", external: true }));
  },
};
/** Its errors are those of the library. */
const errorsOfIndex = {
  name: "errors-of-index",
  setup({ onResolve }) {
    onResolve({ filter: /\/errors\.js$/ }, () => ({ path: "./index.js", external: true }));
  },
};

/** The bundles that a user imports, by name; each is a folder of lib/, or lib/ itself. */
const faces = { index: "lib/index.ts", bench: "lib/bench/index.ts", report: "lib/report/index.ts" };

/** Helpers that hold no state and import nothing of the library but errors; they may be there twice. */
const helpers = ["../check.js", "../closest.js", "../io/atomic.js"];

/** What a bundle takes from outside its folder of lib/ comes through the public faces, as for any user: one instance. */
const throughFaces = {
  name: "through-faces",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\// }, ({ path, importer }) => {
      if (helpers.includes(path)) return undefined;
      const face = /^\.\.\/(?:(\w+)\/)?index\.js$/.exec(path);
      const name = face && (face[1] ?? "index");
      return name && name in faces
        ? { path: `./${name}.js`, external: true }
        : { errors: [{ text: `${importer} imports ${path}: here the library is imported through its faces only` }] };
    });
  },
};

/** The library that draws the pictures stays outside of the report's bundle until a picture is drawn. */
const chartsLater = {
  name: "charts-later",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/echarts\.js$/ }, () => ({ path: "./charts.js", external: true }));
  },
};

/** Licences of what is bundled in charts.js, which asks for it. */
function chartsLicences() {
  const packages = ["echarts", "zrender", "echarts/node_modules/tslib"];
  return packages
    .map((name) => {
      const folder = join(root, "node_modules", name);
      const { name: called, version, license } = readJson(join(folder, "package.json"));
      const texts = ["LICENSE", "LICENSE.txt", "NOTICE", "licenses/LICENSE-d3"].map((file) =>
        readText(join(folder, file)),
      );
      return [`charts.js contains parts of ${called} ${version} (${license}).`, ...texts.filter(Boolean)].join("\n\n");
    })
    .join(`\n\n${"=".repeat(100)}\n\n`);
}

async function main() {
  const hash = distHash(); // of what is read now, should a file change meanwhile
  mkdirSync(fresh);
  await Promise.all([
    build({
      ...common,
      entryPoints: [faces.index],
      outfile: join(fresh, "index.js"),
      banner: { js: moduleUrl },
      plugins: [deviceLater, reportLater],
    }),
    build({
      ...common,
      entryPoints: ["lib/device/js/index.ts"],
      outfile: join(fresh, "device-js.js"),
      plugins: [errorsOfIndex],
    }),
    build({ ...common, entryPoints: [faces.bench], outfile: join(fresh, "bench.js"), plugins: [throughFaces] }),
    build({
      ...common,
      entryPoints: [faces.report],
      outfile: join(fresh, "report.js"),
      plugins: [chartsLater, errorsOfIndex, throughFaces],
    }),
    build({
      ...common,
      entryPoints: ["lib/report/echarts.ts"],
      outfile: join(fresh, "charts.js"),
      packages: "bundle",
      minify: true,
      sourcemap: false,
      legalComments: "none", // the licences lie beside it, whole
    }),
    build({
      ...common,
      entryPoints: ["lib/data/worker.ts"],
      outfile: join(fresh, "data-worker.js"),
      plugins: [throughFaces],
    }),
    build({
      ...common,
      entryPoints: ["lib/cli/main.ts"],
      outfile: join(fresh, "cli.js"),
      banner: { js: "#!/usr/bin/env node" },
      plugins: [throughFaces],
    }),
  ]);
  const write = (name, text) => writeFileSync(join(fresh, name), text);
  write("package.json", '{ "type": "commonjs" }\n');
  write("charts.LICENSE.txt", chartsLicences());
  for (const [face, source] of Object.entries(faces)) {
    const names = Object.keys(finish(join(fresh, `${face}.js`))).sort();
    // An exported name may be a reserved word (`var`), a local one may not.
    const list = (line) => names.map((name, i) => `  ${line(name, `_${i}`)},\n`).join("");
    // Node reads the names that an imported CommonJS file exports out of its text: of the bundle that would take 100 ms
    // and 12 MB, so a file stands between that says nothing, and that bundlers can follow.
    write(`${face}-face.js`, `const face = require("./${face}.js");\nmodule.exports = face;\n`);
    write(
      `${face}.mjs`,
      `import face from "./${face}-face.js";\nconst {\n${list((name, local) => `${name}: ${local}`)}} = face;\n` +
        `export {\n${list((name, local) => `${local} as ${name}`)}};\n`,
    );
    // `using` needs Symbol.dispose, which a user's own `lib` setting may not have.
    const types = `/// <reference lib="esnext.disposable" />\nexport * from "${source.replace("lib/", "./types/").replace(/ts$/, "js")}";\n`;
    write(`${face}.d.ts`, types);
    write(`${face}.d.mts`, types);
  }
  if (
    !run(process.execPath, [tool("typescript/bin/tsc"), "-p", "tsconfig.build.json", "--outDir", join(fresh, "types")])
  ) {
    throw new Error("the types did not build");
  }
  write(".stamp", hash);
  rmSync(dist, { recursive: true, force: true });
  renameSync(fresh, dist);
}

/** Is dist/ what the sources would give now? */
export const isCurrent = () => readText(join(dist, ".stamp")) === distHash();

if (isMain(import.meta) && !(process.argv.includes("--if-stale") && isCurrent())) {
  try {
    await main();
  } catch (error) {
    say(`the build failed: ${error.message}`);
    process.exitCode = 1;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

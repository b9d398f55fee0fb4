// The house rules, checked: kernels live under the same name in every room, every public operation has a row, a
// gradient or a reason for none, and a doc line, and every kernel and element-wise function is reached.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { getDevice } from "../lib/device/registry.js";
import { streamOf } from "../lib/graph/stream.js";
import * as nabla from "../lib/index.js";
import { cases } from "./ops/cases.js";
import { inputsOf } from "./ops/devices.js";

const root = new URL("../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const list = (folder: string, ending: string): string[] =>
  existsSync(new URL(folder, root)) ? readdirSync(new URL(folder, root)).filter((f) => f.endsWith(ending)) : [];

/** Names of the rows of an X-macro table. */
const rowsOf = (path: string, macro: RegExp): string[] => [...read(path).matchAll(macro)].map((m) => m[1]);
const kernels = rowsOf("native/graph/ops.def", /^(?:ALIASING_|EPILOGUE_)?KERNEL\((\w+)\)/gm);
const functions = rowsOf("native/graph/elementwise.def", /^ELEMENTWISE\((\w+),/gm);

describe("kernels", () => {
  /** Kernel name → stem of the file that has it. */
  const nativeRoom = (folder: string, ending: string): Record<string, string> => {
    const found: Record<string, string> = {};
    for (const file of list(folder, ending)) {
      for (const [, name] of read(`${folder}/${file}`).matchAll(/\brun_(\w+)\(|\bKERNEL_PAIR\((\w+)/g)) {
        if (kernels.includes(name)) found[name] = file.slice(0, -ending.length);
      }
    }
    return found;
  };
  const jsRoom = async (): Promise<Record<string, string>> => {
    const found: Record<string, string> = {};
    for (const file of list("lib/device/js", ".ts")) {
      const stem = file.slice(0, -3);
      if (stem === "kernels") continue; // which only gathers them
      const module = (await import(`../lib/device/js/${stem}.ts`)) as { kernels?: Record<string, unknown> };
      for (const name of Object.keys(module.kernels ?? {})) found[name] = stem;
    }
    return found;
  };

  test("each is in the file of the same name in every room", async () => {
    const js = await jsRoom();
    expect(Object.keys(js).sort()).toEqual([...kernels].sort());
    expect(nativeRoom("native/cpu", ".cc")).toEqual(js);
    const cuda = nativeRoom("native/cuda", ".cu");
    expect(cuda).toEqual(Object.fromEntries(Object.keys(cuda).map((name) => [name, js[name]])));
  });

  test("the tables of names are those of the JS device", () => {
    const device = getDevice("js");
    expect([...device.elementwise.keys()].sort()).toEqual([...functions].sort());
  });

  test("each is reached from TypeScript", () => {
    nabla.setDefaultDevice("js");
    const device = getDevice("js");
    const [ops, fns] = [[...device.ops.keys()], [...device.elementwise.keys()]];
    const reached = new Set<string>();
    const submit = device.submit;
    device.submit = (words) => {
      const { stream } = device;
      for (let at = 0; at < words; at += stream[at + 1]) {
        const name = ops[stream[at]];
        reached.add(name);
        if (name !== "elementwise") continue;
        for (let step = 0; step < stream[at + 5]; step++) reached.add(`elementwise ${fns[stream[at + 6 + 5 * step]]}`);
      }
      submit.call(device, words);
    };
    try {
      for (const c of cases) {
        const out = c.run(inputsOf(c, "js", "float32", !c.noGrad));
        for (const y of (Array.isArray(out) ? out : [out]) as nabla.Tensor[]) {
          if (y.requiresGrad) y.sum().backward({ retainGraph: true });
        }
      }
      nabla.rand([1]);
      nabla.randn([1]);
      nabla.randint(5, [1]);
      streamOf(device).flush();
      // Only the optimiser writes these.
      const layers = nabla.compile((x: nabla.Tensor, w: nabla.Tensor) =>
        [nabla.matmul(x, x), nabla.conv2d(x, w), nabla.convTranspose2d(x, w)].map(nabla.relu),
      );
      layers(nabla.ones([1, 1, 2, 2]), nabla.ones([1, 1, 1, 1]));
      for (const { op } of layers.programs[0].instructions) reached.add(op);
    } finally {
      device.submit = submit;
    }
    const wanted = [...kernels, ...functions.map((name) => `elementwise ${name}`)];
    expect(wanted.filter((name) => !reached.has(name))).toEqual([]);
  });
});

/** Operations without a row, and where they are tested instead. */
const elsewhere: Record<string, string> = {
  allclose: "gives a boolean: test/ops/checks.test.ts",
  equal: "gives a boolean: test/ops/checks.test.ts",
  dropout: "random: test/ops/random.test.ts",
};

describe("public operations", async () => {
  const files = list("lib/ops", ".ts").map((file) => file.slice(0, -3));
  /** Function → its public names, for what lib/ops exports. */
  const publicNames = new Map<unknown, string[]>();
  const fileOf = new Map<unknown, string>();
  for (const file of files) {
    for (const value of Object.values((await import(`../lib/ops/${file}.ts`)) as Record<string, unknown>)) {
      if (typeof value === "function") fileOf.set(value, fileOf.get(value) ?? file);
    }
  }
  for (const [name, value] of Object.entries(nabla)) {
    if (!fileOf.has(value)) continue;
    publicNames.set(value, [...(publicNames.get(value) ?? []), name]);
  }
  const operations = [...publicNames.values()];
  const withRows = new Set(cases.map((c) => c.name));
  const random = Object.keys((await import("../lib/ops/random.js")) as object);

  test("each has a row, or is tested elsewhere", () => {
    const missing = operations.filter(
      (names) =>
        !names.some(
          (n) => withRows.has(n) || withRows.has(n.replace(/_$/, "")) || n in elsewhere || random.includes(n),
        ),
    );
    expect(missing.flat()).toEqual([]);
  });

  test("each twin in place is run", () => {
    const twins = operations.flat().filter((n) => n.endsWith("_") && withRows.has(n.slice(0, -1)) && !withRows.has(n));
    const run = new Set(cases.filter((c) => c.inPlace).map((c) => c.name));
    expect(twins.filter((n) => !run.has(n.slice(0, -1)))).toEqual([]);
  });

  test("each has a gradient that is checked, or a reason for none", () => {
    const silent = [...withRows].filter((name) => {
      const rows = cases.filter((c) => c.name === name);
      return rows.every((c) => c.noGrad === "" || c.noGrad === "the values are the point");
    });
    expect(silent).toEqual([]);
  });

  test("each has a doc line", () => {
    const bare: string[] = [];
    for (const file of files) {
      const lines = read(`lib/ops/${file}.ts`).split("\n");
      const seen = new Set<string>();
      lines.forEach((line, i) => {
        const declared = /^export (?:async )?(?:function|const) (?:\[([^\]]+)\]|(\w+))/.exec(line);
        if (!declared) return;
        for (const name of (declared[1] ?? declared[2]).split(",").map((n) => n.trim())) {
          const known = (nabla as Record<string, unknown>)[name];
          if (seen.has(name) || !fileOf.has(known)) continue; // overloads share the first one's
          seen.add(name);
          if (!/\*\/\s*$/.test(lines[i - 1] ?? "")) bare.push(`${file}: ${name}`);
        }
      });
    }
    expect(bare).toEqual([]);
  });
});

test("names of rows are those of public functions", () => {
  const known = nabla as Record<string, unknown>;
  expect(
    cases.filter((c) => typeof known[c.name] !== "function" && !(c.name in nabla.Tensor.prototype)).map((c) => c.name),
  ).toEqual([]);
});

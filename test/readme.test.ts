// The programs of the README and of the guides for users run, and print what their comments say.
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const pages = ["README.md", "docs/from-keras.md", "docs/from-pytorch.md"];
const programs = pages.flatMap((page) =>
  [...readFileSync(join(root, page), "utf8").matchAll(/```js\n(.*?)```/gs)].map((m, i) => [page, i + 1, m[1]] as const),
);

test("there are programs on every page", () => {
  for (const page of pages) expect(programs.some(([of]) => of === page)).toBe(true);
});

test.each(programs)("%s, program %i", (page, i, code) => {
  // Inside the package, so that its own name resolves to the built files.
  const file = `${root}.${page.replace(/\W/g, "-")}-${process.pid}-${i}.mjs`;
  const folder = mkdtempSync(join(tmpdir(), "nabla-page-")); // for the files that it reads and writes
  cpSync(join(root, "examples/data/iris.csv"), join(folder, "iris.csv"));
  writeFileSync(file, code);
  try {
    const printed = execFileSync(process.execPath, [file], { encoding: "utf8", cwd: folder }).replace(/\s+/g, "");
    for (const [, value] of code.matchAll(/console\.log\(.*\);\s*\/\/ (.*)$/gm)) {
      if (/^[[\d"]|^tensor/.test(value) && !value.includes("cpu"))
        expect(printed).toContain(value.replace(/["\s]/g, ""));
    }
  } finally {
    rmSync(file);
    rmSync(folder, { recursive: true });
  }
});

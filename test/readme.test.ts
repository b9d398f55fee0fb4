// The README's programs run, and print what their comments say.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const blocks = [...readFileSync(`${root}README.md`, "utf8").matchAll(/```js\n(.*?)```/gs)].map((m) => m[1]);

test("there are programs", () => expect(blocks.length).toBeGreaterThanOrEqual(4));

test.each(blocks.map((code, i) => [i + 1, code] as const))("program %i", (i, code) => {
  // Inside the package, so that its own name resolves to the built files.
  const file = `${root}.readme-${process.pid}-${i}.mjs`;
  const folder = mkdtempSync(join(tmpdir(), "nabla-readme-")); // for the files that it writes
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

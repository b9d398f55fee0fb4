// `npm test`: types, style, then every test on the default device, then those that compute once more on the JS device.
// `npm test -- test/ops` passes its arguments to vitest alone.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readJson, run, say, tool } from "./lib.mjs";

/**
 * What does not depend on the device that is asked for: packaging, sources, the devices by themselves, the rows that name
 * their device, what is about processes and pages.
 */
const deviceIndependent = [
  "test/package/**",
  "test/repository*",
  "test/bench/harness*",
  "test/native/**",
  "test/device/**",
  "test/ops/conformance*",
  "test/report/**",
  "test/cli/**",
  "test/readme*",
];

const node = (path, ...args) => run(process.execPath, [tool(path), ...args]);
const reports = mkdtempSync(join(tmpdir(), "nabla-test-"));
const count = { passed: 0, failed: 0, skipped: 0 };

function vitest(name, args, env = {}) {
  const report = join(reports, `${name}.json`);
  const ok = run(
    process.execPath,
    [tool("vitest/vitest.mjs"), "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...args],
    { env: { ...process.env, ...env } },
  );
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = readJson(report);
    count.passed += numPassedTests;
    count.failed += numFailedTests;
    count.skipped += numPendingTests + numTodoTests;
    return ok;
  } catch {
    return false; // vitest ended before it could report
  }
}

const steps = [
  ["types", () => node("typescript/bin/tsc", "-p", "tsconfig.json")],
  ["style", () => node("@biomejs/biome/bin/biome", "check", ".")],
  ["tests", () => vitest("default", [])],
  [
    "tests on the JS device",
    () =>
      vitest(
        "js",
        deviceIndependent.flatMap((glob) => ["--exclude", glob]),
        { NABLA_DEVICE: "js" },
      ),
  ],
];
const args = process.argv.slice(2);
const failed = [];
for (const [name, step] of args.length ? [["tests", () => vitest("default", args)]] : steps) {
  say(name);
  const started = performance.now();
  const ok = step();
  say(`${name}: ${ok ? "ok" : "FAILED"} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  if (!ok) failed.push(name);
}
rmSync(reports, { recursive: true, force: true });
if (failed.length) say(`failed: ${failed.join(", ")}`);
// A step without counted tests that failed counts as one.
console.log(`${count.passed} passed, ${Math.max(count.failed, failed.length)} failed, ${count.skipped} skipped`);
process.exitCode = failed.length ? 1 : 0;

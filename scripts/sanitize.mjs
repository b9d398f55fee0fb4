// Builds the C++ tests of test/native with the kernels, under the address and undefined-behaviour sanitizers, and runs
// each on every instruction set of this machine; then under the thread sanitizer. `node scripts/sanitize.mjs [test…]`
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { readJson, root, say } from "./lib.mjs";

const out = join(root, "build", "sanitize");
const compiler = process.env.CXX ?? "c++";
const arch = process.arch;
/** One test on one instruction set may take this long. */
const timeLimit = 120_000;

const manifest = readJson(join(root, "native/sources.json"));
const isas = Object.entries(manifest.isa).filter(([, isa]) => isa.arch === "any" || isa.arch === arch);
const isaNames = isas.map(([name]) => name);
/**
 * Which instruction set a race is found on makes no difference, so that only the lowest, which compiles soonest, is built
 * for that. Nor does it take many numbers to find one: the fuzzers run for a quarter of their length. `lengths` are tests'
 * arguments.
 */
const modes = {
  address: {
    flags: ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    isas: isaNames,
    lengths: { simd_accuracy: ["1000003"] },
    without: [],
  },
  thread: {
    flags: ["-fsanitize=thread"],
    isas: ["baseline"],
    lengths: { elementwise_fuzz: ["500"], gemm_fuzz: ["75"], kernels_fuzz: ["1500"] },
    without: ["simd_accuracy"], // one thread
  },
};
const common = manifest.common.filter(
  // Node's interface is not there without Node; the old symbol versions would hide the sanitizers' own.
  (path) => path !== "native/core/glibc.cc" && !/napi/i.test(readFileSync(join(root, path), "utf8")),
);

function execute(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], ...options });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        output += data;
      });
    }
    child.on("error", (error) => resolve({ ok: false, output: error.message }));
    child.on("close", (code, signal) => resolve({ ok: code === 0, output: output + (signal ? `\n(${signal})` : "") }));
  });
}

let idle = availableParallelism();
const waiting = [];
/** Runs a job when a core is free, in the order of the calls: both builds and all tests share the cores. */
function queued(job) {
  const start = () => {
    while (idle > 0 && waiting.length > 0) {
      idle--;
      waiting
        .shift()()
        .finally(() => {
          idle++;
          start();
        });
    }
  };
  return new Promise((resolve) => {
    waiting.push(() => job().then(resolve));
    start();
  });
}
const inParallel = (jobs) => Promise.all(jobs.map(queued));

/** Compiles everything for one mode and links the tests; returns their programs, or undefined. */
async function build(mode, tests) {
  const folder = join(out, mode);
  mkdirSync(folder, { recursive: true });
  const base = [...manifest.flags, "-std=c++17", "-pthread"];
  const flags = [
    ...base,
    "-O1",
    "-g1", // line numbers; full debug information takes twice as long to compile
    "-fno-omit-frame-pointer",
    ...modes[mode].flags,
  ];
  const units = [
    ...common.map((source) => ({ source, flags, object: `${source.replaceAll("/", "_")}.o` })),
    ...isas.flatMap(([name, isa]) =>
      isa.sources.map((source) => ({
        source,
        // One that is not run is there to be linked.
        flags: [...(modes[mode].isas.includes(name) ? flags : [...base, "-O0"]), ...isa.flags, `-DNABLA_ISA=${name}`],
        object: `${name}_${basename(source)}.o`,
      })),
    ),
  ];
  const has = isas.map(([name]) => `-DHAVE_${name.toUpperCase()}`);
  const objects = units.map(({ object }) => join(folder, object));
  const compiled = await inParallel([
    ...units.map((unit, i) => () => execute(compiler, [...unit.flags, "-c", unit.source, "-o", objects[i]])),
    ...tests.map(
      (test) => () =>
        execute(compiler, [...flags, ...has, "-c", `test/native/${test}.cc`, "-o", join(folder, `${test}.o`)]),
    ),
  ]);
  const linked = compiled.every(({ ok }) => ok)
    ? await inParallel(
        tests.map(
          (test) => () =>
            execute(compiler, [
              ...modes[mode].flags,
              "-pthread",
              join(folder, `${test}.o`),
              ...objects,
              "-o",
              join(folder, test),
            ]),
        ),
      )
    : [];
  const failures = [...compiled, ...linked].filter(({ ok }) => !ok);
  for (const { output } of failures) process.stderr.write(output);
  return failures.length ? undefined : tests.map((test) => join(folder, test));
}

async function runTest(mode, test, program, isa) {
  const started = performance.now();
  const { ok, output } = await execute(program, modes[mode].lengths[test] ?? [], {
    timeout: timeLimit,
    env: {
      ...process.env,
      NABLA_ISA: isa,
      NABLA_NUM_THREADS: "4",
      UBSAN_OPTIONS: "print_stacktrace=1",
    },
  });
  const isAbsent = !ok && /NABLA_ISA=.*: this CPU has the levels/.test(output);
  const verdict = ok ? "ok" : isAbsent ? "skipped, not on this CPU" : "FAILED";
  const time = ((performance.now() - started) / 1000).toFixed(1);
  say(`${mode} ${test} on ${isa}: ${verdict} (${time} s)`);
  if (!ok && !isAbsent) process.stderr.write(`${output.slice(-4000)}\n`);
  return ok ? "passed" : isAbsent ? "skipped" : "failed";
}

/** Builds and runs the tests of one mode; their verdicts. */
async function sanitize(mode, tests) {
  const suited = tests.filter((test) => !modes[mode].without.includes(test));
  say(`building ${suited.length} native tests for the ${mode} sanitizer`);
  const programs = await build(mode, suited);
  if (!programs) {
    say(`they do not build with the ${mode} sanitizer`);
    return ["failed"];
  }
  return inParallel(
    programs.flatMap((program, i) => modes[mode].isas.map((isa) => () => runTest(mode, suited[i], program, isa))),
  );
}

async function main(wanted) {
  const tests = readdirSync(join(root, "test/native"))
    .filter((name) => name.endsWith(".cc"))
    .map((name) => name.slice(0, -3))
    .filter((name) => wanted.length === 0 || wanted.includes(name));
  const count = { passed: 0, failed: 0, skipped: 0 };
  const verdicts = await Promise.all(Object.keys(modes).map((mode) => sanitize(mode, tests)));
  for (const verdict of verdicts.flat()) count[verdict]++;
  rmSync(out, { recursive: true, force: true });
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  return count.failed === 0;
}

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;

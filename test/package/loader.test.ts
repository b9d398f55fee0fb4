// The loader against binaries that are missing, damaged, foreign or stale: always a reason, never a crash; and what
// `nabla doctor` says of each.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Examination } from "../../lib/examination.js";
import { addonPath, type Installed, install, root, target } from "./installed.js";

let user: Installed;
let prebuilt: string;
let spare: string;
beforeAll(() => {
  user = install(false);
  prebuilt = join(user.home, "prebuilds", target, "nablajs.node");
  spare = join(user.folder, "spare.node");
  mkdirSync(dirname(prebuilt), { recursive: true });
}, 120_000);
afterAll(() => user?.remove());
afterEach(() => rmSync(prebuilt, { force: true, recursive: true }));

function doctor(env: Record<string, string> = {}) {
  const { code, signal, stdout, stderr } = user.node(["node_modules/.bin/nabla", "doctor", "--json"], env);
  expect({ signal, stderr }).toEqual({ signal: null, stderr: "" });
  return { code, ...(JSON.parse(stdout) as Examination) };
}

/** The native binary of a development dependency: a real one, but not ours. */
function foreignAddon(): string {
  const home = dirname(createRequire(join(root, "package.json")).resolve("rolldown/package.json"));
  for (const name of readdirSync(join(home, "../@rolldown"))) {
    const folder = join(home, "../@rolldown", name);
    const binary = readdirSync(folder).find((file) => file.endsWith(".node"));
    if (binary) return join(folder, binary);
  }
  throw new Error("rolldown has no native binary here");
}

/** A binary of this platform to damage: ours, where there is one. */
const whole = readFileSync(addonPath ?? foreignAddon());
const zeroTail = (fraction: number) =>
  Buffer.concat([whole.subarray(0, whole.length * fraction), Buffer.alloc(whole.length * (1 - fraction))]);
const patched = (patch: (bytes: Buffer) => void) => {
  const bytes = Buffer.from(whole);
  patch(bytes);
  return bytes;
};

const damaged: [string, Buffer, RegExp][] = [
  ["empty", Buffer.alloc(0), /not a native binary: 0 bytes/],
  ["text", Buffer.from("<html>404 Not Found</html>".repeat(10)), /not a native binary/],
  [
    "random bytes",
    Buffer.from(Uint8Array.from({ length: 65536 }, (_, i) => (i * i * 31 + i * 7) >> 3)),
    /not a native binary/,
  ],
  ["a Mach-O binary", Buffer.concat([Buffer.from("cffaedfe0c000001", "hex"), Buffer.alloc(4096)]), /Mach-O/],
  [
    "a PE binary",
    Buffer.concat([
      Buffer.from("4d5a", "hex"),
      Buffer.alloc(58),
      Buffer.from("40000000504500006486", "hex"),
      Buffer.alloc(4096),
    ]),
    /PE/,
  ],
];
if (process.platform === "linux") {
  damaged.push(
    ["cut after the header", whole.subarray(0, 64), /truncated/],
    ["cut in the middle", whole.subarray(0, whole.length >> 1), /truncated/],
    ["cut at the end", whole.subarray(0, whole.length - 1), /truncated/],
    ["an interrupted copy", zeroTail(0.5), /corrupt/],
    [
      "of another machine",
      patched((bytes) => bytes.writeUInt16LE(process.arch === "x64" ? 183 : 62, 18)),
      /was built for/,
    ],
    ["of 32 bits", patched((bytes) => bytes.writeUInt8(1, 4)), /was built for/],
    ["not a shared library", patched((bytes) => bytes.writeUInt16LE(2, 16)), /not a shared library/],
  );
}

describe("a binary that does not load", () => {
  it.each(damaged)("%s: gives a reason and a remedy, and the JS device works", (_name, bytes, reason) => {
    writeFileSync(prebuilt, bytes);
    const { code, addon, defaultDevice } = doctor();
    expect(addon.path).toBeUndefined();
    expect(addon.attempts[0]).toMatchObject({ source: "prebuild", path: prebuilt });
    expect(addon.attempts[0].reason).toMatch(reason);
    expect(addon.attempts[0].remedy).not.toBe("");
    expect(defaultDevice).toMatchObject({ name: "js", works: true });
    expect(code).toBe(0);
  });

  it("missing: both places are named", () => {
    const { code, addon } = doctor();
    expect(addon.attempts.map(({ source, reason }) => [source, reason])).toEqual([
      ["prebuild", "there is no such file"],
      ["build", "there is no such file"],
    ]);
    expect(code).toBe(0);
  });

  it("a directory", () => {
    mkdirSync(prebuilt);
    expect(doctor().addon.attempts[0].reason).toBe("it is a directory");
  });

  it("an addon that is not ours", () => {
    cpSync(foreignAddon(), prebuilt);
    expect(doctor().addon.attempts[0].reason).toMatch(/not Nabla's addon/);
  });

  it("an addon of another version of the interface", () => {
    compile(prebuilt, exportInfo);
    expect(doctor().addon.attempts[0].reason).toMatch(/stale: it speaks version 999/);
  });

  it("an addon that throws while it is loaded", () => {
    compile(prebuilt, 'napi_throw_error(env, NULL, "no luck today\\nat all");');
    expect(doctor().addon.attempts[0].reason).toBe("no luck today");
  });

  it("warns once, in a program that goes on", () => {
    user.write(
      "program.cjs",
      `const { tensor, matmul } = require("nablajs");
       for (let i = 0; i < 3; i++) matmul(tensor([[1, 2]]), tensor([[3], [4]]));
       console.log(tensor(1).device);
       const { Worker, isMainThread } = require("node:worker_threads");
       if (isMainThread) new Worker(__filename);`,
    );
    const { code, stdout, stderr } = user.node(["program.cjs"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "js\njs\n" });
    expect(stderr.match(/NablaWarning/g)).toHaveLength(1);
    expect(stderr).toContain("npx nabla doctor");
  });

  it("device cpu, asked for by name, is an error that says why", () => {
    user.write(
      "ask.cjs",
      `const { tensor } = require("nablajs");
       try { tensor(1, { device: "cpu" }); } catch (e) { console.log(e.name, e.message); }`,
    );
    const { stdout, stderr } = user.node(["ask.cjs"]);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^DeviceError device cpu: the native addon did not load/);
    expect(stdout).toContain(`${prebuilt}: there is no such file`);
  });

  it("device cuda is an error, not a crash, by argument and by NABLA_DEVICE", () => {
    user.write(
      "cuda.cjs",
      `const { tensor } = require("nablajs");
       const device = process.argv[2];
       try { tensor(1, device ? { device } : {}); } catch (e) { console.log(e.name, e.message); }`,
    );
    expect(user.node(["cuda.cjs", "cuda:1"]).stdout).toMatch(/^DeviceError device cuda:1: this build .* has no CUDA/);
    expect(user.node(["cuda.cjs"], { NABLA_DEVICE: "cuda" }).stdout).toMatch(/^DeviceError device cuda: /);
    const { code, defaultDevice } = doctor({ NABLA_DEVICE: "cuda" });
    expect(code).toBe(1);
    expect(defaultDevice).toMatchObject({ name: "cuda", works: false });
  });
});

describe("NABLA_DEVICE and NABLA_ADDON", () => {
  it("NABLA_DEVICE=js does not look at the addon, and does not warn", () => {
    writeFileSync(prebuilt, whole);
    const { code, addon, devices, defaultDevice } = doctor({ NABLA_DEVICE: "js" });
    expect(addon.attempts).toEqual([]);
    expect(devices.map(({ name }) => name)).toEqual(["js"]);
    expect(defaultDevice).toMatchObject({ name: "js", works: true, why: "asked for by NABLA_DEVICE" });
    expect(code).toBe(0);
    user.write("js.cjs", `console.log(require("nablajs").tensor(1).device)`);
    expect(user.node(["js.cjs"], { NABLA_DEVICE: "js" })).toMatchObject({ stdout: "js\n", stderr: "" });
  });

  it("NABLA_ADDON pointing nowhere", () => {
    const { code, addon } = doctor({ NABLA_ADDON: "/nowhere/nablajs.node" });
    expect(addon.attempts.map(({ source }) => source)).toEqual(["NABLA_ADDON", "prebuild", "build"]);
    expect(addon.attempts[0]).toMatchObject({ path: "/nowhere/nablajs.node", reason: "there is no such file" });
    expect(addon.attempts[0].remedy).toContain("NABLA_ADDON");
    expect(code).toBe(0);
  });

  it("an unknown NABLA_DEVICE is an error that lists the devices", () => {
    user.write("unknown.cjs", `try { require("nablajs").tensor(1) } catch (e) { console.log(e.name, e.message) }`);
    expect(user.node(["unknown.cjs"], { NABLA_DEVICE: "gpu" }).stdout).toMatch(
      /^DeviceError unknown device "gpu"; .*"cpu"/,
    );
  });
});

describe.skipIf(!addonPath)(`with the binary${addonPath ? "" : " [there is none]"}`, () => {
  it("the doctor says that it is in use, and both devices agree", () => {
    writeFileSync(prebuilt, whole);
    const { code, addon, devices, defaultDevice } = doctor();
    expect(addon).toMatchObject({ path: prebuilt, attempts: [{ source: "prebuild", path: prebuilt }] });
    expect(devices.map(({ name, works }) => [name, works])).toEqual([
      ["cpu", true],
      ["js", true],
    ]);
    expect(defaultDevice).toMatchObject({ name: "cpu", works: true });
    expect(code).toBe(0);
    const { stdout } = user.node(["node_modules/.bin/nabla", "doctor"]);
    expect(stdout).toContain(`✓ ${prebuilt} (prebuild)`);
    expect(stdout).toMatch(/✓ cpu: matmul agrees exactly[\s\S]*✓ default device: cpu/);
  });

  it("NABLA_ADDON comes first, and a refused one is said before another is used", () => {
    cpSync(addonPath as string, spare);
    expect(doctor({ NABLA_ADDON: spare }).addon.path).toBe(spare);
    writeFileSync(prebuilt, whole);
    user.write("refused.cjs", `console.log(require("nablajs").tensor(1).device)`);
    const { stdout, stderr } = user.node(["refused.cjs"], { NABLA_ADDON: "/nowhere/nablajs.node" });
    expect(stdout).toBe("cpu\n");
    expect(stderr).toContain("NABLA_ADDON names /nowhere/nablajs.node, but there is no such file");
  });

  it("NABLA_NUM_THREADS and NABLA_ISA show, and a wrong NABLA_ISA is a reason", () => {
    writeFileSync(prebuilt, whole);
    const few = doctor({ NABLA_NUM_THREADS: "3", NABLA_ISA: "baseline" });
    expect(few.threads).toEqual({ count: 3, why: "asked for by NABLA_NUM_THREADS" });
    expect(few.isa).toEqual({ name: "baseline", why: "asked for by NABLA_ISA" });
    const wrong = doctor({ NABLA_ISA: "mmx" });
    expect(wrong.addon.attempts[0].reason).toMatch(/NABLA_ISA=mmx/);
    expect(wrong.defaultDevice).toMatchObject({ name: "js", works: true });
  });
});

/** Exports an `info()` that names version 999. */
const exportInfo = `
  napi_value info;
  napi_create_function(env, "info", NAPI_AUTO_LENGTH, get_info, NULL, &info);
  napi_set_named_property(env, exports, "info", info);`;

/** Compiles a tiny addon whose initialiser runs `body`. */
function compile(output: string, body: string): void {
  const source = join(user.folder, "fake.c");
  writeFileSync(
    source,
    `#include <node_api.h>
     static napi_value get_info(napi_env env, napi_callback_info call) {
       napi_value info, abi;
       (void)call;
       napi_create_object(env, &info);
       napi_create_int32(env, 999, &abi);
       napi_set_named_property(env, info, "abi", abi);
       return info;
     }
     NAPI_MODULE_INIT() { (void)get_info; ${body} return exports; }`,
  );
  const flags = process.platform === "darwin" ? ["-bundle", "-undefined", "dynamic_lookup"] : ["-shared", "-fPIC"];
  const include = join(root, "node_modules/node-api-headers/include");
  const { status, stderr } = spawnSync("cc", [...flags, `-I${include}`, source, "-o", output], { encoding: "utf8" });
  if (status !== 0) throw new Error(`cc: ${stderr}`);
}

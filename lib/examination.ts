// Facts about this machine, the binary that was loaded or refused, and whether each device computes: `nabla doctor`.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cpus, freemem, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { type Attempt, abi, type CudaAddon, type Loading, loadAddon, loadCuda } from "./device/addon.js";
import { cudaTrouble, defaultDeviceName, devices, getDevice } from "./device/registry.js";
import { memoryLimit } from "./graph/stream.js";
import { matmul } from "./ops/matmul.js";
import { builtin, packageRoot, version } from "./package.js";
import { tensor } from "./tensor/create.js";

export interface DeviceExamination {
  readonly name: string;
  readonly works: boolean;
  /** What the self test found. */
  readonly test: string;
  /** The device's own facts: instruction set, threads, path of the binary. */
  readonly facts: Readonly<Record<string, string | number>>;
  /** Operations without a kernel of their own here; they run through simpler ones. */
  readonly composed: readonly string[];
}

export interface Examination {
  readonly versions: { readonly nabla: string; readonly node: string; readonly nodeApi: string; readonly abi: number };
  readonly system: { readonly platform: string; readonly arch: string; readonly os: string; readonly libc: string };
  readonly cpu: { readonly model: string; readonly cores: number; readonly features: readonly string[] };
  readonly isa: { readonly name: string; readonly why: string };
  readonly threads: { readonly count: number; readonly why: string };
  /** In bytes. */
  readonly memory: {
    readonly machine: number;
    readonly free: number;
    /** The container's limit, if there is one. */
    readonly container: number | undefined;
    /** What tensors may take. */
    readonly tensors: number;
    /** What JavaScript objects may take. */
    readonly heap: number;
  };
  /** Whether and where the native addon was looked for. */
  readonly addon: {
    readonly path: string | undefined;
    readonly attempts: readonly (Attempt & { readonly remedy?: string })[];
    readonly note: string;
  };
  /** The same of the CUDA addon; `note` says what became of the GPUs. */
  readonly cuda: Examination["addon"];
  readonly devices: readonly DeviceExamination[];
  readonly defaultDevice: { readonly name: string; readonly works: boolean; readonly why: string };
  /** The environment variables that matter here and are set. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Looks at everything that decides how tensors are computed here. Nothing in it is private, so it fits in a bug report. */
export function examine(): Examination {
  const names = devices();
  const addon = examineAddon();
  const tested = names.map(examineDevice);
  const fastest = tested.find((d) => !isCuda(d.name)) as DeviceExamination; // without the GPUs: js is always there
  const container = process.constrainedMemory();
  return {
    versions: { nabla: version(), node: process.versions.node, nodeApi: process.versions.napi ?? "?", abi },
    system: {
      platform: process.platform,
      arch: process.arch,
      os: `${type()} ${release()}`,
      libc: libc(),
    },
    cpu: { model: cpus()[0]?.model.trim() || "unknown", cores: cpus().length, features: cpuFeatures() },
    isa: { name: String(fastest.facts.isa), why: whyIsa(fastest) },
    threads: { count: Number(fastest.facts.threads), why: whyThreads(fastest) },
    memory: {
      machine: totalmem(),
      free: freemem(),
      container: container && container < totalmem() ? container : undefined,
      tensors: memoryLimit(),
      heap: builtin<typeof import("node:v8")>("node:v8").getHeapStatistics().heap_size_limit,
    },
    addon,
    cuda: examineCuda(),
    devices: tested,
    defaultDevice: examineDefault(tested),
    environment: Object.fromEntries(
      Object.entries(process.env).filter(([name]) => /^(NABLA_|OMP_NUM_THREADS$|SLURM_CPUS_PER_TASK$)/.test(name)),
    ) as Record<string, string>,
  };
}

function examineDefault(tested: readonly DeviceExamination[]): Examination["defaultDevice"] {
  const name = defaultDeviceName();
  const asked = process.env.NABLA_DEVICE;
  const device = tested.find((d) => d.name === name);
  if (device) {
    const why = asked === name ? "asked for by NABLA_DEVICE" : "the fastest that works here";
    return { name, works: device.works, why };
  }
  try {
    getDevice(name);
    return { name, works: true, why: "asked for by NABLA_DEVICE" };
  } catch (error) {
    return { name, works: false, why: `${(error as Error).message}; NABLA_DEVICE asks for it` };
  }
}

function examineAddon(): Examination["addon"] {
  if (process.env.NABLA_DEVICE === "js") {
    return { path: undefined, attempts: [], note: "not looked for: NABLA_DEVICE=js" };
  }
  const { path, attempts } = loadAddon();
  return {
    path,
    attempts: attempts.map((attempt) => (attempt.reason ? { ...attempt, remedy: remedy(attempt) } : attempt)),
    note: path ? "loaded" : "none loaded: tensors are computed in plain JavaScript",
  };
}

const isCuda = (name: string): boolean => name.startsWith("cuda");

function examineCuda(): Examination["cuda"] {
  if (process.env.NABLA_DEVICE === "js") {
    return { path: undefined, attempts: [], note: "not looked for: NABLA_DEVICE=js" };
  }
  const { addon, path, attempts } = loadCuda();
  return {
    path,
    attempts: attempts.map((attempt) => (attempt.reason ? { ...attempt, remedy: cudaRemedy(attempt) } : attempt)),
    note: cudaNote(addon),
  };
}

function cudaNote(addon: Loading<CudaAddon>["addon"]): string {
  if (!addon) return "not there: the other devices do not need it";
  const probe = addon.probe();
  if (!probe.error) return `loaded; ${probe.gpus.length} GPU(s): ${probe.gpus.join(", ")}`;
  const remedy = probe.driver
    ? "install a newer NVIDIA driver"
    : "install the NVIDIA driver, if this machine has a GPU";
  return `loaded, but ${cudaTrouble(probe)}; remedy: ${remedy}`;
}

function cudaRemedy(attempt: Attempt): string {
  if (attempt.source === "NABLA_CUDA_ADDON")
    return "set the environment variable NABLA_CUDA_ADDON to a nablajs_cuda.node of this version, or unset it";
  if (!/no such file/.test(attempt.reason ?? "")) return remedy(attempt);
  return "for NVIDIA GPUs: in a clone of the repository, with nvcc on PATH: npm run build:cuda";
}

/** What a person can do about a binary that was refused. */
function remedy({ source, path, reason = "" }: Attempt): string {
  if (/NABLA_ISA/.test(reason)) return "unset the environment variable NABLA_ISA, or set it to one of those";
  if (source === "NABLA_ADDON")
    return "set the environment variable NABLA_ADDON to a nablajs.node of this version, or unset it";
  const root = packageRoot();
  const isClone = root !== undefined && existsSync(join(root, "binding.gyp"));
  const build = isClone
    ? `npm run ${source === "prebuild" ? "prebuild" : "build:native"}`
    : "in a clone of the repository: npm run build:native, then set NABLA_ADDON to its build/Release/nablajs.node";
  if (/no such file/.test(reason)) {
    if (isClone) return build;
    if (source === "build") return "none needed: only a clone of the repository has this file";
    const made = root ? prebuiltTargets(root) : [];
    return `this package has binaries for ${made.length ? made.join(", ") : "no platform"}; ${build}`;
  }
  if (/was built for|files?; /.test(reason)) {
    return "run npm install on this machine: node_modules was copied from another kind of machine";
  }
  if (/GLIBC|libstdc\+\+|musl|ld-linux/.test(reason))
    return `the binary needs another C library than this one; ${build}`;
  if (/EACCES|not permitted|failed to map/.test(reason))
    return `make ${path} readable, on a file system that is not mounted noexec`;
  return isClone ? build : "remove node_modules/nablajs and run npm install again";
}

function prebuiltTargets(root: string): string[] {
  try {
    return readdirSync(join(root, "prebuilds")).filter((name) =>
      existsSync(join(root, "prebuilds", name, "nablajs.node")),
    );
  } catch {
    return [];
  }
}

/** A product of small integers, exact in float32 whatever the order of summation. */
function examineDevice(name: string): DeviceExamination {
  const [m, k, n] = [67, 129, 45];
  const a = Float32Array.from({ length: m * k }, (_, i) => (i % 17) - 8);
  const b = Float32Array.from({ length: k * n }, (_, i) => (i % 13) - 6);
  const device = getDevice(name);
  const known = getDevice("js").ops;
  const about = { name, facts: device.describe(), composed: [...known.keys()].filter((op) => !device.ops.has(op)) };
  try {
    const started = performance.now();
    const product = matmul(
      tensor(a, { shape: [m, k], device: name }),
      tensor(b, { shape: [k, n], device: name }),
    ).dataSync();
    const time = (performance.now() - started).toFixed(1);
    let wrong = 0;
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
        if (product[i * n + j] !== sum) wrong++;
      }
    }
    const test = wrong ? `matmul is wrong in ${wrong} of ${m * n} elements` : `matmul agrees exactly (${time} ms)`;
    return { ...about, works: wrong === 0, test };
  } catch (error) {
    return { ...about, works: false, test: (error as Error).message };
  }
}

function whyIsa({ name, facts }: DeviceExamination): string {
  if (name === "js") return "the JS device runs what V8 compiles";
  if (process.env.NABLA_ISA === facts.isa) return "asked for by NABLA_ISA";
  return "the best that this CPU and system have kernels for";
}

function whyThreads({ name, facts }: DeviceExamination): string {
  if (name === "js") return "the JS device uses one";
  const { NABLA_NUM_THREADS, OMP_NUM_THREADS, SLURM_CPUS_PER_TASK } = process.env;
  const asked = Object.entries({ NABLA_NUM_THREADS, OMP_NUM_THREADS, SLURM_CPUS_PER_TASK });
  const source = asked.find(([, value]) => Number.parseInt(value ?? "", 10) > 0);
  if (source && Number.parseInt(source[1] as string, 10) === facts.threads) return `asked for by ${source[0]}`;
  return "the cores that this process may use (CPU affinity, container quota)";
}

function libc(): string {
  if (process.platform !== "linux") return "the system's";
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  report.excludeNetwork = true; // looking up host names takes seconds on some machines
  const { header } = report.getReport() as unknown as { header?: { glibcVersionRuntime?: string } };
  if (header?.glibcVersionRuntime) return `glibc ${header.glibcVersionRuntime}`;
  return existsSync("/etc/alpine-release") ? "musl" : "not glibc (musl?)";
}

/** The features that kernels could be chosen by, as Linux names them. */
function cpuFeatures(): string[] {
  const interesting =
    /^(sse4_2|avx|avx2|fma|f16c|bmi2|avx512(f|dq|bw|vl|_vnni|_bf16|_fp16)|avx_vnni|amx_(tile|bf16|int8)|asimd|asimdhp|asimddp|bf16|sve2?|i8mm)$/;
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
    return line ? line[1].split(/\s+/).filter((name) => interesting.test(name)) : [];
  } catch {
    return []; // not Linux
  }
}

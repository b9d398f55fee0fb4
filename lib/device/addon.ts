// Finds and loads the native addon, through `bindings`, and keeps the reason for every candidate that was refused.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { builtin, packageRoot } from "../package.js";
import { checkBinary } from "./binary.js";

/** What nablajs.node exports (docs/kernels.md, "The native interface"). */
export interface Addon {
  info(): AddonInfo;
  open(stream: Int32Array): void;
  flush(words: number): void;
  submit(words: number): void;
  read(slot: number, byteOffset: number, target: ArrayBufferView): void;
  fetch(words: number, slot: number, byteOffset: number, bytes: number): void;
  readAsync(slot: number, byteOffset: number, target: ArrayBufferView): Promise<void>;
  sync(): void;
  syncAsync(): Promise<void>;
  stage(source: ArrayBufferView): number;
  load(words: Int32Array): number;
  unload(id: number): void;
  track(owners: object[], slots: Int32Array): void;
  untrack(slots: Int32Array): void;
  sweep(): Int32Array;
  adjustMemory(delta: number): void;
  memory(): { inUse: number; pooled: number; peak: number };
  emptyCache(): void;
  setThreads(n: number): void;
  getThreads(): number;
}

export interface AddonInfo {
  readonly ops: readonly string[];
  readonly elementwise: readonly string[];
  readonly isa: string;
  readonly threads: number;
  readonly abi: number;
}

/** The version of the native interface that this code speaks; the addon's `info().abi` must be the same. */
export const abi = 2;

/** What nablajs_cuda.node exports: the GPUs, and the functions of `Addon` for each that is opened. */
export interface CudaAddon {
  readonly abi: number;
  probe(): CudaProbe;
  /** Opens a GPU for this thread; throws when it cannot be used. */
  device(index: number): Addon;
}

export interface CudaProbe {
  /** Why there is no GPU to use, in CUDA's words; empty when there is one. */
  readonly error: string;
  /** The versions as CUDA writes them, 13000 for 13.0; 0 without a driver. */
  readonly driver: number;
  readonly runtime: number;
  /** The GPUs' architectures, "sm_90". */
  readonly gpus: readonly string[];
}

/** One place where an addon was looked for. */
export interface Attempt {
  readonly source: "NABLA_ADDON" | "NABLA_CUDA_ADDON" | "prebuild" | "build" | "bundle";
  readonly path: string;
  /** Why it was refused; undefined for the one in use. */
  readonly reason?: string;
}

export interface Loading<T = Addon> {
  readonly addon: T | undefined;
  /** Path of the file that loaded. */
  readonly path: string | undefined;
  /** In the order in which they were tried, up to the one that loaded. */
  readonly attempts: readonly Attempt[];
}

const target = `${process.platform}-${process.arch}`;

/**
 * The prebuilt binaries by literal names, for bundlers, which see and copy what a literal `require` names. Used only
 * when the package's directory is not there to look in.
 */
function requirePrebuild(): unknown {
  if (typeof require !== "function") throw new Error("no require() here");
  try {
    if (target === "linux-x64") return require("nablajs/prebuilds/linux-x64/nablajs.node");
    if (target === "linux-arm64") return require("nablajs/prebuilds/linux-arm64/nablajs.node");
    if (target === "darwin-x64") return require("nablajs/prebuilds/darwin-x64/nablajs.node");
    if (target === "darwin-arm64") return require("nablajs/prebuilds/darwin-arm64/nablajs.node");
    if (target === "win32-x64") return require("nablajs/prebuilds/win32-x64/nablajs.node");
  } catch (error) {
    throw new Error(firstLine(error));
  }
  throw new Error(`no binary is made for ${target}`);
}

const firstLine = (error: unknown): string => String(error instanceof Error ? error.message : error).split("\n", 1)[0];

/** The exports of a loaded binary, if they are ours and of this version. */
function accept(exports: unknown): Addon {
  const addon = exports as Partial<Addon> | undefined;
  if (typeof addon?.info !== "function") throw new Error("it is not Nabla's addon: it exports no info()");
  const { abi: found } = addon.info();
  if (found !== abi) {
    throw new Error(`it is stale: it speaks version ${found} of the native interface, this package version ${abi}`);
  }
  return addon as Addon;
}

/** The same of the CUDA addon. */
function acceptCuda(exports: unknown): CudaAddon {
  const addon = exports as Partial<CudaAddon> | undefined;
  if (typeof addon?.probe !== "function") throw new Error("it is not Nabla's CUDA addon: it exports no probe()");
  if (addon.abi !== abi) {
    throw new Error(`it is stale: it speaks version ${addon.abi} of the native interface, this package version ${abi}`);
  }
  return addon as CudaAddon;
}

/** Looks for `name`.node where the environment variable says, among the prebuilt binaries and in the build. */
function load<T>(
  name: string,
  variable: "NABLA_ADDON" | "NABLA_CUDA_ADDON",
  accept: (exports: unknown) => T,
  bundled?: () => unknown,
): Loading<T> {
  const attempts: Attempt[] = [];
  const attempt = (source: Attempt["source"], path: string, get: () => unknown): T | undefined => {
    try {
      const addon = accept(get());
      attempts.push({ source, path });
      return addon;
    } catch (error) {
      attempts.push({ source, path, reason: firstLine(error) });
      return undefined;
    }
  };
  const file = (source: Attempt["source"], directory: string, steps: readonly string[]): T | undefined => {
    const path = join(directory, ...steps);
    return attempt(source, path, () => {
      const reason = path.endsWith(".node") ? checkBinary(path) : "its name must end in .node";
      if (reason) throw new Error(reason);
      const bindings = createRequire(import.meta.url)("bindings") as (options: object) => unknown;
      return bindings({ bindings: name, module_root: directory, try: [["module_root", ...steps]] });
    });
  };

  const override = process.env[variable];
  const root = packageRoot();
  const binary = `${name}.node`;
  const addon =
    (override ? file(variable, resolve(override), []) : undefined) ??
    (root
      ? (file("prebuild", root, ["prebuilds", target, binary]) ?? file("build", root, ["build", "Release", binary]))
      : bundled && attempt("bundle", `nablajs/prebuilds/${target}/${binary}`, bundled));
  return { addon, path: addon && attempts.at(-1)?.path, attempts };
}

let loading: Loading | undefined;

/** Loads the addon at the first call. */
export function loadAddon(): Loading {
  if (!loading) {
    loading = load("nablajs", "NABLA_ADDON", accept, requirePrebuild);
    const [first] = loading.attempts;
    if (loading.addon && first.source === "NABLA_ADDON" && first.reason) {
      warn(
        "NABLA_ADDON_REFUSED",
        `NABLA_ADDON names ${first.path}, but ${first.reason}; ${loading.path} is used instead`,
      );
    }
  }
  return loading;
}

let cudaLoading: Loading<CudaAddon> | undefined;

/** Loads the CUDA addon at the first call, which only a program that names the device makes. */
export function loadCuda(): Loading<CudaAddon> {
  cudaLoading ??= load("nablajs_cuda", "NABLA_CUDA_ADDON", acceptCuda);
  return cudaLoading;
}

/** Says that the addon is missing and JavaScript is used in its place. */
export function warnMissing(): void {
  warn(
    "NABLA_NO_ADDON",
    "the native addon did not load, so tensors are computed in plain JavaScript, which is slow; " +
      "run `npx nabla doctor` to see why and what to do",
  );
}

/** Warns once in a process. */
function warn(code: string, message: string): void {
  const { getEnvironmentData, setEnvironmentData } =
    builtin<typeof import("node:worker_threads")>("node:worker_threads");
  const key = `nablajs.${code}`;
  if (getEnvironmentData(key)) return;
  setEnvironmentData(key, true); // workers started from here on inherit it
  process.emitWarning(message, { type: "NablaWarning", code });
}

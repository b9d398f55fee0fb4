// The devices of this thread by name, and which one is the default.
import { DeviceError } from "../errors.js";
import { type CudaProbe, loadAddon, loadCuda, warnMissing } from "./addon.js";
import type { Device } from "./device.js";
import { JsDevice } from "./js/index.js";
import { NativeDevice } from "./native.js";

const instances = new Map<string, Device>();
let chosen: Device | undefined;

const isJsOnly = (): boolean => process.env.NABLA_DEVICE === "js";

/** Makes the device; throws a DeviceError that says why it is not to be had. */
function make(name: string): Device {
  if (name === "js") return new JsDevice();
  if (name === "cpu") {
    if (isJsOnly()) throw new DeviceError("device cpu: switched off by the environment variable NABLA_DEVICE=js");
    const { addon, path, attempts } = loadAddon();
    if (addon && path) return new NativeDevice(name, addon, path);
    const reasons = attempts.map(({ path, reason }) => `\n  ${path}: ${reason}`).join("");
    throw new DeviceError(
      `device cpu: the native addon did not load; use device "js", or run \`npx nabla doctor\` for the remedy${reasons}`,
    );
  }
  if (/^cuda(:\d+)?$/.test(name)) return makeCuda(name);
  throw new DeviceError(`unknown device ${JSON.stringify(name)}; the devices are "cpu", "js", "cuda" and "auto"`);
}

function makeCuda(name: string): Device {
  const refuse = (why: string, cause?: unknown): never => {
    const instead = loadAddon().addon ? '"cpu"' : '"js"';
    throw new DeviceError(`device ${name}: ${why}; use device ${instead}, or run \`npx nabla doctor\` for the remedy`, {
      cause,
    });
  };
  const { addon, path, attempts } = loadCuda();
  if (!addon || !path) {
    const reasons = attempts.map(({ path, reason }) => `${path}: ${reason}`).join("; ");
    return refuse(`this build of Nabla has no CUDA device that loads (${reasons})`);
  }
  const found = addon.probe();
  if (found.error) return refuse(cudaTrouble(found));
  const index = Number(name.split(":")[1] ?? 0);
  if (index >= found.gpus.length) return refuse(`there is no GPU ${index}; there are ${found.gpus.length}`);
  try {
    return new NativeDevice(name, addon.device(index), path);
  } catch (error) {
    return refuse((error as Error).message, error);
  }
}

/** 13000 as CUDA's "13.0". */
const cudaVersion = (version: number): string => `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;

/** Why no GPU can be used, with what CUDA and the driver say. */
export function cudaTrouble({ error, driver, runtime }: CudaProbe): string {
  const has = driver ? `the driver is for CUDA ${cudaVersion(driver)}` : "no NVIDIA driver is installed";
  return `no GPU can be used: ${error}; ${has}, Nabla's CUDA code needs one for ${cudaVersion(runtime)} or a newer one`;
}

/** True for the name of a device, also of one that is not to be had here. */
export const isDeviceName = (name: string): boolean => /^(auto|js|cpu|cuda(:\d+)?)$/.test(name);

/** The name behind "auto": what the environment asks for, else cpu, else js. */
function automaticName(): string {
  const asked = process.env.NABLA_DEVICE;
  if (asked && asked !== "auto") return asked;
  return loadAddon().addon ? "cpu" : "js";
}

/** The device of that name: "cpu", "js", "cuda", "cuda:1" or "auto". The same object at every call in one thread. */
export function getDevice(name: string): Device {
  if (name === "auto") {
    const found = automaticName();
    if (found === "js" && !isJsOnly()) warnMissing();
    return getDevice(found);
  }
  let device = instances.get(name);
  if (!device) {
    device = make(name);
    instances.set(name, device);
  }
  return device;
}

/** Names of the devices that can be used here, the fastest first. */
export function devices(): string[] {
  if (isJsOnly()) return ["js"];
  const probe = loadCuda().addon?.probe();
  const gpus = probe && !probe.error ? probe.gpus.map((_, i) => (i === 0 ? "cuda" : `cuda:${i}`)) : [];
  return [...gpus, ...(loadAddon().addon ? ["cpu", "js"] : ["js"])];
}

/** Where tensors are made when no device is named. */
export function defaultDevice(): Device {
  chosen ??= getDevice("auto");
  return chosen;
}

/** The default device's name, also when that device cannot be had. */
export const defaultDeviceName = (): string => chosen?.name ?? automaticName();

/** Sets where tensors are made when no device is named; tensors that exist stay where they are. */
export function setDefaultDevice(name: string): void {
  chosen = getDevice(name);
}

// One test body for all devices; an absent device is a visible skip.
import { describe } from "vitest";
import { getDevice } from "../lib/device/registry.js";

/**
 * Those that NABLA_TEST_DEVICES names with commas between; `cuda` is one where a GPU, or the shim, is. Where an instruction
 * set is asked for only that is new, which the JS device does not know of.
 */
export const allDevices = (process.env.NABLA_TEST_DEVICES ?? (process.env.NABLA_ISA ? "cpu" : "js,cpu")).split(",");

/** Why a device cannot be tested here, or null. NABLA_DEVICE=js restricts the tests to that device. */
export function absent(device: string): string | null {
  try {
    getDevice(device);
    return null;
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
}

/** The name of a test or group, and why it is skipped, where it is. */
export const titled = (name: string, reason: string | null): string => (reason === null ? name : `${name} [${reason}]`);

/** Runs the same tests on every device. */
export function onEveryDevice(name: string, body: (device: string) => void): void {
  for (const device of allDevices) {
    const reason = absent(device);
    describe.skipIf(reason !== null)(titled(`${name} [${device}]`, reason), () => body(device));
  }
}

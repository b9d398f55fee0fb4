// A buffer of a device as TypeScript sees it: its size and who still needs it.
import type { Device, Owner } from "../device/device.js";

export class Storage implements Owner {
  slot = -1;
  memory: unknown = undefined;
  /** False once the buffer was freed. */
  alive = true;
  /** Tensor handles and saved values that are not yet disposed; the buffer is freed when the last one goes. */
  references = 0;
  /** Counts in-place writes, so that backward notices that a saved value was overwritten. */
  version = 0;
  /** Name of the last in-place operation, for that error. */
  writer = "";

  constructor(
    readonly device: Device,
    readonly bytes: number,
    /** The capture that this symbolic value belongs to; null for a real buffer. */
    readonly capture: object | null = null,
  ) {}
}

// Pace: how far the host may run ahead of the device. A wait costs about 50 µs, so small steps are queued together; the
// event loop must turn, so no more than some milliseconds of work are.
import type { Device } from "../device/device.js";
import { streamOf } from "../graph/stream.js";

/** Work that is queued before the loop waits for it, in milliseconds. */
const BURST_MS = 5;

export class Pace {
  private queued = 0;
  /** Steps that take about BURST_MS. */
  private burst = 1;
  private since = performance.now();

  constructor(private readonly device: Device) {}

  /** Counts a step that was queued; a promise when it is time to wait. */
  step(): Promise<void> | undefined {
    return ++this.queued < this.burst ? undefined : this.rest();
  }

  /** True when a step is so short that waiting for its values on this thread is cheaper than waking another. */
  get short(): boolean {
    return this.burst >= 4;
  }

  /** Waits until everything queued is done, and lets the event loop turn. */
  async rest(): Promise<void> {
    const { queued } = this;
    await streamOf(this.device).synchronize();
    if (queued > 0) {
      const each = (performance.now() - this.since) / queued;
      this.burst = Math.max(1, Math.min(2 * this.burst, Math.floor(BURST_MS / each), 4096));
    }
    await new Promise(setImmediate);
    this.queued = 0;
    this.since = performance.now();
  }
}

// Progress: what the loop shows of itself. One line an epoch; on a terminal a moving one besides.
import { Callback, type Logs } from "./callback.js";

/** Time between two looks at a moving line, in milliseconds: each reads the values from the device. */
const REFRESH_MS = 150;

/** A number as Keras shows it. */
export const show = (value: number): string =>
  Number.isInteger(value) || Math.abs(value) >= 1e-3 || !Number.isFinite(value)
    ? String(Number.isInteger(value) ? value : value.toFixed(4))
    : value.toExponential(4);

const list = (logs: Logs): string =>
  Object.entries(logs)
    .map(([name, value]) => ` - ${name}: ${show(value)}`)
    .join("");

interface Bar {
  start(total: number, value: number, payload: { logs: string; epoch: string }): void;
  update(value: number, payload: { logs: string }): void;
  stop(): void;
}

/** The progress display of `fit`. */
export class Progress extends Callback {
  private bar: Bar | null = null;
  private make: (() => Bar) | null = null;
  private begun = 0;
  private drawn = 0;
  private fitting = false;

  /** @param verbose 2: a line an epoch; 1: a moving line too */
  constructor(private readonly verbose: 1 | 2 = 2) {
    super();
  }

  override async onTrainBegin(): Promise<void> {
    this.fitting = true;
    if (this.verbose !== 1) return;
    const { SingleBar } = (await import("cli-progress")).default;
    const format = "{epoch} [{bar}] {value}/{total} - {eta} s left{logs}";
    const options = {
      format,
      hideCursor: true,
      clearOnComplete: true,
      barsize: 24,
      linewrap: false,
      stopOnComplete: false,
    };
    this.make = () => new SingleBar({ ...options, stream: process.stdout, forceRedraw: true, gracefulExit: false });
  }

  private title(epoch: number): string {
    const { maxEpochs } = this.loop;
    return Number.isFinite(maxEpochs) ? `Epoch ${epoch + 1}/${maxEpochs}` : `Epoch ${epoch + 1}`;
  }

  override onEpochBegin(epoch: number): void {
    this.begun = performance.now();
    this.drawn = this.begun;
    if (!this.make) return;
    this.bar = this.make();
    this.bar.start(this.loop.batchesPerEpoch ?? 0, 0, { epoch: this.title(epoch), logs: "" });
  }

  override onTrainBatchEnd(batch: number): void | Promise<void> {
    if (!this.bar) return;
    const now = performance.now();
    if (now - this.drawn < REFRESH_MS) return;
    this.drawn = now;
    return this.draw(batch);
  }

  private async draw(batch: number): Promise<void> {
    const logs = await this.loop.epochLogs();
    const shown = this.loop.shownLogs();
    const some = Object.fromEntries(Object.entries(logs).filter(([name]) => shown.includes(name)));
    this.bar?.update(batch + 1, { logs: list(some) });
  }

  override onEpochEnd(epoch: number, logs: Logs): void {
    this.close();
    const seconds = (performance.now() - this.begun) / 1000;
    console.log(`${this.title(epoch)} - ${seconds.toFixed(seconds < 10 ? 2 : 0)} s${list(logs)}`);
  }

  override onTestEnd(logs: Logs): void {
    if (!this.fitting) console.log(`Evaluation${list(logs)}`);
  }

  override onTrainEnd(): void {
    this.close();
    this.fitting = false;
    const { stopReason } = this.loop;
    if (stopReason !== undefined) console.log(`Training ended: ${stopReason}`);
  }

  override onException(): void {
    this.close();
    this.fitting = false;
  }

  private close(): void {
    this.bar?.stop();
    this.bar = null;
  }
}

// Ledger: the values that a module logs, gathered on the device over an epoch.
import { describe } from "../check.js";
import { CaptureError, ShapeError, ValueError } from "../errors.js";
import { everyStep, uncaptured } from "../graph/capture.js";
import { modes, noGrad } from "../graph/modes.js";
import type { Saveable } from "../io/checkpoint.js";
import { Metric } from "../metrics/metric.js";
import { fill_ } from "../ops/convert.js";
import { add_, maximum, minimum, mul } from "../ops/elementwise.js";
import { reshape } from "../ops/movement.js";
import { cast, copy_ } from "../ops/pointwise.js";
import { full } from "../tensor/create.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import type { Logs } from "./callback.js";
import type { LogOptions, LogSink } from "./module.js";

type Reduce = NonNullable<LogOptions["reduce"]>;
const empty: Record<Reduce, number> = {
  mean: 0,
  sum: 0,
  min: Number.POSITIVE_INFINITY,
  max: Number.NEGATIVE_INFINITY,
};

/** One name. */
class Entry {
  /** Over the epoch, float64: the weighted sum, or the least or largest value. On the device when tensors are logged. */
  total: Tensor | number;
  /** The latest value. */
  last: Tensor | number = Number.NaN;
  weight = 0;
  /** Number of the batch in which it was logged last. */
  batch = -1;

  constructor(
    readonly options: Required<Omit<LogOptions, "batchSize">>,
    like: Tensor | null,
  ) {
    const start = empty[options.reduce];
    this.total = like ? uncaptured(() => full([], start, { dtype: "float64", device: like.device })) : start;
    if (like) this.last = uncaptured(() => full([], Number.NaN, { dtype: "float64", device: like.device }));
  }

  reset(): void {
    if (this.total instanceof Tensor) fill_(this.total, empty[this.options.reduce]);
    else this.total = empty[this.options.reduce];
    this.weight = 0;
  }
}

/** Adds up in place what is logged, so that a recorded step does it without any further call. */
export class Ledger implements LogSink {
  private readonly entries = new Map<string, Entry>();
  private readonly metrics = new Map<string, { metric: Metric<unknown>; options: LogOptions }>();
  /** Batches so far in the epoch. */
  private batch = 0;
  /** Rows of the present batch. */
  private rows = 1;

  /** @param onStep whether the values of batches are logged by default */
  constructor(private readonly onStep: boolean) {}

  /** A batch begins. */
  begin(rows: number): void {
    this.batch++;
    this.rows = rows;
  }

  /** Forgets the epoch. */
  reset(): void {
    this.batch = 0;
    for (const entry of this.entries.values()) entry.reset();
    for (const { metric } of this.metrics.values()) metric.reset();
  }

  log(name: string, value: Tensor | number | Metric<unknown>, options: LogOptions): void {
    if (typeof name !== "string" || name === "") throw new ValueError(`log: a name is needed, got ${describe(name)}`);
    const { onStep = this.onStep, onEpoch = true, progBar = false, reduce = "mean", batchSize = this.rows } = options;
    if (value instanceof Metric) {
      this.metrics.set(name, { metric: value, options: { onStep, onEpoch, progBar } });
      return;
    }
    if (!(reduce in empty)) {
      throw new ValueError(`log: reduce is "mean", "sum", "min" or "max", got ${describe(reduce)}`);
    }
    if (typeof value === "number") {
      if (modes.capture) {
        throw new CaptureError(
          `log: ${name} is a plain number, which a recorded step would repeat for ever; log a tensor, or log it in a hook`,
        );
      }
    } else if (!(value instanceof Tensor)) {
      throw new ValueError(`log: ${name} must be a number, a tensor or a Metric, got ${describe(value)}`);
    } else if (value.numel !== 1) {
      throw new ShapeError(
        `log: ${name} must be one number, got a tensor of shape ${show(value.shape)}; take its mean()`,
      );
    }
    const tensor = value instanceof Tensor ? value : null;
    let entry = this.entries.get(name);
    if (!entry || entry.total instanceof Tensor !== (tensor !== null)) {
      entry = new Entry({ onStep, onEpoch, progBar, reduce }, tensor);
      this.entries.set(name, entry);
    }
    const to = entry;
    const weight = reduce === "mean" ? batchSize : 1;
    everyStep(() => {
      to.weight += weight;
      to.batch = this.batch;
    });
    if (tensor) noGrad(() => addTensor(to, tensor, weight));
    else addNumber(to, value as number, weight);
  }

  /** The name of a Metric that another ledger has, too. */
  shares(other: Ledger): string | undefined {
    const theirs = new Set([...other.metrics.values()].map(({ metric }) => metric));
    return [...this.metrics].find(([, { metric }]) => theirs.has(metric))?.[0];
  }

  /** Values of the latest batch, those of metrics over the epoch so far. Waits for the device only where `wait` says so. */
  async latest(wait: boolean): Promise<Logs> {
    const logs: Logs = {};
    for (const [name, entry] of this.entries) {
      if (entry.options.onStep && entry.batch === this.batch) logs[name] = await read(entry.last, wait);
    }
    for (const [name, { metric, options }] of this.metrics) if (options.onStep) await this.compute(name, metric, logs);
    return logs;
  }

  /** Values over the epoch so far. */
  async epoch(): Promise<Logs> {
    const logs: Logs = {};
    for (const [name, entry] of this.entries) {
      if (!entry.options.onEpoch || entry.weight === 0) continue;
      const total = await read(entry.total, true);
      logs[name] = entry.options.reduce === "mean" ? total / entry.weight : total;
    }
    for (const [name, { metric, options }] of this.metrics) {
      if (options.onEpoch) await this.compute(name, metric, logs);
    }
    return logs;
  }

  /** Metrics that are no numbers, such as a confusion matrix, are for whoever made them. */
  private async compute(name: string, metric: Metric<unknown>, logs: Logs): Promise<void> {
    const value = await metric.compute();
    if (typeof value === "number") logs[name] = value;
  }

  /** Names for the progress display; all where none was chosen. */
  shown(): string[] {
    const all = [...this.entries].map(([name, { options }]) => ({ name, options }));
    const rows = [...all, ...[...this.metrics].map(([name, { options }]) => ({ name, options }))];
    return (rows.some(({ options }) => options.progBar) ? rows.filter(({ options }) => options.progBar) : rows).map(
      ({ name }) => name,
    );
  }

  stateDict(): Saveable {
    const entries = [...this.entries].map(([name, { options, total, last, weight, batch }]) => {
      return { name, options, total, last, weight, batch };
    });
    return { batch: this.batch, entries } as Saveable;
  }

  /** Continues in the middle of an epoch. */
  loadStateDict(state: Saveable, device: string): void {
    const { batch, entries } = state as unknown as { batch: number; entries: (Entry & { name: string })[] };
    this.batch = batch;
    for (const { name, options, total, last, weight, batch } of entries) {
      let entry = this.entries.get(name);
      if (!entry) {
        entry = new Entry(options, total instanceof Tensor ? full([], 0, { device }) : null);
        this.entries.set(name, entry);
      }
      if (entry.total instanceof Tensor && total instanceof Tensor) {
        copy_(entry.total, total.to(device));
        copy_(entry.last as Tensor, (last as Tensor).to(device));
      } else Object.assign(entry, { total, last });
      Object.assign(entry, { weight, batch });
    }
  }
}

function addTensor(entry: Entry, value: Tensor, weight: number): void {
  const wide = reshape(cast(value.detach(), "float64"), []);
  const total = entry.total as Tensor;
  copy_(entry.last as Tensor, wide);
  const { reduce } = entry.options;
  if (reduce === "mean") add_(total, mul(wide, weight));
  else if (reduce === "sum") add_(total, wide);
  else copy_(total, (reduce === "min" ? minimum : maximum)(total, wide));
}

function addNumber(entry: Entry, value: number, weight: number): void {
  const total = entry.total as number;
  entry.last = value;
  const { reduce } = entry.options;
  if (reduce === "mean") entry.total = total + value * weight;
  else if (reduce === "sum") entry.total = total + value;
  else entry.total = reduce === "min" ? Math.min(total, value) : Math.max(total, value);
}

async function read(value: Tensor | number, wait: boolean): Promise<number> {
  if (!(value instanceof Tensor)) return value;
  if (!wait) return value.item();
  return Number((await value.data())[0]);
}

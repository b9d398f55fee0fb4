// A training loop by hand, in which callbacks are tested: it does what they ask for and nothing else.
import {
  type Callback,
  getRngState,
  History,
  type Logs,
  type Loop,
  type nn,
  type optim,
  setRngState,
} from "../../lib/index.js";
import type { Saveable } from "../../lib/io/checkpoint.js";

export interface Plan {
  model: nn.Module;
  optimizer: optim.SGD;
  callbacks: readonly Callback[];
  maxEpochs: number;
  batches?: number;
  directory?: string;
  params?: Record<string, unknown>;
  /** One optimizer step; gives the loss. */
  step?: (batch: number, epoch: number) => number;
  /** Results of the epoch besides the mean loss; those with `val_` are taken between the hooks of the test. */
  results?: (epoch: number) => Logs;
  /** Throws here, as a crash would. */
  crashAfter?: number;
}

export class HandLoop implements Loop {
  readonly schedulers: optim.LRScheduler[] = [];
  readonly maxSteps = Number.POSITIVE_INFINITY;
  readonly history = new History();
  readonly reasons: string[] = [];
  /** The rate that each epoch was trained with. */
  readonly rates: number[] = [];
  currentEpoch = 0;
  globalStep = 0;
  /** 1 where the epoch is complete, but the next one has not begun. */
  private ended = 0;

  constructor(private readonly plan: Plan) {}

  get model() {
    return this.plan.model;
  }
  get optimizers() {
    return [this.plan.optimizer];
  }
  get maxEpochs() {
    return this.plan.maxEpochs;
  }
  get batchesPerEpoch() {
    return this.plan.batches ?? 1;
  }
  get params() {
    return this.plan.params ?? {};
  }
  get directory() {
    return this.plan.directory;
  }

  get validates() {
    return this.plan.results !== undefined;
  }
  get stopReason() {
    return this.reasons[0];
  }
  readonly interrupted = false;
  private loss = Number.NaN;

  async batchLogs() {
    return { loss: this.loss };
  }
  async epochLogs() {
    return {};
  }
  shownLogs() {
    return [];
  }
  interrupt(): void {
    throw new Error("not here");
  }
  stop(reason: string): void {
    this.reasons.push(reason);
  }

  async run(): Promise<this> {
    const { plan } = this;
    const callbacks = [...plan.callbacks].sort((a, b) => Number(a.last) - Number(b.last));
    for (const c of callbacks) c.loop = this;
    const all = async (call: (c: Callback) => unknown) => {
      for (const c of callbacks) await call(c);
    };
    try {
      await all((c) => c.onTrainBegin({}));
      for (let epoch = this.currentEpoch; epoch < plan.maxEpochs && this.reasons.length === 0; epoch++) {
        if (epoch === plan.crashAfter) throw new Error("crash");
        await all((c) => c.onEpochBegin(epoch, {}));
        let total = 0;
        let done = 0;
        for (; done < this.batchesPerEpoch && this.reasons.length === 0; done++) {
          await all((c) => c.onTrainBatchBegin(done));
          if (done === 0) this.rates.push(plan.optimizer.paramGroups[0].lr);
          const loss = plan.step?.(done, epoch) ?? 1 / (1 + epoch);
          this.loss = loss;
          total += loss;
          this.globalStep++;
          await all((c) => c.onTrainBatchEnd(done, { loss }));
        }
        const logs: Logs = { loss: total / done };
        await all((c) => c.onTestBegin({}));
        Object.assign(logs, plan.results?.(epoch));
        await all((c) => c.onTestEnd(logs));
        this.history.push(epoch, logs);
        this.ended = 1;
        await all((c) => c.onEpochEnd(epoch, logs));
        this.currentEpoch = epoch + 1;
        this.ended = 0;
      }
      await all((c) => c.onTrainEnd({}));
    } catch (error) {
      await all((c) => c.onException(error));
      throw error;
    }
    return this;
  }

  stateDict(): Saveable {
    const { plan, currentEpoch, globalStep } = this;
    return {
      model: plan.model.stateDict(),
      optimizer: plan.optimizer.stateDict() as unknown as Saveable,
      callbacks: plan.callbacks.map((c) => c.stateDict()),
      rng: getRngState() as unknown as Saveable,
      history: this.history.stateDict(),
      currentEpoch: currentEpoch + this.ended,
      globalStep,
    };
  }

  loadStateDict(state: Saveable): void {
    // biome-ignore lint/suspicious/noExplicitAny: what stateDict gave
    const s = state as any;
    const { plan } = this;
    plan.model.loadStateDict(s.model);
    plan.optimizer.loadStateDict(s.optimizer);
    plan.callbacks.forEach((c, i) => {
      if (s.callbacks[i] !== null) c.loadStateDict(s.callbacks[i]);
    });
    setRngState(s.rng);
    this.history.loadStateDict(s.history);
    this.currentEpoch = s.currentEpoch;
    this.globalStep = s.globalStep;
  }
}

// Trainer: the training loop, and those of validation, testing and prediction.
import { basename } from "node:path";
import { describe } from "../check.js";
import { getDevice } from "../device/registry.js";
import { ValueError } from "../errors.js";
import type { Saveable } from "../io/checkpoint.js";
import type { Module } from "../nn/module.js";
import { ReduceLROnPlateau } from "../optim/scheduler.js";
import { isFloat } from "../tensor/dtype.js";
import { manualSeed } from "../tensor/random.js";
import { Callback, type Hooked, type Logs, type Loop } from "./callback.js";
import { JsonlLogger } from "./callbacks/logs.js";
import { History } from "./history.js";
import { Ledger } from "./ledger.js";
import { type AnyOptimizer, type Batch, type Scheduler, type Stage, type StepOutput, TrainModule } from "./module.js";
import { limited, type Settings, settingsOf, type TrainerOptions } from "./options.js";
import { Pace } from "./pace.js";
import { type Plan, planOf } from "./plan.js";
import { mixed, mixedResult } from "./precision.js";
import { Progress } from "./progress.js";
import { describeRun, writeRecord } from "./record.js";
import { reportRun, type Samples } from "./report.js";
import { load, type Parts, restore, snapshot } from "./resume.js";
import {
  type Evaluation,
  evaluationHooks,
  evaluationMode,
  evaluationOf,
  Session,
  sessions,
  withoutGrad,
} from "./session.js";
import { arePlain, type BatchSource, placeBatch, rowsIn, Source } from "./sources.js";
import { TrainStep } from "./step.js";

/** Steps between two lines of `log.jsonl`, as in Lightning. */
const STEPS_A_LINE = 50;

/**
 * Trains a `TrainModule`, in the style of PyTorch Lightning. Keras's `model.fit` runs the same loop.
 *
 * The loop queues steps and waits for the device every few milliseconds, so that the event loop stays free. The order of
 * all hooks is in docs/training.md.
 *
 * @example
 * const trainer = new Trainer({ maxEpochs: 10, gradientClipVal: 1, seed: 1 });
 * const history = await trainer.fit(new Classifier(), trainLoader, valLoader);
 * const logs = await trainer.test(module, testLoader);
 */
export class Trainer implements Loop {
  readonly settings: Settings;
  readonly callbacks: readonly Callback[];
  readonly history = new History();
  optimizers: readonly AnyOptimizer[] = [];
  schedulers: readonly Scheduler[] = [];
  params: Readonly<Record<string, unknown>> = {};
  currentEpoch = 0;
  globalStep = 0;
  /** Number of the present batch in its epoch. */
  batchIdx = 0;
  batchesPerEpoch: number | undefined = undefined;
  /** Why training ended before its time; undefined where it did not. */
  stopReason: string | undefined = undefined;
  /** Why the training step is not recorded; undefined where it is. */
  eagerReason: string | undefined = undefined;

  private module: TrainModule | null = null;
  private plans: readonly Plan[] = [];
  private session: Session | null = null;
  private source: Source | null = null;
  private validationSource: Source | null = null;
  /** The latest validation's values. */
  private validation: Logs = {};
  /** Batches of the present epoch that are done. */
  private done = 0;
  /** The epoch is complete but for its schedules. */
  private ended = false;
  /** Training was left as it was, to be continued. */
  interrupted = false;
  /** The data of `fit` include some for validation. */
  validates = false;
  /** The first batch of a `fit` is looked at before anything is trained. */
  private firstBatch = true;
  private pace: Pace;
  private started = 0;
  /** When `fit` began. */
  startedAt = new Date();
  /** State to continue from, for when the module is there. */
  private pending: Saveable = undefined;

  constructor(options: TrainerOptions = {}) {
    this.settings = settingsOf(options);
    const { callbacks, verbose } = this.settings;
    const own = verbose > 0 && !callbacks.some((c) => c instanceof Progress) ? [new Progress(verbose as 1 | 2)] : [];
    // Those that save the state of the others come last.
    const all = [...own, ...callbacks];
    if (this.settings.logs && !callbacks.some((c) => c instanceof JsonlLogger)) {
      all.push(new JsonlLogger({ everyNTrainSteps: STEPS_A_LINE }));
    }
    this.callbacks = all.sort((a, b) => Number(a.last) - Number(b.last));
    for (const c of this.callbacks) c.loop = this;
    this.pace = new Pace(getDevice(this.settings.device));
  }

  get model(): Module {
    if (this.module) return this.module.subject();
    throw new ValueError("Trainer: there is no model yet; fit, validate, test and predict take one");
  }

  get maxEpochs(): number {
    return this.settings.maxEpochs;
  }

  get maxSteps(): number {
    return this.settings.maxSteps;
  }

  get directory(): string | undefined {
    return this.settings.directory;
  }

  /** Name of the run. */
  get name(): string {
    const { name, directory } = this.settings;
    return name ?? (directory === undefined ? this.model.constructor.name : basename(directory));
  }

  /**
   * Ends training after the present batch. An epoch that is under way ends there: it is validated (unless `valCheckInterval`
   * says when) and reported.
   */
  stop(reason: string): void {
    this.stopReason ??= reason;
  }

  /**
   * Leaves training after the present batch as it is, in the middle of an epoch perhaps: `stateDict` then has all that a
   * continued run needs, and `fit` with the same module goes on.
   */
  interrupt(reason = "interrupted"): void {
    this.stopReason ??= reason;
    this.interrupted = true;
  }

  /** Values of the latest training batch, read from the device. Those of metrics are over the epoch so far. */
  batchLogs(): Promise<Logs> {
    return this.ledger.latest(!this.pace.short);
  }

  /** Values of the epoch so far, read from the device. */
  epochLogs(): Promise<Logs> {
    return this.ledger.epoch();
  }

  /** Names of the values that a progress display shows; all where a module chose none. */
  shownLogs(): string[] {
    return this.ledger.shown();
  }

  /**
   * Trains. With a module that this Trainer trained before, goes on where it was.
   *
   * @param train batches: a DataLoader, an iterable of batches (also an asynchronous one), or a function that gives one
   * @returns the curves
   */
  async fit(module: TrainModule, train: BatchSource, validation?: BatchSource): Promise<History> {
    const { settings } = this;
    const source = new Source(train, "fit");
    const val = validation === undefined || validation === null ? null : new Source(validation, "fit: validation");
    const fresh = this.take(module);
    this.source = source;
    this.validationSource = val;
    this.stopReason = undefined;
    this.interrupted = false;
    this.validates = val !== null;
    this.firstBatch = true;
    this.startedAt = new Date();
    this.batchesPerEpoch = finite(limited(settings.limits.train, source.length));
    return this.guarded(module, "fit", async () => {
      if (fresh) await this.begin(module);
      this.params = describeRun(this);
      if (fresh && settings.resumeFrom !== undefined) this.loadStateDict(await load(settings.resumeFrom));
      if (this.pending !== undefined) this.loadStateDict(this.pending);
      await module.onFitStart();
      module.subject().train();
      if (val && settings.numSanityValSteps > 0 && this.globalStep === 0) {
        await module.onSanityCheckStart();
        await this.evaluate("sanity", module, val, settings.numSanityValSteps);
        await module.onSanityCheckEnd();
      }
      if (settings.directory !== undefined) await writeRecord(this, { running: true });
      this.started = performance.now();
      await this.call("onTrainBegin", {});
      await module.onTrainStart();
      await this.epochs(module, source, val);
      await this.pace.rest();
      await module.onTrainEnd();
      await this.call("onTrainEnd", this.validation);
      await module.onFitEnd();
      if (settings.directory !== undefined) {
        await writeRecord(this, { running: false });
        if (settings.report && !this.interrupted) await this.report(module, val, settings.directory);
      }
      return this.history;
    });
  }

  private async report(module: TrainModule, validation: Source | null, directory: string): Promise<void> {
    const samples: Samples[] = [];
    if (validation) {
      const most = limited(this.settings.limits.validate, validation.length);
      await this.eachBatch(module, validation, most, (batch) => {
        const found = module.samplesOf(batch);
        if (found) samples.push(found);
      });
    }
    const told = await reportRun(module, directory, samples);
    if (this.settings.verbose > 0) console.log(told);
  }

  /** @internal One update with one batch; gives what it logs. */
  async trainBatch(module: TrainModule, batch: Batch): Promise<Logs> {
    const fresh = this.take(module);
    if (fresh) await this.begin(module);
    const session = this.session as Session;
    const { step, training } = session;
    module.subject().train();
    module.sink = training;
    training.reset();
    training.begin(rowsIn(batch));
    try {
      if (!session.looked) {
        await module.onFirstBatch(batch);
        session.looked = true;
      }
      await step.run(batch, true, 0);
      this.globalStep++;
      return await training.epoch();
    } finally {
      module.sink = null;
    }
  }

  /** Runs the validation step over data; gives what it logs. */
  async validate(module: TrainModule, data: BatchSource): Promise<Logs> {
    return this.evaluateAlone(module, data, "validate");
  }

  /** Runs the test step over data; gives what it logs. */
  async test(module: TrainModule, data: BatchSource): Promise<Logs> {
    return this.evaluateAlone(module, data, "test");
  }

  private async evaluateAlone(module: TrainModule, data: BatchSource, stage: "validate" | "test"): Promise<Logs> {
    const source = new Source(data, stage);
    this.take(module);
    return this.guarded(module, stage, async () => {
      await module.setup(stage);
      this.place(module);
      return this.evaluate(stage, module, source, limited(this.settings.limits[stage], source.length));
    });
  }

  /** Runs the prediction step over data; gives what it returns for each batch. */
  async predict(module: TrainModule, data: BatchSource): Promise<unknown[]> {
    const source = new Source(data, "predict");
    this.take(module);
    return this.guarded(module, "predict", async () => {
      await module.setup("predict");
      this.place(module);
      const most = limited(this.settings.limits.predict, source.length);
      const results: unknown[] = [];
      const back = evaluationMode(module);
      const { step } = evaluationOf(module, "predict", this.settings.compile);
      try {
        await this.call("onPredictBegin", {});
        await module.onPredictStart();
        await module.onPredictEpochStart();
        await this.eachBatch(module, source, most, async (batch, i) => {
          await this.call("onPredictBatchBegin", i);
          await module.onPredictBatchStart(batch, i);
          const run = (): unknown => (step ? step.call(batch) : module.predictStep(batch, i));
          const output = await withoutGrad(() => mixedResult(this.settings.half, run));
          results.push(output);
          await module.onPredictBatchEnd(output, batch, i);
          await this.call("onPredictBatchEnd", i, {});
        });
        await module.onPredictEpochEnd();
        await module.onPredictEnd();
        await this.call("onPredictEnd", {});
      } finally {
        back();
      }
      return results;
    });
  }

  /** The state of everything: model, optimizers, schedules, callbacks, random numbers, position in the data, counters. */
  stateDict(): Saveable {
    return snapshot(this, {
      ...this.parts(),
      position: { epoch: this.currentEpoch, done: this.done, ended: this.ended, globalStep: this.globalStep },
      validation: this.validation,
    });
  }

  /** Continues from what `stateDict` gave; before `fit`, takes effect there. */
  loadStateDict(state: Saveable): void {
    if (!this.module || !this.session) {
      this.pending = state;
      return;
    }
    this.pending = undefined;
    const { position, validation } = restore(this, state, this.parts());
    this.currentEpoch = position.epoch;
    this.done = position.done;
    this.ended = position.ended;
    this.globalStep = position.globalStep;
    this.validation = validation;
  }

  private parts(): Parts {
    const { module, plans, session, source, validationSource } = this;
    if (!module || !session) throw new ValueError("Trainer: stateDict is of a run; call it during fit or after it");
    return { module, plans, step: session.step, source, validationSource, training: session.training };
  }

  // ---- the loop

  private async epochs(module: TrainModule, source: Source, val: Source | null): Promise<void> {
    for (;;) {
      if (this.ended) {
        const last = this.history.epoch.length - 1;
        const logs = Object.fromEntries(Object.entries(this.history.history).map(([k, v]) => [k, v[last]]));
        this.schedule("epoch", this.currentEpoch + 1, logs);
        this.currentEpoch++;
        this.done = 0;
        this.ended = false;
      }
      if (this.isOver()) return;
      await this.epoch(module, source, val);
      if (!this.ended) return;
    }
  }

  private isOver(): boolean {
    if (this.stopReason === undefined) {
      if (this.globalStep >= this.maxSteps) this.stop(`maxSteps (${this.maxSteps}) reached`);
      else if ((performance.now() - this.started) / 1000 >= this.settings.maxSeconds) this.stop("maxTime reached");
    }
    return this.stopReason !== undefined || this.currentEpoch >= this.maxEpochs;
  }

  private async epoch(module: TrainModule, source: Source, val: Source | null): Promise<void> {
    const { settings } = this;
    const { step, training } = this.session as Session;
    const epoch = this.currentEpoch;
    const most = limited(settings.limits.train, source.length);
    const every = settings.valCheckInterval;
    const interval = every === undefined ? most : every < 1 ? Math.max(1, limited(every, finite(most))) : every;
    const validated = val !== null && (epoch + 1) % settings.checkValEveryNEpoch === 0;
    if (this.done === 0) {
      training.reset();
      this.validation = {};
    }
    module.sink = training;
    await this.call("onEpochBegin", epoch, {});
    await module.onTrainEpochStart();
    const [begins, ends] = [this.overriding("onTrainBatchBegin"), this.overriding("onTrainBatchEnd")];
    const logged = ends.some((c) => c.onTrainBatchEnd.length > 1);
    const hooked = {
      start: module.onTrainBatchStart !== TrainModule.prototype.onTrainBatchStart,
      end: module.onTrainBatchEnd !== TrainModule.prototype.onTrainBatchEnd,
    };
    const stepwise = this.plans.some((p) => p.schedule?.interval === "step");
    const batches = await source.epoch(this.done);
    // Batches need not exist for themselves where nobody looks at them.
    const asIs = module.pureEvaluation || module.onBeforeBatchTransfer === TrainModule.prototype.onBeforeBatchTransfer;
    const direct = asIs && !hooked.start && !hooked.end && arePlain(batches.rows, settings.device, settings.dtype);
    const rows = direct ? batches.rows : null;
    let first = this.firstBatch;
    this.firstBatch = false;
    try {
      while (this.done < most) {
        let batch: Batch = null;
        if (rows && !rows.next()) break;
        if (!rows) {
          const next = batches.next();
          const item = next instanceof Promise ? await next : next;
          if (item.done) break;
          batch = placeBatch(module.onBeforeBatchTransfer(item.value), settings.device, settings.dtype);
        }
        const i = this.done;
        this.batchIdx = i;
        for (const c of begins) await settled(c.onTrainBatchBegin(i));
        if (hooked.start) await settled(module.onTrainBatchStart(batch, i));
        training.begin(rows ? rows.count : rowsIn(batch));
        if (first) {
          first = false;
          await module.onFirstBatch(rows ? rows.batch() : batch);
        }
        const update = step.updates(i + 1 === most);
        const made = step.run(rows ?? batch, update, i);
        const output: StepOutput = made instanceof Promise ? await made : made;
        this.done++;
        if (update) {
          this.globalStep++;
          if (stepwise) this.schedule("step", this.globalStep, {});
        }
        if (hooked.end) await settled(module.onTrainBatchEnd(output, batch, i));
        if (ends.length > 0) {
          const logs = logged ? await this.batchLogs() : {};
          for (const c of ends) await settled(c.onTrainBatchEnd(i, logs));
        }
        const wait = this.pace.step();
        if (wait) await wait;
        if (validated && every !== undefined && this.done % interval === 0) {
          this.validation = await this.evaluate("validate", module, val, limited(settings.limits.validate, val.length));
          const both = training.shares(evaluationOf(module, "validate", settings.compile).ledger);
          if (both !== undefined) {
            throw new ValueError(
              `log: ${both} is one Metric for training and validation; with valCheckInterval, in the middle of an epoch, each needs its own`,
            );
          }
          module.sink = training;
        }
        if (this.isOver()) break;
      }
    } finally {
      if (this.done < most || most === Number.POSITIVE_INFINITY) await batches.close();
    }
    const complete = this.stopReason === undefined || this.done >= most;
    if (this.done === 0) {
      throw new ValueError(
        "fit: the data gave no batch; a generator that is used up needs to be made anew in each epoch",
      );
    }
    if (!complete && this.interrupted) return;
    if (complete && step.finish()) {
      this.globalStep++;
      if (stepwise) this.schedule("step", this.globalStep, {});
    }
    await this.pace.rest();
    // Before the validation, which may use the same Metric objects.
    const means = await training.epoch();
    if (validated && every === undefined) {
      this.validation = await this.evaluate("validate", module, val, limited(settings.limits.validate, val.length));
    }
    const after = new Ledger(false);
    module.sink = after;
    await module.onTrainEpochEnd();
    const logs = this.merged({ ...means, ...(await after.epoch()) });
    this.history.push(epoch, logs);
    this.ended = complete;
    await this.call("onEpochEnd", epoch, logs);
  }

  /** What training and validation logged. */
  private merged(training: Logs): Logs {
    for (const name of Object.keys(this.validation)) {
      if (name in training) {
        throw new ValueError(`log: both the training and the validation log ${name}; call the latter val_${name}`);
      }
    }
    return { ...training, ...this.validation };
  }

  /** Is it a value of the validation, in an epoch without one? */
  private unvalidated(name: string): boolean {
    return this.validates && name.startsWith("val_") && Object.keys(this.validation).length === 0;
  }

  /** Steps the schedules that are due. */
  private schedule(interval: "epoch" | "step", count: number, logs: Logs): void {
    for (const { schedule } of this.plans) {
      if (schedule?.interval !== interval || count % schedule.frequency !== 0) continue;
      const { scheduler, monitor } = schedule;
      if (!(scheduler instanceof ReduceLROnPlateau)) scheduler.step();
      else if (this.unvalidated(monitor)) continue;
      else if (monitor in logs) scheduler.step(logs[monitor]);
      else {
        throw new ValueError(
          `ReduceLROnPlateau: there is no value ${monitor} to go by; logged are ${Object.keys(logs).join(", ") || "none"}`,
        );
      }
    }
  }

  private async evaluate(kind: Evaluation, module: TrainModule, source: Source, most: number): Promise<Logs> {
    const stage = kind === "sanity" ? "validate" : kind;
    const [onStart, onEpochStart, onEpochEnd, onEnd] = evaluationHooks[stage];
    const { ledger, step } = evaluationOf(module, kind, this.settings.compile);
    ledger.reset();
    module.sink = ledger;
    const back = evaluationMode(module);
    const heard = kind !== "sanity"; // callbacks judge by validations
    try {
      if (heard) await this.call("onTestBegin", {});
      await module[onStart]();
      await module[onEpochStart]();
      const begins = heard ? this.overriding("onTestBatchBegin") : [];
      const ends = heard ? this.overriding("onTestBatchEnd") : [];
      const logged = ends.some((c) => c.onTestBatchEnd.length > 1);
      await this.eachBatch(module, source, most, async (batch, i) => {
        for (const c of begins) await settled(c.onTestBatchBegin(i));
        await (stage === "test" ? module.onTestBatchStart(batch, i) : module.onValidationBatchStart(batch, i));
        ledger.begin(rowsIn(batch));
        const run = (): unknown =>
          step ? step.call(batch) : stage === "test" ? module.testStep(batch, i) : module.validationStep(batch, i);
        const output = await withoutGrad(() => mixed(this.settings.half, run));
        await (stage === "test"
          ? module.onTestBatchEnd(output, batch, i)
          : module.onValidationBatchEnd(output, batch, i));
        if (ends.length === 0) return;
        const logs = logged ? await ledger.latest(!this.pace.short) : {};
        for (const c of ends) await settled(c.onTestBatchEnd(i, logs));
      });
      await module[onEpochEnd]();
      await this.pace.rest();
      const logs = await ledger.epoch();
      await module[onEnd]();
      if (heard) await this.call("onTestEnd", logs);
      return logs;
    } finally {
      back();
      module.sink = null;
      if (!heard) ledger.reset(); // a module may have one metric for both
    }
  }

  /** Calls `body` with every batch. */
  private async eachBatch(
    module: TrainModule,
    source: Source,
    most: number,
    body: (batch: Batch, i: number) => void | Promise<void>,
  ): Promise<void> {
    const { device, dtype } = this.settings;
    if (most === 0) return;
    const batches = await source.epoch();
    let i = 0;
    try {
      for (; i < most; i++) {
        const next = batches.next();
        const item = next instanceof Promise ? await next : next;
        if (item.done) break;
        await settled(body(placeBatch(module.onBeforeBatchTransfer(item.value), device, dtype), i));
        const wait = this.pace.step();
        if (wait) await wait;
      }
    } finally {
      await batches.close();
    }
  }

  // ---- around the loop

  /** Makes a module the one of this Trainer; true when it was not. */
  private take(module: TrainModule): boolean {
    if (!(module instanceof TrainModule)) {
      throw new ValueError(
        `Trainer: a TrainModule is needed, got ${describe(module)}; a plain model trains with compile and fit`,
      );
    }
    module.attach(this);
    if (this.module === module && this.session) return false;
    if (this.module !== null && this.module !== module) {
      this.currentEpoch = 0;
      this.globalStep = 0;
      this.done = 0;
      this.ended = false;
      this.history.loadStateDict({ epoch: [], history: {} });
    }
    this.session = null;
    this.module = module;
    return true;
  }

  /** Makes a module ready to be trained. */
  private async begin(module: TrainModule): Promise<void> {
    const { settings } = this;
    if (settings.seed !== undefined) manualSeed(settings.seed);
    await module.setup("fit");
    this.place(module);
    this.plans = planOf(module);
    this.optimizers = this.plans.map((p) => p.optimizer);
    this.schedulers = this.plans.flatMap((p) => p.schedule?.scheduler ?? []);
    let session = sessions.get(module);
    if (!session?.step.fits(this.optimizers, settings)) {
      session?.dispose();
      session = new Session(new TrainStep(module, this.optimizers, settings));
      sessions.set(module, session);
    }
    this.session = session;
    const { step } = session;
    step.onGivenUp = (reason) => {
      this.eagerReason = reason;
      if (settings.verbose > 0 && settings.compile) {
        console.log(`The training step runs operation by operation, not as one program: ${reason}`);
      }
    };
    if (step.reason !== undefined) step.onGivenUp(step.reason);
  }

  private get ledger(): Ledger {
    if (this.session) return this.session.training;
    throw new ValueError("Trainer: nothing was logged yet; values are there during fit and after it");
  }

  /** Moves the module where it is wanted. */
  private place(module: TrainModule): void {
    const { device, dtype, half, precision } = this.settings;
    const subject = module.subject();
    for (const t of [...subject.parameters(), ...subject.buffers()]) {
      if (t.device !== device) {
        subject.to(device);
        break;
      }
    }
    for (const p of subject.parameters()) {
      if (dtype !== undefined && p.dtype !== dtype) {
        subject.to(dtype);
        break;
      }
      if (half !== null && isFloat(p.dtype) && p.dtype !== "float32") {
        throw new ValueError(
          `Trainer: precision "${precision}" keeps float32 weights and converts them for products, and this model has ${p.dtype} ones; ` +
            'use model.to("float32")',
        );
      }
    }
  }

  private async guarded<R>(module: TrainModule, stage: Stage, body: () => Promise<R>): Promise<R> {
    try {
      return await body();
    } catch (error) {
      for (const c of this.callbacks) await settled(c.onException(error));
      throw error;
    } finally {
      module.sink = null;
      await module.teardown(stage);
    }
  }

  /** The callbacks that have a hook of their own. */
  private overriding(hook: keyof Callback): Callback[] {
    return this.callbacks.filter((c) => c[hook] !== Callback.prototype[hook]);
  }

  private async call<K extends CallbackHook>(hook: K, ...args: Parameters<Callback[K]>): Promise<void> {
    for (const c of this.callbacks) await settled((c[hook] as (...args: unknown[]) => Hooked).apply(c, args));
  }
}

type CallbackHook = {
  [K in keyof Callback]: Callback[K] extends (...args: never[]) => Hooked ? K : never;
}[keyof Callback] &
  `on${string}`;

/** Waits for a promise, and for nothing else: an await costs a turn. */
const settled = (made: Hooked): Hooked => (made instanceof Promise ? made : undefined);

const finite = (n: number): number | undefined => (n === Number.POSITIVE_INFINITY ? undefined : n);

// `nabla train`: a job from its settings to a run's directory, to be stopped and continued at any time.
import { join, resolve } from "node:path";
import {
  argmax,
  type BatchSource,
  callbacks,
  data,
  io,
  type Logs,
  type Tensor,
  Trainer,
  type TrainerOptions,
} from "../index.js";
import { assemble, type Job, type JobData, loadData, type Settings, takesOf, useMachine } from "./job.js";
import { asUsage, namedOptions } from "./parts.js";
import { checkClaim, checkSame, claim, files, has, readJson, shown, writeJson } from "./run.js";
import { describeSchema, isLive, isSwitch, schemaOf, splitArguments } from "./settings.js";
import { STOPPED, type Watch, watchSignals } from "./signals.js";
import { gather, openSource, type SavedJob, type Source } from "./source.js";
import { checkUnchanged, type Preprocessing } from "./tables.js";
import { UsageError } from "./usage.js";

const help = (): string => `Usage: nabla train <job.json | job.mjs | run> [--setting value …] [--resume | --force]

Trains what a settings file describes, or an ES module, whose default export is settings (or a function of the
hyper-parameters --params.* that returns them) in which Modules and Datasets may stand for descriptions.

A setting is taken from the flag --data.target, else from the variable NABLA_TRAIN_DATA_TARGET, else from the file.

  --resume   continue the run in the directory from its last checkpoint; begin if there is none
  --force    replace the run that is in the directory

Settings:
${describeSchema(schemaOf(namedOptions(), null))}

On SIGTERM, SIGINT and SIGUSR1 the present batch is finished and the run saved. Exit codes: 0 done, 1 failed, 2 wrong use,
75 stopped by a signal and to be continued with --resume.
`;

const SWITCHES = ["resume", "force", "help"];

export async function train(args: string[]): Promise<number> {
  const base = schemaOf({});
  const { flags, operands } = splitArguments(args, (name) => SWITCHES.includes(name) || isSwitch(base, name));
  const isSet = (name: string) => flags.some(([flag, value]) => flag === name && value !== "false");
  if (isSet("help")) {
    process.stdout.write(help());
    return 0;
  }
  if (operands.length !== 1) {
    throw new UsageError(
      operands.length === 0
        ? "the settings are missing: a .json file, a module or a run's directory"
        : `unexpected argument ${JSON.stringify(operands[1])}; settings are --name value`,
    );
  }
  const watch = watchSignals();
  try {
    const source = await openSource(operands[0]);
    const others = flags.filter(([flag]) => !SWITCHES.includes(flag));
    const settings = complete(await gather(source, process.env, others, SWITCHES), source);
    return await run(settings, source, { resume: isSet("resume"), force: isSet("force") }, watch);
  } finally {
    watch.end();
  }
}

/** The settings with defaults that depend on others. */
function complete(given: Record<string, unknown>, source: Source): Settings {
  const name = (given.name as string | undefined) ?? source.name;
  const directory = resolve((given.directory as string | undefined) ?? source.directory ?? join("runs", name));
  return { ...given, name, directory } as unknown as Settings;
}

async function run(
  settings: Settings,
  source: Source,
  how: { resume: boolean; force: boolean },
  watch: Watch,
): Promise<number> {
  const { directory } = settings;
  checkClaim(directory, how);
  const saved: SavedJob = {
    ...(source.module !== undefined && { module: source.module }),
    settings: withoutLive(settings),
  };
  const goesOn = how.resume && has(directory, "settings");
  if (goesOn) {
    const before = readJson<SavedJob>(directory, "settings").settings as unknown as Settings;
    checkSame(before, saved.settings);
    const { maxSteps = Number.POSITIVE_INFINITY } = settings;
    const longer = settings.epochs > before.epochs || maxSteps > (before.maxSteps ?? Number.POSITIVE_INFINITY);
    if (has(directory, "last") && !longer) {
      print(settings, `${shown(directory)} is complete; more --epochs or --maxSteps would continue it`);
      return 0;
    }
  }
  useMachine(settings);
  const { preprocessing, parts } = await loadData(settings);
  if (goesOn && preprocessing && has(directory, "preprocessing")) {
    checkUnchanged(preprocessing, readJson<Preprocessing>(directory, "preprocessing"), "--force begins anew");
  }
  const { train, validation } = parts;
  if (train === undefined) throw new UsageError("data.train is missing: a Dataset, a DataLoader or tensors [x, y]");
  const batches = (train as { length?: number }).length ?? 0;
  const job = await assemble(settings, preprocessing, Math.ceil(batches / (settings.accumulateGradBatches ?? 1)));
  const { trainer, saver } = makeTrainer(settings, validation !== undefined);
  await rehearse(job, train);
  claim(directory, how);
  await writeJson(directory, "settings", saved);
  if (preprocessing) await writeJson(directory, "preprocessing", preprocessing);
  if (watch.received !== undefined) return stopped(settings, watch.received, "before training began");
  const fitted = trainer.fit(job.module, train, validation);
  watch.onSignal((signal) => trainer.interrupt(signal));
  const history = await fitted;
  const finished = trainer.currentEpoch >= trainer.maxEpochs || trainer.globalStep >= trainer.maxSteps;
  await io.save(join(directory, files.backup), trainer.stateDict());
  if (watch.received !== undefined && trainer.stopReason === watch.received && !finished) {
    return stopped(settings, watch.received, `in epoch ${trainer.currentEpoch + 1}`);
  }
  await io.saveSafetensors(join(directory, files.last), job.module.subject().stateDict());
  if (settings.report) await writeReport(job, parts);
  const { monitor } = monitorOf(settings, validation !== undefined);
  const value = saver.best?.value;
  const at = value === undefined ? -1 : (history.history[monitor]?.indexOf(value) ?? -1);
  print(
    settings,
    `${shown(directory)} is complete${value !== undefined && at >= 0 ? `; best epoch ${history.epoch[at] + 1}: ${monitor} ${Number(value.toPrecision(5))}` : ""}`,
  );
  return 0;
}

/** Evaluates the best weights on data that were kept from the training, and writes the report. */
async function writeReport(job: Job, parts: JobData["parts"]): Promise<void> {
  const { settings, module, preprocessing } = job;
  const { directory } = settings;
  const { evaluateForReport, writeReport } = await import("../report/index.js");
  const kept = parts.test ?? parts.validation;
  if (preprocessing && kept instanceof data.DataLoader && has(directory, "best")) {
    const { task, labels, features } = preprocessing;
    const [x, y] = (kept.dataset as data.TensorDataset<[Tensor, Tensor]>).tensors;
    module.subject().loadStateDict(await io.loadSafetensors(join(directory, files.best)));
    const targets = task === "binary" ? y.to("int64").flatten() : y;
    const threshold = takesOf(job) === "logits" ? 0 : 0.5;
    const evaluation = await evaluateForReport(
      module.subject(),
      { x, y: targets },
      { labels, inputs: features, threshold },
    );
    await writeJson(directory, "evaluation", evaluation);
  }
  const { path } = await writeReport(directory);
  print(settings, shown(path));
}

/** What a person is told beside the epochs. */
function print(settings: Settings, line: string): void {
  if (settings.log === "lines") process.stdout.write(`${line}\n`);
}

function stopped(settings: Settings, signal: string, where: string): number {
  process.stderr.write(
    `nabla: ${signal} ${where}: stopped; the same command with --resume continues ${shown(settings.directory)}\n`,
  );
  return STOPPED;
}

/** Everything of the settings that JSON can hold. */
function withoutLive(settings: Settings): Record<string, unknown> {
  const keep = (value: unknown): boolean => !isLive(value) && !(Array.isArray(value) && value.some(isLive));
  return Object.fromEntries(
    Object.entries(settings)
      .filter(([, value]) => keep(value))
      .map(([name, value]) => [
        name,
        name === "data" || name === "optimizer"
          ? Object.fromEntries(Object.entries(value as object).filter(([, v]) => keep(v)))
          : value,
      ]),
  );
}

/** The value that tells which weights are the best. */
function monitorOf({ checkpoint }: Settings, validated: boolean): { monitor: string; mode?: "auto" | "min" | "max" } {
  return { monitor: checkpoint?.monitor ?? (validated ? "val_loss" : "loss"), mode: checkpoint?.mode };
}

/** The trainer, and what keeps the best weights. */
function makeTrainer(
  settings: Settings,
  validated: boolean,
): { trainer: Trainer; saver: InstanceType<typeof callbacks.ModelCheckpoint> } {
  const { directory, earlyStopping, checkpoint, epochs, log } = settings;
  const { BackupAndRestore, EarlyStopping, ModelCheckpoint } = callbacks;
  const best = { ...monitorOf(settings, validated), saveBestOnly: true, saveWeightsOnly: true };
  const backup = { deleteCheckpoint: false };
  const more = (settings.trainer ?? {}) as Record<string, unknown>;
  const taken = Object.keys(more).find((key) =>
    ["callbacks", "logger", "directory", "resumeFrom", "maxEpochs", "seed"].includes(key),
  );
  if (taken !== undefined) throw new UsageError(`trainer: ${taken} is decided by the other settings`);
  return asUsage("settings", () => {
    const saver = new ModelCheckpoint(join(directory, files.best), best);
    const options: TrainerOptions = {
      ...more,
      ...{ maxEpochs: epochs, maxSteps: settings.maxSteps, directory, name: settings.name, seed: settings.seed },
      ...(settings.precision && { precision: settings.precision }),
      gradientClipVal: settings.gradientClipVal,
      gradientClipAlgorithm: settings.gradientClipAlgorithm,
      accumulateGradBatches: settings.accumulateGradBatches,
      verbose: log === "lines" ? "auto" : 0,
      callbacks: [
        ...((settings.callbacks ?? []) as NonNullable<TrainerOptions["callbacks"]>),
        ...(earlyStopping
          ? [
              new EarlyStopping({
                ...earlyStopping,
                monitor: earlyStopping.monitor ?? best.monitor,
                restoreBestWeights: false,
              }),
            ]
          : []),
        saver,
        new Log(join(directory, files.log), settings),
        new Backup(directory, backup),
        ...(checkpoint?.everyNSteps
          ? [new BackupAndRestore(directory, { ...backup, saveFreq: checkpoint.everyNSteps })]
          : []),
      ],
    };
    return { trainer: new Trainer(options), saver };
  });
}

/** Saves after an epoch, but not every moment where epochs are short: what is lost is done again, with the same results. */
class Backup extends callbacks.BackupAndRestore {
  private saved = performance.now();

  override async onEpochEnd(epoch: number, logs: Logs): Promise<void> {
    if (performance.now() - this.saved < 1000) return;
    await super.onEpochEnd(epoch, logs);
    this.saved = performance.now();
  }
}

/** log.jsonl, on standard output too where that is asked for. */
class Log extends callbacks.JsonlLogger {
  constructor(
    path: string,
    private readonly settings: Settings,
  ) {
    super({ path, everyNTrainSteps: settings.logEveryNSteps });
  }

  protected override async append(text: string): Promise<void> {
    await super.append(text);
    if (this.settings.log === "json") process.stdout.write(text);
  }
}

/** A first batch, to see that model, loss and data fit together before anything is written. */
async function rehearse({ module, preprocessing, settings }: Job, loader: BatchSource): Promise<void> {
  if (!(loader instanceof data.DataLoader && loader.dataset instanceof data.TensorDataset) || !preprocessing) return;
  const { dataset } = loader;
  const some = Array.from({ length: Math.min(settings.batchSize, dataset.length) }, (_, i) => i);
  // With the class of the highest number among them.
  const [, y] = dataset.tensors;
  const batch = await dataset.batch(preprocessing.task === "classes" ? [...some, Number(argmax(y).item())] : some);
  try {
    await module.onFirstBatch(batch);
  } catch (error) {
    const { features, labels } = preprocessing;
    const sizes = `${features.length} features${labels ? ` and ${labels.length} classes` : ""}`;
    throw new UsageError(`model: ${(error as Error).message} (the table gives ${sizes})`);
  }
}

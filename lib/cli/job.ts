// What the settings of a job describe, made: data, model, loss, optimizer; and read back from a run's directory.
import { join } from "node:path";
import {
  type BatchSource,
  CompiledModule,
  data,
  devices,
  io,
  type Loss,
  type LossLike,
  lossOf,
  Module,
  manualSeed,
  type OptimizerConfig,
  type Precision,
  setDefaultDevice,
  setNumThreads,
  Tensor,
  TrainModule,
} from "../index.js";
import {
  asUsage,
  buildModel,
  buildOptimizer,
  buildSchedule,
  type OptimizerDescription,
  type SchedulerDescription,
} from "./parts.js";
import { files, has, readJson, shown } from "./run.js";
import { isLive } from "./settings.js";
import { gather, openSource } from "./source.js";
import { type DataSettings, type Part, type Preprocessing, readTables, type Tables, type Task } from "./tables.js";
import { suggest, UsageError, wholeNumber } from "./usage.js";

/** All settings of a job with their defaults; live objects where a module gave them. */
export interface Settings {
  readonly name: string;
  readonly directory: string;
  readonly seed: number;
  readonly device: string;
  readonly threads?: number;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly model?: unknown;
  readonly data: DataSettings;
  readonly loss?: unknown;
  readonly optimizer: OptimizerDescription;
  readonly scheduler?: SchedulerDescription;
  readonly metrics?: string | readonly (string | object)[];
  readonly epochs: number;
  readonly maxSteps?: number;
  readonly batchSize: number;
  readonly precision?: Precision;
  readonly gradientClipVal?: number;
  readonly gradientClipAlgorithm?: "norm" | "value";
  readonly accumulateGradBatches?: number;
  readonly earlyStopping?: { patience?: number; monitor?: string; minDelta?: number; mode?: "auto" | "min" | "max" };
  readonly checkpoint?: { everyNSteps?: number; monitor?: string; mode?: "auto" | "min" | "max" };
  readonly callbacks?: readonly object[];
  readonly trainer?: object;
  readonly report: boolean;
  readonly log: "lines" | "json" | "none";
  readonly logEveryNSteps?: number;
}

/** Sets device and threads. */
export function useMachine({ device, threads }: Pick<Settings, "device" | "threads">): void {
  if (device !== "auto") {
    if (!devices().includes(device)) {
      throw new UsageError(`device: ${device} is not there; ${suggest(device, ["auto", ...devices()])}`);
    }
    setDefaultDevice(device);
  }
  if (threads !== undefined) setNumThreads(threads);
}

/** What the loss asks the target to be; undefined where it does not say. */
function taskOf(loss: Settings["loss"]): Task | undefined {
  if (loss === undefined) return undefined;
  const { name, family, takes } = asUsage("loss", () => lossOf(loss as LossLike));
  if (family === "labels") return "classes";
  if (family === "classes") {
    throw new UsageError(
      `loss: ${name} takes one-hot targets, and a table has labels; use sparse_categorical_crossentropy or crossEntropy`,
    );
  }
  if (family === "free") return undefined;
  return takes === "values" ? "numbers" : "binary";
}

/** A plain model with its loss, optimizer and schedule. */
class Supervised extends CompiledModule {
  /** What the loss takes the output for. */
  readonly takes: Loss["takes"];
  private readonly plan: OptimizerConfig;

  /** @param length epochs and steps of the training */
  constructor(net: Module, settings: Settings, classes: boolean, length: { epochs: number; steps: number }) {
    const { loss = classes ? "crossEntropy" : "mse", metrics = classes ? ["accuracy"] : [] } = settings;
    super(net, {
      loss: loss as LossLike,
      metrics: [metrics].flat() as string[],
      optimizer: () => buildOptimizer(settings.optimizer, net),
    });
    this.takes = lossOf(loss as LossLike).takes;
    const { optimizer } = this;
    const lrScheduler = settings.scheduler && buildSchedule(settings.scheduler, optimizer, length);
    this.plan = { optimizer, lrScheduler };
  }

  override configureOptimizers(): OptimizerConfig {
    return this.plan;
  }
}

/** What training, evaluation and prediction work with. */
export interface Job {
  readonly settings: Settings;
  readonly module: TrainModule;
  readonly preprocessing: Preprocessing | undefined;
}

/** Makes the model, and around it what trains it. */
export async function assemble(settings: Settings, preprocessing?: Preprocessing, steps = 0): Promise<Job> {
  manualSeed(settings.seed);
  const net = await makeModel(settings, preprocessing);
  const length = { epochs: settings.epochs, steps: settings.epochs * steps };
  const classes = preprocessing !== undefined && preprocessing.task !== "numbers";
  const module =
    net instanceof TrainModule ? net : asUsage("model", () => new Supervised(net, settings, classes, length));
  if (module === net) {
    const idle = (["loss", "metrics", "scheduler"] as const).find((name) => settings[name] !== undefined);
    if (idle) throw new UsageError(`${idle}: the TrainModule has its own; leave the setting out`);
  }
  return { settings, module, preprocessing };
}

async function makeModel({ model, params = {} }: Settings, preprocessing: Preprocessing | undefined): Promise<Module> {
  if (model === undefined) throw new UsageError("model is missing: its layers, or in a module a Module or TrainModule");
  const sizes = preprocessing && {
    features: preprocessing.features.length,
    classes:
      preprocessing.task === "classes"
        ? (preprocessing.labels ?? []).length
        : preprocessing.task === "binary"
          ? 1
          : preprocessing.schema.target.length,
  };
  const made: unknown = typeof model === "function" ? await construct(model, params, sizes) : model;
  if (made instanceof Module) return made;
  if (!isLive(made)) return buildModel(Array.isArray(made) ? made : [made], sizes);
  if (typeof (made as { forward?: unknown }).forward === "function") {
    throw new UsageError(
      "model: it is made with another copy of nablajs than this command's; run the command of that one: npx nabla in the module's folder",
    );
  }
  throw new UsageError(`model: a Module is needed, got ${(made as object).constructor.name}`);
}

/** A class is made, a function called. */
const construct = (model: object, params: object, sizes: object | undefined): unknown =>
  (model as { prototype?: unknown }).prototype instanceof Module
    ? new (model as new () => Module)()
    : (model as (params: object, sizes: object | undefined) => unknown)(params, sizes);

/** The data of a job: tables, or what a module gave. */
export interface JobData {
  readonly preprocessing: Preprocessing | undefined;
  readonly parts: Readonly<Partial<Record<Part, BatchSource>>>;
}

export async function loadData(settings: Settings): Promise<JobData> {
  const { data: given, loss, seed, batchSize } = settings;
  const options = { batchSize, seed };
  const own = Object.entries(given).filter(([, value]) => isLive(value) || Array.isArray(value));
  if (given.train !== undefined) {
    const parts = own.filter(([part]) => ["train", "validation", "test"].includes(part));
    return {
      preprocessing: undefined,
      parts: Object.fromEntries(parts.map(([part, value]) => [part, loaderOf(value, part, options)])),
    };
  }
  const { preprocessing, parts } = await readTables(given, taskOf(loss), seed);
  return { preprocessing, parts: loaders(parts, options) };
}

const loaders = (parts: Tables["parts"], options: { batchSize: number; seed: number }): JobData["parts"] =>
  Object.fromEntries(Object.entries(parts).map(([part, set]) => [part, loaderOf(set, part, options)]));

/** Batches of a dataset, of tensors, or what gives batches already. */
function loaderOf(value: unknown, part: string, { batchSize, seed }: { batchSize: number; seed: number }): BatchSource {
  const set =
    Array.isArray(value) && value.every((t) => t instanceof Tensor) ? new data.TensorDataset(...value) : value;
  if (!(set instanceof data.Dataset)) return set as BatchSource;
  return new data.DataLoader(set, { batchSize, seed, shuffle: part === "train" });
}

/** A run whose model has its trained weights. */
export interface TrainedRun extends Job {
  readonly directory: string;
}

export interface RunOptions {
  readonly weights?: string;
  readonly device?: string;
  readonly threads?: string;
}

/** Reads a run back: its settings, the model, the weights. */
export async function loadRun(path: string, { weights = "best", device, threads }: RunOptions): Promise<TrainedRun> {
  if (weights !== "best" && weights !== "last") throw new UsageError(`--weights: best or last, got ${weights}`);
  const source = await openSource(path);
  const { directory } = source;
  if (directory === undefined) throw new UsageError(`${path}: a run's directory is needed`);
  const all = (await gather(source, {}, [], [])) as unknown as Settings;
  const settings = {
    ...all,
    ...(device !== undefined && { device }),
    ...(threads !== undefined && { threads: wholeNumber(threads, "threads") }),
  };
  useMachine(settings);
  if (!has(directory, weights)) {
    throw new UsageError(
      `${shown(directory)} has no ${files[weights]} yet: ${weights === "best" ? "no epoch has ended" : "the run is not complete"}`,
    );
  }
  const preprocessing = has(directory, "preprocessing")
    ? readJson<Preprocessing>(directory, "preprocessing")
    : undefined;
  const job = await assemble(settings, preprocessing);
  const net = job.module.subject();
  net.loadStateDict(await io.loadSafetensors(join(directory, files[weights])));
  net.eval();
  return { ...job, directory };
}

/** What the loss takes the model's output for. */
export const takesOf = ({ module }: Job): Loss["takes"] => (module instanceof Supervised ? module.takes : "values");

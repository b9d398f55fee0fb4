// The state of a training run: what a checkpoint of a Trainer holds, and continuing from one.
import { ValueError } from "../errors.js";
import { load as loadFile, type Saveable } from "../io/checkpoint.js";
import type { OptimizerState } from "../optim/optimizer.js";
import { getRngState, setRngState } from "../tensor/random.js";
import type { Tensor } from "../tensor/tensor.js";
import type { Callback, Logs } from "./callback.js";
import type { History } from "./history.js";
import type { Ledger } from "./ledger.js";
import type { Checkpoint, TrainModule } from "./module.js";
import type { Plan } from "./plan.js";
import { placeBatch, type Source } from "./sources.js";
import type { StepState, TrainStep } from "./step.js";

const VERSION = 1;

/** Where a loop stands. */
export interface Position {
  readonly epoch: number;
  /** Batches of the epoch that are done. */
  readonly done: number;
  /** The epoch is complete but for its schedules. */
  readonly ended: boolean;
  readonly globalStep: number;
}

export interface Parts {
  readonly module: TrainModule;
  readonly plans: readonly Plan[];
  readonly step: TrainStep;
  readonly source: Source | null;
  readonly validationSource: Source | null;
  readonly training: Ledger;
}

interface Run {
  readonly callbacks: readonly Callback[];
  readonly history: History;
  readonly settings: { readonly device: string };
}

/** Callbacks by name; the second of a name has a number. */
function named(callbacks: readonly Callback[]): [string, Callback][] {
  const seen = new Map<string, number>();
  return callbacks.map((c) => {
    const { name } = c.constructor;
    const n = (seen.get(name) ?? 0) + 1;
    seen.set(name, n);
    return [n === 1 ? name : `${name} ${n}`, c];
  });
}

export function snapshot(run: Run, parts: Parts & { position: Position; validation: Logs }): Saveable {
  const { module, plans, step, source, validationSource, training, position, validation } = parts;
  const checkpoint: Checkpoint = {
    version: VERSION,
    position: { ...position },
    model: module.subject().stateDict(),
    optimizers: plans.map(({ optimizer }) => optimizer.stateDict() as unknown as Saveable),
    schedulers: plans.map(({ schedule }) => (schedule?.scheduler.stateDict() ?? null) as Saveable),
    callbacks: Object.fromEntries(named(run.callbacks).map(([name, c]) => [name, c.stateDict() ?? null])),
    rng: { ...getRngState() },
    data: source?.stateDict() ?? null,
    validationData: validationSource?.stateDict() ?? null,
    history: run.history.stateDict(),
    gradients: { ...step.stateDict() } as Saveable,
    // Of an epoch under way.
    epochLogs: training.stateDict(),
    metrics: position.done > 0 && !position.ended ? module.metricStates() : null,
    validation,
  };
  module.onSaveCheckpoint(checkpoint);
  return checkpoint;
}

interface State {
  version: number;
  position: Position;
  model: Record<string, Tensor>;
  // biome-ignore lint/suspicious/noExplicitAny: the hyper-parameters of any optimizer
  optimizers: OptimizerState<any>[];
  schedulers: (Record<string, unknown> | null)[];
  callbacks: Record<string, Saveable>;
  rng: { seed: number; offset: number };
  data: Saveable;
  history: { epoch: number[]; history: Record<string, number[]> };
  gradients: StepState;
  epochLogs: Saveable;
  metrics: Saveable;
  validationData: Saveable;
  validation: Logs;
}

export function restore(run: Run, given: Saveable, parts: Parts): { position: Position; validation: Logs } {
  const { module, plans, step, source, validationSource, training } = parts;
  const state = given as unknown as State;
  if (typeof state !== "object" || state === null || !("model" in state && "position" in state)) {
    throw new ValueError("Trainer: this is no state of a training run; Trainer.stateDict gives one");
  }
  if (state.version !== VERSION) {
    throw new ValueError(
      `Trainer: the checkpoint is of version ${state.version}, this library reads version ${VERSION}`,
    );
  }
  module.onLoadCheckpoint(state as unknown as Checkpoint);
  checkModel(module, state.model);
  if (state.optimizers.length !== plans.length) {
    throw new ValueError(
      `Trainer: the checkpoint has ${state.optimizers.length} optimizers, configureOptimizers returned ${plans.length}`,
    );
  }
  module.subject().loadStateDict(state.model);
  plans.forEach(({ optimizer, schedule }, i) => {
    optimizer.loadStateDict(
      placeBatch(state.optimizers[i], run.settings.device, undefined) as (typeof state.optimizers)[number],
    );
    const saved = state.schedulers[i];
    if (schedule && saved) schedule.scheduler.loadStateDict(saved);
  });
  for (const [name, c] of named(run.callbacks)) {
    const saved = state.callbacks[name];
    if (saved !== undefined && saved !== null) c.loadStateDict(saved);
  }
  setRngState(state.rng);
  source?.loadStateDict(state.data);
  validationSource?.loadStateDict(state.validationData);
  run.history.loadStateDict(state.history);
  step.loadStateDict(state.gradients);
  training.loadStateDict(state.epochLogs, run.settings.device);
  module.loadMetricStates(placeBatch(state.metrics, run.settings.device, undefined) as Saveable);
  return { position: state.position, validation: { ...state.validation } };
}

/** Throws for the parameters of another model, and says which names differ. */
function checkModel(module: TrainModule, saved: Readonly<Record<string, Tensor>>): void {
  const own = module.subject().stateDict();
  const name = module.subject().constructor.name;
  const lines = [
    ...Object.keys(own).flatMap((k) => {
      if (!(k in saved)) return `${k} is not in the checkpoint`;
      const [here, there] = [`[${own[k].shape.join(", ")}]`, `[${saved[k].shape.join(", ")}]`];
      return here === there ? [] : `${k} is ${there} in the checkpoint and ${here} in the model`;
    }),
    ...Object.keys(saved).flatMap((k) => (k in own ? [] : `${k} is in the checkpoint only`)),
  ];
  if (lines.length === 0) return;
  const rest = lines.length > 8 ? `; and ${lines.length - 8} more` : "";
  throw new ValueError(
    `Trainer: the checkpoint is of another model than this ${name}: ${lines.slice(0, 8).join("; ")}${rest}`,
  );
}

/** A state, or the one of a file. */
export const load = async (from: string | Saveable): Promise<Saveable> =>
  typeof from === "string" ? ((await loadFile<Record<string, never>>(from)) as Saveable) : from;

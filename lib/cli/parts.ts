// Parts of a job from their descriptions: layers, optimizers, schedules, by the library's own names.
import { Module, nn, optim, type Tensor, zeros } from "../index.js";
import { suggest, UsageError } from "./usage.js";

// biome-ignore lint/suspicious/noExplicitAny: constructors and functions of all kinds, which check what they get
type Any = any;

/** The one with that name, upper and lower case being one. */
export function pick<T>(what: string, name: string, known: Readonly<Record<string, T>>): T {
  const found = Object.keys(known).find((key) => key.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return known[found];
  throw new UsageError(`${what}: there is no ${JSON.stringify(name)}; ${suggest(name, Object.keys(known))}`);
}

/** Exports that are classes derived from a base, without those of some names. */
function classes<T>(exports: object, base: Any, but: readonly string[]): Record<string, new (...args: Any[]) => T> {
  const is = ([name, value]: [string, Any]) => value?.prototype instanceof base && !but.includes(name);
  return Object.fromEntries(Object.entries(exports).filter(is));
}

/** Runs what the library checks itself; what it refuses is wrong use. */
export function asUsage<T>(where: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${where}: ${(error as Error).message}`);
  }
}

// ---- layers

/** Layers of one input; the losses are no layers, and Lambda takes a function. */
const layers = classes<Module>(nn, Module, [
  "Lambda",
  "Sequential",
  ...Object.keys(nn).filter((n) => n.endsWith("Loss")),
]);

/** What texts in place of sizes stand for. */
export interface Sizes {
  readonly features: number;
  readonly classes: number;
}

/**
 * A model from its layers: `"ReLU"`, `{ "Dropout": 0.1 }`, `{ "Linear": [4, 16] }`, a list of these within.
 *
 * @throws UsageError that says which layer is wrong, and why
 */
export function buildModel(description: unknown, sizes: Sizes | undefined, where = "model"): Module {
  if (Array.isArray(description)) {
    return new nn.Sequential(description.map((one, i) => buildModel(one, sizes, `${where}[${i}]`)));
  }
  const [name, given, ...rest] =
    typeof description === "string" ? [description, []] : Object.entries((description ?? {}) as object).flat();
  if (typeof name !== "string" || rest.length > 0) {
    throw new UsageError(`${where}: a layer is "Name" or {"Name": [arguments]}, got ${JSON.stringify(description)}`);
  }
  const Layer = pick(where, name, layers);
  const args = (Array.isArray(given) ? given : [given]).map((a: unknown) => {
    if (a !== "features" && a !== "classes") return a;
    if (sizes) return sizes[a];
    throw new UsageError(`${where}: "${a}" stands for a number of data.csv, which is not given`);
  });
  return asUsage(where, () => new Layer(...args));
}

// ---- optimizers and schedules

type Optimizer = optim.Optimizer<Any>;

/** LBFGS takes a closure, which a batch job has not. */
const optimizers = classes<Optimizer>(optim, optim.Optimizer, ["LBFGS"]);

/** The constructors' arguments after the optimizer, by name; those of the others are one object. */
const inOrder: Readonly<Record<string, readonly string[]>> = {
  StepLR: ["stepSize", "gamma"],
  MultiStepLR: ["milestones", "gamma"],
  ConstantLR: ["factor", "totalIters"],
  LinearLR: ["startFactor", "endFactor", "totalIters"],
  ExponentialLR: ["gamma"],
  PolynomialLR: ["totalIters", "power"],
  CosineAnnealingLR: ["tMax", "etaMin"],
  CosineAnnealingWarmRestarts: ["t0", "tMult", "etaMin"],
};
const inObject: Readonly<Record<string, readonly string[]>> = {
  OneCycleLR: [
    ...["maxLr", "totalSteps", "pctStart", "annealStrategy", "cycleMomentum", "baseMomentum", "maxMomentum"],
    ...["divFactor", "finalDivFactor"],
  ],
  ReduceLROnPlateau: ["mode", "factor", "patience", "threshold", "thresholdMode", "cooldown", "minLr", "eps"],
};
export const scheduleOptions = { ...inOrder, ...inObject };
const schedules = classes<optim.LRScheduler>(optim, optim.LRScheduler, ["LambdaLR", "SequentialLR"]);

const aParameter = (): Tensor => zeros([1], { device: "js", requiresGrad: true });

/** Options by who has them: `optimizer.momentum` is one of SGD and RMSprop. */
export function namedOptions(): Record<string, string> {
  const owners = new Map<string, string[]>();
  const add = (group: string, owner: string, names: Iterable<string>) => {
    for (const name of names) {
      const key = `${group}.${name}`;
      owners.set(key, [...(owners.get(key) ?? []), owner]);
    }
  };
  const all = Object.entries(optimizers);
  for (const [name, Class] of all) add("optimizer", name, Object.keys(new Class([aParameter()], { lr: 1 }).defaults));
  for (const [name, names] of Object.entries(scheduleOptions)) add("scheduler", name, names);
  const list = (who: readonly string[]) => (who.length === all.length ? "all optimizers" : who.join(", "));
  return Object.fromEntries([...owners].map(([key, who]) => [key, list(who)]));
}

export interface OptimizerDescription {
  readonly name: string | ((params: Iterable<Tensor>) => Optimizer);
  readonly [option: string]: unknown;
}

export function buildOptimizer({ name, ...options }: OptimizerDescription, model: Module): Optimizer {
  const params = [...model.parameters()];
  if (typeof name === "function") {
    const made: unknown = name(params);
    if (made instanceof optim.Optimizer) return made;
    throw new UsageError("optimizer: the function must return an optimizer");
  }
  const Class = pick("optimizer", name, optimizers);
  return asUsage("optimizer", () => new Class(params, options));
}

export interface SchedulerDescription {
  readonly name: string;
  readonly interval?: "epoch" | "step";
  readonly monitor?: string;
  readonly [option: string]: unknown;
}

/** @param length epochs and steps of the training, the default length of schedules that have one */
export function buildSchedule(
  description: SchedulerDescription,
  optimizer: Optimizer,
  length: { epochs: number; steps: number },
) {
  const { name, interval = name === "OneCycleLR" ? "step" : "epoch", monitor, ...given } = description;
  const Class = pick("scheduler", name, schedules);
  const known = scheduleOptions[Class.name];
  for (const key of Object.keys(given)) {
    if (!known.includes(key)) throw new UsageError(`scheduler: ${Class.name} has no ${key}; ${suggest(key, known)}`);
  }
  const whole = interval === "step" ? length.steps : length.epochs;
  const lengthName = { CosineAnnealingLR: "tMax", OneCycleLR: "totalSteps" }[Class.name];
  const options = lengthName === undefined ? given : { [lengthName]: whole, ...given };
  const args = Class.name in inOrder ? known.map((key) => options[key]) : [options];
  const scheduler = asUsage("scheduler", () => new Class(optimizer, ...args));
  return { scheduler, interval, ...(monitor !== undefined && { monitor }) };
}

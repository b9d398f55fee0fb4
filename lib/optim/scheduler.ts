// Learning-rate schedules (`torch.optim.lr_scheduler`). `step()` after each epoch (or batch) sets the optimizer's rates;
// a captured step picks them up.
import { checkFunction, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { Optimizer } from "./optimizer.js";

/** What a schedule needs of an optimizer. */
type Scheduled = Optimizer<{ lr: number }>;

const positive = (name: string, values: Record<string, number>): void => {
  for (const [key, v] of Object.entries(values)) {
    if (!(Number.isInteger(v) && v >= 1))
      throw new ValueError(`${name}: ${key} must be an integer ≥ 1, got ${describe(v)}`);
  }
};
const finite = (name: string, values: Record<string, number>): void => {
  for (const [key, v] of Object.entries(values)) {
    if (!Number.isFinite(v)) throw new ValueError(`${name}: ${key} must be a finite number, got ${describe(v)}`);
  }
};

/** A schedule in closed form: the rate of a group from its first rate and the number of steps. */
export abstract class LRScheduler {
  /** Rates of the groups when the schedule was made. */
  baseLrs: number[];
  /** Steps so far. */
  lastEpoch = 0;

  // biome-ignore lint/suspicious/noExplicitAny: optimizers differ in their hyper-parameters
  constructor(readonly optimizer: Optimizer<any>) {
    if (!(optimizer instanceof Optimizer)) {
      throw new ValueError(`${new.target.name}: an optimizer is needed first, got ${describe(optimizer)}`);
    }
    this.baseLrs = optimizer.paramGroups.map((g) => g.lr);
  }

  /** Rate of group `group`, whose first rate is `base`, at `this.lastEpoch`. By default it stays as it is. */
  protected rate(_base: number, group: number): number {
    return this.groups[group].lr;
  }

  /** Sets the rates for the present epoch. */
  apply(): void {
    this.groups.forEach((g, i) => {
      g.lr = this.rate(this.baseLrs[i], i);
    });
  }

  protected get groups(): { lr: number }[] {
    return (this.optimizer as Scheduled).paramGroups;
  }

  /** Goes on by one. */
  step(): void {
    this.lastEpoch++;
    this.apply();
  }

  /** The rates in use, a number a group. */
  getLastLr(): number[] {
    return this.groups.map((g) => g.lr);
  }

  /** What a checkpoint must keep: plain data. */
  stateDict(): Record<string, unknown> {
    return { lastEpoch: this.lastEpoch, baseLrs: this.baseLrs };
  }

  loadStateDict(state: Record<string, unknown>): void {
    const own = Object.keys(this.stateDict());
    const missing = own.filter((k) => !(k in state));
    if (missing.length > 0) {
      throw new ValueError(`${this.constructor.name}: the state lacks ${missing.join(", ")}`);
    }
    for (const key of own) (this as unknown as Record<string, unknown>)[key] = structuredClone(state[key]);
  }
}

/** Times a function of the epoch; one for all groups or one each. */
export class LambdaLR extends LRScheduler {
  private readonly lambdas: readonly ((epoch: number) => number)[];

  constructor(optimizer: LRScheduler["optimizer"], lrLambda: LambdaLR["lambdas"][number] | LambdaLR["lambdas"]) {
    super(optimizer);
    const list = Array.isArray(lrLambda) ? lrLambda : this.baseLrs.map(() => lrLambda);
    for (const fn of list) checkFunction(fn, "LambdaLR: lrLambda");
    if (list.length !== this.baseLrs.length) {
      throw new ValueError(`LambdaLR: ${list.length} functions for ${this.baseLrs.length} groups`);
    }
    this.lambdas = list;
    this.apply();
  }
  protected override rate(base: number, group: number): number {
    return base * this.lambdas[group](this.lastEpoch);
  }
}

/** Times `gamma` every `stepSize` epochs. */
export class StepLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly stepSize: number,
    readonly gamma = 0.1,
  ) {
    super(optimizer);
    positive("StepLR", { stepSize });
    finite("StepLR", { gamma });
  }
  protected override rate(base: number): number {
    return base * this.gamma ** Math.floor(this.lastEpoch / this.stepSize);
  }
}

/** Times `gamma` at each milestone. */
export class MultiStepLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly milestones: readonly number[],
    readonly gamma = 0.1,
  ) {
    super(optimizer);
    if (!Array.isArray(milestones)) throw new ValueError("MultiStepLR: milestones are an array of epochs");
    finite("MultiStepLR", { gamma });
  }
  protected override rate(base: number): number {
    return base * this.gamma ** this.milestones.filter((m) => m <= this.lastEpoch).length;
  }
}

/** Times `factor` for the first `totalIters` epochs. */
export class ConstantLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly factor = 1 / 3,
    readonly totalIters = 5,
  ) {
    super(optimizer);
    finite("ConstantLR", { factor, totalIters });
    this.apply();
  }
  protected override rate(base: number): number {
    return this.lastEpoch < this.totalIters ? base * this.factor : base;
  }
}

/** From `startFactor` to `endFactor` of the rate in `totalIters` epochs: a warm-up. */
export class LinearLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly startFactor = 1 / 3,
    readonly endFactor = 1,
    readonly totalIters = 5,
  ) {
    super(optimizer);
    finite("LinearLR", { startFactor, endFactor });
    positive("LinearLR", { totalIters });
    this.apply();
  }
  protected override rate(base: number): number {
    const share = Math.min(this.lastEpoch / this.totalIters, 1);
    return base * (this.startFactor + (this.endFactor - this.startFactor) * share);
  }
}

/** Times `gamma` every epoch. */
export class ExponentialLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly gamma: number,
  ) {
    super(optimizer);
    finite("ExponentialLR", { gamma });
  }
  protected override rate(base: number): number {
    return base * this.gamma ** this.lastEpoch;
  }
}

/** (1 − epoch / totalIters)^power, down to 0. */
export class PolynomialLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly totalIters = 5,
    readonly power = 1,
  ) {
    super(optimizer);
    positive("PolynomialLR", { totalIters });
    finite("PolynomialLR", { power });
  }
  protected override rate(base: number): number {
    return base * (1 - Math.min(this.lastEpoch, this.totalIters) / this.totalIters) ** this.power;
  }
}

const cosine = (from: number, to: number, share: number): number =>
  to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;

/** Along a cosine from the rate to `etaMin` in `tMax` epochs, and back. Loshchilov and Hutter 2017. */
export class CosineAnnealingLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly tMax: number,
    readonly etaMin = 0,
  ) {
    super(optimizer);
    positive("CosineAnnealingLR", { tMax });
    finite("CosineAnnealingLR", { etaMin });
  }
  protected override rate(base: number): number {
    return cosine(base, this.etaMin, this.lastEpoch / this.tMax);
  }
}

/** A cosine that starts anew after t0 epochs, then t0·tMult, … Loshchilov and Hutter 2017, equation 5. */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly t0: number,
    readonly tMult = 1,
    readonly etaMin = 0,
  ) {
    super(optimizer);
    positive("CosineAnnealingWarmRestarts", { t0, tMult });
    finite("CosineAnnealingWarmRestarts", { etaMin });
  }
  protected override rate(base: number): number {
    let at = this.lastEpoch;
    let length = this.t0;
    while (at >= length) {
      at -= length;
      length *= this.tMult;
      if (this.tMult === 1) at %= length;
    }
    return cosine(base, this.etaMin, at / length);
  }
}

export interface OneCycleOptions {
  /** Highest rate; one for all groups or one each. */
  maxLr: number | readonly number[];
  /** Steps of the whole cycle; or give `epochs` and `stepsPerEpoch`. */
  totalSteps?: number;
  epochs?: number;
  stepsPerEpoch?: number;
  /** Share of the steps in which the rate rises. Default 0.3. */
  pctStart?: number;
  /** Default `"cos"`. */
  annealStrategy?: "cos" | "linear";
  /** Momentum (or β₁) falls while the rate rises, and back. Default true. */
  cycleMomentum?: boolean;
  /** Default 0.85. */
  baseMomentum?: number;
  /** Default 0.95. */
  maxMomentum?: number;
  /** The first rate is maxLr / divFactor. Default 25. */
  divFactor?: number;
  /** The last rate is the first one / finalDivFactor. Default 10,000. */
  finalDivFactor?: number;
}

/** Up to `maxLr` and down again to almost nothing; to be stepped after every batch. Smith and Topin 2018. */
export class OneCycleLR extends LRScheduler {
  readonly totalSteps: number;
  private readonly settings: Required<Omit<OneCycleOptions, "maxLr" | "totalSteps" | "epochs" | "stepsPerEpoch">>;
  private readonly peaks: number[];

  constructor(optimizer: LRScheduler["optimizer"], options: OneCycleOptions) {
    super(optimizer);
    const { maxLr, epochs, stepsPerEpoch, totalSteps = (epochs ?? 0) * (stepsPerEpoch ?? 0), ...more } = options;
    positive("OneCycleLR", { totalSteps });
    this.totalSteps = totalSteps;
    this.peaks = typeof maxLr === "number" ? this.baseLrs.map(() => maxLr) : [...maxLr];
    if (this.peaks.length !== this.baseLrs.length) {
      throw new ValueError(`OneCycleLR: ${this.peaks.length} rates in maxLr for ${this.baseLrs.length} groups`);
    }
    this.settings = {
      pctStart: 0.3,
      annealStrategy: "cos",
      cycleMomentum: true,
      baseMomentum: 0.85,
      maxMomentum: 0.95,
      divFactor: 25,
      finalDivFactor: 1e4,
      ...more,
    };
    const { cycleMomentum } = this.settings;
    if (cycleMomentum && !this.groups.every((g) => "momentum" in g || "betas" in g)) {
      throw new ValueError("OneCycleLR: the optimizer has no momentum to cycle; set cycleMomentum: false");
    }
    this.apply();
  }

  protected override rate(_base: number, group: number): number {
    const { divFactor, finalDivFactor } = this.settings;
    const peak = this.peaks[group];
    return this.along(peak / divFactor, peak, peak / divFactor / finalDivFactor);
  }

  override apply(): void {
    if (this.lastEpoch >= this.totalSteps) {
      throw new ValueError(`OneCycleLR: step ${this.lastEpoch + 1} of a cycle of ${this.totalSteps}`);
    }
    super.apply();
    const { cycleMomentum, baseMomentum, maxMomentum } = this.settings;
    if (!cycleMomentum) return;
    const momentum = this.along(maxMomentum, baseMomentum, maxMomentum);
    for (const g of this.groups as { momentum?: number; betas?: readonly [number, number] }[]) {
      if (g.betas) g.betas = [momentum, g.betas[1]];
      else g.momentum = momentum;
    }
  }

  /** From a to b while the rate rises, to c while it falls. */
  private along(a: number, b: number, c: number): number {
    const { pctStart, annealStrategy } = this.settings;
    const top = pctStart * this.totalSteps - 1;
    const [from, to, share] =
      this.lastEpoch <= top
        ? [a, b, this.lastEpoch / top]
        : [b, c, (this.lastEpoch - top) / (this.totalSteps - 1 - top)];
    return annealStrategy === "cos" ? cosine(from, to, share) : from + (to - from) * share;
  }
}

/** Schedules one after the other; each starts anew at its milestone. */
export class SequentialLR extends LRScheduler {
  constructor(
    optimizer: LRScheduler["optimizer"],
    readonly schedulers: readonly LRScheduler[],
    readonly milestones: readonly number[],
  ) {
    super(optimizer);
    if (schedulers.length !== milestones.length + 1 || schedulers.some((s) => s.optimizer !== optimizer)) {
      throw new ValueError(
        `SequentialLR: ${schedulers.length} schedules of this optimizer need ${schedulers.length - 1} milestones, got ${milestones.length}`,
      );
    }
    // What the making of later schedules did to the rates is undone.
    this.baseLrs = [...schedulers[0].baseLrs];
    for (const s of schedulers) s.baseLrs = [...this.baseLrs];
    this.apply();
  }
  override apply(): void {
    const i = this.milestones.filter((m) => m <= this.lastEpoch).length;
    const scheduler = this.schedulers[i];
    scheduler.lastEpoch = this.lastEpoch - (i > 0 ? this.milestones[i - 1] : 0);
    scheduler.apply();
  }
}

export interface PlateauOptions {
  /** `"min"`: smaller is better. Default `"min"`. */
  mode?: "min" | "max";
  /** Factor of the rate. Default 0.1. */
  factor?: number;
  /** Epochs without improvement that are tolerated. Default 10. */
  patience?: number;
  /** What counts as an improvement. Default 1e−4. */
  threshold?: number;
  /** The threshold is a share of the best, or absolute. Default `"rel"`. */
  thresholdMode?: "rel" | "abs";
  /** Epochs after a reduction in which nothing is counted. Default 0. */
  cooldown?: number;
  /** Default 0. */
  minLr?: number;
  /** Smaller changes of the rate are not made. Default 1e−8. */
  eps?: number;
}

/** Reduces the rate when a metric no longer improves: `step(metric)`. */
export class ReduceLROnPlateau extends LRScheduler {
  private best: number;
  private badEpochs = 0;
  private cooldownLeft = 0;
  private readonly settings: Required<PlateauOptions>;

  constructor(optimizer: LRScheduler["optimizer"], options: PlateauOptions = {}) {
    super(optimizer);
    this.settings = {
      ...{ mode: "min", factor: 0.1, patience: 10, threshold: 1e-4, thresholdMode: "rel" },
      ...{ cooldown: 0, minLr: 0, eps: 1e-8 },
      ...options,
    } as Required<PlateauOptions>;
    if (!(this.settings.factor < 1)) {
      throw new ValueError(`ReduceLROnPlateau: factor must be below 1, got ${this.settings.factor}`);
    }
    this.best = this.settings.mode === "min" ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  }

  override step(metric?: number): void {
    if (typeof metric !== "number") {
      throw new ValueError(`ReduceLROnPlateau: step needs the metric, a number, got ${describe(metric)}`);
    }
    const { mode, factor, patience, threshold, thresholdMode, cooldown, minLr, eps } = this.settings;
    this.lastEpoch++;
    const sign = mode === "min" ? -1 : 1;
    const least =
      thresholdMode === "abs"
        ? this.best + sign * threshold
        : Number.isFinite(this.best)
          ? this.best * (1 + sign * threshold)
          : this.best;
    if (sign * (metric - least) > 0 || (!Number.isFinite(this.best) && !Number.isNaN(metric))) {
      this.best = metric;
      this.badEpochs = 0;
    } else {
      this.badEpochs++;
    }
    if (this.cooldownLeft > 0) {
      this.cooldownLeft--;
      this.badEpochs = 0;
    }
    if (this.badEpochs <= patience) return;
    for (const g of this.groups) {
      const lr = Math.max(g.lr * factor, minLr);
      if (g.lr - lr > eps) g.lr = lr;
    }
    this.cooldownLeft = cooldown;
    this.badEpochs = 0;
  }

  override stateDict(): Record<string, unknown> {
    const { best, badEpochs, cooldownLeft } = this;
    return { ...super.stateDict(), best, badEpochs, cooldownLeft };
  }
}

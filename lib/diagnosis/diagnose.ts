// What the curves of a training run say: too small, fitting, overfitted, diverged.
import { checkOptions, describe } from "../check.js";
import { closest } from "../closest.js";
import { ValueError } from "../errors.js";
import { type Mode, Monitor } from "../train/callbacks/monitor.js";
import { mean, noiseOf, normalCdf, spreadOf, strips, trend } from "./trend.js";

export type Verdict = "underfits" | "fits" | "overfits" | "diverges" | "too short to say";

/** Curves by name, one value an epoch. */
export type Curves = Readonly<Record<string, ArrayLike<number>>>;

export interface DiagnoseOptions {
  /** Name of the training curve, or its values. Default `"loss"`. */
  train?: string | ArrayLike<number>;
  /** Name of the validation curve, or its values; NaN where an epoch was not validated. Default `"val_loss"`. */
  validation?: string | ArrayLike<number>;
  /** Whether smaller or larger values are better; `"auto"` goes by the name of the training curve. Default `"auto"`. */
  mode?: Mode;
  /** What a model without inputs reaches: ln C for C balanced classes, the variance of the targets for squares. */
  baseline?: number;
  /** What a perfect model reaches; counts only with `baseline`. Default 0 for `"min"`, 1 for `"max"`. */
  goal?: number;
  /** Changes below this share of the curves' whole fall do not matter. Default 0.05. */
  tolerance?: number;
}

/** Criteria for stopping of Prechelt, "Early stopping — but when?" (1998); null where they are not defined. */
export interface Prechelt {
  /** GL: per cent by which the validation loss exceeds its lowest so far. */
  readonly generalizationLoss: number;
  /** PQ: GL over the training progress of the last five epochs (per mille by which their mean exceeds their lowest). */
  readonly progressQuotient: number | null;
  /** UP: how many strips of five epochs in a row, up to the last one, ended with a higher validation loss. */
  readonly successiveIncreases: number;
}

export interface Diagnosis {
  readonly verdict: Verdict;
  /** Epoch from which on it overfits or diverges, counted as in the history, from 0; null for other verdicts. */
  readonly since: number | null;
  /** Epoch of the best validation value: the one to keep. Null without any. */
  readonly bestEpoch: number | null;
  /** How much worse validation is than training at the end, in the units of the curves. */
  readonly gap: number;
  /**
   * How sure the verdict is, 0 to 1: that of the weakest finding that it rests on. See `diagnose`.
   */
  readonly confidence: number;
  /** What to do, the most promising first. */
  readonly advice: readonly string[];
  /** The finding in sentences; epochs count from 1 there, as in progress bars. */
  readonly summary: string;
  /** The summary and the advice. */
  readonly text: string;
  readonly prechelt: Prechelt | null;
}

const OPTIONS = ["train", "validation", "mode", "baseline", "goal", "tolerance"];
/** Fewer epochs than this say nothing. */
const FEWEST = 6;
/** Longer curves are looked at in strips of several epochs, so that an epoch more costs little. */
const MOST = 200;
/** A trend is one where chance makes as much of one less often than this. */
const SIGNIFICANT = 0.05;
/** Share of the fall that validation must not follow, to call that overfitting by itself. */
const WIDE = 0.5;

/**
 * Says whether a model underfits, fits, overfits or diverges, since when and what to do, from its training and
 * validation curves.
 *
 * All of it is relative to the noise of the curves (Gasser et al. 1986) and to their whole fall, from the first value, or
 * `baseline`, to the lowest; so the same curves in other units give the same verdict. In order:
 *
 * - *diverges*: the training loss is not finite, is above its start, or has risen for good;
 * - *overfits*: the validation loss has risen for good, or it has not followed half of the fall of the training loss;
 * - *underfits*: the validation loss still falls in the last third, or with `baseline` the training loss has not come
 *   half the way from there to `goal`, or it has never fallen;
 * - *fits*: none of these;
 * - *too short to say*: fewer than six epochs, or the noise hides which of them it is.
 *
 * "Has risen for good" means that Mann and Kendall's test finds a rise after the minimum of the smoothed curve (p < 0.05;
 * autocorrelation is allowed for, Hamed and Rao 1998) and that the rise exceeds `tolerance`. The confidence is the smaller
 * one of 1 − p and of the probability, with normal errors, that the true change exceeds its threshold; for *fits* it is
 * what the strongest of the other findings leaves.
 *
 * @example
 * const diagnosis = diagnose(history, { baseline: Math.log(10) });
 * console.log(diagnosis.text);
 * // The model overfits from epoch 12 on: …
 *
 * @param history a History, its `history`, or any curves by name; may be left out if both curves are given as arrays
 * @throws ValueError for names that are not in the history, curves of different lengths, unknown options
 */
export function diagnose(
  history: Curves | { readonly epoch: readonly number[]; readonly history: Curves } | null,
  options: DiagnoseOptions = {},
): Diagnosis {
  checkOptions(options, OPTIONS, "diagnose");
  const { tolerance = 0.05, baseline } = options;
  const name = typeof options.train === "string" ? options.train : "loss";
  const { mode } = new Monitor("diagnose", name, options.mode);
  if (!(tolerance > 0 && tolerance < 1)) {
    throw new ValueError(`diagnose: tolerance is a share between 0 and 1, got ${describe(tolerance)}`);
  }
  const goal = options.goal ?? (mode === "min" ? 0 : 1);
  const sign = mode === "min" ? 1 : -1;
  if (baseline !== undefined && !(Number.isFinite(baseline) && sign * (baseline - goal) > 0)) {
    throw new ValueError(`diagnose: baseline must be worse than goal (${goal}, mode "${mode}"), got ${baseline}`);
  }

  const { curves, epochs } = unpack(history);
  const train = pick(curves, options.train ?? "loss", "train");
  const validation = pick(curves, options.validation ?? "val_loss", "validation");
  if (train.values.length !== validation.values.length) {
    throw new ValueError(
      `diagnose: one value an epoch is needed from both curves, got ${train.values.length} of ${train.name} and ${validation.values.length} of ${validation.name}`,
    );
  }
  const numbers = epochs ?? train.values.map((_, i) => i);
  const view = new View(train, validation, numbers, sign, { tolerance, baseline, goal });
  return view.diagnosis();
}

interface Curve {
  readonly name: string;
  readonly values: number[];
}

function unpack(history: Parameters<typeof diagnose>[0]): { curves: Curves; epochs?: readonly number[] } {
  if (history === null) return { curves: {} };
  if (typeof history !== "object") {
    throw new ValueError(`diagnose: a History or curves by name are needed, got ${describe(history)}`);
  }
  const inner = history.history;
  if (typeof inner === "object" && !("length" in inner)) {
    return { curves: inner, epochs: history.epoch as readonly number[] };
  }
  return { curves: history as Curves };
}

function pick(curves: Curves, wanted: string | ArrayLike<number>, role: "train" | "validation"): Curve {
  if (typeof wanted !== "string") {
    if (typeof wanted?.length !== "number") {
      throw new ValueError(`diagnose: ${role} is a name or an array of numbers, got ${describe(wanted)}`);
    }
    return { name: role === "train" ? "training loss" : "validation loss", values: Array.from(wanted) };
  }
  if (!Object.hasOwn(curves, wanted)) {
    const names = Object.keys(curves);
    const near = closest(wanted, names);
    throw new ValueError(
      `diagnose: there is no curve ${JSON.stringify(wanted)} for ${role}; ${near ? `did you mean ${near}? ` : ""}there ${names.length ? `are ${names.join(", ")}` : "are none"}`,
    );
  }
  const name = wanted.startsWith("val_") ? `validation ${wanted.slice(4)}` : wanted;
  return { name: role === "train" ? `training ${wanted}` : name, values: Array.from(curves[wanted]) };
}

/** P(true value > threshold), for an estimate with a normal error. */
const probability = (estimate: number, threshold: number, error: number): number =>
  error > 0 ? normalCdf((estimate - threshold) / error) : estimate > threshold ? 1 : 0;

/** Something that the curves show: how likely it is, and whether it is held to be so. */
interface Finding {
  readonly holds: boolean;
  readonly probability: number;
}

/** A curve of costs (smaller is better) in strips. */
class Costs {
  readonly noise: number;
  /** Means over windows of `width`, by the index of their first strip. */
  readonly windows: number[];
  /** First strip of the lowest window. */
  readonly low: number;

  constructor(
    readonly values: readonly number[],
    readonly width: number,
  ) {
    this.noise = noiseOf(values);
    this.windows = values.slice(0, values.length - width + 1).map((_, i) => mean(values.slice(i, i + width)));
    this.low = this.windows.indexOf(Math.min(...this.windows));
  }

  get first(): number {
    return this.values[0];
  }
  get last(): number {
    return this.windows[this.windows.length - 1];
  }
  get lowest(): number {
    return this.windows[this.low];
  }
  /** The strip in the lowest window around which the curve is lowest: where it turns. */
  get turn(): number {
    const around = (i: number): number => mean(this.values.slice(Math.max(0, i - 1), i + 2));
    const inside = Array.from({ length: this.width }, (_, i) => this.low + i);
    return inside.reduce((best, i) => (around(i) < around(best) ? i : best));
  }
  /** Standard error of a window's mean. */
  get error(): number {
    return this.noise / Math.sqrt(this.width);
  }
  get rise(): number {
    return this.last - this.lowest;
  }
  /** Is it nothing but noise around a level? Neighbours of a curve that moves are closer than its values altogether. */
  get flat(): boolean {
    const spread = spreadOf(this.values) + 1e-12 * Math.abs(this.first); // equal values too, whose means round
    return (
      this.first - this.lowest <= 3 * spread &&
      (this.noise >= 0.3 * spread || spread <= 1e-9 * Math.abs(this.first)) &&
      trend(this.values).falling > SIGNIFICANT
    );
  }

  /** Has the curve risen for good since its minimum, and by more than that? */
  rises(threshold: number): Finding & { readonly p: number } {
    const tail = this.values.slice(this.turn + 1);
    const { slope, error, rising: p } = trend(tail);
    // Both ways to see how large the rise is: a short tail has steep slopes by chance, a long one low windows.
    const exceeds = Math.min(
      probability(slope * tail.length, threshold, error * tail.length),
      probability(this.rise, threshold, this.error * Math.SQRT2),
    );
    return { p, holds: p < SIGNIFICANT && exceeds > 0.5, probability: Math.min(1 - p, exceeds) };
  }

  /** Would it fall by more than that over as many epochs as the last third has? */
  falls(threshold: number): Finding & { readonly fall: number; readonly strips: number } {
    const n = Math.max(FEWEST - 1, Math.ceil(this.values.length / 3));
    const { slope, error, falling } = trend(this.values.slice(-n));
    const fall = -slope * n;
    const exceeds = probability(fall, threshold, error * n);
    const holds = falling < SIGNIFICANT && exceeds > 0.5;
    return { holds, probability: Math.min(1 - falling, exceeds), fall, strips: n };
  }
}

interface Scale {
  readonly tolerance: number;
  readonly baseline: number | undefined;
  readonly goal: number;
}

/** Both curves of a run, and what is found in them. */
class View {
  /** Epochs with both values, before the first that is not finite. */
  private readonly kept: number[];
  private readonly broken: number | undefined;
  private readonly best: number | undefined;

  constructor(
    private readonly train: Curve,
    private readonly validation: Curve,
    private readonly epochs: readonly number[],
    private readonly sign: 1 | -1,
    private readonly scale: Scale,
  ) {
    const [t, v] = [train.values, validation.values];
    const bad = t.findIndex((x, i) => !Number.isFinite(x) || Math.abs(v[i]) === Number.POSITIVE_INFINITY);
    this.broken = bad < 0 ? undefined : bad;
    this.kept = t.map((_, i) => i).filter((i) => (bad < 0 || i < bad) && Number.isFinite(v[i]));
    for (const i of this.kept) {
      if (this.best === undefined || sign * (v[i] - v[this.best]) < 0) this.best = i;
    }
  }

  diagnosis(): Diagnosis {
    const { kept, train, validation } = this;
    if (this.broken !== undefined) {
      const value = Number.isFinite(train.values[this.broken]) ? validation : train;
      const is = `the ${value.name} is ${value.values[this.broken]} in epoch ${this.epochs[this.broken] + 1}`;
      return this.result("diverges", 1, this.broken, [is], diverging);
    }
    if (kept.length < FEWEST) {
      const count = `${kept.length} epochs with training and validation values`;
      return this.result(
        "too short to say",
        0,
        undefined,
        [`there are ${count}, at least ${FEWEST} are needed`],
        [`train for ${FEWEST} epochs or more, with validation`],
      );
    }
    return this.judge();
  }

  private judge(): Diagnosis {
    const { kept, sign, scale, train, validation } = this;
    const strip = Math.ceil(kept.length / MOST);
    const costs = (curve: Curve): number[] =>
      strips(
        kept.map((i) => sign * curve.values[i]),
        strip,
      );
    // Of 9 strips windows of 3, of 100 of 5, of 200 of 7.
    const width = 2 * Math.max(1, Math.round(Math.sqrt(Math.ceil(kept.length / strip)) / 4)) + 1;
    const t = new Costs(costs(train), width);
    const v = new Costs(costs(validation), width);
    const gaps = new Costs(
      v.values.map((x, i) => x - t.values[i]),
      width,
    );
    /** The epoch, by its place among all, in which a strip begins. */
    const epochOf = (at: number): number => kept[Math.min(at * strip, kept.length - 1)];
    const top = scale.baseline === undefined ? Math.max(t.first, v.first) : sign * scale.baseline;
    const span = Math.max(top - Math.min(t.lowest, v.lowest), 0);
    const matters = scale.tolerance * span;
    const say = (cost: number): string => short(sign * cost);
    const far = (cost: number): string => short(Math.abs(cost));
    const [down, up, rose] = sign > 0 ? ["falls", "risen", "rose"] : ["rises", "fallen", "fell"];

    // A loss that never moved, or not far enough.
    const way = scale.baseline === undefined ? Number.NaN : sign * (scale.baseline - scale.goal);
    const come = (top - t.last) / way;
    const low = Number.isNaN(way) ? 0 : 1 - probability(come, 0.5, t.error / way);
    if (t.flat && (low > 0.5 || Number.isNaN(way))) {
      const confidence = low > 0.5 ? low : 0.5;
      return this.result(
        "underfits",
        confidence,
        undefined,
        [`the ${train.name} has not ${up === "risen" ? "fallen" : "risen"} since the first epoch`],
        ["a larger learning rate", ...larger],
      );
    }

    // The training loss.
    const blown = probability(t.values[t.values.length - 1], top + Math.max(matters, 3 * t.noise), t.noise);
    const back = t.rises(matters);
    if (back.holds || blown > 0.5) {
      const above = blown > back.probability;
      const how = above
        ? `the ${train.name} is ${say(t.values[t.values.length - 1])}, worse than at the start (${say(top)})`
        : `the ${train.name} has ${up} from ${say(t.lowest)} to ${say(t.last)} and keeps on (Mann–Kendall p ${pValue(back.p)})`;
      const since = epochOf(Math.min(t.turn + 1, t.values.length - 1));
      return this.result("diverges", Math.max(blown, back.probability), since, [how], diverging);
    }

    // The validation loss against it.
    const turned = v.rises(matters);
    // A gap that was there from the start, as that of two different sets, is none that training opened.
    const opened = gaps.last - Math.max(0, gaps.first);
    const wide = probability(opened, WIDE * span, Math.hypot(gaps.error, gaps.noise));
    if (turned.holds || (span > 0 && wide > 0.5)) {
      const by = [
        turned.holds &&
          `the ${validation.name} ${rose} from ${say(v.lowest)} to ${say(v.last)} while the ${train.name} went from ${say(t.windows[v.low])} to ${say(t.last)} (Mann–Kendall p ${pValue(turned.p)}${v.noise > 0 ? `, ${short(v.rise / v.noise)} times the noise` : ""})`,
        span > 0 &&
          wide > 0.5 &&
          `training is ahead of validation by ${far(gaps.last)}${turned.holds ? "" : `, ${Math.round((100 * opened) / span)} % of what it has learned`}, which are peculiarities of its own samples`,
      ].filter((s) => typeof s === "string");
      const flat = v.windows.findIndex((w) => w <= v.lowest + matters) + (v.width >> 1);
      const since = epochOf(turned.holds ? Math.min(v.turn + 1, v.values.length - 1) : flat);
      const sure = Math.max(turned.holds ? turned.probability : 0, wide > 0.5 ? wide : 0);
      const stop =
        this.best !== undefined && this.best < kept[kept.length - 1]
          ? [`stop at epoch ${this.epochs[this.best] + 1} and keep its weights (EarlyStopping with restoreBestWeights)`]
          : [];
      return this.result("overfits", sure, since, by, [...stop, ...overfitting]);
    }

    // How far both came.
    const still = v.falls(matters);
    if (still.holds) {
      const more = still.strips * strip;
      const steady = still.fall > 0.5 * (span * (still.strips / v.values.length));
      return this.result(
        "underfits",
        still.probability,
        undefined,
        [`the ${validation.name} still ${down}, by ${far(still.fall)} over the last ${more} epochs`],
        [
          "train longer",
          ...(steady ? ["try a larger learning rate: the curves are still nearly straight"] : []),
          "then, if both curves become flat too early, take a larger model",
        ],
      );
    }
    if (low > 0.5) {
      const reached = `training comes ${Math.round(100 * come)} % of the way from the baseline ${say(top)} to ${short(scale.goal)}, and does not go on`;
      return this.result("underfits", low, undefined, [reached], larger);
    }
    const others = [back.probability, turned.probability, wide, still.probability, low];
    const sure = 1 - Math.max(...others);
    if (sure < 0.5) {
      const why = "the curves are too noisy for their length: a change that matters cannot be told from chance";
      return this.result(
        "too short to say",
        0,
        undefined,
        [why],
        ["train longer", "a larger validation set, or a smaller learning rate, makes the curves smoother"],
      );
    }
    return this.result(
      "fits",
      sure,
      undefined,
      [
        `the ${validation.name} went from ${say(v.first)} to ${say(v.last)} and stays there, ${far(gaps.last)} ${gaps.last < 0 ? "better" : "worse"} than in training`,
      ],
      ["nothing has to change", "a larger model may do better, as long as the gap stays small"],
    );
  }

  private result(
    verdict: Verdict,
    confidence: number,
    since: number | undefined,
    reasons: readonly string[],
    advice: readonly string[],
  ): Diagnosis {
    const { best, epochs, kept, sign, validation, train } = this;
    const at = kept.slice(-3);
    const gap = mean(at.map((i) => sign * (validation.values[i] - train.values[i])));
    const opening: Record<Verdict, string> = {
      underfits: "The model underfits",
      fits: "The model fits",
      overfits: `The model overfits from epoch ${since === undefined ? "" : epochs[since] + 1} on`,
      diverges: `Training diverges from epoch ${since === undefined ? "" : epochs[since] + 1} on`,
      "too short to say": "It is too early to say",
    };
    const kind =
      verdict === "too short to say" ? "" : ` Confidence ${confidence > 0.99 ? "above 0.99" : confidence.toFixed(2)}.`;
    const bestOne =
      best === undefined
        ? ""
        : ` The best ${validation.name} was ${short(validation.values[best])} in epoch ${epochs[best] + 1} of ${validation.values.length}.`;
    const summary = `${opening[verdict]}: ${reasons.join("; ")}.${bestOne}${kind}`;
    return {
      verdict,
      since: since === undefined ? null : epochs[since],
      bestEpoch: best === undefined ? null : epochs[best],
      gap,
      confidence,
      advice,
      summary,
      text: `${summary} What to do: ${advice.join("; ")}.`,
      prechelt:
        sign > 0
          ? prechelt(
              kept.map((i) => train.values[i]),
              kept.map((i) => validation.values[i]),
            )
          : null,
    };
  }
}

const overfitting = [
  "more training data, or augmentation of what there is",
  "weight decay",
  "dropout",
  "a smaller model",
];
const larger = [
  "a larger model, or inputs that say more",
  "less weight decay and dropout",
  "if that changes nothing, the rest may be noise in the data, which no model can learn",
];
const diverging = [
  "a smaller learning rate",
  "clip the gradients",
  "look for values that are not finite or far too large in the data (detectAnomaly names the operation)",
];

/** Prechelt's criteria at the last epoch. */
function prechelt(train: readonly number[], validation: readonly number[]): Prechelt | null {
  const strip = 5;
  if (train.length < strip || ![...train, ...validation].every((x) => x > 0)) return null;
  const generalizationLoss = 100 * (validation[validation.length - 1] / Math.min(...validation) - 1);
  const recent = train.slice(-strip);
  const progress = 1000 * (mean(recent) / Math.min(...recent) - 1);
  let successiveIncreases = 0;
  for (let end = validation.length - 1; end >= strip && validation[end] > validation[end - strip]; end -= strip) {
    successiveIncreases++;
  }
  return {
    generalizationLoss,
    progressQuotient: progress > 0 ? generalizationLoss / progress : null,
    successiveIncreases,
  };
}

const short = (x: number): string => String(Number(x.toPrecision(3)));
const pValue = (p: number): string => (p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`);

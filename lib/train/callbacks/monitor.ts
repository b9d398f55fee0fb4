// The value that a callback goes by: which it is, whether larger or smaller is better, what counts as better.
import { describe } from "../../check.js";
import { closest } from "../../closest.js";
import { ValueError } from "../../errors.js";
import type { Logs, Loop } from "../callback.js";

export type Mode = "auto" | "min" | "max";

/** Words in names of which larger, or smaller, values are better. */
const larger = new Set(
  "acc accuracy auc auroc f1 fbeta fmeasure precision recall sensitivity specificity r2 iou dice psnr ssim bleu score".split(
    " ",
  ),
);
const smaller = new Set(
  "loss error mse mae rmse msle mape perplexity nll entropy crossentropy divergence distance wer cer".split(" "),
);

/** `"val_top5Accuracy"` → val, top5, accuracy. */
const wordsOf = (name: string): string[] =>
  name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .split(/[^a-z0-9]+/);

/** A named value of the logs, compared with earlier ones. */
export class Monitor {
  readonly mode: "min" | "max";

  /**
   * @param owner the callback, for messages
   * @param mode `"auto"` goes by the words in the name
   * @param minDelta what a value must be better by
   * @throws ValueError when the name does not say which values are better
   */
  constructor(
    private readonly owner: string,
    readonly name: string,
    mode: Mode = "auto",
    private readonly minDelta = 0,
  ) {
    if (typeof name !== "string" || name === "") {
      throw new ValueError(
        `${owner}: monitor is the name of a value in the logs, such as "val_loss", got ${describe(name)}`,
      );
    }
    if (!["auto", "min", "max"].includes(mode)) {
      throw new ValueError(`${owner}: mode must be "auto", "min" or "max", got ${describe(mode)}`);
    }
    checkNumber(owner, "minDelta", minDelta);
    this.mode = mode === "auto" ? this.guess() : mode;
  }

  private guess(): "min" | "max" {
    const words = wordsOf(this.name);
    const [up, down] = [larger, smaller].map((set) => words.some((w) => set.has(w)));
    if (up !== down) return up ? "max" : "min";
    throw new ValueError(
      `${this.owner}: the name ${JSON.stringify(this.name)} does not say whether larger or smaller values are better; ` +
        'pass mode: "max" or mode: "min"',
    );
  }

  /**
   * Is it better than the reference (by `minDelta`)? Anything is better than nothing and any number better than NaN,
   * which a comparison alone would never get away from.
   */
  better(value: number, reference: number | undefined): boolean {
    if (reference === undefined) return true;
    if (Number.isNaN(reference)) return !Number.isNaN(value);
    return this.mode === "min" ? value + this.minDelta < reference : value - this.minDelta > reference;
  }

  /** Throws before training where there will be no such value. */
  check(loop: Loop): void {
    if (!this.name.startsWith("val_") || loop.validates) return;
    throw new ValueError(
      `${this.owner}: ${this.name} is a value of the validation, and there is no data for that; pass some, or go by ${this.name.slice(4)}`,
    );
  }

  /**
   * The value in an epoch's logs; undefined in an epoch without validation when it is one of the validation.
   *
   * @throws ValueError when there is no such value
   */
  read(logs: Logs): number | undefined {
    const value = logs[this.name];
    if (value !== undefined) return value;
    const names = Object.keys(logs);
    if (this.name.startsWith("val_") && !names.some((n) => n.startsWith("val_"))) return undefined;
    throw new ValueError(`${this.owner}: there is no value ${unknownName(this.name, names)}`);
  }
}

/** `"valloss"; did you mean val_loss? There are loss, val_loss` */
export function unknownName(name: string, names: readonly string[]): string {
  const near = closest(name, names);
  return `${JSON.stringify(name)}; ${near ? `did you mean ${near}? ` : ""}There are ${names.join(", ") || "none"}`;
}

/** Throws unless the value is a finite number of at least `least`. */
export function checkNumber(owner: string, name: string, value: unknown, least = 0): void {
  if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
    throw new ValueError(`${owner}: ${name} must be a finite number ≥ ${least}, got ${describe(value)}`);
  }
}

/** Throws unless the value is an integer of at least `least`. */
export function checkCount(owner: string, name: string, value: unknown, least: number): void {
  if (!Number.isSafeInteger(value) || (value as number) < least) {
    throw new ValueError(`${owner}: ${name} must be an integer ≥ ${least}, got ${describe(value)}`);
  }
}

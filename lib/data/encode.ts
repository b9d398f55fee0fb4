// Labels as numbers and back, and weights that balance classes.
import { checkOptions, describe } from "../check.js";
import { closest, listed } from "../closest.js";
import { ShapeError, ValueError } from "../errors.js";
import { tensor } from "../tensor/create.js";
import { dtypeFacts } from "../tensor/dtype.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";

/** What names a class. */
export type Label = string | number | boolean | bigint;

/** Texts before numbers would be surprising, so each kind in its own order. */
function compare(a: Label, b: Label): number {
  if (typeof a !== typeof b) return typeof a < typeof b ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function listOf(labels: Tensor | ArrayLike<Label>, op: string): Label[] {
  if (labels instanceof Tensor) {
    if (labels.ndim !== 1) throw new ShapeError(`${op}: labels [samples] are needed, got ${show(labels.shape)}`);
    return Array.from(labels.dataSync() as ArrayLike<number | bigint>, Number);
  }
  if (typeof labels !== "object" || labels === null || !Number.isInteger(labels.length)) {
    throw new ValueError(`${op}: an array or a tensor of labels is needed, got ${describe(labels)}`);
  }
  return Array.from(labels, (label, i) => {
    if (!["string", "number", "boolean", "bigint"].includes(typeof label) || Number.isNaN(label)) {
      throw new ValueError(`${op}: label ${i} is ${describe(label)}`);
    }
    return label;
  });
}

/**
 * Numbers for labels (scikit-learn's `LabelEncoder`): classes are sorted, and a label becomes the place of its class.
 *
 * @example
 * const encoder = new data.LabelEncoder();
 * encoder.fitTransform(["cat", "dog", "cat"]).toArray(); // [0, 1, 0]
 * encoder.inverseTransform(logits.argmax(1)); // ["dog", …]
 */
export class LabelEncoder<T extends Label = Label> {
  private list: readonly T[] | undefined;
  private places: ReadonlyMap<Label, number> = new Map();

  /** The classes in the order of their numbers. */
  get classes(): readonly T[] {
    if (this.list) return this.list;
    throw new ValueError("LabelEncoder: call fit with training labels first");
  }

  /** Learns the classes that there are. */
  fit(labels: Tensor | ArrayLike<T>): this {
    const found = [...new Set(listOf(labels, "LabelEncoder"))].sort(compare);
    if (found.length === 0) throw new ValueError("LabelEncoder: there are no labels");
    this.loadStateDict({ classes: found as T[] });
    return this;
  }

  /**
   * The labels' numbers, int64.
   *
   * @throws ValueError for a label that `fit` did not see
   */
  transform(labels: Tensor | ArrayLike<T>, options: { device?: string } = {}): Tensor {
    const { classes } = this;
    const numbers = listOf(labels, "LabelEncoder").map((label, i) => {
      const place = this.places.get(label);
      if (place !== undefined) return place;
      const near = typeof label === "string" ? closest(label, classes.map(String)) : undefined;
      throw new ValueError(
        `LabelEncoder: label ${i} is ${describe(label)}, which is none of the classes; ` +
          `${near ? `did you mean ${JSON.stringify(near)}? ` : ""}they are ${listed(classes)}`,
      );
    });
    return tensor(numbers, { dtype: "int64", ...options });
  }

  fitTransform(labels: Tensor | ArrayLike<T>, options: { device?: string } = {}): Tensor {
    return this.fit(labels).transform(labels, options);
  }

  /** The labels of numbers. */
  inverseTransform(numbers: Tensor | ArrayLike<number | bigint>): T[] {
    const { classes } = this;
    return listOf(numbers, "LabelEncoder").map((n, i) => {
      const at = Number(n);
      if (Number.isInteger(at) && at >= 0 && at < classes.length) return classes[at];
      throw new ValueError(`LabelEncoder: number ${i} is ${String(n)}; there are ${classes.length} classes, from 0 on`);
    });
  }

  stateDict(): { classes: T[] } {
    return { classes: [...this.classes] };
  }

  loadStateDict({ classes }: { classes: readonly T[] }): void {
    if (!Array.isArray(classes)) throw new ValueError("LabelEncoder: the state needs classes");
    this.list = [...classes];
    this.places = new Map(classes.map((label, i) => [label, i]));
  }
}

/**
 * Weights that give every class the same part in a loss (scikit-learn's "balanced"): samples / (classes · count of the
 * class), float32 [classes].
 *
 * @param labels numbers of classes, from 0 on
 * @param options `classes`: how many there are; default: the largest label + 1
 * @throws ValueError for a class without samples
 * @example
 * const weight = data.computeClassWeight(y);
 * const loss = crossEntropy(logits, y, { weight });
 */
export function computeClassWeight(
  labels: Tensor | ArrayLike<number | bigint>,
  options: { classes?: number; device?: string } = {},
): Tensor {
  checkOptions(options, ["classes", "device"], "computeClassWeight");
  if (labels instanceof Tensor && dtypeFacts[labels.dtype].kind === "float") {
    throw new ValueError(`computeClassWeight: labels are whole numbers, got ${labels.dtype}`);
  }
  const numbers = listOf(labels, "computeClassWeight").map(Number);
  const { classes = numbers.reduce((a, b) => Math.max(a, b), -1) + 1, device } = options;
  if (numbers.length === 0 || !Number.isInteger(classes) || classes < 1) {
    throw new ValueError(`computeClassWeight: ${numbers.length} labels of ${classes} classes give no weights`);
  }
  const counts = new Array<number>(classes).fill(0);
  numbers.forEach((label, i) => {
    if (!(label in counts)) {
      throw new ValueError(
        `computeClassWeight: label ${i} is ${label}, which is none of the classes 0 to ${classes - 1}`,
      );
    }
    counts[label]++;
  });
  const empty = counts.indexOf(0);
  if (empty >= 0) throw new ValueError(`computeClassWeight: class ${empty} of ${classes} has no samples`);
  return tensor(
    counts.map((count) => numbers.length / (classes * count)),
    { device },
  );
}

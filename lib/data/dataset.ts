// Datasets: samples that can be asked for by number.
import { describe } from "../check.js";
import { IndexError, ShapeError, ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { stack } from "../ops/arrange.js";
import { checkTensor } from "../ops/define.js";
import { indexSelect } from "../ops/indexing.js";
import { select } from "../ops/movement.js";
import { tensor } from "../tensor/create.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";

/**
 * Samples by number. A subclass says how many there are and gives one; `batch` may be overridden where several at once
 * are cheaper.
 *
 * @example
 * class Squares extends data.Dataset<[Tensor, Tensor]> {
 *   readonly length = 100;
 *   get(i: number): [Tensor, Tensor] {
 *     return [tensor([i]), tensor([i * i])];
 *   }
 * }
 */
export abstract class Dataset<T> {
  /** Number of samples. */
  abstract readonly length: number;

  /** One sample; may be a promise. */
  abstract get(index: number): T | Promise<T>;

  /** Samples joined in a batch: tensors and numbers stacked, arrays and objects member by member. */
  async batch(indices: readonly number[]): Promise<T> {
    return collate(await Promise.all(indices.map((i) => this.get(i))));
  }
}

/** Tensors whose first dimension counts the samples; a sample is a row of each. */
export class TensorDataset<T extends readonly Tensor[] = Tensor[]> extends Dataset<T> {
  readonly tensors: T;
  readonly length: number;

  constructor(...tensors: T) {
    super();
    if (tensors.length === 0) throw new ValueError("TensorDataset: at least one tensor is needed");
    for (const t of tensors) {
      if (checkTensor(t, "TensorDataset").ndim === 0 || t.shape[0] !== tensors[0].shape[0]) {
        throw new ShapeError(
          `TensorDataset: the first dimension counts the samples and must agree: ${tensors.map((x) => show(x.shape)).join(", ")}`,
        );
      }
    }
    this.tensors = tensors;
    this.length = tensors[0].shape[0];
  }

  get(index: number): T {
    checkIndex(index, this.length, "TensorDataset");
    return this.tensors.map((t) => select(t, 0, index)) as unknown as T;
  }

  override async batch(indices: readonly number[]): Promise<T> {
    for (const i of indices) checkIndex(i, this.length, "TensorDataset");
    return noGrad(() => this.tensors.map((t) => indexSelect(t, 0, [...indices]))) as unknown as T;
  }
}

/** Some samples of another dataset. */
export class Subset<T> extends Dataset<T> {
  constructor(
    readonly dataset: Dataset<T>,
    readonly indices: readonly number[],
  ) {
    super();
    for (const i of indices) checkIndex(i, dataset.length, "Subset");
  }
  get length(): number {
    return this.indices.length;
  }
  get(index: number): T | Promise<T> {
    checkIndex(index, this.length, "Subset");
    return this.dataset.get(this.indices[index]);
  }
  override batch(indices: readonly number[]): Promise<T> {
    return this.dataset.batch(indices.map((i) => this.indices[i]));
  }
}

/** Datasets one after the other. */
export class ConcatDataset<T> extends Dataset<T> {
  readonly length: number;

  constructor(readonly datasets: readonly Dataset<T>[]) {
    super();
    this.length = datasets.reduce((n, d) => n + d.length, 0);
  }
  get(index: number): T | Promise<T> {
    checkIndex(index, this.length, "ConcatDataset");
    let at = index;
    const home = this.datasets.find((d) => {
      if (at < d.length) return true;
      at -= d.length;
      return false;
    }) as Dataset<T>;
    return home.get(at);
  }
}

/** Samples of another dataset as a function changes them, each time anew: augmentation. */
export class MapDataset<T, U> extends Dataset<U> {
  constructor(
    readonly dataset: Dataset<T>,
    readonly fn: (sample: T, index: number) => U | Promise<U>,
  ) {
    super();
  }
  get length(): number {
    return this.dataset.length;
  }
  async get(index: number): Promise<U> {
    return this.fn(await this.dataset.get(index), index);
  }
}

/**
 * @internal Where samples are rows of tensors in memory: those tensors, and which rows, null for all in order. Null
 * elsewhere, and for datasets that make something else of the rows.
 */
export function rowsOf(
  dataset: Dataset<unknown>,
): { tensors: readonly Tensor[]; rows: readonly number[] | null } | null {
  const plain = (kind: typeof TensorDataset | typeof Subset): boolean =>
    dataset.get === kind.prototype.get && dataset.batch === kind.prototype.batch;
  if (dataset instanceof TensorDataset && plain(TensorDataset)) return { tensors: dataset.tensors, rows: null };
  if (!(dataset instanceof Subset && plain(Subset))) return null;
  const whole = rowsOf(dataset.dataset);
  if (!whole) return null;
  const { rows } = whole;
  return { tensors: whole.tensors, rows: rows ? dataset.indices.map((i) => rows[i]) : dataset.indices };
}

function checkIndex(index: number, length: number, what: string): void {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new IndexError(`${what}: there is no sample ${index} among ${length}`);
  }
}

/** Samples as one batch: tensors stacked, numbers and booleans as a tensor, arrays and objects member by member. */
export function collate<T>(samples: readonly T[]): T {
  const [first] = samples as readonly unknown[];
  const join = (list: readonly unknown[]): unknown => collate(list);
  if (first instanceof Tensor) return stack(samples as unknown as Tensor[]) as T;
  if (typeof first === "number" || typeof first === "boolean" || typeof first === "bigint") {
    return tensor(samples as unknown as number[]) as T;
  }
  if (ArrayBuffer.isView(first)) return stack(samples.map((s) => tensor(s as unknown as Float32Array))) as T;
  if (Array.isArray(first)) {
    return first.map((_, i) => join(samples.map((s) => (s as unknown[])[i]))) as T;
  }
  if (typeof first === "object" && first !== null && Object.getPrototypeOf(first) === Object.prototype) {
    const keys = Object.keys(first);
    return Object.fromEntries(keys.map((k) => [k, join(samples.map((s) => (s as Record<string, unknown>)[k]))])) as T;
  }
  if (typeof first === "string") return [...samples] as T;
  throw new ValueError(`collate: samples of ${describe(first)} cannot be joined; give the loader a collate function`);
}

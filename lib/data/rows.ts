// Rows: batches that are rows of tensors in memory, made without promises and, in a recorded step, inside the program.
import { noGrad } from "../graph/modes.js";
import { indexSelect } from "../ops/indexing.js";
import { counting } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";

/** The batches of an epoch. */
export class Rows {
  /** Place of the present batch's first sample in the order, and how many there are. */
  at = 0;
  count = 0;

  /**
   * @param order which row each sample is, in the order of the epoch; null for all as they come
   * @param advance the place and size of the next batch; null at the end
   */
  constructor(
    readonly tensors: readonly Tensor[],
    readonly order: Tensor | null,
    private readonly advance: () => { at: number; count: number } | null,
  ) {}

  /** Goes on to the next batch; false at the end. */
  next(): boolean {
    const found = this.advance();
    if (!found) return false;
    this.at = found.at;
    this.count = found.count;
    return true;
  }

  /** The present batch. */
  batch(): Tensor[] {
    return rowsAt(this.tensors, this.order, this.count, () => this.at);
  }
}

/** `count` samples from place `at` on, which a captured function asks for at each replay. */
export const rowsAt = (tensors: readonly Tensor[], order: Tensor | null, count: number, at: () => number): Tensor[] =>
  noGrad(() => {
    const places = counting(at, count, tensors[0].storage.device);
    const rows = order ? indexSelect(order, 0, places) : places;
    return tensors.map((t) => indexSelect(t, 0, rows));
  });

// Where random numbers come from: a seed, and a count of the blocks of random bits that were used.
import { ValueError } from "../errors.js";

/** The state of a generator: plain numbers, to be stored in a checkpoint. */
export interface RngState {
  readonly seed: number;
  readonly offset: number;
}

function checkCount(value: unknown, what: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new ValueError(`${what} must be an integer from 0 to 2^53 − 1, got ${String(value)}`);
  }
  return value as number;
}

/**
 * A sequence of random numbers that its seed determines. The bits are Philox 4×32-10 (Salmon et al. 2011), computed
 * from the seed and a block number, so that every device and any number of threads give the same numbers.
 *
 * @example
 * const generator = new Generator(7);
 * rand([3], { generator });
 */
export class Generator {
  private key: number;
  private next = 0;

  /** @param seed an integer from 0 to 2^53 − 1; another one each time when absent. */
  constructor(seed: number = freshSeed()) {
    this.key = checkCount(seed, "Generator: the seed");
  }

  get seed(): number {
    return this.key;
  }

  /** Starts again with this seed. */
  manualSeed(seed: number): this {
    this.key = checkCount(seed, "manualSeed: the seed");
    this.next = 0;
    return this;
  }

  /** @internal Number of the first of `blocks` blocks that nobody else gets. */
  take(blocks: number): number {
    const first = this.next;
    this.next = checkCount(first + blocks, "Generator: the number of blocks used");
    return first;
  }

  getState(): RngState {
    return { seed: this.key, offset: this.next };
  }

  setState(state: RngState): this {
    const seed = checkCount(state?.seed, "setRngState: seed");
    this.next = checkCount(state.offset, "setRngState: offset");
    this.key = seed;
    return this;
  }
}

const freshSeed = (): number => Math.floor(Math.random() * 2 ** 53);

/** The generator of this thread, used where none is named. */
export const defaultGenerator = new Generator();

/** Seeds the numbers that follow: the same seed gives the same numbers (`torch.manual_seed`). */
export const manualSeed = (seed: number): Generator => defaultGenerator.manualSeed(seed);
/** Seed and position of the default generator. */
export const getRngState = (): RngState => defaultGenerator.getState();
/** Continues from a state that `getRngState` gave. */
export const setRngState = (state: RngState): void => {
  defaultGenerator.setState(state);
};

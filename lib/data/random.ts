// Random numbers for decisions on the host, such as orders and choices: of the library's generator, one at a time.
import { rand, randn } from "../ops/random.js";
import { defaultGenerator, Generator } from "../tensor/random.js";

/** A seed below 2^53 of the default generator's sequence: another one at each call, all decided by `manualSeed`. */
export const drawSeed = (): number => (defaultGenerator.seed * 31 + defaultGenerator.take(1)) % 2 ** 53;

const BLOCK = 256;

/** Numbers that a seed determines, on every machine the same. */
export class HostRandom {
  private readonly generator: Generator;
  private block: ArrayLike<number> = [];
  private next = 0;

  /** @param stream another one gives other numbers of the same seed */
  constructor(seed: number = drawSeed(), stream = 0) {
    this.generator = new Generator(seed).setState({ seed, offset: stream * 2 ** 32 });
  }

  private draw(fn: typeof rand, n: number): Float64Array {
    return fn([n], { device: "js", dtype: "float64", generator: this.generator }).dataSync() as Float64Array;
  }

  /** Numbers uniform in [0, 1). */
  uniform(n: number): number[] {
    return Array.from(this.draw(rand, n));
  }

  /** Standard normal numbers. */
  normal(n: number): number[] {
    return Array.from(this.draw(randn, n));
  }

  /** One whole number from 0 to n − 1. */
  below(n: number): number {
    if (this.next === this.block.length) {
      this.block = this.draw(rand, BLOCK);
      this.next = 0;
    }
    return Math.floor(this.block[this.next++] * n);
  }
}

// Measures contestants in turns: A B C, C B A, A B C …, so that drift of the machine meets all of them alike and each
// is seen after different neighbours.

export interface Contestant {
  readonly name: string;
  /** Does the work that many times and returns the milliseconds that took. */
  run(repeats: number): number | Promise<number>;
}

export interface InterleaveOptions {
  /** Rounds, in each of which every contestant runs once. Default 7. */
  rounds?: number;
  /** Milliseconds that one turn should take; the number of repeats follows from it. Default 50. */
  turn?: number;
  /** Milliseconds of running before anything counts. Default: a turn. */
  warmUp?: number;
  /** Milliseconds of idleness before each turn, in which the threads of the one before go to sleep. Default 20. */
  rest?: number;
  /** Milliseconds of measuring per contestant; one whose single repeat takes long gets fewer rounds. Default 2000. */
  budget?: number;
  /** At most this many repeats in a turn. Default 10⁷. */
  maxRepeats?: number;
  /** Ends the measurement after the turn in progress; what was measured is kept. */
  signal?: { readonly aborted: boolean };
  /** Waits; for tests. */
  sleep?: (ms: number) => Promise<void>;
}

export interface Measured {
  readonly name: string;
  /** Milliseconds for one repeat, round by round; NaN for a round that this contestant sat out. */
  readonly times: number[];
  /** Repeats in a turn. */
  repeats: number;
  /** Why it was dropped, if it was: its last error. Times from before are kept. */
  error?: Error;
}

/** A contestant that is a function of this process. It is awaited if it returns a promise. */
export function contestant(name: string, work: () => unknown, now: () => number = () => performance.now()): Contestant {
  return {
    name,
    run(repeats) {
      const started = now();
      for (let i = 0; i < repeats; i++) {
        const result = work();
        if (result instanceof Promise) return rest(result, i + 1, started);
      }
      return now() - started;

      async function rest(first: Promise<unknown>, done: number, since: number): Promise<number> {
        await first;
        for (let i = done; i < repeats; i++) await work();
        return now() - since;
      }
    },
  };
}

/**
 * Warms every contestant up, finds how often each must repeat, and measures them in turns. One that throws is dropped,
 * with its error; the others go on.
 *
 * @example
 * const [ours, theirs] = await interleave([contestant("a", a), contestant("b", b)], { rounds: 9 });
 * console.log(summarize(ours.times).best, pairwiseRatio(ours.times, theirs.times));
 */
export async function interleave(
  contestants: readonly Contestant[],
  options: InterleaveOptions = {},
): Promise<Measured[]> {
  const { rounds = 7, turn = 50, warmUp = turn, rest = 20, budget = 2000, maxRepeats = 1e7, signal } = options;
  const sleep = options.sleep ?? ((ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)));
  const seats = contestants.map((c) => ({
    contestant: c,
    rounds,
    result: { name: c.name, times: [], repeats: 1 } as Measured,
  }));

  const attempt = async (seat: (typeof seats)[number], work: () => Promise<void>): Promise<void> => {
    if (seat.result.error || signal?.aborted) return;
    if (rest > 0) await sleep(rest);
    try {
      await work();
    } catch (error) {
      if (signal?.aborted) return; // ended from outside: no fault of its own
      seat.result.error = error instanceof Error ? error : new Error(String(error));
    }
  };

  for (const seat of seats) {
    await attempt(seat, async () => {
      const { one, spent } = await estimate(seat.contestant, warmUp, maxRepeats);
      seat.result.repeats = Math.max(1, Math.min(maxRepeats, Math.round(turn / one)));
      // One that used its time up while warming up is measured once.
      const left = Math.max(one, budget - spent);
      seat.rounds = Math.max(1, Math.min(rounds, Math.floor(left / (one * seat.result.repeats))));
    });
  }
  for (let round = 0; round < rounds; round++) {
    for (const seat of round % 2 ? [...seats].reverse() : seats) {
      const { result } = seat;
      result.times.push(Number.NaN);
      if (round >= seat.rounds) continue;
      await attempt(seat, async () => {
        result.times[round] = (await seat.contestant.run(result.repeats)) / result.repeats;
      });
    }
    if (signal?.aborted) break;
  }
  return seats.map(({ result }) => result);
}

/**
 * Runs twice as often each time until a run should take as long as the warm-up, going by the quickest repeats so far: a
 * pause of the machine does not end it, and what a compiler makes faster on the way counts as it is then.
 */
async function estimate(c: Contestant, warmUp: number, maxRepeats: number): Promise<{ one: number; spent: number }> {
  let spent = 0;
  let one = Number.POSITIVE_INFINITY;
  for (let repeats = 1; ; repeats *= 2) {
    const ms = await c.run(repeats);
    spent += ms;
    one = Math.min(one, Math.max(ms / repeats, 1e-9));
    if (one * repeats >= warmUp || repeats * 2 > maxRepeats) return { one, spent };
  }
}

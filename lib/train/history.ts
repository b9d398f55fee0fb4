// History: the curves of a training run.
import type { Logs } from "./callback.js";

/** What `fit` returns (Keras's History): one value an epoch for each name. */
export class History {
  /** Numbers of the epochs, from 0 on. */
  readonly epoch: number[] = [];
  /** Values by name, as long as `epoch`; NaN where an epoch has none, as when it was not validated. */
  readonly history: Record<string, number[]> = {};

  /** Adds an epoch; one that was reported half done, and is now complete, takes its own place. */
  push(epoch: number, logs: Logs): void {
    if (this.epoch[this.epoch.length - 1] === epoch) {
      this.epoch.pop();
      for (const values of Object.values(this.history)) values.pop();
    }
    for (const name of Object.keys(logs)) this.history[name] ??= this.epoch.map(() => Number.NaN);
    this.epoch.push(epoch);
    for (const [name, values] of Object.entries(this.history)) values.push(logs[name] ?? Number.NaN);
  }

  /** Adds values to an epoch, if that is the latest. */
  amend(epoch: number, logs: Logs): void {
    const last = this.epoch.length - 1;
    if (this.epoch[last] !== epoch) return;
    for (const [name, value] of Object.entries(logs)) {
      this.history[name] ??= this.epoch.map(() => Number.NaN);
      this.history[name][last] = value;
    }
  }

  /** The best epoch by a name, and its value. */
  best(name: string, mode: "min" | "max" = "min"): { epoch: number; value: number } | undefined {
    const sign = mode === "min" ? 1 : -1;
    let found: { epoch: number; value: number } | undefined;
    this.history[name]?.forEach((value, i) => {
      if (!Number.isNaN(value) && (!found || sign * (value - found.value) < 0)) found = { epoch: this.epoch[i], value };
    });
    return found;
  }

  stateDict(): { epoch: number[]; history: Record<string, number[]> } {
    const history = Object.fromEntries(Object.entries(this.history).map(([name, values]) => [name, [...values]]));
    return { epoch: [...this.epoch], history };
  }

  loadStateDict(state: { epoch: readonly number[]; history: Readonly<Record<string, readonly number[]>> }): void {
    this.epoch.splice(0, this.epoch.length, ...state.epoch);
    for (const name of Object.keys(this.history)) delete this.history[name];
    for (const [name, values] of Object.entries(state.history)) this.history[name] = [...values];
  }
}

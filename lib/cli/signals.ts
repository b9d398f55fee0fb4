// Signals that ask for an orderly end: of a terminal, of a batch system, of its time limit.

/** SIGUSR1 is what Slurm sends ahead of the limit with --signal=B:USR1@60. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGUSR1"] as const;

/** The exit code of EX_TEMPFAIL (sysexits.h): "the user is invited to retry". */
export const STOPPED = 75;

export interface Watch {
  /** The signal that came first. */
  readonly received: NodeJS.Signals | undefined;
  /** Is told of the signal, at once if it has come already. */
  onSignal(act: (signal: NodeJS.Signals) => void): void;
  /** Signals do again what they did before. */
  end(): void;
}

/** Watches for signals: the first is noted, a second SIGINT ends the process at once. */
export function watchSignals(): Watch {
  let received: NodeJS.Signals | undefined;
  let act: (signal: NodeJS.Signals) => void = () => {};
  const end = () => {
    for (const signal of SIGNALS) process.off(signal, handle);
  };
  const handle = (signal: NodeJS.Signals) => {
    if (received !== undefined) {
      if (signal !== "SIGINT") return;
      end();
      process.kill(process.pid, signal);
      return;
    }
    received = signal;
    act(signal);
  };
  for (const signal of SIGNALS) process.on(signal, handle);
  return {
    get received() {
      return received;
    },
    onSignal(fn) {
      act = fn;
      if (received !== undefined) act(received);
    },
    end,
  };
}

// Callbacks with a memory, which is in checkpoints.
import type { Saveable } from "../../io/checkpoint.js";
import { Callback, type Hooked, type Logs } from "../callback.js";

/** A memory that a checkpoint can hold. */
export type Memory = { [key: string]: Saveable };

/**
 * A callback whose memory is fresh in each training (Keras: "allow instances to be re-used"), unless a checkpoint was
 * loaded, before training or while it begins, or the last training was interrupted: then it goes on with that.
 */
export abstract class Stateful<S extends Memory> extends Callback {
  protected state: S;
  private goesOn = false;

  constructor() {
    super();
    this.state = this.fresh();
  }

  /** The memory at the beginning. */
  protected abstract fresh(): S;

  override onTrainBegin(_logs: Logs): Hooked {
    if (!this.goesOn) this.state = this.fresh();
  }

  override onTrainEnd(_logs: Logs): Hooked {
    this.goesOn = this.loop.interrupted;
  }

  override onException(_error: unknown): Hooked {
    this.goesOn = false;
  }

  override stateDict(): Saveable {
    return { ...this.state };
  }

  override loadStateDict(state: Saveable): void {
    this.state = { ...this.fresh(), ...(state as S) };
    this.goesOn = true;
  }
}

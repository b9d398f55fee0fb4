// A callback of functions.
import { checkFunction, checkOptions } from "../../check.js";
import { Callback } from "../callback.js";

const HOOKS = [
  ...["onTrainBegin", "onTrainEnd", "onEpochBegin", "onEpochEnd", "onTrainBatchBegin", "onTrainBatchEnd"],
  ...["onTestBegin", "onTestEnd", "onTestBatchBegin", "onTestBatchEnd"],
  ...["onPredictBegin", "onPredictEnd", "onPredictBatchBegin", "onPredictBatchEnd", "onException"],
] as const;

/** The hooks of a callback, as functions without `this`. */
export type Hooks = {
  [K in Exclude<keyof Callback, "loop" | "model" | "last" | "stateDict" | "loadStateDict">]?: Callback[K];
};

/**
 * A callback made of functions, each named after its hook.
 *
 * @throws ValueError for a hook that there is not
 * @example
 * new callbacks.LambdaCallback({ onEpochEnd: (epoch, logs) => console.log(epoch, logs.loss) });
 */
export class LambdaCallback extends Callback {
  constructor(hooks: Hooks) {
    super();
    checkOptions(hooks, HOOKS, "LambdaCallback");
    for (const [name, fn] of Object.entries(hooks)) {
      if (fn === undefined) continue;
      checkFunction(fn, `LambdaCallback: ${name}`);
      Object.assign(this, { [name]: fn });
    }
  }
}

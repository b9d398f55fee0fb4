// What configureOptimizers returned, in one form.
import { checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { Optimizer } from "../optim/optimizer.js";
import { LRScheduler } from "../optim/scheduler.js";
import type { AnyOptimizer, OptimizerConfig, SchedulerConfig, TrainModule } from "./module.js";

/** An optimizer and when its schedule steps. */
export interface Plan {
  readonly optimizer: AnyOptimizer;
  readonly schedule: Required<SchedulerConfig> | undefined;
}

export function planOf(module: TrainModule): Plan[] {
  const setup: unknown = module.configureOptimizers();
  if (setup === null || setup === undefined) return [];
  return (Array.isArray(setup) ? setup : [setup]).map((one: AnyOptimizer | OptimizerConfig): Plan => {
    if (one instanceof Optimizer) return { optimizer: one, schedule: undefined };
    const { optimizer, lrScheduler } = checked(one);
    if (lrScheduler === undefined) return { optimizer, schedule: undefined };
    const config = lrScheduler instanceof LRScheduler ? { scheduler: lrScheduler } : lrScheduler;
    checkOptions(config, ["scheduler", "interval", "frequency", "monitor"], "configureOptimizers: lrScheduler");
    const { scheduler, interval = "epoch", frequency = 1, monitor = "val_loss" } = config;
    if (!(scheduler instanceof LRScheduler)) {
      throw new ValueError(`configureOptimizers: lrScheduler.scheduler is ${describe(scheduler)}, not a schedule`);
    }
    if (interval !== "epoch" && interval !== "step") {
      throw new ValueError(`configureOptimizers: interval is "epoch" or "step", got ${describe(interval)}`);
    }
    if (!Number.isInteger(frequency) || frequency < 1) {
      throw new ValueError(`configureOptimizers: frequency must be an integer ≥ 1, got ${describe(frequency)}`);
    }
    return { optimizer, schedule: { scheduler, interval, frequency, monitor } };
  });
}

function checked(one: OptimizerConfig): OptimizerConfig {
  if (typeof one !== "object" || one === null || !(one.optimizer instanceof Optimizer)) {
    throw new ValueError(
      `configureOptimizers: an optimizer, { optimizer, lrScheduler } or a list of these is needed, got ${describe(one)}`,
    );
  }
  checkOptions(one, ["optimizer", "lrScheduler"], "configureOptimizers");
  return one;
}

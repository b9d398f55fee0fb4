// GradScaler: a factor of the loss that keeps gradients of float16 in its range (Micikevicius et al. 2018, "Mixed
// Precision Training", section 3.2), found by trying.
import { checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { type Capture, depends, everyStep, uncaptured } from "../graph/capture.js";
import { modes, noGrad } from "../graph/modes.js";
import { isHalf } from "../ops/autocast.js";
import { fill_ } from "../ops/convert.js";
import { add, eq, isFinite, logicalNot, logicalOr, maximum, mul, mul_, reciprocal, where } from "../ops/elementwise.js";
import { cast, copy_ } from "../ops/pointwise.js";
import { any } from "../ops/reduce.js";
import { updatesUnless } from "../ops/update.js";
import { full, zeros } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";
import { LBFGS } from "./lbfgs.js";
import type { Optimizer } from "./optimizer.js";

// biome-ignore lint/suspicious/noExplicitAny: the hyper-parameters of any optimizer
type AnyOptimizer = Optimizer<any>;

export interface GradScalerOptions {
  /** The scale to begin with. Default 65536. */
  initScale?: number;
  /** Factor of the scale after `growthInterval` steps without an overflow. Default 2. */
  growthFactor?: number;
  /** Factor of the scale after an overflow. Default 0.5. */
  backoffFactor?: number;
  /** Steps without an overflow before the scale grows. Default 2000. */
  growthInterval?: number;
  /** False: the scaler does nothing. Default true. */
  enabled?: boolean;
}

export interface GradScalerState {
  scale: number;
  growthFactor: number;
  backoffFactor: number;
  growthInterval: number;
  /** Steps without an overflow since the scale changed. */
  growthTracker: number;
}

/** How far an optimizer is since the last `update`. */
type Stage = "unscaled" | "stepped";

/**
 * Loss scaling for training in float16 (`torch.amp.GradScaler`). The loss is multiplied by a large factor, so that small
 * gradients do not vanish in float16, and the gradients are divided by it before the optimizer uses them. When one of
 * them has overflowed, the step is skipped and the factor gets smaller; after many steps without, it grows.
 *
 * All of it may be part of a captured function. The device then decides by itself whether a step is skipped: weights, the
 * optimizer's state and its count of steps stay as they are, and nothing is read. Outside of one, `step` reads whether
 * there was an overflow.
 *
 * @example
 * const scaler = new amp.GradScaler();
 * const step = compile((x, y) => {
 *   optimizer.zeroGrad();
 *   const loss = autocast("float16", () => crossEntropy(model.forward(x), y));
 *   scaler.scale(loss).backward();
 *   scaler.unscale_(optimizer); // only to clip
 *   optim.clipGradNorm_(model.parameters(), 1);
 *   scaler.step(optimizer);
 *   scaler.update();
 *   return loss;
 * });
 */
export class GradScaler {
  readonly enabled: boolean;
  growthFactor: number;
  backoffFactor: number;
  growthInterval: number;
  /** The scale and the steps without an overflow: on the device once there is a loss, till then here. */
  private live: { scale: Tensor; tracker: Tensor } | null = null;
  private initial: { scale: number; tracker: number };
  private readonly stages = new Map<AnyOptimizer, Stage>();
  /** The stages as a function that is being captured sees them. */
  private readonly captured = new WeakMap<Capture, Map<AnyOptimizer, Stage>>();
  /** Whether the gradients of an optimizer overflowed: 1 or 0. */
  private readonly found = new WeakMap<AnyOptimizer, Tensor>();

  constructor(options: GradScalerOptions = {}) {
    checkOptions(options, ["initScale", "growthFactor", "backoffFactor", "growthInterval", "enabled"], "GradScaler");
    const { initScale = 65536, growthFactor = 2, backoffFactor = 0.5, growthInterval = 2000, enabled = true } = options;
    check("initScale", initScale, initScale > 0, "a number > 0");
    this.enabled = enabled;
    this.initial = { scale: initScale, tracker: 0 };
    [this.growthFactor, this.backoffFactor, this.growthInterval] = checked({
      growthFactor,
      backoffFactor,
      growthInterval,
    });
  }

  /** The loss times the scale; call `backward()` of it. */
  scale(loss: Tensor): Tensor {
    if (!this.enabled) return loss;
    const { device } = loss;
    if (this.live && this.live.scale.device !== device) {
      throw new ValueError(
        `GradScaler: the scale is on ${this.live.scale.device} and the loss on ${device}; use one device`,
      );
    }
    this.live ??= uncaptured(() => ({
      scale: full([], this.initial.scale, { device }),
      tracker: full([], this.initial.tracker, { device }),
    }));
    return mul(loss, this.live.scale);
  }

  /**
   * Divides the gradients of the optimizer's parameters by the scale, for those who clip or look at them before `step`,
   * which does it otherwise.
   */
  unscale_(optimizer: AnyOptimizer): void {
    if (!this.enabled) return;
    const stage = this.stageOf(optimizer);
    if (stage) {
      throw new ValueError(
        stage === "unscaled"
          ? "GradScaler: unscale_ has been called for this optimizer since the last update(); once is enough"
          : "GradScaler: unscale_ comes before step",
      );
    }
    const grads = optimizer.paramGroups.flatMap((g) => (g.params as Tensor[]).flatMap((p) => p.grad ?? []));
    if (grads.length === 0 || !this.live) {
      throw new ValueError(
        `GradScaler: there are no gradients of a scaled loss in ${optimizer.name}'s parameters; call scaler.scale(loss).backward() first`,
      );
    }
    const half = grads.find((g) => isHalf(g.dtype));
    if (half) {
      throw new ValueError(
        `GradScaler: a parameter is ${half.dtype}; mixed precision keeps float32 weights and converts them inside autocast: ` +
          'model.to("float32")',
      );
    }
    const { scale } = this.live;
    noGrad(() => {
      const inverse = reciprocal(scale);
      const overflows = grads.map((g) => {
        const overflow = any(logicalNot(isFinite(g)));
        mul_(g, inverse);
        return overflow;
      });
      copy_(
        this.foundOf(optimizer),
        overflows.reduce((a, b) => logicalOr(a, b)),
      );
    });
    this.note(optimizer, "unscaled");
  }

  /** The optimizer's step on gradients that are divided by the scale, unless one of them has overflowed. */
  step(optimizer: AnyOptimizer): void {
    if (!this.enabled) {
      optimizer.step();
      return;
    }
    if (optimizer instanceof LBFGS) {
      throw new ValueError(
        "GradScaler: LBFGS computes the loss several times a step, which cannot be scaled; use bfloat16",
      );
    }
    const stage = this.stageOf(optimizer);
    if (stage === "stepped") throw new ValueError("GradScaler: step has been called since the last update()");
    if (!stage) this.unscale_(optimizer);
    const found = this.foundOf(optimizer);
    if (modes.capture) updatesUnless(found, () => optimizer.step());
    else if (found.item() === 0) optimizer.step();
    this.note(optimizer, "stepped");
  }

  /** Makes the scale smaller after an overflow, larger after `growthInterval` steps without; call it after each step. */
  update(): void {
    if (!this.enabled) return;
    const stages = this.stagesNow();
    if (!this.live || stages.size === 0) {
      throw new ValueError(
        "GradScaler: update comes after step(optimizer), or unscale_(optimizer) where a step is left out",
      );
    }
    const { scale, tracker } = this.live;
    const [growth, backoff, interval] = [
      depends(() => this.growthFactor),
      depends(() => this.backoffFactor),
      depends(() => this.growthInterval),
    ];
    noGrad(() => {
      const found = [...stages.keys()].map((o) => this.foundOf(o)).reduce((a, b) => maximum(a, b));
      const times = (factor: number): Tensor => cast(mul(cast(scale, "float64"), factor), "float32");
      const steps = add(tracker, 1);
      const due = eq(steps, interval);
      const grown = times(growth);
      // A scale that would be infinite stays.
      const after = where(due, where(isFinite(grown), grown, scale), scale);
      copy_(scale, where(found, times(backoff), after));
      copy_(tracker, where(found, 0, where(due, 0, steps)));
    });
    stages.clear();
    everyStep(() => this.stages.clear());
  }

  /** The present scale; waits for the device. */
  getScale(): number {
    if (!this.enabled) return 1;
    return this.live ? (this.live.scale.item() as number) : this.initial.scale;
  }

  /** Waits for the device. */
  stateDict(): GradScalerState {
    const { growthFactor, backoffFactor, growthInterval, live } = this;
    const growthTracker = live ? (live.tracker.item() as number) : this.initial.tracker;
    return {
      scale: live ? this.getScale() : this.initial.scale,
      growthFactor,
      backoffFactor,
      growthInterval,
      growthTracker,
    };
  }

  loadStateDict(state: GradScalerState): void {
    const { scale, growthTracker } = state;
    check("scale", scale, scale > 0, "a number > 0");
    [this.growthFactor, this.backoffFactor, this.growthInterval] = checked(state);
    this.initial = { scale, tracker: growthTracker };
    const { live } = this;
    if (!live) return;
    noGrad(() => {
      fill_(live.scale, scale);
      fill_(live.tracker, growthTracker);
    });
  }

  private stagesNow(): Map<AnyOptimizer, Stage> {
    const { capture } = modes;
    if (!capture) return this.stages;
    let own = this.captured.get(capture);
    if (!own) {
      own = new Map(this.stages);
      this.captured.set(capture, own);
      // The function was captured for a scaler that stood there.
      depends(() => [...this.stages.values()].join(" "));
    }
    return own;
  }

  private stageOf(optimizer: AnyOptimizer): Stage | undefined {
    return this.stagesNow().get(optimizer);
  }

  private note(optimizer: AnyOptimizer, stage: Stage): void {
    this.stagesNow().set(optimizer, stage);
    everyStep(() => this.stages.set(optimizer, stage));
  }

  private foundOf(optimizer: AnyOptimizer): Tensor {
    let found = this.found.get(optimizer);
    if (!found) {
      found = uncaptured(() => zeros([], { device: this.live?.scale.device }));
      this.found.set(optimizer, found);
    }
    return found;
  }
}

function check(name: string, value: unknown, ok: boolean, what: string): void {
  if (typeof value === "number" && Number.isFinite(value) && ok) return;
  throw new ValueError(`GradScaler: ${name} must be ${what}, got ${describe(value)}`);
}

/** The settings of growth, checked. */
function checked(settings: Pick<GradScalerState, "growthFactor" | "backoffFactor" | "growthInterval">) {
  const { growthFactor, backoffFactor, growthInterval } = settings;
  check("growthFactor", growthFactor, growthFactor > 1, "a number > 1");
  check("backoffFactor", backoffFactor, backoffFactor > 0 && backoffFactor < 1, "a number in (0, 1)");
  check("growthInterval", growthInterval, Number.isInteger(growthInterval) && growthInterval > 0, "an integer ≥ 1");
  return [growthFactor, backoffFactor, growthInterval] as const;
}

// The training step: forward, loss, backward, clipping and the optimizer as one program where it can be recorded, and
// operation by operation where it cannot, with the same results.
import { describe } from "../check.js";
import { Rows, rowsAt } from "../data/rows.js";
import { CaptureError, ValueError } from "../errors.js";
import { uncaptured } from "../graph/capture.js";
import { type Compiled, compile } from "../graph/compile.js";
import { type HalfType, noGrad } from "../graph/modes.js";
import { zero_ } from "../ops/convert.js";
import { add_, mul } from "../ops/elementwise.js";
import { GradScaler, type GradScalerState } from "../optim/grad-scaler.js";
import { LBFGS } from "../optim/lbfgs.js";
import { zerosLike } from "../tensor/create.js";
import { Tensor } from "../tensor/tensor.js";
import type { AnyOptimizer, Batch, StepOutput, TrainModule } from "./module.js";
import { mixed } from "./precision.js";

export interface StepSettings {
  readonly gradientClipVal: number | undefined;
  readonly gradientClipAlgorithm: "norm" | "value";
  readonly accumulateGradBatches: number;
  /** The dtype of products in mixed precision. */
  readonly half: HalfType | null;
  /** Record the step. */
  readonly compile: boolean;
}

/** Recordings of which most must have been of use, or there are no more. */
const PATIENCE = 16;

/** A function that is recorded while that goes well. */
export class Recorded<A extends readonly unknown[], R> {
  private compiled: Compiled<A, R> | null;
  private calls = 0;
  private recordings = 0;

  /**
   * @param onGivenUp is told why the function is not recorded
   */
  constructor(
    private readonly fn: (...args: A) => R,
    private readonly onGivenUp: (reason: string) => void,
  ) {
    this.compiled = compile((...args: A) => {
      this.recordings++;
      return fn(...args);
    });
  }

  /** True while the function is recorded. */
  get records(): boolean {
    return this.compiled !== null;
  }

  call(...args: A): R {
    if (!this.compiled) return this.fn(...args);
    this.calls++;
    let result: R;
    try {
      result = this.compiled(...args);
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      this.giveUp(error.message);
      return this.fn(...args);
    }
    if (this.recordings >= PATIENCE && 2 * this.recordings > this.calls) {
      this.giveUp(
        `it was recorded ${this.recordings} times in ${this.calls} batches: shapes, or values of the host that it ` +
          "depends on (such as batchIdx or globalStep), change all the time",
      );
    }
    return result;
  }

  private giveUp(reason: string): void {
    this.dispose();
    this.onGivenUp(reason);
  }

  dispose(): void {
    this.compiled?.dispose();
    this.compiled = null;
  }
}

/** A batch, or rows of tensors in memory in an order; and whether the optimizer steps. */
type RecordedArguments = [
  batch: Batch,
  tensors: readonly Tensor[] | null,
  order: Tensor | null,
  count: number,
  update: boolean,
];

/** What of a step goes into a checkpoint. */
export interface StepState {
  readonly waiting: number;
  readonly sums: readonly (Tensor | null)[];
  /** Absent in checkpoints of versions without mixed precision. */
  readonly scaler?: GradScalerState | null;
}

/** One module's training step with its optimizers. */
export class TrainStep {
  /** Why the step is not recorded; undefined where it is. */
  reason: string | undefined;
  /** Is told so when it turns out. */
  onGivenUp: (reason: string) => void = () => {};
  private readonly recorded: Recorded<RecordedArguments, StepOutput> | null = null;
  /** Place of the present batch among rows in memory. */
  private at = 0;
  /** Gradients of the batches since the last update, where several make one. */
  private readonly sums = new Map<Tensor, Tensor>();
  /** Batches whose gradients are in `sums`. */
  private waiting = 0;
  /** Scales the loss where gradients of 16 bits would vanish. */
  private readonly scaler: GradScaler | null = null;

  constructor(
    private readonly module: TrainModule,
    private readonly optimizers: readonly AnyOptimizer[],
    private readonly settings: StepSettings,
  ) {
    if (module.automaticOptimization && optimizers.length > 1) {
      throw new ValueError(
        `${module.constructor.name}: ${optimizers.length} optimizers need manual optimization: set automaticOptimization = false ` +
          "and call manualBackward and the optimizers in trainingStep",
      );
    }
    if (optimizers[0] instanceof LBFGS && settings.accumulateGradBatches > 1) {
      throw new ValueError(
        "accumulateGradBatches: LBFGS computes the loss several times a step; give it larger batches",
      );
    }
    if (!module.automaticOptimization && settings.accumulateGradBatches > 1) {
      throw new ValueError(
        `${module.constructor.name}: accumulateGradBatches is for automatic optimization; accumulate in trainingStep`,
      );
    }
    if (settings.half !== null && isAsync(module)) {
      throw new ValueError(
        `${module.constructor.name}: mixed precision holds for synchronous code, and trainingStep is async; make it synchronous, ` +
          'or use autocast in it, between the awaits, with precision "float32"',
      );
    }
    if (settings.half === "float16") {
      if (!module.automaticOptimization) {
        throw new ValueError(
          `${module.constructor.name}: precision "fp16" scales the loss, which with automaticOptimization = false is up to you: ` +
            'use amp.GradScaler and autocast in trainingStep with precision "float32", or precision "bf16", which needs no scale',
        );
      }
      if (optimizers[0] instanceof LBFGS) {
        throw new ValueError(
          'precision "fp16": LBFGS computes the loss several times a step, which cannot be scaled; use "bf16"',
        );
      }
      this.scaler = new GradScaler();
    }
    this.reason = this.obstacle();
    if (this.reason === undefined) {
      this.recorded = new Recorded(
        (batch, tensors, order, count, update) =>
          this.once(tensors ? rowsAt(tensors, order, count, () => this.at) : batch, update, 0),
        (reason) => {
          this.reason = reason;
          this.onGivenUp(reason);
        },
      );
    }
  }

  /** True when it is the step of these optimizers and settings. */
  fits(optimizers: readonly AnyOptimizer[], settings: StepSettings): boolean {
    const own = this.settings;
    return (
      optimizers.length === this.optimizers.length &&
      optimizers.every((o, i) => o === this.optimizers[i]) &&
      own.gradientClipVal === settings.gradientClipVal &&
      own.gradientClipAlgorithm === settings.gradientClipAlgorithm &&
      own.accumulateGradBatches === settings.accumulateGradBatches &&
      own.half === settings.half &&
      own.compile === settings.compile
    );
  }

  /** What forbids recording, as far as one can see without trying. */
  private obstacle(): string | undefined {
    if (!this.settings.compile) return "it is not to be (compile: false)";
    if (isAsync(this.module)) return "trainingStep is asynchronous";
    if (this.module.trainingStep.length >= 2) {
      return "trainingStep takes the number of the batch, another one each time; declare trainingStep(batch), which may read this.batchIdx";
    }
    return undefined;
  }

  /** True when the next batch, `last` of its epoch or not, is followed by an update. */
  updates(last: boolean): boolean {
    return last || this.waiting + 1 >= this.settings.accumulateGradBatches;
  }

  /**
   * Trains on a batch, or on the present one of rows in memory; its gradients wait for those of the next ones unless
   * `update` is set.
   */
  run(batch: Batch | Rows, update: boolean, batchIdx: number): StepOutput | Promise<StepOutput> {
    const waiting = update ? 0 : this.waiting + 1;
    let result: StepOutput | Promise<StepOutput>;
    if (this.recorded?.records) {
      if (batch instanceof Rows) {
        this.at = batch.at;
        result = this.recorded.call(null, batch.tensors, batch.order, batch.count, update);
      } else result = this.recorded.call(batch, null, null, 0, update);
    } else {
      const own = batch instanceof Rows ? batch.batch() : batch;
      const output = mixed(this.settings.half, () => this.module.trainingStep(own, batchIdx));
      result =
        output instanceof Promise
          ? output.then((o) => this.once(own, update, batchIdx, { output: o }))
          : this.once(own, update, batchIdx, { output });
    }
    this.waiting = waiting;
    return result;
  }

  /** Updates with what waits; false when there is nothing. */
  finish(): boolean {
    if (this.waiting === 0) return false;
    this.waiting = 0;
    const [optimizer] = this.optimizers;
    optimizer.zeroGrad();
    this.take(optimizer);
    this.beforeStep(optimizer);
    this.step(optimizer);
    this.clear(optimizer);
    return true;
  }

  /** @param first what the training step gave already */
  private once(
    batch: Batch,
    update: boolean,
    batchIdx: number,
    first?: { output: StepOutput | undefined },
  ): StepOutput {
    const { module } = this;
    let given = first;
    const forward = (): StepOutput => {
      const output = given ? given.output : mixed(this.settings.half, () => module.trainingStep(batch, batchIdx));
      given = undefined;
      if (output instanceof Promise) throw new ValueError("trainingStep: an asynchronous step must be declared async");
      return output;
    };
    if (!module.automaticOptimization) return forward();
    const [optimizer] = this.optimizers;
    if (!optimizer) return forward(); // nothing is trained, as Lightning allows
    const several = this.settings.accumulateGradBatches > 1;
    let output: StepOutput;
    /** Gradients of the loss, ready for the optimizer. An optimizer that searches along a line asks several times. */
    const closure = (): Tensor | null => {
      output = forward();
      const loss = lossOf(output, module);
      if (!loss) return null;
      module.onBeforeZeroGrad(optimizer);
      optimizer.zeroGrad();
      const scaled = several ? mul(loss, 1 / this.settings.accumulateGradBatches) : loss;
      module.onBeforeBackward(scaled);
      (this.scaler?.scale(scaled) ?? scaled).backward();
      module.onAfterBackward();
      if (several) {
        this.keep(optimizer);
        if (!update) return null;
        this.take(optimizer);
      }
      this.beforeStep(optimizer);
      return loss;
    };
    if (optimizer instanceof LBFGS) optimizer.step(closure);
    else if (closure()) this.step(optimizer);
    if (several) this.clear(optimizer, update);
    return output;
  }

  private beforeStep(optimizer: AnyOptimizer): void {
    const { gradientClipVal, gradientClipAlgorithm } = this.settings;
    this.scaler?.unscale_(optimizer);
    this.module.onBeforeOptimizerStep(optimizer);
    this.module.configureGradientClipping(optimizer, gradientClipVal, gradientClipAlgorithm);
  }

  private step(optimizer: AnyOptimizer): void {
    if (!this.scaler) {
      optimizer.step();
      return;
    }
    this.scaler.step(optimizer);
    this.scaler.update();
  }

  /** Adds the gradients to those that wait. */
  private keep(optimizer: AnyOptimizer): void {
    noGrad(() => {
      for (const { params } of optimizer.paramGroups) {
        for (const p of params) {
          const { grad } = p;
          if (!grad) continue;
          let sum = this.sums.get(p);
          if (!sum) {
            sum = uncaptured(() => zerosLike(p));
            this.sums.set(p, sum);
          }
          add_(sum, grad);
        }
      }
    });
  }

  /** Makes the gradients that waited those of the parameters. */
  private take(optimizer: AnyOptimizer): void {
    for (const { params } of optimizer.paramGroups) {
      for (const p of params) {
        const sum = this.sums.get(p);
        if (sum) p.grad = sum;
      }
    }
  }

  private clear(optimizer: AnyOptimizer, updated = true): void {
    optimizer.zeroGrad();
    if (!updated) return;
    noGrad(() => {
      for (const sum of this.sums.values()) zero_(sum);
    });
  }

  /** Gradients that wait, by the parameters' places in the optimizer; and the scale of the loss. */
  stateDict(): StepState {
    const params = this.optimizers.flatMap((o) => o.paramGroups.flatMap((g) => g.params));
    const sums = this.waiting > 0 ? params.map((p) => this.sums.get(p) ?? null) : [];
    return { waiting: this.waiting, sums, scaler: this.scaler?.stateDict() ?? null };
  }

  loadStateDict({ waiting, sums, scaler }: StepState): void {
    if (scaler) this.scaler?.loadStateDict(scaler);
    const params = this.optimizers.flatMap((o) => o.paramGroups.flatMap((g) => g.params));
    this.waiting = waiting;
    this.sums.clear();
    sums.forEach((sum, i) => {
      if (sum) this.sums.set(params[i], sum.to(params[i].device).clone());
    });
  }

  dispose(): void {
    this.recorded?.dispose();
  }
}

const isAsync = ({ trainingStep }: TrainModule): boolean => trainingStep.constructor.name === "AsyncFunction";

function lossOf(output: StepOutput | undefined, module: TrainModule): Tensor | null {
  if (output === null || output === undefined) return null;
  const loss = output instanceof Tensor ? output : output.loss;
  if (!(loss instanceof Tensor)) {
    throw new ValueError(
      `${module.constructor.name}: trainingStep must return the loss, { loss } or nothing, got ${describe(output)}`,
    );
  }
  if (loss.numel !== 1) {
    throw new ValueError(
      `${module.constructor.name}: the loss that trainingStep returns must be one number, got shape [${loss.shape.join(", ")}]; take its mean()`,
    );
  }
  return loss;
}

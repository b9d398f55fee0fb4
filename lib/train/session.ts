// What a module's steps are recorded as, kept between the Trainers that run it; and how evaluation steps are run.
import { modes } from "../graph/modes.js";
import { keepModes } from "../nn/mode.js";
import { Ledger } from "./ledger.js";
import type { Batch, TrainModule } from "./module.js";
import { Recorded, type TrainStep } from "./step.js";

export type Evaluation = "validate" | "test" | "sanity";

/** Hooks of a module by the kind of loop. */
export const evaluationHooks = {
  validate: ["onValidationStart", "onValidationEpochStart", "onValidationEpochEnd", "onValidationEnd"],
  test: ["onTestStart", "onTestEpochStart", "onTestEpochEnd", "onTestEnd"],
} as const;

/** What is recorded of a module and kept between the Trainers that train it. */
export class Session {
  readonly training = new Ledger(true);
  /** A batch by itself was looked at. */
  looked = false;
  constructor(readonly step: TrainStep) {}
  dispose(): void {
    this.step.dispose();
  }
}
export const sessions = new WeakMap<TrainModule, Session>();

/** An evaluation step, recorded where it is known to be pure, and what it logs. */
export interface EvaluationStep {
  readonly ledger: Ledger;
  readonly step: Recorded<[Batch], unknown> | null;
  readonly compile: boolean;
}
const evaluationSteps = new WeakMap<TrainModule, Map<string, EvaluationStep>>();

export function evaluationOf(module: TrainModule, kind: Evaluation | "predict", compile: boolean): EvaluationStep {
  let steps = evaluationSteps.get(module);
  if (!steps) {
    steps = new Map();
    evaluationSteps.set(module, steps);
  }
  let found = steps.get(kind);
  if (found?.compile !== compile) {
    const run = (batch: Batch): unknown =>
      kind === "predict"
        ? module.predictStep(batch, 0)
        : kind === "test"
          ? module.testStep(batch, 0)
          : module.validationStep(batch, 0);
    found = {
      ledger: new Ledger(false),
      step: module.pureEvaluation && compile ? new Recorded(run, () => {}) : null,
      compile,
    };
    steps.set(kind, found);
  }
  return found;
}

/** Runs a step without gradients; what an asynchronous one does after its first await records them in vain. */
export function withoutGrad<R>(fn: () => R): R {
  const before = modes.grad;
  modes.grad = false;
  try {
    return fn();
  } finally {
    modes.grad = before;
  }
}

/** Evaluation mode; gives the way back to what each part was in. */
export function evaluationMode(module: TrainModule): () => void {
  const back = keepModes(module.subject());
  module.subject().eval();
  return back;
}

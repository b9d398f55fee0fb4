// The order in which a run calls hooks of the module and of callbacks, the optimizer, schedules and checkpoints: what
// docs/training.md says. Lightning has such a test too (tests/models/test_hooks.py).
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  type Batch,
  Callback,
  data,
  type io,
  nn,
  type OptimizerConfig,
  ones,
  optim,
  setDefaultDevice,
  type Tensor,
  Trainer,
  TrainModule,
} from "../../lib/index.js";

/** The hooks of a class that are called on an object, noted under a prefix. */
function note(target: object, base: { prototype: object }, prefix: string, calls: string[], names: RegExp): void {
  for (const name of Object.getOwnPropertyNames(base.prototype)) {
    if (!names.test(name)) continue;
    const own = (target as Record<string, unknown>)[name] as (...args: unknown[]) => unknown;
    Object.defineProperty(target, name, {
      value(this: unknown, ...args: unknown[]) {
        calls.push(prefix + name);
        return own.apply(this, args);
      },
    });
  }
}

class Net extends TrainModule {
  readonly layer = new nn.Linear(1, 1);
  optimizer!: optim.SGD;
  constructor(private readonly calls: string[]) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep([x]: [Tensor]): Tensor {
    this.calls.push("trainingStep");
    return this.forward(x).square().mean();
  }
  override validationStep(_batch: Batch): void {}
  override testStep(_batch: Batch): void {}
  override configureOptimizers(): OptimizerConfig {
    return { optimizer: this.optimizer, lrScheduler: this.schedule };
  }
  schedule!: optim.StepLR;
}

const section = (title: string): string[] => {
  const text = readFileSync(new URL("../../docs/training.md", import.meta.url), "utf8");
  const block = new RegExp(`<!-- ${title} -->\\s*\`\`\`text\\n([^]*?)\`\`\``).exec(text);
  return (block?.[1] ?? "").trim().split("\n");
};

test("the order of all hooks is the one that the documentation says", async () => {
  setDefaultDevice("js");
  const calls: string[] = [];
  const module = new Net(calls);
  module.optimizer = new optim.SGD(module.parameters(), { lr: 0.1 });
  module.schedule = new optim.StepLR(module.optimizer, 1);
  note(module, TrainModule, "", calls, /^(?!onFirstBatch)(on[A-Z]|setup|teardown|configure|\w+Step$)/);
  note(module.optimizer, optim.Optimizer, "optimizer.", calls, /^(step|zeroGrad)$/);
  note(module.schedule, optim.LRScheduler, "lrScheduler.", calls, /^step$/);
  const callback = new (class Noted extends Callback {
    override stateDict(): io.Saveable {
      return { n: 1 };
    }
  })();
  note(callback, Callback, "callback.", calls, /^(on[A-Z]|stateDict|loadStateDict)/);

  const x = new data.DataLoader(new data.TensorDataset(ones([4, 1])), { batchSize: 2 });
  const options = { verbose: 0, callbacks: [callback], device: "js", compile: false, numSanityValSteps: 1 } as const;
  const trainer = new Trainer({ ...options, maxEpochs: 1 });
  await trainer.fit(module, x, x);
  expect(calls).toEqual(section("fit"));

  calls.length = 0;
  const state = trainer.stateDict();
  expect(calls).toEqual(section("stateDict"));
  calls.length = 0;
  trainer.loadStateDict(state);
  expect(calls).toEqual(section("loadStateDict"));

  calls.length = 0;
  await trainer.test(module, x);
  expect(calls).toEqual(section("test"));
  calls.length = 0;
  await trainer.validate(module, x);
  const validation = section("test").map((name) =>
    name.replace(/^testStep/, "validationStep").replace(/^onTest/, "onValidation"),
  );
  expect(calls).toEqual(validation);
  calls.length = 0;
  await trainer.predict(module, x);
  expect(calls).toEqual(section("predict"));
});

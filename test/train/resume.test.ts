// A run that was stopped anywhere and continued gives the bits of one that never stopped.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  Callback,
  crossEntropy,
  data,
  type History,
  io,
  type Logs,
  manualSeed,
  metrics,
  nn,
  type OptimizerConfig,
  optim,
  type Tensor,
  Trainer,
  type TrainerOptions,
  TrainModule,
} from "../../lib/index.js";
import { absent } from "../devices.js";

const folder = mkdtempSync(join(tmpdir(), "nabla-resume-"));
afterAll(() => rmSync(folder, { recursive: true }));

class Net extends TrainModule {
  readonly net: nn.Sequential;
  readonly accuracy = new metrics.Accuracy();
  constructor(
    device: string,
    private readonly plan: (o: optim.Adam) => OptimizerConfig,
  ) {
    super();
    const place = { device };
    this.net = new nn.Sequential([
      new nn.Linear(2, 6, place),
      new nn.BatchNorm1d(6, place),
      new nn.ReLU(),
      new nn.Dropout(0.3),
      new nn.Linear(6, 2, place),
    ]);
  }
  override forward(x: Tensor): Tensor {
    return this.net.forward(x);
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const scores = this.forward(x);
    const loss = crossEntropy(scores, y);
    this.accuracy.update(scores, y);
    this.logDict({ loss, accuracy: this.accuracy });
    this.log("worst", loss, { reduce: "max" });
    return loss;
  }
  override validationStep([x, y]: [Tensor, Tensor]): void {
    this.log("val_loss", crossEntropy(this.forward(x), y));
  }
  override configureOptimizers(): OptimizerConfig {
    return this.plan(new optim.Adam(this.parameters(), { lr: 0.02 }));
  }
}

/** Stops at a step, and counts in a state of its own. */
class Interrupt extends Callback {
  batches = 0;
  constructor(readonly at: number) {
    super();
  }
  override onTrainBatchEnd(_batch: number): void {
    if (++this.batches === this.at) this.loop.interrupt("here");
  }
  override stateDict(): io.Saveable {
    return { batches: this.batches };
  }
  override loadStateDict(state: io.Saveable): void {
    this.batches = (state as { batches: number }).batches;
  }
}

class SaveEpochs extends Callback {
  readonly paths: string[] = [];
  override get last(): boolean {
    return true;
  }
  override async onEpochEnd(epoch: number, _logs: Logs): Promise<void> {
    const path = join(folder, `${Math.random()}-${epoch}.ckpt`);
    await io.save(path, this.loop.stateDict());
    this.paths.push(path);
  }
}

const plans: Record<string, (o: optim.Adam) => OptimizerConfig> = {
  "no schedule": (optimizer) => ({ optimizer }),
  "a schedule of steps": (optimizer) => ({
    optimizer,
    lrScheduler: { scheduler: new optim.OneCycleLR(optimizer, { maxLr: 0.05, totalSteps: 100 }), interval: "step" },
  }),
  "a schedule of epochs": (optimizer) => ({ optimizer, lrScheduler: new optim.ExponentialLR(optimizer, 0.7) }),
  "a plateau": (optimizer) => ({
    optimizer,
    lrScheduler: { scheduler: new optim.ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5, threshold: 0.2 }) },
  }),
};

describe("a continued run", () => {
  const device = absent("cpu") ? "js" : "cpu";
  const loader = () => {
    const { x, y } = data.makeMoons({ samples: 44, noise: 0.2, seed: 2, device });
    return new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 8, shuffle: true, seed: 4 });
  };
  async function run(plan: string, options: TrainerOptions, callbacks: Callback[] = []) {
    manualSeed(options.resumeFrom === undefined ? 1 : 99);
    const module = new Net(device, plans[plan]);
    const common = { maxEpochs: 3, verbose: 0, device, numSanityValSteps: 0, valCheckInterval: 2 } as const;
    const trainer = new Trainer({ ...common, callbacks, ...options });
    const history = await trainer.fit(module, loader(), loader());
    return { module, trainer, history };
  }
  const state = (found: { module: Net; history: History; trainer: Trainer }): unknown => ({
    weights: Object.values(found.module.stateDict()).map((t) => t.toArray()),
    history: found.history.stateDict(),
    steps: found.trainer.globalStep,
    lr: found.trainer.optimizers[0].paramGroups[0].lr,
  });

  for (const plan of Object.keys(plans)) {
    test(`${plan}: the same bits, stopped in the middle, at the end of an epoch, or between`, async () => {
      const options = plan === "no schedule" ? { accumulateGradBatches: 2, gradientClipVal: 0.5 } : {};
      const whole = await run(plan, options, [new Interrupt(-1)]);
      expect(whole.history.epoch).toEqual([0, 1, 2]);
      for (const at of plan === "no schedule" ? [1, 4, 6, 9] : [8]) {
        const first = await run(plan, options, [new Interrupt(at)]);
        expect(first.trainer.stopReason).toBe("here");
        const path = join(folder, `${device}-${at}.ckpt`);
        await io.save(path, first.trainer.stateDict());
        const counter = new Interrupt(-1);
        const second = await run(plan, { ...options, resumeFrom: path }, [counter]);
        expect(counter.batches).toBe(18);
        expect(state(second), `stopped after batch ${at}`).toEqual(state(whole));
      }
      const saver = new SaveEpochs();
      await run(plan, options, [saver]);
      const third = await run(plan, { ...options, resumeFrom: saver.paths[1] });
      expect(state(third)).toEqual(state(whole));
    });
  }

  test("fit goes on with the same module after an interruption", async () => {
    const whole = await run("a schedule of epochs", {});
    manualSeed(1);
    const module = new Net(device, plans["a schedule of epochs"]);
    const trainer = new Trainer({
      ...{ maxEpochs: 3, verbose: 0, device, numSanityValSteps: 0, valCheckInterval: 2 },
      callbacks: [new Interrupt(8)],
    });
    const [batches, validation] = [loader(), loader()];
    await trainer.fit(module, batches, validation);
    expect(trainer.currentEpoch).toBe(1);
    const history = await trainer.fit(module, batches, validation);
    expect(state({ module, trainer, history })).toEqual(state(whole));
  });

  test("a checkpoint of another model says which names differ", async () => {
    const { trainer } = await run("no schedule", { maxEpochs: 1 });
    class Other extends Net {
      readonly more = new nn.Linear(2, 2, { device });
    }
    const other = new Other(device, plans["no schedule"]);
    (other.net as unknown as Record<string, unknown>)[4] = new nn.Linear(6, 3, { device });
    const fit = new Trainer({ maxEpochs: 1, verbose: 0, device, resumeFrom: trainer.stateDict() }).fit(other, loader());
    await expect(fit).rejects.toThrow(
      /another model than this Other: net\.4\.weight is \[2, 6\] in the checkpoint and \[3, 6\] in the model; net\.4\.bias .*more\.weight is not in the checkpoint/,
    );
    await expect(new Trainer({ verbose: 0, device, resumeFrom: { a: 1 } }).fit(other, loader())).rejects.toThrow(
      /no state of a training run/,
    );
  });
});

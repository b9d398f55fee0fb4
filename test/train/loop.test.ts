// The loop itself: when it stops, validates and steps schedules; what it writes; that the event loop stays alive.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  type Batch,
  Callback,
  callbacks,
  crossEntropy,
  data,
  type Logs,
  manualSeed,
  metrics,
  nn,
  type OptimizerSetup,
  ones,
  optim,
  rand,
  setDefaultDevice,
  type Tensor,
  Trainer,
  type TrainerOptions,
  TrainModule,
  tensor,
  zeros,
} from "../../lib/index.js";
import { absent } from "../devices.js";

setDefaultDevice(absent("cpu") ? "js" : "cpu");
const folder = mkdtempSync(join(tmpdir(), "nabla-loop-"));
afterAll(() => rmSync(folder, { recursive: true }));

class Line extends TrainModule {
  readonly layer = new nn.Linear(1, 1);
  validations = 0;
  override forward(x: Tensor): Tensor {
    return this.layer.forward(x);
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const loss = this.forward(x).sub(y).square().mean();
    this.log("loss", loss);
    return loss;
  }
  override validationStep([x, y]: [Tensor, Tensor]): void {
    this.log("val_loss", this.forward(x).sub(y).square().mean());
  }
  override onValidationEnd(): void {
    this.validations++;
  }
  override configureOptimizers(): OptimizerSetup {
    return new optim.SGD(this.parameters(), { lr: 0.01 });
  }
}

const x = tensor(Array.from({ length: 10 }, (_, i) => [i / 10]));
const loader = (batchSize = 1) => new data.DataLoader(new data.TensorDataset(x, x.mul(3)), { batchSize });
const make = (options: TrainerOptions = {}) => new Trainer({ verbose: 0, numSanityValSteps: 0, ...options });

test("limits of epochs, steps, time and batches", async () => {
  const run = async (options: TrainerOptions) => {
    const trainer = make(options);
    const history = await trainer.fit(new Line(), loader());
    return [trainer.globalStep, history.epoch.length, trainer.stopReason];
  };
  expect(await run({ maxEpochs: 2 })).toEqual([20, 2, undefined]);
  expect(await run({ maxEpochs: 5, maxSteps: 13 })).toEqual([13, 2, "maxSteps (13) reached"]);
  expect(await run({ maxEpochs: 3, limitTrainBatches: 4 })).toEqual([12, 3, undefined]);
  expect(await run({ maxEpochs: 1, limitTrainBatches: 0.5 })).toEqual([5, 1, undefined]);
  expect(await run({ fastDevRun: true })).toEqual([1, 1, undefined]);
  expect((await run({ maxTime: "00:00:00:01", maxEpochs: 1 }))[1]).toBe(1);
  expect((await run({ maxTime: 1e-9 }))[2]).toBe("maxTime reached");
});

test("validation: at the end of epochs, every few epochs, in their middle, and before everything", async () => {
  const run = async (options: TrainerOptions) => {
    const module = new Line();
    const history = await make({ maxEpochs: 4, ...options }).fit(module, loader(), loader(5));
    return [module.validations, history.history.val_loss.map((v) => !Number.isNaN(v))];
  };
  expect(await run({})).toEqual([4, [true, true, true, true]]);
  expect(await run({ checkValEveryNEpoch: 2 })).toEqual([2, [false, true, false, true]]);
  expect(await run({ valCheckInterval: 3 })).toEqual([12, [true, true, true, true]]);
  expect(await run({ valCheckInterval: 0.5 })).toEqual([8, [true, true, true, true]]);
  expect(await run({ numSanityValSteps: 1, limitValBatches: 1 })).toEqual([5, [true, true, true, true]]);
});

test("schedules step by epoch or step, with a frequency, and by what is monitored", async () => {
  const rates = async (schedule: (o: optim.SGD) => object) => {
    const seen: number[] = [];
    class Scheduled extends Line {
      override configureOptimizers(): OptimizerSetup {
        const optimizer = new optim.SGD(this.parameters(), { lr: 1e-3 });
        return { optimizer, lrScheduler: schedule(optimizer) } as OptimizerSetup;
      }
      override onTrainBatchStart(_batch: Batch, i: number): void {
        if (i % 5 === 0) seen.push((this.optimizers() as optim.SGD).paramGroups[0].lr * 1e3);
      }
    }
    await make({ maxEpochs: 3 }).fit(new Scheduled(), loader(), loader());
    return seen.map((v) => Math.round(v * 1000) / 1000);
  };
  const halving = (o: optim.SGD) => new optim.ExponentialLR(o, 0.5);
  expect(await rates(halving)).toEqual([1, 1, 0.5, 0.5, 0.25, 0.25]);
  expect(await rates((o) => ({ scheduler: halving(o), frequency: 2 }))).toEqual([1, 1, 1, 1, 0.5, 0.5]);
  expect(await rates((o) => ({ scheduler: halving(o), interval: "step", frequency: 5 }))).toEqual(
    [0, 1, 2, 3, 4, 5].map((k) => Math.round(1000 * 0.5 ** k) / 1000),
  );
  const plateau = { patience: 0, factor: 0.5, threshold: 10, thresholdMode: "abs" } as const;
  const monitored = (monitor: string) => (o: optim.SGD) => ({
    scheduler: new optim.ReduceLROnPlateau(o, plateau),
    monitor,
  });
  expect(await rates(monitored("val_loss"))).toEqual([1, 1, 1, 1, 0.5, 0.5]);
  await expect(rates(monitored("val_los"))).rejects.toThrow(/no value val_los to go by; logged are loss, val_loss/);
});

test("a changed learning rate needs no new recording", async () => {
  class Counted extends Line {
    recordings = 0;
    override trainingStep(batch: [Tensor, Tensor]): Tensor {
      this.recordings++;
      return super.trainingStep(batch);
    }
    override configureOptimizers(): OptimizerSetup {
      const optimizer = new optim.Adam(this.parameters());
      return { optimizer, lrScheduler: { scheduler: new optim.ExponentialLR(optimizer, 0.9), interval: "step" } };
    }
  }
  const module = new Counted();
  await make({ maxEpochs: 3 }).fit(module, loader(3));
  expect(module.recordings).toBe(2); // full batches and the odd last one
});

test("manual optimization: two optimizers that take turns", async () => {
  class Manual extends TrainModule {
    override automaticOptimization = false;
    readonly a = new nn.Linear(1, 1);
    readonly b = new nn.Linear(1, 1);
    override trainingStep([t, y]: [Tensor, Tensor]): Tensor {
      const [first, second] = this.optimizers() as optim.SGD[];
      for (const [layer, optimizer] of [
        [this.a, first],
        [this.b, second],
      ] as const) {
        const loss = layer.forward(t).sub(y).square().mean();
        optimizer.zeroGrad();
        this.manualBackward(loss);
        optimizer.step();
      }
      const total = this.a.forward(t).sub(this.b.forward(t)).abs().mean();
      this.log("apart", total);
      return total;
    }
    override configureOptimizers(): OptimizerSetup {
      return [new optim.SGD(this.a.parameters(), { lr: 0.1 }), new optim.SGD(this.b.parameters(), { lr: 0.2 })];
    }
  }
  manualSeed(1);
  const module = new Manual();
  const trainer = make({ maxEpochs: 150 });
  const { history } = await trainer.fit(module, loader(5));
  expect(trainer.eagerReason).toBeUndefined();
  expect(history.apart[149]).toBeLessThan(history.apart[0]);
  expect(module.a.weight.item()).toBeCloseTo(3, 0);
  module.automaticOptimization = true;
  await expect(make().fit(Object.assign(new Manual(), { automaticOptimization: true }), loader())).rejects.toThrow(
    /2 optimizers need manual optimization/,
  );
});

test("L-BFGS computes the loss several times a step", async () => {
  class Searched extends Line {
    override configureOptimizers(): OptimizerSetup {
      return new optim.LBFGS(this.parameters(), { lineSearchFn: "strongWolfe" });
    }
  }
  const module = new Searched();
  const trainer = make({ maxEpochs: 3 });
  await trainer.fit(module, loader(10));
  expect(trainer.eagerReason).toMatch(/LBFGS/);
  expect(module.layer.weight.item()).toBeCloseTo(3, 3);
});

test("stop ends the epoch, interrupt leaves it", async () => {
  const run = async (how: "stop" | "interrupt") => {
    const ends: number[] = [];
    class End extends Callback {
      override onTrainBatchEnd(batch: number): void {
        if (this.loop.currentEpoch === 1 && batch === 3) this.loop[how]("enough");
      }
      override onEpochEnd(epoch: number, logs: Logs): void {
        ends.push(epoch);
        expect(Object.keys(logs)).toEqual(["loss", "val_loss"]);
      }
    }
    const trainer = make({ maxEpochs: 5, callbacks: [new End()] });
    const history = await trainer.fit(new Line(), loader(), loader());
    return { steps: trainer.globalStep, ends, epochs: history.epoch, reason: trainer.stopReason };
  };
  expect(await run("stop")).toEqual({ steps: 14, ends: [0, 1], epochs: [0, 1], reason: "enough" });
  expect(await run("interrupt")).toEqual({ steps: 14, ends: [0], epochs: [0], reason: "enough" });
});

test("logs: means by the size of batches, sums, least and largest, metrics, plain numbers in hooks", async () => {
  class Logging extends Line {
    readonly error = new metrics.MeanSquaredError();
    override trainingStep([t, y]: [Tensor, Tensor]): Tensor {
      const p = this.forward(t);
      this.error.update(p, y);
      this.log("error", this.error);
      this.log("mean", t.mean());
      this.log("rows", ones([]).mul(t.shape[0]), { reduce: "sum" });
      this.log("least", t.amin(), { reduce: "min" });
      this.log("largest", t.amax(), { reduce: "max", onStep: false });
      const loss = p.sub(y).square().mean();
      this.log("loss", loss);
      return loss;
    }
    override onTrainEpochEnd(): void {
      this.log("epochs", this.currentEpoch + 1);
    }
  }
  const { history } = await make({ maxEpochs: 2 }).fit(new Logging(), loader(4));
  expect(history.mean[0]).toBeCloseTo(0.45, 6);
  expect(history.rows).toEqual([10, 10]);
  expect(history.least).toEqual([0, 0]);
  expect(history.largest[1]).toBeCloseTo(0.9, 6);
  expect(history.error[0]).toBeCloseTo(history.loss[0], 6);
  expect(history.epochs).toEqual([1, 2]);
  class Twice extends Line {
    override validationStep(): void {
      this.log("loss", zeros([]));
    }
  }
  await expect(make({ maxEpochs: 1 }).fit(new Twice(), loader(), loader())).rejects.toThrow(/call the latter val_loss/);
});

test("test, validate and predict", async () => {
  const module = new Line();
  const trainer = make();
  const [tested, validated] = [await trainer.test(module, loader(4)), await trainer.validate(module, loader(5))];
  expect(tested.val_loss).toBeCloseTo(validated.val_loss, 6);
  expect(module.training).toBe(true);
  const outputs = (await trainer.predict(module, loader(4))) as Tensor[];
  expect(outputs.map((t) => t.shape)).toEqual([
    [4, 1],
    [4, 1],
    [2, 1],
  ]);
  expect(outputs[0].requiresGrad).toBe(false);
});

test("float64 computes everything in it", async () => {
  const module = new Line();
  await make({ maxEpochs: 1, precision: "float64" }).fit(module, loader());
  expect(module.layer.weight.dtype).toBe("float64");
});

test("the run's directory has its record and its log", async () => {
  const directory = join(folder, "runs/line");
  await make({ maxEpochs: 2, directory, seed: 7 }).fit(new Line(), loader(), loader());
  const record = JSON.parse(readFileSync(join(directory, "run.json"), "utf8")) as Record<string, unknown>;
  expect(record).toMatchObject({ name: "line", seed: 7, model: "Line", parameters: 2, batchesPerEpoch: 10 });
  expect(record.layers).toMatchObject([{ name: "layer", type: "Linear", parameters: 2, trainable: 2 }]);
  expect(record.params).toMatchObject({ maxEpochs: 2, optimizers: [{ name: "SGD", lr: 0.01 }] });
  expect(Date.parse(record.finished as string)).toBeGreaterThanOrEqual(Date.parse(record.started as string));
  const lines = readFileSync(join(directory, "log.jsonl"), "utf8").trim().split("\n");
  expect(lines.map((l) => (JSON.parse(l) as { event: string }).event)).toEqual(["start", "epoch", "epoch", "end"]);
  await make({ fastDevRun: true, directory: join(folder, "none") }).fit(new Line(), loader());
  expect(existsSync(join(folder, "none"))).toBe(false);
});

test("timers and other tasks run while a model trains", async () => {
  const wide = new nn.Sequential([new nn.Linear(64, 256), new nn.ReLU(), new nn.Linear(256, 10)]);
  wide.compile({ optimizer: "adam", loss: new nn.CrossEntropyLoss() });
  const labels = zeros([2000], { dtype: "int64" });
  let turns = 0;
  let training = true;
  const turn = (): void => {
    turns++;
    if (training) setTimeout(turn, 0);
  };
  turn();
  const epochs: number[] = [];
  class Count extends Callback {
    override onEpochEnd(): void {
      epochs.push(turns);
      turns = 0;
    }
  }
  await wide.fit(rand([2000, 64]), labels, { epochs: 3, batchSize: 16, verbose: 0, callbacks: [new Count()] });
  training = false;
  // A blocked loop would have one turn an epoch, at its end.
  expect(epochs.reduce((sum, n) => sum + n, 0)).toBeGreaterThan(2 * epochs.length);
});

test("callbacks hear of errors before they are thrown", async () => {
  const heard: unknown[] = [];
  class Hear extends Callback {
    override onException(error: unknown): void {
      heard.push(error);
    }
  }
  class Broken extends Line {
    override trainingStep(): Tensor {
      throw new RangeError("no");
    }
  }
  await expect(make({ callbacks: [new Hear()] }).fit(new Broken(), loader())).rejects.toThrow("no");
  expect(heard).toHaveLength(1);
});

test("mistakes", async () => {
  const told = (options: object) => make(options as TrainerOptions);
  expect(() => told({ maxEpoch: 3 })).toThrow(/did you mean maxEpochs/);
  expect(() => told({ maxEpochs: -1 })).toThrow(/maxEpochs must be an integer ≥ 0/);
  expect(() => told({ precision: "bfloat16" })).toThrow(/did you mean "bf16"/);
  expect(() => told({ gradientClipAlgorithm: "nrom" })).toThrow(/did you mean "norm"/);
  expect(() => told({ maxTime: "1h" })).toThrow(/DD:HH:MM:SS/);
  expect(() => told({ callbacks: [{}] })).toThrow(/extend Callback/);
  expect(() => told({ limitTrainBatches: 1.5 })).toThrow(/a share below 1/);
  expect(() => told({ report: true })).toThrow(/needs the directory/);
  await expect(told({}).fit(new nn.Linear(1, 1) as never, loader())).rejects.toThrow(/TrainModule is needed/);
  await expect(told({}).fit(new Line(), new data.TensorDataset(x) as never)).rejects.toThrow(/new data.DataLoader/);
  await expect(told({}).fit(new Line(), [])).rejects.toThrow(/there is no batch/);
  await expect(told({ maxEpochs: 1 }).fit(new Line(), () => [])).rejects.toThrow(/gave no batch/);
  const silent = new (class extends Line {
    override trainingStep([t, y]: [Tensor, Tensor]): Tensor {
      return crossEntropy(t, y.reshape([-1]).long(), { reduction: "none" });
    }
  })();
  await expect(told({ maxEpochs: 1 }).fit(silent, loader(2))).rejects.toThrow(/must be one number, got shape \[2\]/);
  expect(() => make().stateDict()).toThrow(/of a run/);
});

test("schedules: the last update of data without a length counts, epochs without a validation do not", async () => {
  const rates: number[] = [];
  const tries = async (source: unknown) => {
    class Halved extends Line {
      override configureOptimizers() {
        const optimizer = new optim.SGD(this.parameters(), { lr: 1 });
        return {
          optimizer,
          lrScheduler: { scheduler: new optim.StepLR(optimizer, 1, 0.5), interval: "step" as const },
        };
      }
    }
    const trainer = make({ maxEpochs: 1, accumulateGradBatches: 2 });
    await trainer.fit(new Halved(), source as never);
    rates.push(trainer.optimizers[0].paramGroups[0].lr);
  };
  const batches = [0, 1, 2].map(() => [x, x.mul(3)]);
  await tries(batches);
  await tries(() =>
    (function* () {
      yield* batches;
    })(),
  );
  expect(rates).toEqual([0.25, 0.25]);

  class Plateau extends Line {
    override validationStep([a, b]: [Tensor, Tensor]) {
      this.log("val_loss", this.forward(a).sub(b).square().mean());
    }
    override configureOptimizers() {
      const optimizer = new optim.SGD(this.parameters(), { lr: 0.01 });
      return { optimizer, lrScheduler: new optim.ReduceLROnPlateau(optimizer, { patience: 0 }) };
    }
  }
  const trainer = make({ maxEpochs: 2, checkValEveryNEpoch: 2 });
  await trainer.fit(new Plateau(), batches as never, batches as never);
  expect(trainer.optimizers[0].paramGroups[0].lr).toBe(0.01);
});

test("labels that do not count, NaN in another part of a tensor, hooks that are left out", async () => {
  const model = new nn.Sequential([new nn.Linear(2, 3)]);
  model.compile({ loss: new nn.CrossEntropyLoss() });
  const labels = tensor([0, -100, 2, 1], { dtype: "int64" });
  const idle = new callbacks.LambdaCallback({ onEpochEnd: undefined } as object);
  await model.fit(rand([4, 2]), labels, { verbose: 0, callbacks: [idle] });
  const all = tensor([[1], [2], [Number.NaN]]);
  const line = new nn.Sequential([new nn.Linear(1, 1)]);
  line.compile({ loss: "mse" });
  await line.fit(all.narrow(0, 0, 2), tensor([[1], [2]]), { verbose: 0 });
  await expect(line.fit(all, tensor([[1], [2], [3]]), { verbose: 0 })).rejects.toThrow(/NaN/);
});

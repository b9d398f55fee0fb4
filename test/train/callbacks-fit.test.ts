// Callbacks in the real loop: recorded steps, validation, runs that are killed and go on.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Batch,
  type Callback,
  callbacks,
  crossEntropy,
  data,
  getRngState,
  io,
  lrFind,
  manualSeed,
  nn,
  optim,
  setDefaultDevice,
  type Tensor,
  Trainer,
  type TrainerOptions,
  TrainModule,
} from "../../lib/index.js";
import { steepest } from "../../lib/train/lrfind.js";

// What the device computes is none of their business, so one is enough; this one starts fastest.
beforeAll(() => setDefaultDevice("js"));
const folder = mkdtempSync(join(tmpdir(), "nabla-callbacks-fit-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let folders = 0;
const fresh = (): string => join(folder, `run-${folders++}`);

class Net extends TrainModule {
  readonly net = new nn.Sequential([
    new nn.Linear(2, 8),
    new nn.BatchNorm1d(8),
    new nn.Tanh(),
    new nn.Dropout(0.1),
    new nn.Linear(8, 2),
  ]);
  override forward(x: Tensor): Tensor {
    return this.net.forward(x);
  }
  override trainingStep([x, y]: Batch): Tensor {
    const loss = crossEntropy(this.forward(x), y);
    this.log("loss", loss);
    return loss;
  }
  override validationStep([x, y]: Batch): void {
    this.log("val_loss", crossEntropy(this.forward(x), y));
  }
  override configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.2, momentum: 0.9 });
  }
}

const dataset = (() => {
  let made: data.TensorDataset | undefined;
  return () => {
    const { x, y } = data.makeMoons({ samples: 48, noise: 0.2, seed: 2 });
    made ??= new data.TensorDataset(x, y);
    return made;
  };
})();
const loader = () => new data.DataLoader(dataset(), { batchSize: 8, shuffle: true, seed: 4 });
const validation = () => new data.DataLoader(dataset(), { batchSize: 48 });
const weights = (m: nn.Module): unknown =>
  Object.fromEntries(Object.entries(m.stateDict()).map(([k, t]) => [k, t.toArray()]));

const seeded = (): Net => {
  manualSeed(1);
  return new Net();
};

async function train(list: readonly Callback[], options: TrainerOptions = {}, module = seeded()) {
  const trainer = new Trainer({ maxEpochs: 6, verbose: 0, callbacks: list, numSanityValSteps: 0, ...options });
  await trainer.fit(module, loader(), validation());
  return { trainer, module };
}

describe("runs that go on", () => {
  const make = (at: string, saveFreq: number | "epoch" = 4) => [
    new callbacks.BackupAndRestore(join(at, "backup"), { saveFreq }),
    new callbacks.ModelCheckpoint(join(at, "best", "{epoch}.ckpt"), { saveTopK: 2, saveLast: true }),
    new callbacks.ExponentialMovingAverage({ decay: 0.8 }),
    new callbacks.EarlyStopping({ patience: 3 }),
    new callbacks.ReduceLROnPlateau({ patience: 1, factor: 0.5, minDelta: 0.05 }),
    new callbacks.CSVLogger(join(at, "log.csv")),
  ];
  const results = (at: string, { trainer, module }: Awaited<ReturnType<typeof train>>) => ({
    weights: weights(module),
    history: trainer.history.history,
    files: readdirSync(join(at, "best")).sort(),
    log: readFileSync(join(at, "log.csv"), "utf8"),
    stopped: trainer.stopReason,
  });
  /** Ends everything in the middle of an epoch. */
  const bomb = (step: number) =>
    new callbacks.LambdaCallback({
      onTrainBatchEnd: function (this: Callback) {
        if (this.loop.globalStep === step) throw new Error("killed");
      },
    });

  test.each([4, "epoch"] as const)(
    "killed in the middle of an epoch, started again: the same bits, files and logs (%s)",
    async (saveFreq) => {
      const [one, two] = [fresh(), fresh()];
      const whole = results(one, await train(make(one)));
      expect(Object.keys(whole.history)).toEqual(["loss", "val_loss", "learning_rate"]);
      expect(new Set(whole.history.learning_rate).size).toBeGreaterThan(1);
      await expect(train([...make(two, saveFreq), bomb(15)])).rejects.toThrow("killed");
      expect(existsSync(join(two, "backup", "backup.ckpt"))).toBe(true);
      manualSeed(99); // which the restored state undoes
      const again = results(two, await train(make(two, saveFreq), {}, new Net()));
      expect(again).toEqual(whole);
      expect(existsSync(join(two, "backup"))).toBe(false);
    },
  );

  test("interrupted: the backup stays, nothing final is done, and the same trainer goes on", async () => {
    const [one, two] = [fresh(), fresh()];
    const whole = results(one, await train(make(one)));
    let once = true;
    const interrupt = new callbacks.LambdaCallback({
      onTrainBatchEnd: function (this: Callback) {
        if (this.loop.globalStep === 20 && once) {
          once = false;
          this.loop.interrupt();
        }
      },
    });
    const run = await train([...make(two), interrupt]);
    expect(run.trainer.stopReason).toBe("interrupted");
    expect(existsSync(join(two, "backup", "backup.ckpt"))).toBe(true);
    await run.trainer.fit(run.module, loader(), validation());
    expect(results(two, run).weights).toEqual(whole.weights);
    expect(run.trainer.history.history).toEqual(whole.history);
  });

  test("a checkpoint continues a run by resumeFrom, and its weights are those that were validated", async () => {
    const at = fresh();
    const whole = await train(make(at));
    const two = fresh();
    await train(make(two), { maxEpochs: 3 });
    const path = join(two, "best", "last.ckpt");
    const { model } = await io.load<{ model: Record<string, Tensor> }>(path);
    const copy = new Net();
    copy.loadStateDict(model);
    const [logs] = [await new Trainer({ verbose: 0 }).validate(copy, validation())];
    const rest = await train(make(two), { resumeFrom: path }, new Net());
    expect(rest.trainer.history.history).toEqual(whole.trainer.history.history);
    expect(weights(rest.module)).toEqual(weights(whole.module));
    expect(logs.val_loss).toBe(whole.trainer.history.history.val_loss[2]);
  });
});

test("averages follow optimizer steps, not batches; also the one at the end of an epoch", async () => {
  const seen: number[] = [];
  const ema = new callbacks.ExponentialMovingAverage({ decay: 0.5 });
  const note = () => void seen.push((ema.stateDict() as { steps: number }).steps);
  const count = new callbacks.LambdaCallback({ onTrainBatchEnd: note, onEpochEnd: note });
  const { trainer } = await train([ema, count], { maxEpochs: 1, accumulateGradBatches: 4 });
  expect(seen).toEqual([0, 0, 0, 1, 1, 2, 2]);
  expect(trainer.globalStep).toBe(2);
});

test("fit of a compiled model", async () => {
  const at = fresh();
  manualSeed(3);
  const input = nn.Input({ shape: [2] });
  const h = new nn.ReLU().call(new nn.Linear(2, 8).call(input));
  const model = new nn.Graph({ inputs: input, outputs: new nn.Linear(10, 1).call(nn.concatenate([input, h])) });
  model.compile({ optimizer: "adam", loss: "mse", metrics: ["mae"] });
  const { x, y } = data.makeMoons({ samples: 40, seed: 2 });
  const history = await model.fit(x, y.float().unsqueeze(1), {
    epochs: 3,
    verbose: 0,
    validationSplit: 0.25,
    directory: at,
    callbacks: [
      new callbacks.LearningRateScheduler((epoch) => 0.01 / (epoch + 1)),
      new callbacks.JsonlLogger({ everyNTrainSteps: 1 }),
      new callbacks.TensorBoard({ updateFreq: "batch" }),
      new callbacks.TerminateOnNaN(),
      new callbacks.Timer({ hours: 1 }),
      new callbacks.ModelCheckpoint(join(at, "{epoch}-{val_mae:.3f}.safetensors"), { saveWeightsOnly: true }),
    ],
  });
  expect(history.history.learning_rate).toEqual([0.01, 0.005, 0.01 / 3]);
  const [mae] = history.history.val_mae.slice(-1);
  const other = new nn.Graph({ inputs: input, outputs: new nn.Linear(10, 1).call(nn.concatenate([input, h])) });
  other.loadStateDict(await io.loadSafetensors(join(at, `3-${mae.toFixed(3)}.safetensors`)));
  expect(weights(other)).toEqual(weights(model));
  const events = readFileSync(join(at, "log.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events.map((e) => e.event)).toEqual(["start", "step", "epoch", "step", "epoch", "step", "epoch", "end"]);
  expect(events[0]).toMatchObject({ maxEpochs: 3, device: "js" });
  events
    .filter((e) => e.event === "epoch")
    .forEach(({ logs }, i) => {
      expect(logs).toEqual(Object.fromEntries(Object.entries(history.history).map(([k, v]) => [k, v[i]])));
    });
  expect(events[1].logs.loss).toBe(history.history.loss[0]); // one batch is the epoch
  expect(readdirSync(join(at, "tensorboard")).sort()).toEqual(["train", "validation"]);
});

test("what cannot work is refused before training, or at the first batch", async () => {
  const model = new nn.Sequential([new nn.Linear(2, 1)]).compile({ optimizer: "sgd", loss: "mse" });
  const { x, y } = data.makeMoons({ samples: 8, seed: 2 });
  const before = weights(model);
  const fitWith = (c: Callback) => model.fit(x, y.float().unsqueeze(1), { callbacks: [c], verbose: 0 });
  for (const c of [
    new callbacks.EarlyStopping(),
    new callbacks.ReduceLROnPlateau(),
    new callbacks.ModelCheckpoint(join(folder, "no"), { saveBestOnly: true }),
  ]) {
    await expect(fitWith(c)).rejects.toThrow(
      /: val_loss is a value of the validation, and there is no data for that; pass some, or go by loss/,
    );
  }
  expect(weights(model)).toEqual(before);
  class Silent extends Net {
    override trainingStep([a, b]: Batch): Tensor {
      const loss = crossEntropy(this.forward(a), b);
      this.log("los", loss);
      return loss;
    }
  }
  await expect(train([new callbacks.TerminateOnNaN()], {}, new Silent())).rejects.toThrow(
    'TerminateOnNaN: there is no value "loss"; did you mean los? There are los',
  );
  await expect(lrFind(new Silent(), loader())).rejects.toThrow(/logs no value "loss"; did you mean los/);
});

describe("lrFind", () => {
  test("suggests a rate that learns, and leaves everything as it was", async () => {
    manualSeed(1);
    const module = new Net();
    const batches = loader();
    const before = [weights(module), getRngState(), batches.stateDict()];
    const { suggestion, lrs, losses } = await lrFind(module, batches, { minLr: 1e-5, maxLr: 100, steps: 60 });
    expect([weights(module), getRngState(), batches.stateDict()]).toEqual(before);
    expect(lrs[0]).toBe(1e-5);
    expect(lrs[1] / lrs[0]).toBeCloseTo(1e7 ** (1 / 59), 10);
    expect(losses.length).toBe(lrs.length);
    expect(lrs.length).toBeLessThan(60); // it diverged, and was stopped
    expect(suggestion).toBeGreaterThan(1e-3);
    expect(suggestion).toBeLessThan(2);
    const { trainer } = await train([], { maxEpochs: 1 }, module);
    expect(trainer.globalStep).toBe(6);
  });

  test("of a compiled model the optimizer goes on as if nothing had been", async () => {
    const { x, y } = data.makeMoons({ samples: 32, seed: 2 });
    const target = y.float().unsqueeze(1);
    const run = async (between: (m: nn.Sequential) => Promise<unknown>) => {
      manualSeed(5);
      const model = new nn.Sequential([new nn.Linear(2, 4), new nn.Tanh(), new nn.Linear(4, 1)]);
      model.compile({ optimizer: new optim.Adam(model.parameters(), { lr: 0.01 }), loss: "mse" });
      await between(model);
      await model.fit(x, target, { epochs: 2, verbose: 0 });
      await between(model);
      return [await model.fit(x, target, { epochs: 2, verbose: 0 }), weights(model)] as const;
    };
    const find = (m: nn.Sequential) => lrFind(m, [x, target], { steps: 20, batchSize: 8 });
    const [[a, wa], [b, wb]] = [await run(async () => {}), await run(find)];
    expect(b.history).toEqual(a.history);
    expect(wb).toEqual(wa);
  });

  test("the steepest descent", () => {
    const sigmoid = Array.from({ length: 60 }, (_, i) => 1 / (1 + Math.exp((i - 33) / 4)));
    expect(steepest(sigmoid)).toBe(33);
    expect(steepest(sigmoid.map((v, i) => (i < 8 ? 100 - 10 * i : v)))).toBe(33); // the first ten do not count
    expect(steepest([...sigmoid.slice(0, 59), -100])).toBe(33); // nor does the last
    expect(steepest(sigmoid.map((v) => -v))).toBeUndefined();
    expect(steepest([1, 2])).toBeUndefined();
  });

  test("bad options", async () => {
    await expect(lrFind(new Net(), loader(), { minLr: 1, maxLr: 0.1 })).rejects.toThrow(/got minLr 1 and maxLr 0.1/);
    await expect(lrFind(new nn.Linear(1, 1) as never, loader())).rejects.toThrow(/TrainModule or a compiled nn.Model/);
    await expect(lrFind(new Net(), loader(), { step: 3 } as never)).rejects.toThrow(/did you mean steps/);
  });
});

// Averages of weights against PyTorch's (test/figures/averaging.json), and when the model has which weights.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Callback, callbacks, io, mseLoss, nn, optim, type Tensor, tensor } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";
import { HandLoop, type Plan } from "./loop.js";

const figures = JSON.parse(readFileSync(new URL("../figures/averaging.json", import.meta.url), "utf8"));
const camel = (key: string) => key.replace(/_(.)/g, (_, c) => c.toUpperCase());

onEveryDevice("averages", (device) => {
  const place = { dtype: "float64", device } as const;
  const values = (name: string) => tensor(figures[name], place);

  /** The network and data of the figures. */
  function setup(list: readonly Callback[], more: Partial<Plan> = {}) {
    const model = new nn.Sequential([
      new nn.Linear(3, 4, place),
      new nn.BatchNorm1d(4, place),
      new nn.Tanh(),
      new nn.Linear(4, 1, place),
    ]);
    model.loadStateDict(
      Object.fromEntries(
        Object.entries(figures.start).map(([k, v]) => [
          camel(k),
          k.endsWith("tracked") ? tensor(v as number, { dtype: "int64", device }) : tensor(v as number[], place),
        ]),
      ),
    );
    const optimizer = new optim.SGD(model.parameters(), { lr: figures.lr, momentum: 0.5 });
    const [x, y] = [values("x"), values("y")];
    const batches = [0, 4, 8].map((at) => [x.narrow(0, at, 4), y.narrow(0, at, 4)] as const);
    const step = (batch: number): number => {
      optimizer.zeroGrad();
      const loss = mseLoss(model.forward(batches[batch][0]), batches[batch][1]);
      loss.backward();
      optimizer.step();
      return loss.item();
    };
    const plan = { model, optimizer, callbacks: list, maxEpochs: figures.epochs, batches: 3, step, ...more };
    return { loop: new HandLoop(plan), model, batches, x };
  }

  const expectWeights = (weights: Record<string, Tensor>, figure: Record<string, unknown>) => {
    for (const [k, v] of Object.entries(figure)) {
      const flat = (t: unknown): number[] => [t].flat(3).map(Number);
      const [ours, theirs] = [flat(weights[camel(k)].toArray()), flat(v)];
      expect(ours.length).toBe(theirs.length);
      ours.forEach((o, i) => {
        expect(o, k).toBeCloseTo(theirs[i], 10);
      });
    }
  };

  test.each([
    ["ema", false],
    ["emaBuffers", true],
  ])("ExponentialMovingAverage: %s", async (name, useBuffers) => {
    const { loop, model } = setup([new callbacks.ExponentialMovingAverage({ decay: figures.decay, useBuffers })]);
    await loop.run();
    expectWeights(model.stateDict(), figures[name]);
    const tracked = Object.keys(figures.last).filter((k) => !(k in figures[name]));
    expectWeights(model.stateDict(), Object.fromEntries(tracked.map((k) => [k, figures.last[k]])));
  });

  test("the model has the averages from the validation to the next batch, and what is kept as best has them", async () => {
    const seen: Record<string, number[]> = {};
    const bias = () => model.stateDict()["3.bias"].toArray() as number[];
    const look = (name: string) => () => {
      seen[name] ??= [];
      seen[name].push(...bias());
    };
    const list = [
      new callbacks.ExponentialMovingAverage({ decay: 0.5 }),
      new callbacks.EarlyStopping({ patience: 9 }),
      new callbacks.LambdaCallback({
        onTrainBatchBegin: look("begin"),
        onTrainBatchEnd: look("end"),
        onTestBegin: look("test"),
        onEpochEnd: look("epoch"),
      }),
    ];
    const { loop, model } = setup(list, { maxEpochs: 3, results: (epoch) => ({ val_loss: [3, 1, 2][epoch] }) });
    const start = bias()[0];
    await loop.run();
    // w after each step is what the next one begins with; m is the average of them.
    expect(seen.begin).toEqual([start, ...seen.end.slice(0, -1)]);
    let m = seen.end[0];
    const averages = seen.end.map((w, i) => (m = i === 0 ? w : 0.5 * m + 0.5 * w));
    [2, 5, 8].forEach((step, epoch) => {
      expect(seen.test[epoch]).toBeCloseTo(averages[step], 12);
    });
    expect(seen.epoch).toEqual(seen.test);
    expect(bias()[0]).toBe(seen.test[1]); // the best epoch
  });

  interface Figure {
    annealingEpochs: number;
    annealingStrategy: "cos" | "linear";
    rates: number[];
    weights: Record<string, unknown>;
    output: number[][];
  }
  test.each((figures.swa as Figure[]).map((f) => [`${f.annealingEpochs} ${f.annealingStrategy}`, f] as const))(
    "StochasticWeightAveraging: %s",
    async (_, { annealingEpochs, annealingStrategy, rates, weights, output }) => {
      const data: unknown[][] = [];
      const { swaLr, swaStart: swaEpochStart } = figures;
      const swa = new callbacks.StochasticWeightAveraging({
        ...{ swaLr, swaEpochStart, annealingEpochs, annealingStrategy, data },
      });
      const { loop, model, batches, x } = setup([swa]);
      data.push(...batches.map((b) => [...b]));
      await loop.run();
      loop.rates.forEach((lr, i) => {
        expect(lr).toBeCloseTo(rates[i], 12);
      });
      expectWeights(model.stateDict(), weights);
      expect([...model.modules()].every((m) => m.training)).toBe(true);
      expect((model[1] as nn.BatchNorm1d).momentum).toBe(0.1);
      model.eval();
      expectWeights({ output: model.forward(x) }, { output });
    },
  );

  test("resumed runs end as unbroken ones", async () => {
    for (const make of [
      () => new callbacks.ExponentialMovingAverage({ decay: 0.9 }),
      () =>
        new callbacks.StochasticWeightAveraging({
          swaLr: 0.01,
          swaEpochStart: 1,
          annealingEpochs: 2,
          data: () => [values("x")],
        }),
    ]) {
      const whole = setup([make()], { maxEpochs: 4 });
      await whole.loop.run();
      let state: Record<string, never> = {};
      const path = `${process.env.TMPDIR ?? "/tmp"}/nabla-averaging-${process.pid}-${device}.ckpt`;
      class Save extends callbacks.LambdaCallback {
        override get last() {
          return true;
        }
      }
      const first = setup(
        [
          make(),
          new Save({
            onEpochEnd: async (epoch) => {
              if (epoch !== 2) return;
              await io.save(path, first.loop.stateDict());
              state = await io.load(path, { device });
            },
          }),
        ],
        { maxEpochs: 4 },
      );
      await first.loop.run();
      const second = setup([make(), new Save({})], { maxEpochs: 4 });
      second.loop.loadStateDict(state);
      await second.loop.run();
      expect(second.loop.globalStep).toBe(12);
      for (const [k, t] of Object.entries(whole.model.stateDict())) {
        expect(second.model.stateDict()[k].toArray(), k).toEqual(t.toArray());
      }
    }
  });
});

test("statistics are renewed from some batch, or stay", async () => {
  const model = new nn.BatchNorm1d(1);
  model.forward(tensor([[1], [3]]));
  const before = model.runningMean?.toArray();
  await expect(callbacks.renewStatistics(model, [])).rejects.toThrow(/the data gave no batch; is it a generator/);
  await expect(callbacks.renewStatistics(model, [[3]])).rejects.toThrow(/begin with one, got the number 3/);
  expect(model.runningMean?.toArray()).toEqual(before);
  await callbacks.renewStatistics(model, async function* () {
    for (const v of [1, 2, 6]) yield [tensor([[v], [v]]), null];
  });
  expect(model.runningMean?.toArray()).toEqual([3]);
  expect(model.numBatchesTracked?.item()).toBe(3);
});

describe("what cannot be right is refused", () => {
  const { ExponentialMovingAverage, StochasticWeightAveraging } = callbacks;
  const run = (swa: Callback, maxEpochs: number) => {
    const model = new nn.BatchNorm1d(2);
    const optimizer = new optim.SGD(model.parameters(), { lr: 1 });
    return new HandLoop({ model, optimizer, callbacks: [swa], maxEpochs }).run();
  };

  test("at construction", () => {
    expect(() => new ExponentialMovingAverage({ decay: 1 })).toThrow(/decay must be below 1, got 1/);
    expect(() => new ExponentialMovingAverage({ decay: -1 })).toThrow(/decay must be a finite number ≥ 0/);
    expect(() => new StochasticWeightAveraging({} as never)).toThrow(
      /swaLr must be a finite number ≥ 0, got undefined/,
    );
    expect(() => new StochasticWeightAveraging({ swaLr: 1, swaEpochStart: 2.5 })).toThrow(/must be an integer/);
    expect(() => new StochasticWeightAveraging({ swaLr: 1, annealingStrategy: "exp" as never })).toThrow(
      /"cos" or "linear"/,
    );
  });

  test("before training", async () => {
    await expect(run(new StochasticWeightAveraging({ swaLr: 1 }), 3)).rejects.toThrow(/pass the training data as data/);
    await expect(run(new StochasticWeightAveraging({ swaLr: 1, data: [] }), Number.POSITIVE_INFINITY)).rejects.toThrow(
      /give swaEpochStart as an epoch/,
    );
    await expect(run(new StochasticWeightAveraging({ swaLr: 1, data: [], swaEpochStart: 3 }), 3)).rejects.toThrow(
      /nothing would be averaged: swaEpochStart is 3, and training ends after 3 epochs/,
    );
  });
});

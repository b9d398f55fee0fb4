// The training step: recorded and eager give the same bits, and what cannot be recorded runs all the same.
import { describe, expect, test } from "vitest";
import {
  type Batch,
  crossEntropy,
  data,
  manualSeed,
  nn,
  optim,
  type Tensor,
  Trainer,
  type TrainerOptions,
  TrainModule,
  tensor,
} from "../../lib/index.js";
import { absent, onEveryDevice } from "../devices.js";

class Net extends TrainModule {
  readonly net: nn.Sequential;
  constructor(device: string, dropout = 0.2) {
    super();
    const place = { device };
    this.net = new nn.Sequential([
      new nn.Linear(2, 8, place),
      new nn.BatchNorm1d(8, place),
      new nn.ReLU(),
      new nn.Dropout(dropout),
      new nn.Linear(8, 2, place),
    ]);
  }
  override forward(x: Tensor): Tensor {
    return this.net.forward(x);
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor | Promise<Tensor> {
    const loss = crossEntropy(this.forward(x), y);
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer<never> {
    return new optim.Adam(this.parameters(), { lr: 0.01 }) as unknown as optim.Optimizer<never>;
  }
}

const weights = (m: nn.Module | TrainModule): unknown => Object.values(m.stateDict()).map((t) => t.toArray());

function moons(device: string, batchSize = 8) {
  const { x, y } = data.makeMoons({ samples: 50, noise: 0.1, seed: 2, device });
  return new data.DataLoader(new data.TensorDataset(x, y), { batchSize, shuffle: true, seed: 4 });
}

async function train(device: string, options: TrainerOptions, make = () => new Net(device), loader = moons(device)) {
  manualSeed(1);
  const module = make();
  const trainer = new Trainer({ maxEpochs: 2, verbose: 0, device, ...options });
  const history = await trainer.fit(module, loader);
  return { module, trainer, history };
}

onEveryDevice("recorded and eager", (device) => {
  test("give the same bits: clipping, dropout, batch norm, an odd last batch", async () => {
    for (const options of [
      {},
      { gradientClipVal: 0.1 },
      { gradientClipVal: 0.01, gradientClipAlgorithm: "value" as const },
    ]) {
      const recorded = await train(device, options);
      const eager = await train(device, { ...options, compile: false });
      expect(recorded.trainer.eagerReason).toBeUndefined();
      expect(eager.trainer.eagerReason).toMatch(/compile: false/);
      expect(weights(recorded.module)).toEqual(weights(eager.module));
      expect(recorded.history.history).toEqual(eager.history.history);
      expect(recorded.trainer.globalStep).toBe(14);
    }
  });
});

describe("training step", () => {
  const device = absent("cpu") ? "js" : "cpu";

  test("accumulated batches equal one large one, recorded or not", async () => {
    const plain = () => new Net(device, 0);
    const rows = (batchSize: number) => {
      const { x, y } = data.makeMoons({ samples: 48, noise: 0.1, seed: 2, device });
      return new data.DataLoader(new data.TensorDataset(x, y), { batchSize, shuffle: true, seed: 4 });
    };
    // Batch norm sees each batch for itself, so it is left out.
    const noNorm = () => {
      const net = plain();
      (net as { net: nn.Sequential }).net = new nn.Sequential([
        new nn.Linear(2, 8, { device }),
        new nn.Tanh(),
        new nn.Linear(8, 2, { device }),
      ]);
      return net;
    };
    const large = await train(device, {}, noNorm, rows(12));
    const small = await train(device, { accumulateGradBatches: 3 }, noNorm, rows(4));
    const eager = await train(device, { accumulateGradBatches: 3, compile: false }, noNorm, rows(4));
    expect(small.trainer.eagerReason).toBeUndefined();
    expect(small.trainer.globalStep).toBe(8);
    expect(weights(small.module)).toEqual(weights(eager.module));
    const flat = (m: Net) => (weights(m) as number[]).flat(Number.POSITIVE_INFINITY);
    flat(small.module).forEach((v, i) => {
      expect(v).toBeCloseTo(flat(large.module)[i], 5);
    });
  });

  test("what cannot be recorded says why and gives the same", async () => {
    const expected = await train(device, { compile: false });
    const cases: [string, typeof Net.prototype.trainingStep, RegExp][] = [
      [
        "reads a value",
        function (this: Net, [x, y]: [Tensor, Tensor]) {
          const loss = crossEntropy(this.forward(x), y);
          this.log("loss", loss);
          if (Number.isNaN(loss.item())) throw new Error("NaN");
          return loss;
        },
        /reading a value/,
      ],
      [
        "takes the batch's number",
        function (this: Net, batch: Batch, _i?: number) {
          return Net.prototype.trainingStep.call(this, batch);
        } as typeof Net.prototype.trainingStep,
        /number of the batch/,
      ],
      [
        "is asynchronous",
        async function (this: Net, batch: [Tensor, Tensor]) {
          await undefined;
          return Net.prototype.trainingStep.call(this, batch);
        },
        /asynchronous/,
      ],
      [
        "logs plain numbers",
        function (this: Net, batch: [Tensor, Tensor]) {
          this.log("rows", batch[0].shape[0], { onEpoch: false });
          return Net.prototype.trainingStep.call(this, batch);
        },
        /plain number/,
      ],
    ];
    for (const [name, step, why] of cases) {
      const found = await train(device, {}, () => {
        const net = new Net(device);
        net.trainingStep = step;
        return net;
      });
      expect(found.trainer.eagerReason, name).toMatch(why);
      expect(weights(found.module), name).toEqual(weights(expected.module));
    }
  });

  test("a step that depends on the batch's number is given up when recordings are of no use", async () => {
    const found = await train(device, { maxEpochs: 4 }, () => {
      const net = new Net(device);
      net.trainingStep = function (this: Net, batch: [Tensor, Tensor]) {
        this.log("scaled", tensor(this.batchIdx + this.globalStep, { device }));
        return Net.prototype.trainingStep.call(this, batch);
      };
      return net;
    });
    expect(found.trainer.eagerReason).toMatch(/recorded 16 times in 16 batches/);
    expect(weights(found.module)).toEqual(weights((await train(device, { maxEpochs: 4 })).module));
  });
});

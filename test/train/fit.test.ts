// Keras's way: fit, evaluate, predict against loops written by hand in PyTorch, and what Keras's users rely on.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  Callback,
  crossEntropy,
  data,
  type Logs,
  manualSeed,
  metrics,
  nn,
  noGrad,
  optim,
  rand,
  setDefaultDevice,
  Tensor,
  tensor,
  zeros,
} from "../../lib/index.js";
import { absent } from "../devices.js";

setDefaultDevice(absent("cpu") ? "js" : "cpu");

interface Case {
  name: string;
  loss: string;
  head: "Softmax" | "Sigmoid" | "Softplus" | null;
  outputs: number;
  optimizer: "adam" | "sgd";
  classWeight: Record<string, number> | null;
  sampleWeight: number[] | null;
  before: number[][];
  after: number[][];
  losses: number[];
  final: number;
  targets: number[];
  output: number[][];
}
const figures = JSON.parse(readFileSync(new URL("../figures/train.json", import.meta.url), "utf8")) as {
  x: number[][];
  cases: Case[];
};

const close = (a: unknown, b: unknown, digits: number): void => {
  const [x, y] = [[a].flat(9) as number[], [b].flat(9) as number[]];
  expect(x.length).toBe(y.length);
  x.forEach((v, i) => {
    expect(v).toBeCloseTo(y[i], digits);
  });
};

describe("as PyTorch's loop", () => {
  const dtype = "float64";
  const x = tensor(figures.x, { dtype });
  for (const c of figures.cases) {
    const build = () => {
      const layers = [new nn.Linear(3, 4, { dtype }), new nn.Tanh(), new nn.Linear(4, c.outputs, { dtype })];
      const model = new nn.Sequential(c.head ? [...layers, new nn[c.head]()] : layers);
      noGrad(() => {
        [...model.parameters()].forEach((p, i) => {
          p.copy_(tensor(c.before[i], { dtype }));
        });
      });
      const optimizer =
        c.optimizer === "adam"
          ? new optim.Adam(model.parameters(), { lr: 0.05 })
          : new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
      return { model, optimizer };
    };
    for (const runEagerly of [false, true]) {
      test(`${c.name}${runEagerly ? ", eagerly" : ""}`, async () => {
        const { model, optimizer } = build();
        model.compile({ optimizer, loss: c.loss, runEagerly });
        const history = await model.fit(x, c.targets, {
          ...{ epochs: 4, batchSize: 8, shuffle: false, verbose: 0 },
          ...(c.classWeight ? { classWeight: c.classWeight } : {}),
          ...(c.sampleWeight ? { sampleWeight: c.sampleWeight } : {}),
        });
        close(history.history.loss, c.losses, 9);
        close(
          [...model.parameters()].map((p) => p.toArray()),
          c.after,
          9,
        );
        const { loss } = await model.evaluate(x, c.targets, { verbose: 0, batchSize: 5 });
        expect(loss).toBeCloseTo(c.final, 9);
        close((await model.predict(x, { batchSize: 7 })).toArray(), c.output, 9);
      });
    }
  }
});

const moons = (samples = 40) => data.makeMoons({ samples, noise: 0.1, seed: 3 });
const classifier = () => new nn.Sequential([new nn.Linear(2, 8), new nn.ReLU(), new nn.Linear(8, 2), new nn.Softmax()]);
const quiet = { verbose: 0 } as const;

test("learns what can be learnt", async () => {
  manualSeed(1);
  const { x, y } = moons(300);
  const model = classifier();
  const loss = "sparseCategoricalCrossentropy";
  model.compile({ optimizer: (p) => new optim.Adam(p, { lr: 0.02 }), loss, metrics: ["accuracy"] });
  const history = await model.fit(x, y, { epochs: 40, validationSplit: 0.2, ...quiet });
  expect(history.epoch.length).toBe(40);
  expect(Object.keys(history.history).sort()).toEqual(["accuracy", "loss", "val_accuracy", "val_loss"]);
  expect(history.best("val_accuracy", "max")?.value).toBeGreaterThan(0.95);
  const found = await model.evaluate(x, y, quiet);
  const right = (await model.predict(x)).argmax(1).eq(y).sum().item();
  expect(found.accuracy).toBe(right / 300);
});

test("validationSplit takes the last samples, before shuffling", async () => {
  const x = tensor(Array.from({ length: 10 }, (_, i) => [i]));
  const model = new nn.Sequential([new nn.Linear(1, 1)]);
  const seen: number[][] = [];
  model.compile({ optimizer: "sgd", loss: (p: Tensor, t: Tensor) => p.sub(t).square(), runEagerly: true });
  const forward = model[0].forward.bind(model[0]);
  model[0].forward = (t: Tensor) => {
    if (modelTraining(model)) seen.push((t.toArray() as number[][]).flat());
    return forward(t);
  };
  await model.fit(x, x, { epochs: 2, batchSize: 4, validationSplit: 0.3, seed: 5, ...quiet });
  const epochs = [seen.slice(0, 2).flat(), seen.slice(2).flat()];
  for (const e of epochs) expect([...e].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(epochs[0]).not.toEqual(epochs[1]);
});
const modelTraining = (model: nn.Sequential): boolean => model.training;

test("fit again goes on, compile again begins with a new optimizer and keeps the weights", async () => {
  const { x, y } = moons();
  const weights = (m: nn.Sequential) => [...m.parameters()].map((p) => p.toArray());
  const run = async (parts: readonly (readonly [number, number])[]) => {
    manualSeed(2);
    const model = classifier();
    model.compile({ optimizer: "adam", loss: "sparse_categorical_crossentropy" });
    for (const [initialEpoch, epochs] of parts) {
      const history = await model.fit(x, y, { initialEpoch, epochs, shuffle: false, ...quiet });
      expect(history.epoch).toEqual(Array.from({ length: epochs - initialEpoch }, (_, i) => initialEpoch + i));
    }
    return model;
  };
  const model = await run([[0, 4]]);
  expect(
    weights(
      await run([
        [0, 1],
        [1, 4],
      ]),
    ),
  ).toEqual(weights(model));
  const before = weights(model);
  model.compile({ optimizer: "adam", loss: "sparse_categorical_crossentropy" });
  expect(weights(model)).toEqual(before);
  await model.fit(x, y, { epochs: 1, batchSize: 40, shuffle: false, ...quiet });
  // The first step of Adam is lr in every direction.
  const moved = (weights(model).flat(9) as number[]).map((v, i) => Math.abs(v - (before.flat(9) as number[])[i]));
  expect(Math.max(...moved)).toBeLessThan(1.001e-3);
});

test("all kinds of data give the same: arrays, typed arrays, tensors, datasets, loaders, generators, several epochs of one", async () => {
  const { x, y } = moons(12);
  const [rows, labels] = [x.toArray() as number[][], y.toArray() as number[]];
  const batches = [0, 4, 8].map((at) => [rows.slice(at, at + 4), labels.slice(at, at + 4)] as [number[][], number[]]);
  const run = async (way: (m: nn.Sequential) => Promise<unknown>): Promise<unknown> => {
    manualSeed(4);
    const model = classifier();
    model.compile({ optimizer: "sgd", loss: "sparse_categorical_crossentropy" });
    await way(model);
    return [...model.parameters()].map((p) => p.toArray());
  };
  const options = { epochs: 2, batchSize: 4, shuffle: false, ...quiet };
  const expected = await run((m) => m.fit(x, y, options));
  const dataset = new data.TensorDataset(x, y);
  class Slow extends data.Dataset<[Tensor, Tensor]> {
    readonly length = 12;
    async get(i: number): Promise<[Tensor, Tensor]> {
      await undefined;
      return dataset.get(i) as [Tensor, Tensor];
    }
  }
  function* endless() {
    for (;;) yield* batches;
  }
  async function* slowly() {
    yield* batches;
  }
  const ways: Record<string, (m: nn.Sequential) => Promise<unknown>> = {
    arrays: (m) => m.fit(rows, labels, options),
    "typed arrays": (m) =>
      m.fit(
        rows.map((r) => Float64Array.from(r)),
        Int32Array.from(labels),
        options,
      ),
    "labels in a column": (m) =>
      m.fit(
        rows,
        labels.map((l) => [l]),
        options,
      ),
    dataset: (m) => m.fit(dataset, options),
    "asynchronous dataset": (m) => m.fit(new Slow(), options),
    loader: (m) => m.fit(new data.DataLoader(dataset, { batchSize: 4 }), { epochs: 2, ...quiet }),
    "list of batches": (m) =>
      m.fit(
        batches.map(([a, b]) => [tensor(a), tensor(b)]),
        { epochs: 2, ...quiet },
      ),
    "function that gives a generator": (m) => m.fit(slowly, { epochs: 2, ...quiet }),
    "generator without an end": (m) => m.fit(endless(), { epochs: 2, stepsPerEpoch: 3, ...quiet }),
    trainOnBatch: async (m) => {
      for (const [a, b] of [...batches, ...batches]) await m.trainOnBatch(a, b);
    },
  };
  for (const [name, way] of Object.entries(ways)) expect(await run(way), name).toEqual(expected);
});

/** Two inputs, two outputs. */
class Two extends nn.Model {
  readonly a = new nn.Linear(2, 3);
  readonly b = new nn.Linear(1, 3);
  constructor(private readonly form: "list" | "record") {
    super();
  }
  override forward(x: Tensor | { left: Tensor; right: Tensor }, right?: Tensor) {
    const [l, r] = x instanceof Tensor ? [x, right as Tensor] : [x.left, x.right];
    const h = this.a.forward(l).add(this.b.forward(r));
    const [sum, scores] = [h.sum(1, true), h];
    return this.form === "list" ? [sum, scores] : { sum, scores };
  }
}

test("several inputs and outputs, in lists and by name", async () => {
  const [left, right] = [rand([9, 2]), rand([9, 1])];
  const sum = left.sum(1, true);
  const labels = tensor([0, 1, 2, 0, 1, 2, 0, 1, 2], { dtype: "int64" });
  const losses: Record<string, number[]>[] = [];
  for (const form of ["list", "record"] as const) {
    manualSeed(6);
    const model = new Two(form);
    const named = form === "record";
    model.compile({
      optimizer: "sgd",
      loss: named ? { sum: "mse", scores: "cross_entropy" } : ["mse", "cross_entropy"],
      lossWeights: named ? { scores: 0.5 } : [1, 0.5],
      metrics: named ? { scores: ["accuracy"] } : [[], ["accuracy"]],
    });
    const x = named ? { left, right } : [left, right];
    const y = named ? { sum, scores: labels } : [sum, labels];
    const history = await model.fit(x, y, { epochs: 2, batchSize: 4, shuffle: false, ...quiet });
    losses.push(history.history);
    const prediction = (await model.predict(x)) as unknown as Record<string, Tensor> & Tensor[];
    expect(prediction[named ? "scores" : 1].shape).toEqual([9, 3]);
    const { loss, ...rest } = await model.evaluate(x, y, quiet);
    const [first, second] = named ? ["sum", "scores"] : ["output_1", "output_2"];
    expect(Object.keys(rest)).toEqual([`${first}_loss`, `${second}_loss`, `${second}_accuracy`]);
    expect(loss).toBeCloseTo(rest[`${first}_loss`] + 0.5 * rest[`${second}_loss`], 5);
  }
  expect(losses[0].loss).toEqual(losses[1].loss);
});

test("summary says what Keras's says", async () => {
  const model = new nn.Sequential([new nn.Linear(2, 5), new nn.ReLU(), new nn.Linear(5, 1)]);
  const lines: string[] = [];
  model.summary({ inputShape: [2], printFn: (text) => lines.push(...text.split("\n")) });
  expect(lines.filter((l) => !/^[_=]+$/.test(l)).map((l) => l.trim().split(/\s{2,}/))).toEqual([
    ['Model: "Sequential"'],
    ["Layer (type)", "Output Shape", "Param #"],
    ["0 (Linear)", "(None, 5)", "15"],
    ["1 (ReLU)", "(None, 5)", "0"],
    ["2 (Linear)", "(None, 1)", "6"],
    ["Total params: 21"],
    ["Trainable params: 21"],
    ["Non-trainable params: 0"],
  ]);
});

test("what is shared with a metric or a layer of one's own", async () => {
  const { x, y } = moons();
  class Scale extends nn.Module {
    readonly scale = new nn.Parameter(zeros([2]));
    override forward(t: Tensor): Tensor {
      return t.mul(this.scale.exp());
    }
  }
  const model = new nn.Sequential([new Scale(), new nn.Linear(2, 2)]);
  const confusion = new metrics.ConfusionMatrix();
  function certainty(p: Tensor): Tensor {
    return p.softmax(1).amax(1);
  }
  const batches: Logs[] = [];
  class Watch extends Callback {
    override onTrainBatchEnd(_batch: number, logs: Logs): void {
      batches.push(logs);
    }
  }
  model.compile({ optimizer: "adam", loss: new nn.CrossEntropyLoss(), metrics: [confusion, certainty, "accuracy"] });
  const history = await model.fit(x, y, { batchSize: 16, callbacks: [new Watch()], ...quiet });
  expect(Object.keys(history.history)).toEqual(["loss", "certainty", "accuracy"]);
  expect(batches.map((l) => Object.keys(l))).toEqual(Array(3).fill(["loss", "certainty", "accuracy"]));
  const rows = [16, 16, 8];
  const mean = batches.reduce((sum, l, i) => sum + l.loss * rows[i], 0) / 40;
  expect(history.history.loss[0]).toBeCloseTo(mean, 12);
  expect(batches[2].accuracy).toBe(history.history.accuracy[0]);
  expect((await confusion.compute()).flat().reduce((a, b) => a + b)).toBe(40);
});

describe("mistakes are told before anything is trained", () => {
  const { x, y } = moons();
  const logits = () => new nn.Sequential([new nn.Linear(2, 2)]);
  const compiled = (options: object, model: nn.Sequential = classifier()) => model.compile(options as { loss: string });
  const sparse = { optimizer: "adam", loss: "sparse_categorical_crossentropy" };
  const mse = { optimizer: "sgd", loss: "mse" };
  const bad: [string, () => unknown, RegExp][] = [
    [
      "unknown loss",
      () => compiled({ loss: "sparse_categorical_crosentropy" }),
      /did you mean "sparse_categorical_crossentropy"/,
    ],
    ["unknown optimizer", () => compiled({ ...sparse, optimizer: "adm" }), /did you mean "adam"/],
    ["unknown metric", () => compiled({ ...sparse, metrics: ["acuracy"] }), /did you mean "accuracy"/],
    ["unknown option", () => compiled({ ...sparse, metric: [] }), /did you mean metrics/],
    [
      "another model's optimizer",
      () => compiled({ ...sparse, optimizer: new optim.Adam(logits().parameters()) }),
      /none of this model's parameters/,
    ],
    ["not compiled", () => classifier().fit(x, y), /compile the model first/],
    ["unknown fit option", () => compiled(sparse).fit(x, y, { epoch: 3 } as object), /did you mean epochs/],
    ["other lengths", () => compiled(sparse).fit(x, tensor([0, 1])), /x has 40 samples and y has 2/],
    ["empty", () => compiled(sparse).fit(zeros([0, 2]), zeros([0])), /the data are empty/],
    ["batch size 0", () => compiled(sparse).fit(x, y, { batchSize: 0 }), /batchSize must be an integer ≥ 1/],
    ["no targets", () => compiled(sparse).fit(x), /targets are needed/],
    ["NaN", () => compiled(sparse).fit(x.clone().add(Number.NaN), y, quiet), /x has NaN among its values/],
    [
      "labels out of range",
      () => compiled(sparse).fit(x, y.add(1), quiet),
      /labels go from 1 to 2, but the model gives 2 classes \(0 to 1\).*3 outputs/,
    ],
    ["negative labels", () => compiled(sparse).fit(x, y.sub(1), quiet), /number the classes from 0/],
    [
      "logits for probabilities",
      () => compiled(sparse, logits()).fit(x, y, quiet),
      /takes probabilities, but the model's output goes from .* nn\.Softmax.*cross_entropy/,
    ],
    [
      "logits for binary",
      () =>
        compiled({ ...sparse, loss: "binary_crossentropy" }, new nn.Sequential([new nn.Linear(2, 1)])).fit(
          x.mul(9),
          y,
          quiet,
        ),
      /nn\.Sigmoid.*bce_with_logits/,
    ],
    [
      "one-hot for labels",
      () => compiled(sparse).fit(x, zeros([40, 2]), quiet),
      /one-hot targets are for "categorical_crossentropy"/,
    ],
    [
      "labels for one-hot",
      () => compiled({ ...sparse, loss: "categorical_crossentropy" }).fit(x, y, quiet),
      /class labels are for "sparse_categorical_crossentropy"/,
    ],
    [
      "targets of another width",
      () => compiled(mse, logits()).fit(x, zeros([40, 3]), quiet),
      /the model gives \[32, 2\] and the targets are \[32, 3\]; give the last layer 3 outputs/,
    ],
    ["labels for mse", () => compiled(mse).fit(x, y, quiet), /look like class labels/],
    [
      "validationSplit of everything",
      () => compiled(sparse).fit(x, y, { validationSplit: 1 }),
      /share between 0 and 1/,
    ],
    ["a batch that is no pair", () => compiled(sparse).fit([[x, y, y, y]] as never, null, quiet), /must be \[x, y\]/],
    [
      "a loss that cannot be weighted",
      () => compiled({ ...sparse, loss: crossEntropy }, logits()).fit(x, y, { classWeight: { 1: 2 }, ...quiet }),
      /must give one number for each/,
    ],
  ];
  for (const [name, run, message] of bad) {
    test(name, async () => {
      await expect((async () => run())()).rejects.toThrow(message);
    });
  }
});

test("a model without parameters predicts and is evaluated, and cannot be trained", async () => {
  const x = tensor([
    [1, -2],
    [-3, 4],
  ]);
  const model = new nn.Sequential([new nn.ReLU(), new nn.Flatten()]);
  const expected = [
    [1, 0],
    [0, 4],
  ];
  expect((await model.predict(x)).toArray()).toEqual(expected);
  model.compile({ loss: "mse" });
  expect((await model.predict(x)).toArray()).toEqual(expected);
  expect(await model.evaluate(x, tensor(expected), quiet)).toEqual({ loss: 0 });
  await expect(model.fit(x, x, quiet)).rejects.toThrow("Sequential has no parameters to train");
});

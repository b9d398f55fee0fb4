// The lesson's classifiers, by both high-level styles, against PyTorch: same weights to begin with, same order, float64.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { crossEntropy, data, metrics, nn, optim, type Tensor, Trainer, TrainModule, tensor } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

interface Run {
  name: string;
  data: string;
  train: number;
  end: number;
  layers: (string | [number, number])[];
  loss: "binary" | "mse" | "categorical" | "logits";
  optimizer: "SGD" | "Adam" | "AdamW" | "RMSprop";
  options: { lr: number; momentum?: number };
  batch: number;
  epochs: number;
  initial: Record<string, number[] | number[][]>;
  final: Record<string, number[] | number[][]>;
  history: Record<string, number[]>;
}
const read = (path: string) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const runs: Run[] = read("../figures/lesson.json");

onEveryDevice("the lesson's classifiers train as in PyTorch", (device) => {
  const place = { dtype: "float64", device } as const;
  const activations = { Sigmoid: nn.Sigmoid, Tanh: nn.Tanh, ReLU: nn.ReLU };

  function build(run: Run): nn.Sequential {
    const layers = run.layers.map((l) => {
      if (Array.isArray(l)) return new nn.Linear(l[0], l[1], place);
      return l === "Softmax" ? new nn.Softmax(1) : new activations[l as keyof typeof activations]();
    });
    const model = new nn.Sequential(layers);
    model.loadStateDict(Object.fromEntries(Object.entries(run.initial).map(([k, v]) => [k, tensor(v, place)])));
    return model;
  }

  /** Inputs and labels of some of the stored rows. */
  function rows(run: Run, from: number, to: number): [x: Tensor, y: Tensor] {
    const stored = read(`../../examples/data/${run.data}.json`);
    return [
      tensor(stored.x.slice(from, to), place),
      tensor(stored.y.flat().slice(from, to), { dtype: "int64", device }),
    ];
  }

  const close = (ours: number[], theirs: number[]) => {
    expect(ours.length).toBe(theirs.length);
    for (let i = 0; i < theirs.length; i++) expect(ours[i]).toBeCloseTo(theirs[i], 7);
  };
  const sameWeights = (model: nn.Sequential, run: Run) => {
    for (const [name, value] of Object.entries(run.final)) {
      close(Array.from(model.stateDict()[name].dataSync() as Float64Array), value.flat());
    }
  };

  const losses = {
    binary: "binary_crossentropy",
    mse: "mse",
    categorical: "categorical_crossentropy",
    logits: new nn.CrossEntropyLoss(),
  };

  test.each(runs.map((run) => [run.name, run] as const))("fit: %s", async (_, run) => {
    const model = build(run);
    const target = (y: Tensor) =>
      run.loss === "categorical" ? y.oneHot(2) : run.loss === "logits" ? y : y.to("float64");
    model.compile({
      optimizer: new optim[run.optimizer](model.parameters(), run.options),
      loss: losses[run.loss],
      metrics: [run.loss === "mse" ? "binary_accuracy" : "accuracy"],
    });
    const [x, y] = rows(run, 0, run.train);
    const [vx, vy] = rows(run, run.train, run.end);
    const { history } = await model.fit(x, target(y), {
      epochs: run.epochs,
      batchSize: run.batch,
      shuffle: false,
      validationData: [vx, target(vy)],
      verbose: 0,
    });
    close(history.loss, run.history.loss);
    close(history.val_loss, run.history.val_loss);
    const accuracy = run.loss === "mse" ? "binary_accuracy" : "accuracy";
    close(history[accuracy], run.history.accuracy);
    close(history[`val_${accuracy}`], run.history.val_accuracy);
    sameWeights(model, run);
  });

  test("Trainer: 2-10-2 logits", async () => {
    const run = runs.find((r) => r.loss === "logits") as Run;
    class Lit extends TrainModule {
      net = build(run);
      accuracy = new metrics.Accuracy();
      override trainingStep([x, y]: [Tensor, Tensor]) {
        const loss = crossEntropy(this.net.forward(x), y);
        this.log("loss", loss);
        return loss;
      }
      override validationStep([x, y]: [Tensor, Tensor]) {
        const logits = this.net.forward(x);
        this.log("val_loss", crossEntropy(logits, y));
        this.log("val_accuracy", logits.argmax(1).eq(y).to("float64").mean());
      }
      override configureOptimizers() {
        return new optim[run.optimizer](this.parameters(), run.options);
      }
    }
    const module = new Lit();
    const loader = (from: number, to: number) =>
      new data.DataLoader(new data.TensorDataset(...rows(run, from, to)), { batchSize: run.batch });
    const trainer = new Trainer({ maxEpochs: run.epochs, verbose: 0, device });
    const { history } = await trainer.fit(module, loader(0, run.train), loader(run.train, run.end));
    close(history.loss, run.history.loss);
    close(history.val_loss, run.history.val_loss);
    close(history.val_accuracy, run.history.val_accuracy);
    sameWeights(module.net, run);
  });
});

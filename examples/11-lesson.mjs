// Two classes of points, some of them under a wrong name, and the models of the lesson that this project grew from: the
// perceptron, one linear layer, 2-5-1, MyNet 2-10-1; in the styles of Lightning and of Keras, with three forms of
// cross-entropy; and pictures of what they have learned, in runs/lesson.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  binaryCrossEntropy,
  callbacks,
  data,
  manualSeed,
  nn,
  oneHot,
  optim,
  Trainer,
  TrainModule,
  tensor,
  zeros,
} from "nablajs";
import { boundaryPicture, evaluateForReport } from "nablajs/report";

mkdirSync("runs/lesson", { recursive: true });

/** The stored rows, cut in their order: inputs [n, 2] and labels [n] of each part. */
function load(name, ...cuts) {
  const { x, y } = JSON.parse(readFileSync(new URL(`data/${name}.json`, import.meta.url), "utf8"));
  const part = (from, to) => ({ x: tensor(x.slice(from, to)), y: tensor(y.slice(from, to), { dtype: "int64" }) });
  return [0, ...cuts].map((from, i) => part(from, cuts[i]));
}

/** Draws the boundary, asserts the accuracy. */
async function show(name, model, { x, y }, threshold, least) {
  const { metrics, boundary } = await evaluateForReport(model, { x, y }, { threshold });
  writeFileSync(`runs/lesson/${name}.svg`, await boundaryPicture(boundary, { title: name }));
  console.log(`${name.padEnd(28)} ${metrics.accuracy.toFixed(3)} of ${y.shape[0]} test points`);
  assert(metrics.accuracy >= least, `${name}: ${metrics.accuracy}`);
}

const [train, validation, test] = load("cls_flip010", 70, 85); // 70/15/15

// 1. Rosenblatt's perceptron (1958), of tensors alone. Each point on the wrong side moves the line; where names are wrong
// it never comes to rest, so the line is kept that was right most often (the pocket algorithm, Gallant 1990).
{
  const inputs = withOnes(train.x);
  const signs = train.y.mul(2).sub(1).float();
  let line = zeros([3]);
  let pocket = { line, right: 0 };
  for (let epoch = 0; epoch < 20; epoch++) {
    for (let i = 0; i < 70; i++) {
      const point = inputs.index(i);
      if (point.dot(line).mul(signs.index(i)).item() > 0) continue;
      line = line.add(point.mul(signs.index(i)));
      const right = inputs.matmul(line).mul(signs).gt(0).sum().item();
      if (right > pocket.right) pocket = { line, right };
    }
  }
  await show("perceptron", (x) => withOnes(x).matmul(pocket.line).reshape([-1, 1]), test, 0, 0.75);
}

/** A third column of ones, for the bias. */
function withOnes(x) {
  return x.pad([0, 1], "constant", 1);
}

// 2. One linear layer and 2-5-1 in Lightning's style: the model brings its training step along.
class Classifier extends TrainModule {
  constructor(net, lr) {
    super();
    this.net = net;
    this.lr = lr;
  }
  forward(x) {
    return this.net.forward(x);
  }
  loss([x, y]) {
    return binaryCrossEntropy(this.forward(x), y.float().unsqueeze(1));
  }
  trainingStep(batch) {
    const loss = this.loss(batch);
    this.log("train_loss", loss);
    return loss;
  }
  validationStep(batch) {
    this.log("val_loss", this.loss(batch));
  }
  configureOptimizers() {
    return new optim.Adam(this.parameters(), { lr: this.lr });
  }
}
const loader = ({ x, y }, options) => new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 10, ...options });
manualSeed(1);
for (const [name, net, lr] of [
  ["Linear(2, 1)", new nn.Sequential([new nn.Linear(2, 1), new nn.Sigmoid()]), 0.1],
  ["2-5-1", new nn.Sequential([new nn.Linear(2, 5), new nn.Sigmoid(), new nn.Linear(5, 1), new nn.Sigmoid()]), 0.05],
]) {
  const stop = new callbacks.EarlyStopping({ monitor: "val_loss", patience: 20 });
  const trainer = new Trainer({ maxEpochs: 100, callbacks: [stop], verbose: 0 });
  const model = new Classifier(net, lr);
  await trainer.fit(model, loader(train, { shuffle: true, seed: 1 }), loader(validation));
  await show(name, model, test, 0.5, 0.8);
}

// 3. Keras's style: the layers as a list, and the loss by name. Binary cross-entropy takes one probability and labels 0 and
// 1, the categorical one a probability for each class and one-hot rows, the sparse one the same and plain labels.
const [learn, rest] = load("cls_flip005", 70, 100); // 70/30
const heads = [
  ["binary_crossentropy", 1, new nn.Sigmoid(), (y) => y],
  ["categorical_crossentropy", 2, new nn.Softmax(1), (y) => oneHot(y, 2)],
  ["sparse_categorical_crossentropy", 2, new nn.Softmax(1), (y) => y],
];
for (const [loss, width, last, target] of heads) {
  manualSeed(2);
  const model = new nn.Sequential([new nn.Linear(2, 10), new nn.Tanh(), new nn.Linear(10, width), last]);
  model.compile({ optimizer: "adam", loss, metrics: ["accuracy"] });
  const history = await model.fit(learn.x, target(learn.y), { epochs: 150, batchSize: 10, seed: 2, verbose: 0 });
  if (width === 1) model.summary();
  const { accuracy } = await model.evaluate(rest.x, target(rest.y), { verbose: 0 });
  assert(history.history.loss.at(-1) < history.history.loss[0]);
  await show(`MyNet 2-10-${width}, ${loss}`, model, rest, 0.5, 0.85);
  assert(accuracy >= 0.85);
}
console.log("pictures: runs/lesson");

// A convolutional network on 8×8 digits: layers, a loader, a schedule, a metric and a checkpoint, in a loop by hand.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { compile, crossEntropy, data, getRngState, io, manualSeed, metrics, nn, noGrad, optim, tensor } from "nablajs";

const EPOCHS = 14;
manualSeed(3);

// 1797 images N×1×8×8 with values 0–16, label last, in stratified parts: the epoch is chosen by the validation
// part, so that the test part says what to expect of images that nobody has seen.
const rows = gunzipSync(readFileSync(new URL("data/digits.csv.gz", import.meta.url)))
  .toString()
  .trim()
  .split("\n")
  .map((line) => line.split(",").map(Number));
const images = tensor(rows.map((row) => row.slice(0, 64)))
  .div(16)
  .reshape([-1, 1, 8, 8]);
const labels = tensor(
  rows.map((row) => row[64]),
  { dtype: "int64" },
);
const parts = { stratify: labels, seed: 1 };
const [train, validation, test] = data.split(new data.TensorDataset(images, labels), [0.7, 0.15, 0.15], parts);
const loader = new data.DataLoader(train, { batchSize: 64, shuffle: true, dropLast: true });

const makeModel = () =>
  new nn.Sequential([
    new nn.Conv2d(1, 16, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(16),
    new nn.ReLU(),
    new nn.Conv2d(16, 32, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(32),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Dropout2d(0.1),
    new nn.Flatten(),
    new nn.Linear(32 * 16, 64),
    new nn.ReLU(),
    new nn.Dropout(0.3),
    new nn.Linear(64, 10),
  ]);
const model = makeModel();
console.log(`${model}\n${model.parameterCount()} parameters`);

const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3 });
const schedule = new optim.OneCycleLR(optimizer, { maxLr: 5e-3, epochs: EPOCHS, stepsPerEpoch: loader.length });
const step = compile((x, y) => {
  optimizer.zeroGrad();
  const loss = crossEntropy(model.forward(x), y, { labelSmoothing: 0.05 });
  loss.backward();
  optim.clipGradNorm_(model.parameters(), 1);
  optimizer.step();
  return loss;
});

async function evaluate(net, part) {
  net.eval();
  const accuracy = new metrics.Accuracy();
  const confusion = new metrics.ConfusionMatrix();
  for await (const [x, y] of new data.DataLoader(part, { batchSize: 128 })) {
    const scores = noGrad(() => net.forward(x));
    accuracy.update(scores, y);
    confusion.update(scores, y);
  }
  net.train();
  return { accuracy: await accuracy.compute(), confusion: await confusion.compute() };
}

const folder = mkdtempSync(join(tmpdir(), "nabla-cnn-"));
const best = { accuracy: 0, path: join(folder, "best.ckpt") };
for (let epoch = 1; epoch <= EPOCHS; epoch++) {
  const loss = new metrics.Mean();
  for await (const [x, y] of loader) {
    loss.update(step(x, y));
    if (schedule.lastEpoch < schedule.totalSteps - 1) schedule.step();
  }
  const { accuracy } = await evaluate(model, validation);
  console.log(`epoch ${epoch}: loss ${(await loss.compute()).toFixed(4)}, validation accuracy ${accuracy.toFixed(4)}`);
  if (accuracy > best.accuracy) {
    best.accuracy = accuracy;
    const [weights, state] = [model.stateDict(), optimizer.stateDict()];
    await io.save(best.path, { epoch, weights, optimizer: state, loader: loader.stateDict(), rng: getRngState() });
  }
}

// Another process would begin here: a new model with the best weights.
const restored = makeModel();
const checkpoint = await io.load(best.path);
restored.loadStateDict(checkpoint.weights);
const { accuracy, confusion } = await evaluate(restored, test);
console.log(`best epoch ${checkpoint.epoch}: test accuracy ${accuracy.toFixed(4)}; confusion matrix, rows actual:`);
console.log(confusion.map((row) => row.map((n) => String(n).padStart(3)).join(" ")).join("\n"));
rmSync(folder, { recursive: true });
assert.equal((await evaluate(restored, validation)).accuracy, best.accuracy);
assert.ok(accuracy >= 0.985, `the test accuracy is ${accuracy}`);

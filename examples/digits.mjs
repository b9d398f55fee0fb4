// Trains a classifier on 1797 handwritten digits of 8×8 pixels (examples/data/digits.csv.gz: values 0–16, label last),
// shows progress, evaluates it on a stratified fifth of them and writes a report to runs/digits/report.md.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { SingleBar } from "cli-progress";
import { compile, crossEntropy, manualSeed, nn, noGrad, optim, tensor } from "nablajs";

const SEED = 7;
const EPOCHS = 40;
const BATCH = 32;
const CLASSES = 10;

manualSeed(SEED);
const { train, test } = split(readDigits(), 0.2);

const model = new nn.Sequential([
  new nn.Linear(64, 128),
  new nn.ReLU(),
  new nn.Dropout(0.2),
  new nn.Linear(128, 64),
  new nn.ReLU(),
  new nn.Dropout(0.2),
  new nn.Linear(64, CLASSES),
]);
const optimizer = new optim.AdamW(model.parameters(), { lr: 2e-3 });

// The whole step (forward, backward, update) is recorded once and replayed as one program.
const step = compile((x, y) => {
  const loss = crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  optimizer.zeroGrad();
  return loss;
});

console.log(`digits: ${train.length} to train, ${test.length} to test, device ${[...model.parameters()][0].device}`);
console.log(String(model));
const batches = Math.floor(train.length / BATCH);
const bar = new SingleBar({
  format: "training [{bar}] {percentage}% | epoch {epoch}/{epochs} | loss {loss} | test accuracy {accuracy}",
  noTTYOutput: !process.stderr.isTTY,
  notTTYSchedule: 2000,
});
const history = [];
const started = performance.now();
let trainingTime = 0;
bar.start(EPOCHS, 0, { epoch: 0, epochs: EPOCHS, loss: "–", accuracy: "–" });
for (let epoch = 1; epoch <= EPOCHS; epoch++) {
  optimizer.paramGroups[0].lr = 2e-3 * (1 - (epoch - 1) / EPOCHS);
  model.train();
  const order = shuffle(train);
  const began = performance.now();
  let loss;
  for (let b = 0; b < batches; b++) {
    const { x, y } = tensors(order.slice(b * BATCH, (b + 1) * BATCH));
    loss = step(x, y);
  }
  await loss.data(); // the event loop stays free while the epoch is computed
  trainingTime += performance.now() - began;
  const accuracy = evaluate(test).accuracy;
  history.push({ epoch, loss: loss.item(), accuracy });
  bar.update(epoch, { epoch, loss: loss.item().toFixed(4), accuracy: accuracy.toFixed(4) });
}
bar.stop();

const speed = Math.round((EPOCHS * batches * BATCH) / (trainingTime / 1000));
const [onTrain, onTest] = [evaluate(train), evaluate(test)];
console.log(`${speed} samples per second, ${((performance.now() - started) / 1000).toFixed(1)} s in all`);
console.log(
  `accuracy: ${onTrain.accuracy.toFixed(4)} on the training data, ${onTest.accuracy.toFixed(4)} on the test data`,
);
writeReport();
if (onTest.accuracy < 0.97) {
  console.error("the test accuracy is below 0.97");
  process.exitCode = 1;
}

function readDigits() {
  const text = gunzipSync(readFileSync(new URL("data/digits.csv.gz", import.meta.url))).toString();
  return text
    .trim()
    .split("\n")
    .map((line) => line.split(",").map(Number))
    .map((row) => ({ pixels: row.slice(0, 64).map((v) => v / 16), label: row[64] }));
}

/** The same share of every class in both parts. */
function split(samples, share) {
  const parts = { train: [], test: [] };
  for (let label = 0; label < CLASSES; label++) {
    const own = shuffle(samples.filter((s) => s.label === label));
    const cut = Math.round(own.length * share);
    parts.test.push(...own.slice(0, cut));
    parts.train.push(...own.slice(cut));
  }
  return parts;
}

/** A copy in random order (Fisher–Yates, with a small generator of its own so that runs repeat). */
function shuffle(list) {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

function random() {
  shuffle.state = (Math.imul(shuffle.state ?? SEED, 1664525) + 1013904223) >>> 0;
  return shuffle.state / 2 ** 32;
}

function tensors(samples) {
  return {
    x: tensor(Float32Array.from(samples.flatMap((s) => s.pixels)), { shape: [samples.length, 64] }),
    y: tensor(BigInt64Array.from(samples, (s) => BigInt(s.label))),
  };
}

function evaluate(samples) {
  model.eval();
  const { x } = tensors(samples);
  const predicted = noGrad(() => model.forward(x).argmax(1).toArray());
  const confusion = Array.from({ length: CLASSES }, () => new Array(CLASSES).fill(0));
  samples.forEach((s, i) => {
    confusion[s.label][predicted[i]]++;
  });
  const right = confusion.reduce((sum, row, i) => sum + row[i], 0);
  return { accuracy: right / samples.length, confusion };
}

function writeReport() {
  const lines = [
    "# Digits",
    "",
    `Accuracy: ${onTrain.accuracy.toFixed(4)} on ${train.length} training samples, ${onTest.accuracy.toFixed(4)} on ${test.length} test samples; ${speed} samples per second.`,
    "",
    "| epoch | loss of the last batch | test accuracy |",
    "| ---: | ---: | ---: |",
    ...history.map((h) => `| ${h.epoch} | ${h.loss.toFixed(4)} | ${h.accuracy.toFixed(4)} |`),
    "",
    "Confusion on the test data (rows: the digit, columns: the prediction)",
    "",
    `| | ${[...Array(CLASSES).keys()].join(" | ")} |`,
    `|${" ---: |".repeat(CLASSES + 1)}`,
    ...onTest.confusion.map((row, i) => `| **${i}** | ${row.join(" | ")} |`),
    "",
  ];
  mkdirSync("runs/digits", { recursive: true });
  writeFileSync("runs/digits/report.md.part", lines.join("\n"));
  renameSync("runs/digits/report.md.part", "runs/digits/report.md");
  console.log("report: runs/digits/report.md");
}

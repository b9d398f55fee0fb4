// Handwritten digits of 8×8 pixels, with one layer and with three: what hidden layers buy. 07-cnn.mjs has a convolutional
// network for them.
import assert from "node:assert/strict";
import { callbacks, data, io, manualSeed, nn, optim } from "nablajs";

manualSeed(7);
const path = new URL("data/digits.csv.gz", import.meta.url).pathname;
const header = [...Array(64).keys()].map((i) => `pixel ${i}`);
const table = await io.readCsv(path, { header: [...header, "digit"], target: "digit" });
const digits = new data.TensorDataset(table.x.div(16), table.y);
const [train, validation, test] = data.split(digits, [0.7, 0.15, 0.15], { stratify: table.y, seed: 7 });

async function run(name, layers, epochs) {
  const model = new nn.Sequential(layers);
  const optimizer = new optim.Adam(model.parameters(), { lr: 2e-3 });
  model.compile({ optimizer, loss: new nn.CrossEntropyLoss(), metrics: ["accuracy"] });
  const stop = new callbacks.EarlyStopping({ monitor: "val_accuracy", patience: 10, restoreBestWeights: true });
  const loader = new data.DataLoader(train, { batchSize: 32, shuffle: true, seed: 7 });
  const { history } = await model.fit(loader, { epochs, validationData: validation, callbacks: [stop], verbose: 0 });
  const { accuracy } = await model.evaluate(test, { verbose: 0 });
  console.log(
    `${name}: ${model.parameterCount()} parameters, ${history.loss.length} epochs, test accuracy ${accuracy.toFixed(4)}`,
  );
  return accuracy;
}

const single = await run("one layer", [new nn.Linear(64, 10)], 60);
const several = await run(
  "three layers",
  [
    new nn.Linear(64, 128),
    new nn.ReLU(),
    new nn.Dropout(0.2),
    new nn.Linear(128, 64),
    new nn.ReLU(),
    new nn.Dropout(0.2),
    new nn.Linear(64, 10),
  ],
  60,
);
assert(single >= 0.94 && several >= 0.965 && several > single);

// Trains a classifier on 1797 handwritten digits of 8×8 pixels (examples/data/digits.csv.gz: values 0–16, label last),
// shows progress, evaluates it on digits that it has not seen, and writes a report to runs/digits/report.html.
import { callbacks, data, io, manualSeed, nn, optim } from "nablajs";

const SEED = 7;

manualSeed(SEED);
const header = [...Array.from({ length: 64 }, (_, i) => `pixel ${i}`), "digit"];
const table = await io.readCsv(new URL("data/digits.csv.gz", import.meta.url).pathname, { header, target: "digit" });
const digits = new data.TensorDataset(table.x.div(16), table.y.long());
const [train, validation, test] = data.split(digits, [0.7, 0.1, 0.2], { stratify: table.y, seed: SEED });
console.log(`digits: ${train.length} to train, ${validation.length} to validate, ${test.length} to test`);

const model = new nn.Sequential([
  new nn.Linear(64, 128),
  new nn.ReLU(),
  new nn.Dropout(0.3),
  new nn.Linear(128, 64),
  new nn.ReLU(),
  new nn.Dropout(0.3),
  new nn.Linear(64, 10),
]);
model.compile({
  optimizer: new optim.AdamW(model.parameters(), { lr: 2e-3, weightDecay: 0.01 }),
  loss: new nn.CrossEntropyLoss(),
  metrics: ["accuracy"],
});

await model.fit(new data.DataLoader(train, { batchSize: 32, shuffle: true, seed: SEED }), {
  epochs: 60,
  validationData: validation,
  callbacks: [new callbacks.EarlyStopping({ monitor: "val_loss", patience: 12 })], // goes back to the best weights
  directory: "runs/digits",
  report: true, // what the curves say, and runs/digits/report.html
});
model.summary();

const { loss, accuracy } = await model.evaluate(test, { verbose: 0 });
console.log(`test: loss ${loss.toFixed(4)}, accuracy ${accuracy.toFixed(4)}`);
if (accuracy < 0.96) {
  console.error("the test accuracy is below 0.96");
  process.exitCode = 1;
}

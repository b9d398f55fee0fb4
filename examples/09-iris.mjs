// Iris, three times: one layer, two layers, and a model much too rich for the few flowers it is given, which overfits
// visibly and is then tamed by dropout, weight decay and early stopping.
import assert from "node:assert/strict";
import { callbacks, data, diagnose, io, manualSeed, nn, optim } from "nablajs";

manualSeed(5);
const path = new URL("data/iris.csv", import.meta.url).pathname;
const table = await io.readCsv(path, {
  header: ["sepal length", "sepal width", "petal length", "petal width", "species"],
  target: "species",
});
const flowers = new data.TensorDataset(new data.StandardScaler().fitTransform(table.x), table.y);
const [train, validation, test] = data.split(flowers, [0.6, 0.2, 0.2], { stratify: table.y, seed: 5 });
console.log(
  `${table.length} flowers: ${train.length} to train, ${validation.length} to validate, ${test.length} to test`,
);

/** Trains a list of layers and says what came of it. */
async function run(name, layers, { lr = 0.02, weightDecay = 0, epochs = 60, part = train, ...options } = {}) {
  const model = new nn.Sequential(layers);
  model.compile({
    optimizer: new optim.AdamW(model.parameters(), { lr, weightDecay }),
    loss: new nn.CrossEntropyLoss(), // takes logits, as in PyTorch
    metrics: ["accuracy"],
  });
  const loader = new data.DataLoader(part, { batchSize: 16, shuffle: true, seed: 5 });
  const { history } = await model.fit(loader, { epochs, validationData: validation, verbose: 0, ...options });
  const { loss, accuracy } = await model.evaluate(test, { verbose: 0 });
  const diagnosis = diagnose(history);
  console.log(`\n${name}: ${model.parameterCount()} parameters, ${history.loss.length} epochs`);
  console.log(
    `  loss ${history.loss.at(-1).toFixed(3)} on the training data, ${history.val_loss.at(-1).toFixed(3)} on the validation data`,
  );
  console.log(`  test accuracy ${accuracy.toFixed(3)}, test loss ${loss.toFixed(3)}`);
  console.log(`  ${diagnosis.text}`);
  return { history, loss, accuracy, verdict: diagnosis.verdict };
}

const one = await run("one layer", [new nn.Linear(4, 3)], { lr: 0.05 });
const two = await run("two layers", [new nn.Linear(4, 16), new nn.ReLU(), new nn.Linear(16, 3)]);
assert(one.accuracy >= 0.9 && two.accuracy >= 0.9);

// Thirty flowers, a fifth of them under a wrong name: a rich model learns the mistakes by heart. Its training loss goes to
// nothing while the validation loss rises, and diagnose() says so.
const few = data.split(train, [1 / 3, 2 / 3], { stratify: labelsOf(train), seed: 5 })[0];
const mislabelled = new data.MapDataset(few, ([x, y], i) => [x, i % 5 === 0 ? y.add(1).remainder(3) : y]);
const rich = (dropout) => [
  new nn.Linear(4, 256),
  new nn.ReLU(),
  new nn.Dropout(dropout),
  new nn.Linear(256, 256),
  new nn.ReLU(),
  new nn.Dropout(dropout),
  new nn.Linear(256, 3),
];
const wild = await run("rich", rich(0), { part: mislabelled, lr: 0.003, epochs: 120 });
const stop = new callbacks.EarlyStopping({ monitor: "val_loss", patience: 20, restoreBestWeights: true });
const tame = await run("rich, tamed", rich(0.5), {
  part: mislabelled,
  lr: 0.003,
  epochs: 120,
  weightDecay: 0.1,
  callbacks: [stop],
});

assert.equal(wild.verdict, "overfits");
assert(wild.history.val_loss.at(-1) > 5 * wild.history.loss.at(-1));
assert(tame.loss < wild.loss);
assert(tame.accuracy >= wild.accuracy);

function labelsOf(part) {
  return table.y.index(part.indices);
}

// Jobs in modules: hyper-parameters, live models and data, TrainModules.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { train } from "../../lib/cli/train.js";
import { folder, here, irisCsv, json, lines, nabla, root } from "./nabla.js";

const at = (name: string): string => join(folder, name);
const library = pathToFileURL(join(root, "dist/index.mjs")).href;
const run = (...args: string[]) => nabla(args).ended;

writeFileSync(
  at("iris.mjs"),
  `import { nn } from ${JSON.stringify(library)};
  export const params = { width: 8, act: "ReLU" };
  export default ({ width, act }) => ({
    data: { csv: ${JSON.stringify(irisCsv)}, target: "species", validation: 0.2 },
    model: (_, { features, classes }) =>
      new nn.Sequential([new nn.Linear(features, width), new nn[act](), new nn.Linear(width, classes)]),
    epochs: 2, log: "none",
  });`,
);

writeFileSync(
  at("module.mjs"),
  `import { crossEntropy, data, nn, optim, TrainModule } from ${JSON.stringify(library)};
  class Moons extends TrainModule {
    net = new nn.Sequential([new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 2)]);
    forward(x) { return this.net.forward(x); }
    trainingStep([x, y]) { const loss = crossEntropy(this.forward(x), y); this.log("loss", loss); return loss; }
    validationStep([x, y]) { this.log("val_loss", crossEntropy(this.forward(x), y)); }
    configureOptimizers() { return new optim.Adam(this.parameters(), { lr: 0.1 }); }
  }
  const { x, y } = data.makeMoons({ samples: 60, seed: 1 });
  const [train, validation] = data.split(new data.TensorDataset(x, y), [0.8, 0.2]);
  export default { model: Moons, data: { train, validation }, epochs: 3, batchSize: 16, log: "none",
    trainer: { limitTrainBatches: 2 } };`,
);

test("hyper-parameters make the model, the seed its weights, and the run remembers them", {
  timeout: 60_000,
}, async () => {
  const job = (name: string, ...more: string[]) => run("train", at("iris.mjs"), "--directory", at(name), ...more);
  const [a, b] = await Promise.all([job("a", "--params.width", "12"), job("b", "--params.width", "12", "--seed", "2")]);
  expect([a.code, a.stderr, b.code, b.stderr]).toEqual([0, "", 0, ""]);
  const first = (name: string) => lines(name, "log.jsonl").find(({ event }) => event === "epoch").logs.loss;
  expect(first("a")).not.toBe(first("b"));
  expect(json("a", "run.json").parameters).toBe(4 * 12 + 12 + 12 * 3 + 3);
  expect(json("a", "settings.json")).toMatchObject({ module: at("iris.mjs"), settings: { params: { width: 12 } } });
  const [longer, scored] = await Promise.all([
    run("train", at("b"), "--resume", "--epochs", "3"),
    run("evaluate", at("a"), "--json"),
  ]);
  expect([longer.code, lines("b", "log.jsonl").filter(({ event }) => event === "epoch").length]).toEqual([0, 3]);
  expect(JSON.parse(scored.stdout)).toMatchObject({ data: "validation data", accuracy: expect.any(Number) });
});

test("a TrainModule with its own data goes through the Trainer", { timeout: 60_000 }, async () => {
  const trained = await run("train", at("module.mjs"), "--directory", at("moons"));
  expect([trained.code, trained.stderr]).toEqual([0, ""]);
  const epochs = lines("moons", "log.jsonl").filter(({ event }) => event === "epoch");
  expect(epochs.map(({ step }) => step)).toEqual([2, 4, 6]); // two batches an epoch, as the trainer was told
  expect(Object.keys(epochs[0].logs)).toEqual(["loss", "val_loss"]);
  const [scored, asked] = await Promise.all([
    run("evaluate", at("moons"), "--json"),
    run("predict", at("moons"), irisCsv),
  ]);
  expect(JSON.parse(scored.stdout).val_loss).toBeCloseTo(Math.min(...epochs.map(({ logs }) => logs.val_loss)), 5);
  expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining("predict needs a run with data.csv") });
});

test("mistakes in modules", async () => {
  writeFileSync(at("empty.mjs"), "export const epochs = 3;");
  writeFileSync(at("broken.mjs"), "throw new TypeError('mine');");
  // What another copy of the library would make.
  writeFileSync(
    at("foreign.mjs"),
    "class Net { forward() {} }; export default { model: new Net(), data: { train: () => [] } };",
  );
  await expect(here(train, at("empty.mjs"))).rejects.toThrow("the module has no default export");
  await expect(here(train, at("broken.mjs"))).rejects.toThrow("mine");
  await expect(here(train, at("foreign.mjs"))).rejects.toThrow("another copy of nablajs");
});

// `nabla train`, from settings to a trained model, stopped in every way and continued.
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { evaluate } from "../../lib/cli/evaluate.js";
import { train } from "../../lib/cli/train.js";
import { folder, hash, here, iris, irisCsv, json, lines, nabla, root } from "./nabla.js";

const at = (name: string): string => join(folder, name);

describe("a job in JSON", () => {
  test("iris: trained, logged, evaluated", async () => {
    const { code, stdout } = await here(train, iris, "--directory", at("iris"), "--seed", "3");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Epoch 1\/50 - .* - val_accuracy: /);
    expect(stdout).toMatch(/is complete; best epoch \d+: val_loss 0\.\d+\n$/);
    // What the run says of itself.
    expect(json("iris", "run.json")).toMatchObject({ name: "iris", seed: 3, parameters: 131, layers: { length: 4 } });
    const log = lines("iris", "log.jsonl");
    expect(log[0]).toMatchObject({ event: "start", seed: 3, epoch: 0, step: 0 });
    expect(log[1]).toMatchObject({ event: "epoch", epoch: 0, step: 6, lr: 0.01 });
    expect(log.at(-1)).toMatchObject({ event: "end" });
    expect(json("iris", "preprocessing.json")).toMatchObject({
      task: "classes",
      labels: ["setosa", "versicolor", "virginica"],
      features: ["sepalLength", "sepalWidth", "petalLength", "petalWidth"],
      scaler: { center: { length: 4 }, scale: { length: 4 } },
    });
    const onTest = await here(evaluate, at("iris"), "--json");
    const result = JSON.parse(onTest.stdout);
    expect(result).toMatchObject({ data: "test data", weights: "best" });
    expect(result.accuracy).toBeGreaterThan(0.9);
    const onAll = JSON.parse(
      (await here(evaluate, at("iris"), "--json", "--data", irisCsv, "--weights", "last")).stdout,
    );
    expect(onAll.accuracy).toBeGreaterThan(0.93);
    expect((await here(evaluate, at("iris"))).stdout).toMatch(
      /best weights, test data: loss 0\.\d+, accuracy (0\.\d+|1)\n$/,
    );
  });

  test("numbers, with categories and missing values among the features", async () => {
    const rows = Array.from({ length: 60 }, (_, i) => {
      const [area, rooms] = [20 + ((i * 37) % 100), 1 + (i % 5)];
      return `${i % 9 === 4 ? "" : area},${rooms},${["north", "south"][i % 2]},${2 * area + 5 * rooms + 10 * (i % 2)}`;
    });
    writeFileSync(at("houses.csv"), `area,rooms,side,price\n${rows.join("\n")}\n`);
    const job = {
      data: { csv: "houses.csv", target: "price", fill: { area: "mean" }, validation: 0.25, scale: "minMax" },
      model: [{ Linear: ["features", 8] }, "Tanh", { Linear: [8, "classes"] }],
      ...{
        optimizer: { name: "Adam", lr: 0.05 },
        scheduler: "CosineAnnealingLR",
        metrics: "mae",
        epochs: 2,
        log: "json",
        precision: "bf16",
      },
    };
    writeFileSync(at("houses.json"), JSON.stringify(job));
    const { code, stdout } = await here(train, at("houses.json"), "--directory", at("houses"));
    expect(code).toBe(0);
    const log = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(log.map(({ event }) => event)).toEqual(["start", "epoch", "epoch", "end"]);
    expect(log).toEqual(lines("houses", "log.jsonl"));
    expect(log[0].precision).toBe("bf16");
    expect(log[2].logs.mae).toBeGreaterThan(0);
    expect(log[2].lr).toBeCloseTo(0.025, 9); // half way along the cosine
    const { task, features, scaler } = json("houses", "preprocessing.json");
    expect([task, features]).toEqual(["numbers", ["area", "rooms", "side=north", "side=south"]]);
    expect([scaler.center.slice(2), scaler.scale.slice(2)]).toEqual([[0, 0], [1, 1]]); // biome-ignore format: short
  });
});

describe("mistakes are found before anything is written", () => {
  const job = (change: object) => {
    const data = { csv: irisCsv, target: "species" };
    const model = [{ Linear: [4, 8] }, "ReLU", { Linear: [8, 3] }];
    rmSync(at("never"), { recursive: true, force: true });
    writeFileSync(at("job.json"), JSON.stringify({ data, model, epochs: 1, directory: at("never"), ...change }));
    return at("job.json");
  };
  test.each<[string, object, string]>([
    ["a layer's name", { model: [{ Linaer: [4, 3] }] }, 'model[0]: there is no "Linaer"; did you mean Linear?'],
    [
      "a layer's arguments",
      { model: [{ Linear: [4] }] },
      "model[0]: Linear: sizes must be integers ≥ 1, got 4 and undefined",
    ],
    ["a layer's options", { model: [{ Linear: [4, 3, { bais: true }] }] }, "did you mean bias?"],
    ["a layer within", { model: [["ReLU", { Dropout: 2 }]] }, "model[0][1]: Dropout: p must be a probability"],
    ["inputs of a model", { model: [{ Linear: [5, 3] }] }, "the table gives 4 features and 3 classes"],
    ["outputs of a model", { model: [{ Linear: [4, 2] }] }, "give the last layer 3 outputs"],
    ["no model", { model: null }, "model is missing"],
    ["no data", { data: null }, "data.csv is missing"],
    ["no target", { data: { csv: irisCsv } }, "data.target is missing"],
    ["a column", { data: { csv: irisCsv, target: "specis" } }, 'there is no column "specis"; did you mean "species"?'],
    ["a table", { data: { csv: "nowhere.csv", target: "a" } }, "nowhere.csv: there is no such file"],
    [
      "shares",
      { data: { csv: irisCsv, target: "species", validation: 0.5, test: 0.5 } },
      "leave nothing to train with",
    ],
    ["the loss", { loss: "crossEntorpy" }, 'unknown loss "crossEntorpy"; did you mean'],
    ["a loss for numbers", { loss: "mse" }, 'the loss is for numbers, and column "species" has texts'],
    ["a loss for two classes", { loss: "bce_with_logits" }, "the loss is for two classes"],
    ["the optimizer", { optimizer: "adan" }, 'optimizer: there is no "adan"; did you mean Adam?'],
    ["an optimizer's option", { optimizer: { name: "sgd", lr: 0.1, amsgrad: true } }, "SGD: unknown option amsgrad"],
    ["an optimizer's value", { optimizer: { name: "sgd", lr: -1 } }, "lr must be a finite number at least 0"],
    ["a schedule's option", { scheduler: { name: "StepLR", tMax: 3 } }, "StepLR has no tMax"],
    ["a metric", { metrics: ["acuracy"] }, 'unknown metric "acuracy"; did you mean "accuracy"?'],
    ["the monitor", { earlyStopping: { monitor: "speed", patience: 1 } }, "does not say whether larger or smaller"],
    ["the device", { device: "jss" }, "device: jss is not there; did you mean js?"],
  ])("%s", async (_, change, message) => {
    await expect(here(train, job(change))).rejects.toThrow(message);
    expect(existsSync(at("never"))).toBe(false);
  });

  test("the command's own", async () => {
    await expect(here(train)).rejects.toThrow("the settings are missing");
    await expect(here(train, "a.json", "b.json")).rejects.toThrow('unexpected argument "b.json"');
    await expect(here(train, at("nowhere.json"))).rejects.toThrow("there is no such file");
    await expect(here(train, iris, "--resmue")).rejects.toThrow("unknown option --resmue; did you mean --resume?");
    mkdirSync(at("other"));
    await expect(here(train, at("other"))).rejects.toThrow("there is no settings.json in it");
    writeFileSync(at("other/mine.txt"), "mine");
    await expect(here(train, iris, "--directory", at("other"), "--force")).rejects.toThrow(
      "has files of something else",
    );
    const help = (await here(train, "--help")).stdout;
    for (const name of ["--resume", "data.target", "optimizer.lr", "earlyStopping.patience"])
      expect(help).toContain(name);
  });
});

/** The same job in a module, which signals itself: at a step, or some milliseconds after it. */
const signalling = `
import { readFileSync } from "node:fs";
import { callbacks } from ${JSON.stringify(pathToFileURL(join(root, "dist/index.mjs")).href)};
const { data, ...job } = JSON.parse(readFileSync(${JSON.stringify(iris)}, "utf8"));
const [signal, step, delay] = process.argv.at(-1).slice("--name=".length).split("-");
const onTrainBatchEnd = function () {
  if (this.loop.globalStep !== Number(step)) return;
  const send = () => process.kill(process.pid, signal);
  if (Number(delay)) setTimeout(send, Number(delay));
  else send();
};
export default {
  ...job,
  data: { ...data, csv: ${JSON.stringify(irisCsv)} },
  callbacks: [Object.assign(new callbacks.LambdaCallback({}), { onTrainBatchEnd })],
};`;

describe("stopped and continued", () => {
  const args = (directory: string, ...more: string[]) => [
    ...["--directory", at(directory), "--earlyStopping", "null", "--epochs", "12"],
    ...["--checkpoint.everyNSteps", "5", "--logEveryNSteps", "1", "--log", "json", ...more],
  ];
  const stopped = (directory: string, signal: string, step: number, delay = 0) =>
    nabla(["train", at("signalling.mjs"), ...args(directory, `--name=${signal}-${step}-${delay}`)]).ended;
  const again = (directory: string, ...more: string[]) => here(train, iris, ...args(directory, "--resume", ...more));
  const course = (directory: string) =>
    lines(directory, "log.jsonl")
      .filter(({ event }) => event === "epoch" || event === "step")
      .map(({ time: _, seconds: __, ...line }) => line);
  const sameAsWhole = (directory: string) => {
    for (const file of ["last.safetensors", "best.safetensors"]) {
      expect(hash(directory, file)).toBe(hash("whole", file));
    }
    expect(course(directory)).toEqual(course("whole"));
  };

  test("a run has the weights and the log of one that was never stopped", { timeout: 120_000 }, async () => {
    writeFileSync(at("signalling.mjs"), signalling);
    expect((await here(train, iris, ...args("whole"))).code).toBe(0);
    // 12 epochs of 6 steps.
    const stops = [7, 9, 40].map((step) => Math.floor(step + Math.random() * 20));
    const [killed, slurm, term] = await Promise.all([
      stopped("killed", "SIGKILL", stops[0], 0.01 + 5 * Math.random()),
      stopped("slurm", "SIGUSR1", stops[1]),
      stopped("term", "SIGTERM", stops[2]),
    ]);
    expect(killed.signal, killed.stderr).toBe("SIGKILL");
    expect([slurm.code, term.code], slurm.stderr + term.stderr).toEqual([75, 75]);
    expect(slurm.stderr).toContain("SIGUSR1 in epoch");
    expect(term.stderr).toContain("the same command with --resume continues");
    expect(lines("term", "log.jsonl").at(-1)).toMatchObject({ event: "end", reason: "SIGTERM" });
    // Not overwritten by mistake, nor continued as another run.
    await expect(here(train, iris, ...args("killed"))).rejects.toThrow("--resume continues it, --force replaces it");
    await expect(again("killed", "--optimizer.lr", "0.5")).rejects.toThrow(
      "optimizer.lr was 0.01 when the run began and is 0.5 now",
    );
    await expect(again("killed", "--data.csv", "other.csv")).rejects.toThrow("other.csv: there is no such file");
    for (const directory of ["killed", "slurm", "term"]) {
      expect((await again(directory)).code, `stopped at steps ${stops}`).toBe(0);
      sameAsWhole(directory);
    }
    // A run that is complete stays as it is, and goes on where more epochs are asked for.
    expect((await again("killed", "--log", "lines")).stdout).toContain("killed is complete");
    sameAsWhole("killed");
    expect((await here(train, at("killed"), "--resume", "--epochs", "13")).code).toBe(0);
    expect(course("killed").filter(({ event }) => event === "epoch")).toHaveLength(13);
  });
});

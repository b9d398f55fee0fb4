// Settings: how they are read from objects, the environment and flags, and what is said of wrong ones.
import { describe, expect, test } from "vitest";
import { namedOptions, scheduleOptions } from "../../lib/cli/parts.js";
import {
  fromEnvironment,
  fromFlags,
  fromObject,
  isSwitch,
  merge,
  schemaOf,
  splitArguments,
  variableOf,
} from "../../lib/cli/settings.js";
import { parseJson } from "../../lib/cli/source.js";
import { optim } from "../../lib/index.js";

const schema = schemaOf(namedOptions());
const file = (object: unknown) => fromObject(object, schema, "job.json", "/jobs");
const flags = (...args: string[]) => fromFlags(splitArguments(args, (name) => isSwitch(schema, name)).flags, schema);
const tree = (...layers: ReadonlyMap<string, unknown>[]) => merge<Record<string, unknown>>(schema, ...layers);

describe("sources", () => {
  test("an object gives settings of groups, and bare values stand for a group's first one", () => {
    const { data, optimizer, earlyStopping, epochs, model } = tree(
      file({
        model: [{ Linear: [4, 3] }],
        data: { csv: "iris.csv", validation: 0.2, test: "test.csv" },
        optimizer: "sgd",
        earlyStopping: 7,
        epochs: 3,
      }),
    );
    // Paths in a file begin at its folder.
    expect(data).toMatchObject({ csv: "/jobs/iris.csv", validation: 0.2, test: "/jobs/test.csv", scale: "standard" });
    expect(optimizer).toEqual({ name: "sgd" });
    expect(earlyStopping).toEqual({ patience: 7 });
    expect([epochs, model]).toEqual([3, [{ Linear: [4, 3] }]]);
  });

  test("flags have precedence over the environment, and that over the file", () => {
    const env = {
      NABLA_TRAIN_EPOCHS: "4",
      NABLA_TRAIN_BATCH_SIZE: "8",
      NABLA_TRAIN_OPTIMIZER_LR: "0.5",
      HOME: "/root",
    };
    const all = tree(
      file({ epochs: 3, batchSize: 16, seed: 9, optimizer: { name: "adam", lr: 0.1, betas: [0.8, 0.9] } }),
      fromEnvironment(env, schema),
      flags("--epochs", "5", "--optimizer.lr=0.25"),
    );
    expect(all).toMatchObject({
      epochs: 5,
      batchSize: 8,
      seed: 9,
      optimizer: { name: "adam", lr: 0.25, betas: [0.8, 0.9] },
    });
  });

  test("every setting has a variable of its own, which is read as its flag is", () => {
    const names = Object.keys(schema).filter((name) => !schema[name].live);
    expect(new Set(names.map(variableOf)).size).toBe(names.length);
    expect(variableOf("earlyStopping.minDelta")).toBe("NABLA_TRAIN_EARLY_STOPPING_MIN_DELTA");
    expect(fromEnvironment({ NABLA_TRAIN_DATA_TARGET: "a, b", NABLA_TRAIN_REPORT: "true" }, schema)).toEqual(
      flags("--data.target", "a, b", "--report"),
    );
  });

  test("flags may be written with hyphens, with = or a blank, and with JSON", () => {
    const given = flags(
      "--batch-size",
      "8",
      "--early-stopping.min-delta=-0.5",
      '--model=["ReLU"]',
      "--data.scale",
      "none",
    );
    expect(tree(given)).toMatchObject({
      batchSize: 8,
      earlyStopping: { minDelta: -0.5 },
      model: ["ReLU"],
      data: { scale: "none" },
    });
  });

  test("null takes a setting back", () => {
    const before = file({ earlyStopping: 3, optimizer: { name: "sgd" } });
    expect(tree(before, flags("--earlyStopping", "null"))).not.toHaveProperty("earlyStopping");
    expect(tree(file({ optimizer: null, data: null }))).toMatchObject({ optimizer: { name: "adam" } });
  });

  test("hyper-parameters of a module have the types of their defaults", () => {
    const own = schemaOf({}, { width: 32, wide: false, kind: "a" });
    const read = (...args: string[]) => fromFlags(splitArguments(args, () => false).flags, own);
    expect(read("--params.width", "64", "--params.wide", "true", "--params.kind", "7")).toEqual(
      new Map<string, unknown>([
        ["params.width", 64],
        ["params.wide", true],
        ["params.kind", "7"],
      ]),
    );
    expect(fromEnvironment({ NABLA_TRAIN_PARAMS_WIDTH: "64" }, own)).toEqual(new Map([["params.width", 64]]));
    expect(() => read("--params.widht", "64")).toThrow("unknown option --params.widht; did you mean --params.width?");
    expect(() => read("--params.width", "many")).toThrow('--params.width must be a number, got "many"');
    // A module that does not say which it has takes any; without a module there are none.
    expect(fromFlags([["params.any", "3"]], schemaOf({}, null))).toEqual(new Map([["params.any", 3]]));
    expect(() => flags("--params.any", "3")).toThrow("unknown option --params.any");
  });
});

describe("mistakes", () => {
  test.each([
    [{ epoch: 3 }, "job.json: unknown setting epoch; did you mean epochs?"],
    [{ data: { targets: "a" } }, "job.json: unknown setting data.targets; did you mean target?"],
    [{ optimizer: { learningRate: 1 } }, "job.json: unknown setting optimizer.learningRate"],
    [{ epochs: "ten" }, 'job.json: epochs must be a whole number ≥ 1, got "ten"'],
    [{ epochs: 1.5 }, "job.json: epochs must be a whole number ≥ 1, got 1.5"],
    [
      { data: { validation: 1.2 } },
      "job.json: data.validation must be a share between 0 and 1, or the path of a file, got 1.2",
    ],
    [{ data: { scale: "robust" } }, 'job.json: data.scale must be "standard", "minMax", "none", got "robust"'],
    [{ optimizer: 3 }, "job.json: optimizer must be a text, got 3"],
    [{ params: 3 }, "job.json: unknown setting params"],
    [[1], "job.json: settings are an object, got [1]"],
  ])("%j", (object, message) => {
    expect(() => file(object)).toThrow(message);
  });

  test("in variables and flags", () => {
    expect(() => fromEnvironment({ NABLA_TRAIN_EPOCH: "3" }, schema)).toThrow(
      "unknown variable NABLA_TRAIN_EPOCH; did you mean NABLA_TRAIN_EPOCHS?",
    );
    expect(() => fromEnvironment({ NABLA_TRAIN_EPOCHS: "" }, schema)).toThrow(
      "NABLA_TRAIN_EPOCHS must be a whole number",
    );
    expect(() => flags("--epoch", "3")).toThrow("unknown option --epoch; did you mean --epochs?");
    expect(() => flags("--epochs")).toThrow("--epochs needs a value");
    expect(() => flags("--epochs", "--report")).toThrow("--epochs needs a value");
    expect(() => flags("--report=perhaps")).toThrow('--report must be true or false, got "perhaps"');
    expect(() => flags("--callbacks", "x")).toThrow("unknown option --callbacks");
  });

  test("in JSON: the line", () => {
    const long = `  "name": "${"x".repeat(300)}",\n`;
    expect(() => parseJson('{\n  "epochs": 3,\n}', "job.json")).toThrow(
      "job.json: line 3 is not JSON: Expected double-quoted",
    );
    expect(() => parseJson(`{\n${long}${long}  "seed": }\n${long}}`, "job.json")).toThrow(
      "job.json: line 4 is not JSON",
    );
    expect(() => parseJson("", "job.json")).toThrow("job.json: line 1 is not JSON");
  });
});

test("every schedule of the library can be described, or is one that JSON cannot say", () => {
  const all = Object.entries(optim).filter(
    ([, value]) => (value as { prototype?: unknown }).prototype instanceof optim.LRScheduler,
  );
  const names = all.map(([name]) => name).filter((name) => !["LambdaLR", "SequentialLR"].includes(name));
  expect(Object.keys(scheduleOptions).sort()).toEqual(names.sort());
});

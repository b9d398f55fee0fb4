// Callbacks: what Keras's do with the same results (test/figures/callbacks.json), bad input, runs that are resumed, and
// event files as TensorBoard writes them (test/figures/events.json).
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Callback, callbacks, fill_, io, type Logs, nn, noGrad, optim } from "../../lib/index.js";
import { crc32c, record, scalars, text, version } from "../../lib/train/callbacks/events.js";
import { HandLoop, type Plan } from "./loop.js";

const figures = JSON.parse(readFileSync(new URL("../figures/callbacks.json", import.meta.url), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "nabla-callbacks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let folders = 0;
const fresh = (): string => join(folder, `run-${folders++}`);

const camel = (key: string) => key.replace(/_(.)/g, (_, c) => c.toUpperCase());
const camelKeys = (o: Record<string, unknown>) => Object.fromEntries(Object.entries(o).map(([k, v]) => [camel(k), v]));

/** A model of one weight, which each epoch sets to its number. */
function counting(list: readonly Callback[], values: readonly (number | string | null)[], name: string, more = {}) {
  const model = new nn.Linear(1, 1, { bias: false });
  const optimizer = new optim.SGD(model.parameters(), { lr: 1 });
  const plan: Plan = {
    model,
    optimizer,
    callbacks: list,
    maxEpochs: values.length,
    step: (_batch, epoch) => {
      noGrad(() => fill_(model.weight, epoch));
      return 1 / (1 + epoch);
    },
    results: (epoch): Logs => (values[epoch] === null ? {} : { [name]: Number(values[epoch]) }),
    ...more,
  };
  return { loop: new HandLoop(plan), model };
}

test("every callback is in docs/callbacks.md, with an example that works", () => {
  const table = readFileSync(new URL("../../docs/callbacks.md", import.meta.url), "utf8").matchAll(
    /^\| `(\w+)` \|.*\| `(.*)` \|$/gm,
  );
  const documented = [...table].map(([, name, example]) => {
    expect(new Function("callbacks", `return ${example}`)(callbacks).constructor.name).toBe(name);
    return name;
  });
  const classes = Object.entries(callbacks).filter(
    ([, c]) => (c as { prototype?: unknown }).prototype instanceof Callback,
  );
  expect(documented.sort()).toEqual(classes.map(([name]) => name).sort());
});

describe("EarlyStopping", () => {
  interface Figure {
    name: string;
    options: Record<string, unknown>;
    values: (number | string | null)[];
    epochs: number;
    stopped: number;
    best: number;
    bestEpoch: number;
    weight: number;
  }
  test.each((figures.early as Figure[]).map((f) => [`${f.name} ${JSON.stringify(f.options)}`, f] as const))(
    "%s",
    async (_, figure) => {
      const stopping = new callbacks.EarlyStopping({ monitor: figure.name, ...camelKeys(figure.options) });
      for (let run = 0; run < 2; run++) {
        const { loop, model } = counting([stopping], figure.values, figure.name);
        await loop.run();
        expect(loop.currentEpoch).toBe(figure.epochs);
        expect([stopping.stoppedEpoch, stopping.best, stopping.bestEpoch]).toEqual([
          figure.stopped,
          figure.best,
          figure.bestEpoch,
        ]);
        expect(model.weight.item()).toBe(figure.weight);
        expect(loop.reasons.length).toBe(figure.stopped > 0 ? 1 : 0);
      }
    },
  );

  test("the reason says what did not happen; NaN in the first epoch is left behind", async () => {
    const stopping = new callbacks.EarlyStopping({ patience: 2 });
    const { loop, model } = counting([stopping], ["NaN", 0.5, 0.6, 0.7, 0.1], "val_loss");
    await loop.run();
    expect(loop.reasons).toEqual(["val_loss has not improved on 0.5 of epoch 2 for 2 epochs"]);
    expect(model.weight.item()).toBe(1);
  });

  test("what cannot be right is refused at once, or after the first epoch", async () => {
    const { EarlyStopping } = callbacks;
    expect(() => new EarlyStopping({ patiance: 3 } as never)).toThrow(/patiance; did you mean patience/);
    expect(() => new EarlyStopping({ patience: 1.5 })).toThrow(/patience must be an integer ≥ 0, got the number 1.5/);
    expect(() => new EarlyStopping({ mode: "down" as never })).toThrow(/mode must be "auto", "min" or "max"/);
    expect(() => new EarlyStopping({ minDelta: Number.NaN })).toThrow(/minDelta must be a finite number ≥ 0/);
    expect(() => new EarlyStopping({ monitor: "val_quality" })).toThrow(/does not say whether larger or smaller/);
    expect(new EarlyStopping({ monitor: "val_quality", mode: "max" })).toBeInstanceOf(EarlyStopping);
    const { loop } = counting([new EarlyStopping({ monitor: "val_los", mode: "min" })], [1, 2], "val_loss");
    await expect(loop.run()).rejects.toThrow(
      'EarlyStopping: there is no value "val_los"; did you mean val_loss? There are loss, val_loss',
    );
    expect(loop.globalStep).toBe(1);
  });

  test("the direction is guessed by the words of the name", async () => {
    for (const [name, values, best] of [
      ["val_accuracy", [0.1, 0.3, 0.2], 0.3],
      ["val_f1", [0.1, 0.3, 0.2], 0.3],
      ["val_top5Accuracy", [0.1, 0.3, 0.2], 0.3],
      ["val_rootMeanSquaredError", [0.3, 0.1, 0.2], 0.1],
      ["perplexity", [3, 1, 2], 1],
    ] as const) {
      const stopping = new callbacks.EarlyStopping({ monitor: name, patience: 5 });
      await counting([stopping], values, name).loop.run();
      expect(stopping.best, name).toBe(best);
    }
    expect(() => new callbacks.EarlyStopping({ monitor: "error_score" })).toThrow(/pass mode/);
  });
});

describe("ReduceLROnPlateau", () => {
  interface Figure {
    options: Record<string, unknown>;
    values: (number | null)[];
    rates: number[];
  }
  test.each((figures.reduce as Figure[]).map((f) => [JSON.stringify(f.options), f] as const))(
    "%s",
    async (_, { options, values, rates }) => {
      const { loop } = counting([new callbacks.ReduceLROnPlateau(camelKeys(options))], values, "val_loss");
      await loop.run();
      expect(loop.rates).toEqual(rates);
      expect(loop.history.history.learning_rate).toEqual(rates); // as they were while the epoch was trained
    },
  );

  test("it does not work against a schedule", async () => {
    const { loop } = counting([new callbacks.ReduceLROnPlateau()], [1], "val_loss");
    loop.schedulers.push(new optim.ExponentialLR(loop.optimizers[0], 0.9));
    await expect(loop.run()).rejects.toThrow(/has a schedule \(ExponentialLR\), which sets the learning rate too/);
    expect(() => new callbacks.ReduceLROnPlateau({ factor: 1 })).toThrow(/factor must be below 1, got 1/);
  });
});

test("LearningRateScheduler sets the rate of every group; LearningRateMonitor logs it", async () => {
  const scheduler = new callbacks.LearningRateScheduler((epoch, lr) => (epoch === 0 ? lr : lr / 2));
  const { loop, model } = counting([scheduler], [1, 1, 1], "val_loss");
  await loop.run();
  expect(loop.rates).toEqual([1, 0.5, 0.25]);
  expect(loop.history.history.learning_rate).toEqual([1, 0.5, 0.25]);
  const optimizer = new optim.SGD(
    [{ params: [model.weight] }, { params: [nn.init.zeros_(new nn.Linear(1, 1).weight)], lr: 0.1 }],
    { lr: 1 },
  );
  const two = counting([scheduler, new callbacks.LearningRateMonitor()], [1, 1], "val_loss", { optimizer }).loop;
  await two.run();
  expect(two.history.history.learning_rate_1).toEqual([0.1, 0.05]);
  const wrong = counting([new callbacks.LearningRateScheduler(() => Number.NaN)], [1], "val_loss").loop;
  await expect(wrong.run()).rejects.toThrow(/must give a finite number ≥ 0, got the number NaN for epoch 0 and rate 1/);
  expect(() => new callbacks.LearningRateScheduler(0.1 as never)).toThrow(/a function is needed, got the number 0.1/);
});

test("TerminateOnNaN names the first bad batch", async () => {
  const { loop } = counting([new callbacks.TerminateOnNaN()], [1, 1, 1], "val_loss", {
    batches: 4,
    step: (batch: number, epoch: number) => (epoch === 1 && batch >= 2 ? Number.NaN : 1),
  });
  await loop.run();
  expect(loop.reasons).toEqual(["the loss became NaN in epoch 2, batch 3 (step 7)"]);
  expect(loop.globalStep).toBe(7);
});

describe("Timer", () => {
  test("stops when the time is up, and counts on in a resumed run", async () => {
    const timer = new callbacks.Timer({ seconds: 1e-9 });
    const { loop } = counting([timer], [1, 1], "val_loss");
    await loop.run();
    expect(loop.reasons).toEqual(["the time of 1e-9 s is up"]);
    expect(loop.globalStep).toBe(1);
    const long = new callbacks.Timer({ days: 1, hours: 1, minutes: 1, seconds: 1 });
    expect(long.limit).toBe(90061);
    long.loadStateDict({ seconds: 90060.999999 });
    const second = counting([long], [1, 1], "val_loss", {
      step: () => {
        while (long.elapsed < long.limit);
        return 1;
      },
    }).loop;
    await second.run();
    expect(second.globalStep).toBe(1);
    expect(() => new callbacks.Timer({})).toThrow(/give a time, such as \{ hours: 2 \}/);
    expect(() => new callbacks.Timer({ hours: -1 })).toThrow(/hours must be a finite number ≥ 0/);
  });
});

test("LambdaCallback has all hooks, and only hooks", async () => {
  const seen: string[] = [];
  const hook = (name: string) => () => void seen.push(name);
  const names = [
    "onTrainBegin",
    "onEpochBegin",
    "onTrainBatchBegin",
    "onTrainBatchEnd",
    "onTestBegin",
    "onTestEnd",
    "onEpochEnd",
    "onTrainEnd",
  ];
  const lambda = new callbacks.LambdaCallback(Object.fromEntries(names.map((n) => [n, hook(n)])));
  await counting([lambda], [1], "val_loss").loop.run();
  expect(seen).toEqual(names);
  // The loop sees how many parameters the function declares, not the base class's.
  expect(new callbacks.LambdaCallback({ onTrainBatchEnd: () => {} }).onTrainBatchEnd.length).toBe(0);
  expect(new callbacks.LambdaCallback({ onTrainBatchEnd: (_b, _l) => {} }).onTrainBatchEnd.length).toBe(2);
  expect(() => new callbacks.LambdaCallback({ onEpochEnds: () => {} } as never)).toThrow(/did you mean onEpochEnd\?/);
  expect(() => new callbacks.LambdaCallback({ onEpochEnd: 3 } as never)).toThrow(/onEpochEnd: a function is needed/);
});

describe("ModelCheckpoint", () => {
  interface Figure {
    pattern: string;
    options: Record<string, unknown>;
    values: number[];
    files: string[];
  }
  test.each((figures.saved as Figure[]).map((f) => [f.pattern, f] as const))("%s", async (_, figure) => {
    const at = fresh();
    const saving = new callbacks.ModelCheckpoint(join(at, figure.pattern), camelKeys(figure.options));
    await counting([saving], figure.values, "val_loss").loop.run();
    expect(readdirSync(at).sort()).toEqual([...figure.files].sort());
    expect(basename(saving.latest as string)).toBe(figure.files.at(-1));
    expect(saving.best ? basename(saving.best.path) : undefined).toBe(
      figure.options.save_best_only ? figure.files.at(-1) : undefined,
    );
  });

  const values = [0.9, 0.5, 0.7, 0.6, 0.4, 0.8];

  test("keeps the k best and the last; a file holds what its name says", async () => {
    const at = fresh();
    const saving = new callbacks.ModelCheckpoint(join(at, "{epoch}-{val_loss:.1f}.ckpt"), {
      saveTopK: 2,
      saveLast: true,
    });
    const names: string[][] = [];
    const watch = new callbacks.LambdaCallback({
      onEpochBegin: () => void names.push(existsSync(at) ? readdirSync(at).sort() : []),
    });
    const { loop } = counting([saving, watch], values, "val_loss");
    await loop.run();
    expect([...names.slice(1), readdirSync(at).sort()]).toEqual([
      ["1-0.9.ckpt", "last.ckpt"],
      ["1-0.9.ckpt", "2-0.5.ckpt", "last.ckpt"],
      ["2-0.5.ckpt", "3-0.7.ckpt", "last.ckpt"],
      ["2-0.5.ckpt", "4-0.6.ckpt", "last.ckpt"],
      ["2-0.5.ckpt", "5-0.4.ckpt", "last.ckpt"],
      ["2-0.5.ckpt", "5-0.4.ckpt", "last.ckpt"],
    ]);
    expect(saving.best).toEqual({ path: join(at, "5-0.4.ckpt"), value: 0.4 });
    const weight = async (name: string) =>
      (
        await io.load<{ model: Record<string, import("../../lib/index.js").Tensor> }>(join(at, name))
      ).model.weight.item();
    expect(await weight("5-0.4.ckpt")).toBe(4);
    expect(await weight("2-0.5.ckpt")).toBe(1);
    expect(await weight("last.ckpt")).toBe(5);
  });

  test("a resumed run deletes what falls out of the best of the first one", async () => {
    const at = fresh();
    const make = () => new callbacks.ModelCheckpoint(join(at, "{epoch}.ckpt"), { saveTopK: 2, saveLast: true });
    await counting([make()], values.slice(0, 3), "val_loss").loop.run();
    expect(readdirSync(at).sort()).toEqual(["2.ckpt", "3.ckpt", "last.ckpt"]);
    const { loop } = counting([make()], values, "val_loss");
    loop.loadStateDict(await io.load(join(at, "last.ckpt")));
    await loop.run();
    expect(readdirSync(at).sort()).toEqual(["2.ckpt", "5.ckpt", "last.ckpt"]);
  });

  test("weights only, after every so many steps", async () => {
    const at = fresh();
    const saving = new callbacks.ModelCheckpoint(join(at, "{epoch:03d}-{step}.safetensors"), {
      saveWeightsOnly: true,
      everyNTrainSteps: 3,
    });
    await counting([saving], [1, 1], "val_loss", { batches: 5 }).loop.run();
    expect(readdirSync(at).sort()).toEqual(["001-3.safetensors", "002-6.safetensors", "002-9.safetensors"]);
    const weights = await io.loadSafetensors(join(at, "002-9.safetensors"));
    expect(weights.weight.item()).toBe(1);
  });

  test("NaN is never among the best; epochs without validation save the last only", async () => {
    const at = fresh();
    const saving = new callbacks.ModelCheckpoint(join(at, "{epoch}.ckpt"), { saveTopK: 2 });
    await counting([saving], ["NaN", null, 3, 2], "val_loss").loop.run();
    expect(readdirSync(at).sort()).toEqual(["3.ckpt", "4.ckpt"]);
  });

  test("what cannot be right is refused at once, or after the first epoch", async () => {
    const { ModelCheckpoint } = callbacks;
    expect(() => new ModelCheckpoint("{epoch:02x}.ckpt")).toThrow(/\{epoch:02x\} is no place for a value/);
    expect(() => new ModelCheckpoint("{epoch.ckpt")).toThrow(/braces of "\{epoch.ckpt" do not match/);
    expect(() => new ModelCheckpoint({} as never)).toThrow(/path of the files comes first, got a plain object/);
    expect(() => new ModelCheckpoint("a", { saveBestOnly: true, saveTopK: 1 })).toThrow(/leave saveBestOnly out/);
    expect(() => new ModelCheckpoint("a", { saveTopK: 1, everyNTrainSteps: 5 })).toThrow(/leave everyNTrainSteps out/);
    expect(() => new ModelCheckpoint("{loss}", { everyNTrainSteps: 5 })).toThrow(
      /value "loss"; .*There are epoch, step/,
    );
    expect(() => new ModelCheckpoint("a", { initialValueThreshold: 1 })).toThrow(/is for saveBestOnly/);
    const misspelt = new ModelCheckpoint(join(fresh(), "{val_lss:.2f}.ckpt"));
    await expect(counting([misspelt], [1], "val_loss").loop.run()).rejects.toThrow(
      /has a value "val_lss"; did you mean val_loss\? There are epoch, step, loss, val_loss/,
    );
    const whole = new ModelCheckpoint(join(fresh(), "{val_loss:d}.ckpt"));
    await expect(counting([whole], [0.5], "val_loss").loop.run()).rejects.toThrow(/\{val_loss:d\} is for integers/);
  });
});

test("files that cannot be written are an error before training", async () => {
  const at = join(fresh(), "file");
  await counting([new callbacks.CSVLogger(at)], [1], "val_loss").loop.run();
  for (const c of [new callbacks.ModelCheckpoint(join(at, "a.ckpt")), new callbacks.CSVLogger(join(at, "a.csv"))]) {
    const { loop } = counting([c], [1], "val_loss");
    await expect(loop.run()).rejects.toThrow(/ENOTDIR|EEXIST/);
    expect(loop.globalStep).toBe(0);
  }
});

describe("BackupAndRestore", () => {
  const values = [1, 0.9, 0.95, 0.8, 0.85, 0.86, 0.87, 0.88, 0.7];
  const make = (directory: string) => [
    new callbacks.BackupAndRestore(directory), // first in the list, last in the run
    new callbacks.EarlyStopping({ patience: 4 }),
    new callbacks.ReduceLROnPlateau({ patience: 2, factor: 0.5 }),
  ];

  test("a run that crashed goes on by itself and ends as an unbroken one", async () => {
    const whole = counting(make(fresh()), values, "val_loss");
    await whole.loop.run();
    const at = fresh();
    await expect(counting(make(at), values, "val_loss", { crashAfter: 5 }).loop.run()).rejects.toThrow("crash");
    expect(readdirSync(at)).toEqual(["backup.ckpt"]);
    const second = counting(make(at), values, "val_loss");
    await second.loop.run();
    expect(second.loop.rates).toEqual(whole.loop.rates.slice(5));
    expect(second.loop.currentEpoch).toBe(whole.loop.currentEpoch);
    expect(second.loop.reasons).toEqual(whole.loop.reasons);
    expect(second.model.weight.item()).toBe(whole.model.weight.item());
    expect(existsSync(at)).toBe(false);
  });

  test("by steps; kept when asked for; foreign files stay", async () => {
    const at = fresh();
    const backup = new callbacks.BackupAndRestore(at, { saveFreq: 2, deleteCheckpoint: false });
    await counting([backup], [1], "val_loss", { batches: 5 }).loop.run();
    expect((await io.load<{ globalStep: number }>(join(at, "backup.ckpt"))).globalStep).toBe(4);
    writeFileSync(join(at, "other"), "");
    await counting([new callbacks.BackupAndRestore(at)], [1, 1], "val_loss", { batches: 5 }).loop.run();
    expect(readdirSync(at)).toEqual(["other"]);
    expect(() => new callbacks.BackupAndRestore("")).toThrow(/directory of the backup comes first/);
    expect(() => new callbacks.BackupAndRestore("a", { saveFreq: 0 })).toThrow(/must be an integer ≥ 1/);
  });
});

describe("CSVLogger", () => {
  const lines = (path: string) => readFileSync(path, "utf8").trimEnd().split("\n");

  test("a line an epoch; a name that comes later gets a column", async () => {
    const path = join(fresh(), "log.csv");
    await counting([new callbacks.CSVLogger(path)], [null, 0.5, "NaN"], "val_loss").loop.run();
    expect(lines(path)).toEqual(["epoch,loss,val_loss", "0,1,NA", "1,0.5,0.5", `2,${1 / 3},NaN`]);
    // Another run begins anew, unless it is told to append or goes on.
    await counting([new callbacks.CSVLogger(path)], [1], "val_loss").loop.run();
    expect(lines(path)).toEqual(["epoch,loss,val_loss", "0,1,1"]);
    const { loop } = counting([new callbacks.CSVLogger(path)], [1, 0.25], "val_other");
    loop.currentEpoch = 1;
    await loop.run();
    expect(lines(path)).toEqual(["epoch,loss,val_loss,val_other", "0,1,1,NA", "1,0.5,NA,0.25"]);
    await counting([new callbacks.CSVLogger(path, { append: true })], [9], "val_loss").loop.run();
    expect(lines(path).at(-1)).toBe("0,1,9,NA");
  });

  test("names that the separator is in are quoted, and found again", async () => {
    const path = join(fresh(), "log.csv");
    for (const append of [false, true]) {
      const logger = new callbacks.CSVLogger(path, { separator: ";", append });
      await counting([logger], [2], 'val_"a;b"').loop.run();
    }
    expect(lines(path)).toEqual(['epoch;loss;"val_""a;b"""', "0;1;2", "0;1;2"]);
    expect(() => new callbacks.CSVLogger(path, { separator: "." })).toThrow(/one character that numbers do not have/);
    expect(() => new callbacks.CSVLogger(7 as never)).toThrow(/path of the file comes first/);
  });
});

describe("JsonlLogger", () => {
  const read = (path: string) =>
    readFileSync(path, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));

  test("start, steps, epochs and end", async () => {
    const directory = fresh();
    const plan = { batches: 4, directory, params: { lr: 1, bad: Number.POSITIVE_INFINITY } };
    await counting([new callbacks.JsonlLogger({ everyNTrainSteps: 3 })], [1, "NaN"], "val_loss", plan).loop.run();
    const events = read(join(directory, "log.jsonl"));
    expect(events.map(({ time, seconds, ...rest }) => rest)).toEqual([
      { event: "start", lr: 1, bad: "Infinity", epoch: 0, step: 0 },
      { event: "step", epoch: 0, step: 3, logs: { loss: 1 }, lr: 1 },
      { event: "epoch", epoch: 0, step: 4, logs: { loss: 1, val_loss: 1 }, lr: 1 },
      { event: "step", epoch: 1, step: 6, logs: { loss: 0.5 }, lr: 1 },
      { event: "epoch", epoch: 1, step: 8, logs: { loss: 0.5, val_loss: "NaN" }, lr: 1 },
      { event: "end", reason: "completed" },
    ]);
    expect(events.every(({ time }) => new Date(time).toISOString() === time)).toBe(true);
    expect(events[2].seconds).toBeGreaterThanOrEqual(0);
  });

  test("a run that goes on appends; an error is a reason", async () => {
    const path = join(fresh(), "a.jsonl");
    const first = counting([new callbacks.JsonlLogger({ path })], [1, 1], "val_loss", { crashAfter: 1 }).loop;
    await expect(first.run()).rejects.toThrow("crash");
    expect(read(path).at(-1)).toMatchObject({ event: "end", reason: "Error: crash" });
    const { loop } = counting([new callbacks.JsonlLogger({ path })], [1, 1], "val_loss");
    loop.currentEpoch = 1;
    loop.globalStep = 1;
    loop.history.push(0, { loss: 1 });
    await loop.run();
    expect(read(path).map(({ event, epoch }) => [event, epoch])).toEqual([
      ["start", 0],
      ["epoch", 0],
      ["end", undefined],
      ["start", 1],
      ["epoch", 1],
      ["end", undefined],
    ]);
    await expect(counting([new callbacks.JsonlLogger()], [1], "val_loss").loop.run()).rejects.toThrow(
      /the run has no directory; give the file as path/,
    );
  });
});

const events = JSON.parse(readFileSync(new URL("../figures/events.json", import.meta.url), "utf8"));

describe("TensorBoard", () => {
  test("records are byte for byte those of TensorBoard's own writer", () => {
    const base64 = (message: Uint8Array) => record(message).toString("base64");
    // RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and rising.
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    const { time } = events;
    expect(base64(version(time))).toBe(events.version);
    const values = Object.fromEntries((events.values as [string, number][]).map(([k, v]) => [k, Number(v)]));
    for (const { step, record: bytes } of events.scalars) expect(base64(scalars(time, step, values))).toBe(bytes);
    expect(base64(text(time, 7, "params", events.markdown))).toBe(events.text);
  });

  /** The tags, and the strings, of the events in a file, found by walking the records. */
  function eventsIn(path: string): Buffer[] {
    const bytes = readFileSync(path);
    const found: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = Number(bytes.readBigUInt64LE(at));
      const event = bytes.subarray(at + 12, at + 12 + length);
      expect(bytes.subarray(at, at + 16 + length)).toEqual(record(event));
      found.push(event);
      at += 16 + length;
    }
    return found;
  }

  test("a run", async () => {
    const at = fresh();
    const model = new nn.Linear(1, 1);
    const plan = {
      model,
      optimizer: new optim.SGD(model.parameters(), { lr: 0.5 }),
      callbacks: [new callbacks.TensorBoard({ logDir: at, updateFreq: 2 })],
      ...{ maxEpochs: 2, batches: 3, params: { "a|b": "c\nd", sizes: [1, 2] } },
      results: (epoch: number) => ({ val_loss: epoch }),
    };
    await new HandLoop(plan).run();
    expect(readdirSync(at).sort()).toEqual(["train", "validation"]);
    const [train, validation] = ["train", "validation"].map((name) => {
      const [file, ...more] = readdirSync(join(at, name));
      expect(more).toEqual([]);
      expect(file).toMatch(/^events\.out\.tfevents\.\d+\..+/);
      return eventsIn(join(at, name, file));
    });
    const has = (event: Buffer, ...parts: string[]) => expect(parts.filter((p) => !event.includes(p))).toEqual([]);
    expect(train.length).toBe(7);
    has(train[0], "brain.Event:2");
    has(train[1], "params", "text", "|a\\|b|c d|\n", "|sizes|[1,2]|\n");
    for (const i of [2, 4, 5]) has(train[i], "batch_loss"); // steps 2, 4 and 6
    for (const i of [3, 6]) has(train[i], "epoch_loss", "epoch_learning_rate");
    expect(validation.length).toBe(3);
    has(validation[1], "epoch_loss");
    // With its time taken from it, an event is what the writer makes of the values.
    expect(train[3]).toEqual(scalars(train[3].readDoubleLE(1), 0, { epoch_loss: 1, epoch_learning_rate: 0.5 }));
    expect(validation[2]).toEqual(scalars(validation[2].readDoubleLE(1), 1, { epoch_loss: 1 }));
    expect(() => new callbacks.TensorBoard({ updateFreq: 0 })).toThrow(/must be an integer ≥ 1, got the number 0/);
    expect(() => new callbacks.TensorBoard({ logDir: "" })).toThrow(/logDir must be the path of a folder/);
  });
});

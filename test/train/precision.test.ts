// Mixed precision in the loop: the same as a loop by hand with autocast and GradScaler, on every device.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  amp,
  autocast,
  Callback,
  compile,
  data,
  io,
  manualSeed,
  mseLoss,
  nn,
  optim,
  type Precision,
  type Tensor,
  Trainer,
  type TrainerOptions,
  TrainModule,
  tensor,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const folder = mkdtempSync(join(tmpdir(), "nabla-precision-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Six batches of four; with `spikes`, two of them overflow float16. */
function samples(device: string, spikes: boolean): [Tensor, Tensor] {
  const x = Array.from({ length: 24 }, (_, i) => [Math.sin(i * 1.3), Math.cos(i * 0.7)]);
  const y = x.map(([a, b]) => [a - 0.5 * b]);
  if (spikes) for (const row of [5, 17]) x[row] = [1e6, -1e6];
  return [tensor(x, { device }), tensor(y, { device })];
}

const network = (device: string, seed = 4): nn.Sequential => {
  manualSeed(seed);
  return new nn.Sequential([
    new nn.Linear(2, 8, { device }),
    new nn.LayerNorm(8, { device }),
    new nn.GELU(),
    new nn.Linear(8, 1, { device }),
  ]);
};

class Net extends TrainModule {
  readonly dtypes: string[] = [];
  constructor(
    readonly net: nn.Sequential,
    private readonly optimizer: (params: Tensor[]) => optim.Optimizer<{ lr: number }> = (p) =>
      new optim.Adam(p, { lr: 0.05 }) as never,
  ) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return this.net.forward(x);
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const out = this.forward(x);
    const loss = mseLoss(out, y);
    this.dtypes.push(out.dtype, loss.dtype);
    this.log("loss", loss);
    return loss;
  }
  override validationStep([x, y]: [Tensor, Tensor]): void {
    const out = this.forward(x);
    this.dtypes.push(`validation ${out.dtype}`);
    this.log("val_loss", mseLoss(out, y));
  }
  override configureOptimizers(): optim.Optimizer<{ lr: number }> {
    return this.optimizer([...this.parameters()]);
  }
}

const weightsOf = (model: nn.Module): number[] =>
  [...model.parameters()].flatMap((p) => [...p.flatten().dataSync()].map(Number));
const options = (device: string, precision: Precision, more: TrainerOptions = {}): TrainerOptions => ({
  ...{ device, precision, maxEpochs: 2, verbose: 0 },
  ...more,
});
const loaderOf = ([x, y]: [Tensor, Tensor]) => new data.DataLoader(new data.TensorDataset(x, y), { batchSize: 4 });

/** The loop by hand. */
function byHand(
  net: nn.Sequential,
  [x, y]: [Tensor, Tensor],
  half: "bfloat16" | "float16",
  { clip, batches = 1, captured = true }: { clip?: number; batches?: number; captured?: boolean } = {},
): number {
  const params = [...net.parameters()];
  const optimizer = new optim.Adam(params, { lr: 0.05 });
  const scaler = new amp.GradScaler({ enabled: half === "float16" });
  const gradients = (a: Tensor, b: Tensor): void => {
    const loss = autocast(half, () => mseLoss(net.forward(a), b));
    scaler.scale(batches > 1 ? loss.mul(1 / batches) : loss).backward();
  };
  const update = (): void => {
    scaler.unscale_(optimizer);
    if (clip !== undefined) optim.clipGradNorm_(params, clip);
    scaler.step(optimizer);
    scaler.update();
  };
  const step = (a: Tensor, b: Tensor): void => {
    optimizer.zeroGrad();
    for (let i = 0; i < batches; i++) gradients(a.narrow(0, 4 * i, 4), b.narrow(0, 4 * i, 4));
    update();
  };
  const run = captured ? compile(step) : step;
  for (let epoch = 0; epoch < 2; epoch++) {
    for (let i = 0; i < 24; i += 4 * batches) run(x.narrow(0, i, 4 * batches), y.narrow(0, i, 4 * batches));
  }
  return scaler.getScale();
}

onEveryDevice("mixed precision", (device) => {
  test.each(["bf16", "fp16"] as const)("%s: one recorded program, the bits of the loop by hand", async (precision) => {
    const half = precision === "bf16" ? "bfloat16" : "float16";
    const set = samples(device, precision === "fp16");
    const module = new Net(network(device));
    const trainer = new Trainer(options(device, precision));
    await trainer.fit(module, loaderOf(set), loaderOf(set));
    expect(trainer.eagerReason).toBeUndefined();
    expect(module.dtypes.filter((d) => !d.startsWith("v"))).toEqual([half, "float32"]); // the step ran once, to be recorded
    expect(new Set(module.dtypes.filter((d) => d.startsWith("v")))).toEqual(new Set([`validation ${half}`]));
    const net = network(device);
    const scale = byHand(net, set, half);
    expect(weightsOf(module.net)).toEqual(weightsOf(net));
    expect(weightsOf(module.net).every(Number.isFinite)).toBe(true);
    expect([...module.parameters()].every((p) => p.dtype === "float32")).toBe(true);
    if (precision === "fp16") {
      expect(scale).toBe(65536 / 2 ** 5); // two of six batches overflow, in both epochs; and at first all do
      const { gradients, optimizers } = trainer.stateDict() as never as {
        gradients: { scaler: amp.GradScalerState };
        optimizers: { state: { step: number }[] }[];
      };
      expect(gradients.scaler).toEqual({
        ...{ scale, growthFactor: 2, backoffFactor: 0.5, growthInterval: 2000, growthTracker: 1 },
      });
      expect(optimizers[0].state.map((s) => s.step)).toEqual(new Array(6).fill(7));
      expect(trainer.globalStep).toBe(12);
    }
    const [first] = (await trainer.predict(module, loaderOf(set))) as Tensor[];
    expect(first.dtype).toBe("float32");
    const expected = autocast(half, () => module.forward(set[0].narrow(0, 0, 4))).to("float32");
    expect(first.toArray()).toEqual(expected.toArray());
  });

  test("operation by operation, clipped and accumulated, also over an overflow", async () => {
    const set = samples(device, true);
    for (const captured of [true, false]) {
      const module = new Net(network(device));
      const more = { accumulateGradBatches: 2, gradientClipVal: 0.5, compile: captured };
      await new Trainer(options(device, "fp16", more)).fit(module, loaderOf(set));
      const net = network(device);
      byHand(net, set, "float16", { clip: 0.5, batches: 2, captured: false });
      const [got, expected] = [weightsOf(module.net), weightsOf(net)];
      got.forEach((w, i) => {
        expect(w).toBeCloseTo(expected[i], captured ? 2 : 5);
      });
      expect(new Set(got.map((w) => Math.round(w * 1e4))).size).toBeGreaterThan(20);
    }
  });

  test.each(["bf16", "fp16"] as const)("%s: stopped anywhere and continued, the same bits", async (precision) => {
    const set = samples(device, precision === "fp16");
    const whole = new Net(network(device));
    const trainer = new Trainer(options(device, precision));
    await trainer.fit(whole, loaderOf(set));
    const final = JSON.stringify((trainer.stateDict() as Record<string, Record<string, unknown>>).gradients.scaler);
    for (const at of [2, 5, 8]) {
      const path = join(folder, `${device}-${precision}-${at}.ckpt`);
      class Cut extends Callback {
        override onTrainBatchEnd(): void {
          if (this.loop.globalStep === at) (this.loop as Trainer).interrupt();
        }
      }
      const begun = new Trainer(options(device, precision, { callbacks: [new Cut()] }));
      await begun.fit(new Net(network(device)), loaderOf(set));
      expect(begun.globalStep).toBe(at);
      await io.save(path, begun.stateDict());
      const rest = new Net(network(device, 5));
      const continued = new Trainer(options(device, precision, { resumeFrom: path }));
      await continued.fit(rest, loaderOf(set));
      expect(weightsOf(rest.net)).toEqual(weightsOf(whole.net));
      const state = continued.stateDict() as Record<string, Record<string, unknown>>;
      expect(JSON.stringify(state.gradients.scaler)).toBe(final);
    }
  });

  test.each(["bf16", "fp16"] as const)("%s: model.compile, fit, evaluate and predict", async (precision) => {
    const [x, y] = samples(device, false);
    const model = network(device);
    model.compile({
      optimizer: new optim.Adam(model.parameters(), { lr: 0.05 }),
      loss: "mse",
      metrics: ["mae"],
      precision,
    });
    const half = precision === "bf16" ? "bfloat16" : "float16";
    const directory = join(folder, `keras-${device}-${precision}`);
    const { history } = await model.fit(x, y, { epochs: 2, batchSize: 4, shuffle: false, verbose: 0, directory });
    const net = network(device);
    byHand(net, [x, y], half);
    expect(weightsOf(model)).toEqual(weightsOf(net));
    expect(history.loss[1]).toBeLessThan(history.loss[0]);
    const predicted = await model.predict(x);
    expect(predicted.dtype).toBe("float32");
    // Captured, as predict is: what is fused keeps its values in between in float32.
    const forward = compile((t: Tensor) => model.forward(t));
    const [low, full] = [autocast(half, () => forward(x)).to("float32"), model.forward(x)];
    expect(predicted.toArray()).toEqual(low.toArray());
    expect(predicted.toArray()).not.toEqual(full.toArray());
    const { mae } = await model.evaluate(x, y, { verbose: 0 });
    const expected = low.sub(y).abs().mean().item() as number;
    expect(Math.abs(mae - expected)).toBeLessThan(precision === "bf16" ? 2 ** -8 : 2 ** -11);
    expect(JSON.parse(readFileSync(join(directory, "run.json"), "utf8")).params.precision).toBe(precision);
    expect(JSON.parse(readFileSync(join(directory, "log.jsonl"), "utf8").split("\n")[0]).precision).toBe(precision);
    const { loss } = await model.trainOnBatch(x, y);
    expect(Number.isFinite(loss)).toBe(true);
  });

  test("an optimizer whose steps only the host can count runs operation by operation", async () => {
    const set = samples(device, true);
    const module = new Net(network(device), (p) => new optim.NAdam(p, { lr: 0.05 }) as never);
    const trainer = new Trainer(options(device, "fp16"));
    await trainer.fit(module, loaderOf(set));
    expect(trainer.eagerReason).toMatch(/NAdam/);
    expect(weightsOf(module.net).every(Number.isFinite)).toBe(true);
    expect(trainer.optimizers[0].stateDict().state[0].step).toBe(7);
  });
});

describe("mistakes in precision", () => {
  test("names", async () => {
    const told = (precision: unknown) => () => new Trainer({ device: "js", precision: precision as Precision });
    expect(told("bf16-mixed")).toThrow(
      'Trainer: precision must be one of "float32", "bf16", "fp16", "float64", got the string "bf16-mixed"; did you mean "bf16"?',
    );
    for (const [name, meant] of [
      ["16-mixed", "fp16"],
      [16, "fp16"],
      ["bfloat16", "bf16"],
      ["32-true", "float32"],
      ["64", "float64"],
      ["mixed_float16", "fp16"],
    ]) {
      expect(told(name)).toThrow(`did you mean "${meant}"?`);
    }
    expect(told("int8")).toThrow(/got the string "int8"$/);
    const model = network("js");
    const compiled = (precision: unknown) => () => model.compile({ loss: "mse", precision: precision as "bf16" });
    expect(compiled("mixed_bfloat16")).toThrow(/^compile: precision must be.*did you mean "bf16"/);
    model.compile({ loss: "mse" });
    const [x, y] = samples("js", false);
    const given = { precision: "bf16" } as object;
    await expect(model.fit(x, y, given)).rejects.toThrow(/precision is an option of compile/);
    expect(compiled("float64")).toThrow(/"float32", "bf16", "fp16", got/);
  });

  test("what it cannot be used with", async () => {
    const set = samples("js", false);
    const train = (module: TrainModule, precision: Precision) =>
      new Trainer(options("js", precision, { numSanityValSteps: 0 })).fit(module, loaderOf(set), loaderOf(set));
    class Late extends Net {
      override trainingStep = (async (batch: [Tensor, Tensor]) => super.trainingStep(batch)) as never;
    }
    await expect(train(new Late(network("js")), "bf16")).rejects.toThrow(/trainingStep is async/);
    class Looks extends Net {
      override async validationStep(batch: [Tensor, Tensor]): Promise<void> {
        super.validationStep(batch);
      }
    }
    await expect(train(new Looks(network("js")) as never, "bf16")).rejects.toThrow(/synchronous code only/);
    const manual = new Net(network("js"));
    manual.automaticOptimization = false;
    await expect(train(manual, "fp16")).rejects.toThrow(/amp.GradScaler/);
    const lbfgs = new Net(network("js"), (p) => new optim.LBFGS(p) as never);
    await expect(train(lbfgs, "fp16")).rejects.toThrow(/LBFGS/);
    const half = new Net(network("js").to("bfloat16") as nn.Sequential);
    await expect(train(half, "bf16")).rejects.toThrow(/float32 weights.*bfloat16 ones/);
  });
});

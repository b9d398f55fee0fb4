// OverfittingMonitor, driven as a training loop drives it.
import { describe, expect, test } from "vitest";
import { data, nn } from "../../lib/index.js";
import type { Loop } from "../../lib/train/callback.js";
import { OverfittingMonitor, type OverfittingMonitorOptions } from "../../lib/train/callbacks/overfitting.js";
import { run } from "../diagnosis/curves.js";

/** Feeds curves to a monitor; returns what it said, and the epoch of the stop. */
function drive(curves: { loss: number[]; val_loss: number[] }, options: OverfittingMonitorOptions = {}) {
  const said: string[] = [];
  const monitor = new OverfittingMonitor({ print: (text) => said.push(text), ...options });
  let stopped: { epoch: number; reason: string } | undefined;
  let now = 0;
  monitor.loop = {
    validates: true,
    stop: (reason: string) => {
      stopped = { epoch: now, reason };
    },
  } as unknown as Loop;
  monitor.onTrainBegin({});
  for (now = 0; now < curves.loss.length && !stopped; now++) {
    monitor.onEpochEnd(now, { loss: curves.loss[now], val_loss: curves.val_loss[now] });
  }
  monitor.onTrainEnd({});
  return { said, stopped, monitor };
}

describe("OverfittingMonitor", () => {
  test("says once when overfitting begins, and at the end what the curves say", () => {
    const { said, stopped, monitor } = drive(run("overfits", 100, 0.02, 1));
    expect(said.length).toBe(2);
    expect(said[0]).toMatch(/^epoch (5|6)\d: The model overfits from epoch \d+ on/);
    expect(said[1]).toMatch(/^The model overfits/);
    expect(monitor.diagnosis?.verdict).toBe("overfits");
    expect(stopped).toBeUndefined();
  });

  // The true curve is 5 % of its fall above its minimum from epoch 58 on.
  test("stops when it is told to, long before the end", () => {
    const { stopped, said } = drive(run("overfits", 100, 0.02, 1), { stop: true });
    expect(stopped?.epoch).toBeLessThan(70);
    expect(stopped?.epoch).toBeGreaterThan(35);
    expect(stopped?.reason).toBe("the model overfits");
    expect(said.length).toBe(2);
  });

  test("is silent while a model fits", () => {
    for (let seed = 0; seed < 5; seed++) {
      const { said, stopped } = drive(run("fits", 60, 0.01, seed), { stop: true });
      expect(stopped).toBeUndefined();
      expect(said.length).toBe(1);
      expect(said[0]).toMatch(/^The model fits/);
    }
  });

  test("stops a run that diverges", () => {
    const loss = [1, 0.8, 0.7, Number.NaN, Number.NaN, Number.NaN];
    const { stopped } = drive({ loss, val_loss: [1, 0.9, 0.8, 0.8, 0.8, 0.8] }, { stop: true, patience: 1 });
    expect(stopped).toEqual({ epoch: 3, reason: "training diverges" });
  });

  test("goes on where its state was saved", () => {
    const curves = run("overfits", 100, 0.02, 1);
    const whole = drive(curves).said;
    const said: string[] = [];
    const print = (text: string) => said.push(text);
    let state: ReturnType<OverfittingMonitor["stateDict"]>;
    for (const [from, to] of [
      [0, 30],
      [30, 100],
    ]) {
      const monitor = new OverfittingMonitor({ print });
      monitor.loop = { validates: true } as unknown as Loop;
      monitor.onTrainBegin({});
      if (from > 0) monitor.loadStateDict(state);
      for (let e = from; e < to; e++) monitor.onEpochEnd(e, { loss: curves.loss[e], val_loss: curves.val_loss[e] });
      state = JSON.parse(JSON.stringify(monitor.stateDict()));
      if (to === 100) monitor.onTrainEnd({});
    }
    expect(said).toEqual(whole);
  });

  test("epochs without validation are passed over", () => {
    const { loss, val_loss } = run("overfits", 60, 0.01, 2);
    const said: string[] = [];
    const monitor = new OverfittingMonitor({ print: (text) => said.push(text) });
    for (let e = 0; e < 60; e++)
      monitor.onEpochEnd(e, e % 2 ? { loss: loss[e] } : { loss: loss[e], val_loss: val_loss[e] });
    expect(monitor.diagnosis?.verdict).toBe("overfits");
    expect(said.length).toBe(1);
  });

  test("refuses wrong options before training and logs without the curve", () => {
    expect(() => new OverfittingMonitor({ patience: 0 })).toThrow(/patience must be an integer ≥ 1/);
    expect(() => new OverfittingMonitor({ mode: "up" as "min" })).toThrow(/mode must be "auto", "min" or "max"/);
    expect(() => new OverfittingMonitor({ stopp: true } as never)).toThrow(/did you mean stop/);
    expect(() => new OverfittingMonitor().onEpochEnd(0, { lss: 1 })).toThrow(
      /there is no value "loss"; did you mean lss\?/,
    );
    const monitor = new OverfittingMonitor();
    monitor.loop = { validates: false } as unknown as Loop;
    expect(() => monitor.onTrainBegin({})).toThrow(/overfitting shows in validation only/);
  });

  test("in fit", async () => {
    const { x, y } = data.makeMoons({ samples: 230, noise: 0.35, seed: 5 });
    const model = new nn.Sequential([new nn.Linear(2, 64), new nn.Tanh(), new nn.Linear(64, 2), new nn.Softmax()]);
    model.compile({ optimizer: "adam", loss: "sparse_categorical_crossentropy" });
    model.optimizer.paramGroups[0].lr = 0.03;
    const said: string[] = [];
    const monitor = new OverfittingMonitor({ stop: true, print: (text) => said.push(text) });
    const history = await model.fit(x.slice(0, 0, 30), y.slice(0, 0, 30), {
      epochs: 150,
      batchSize: 10,
      seed: 1,
      verbose: 0,
      validationData: [x.slice(0, 30, 230), y.slice(0, 30, 230)],
      callbacks: [monitor],
    });
    expect(history.epoch.length).toBeLessThan(150);
    expect(said.length).toBe(2);
    expect(monitor.diagnosis?.verdict).toBe("overfits");
  });
});

// GradScaler against torch.amp.GradScaler on a series with overflows (scripts/figures/amp.py), eager and captured.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { amp, autocast, compile, mul, optim, relu, sum, type Tensor, tensor } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

type Name = "SGD" | "Adam" | "AdamW" | "RMSprop" | "Adagrad" | "Adadelta" | "Adamax" | "NAdam" | "RAdam";
interface Figures {
  overflows: (0 | 1)[];
  scalers: { settings: Record<string, number>; scales: number[]; trackers: number[] }[];
  optimizers: { name: Name; options: Record<string, number | boolean>; path: number[][] }[];
}
const figures: Figures = JSON.parse(readFileSync(new URL("../figures/amp.json", import.meta.url), "utf8"));
const camel = (options: object) =>
  Object.fromEntries(Object.entries(options).map(([k, v]) => [k.replace(/_(.)/g, (_, c) => c.toUpperCase()), v]));

onEveryDevice("GradScaler", (device) => {
  const place = { device };
  /** Gradients of the series, some of which are infinite or NaN. */
  const gradients = (size: number): Tensor[] =>
    figures.overflows.map((overflow, k) => {
      const g = [0, 1, 2].map((i) => Math.fround(Math.sin(k + i)) * (1 + i) * size);
      if (overflow) g[k % 3] = k % 2 ? Number.POSITIVE_INFINITY : Number.NaN;
      return tensor(g, place);
    });
  const weights = (): Tensor => tensor([1, -2, 0.5], { ...place, requiresGrad: true });
  const stepOf =
    (p: Tensor, optimizer: optim.SGD | optim.Adam, scaler: amp.GradScaler) =>
    (g: Tensor): void => {
      optimizer.zeroGrad();
      scaler.scale(sum(mul(p, g))).backward();
      scaler.step(optimizer);
      scaler.update();
    };

  test.each(
    figures.scalers.flatMap((f) => [true, false].map((captured) => [JSON.stringify(f.settings), captured, f] as const)),
  )("the scales are PyTorch's: %s, captured: %s", (_, captured, { settings, scales, trackers }) => {
    const p = weights();
    const scaler = new amp.GradScaler(camel(settings));
    expect(scaler.getScale()).toBe(settings.init_scale);
    const body = stepOf(p, new optim.SGD([p], { lr: 0.1 }), scaler);
    const step = captured ? compile(body) : body;
    const seen = gradients(settings.init_scale > 1e30 ? 2 ** -100 : 1).map((g) => {
      step(g);
      const { scale, growthTracker } = scaler.stateDict();
      return [scale, growthTracker];
    });
    expect(seen).toEqual(scales.map((s, i) => [s, trackers[i]]));
    if (captured) expect((step as { programs?: unknown[] }).programs?.length).toBe(1);
  });

  test.each(
    figures.optimizers.flatMap((f) =>
      [true, false].map((captured) => [f.name, JSON.stringify(f.options), captured, f] as const),
    ),
  )("%s %s skips steps as in PyTorch, captured: %s", (name, _, captured, { options, path }) => {
    const p = weights();
    const optimizer = new optim[name]([p], camel(options) as { lr: number });
    const body = stepOf(p, optimizer as optim.SGD, new amp.GradScaler({ growthInterval: 3 }));
    if (captured && name === "NAdam") {
      expect(() => compile(body)(gradients(1)[0])).toThrow(/NAdam: its numbers follow from all steps so far/);
      return;
    }
    const step = captured ? compile(body) : body;
    let taken = 0;
    gradients(1).forEach((g, k) => {
      step(g);
      if (!figures.overflows[k]) taken++;
      // The state is looked at now and then, which must not change what comes.
      if (k % 5 === 2) expect(optimizer.stateDict().state[0].step).toBe(taken);
      (p.toArray() as number[]).forEach((x, i) => {
        expect(x).toBeCloseTo(path[k][i], 5);
      });
    });
    expect(optimizer.stateDict().state[0].step).toBe(taken);
    if (captured) expect((step as { programs?: unknown[] }).programs?.length).toBe(1);
  });

  test("a skipped step changes no bit, and clipping sees gradients without the scale", () => {
    const run = (bad: boolean): unknown => {
      const p = weights();
      const optimizer = new optim.Adam([p], { lr: 0.1 });
      const scaler = new amp.GradScaler({ initScale: 1024 });
      const step = compile((g: Tensor) => {
        optimizer.zeroGrad();
        scaler.scale(sum(mul(p, g))).backward();
        scaler.unscale_(optimizer);
        const size = optim.clipGradNorm_([p], 1);
        scaler.step(optimizer);
        scaler.update();
        return size;
      });
      const sizes = [3, bad ? Number.POSITIVE_INFINITY : 0, 4].flatMap((x) =>
        x === 0 ? [] : [step(tensor([x, 0, x], place)).item()],
      );
      const { state } = optimizer.stateDict();
      return {
        sizes: sizes.filter((s) => Number.isFinite(s)),
        weights: p.toArray(),
        state: state.map(({ step, slots }) => [step, Object.values(slots).map((t) => t.toArray())]),
      };
    };
    expect(run(true)).toEqual(run(false));
    expect((run(false) as { sizes: number[] }).sizes[0]).toBeCloseTo(3 * Math.SQRT2, 5);
  });

  test("parameters that begin later, and recordings in turns", () => {
    // The second weight has a gradient only where the argument says so.
    const run = (captured: boolean): unknown => {
      const [p, q] = [weights(), weights()];
      const optimizer = new optim.Adam([p, q], { lr: 0.1 });
      const scaler = new amp.GradScaler({ initScale: 64 });
      const body = (g: Tensor, both: boolean): void => {
        optimizer.zeroGrad();
        const loss = sum(mul(p, g));
        scaler.scale(both ? loss.add(sum(mul(q, g))) : loss).backward();
        scaler.step(optimizer);
        scaler.update();
      };
      const step = captured ? compile(body) : body;
      const list = gradients(1);
      [false, false, true, true, false, true, true, true, false].forEach((both, k) => {
        step(list[k], both);
      });
      const { state } = optimizer.stateDict();
      return [p.toArray(), q.toArray(), state.map((s) => s.step)].flat(2);
    };
    const [eager, captured] = [run(false), run(true)] as number[][];
    captured.forEach((x, i) => {
      expect(x).toBeCloseTo(eager[i], 5);
    });
  });

  test("a part is captured and the rest is not; two optimizers", () => {
    const run = (kind: "eager" | "whole" | "part"): unknown => {
      const [p, q] = [weights(), weights()];
      const [a, b] = [new optim.Adam([p], { lr: 0.1 }), new optim.SGD([q], { lr: 0.1 })];
      const scaler = new amp.GradScaler({ initScale: 64, growthInterval: 2 });
      const first = (g: Tensor): void => {
        a.zeroGrad();
        b.zeroGrad();
        scaler.scale(sum(mul(p, g))).backward();
        scaler.scale(sum(q.square())).backward();
        scaler.step(a);
      };
      const second = (): void => {
        scaler.step(b);
        scaler.update();
      };
      const step = (g: Tensor): void => {
        first(g);
        second();
      };
      const call = kind === "whole" ? compile(step) : kind === "eager" ? step : null;
      const captured = compile(first);
      const scales = gradients(1).map((g) => {
        if (call) call(g);
        else {
          captured(g);
          second();
        }
        return scaler.getScale();
      });
      if (kind === "part") expect(captured.programs.length).toBe(1);
      const steps = [a, b].map((o) => o.stateDict().state[0].step);
      return { scales, steps, weights: [p, q].map((t) => (t.toArray() as number[]).map((x) => x.toFixed(5))) };
    };
    const expected = run("eager") as { steps: number[] };
    const skipped = figures.overflows.filter(Boolean).length;
    // The second optimizer's own gradients never overflow.
    expect(expected.steps).toEqual([figures.overflows.length - skipped, figures.overflows.length]);
    expect(run("whole")).toEqual(expected);
    expect(run("part")).toEqual(expected);
  });

  test("the state goes into another scaler, also into one that is captured", () => {
    const p = weights();
    const optimizer = new optim.SGD([p], { lr: 0.1 });
    const scaler = new amp.GradScaler({ growthInterval: 4 });
    const step = compile(stepOf(p, optimizer, scaler));
    const [bad, good] = gradients(1);
    step(bad);
    step(good);
    const state = scaler.stateDict();
    const expected = { scale: 32768, growthFactor: 2, backoffFactor: 0.5, growthInterval: 4, growthTracker: 1 };
    expect(state).toEqual(expected);
    step(bad);
    scaler.loadStateDict(state);
    expect(scaler.stateDict()).toEqual(state);
    step(good);
    expect(scaler.stateDict()).toEqual({ ...state, growthTracker: 2 });
    expect(step.programs.length).toBe(1);
    const other = new amp.GradScaler();
    other.loadStateDict(state);
    expect(other.stateDict()).toEqual(state);
    expect(other.getScale()).toBe(32768);
  });

  test("small gradients survive float16", () => {
    const w = tensor([[1]], { ...place, requiresGrad: true });
    const grad = (scaler: amp.GradScaler): number => {
      const optimizer = new optim.SGD([w], { lr: 0 });
      optimizer.zeroGrad();
      const loss = autocast("float16", () => relu(w.matmul(tensor([[1]], place))))
        .to("float32")
        .mul(2 ** -30);
      scaler.scale(loss.sum()).backward();
      scaler.unscale_(optimizer);
      return w.grad?.item() as number;
    };
    expect(grad(new amp.GradScaler({ initScale: 1 }))).toBe(0);
    expect(grad(new amp.GradScaler())).toBe(2 ** -30);
  });
});

test("calls in the wrong order, and what cannot be scaled", () => {
  const device = "js";
  const p = tensor([1, 2], { device, requiresGrad: true });
  const optimizer = new optim.SGD([p], { lr: 1 });
  const scaler = new amp.GradScaler({ initScale: 8 });
  expect(() => scaler.step(optimizer)).toThrow(/no gradients of a scaled loss in SGD's parameters/);
  expect(() => scaler.update()).toThrow(/update comes after step/);
  scaler.scale(p.sum()).backward();
  scaler.unscale_(optimizer);
  expect(p.grad?.toArray()).toEqual([1, 1]);
  expect(() => scaler.unscale_(optimizer)).toThrow(/unscale_ has been called/);
  scaler.step(optimizer);
  expect(() => scaler.step(optimizer)).toThrow(/step has been called since the last update/);
  expect(() => scaler.unscale_(optimizer)).toThrow(/unscale_ comes before step/);
  scaler.update();
  expect(p.toArray()).toEqual([0, 1]);
  expect(() => scaler.step(new optim.LBFGS([p]))).toThrow(/LBFGS/);
  const half = tensor([1], { device, dtype: "float16", requiresGrad: true });
  scaler.scale(half.sum()).backward();
  expect(() => scaler.step(new optim.SGD([half], { lr: 1 }))).toThrow(/a parameter is float16.*float32 weights/);

  const off = new amp.GradScaler({ enabled: false });
  const loss = p.sum();
  expect(off.scale(loss)).toBe(loss);
  off.unscale_(optimizer);
  off.step(optimizer);
  off.update();
  expect(off.getScale()).toBe(1);

  const settings: [object, RegExp][] = [
    [{ initScale: 0 }, /initScale must be a number > 0, got the number 0/],
    [{ growthFactor: 1 }, /growthFactor must be a number > 1/],
    [{ backoffFactor: 1 }, /backoffFactor must be a number in \(0, 1\)/],
    [{ growthInterval: 0.5 }, /growthInterval must be an integer/],
    [{ init_scale: 2 }, /did you mean initScale/],
  ];
  for (const [options, message] of settings) expect(() => new amp.GradScaler(options)).toThrow(message);
});

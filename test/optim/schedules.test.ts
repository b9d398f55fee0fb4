// Learning-rate schedules against PyTorch's rates, L-BFGS against its path, Lion against its paper, and clipping.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compile, mul, optim, sum, type Tensor, tensor, zeros } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const read = (name: string) => JSON.parse(readFileSync(new URL(`../figures/${name}.json`, import.meta.url), "utf8"));
const camel = (key: string) => key.replace(/_(.)/g, (_, c) => c.toUpperCase()).replace(/^T/, "t");
const camelKeys = (o: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(o).map(([k, v]) => [camel(k), v === "strong_wolfe" ? "strongWolfe" : v])) as Record<
    string,
    never
  >;

interface Schedule {
  name: string;
  args: unknown[];
  options: Record<string, unknown>;
  sgd: { momentum?: number };
  rates: number[][];
  momenta: number[][];
}
const METRICS = [1.0, 0.9, 0.9, 0.95, 0.9, 0.89999, 0.7, 0.71, 0.72, 0.73, 0.7, 0.69999];

/** Keyword arguments of PyTorch that are positional here, in order. */
const positional: Record<string, string[]> = {
  StepLR: ["gamma"],
  MultiStepLR: ["gamma"],
  ExponentialLR: [],
  LambdaLR: [],
  ConstantLR: ["factor", "totalIters"],
  LinearLR: ["startFactor", "endFactor", "totalIters"],
  PolynomialLR: ["totalIters", "power"],
  CosineAnnealingLR: ["etaMin"],
  CosineAnnealingWarmRestarts: ["tMult", "etaMin"],
};

function make({ name, args, options, sgd }: Schedule) {
  const optimizer = new optim.SGD([{ params: [zeros([1])] }, { params: [zeros([1])], lr: 0.1 }], { lr: 0.5, ...sgd });
  const settings = camelKeys(options) as Record<string, unknown>;
  const given = args.map((a) => (a === "1 / (1 + e)" ? (e: number) => 1 / (1 + e) : a));
  const rest = positional[name] ? positional[name].map((k) => settings[k]) : [settings];
  const Scheduler = (optim as unknown as Record<string, new (...a: unknown[]) => optim.LRScheduler>)[name];
  return { optimizer, scheduler: new Scheduler(optimizer, ...given, ...rest) };
}

const schedules: Schedule[] = read("schedules");
test.each(schedules.map((s) => [`${s.name} ${JSON.stringify([...s.args, s.options])}`, s] as const))(
  "%s",
  (_, figure) => {
    let { optimizer, scheduler } = make(figure);
    figure.rates.forEach((rates, i) => {
      scheduler.getLastLr().forEach((lr, g) => {
        expect(lr, `step ${i}`).toBeCloseTo(rates[g], 12);
        expect(optimizer.paramGroups[g].momentum, `step ${i}`).toBeCloseTo(figure.momenta[i][g], 12);
      });
      if (i === 5) {
        // A state that is saved and restored goes on as if nothing had happened.
        const state = JSON.parse(JSON.stringify(scheduler.stateDict()));
        const lrs = scheduler.getLastLr();
        ({ optimizer, scheduler } = make(figure));
        scheduler.loadStateDict(state);
        optimizer.paramGroups.forEach((g, k) => {
          g.lr = lrs[k];
        });
      }
      if (i < METRICS.length) (scheduler.step as (metric?: number) => void).call(scheduler, METRICS[i]);
    });
  },
);

test("schedules one after the other, and what they refuse", () => {
  const optimizer = new optim.SGD([zeros([1])], { lr: 1 });
  const warm = new optim.LinearLR(optimizer, 0.25, 1, 3);
  const decay = new optim.ExponentialLR(optimizer, 0.5);
  const both = new optim.SequentialLR(optimizer, [warm, decay], [3]);
  const rates = Array.from({ length: 6 }, () => {
    const [lr] = both.getLastLr();
    both.step();
    return lr;
  });
  expect(rates).toEqual([0.25, 0.5, 0.75, 1, 0.5, 0.25]);
  expect(() => new optim.StepLR(optimizer, 0)).toThrow(/StepLR: stepSize must be an integer ≥ 1, got the number 0/);
  expect(() => new optim.StepLR({} as optim.SGD, 1)).toThrow(/an optimizer is needed first, got a plain object/);
  expect(() => new optim.ReduceLROnPlateau(optimizer).step()).toThrow(/step needs the metric/);
  expect(() => new optim.OneCycleLR(optimizer, { maxLr: 1 })).toThrow(/totalSteps must be an integer ≥ 1/);
});

onEveryDevice("more optimizers", (device) => {
  const f64 = { dtype: "float64", device } as const;

  test.each(
    (read("lbfgs") as { options: Record<string, unknown>; path: number[][] }[]).map(
      (f) => [JSON.stringify(f.options), f] as const,
    ),
  )("L-BFGS on Rosenbrock's function %s", (_, { options, path }) => {
    const p = tensor([-1.2, 1], { ...f64, requiresGrad: true });
    const optimizer = new optim.LBFGS([p], camelKeys(options));
    for (const expected of path) {
      optimizer.step(() => {
        optimizer.zeroGrad();
        const [x, y] = [p.select(0, 0), p.select(0, 1)];
        const loss = x.neg().add(1).square().add(y.sub(x.square()).square().mul(100));
        loss.backward();
        return loss;
      });
      (p.toArray() as number[]).forEach((v, i) => {
        expect(v).toBeCloseTo(expected[i], 7);
      });
    }
  });

  test("Lion steps by the sign of its momentum", () => {
    const p = tensor([1, -2, 0.5], { ...f64, requiresGrad: true });
    const optimizer = new optim.Lion([p], { lr: 0.1, betas: [0.9, 0.99], weightDecay: 0.2 });
    const expected = [1, -2, 0.5];
    const m = [0, 0, 0];
    for (let k = 0; k < 5; k++) {
      const g = [0, 1, 2].map((i) => Math.sin(k + i) * (1 + i));
      optimizer.zeroGrad();
      sum(mul(p, tensor(g, f64))).backward();
      optimizer.step();
      expected.forEach((v, i) => {
        expected[i] = v * (1 - 0.1 * 0.2) - 0.1 * Math.sign(0.9 * m[i] + 0.1 * g[i]);
        m[i] = 0.99 * m[i] + 0.01 * g[i];
      });
      (p.toArray() as number[]).forEach((v, i) => {
        expect(v).toBeCloseTo(expected[i], 12);
      });
    }
  });

  test.each([false, true])("gradients are clipped, captured: %s", (captured) => {
    const ps = [tensor([3, 0], { ...f64, requiresGrad: true }), tensor([4], { ...f64, requiresGrad: true })];
    const fn = (maxNorm: number, p: number): Tensor => {
      for (const x of ps) x.grad = null;
      ps.map((x) => sum(x.square()).mul(0.5))
        .reduce((a, b) => a.add(b))
        .backward();
      return optim.clipGradNorm_(ps, maxNorm, p);
    };
    const clip = captured ? compile(fn) : fn;
    expect(clip(1, 2).item()).toBeCloseTo(5, 12);
    const first = (x: Tensor): number => (x.grad as Tensor).select(0, 0).item() as number;
    expect(first(ps[0])).toBeCloseTo(3 / 5, 6);
    expect(first(ps[1])).toBeCloseTo(4 / 5, 6);
    expect(clip(10, 2).item()).toBeCloseTo(5, 12);
    expect(ps[0].grad?.toArray()).toEqual([3, 0]);
    expect(clip(2, Number.POSITIVE_INFINITY).item()).toBe(4);
    expect(first(ps[1])).toBeCloseTo(2, 5);
    optim.clipGradValue_(ps, 1);
    expect(ps.map((x) => x.grad?.toArray())).toEqual([[1, 0], [1]]);
  });
});

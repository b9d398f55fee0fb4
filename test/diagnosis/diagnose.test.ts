// diagnose on curves whose kind is known, and on those of real trainings.
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type Diagnosis, diagnose, type Verdict } from "../../lib/diagnosis/diagnose.js";
import * as nabla from "../../lib/index.js";
import { History } from "../../lib/train/history.js";
import { kinds, run } from "./curves.js";

/** Share of seeds for which the verdict is this. */
function share(kind: keyof typeof kinds, n: number, deviation: number, verdict: Verdict, ar = 0, seeds = 40): number {
  const found = Array.from({ length: seeds }, (_, seed) => diagnose(run(kind, n, deviation, seed, ar)).verdict);
  return found.filter((v) => v === verdict).length / seeds;
}

const verdictOf: Record<keyof typeof kinds, Verdict> = {
  fits: "fits",
  plateau: "fits",
  overfits: "overfits",
  wide: "overfits",
  still: "underfits",
  diverges: "diverges",
  flat: "underfits",
};

describe("diagnose on made-up curves", () => {
  test.each(Object.keys(kinds) as (keyof typeof kinds)[])("%s, from 10 to 400 epochs", (kind) => {
    const wanted = verdictOf[kind];
    for (const n of [10, 20, 50, 100, 400]) {
      expect(diagnose(run(kind, n, 0, 0)).verdict, `${n} epochs without noise`).toBe(wanted);
    }
    for (const n of [20, 50, 100]) expect(share(kind, n, 0.01, wanted), `${n} epochs`).toBeGreaterThanOrEqual(0.8);
    expect(share(kind, 100, 0.05, wanted), "more noise").toBeGreaterThanOrEqual(0.8);
    expect(share(kind, 100, 0.05, wanted, 0.7), "autocorrelated noise").toBeGreaterThanOrEqual(0.7);
  });

  test("false alarms on a plateau are rare", () => {
    for (const ar of [0, 0.7]) {
      const alarms = share("plateau", 60, 0.05, "overfits", ar, 100) + share("plateau", 60, 0.05, "diverges", ar, 100);
      expect(alarms).toBeLessThanOrEqual(0.1);
    }
  });

  test("where the noise hides everything it says so, and is not sure of anything else", () => {
    const found = Array.from({ length: 40 }, (_, seed) => diagnose(run("overfits", 10, 0.4, seed)));
    expect(found.filter((d) => d.verdict === "too short to say").length).toBeGreaterThan(12);
    expect(found.filter((d) => d.verdict === "fits" && d.confidence > 0.9)).toEqual([]);
  });

  test("the epoch in which overfitting begins", () => {
    // The minimum of the curve itself: 12.8·e^(−8s) = 0.8, but not before s = 0.3.
    const turn = 100 * Math.log(16) * (1 / 8);
    const since = Array.from({ length: 20 }, (_, seed) => diagnose(run("overfits", 100, 0.02, seed)).since as number);
    for (const epoch of since) expect(Math.abs(epoch - turn)).toBeLessThan(15);
    const { bestEpoch, text, prechelt } = diagnose(run("overfits", 100, 0, 0));
    expect(bestEpoch).toBe(35);
    expect(text).toContain("overfits from epoch 3");
    expect(text).toContain("The best validation loss was 0.637");
    expect(text).toContain("in epoch 36 of 100");
    expect(prechelt?.generalizationLoss).toBeGreaterThan(50);
    expect(prechelt?.successiveIncreases).toBe(13);
  });

  test("advice follows the verdict", () => {
    const advice = (kind: keyof typeof kinds): string => diagnose(run(kind, 100, 0.01, 1)).advice.join("; ");
    expect(advice("overfits")).toMatch(/stop at epoch \d+ .*more training data.*weight decay.*dropout.*smaller model/);
    expect(advice("diverges")).toMatch(/smaller learning rate/);
    expect(advice("still")).toMatch(/train longer.*larger learning rate/);
    expect(advice("fits")).toMatch(/nothing has to change/);
  });
});

describe("diagnose does not depend on", () => {
  const curves = fc
    .tuple(
      fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[])),
      fc.nat(1000),
      fc.integer({ min: 6, max: 60 }),
    )
    .map(([kind, seed, n]) => run(kind, n, 0.03, seed));
  const same = (a: Diagnosis, b: Diagnosis) => {
    expect([b.verdict, b.since, b.bestEpoch]).toEqual([a.verdict, a.since, a.bestEpoch]);
    expect(b.confidence).toBeCloseTo(a.confidence, 6);
  };
  const mapped = ({ loss, val_loss }: { loss: number[]; val_loss: number[] }, f: (v: number) => number) => ({
    loss: loss.map(f),
    val_loss: val_loss.map(f),
  });

  test("the level and the unit of the curves", () => {
    fc.assert(
      fc.property(curves, fc.integer({ min: -6, max: 8 }), fc.integer({ min: -8, max: 8 }), (c, power, shift) => {
        // Powers of two and few digits, so that rounding cannot make a difference at a threshold.
        const at = mapped(c, (v) => Math.round(v * 2 ** 20) / 2 ** 20);
        const a = diagnose(at);
        const b = diagnose(mapped(at, (v) => v * 2 ** power + shift * 2 ** power));
        same(a, b);
        expect(b.gap).toBeCloseTo(a.gap * 2 ** power, 6);
      }),
      { numRuns: 60 },
    );
  });

  test("whether it sees losses or the accuracies that mirror them", () => {
    fc.assert(
      fc.property(curves, (c) =>
        same(
          diagnose(c),
          diagnose(
            mapped(c, (v) => -v),
            { mode: "max" },
          ),
        ),
      ),
      { numRuns: 40 },
    );
  });

  test("the numbers of the epochs, which it returns", () => {
    fc.assert(
      fc.property(curves, fc.nat(100), (c, first) => {
        const epoch = c.loss.map((_, i) => first + i);
        const [a, b] = [diagnose(c), diagnose({ epoch, history: c })];
        expect(b.since).toBe(a.since === null ? null : a.since + first);
        expect(b.bestEpoch).toBe((a.bestEpoch as number) + first);
      }),
      { numRuns: 30 },
    );
  });
});

describe("diagnose takes", () => {
  const c = run("overfits", 30, 0.01, 4);
  const expected = diagnose(c);

  test("a History, its curves, arrays", () => {
    const history = new History();
    c.loss.forEach((loss, i) => {
      history.push(i, { loss, val_loss: c.val_loss[i] });
    });
    expect(diagnose(history)).toEqual(expected);
    expect(diagnose(history.history)).toEqual(expected);
    const arrays = diagnose(null, { train: c.loss, validation: Float64Array.from(c.val_loss) });
    expect(arrays).toEqual({ ...expected, summary: arrays.summary, text: arrays.text });
    const named = diagnose({ a: c.loss, b: c.val_loss }, { train: "a", validation: "b", mode: "min" });
    expect(named.verdict).toBe("overfits");
  });

  test("accuracies, by their name", () => {
    const rising = { accuracy: c.loss.map((v) => 1 - v / 4), val_accuracy: c.val_loss.map((v) => 1 - v / 4) };
    const found = diagnose(rising, { train: "accuracy", validation: "val_accuracy" });
    expect([found.verdict, found.bestEpoch]).toEqual(["overfits", expected.bestEpoch]);
    expect(found.summary).toMatch(/the validation accuracy fell from 0\.8\d+ to 0\.7\d+/);
    expect(found.prechelt).toBeNull();
  });

  test("epochs without validation", () => {
    const sparse = c.val_loss.map((v, i) => (i % 2 ? v : Number.NaN));
    const found = diagnose({ loss: c.loss, val_loss: sparse });
    expect(found.verdict).toBe("overfits");
    expect((found.bestEpoch as number) % 2).toBe(1);
  });

  test("curves that end in NaN or Infinity", () => {
    const broken = diagnose({ loss: [...c.loss.slice(0, 9), Number.NaN], val_loss: c.val_loss.slice(0, 10) });
    expect(broken).toMatchObject({ verdict: "diverges", since: 9, confidence: 1 });
    expect(broken.text).toContain("the training loss is NaN in epoch 10");
    const infinite = diagnose({ loss: [1, 1], val_loss: [1, Number.POSITIVE_INFINITY] });
    expect(infinite).toMatchObject({ verdict: "diverges", since: 1 });
  });

  test("a loss that jumps above its start in the last epoch", () => {
    const jumped = diagnose({ loss: [...c.loss.slice(0, 12), 50], val_loss: [...c.val_loss.slice(0, 12), 60] });
    expect(jumped.verdict).toBe("diverges");
    expect(jumped.text).toContain("worse than at the start");
  });

  test("short and empty curves", () => {
    expect(diagnose({ loss: [1, 0.9, 0.8], val_loss: [1, 0.9, 0.8] })).toMatchObject({
      verdict: "too short to say",
      since: null,
      bestEpoch: 2,
      confidence: 0,
    });
    expect(diagnose({ loss: [], val_loss: [] })).toMatchObject({ verdict: "too short to say", bestEpoch: null });
  });

  test("a baseline, against which a low loss is far and a high one is not", () => {
    const flat = run("flat", 50, 0.005, 2);
    expect(diagnose(flat, { baseline: Math.LN2 + 0.01 })).toMatchObject({ verdict: "underfits" });
    expect(diagnose(flat, { baseline: 5 })).toMatchObject({ verdict: "fits" });
    const stuck = run("fits", 60, 0.01, 3);
    const up = { loss: stuck.loss.map((v) => v + 1.5), val_loss: stuck.val_loss.map((v) => v + 1.5) };
    const found = diagnose(up, { baseline: 3 });
    expect(found.verdict).toBe("underfits");
    expect(found.text).toMatch(/47 % of the way from the baseline 3 to 0/);
    expect(diagnose(up, { baseline: 3, goal: 1.5 }).verdict).toBe("fits");
  });
});

describe("diagnose refuses", () => {
  const c = { loss: [1, 2], val_loss: [1, 2], accuracy: [1, 2] };
  test.each([
    ["an unknown name", c, { validation: "valloss" }, /no curve "valloss" for validation; did you mean val_loss\?/],
    ["an unknown option", c, { trian: "loss" }, /did you mean train\?/],
    ["different lengths", { loss: [1], val_loss: [1, 2] }, {}, /got 1 of training loss and 2 of validation loss/],
    ["a wrong mode", c, { mode: "up" }, /mode must be "auto", "min" or "max"/],
    [
      "a name that does not say",
      { a: [1], b: [1] },
      { train: "a", validation: "b" },
      /pass mode: "max" or mode: "min"/,
    ],
    ["a wrong tolerance", c, { tolerance: 5 }, /a share between 0 and 1/],
    ["a baseline better than the goal", c, { baseline: -1 }, /baseline must be worse than goal/],
    ["what is no history", 3, {}, /a History or curves by name are needed, got the number 3/],
  ] as const)("%s", (_, history, options, message) => {
    expect(() => diagnose(history as never, options as never)).toThrow(message);
  });
});

describe("curves of real trainings", () => {
  const { nn, optim, data } = nabla;
  beforeAll(() => nabla.manualSeed(3));

  /** Trains on the first half of noisy moons and looks at the second. */
  function train(hidden: number, samples: number, epochs: number, lr: number): Diagnosis {
    const { x, y } = data.makeMoons({ samples: samples + 400, noise: 0.35, seed: 5 });
    const [xt, yt] = [x.slice(0, 0, samples), y.slice(0, 0, samples)];
    const [xv, yv] = [x.slice(0, samples, samples + 400), y.slice(0, samples, samples + 400)];
    const model = new nn.Sequential([new nn.Linear(2, hidden), new nn.Tanh(), new nn.Linear(hidden, 2)]);
    const optimizer = new optim.Adam(model.parameters(), { lr });
    const step = nabla.compile((a: nabla.Tensor, b: nabla.Tensor) => {
      optimizer.zeroGrad();
      const loss = nabla.crossEntropy(model.forward(a), b);
      loss.backward();
      optimizer.step();
      return loss;
    });
    const history = new History();
    for (let epoch = 0; epoch < epochs; epoch++) {
      let loss = 0;
      for (let i = 0; i < 5; i++) loss += step(xt, yt).item() / 5;
      const val_loss = nabla.noGrad(() => nabla.crossEntropy(model.forward(xv), yv).item());
      history.push(epoch, { loss, val_loss });
    }
    return diagnose(history, { baseline: Math.LN2 });
  }

  test("many parameters, few samples: overfits", () => {
    const found = train(64, 24, 120, 0.03);
    expect(found.verdict).toBe("overfits");
    expect(found.confidence).toBeGreaterThan(0.95);
    expect(found.gap).toBeGreaterThan(0.3);
  });
  test("few parameters, many samples: fits", () => {
    expect(train(4, 600, 120, 0.03).verdict).toBe("fits");
  });
  test("a tiny learning rate: underfits", () => {
    const found = train(16, 200, 30, 3e-4);
    expect(found.verdict).toBe("underfits");
    expect(found.advice.join()).toContain("larger learning rate");
  });
  test("a huge learning rate does not fit", () => {
    expect(["diverges", "underfits", "too short to say"]).toContain(train(64, 200, 60, 30).verdict);
  });
});

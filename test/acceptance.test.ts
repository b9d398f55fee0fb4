// The figures of the lesson that this project grew from, from its stored inputs, on every device.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  compile,
  crossEntropy,
  eye,
  mean,
  mseLoss,
  nn,
  noGrad,
  optim,
  sqrt,
  type Tensor,
  tensor,
} from "../lib/index.js";
import { onEveryDevice } from "./devices.js";

const read = (name: string) => JSON.parse(readFileSync(new URL(`data/${name}`, import.meta.url), "utf8"));
const flat = (t: Tensor): number[] => Array.from(t.dataSync() as Float64Array);

onEveryDevice("formula gradients", (device) => {
  const values = {
    a: [
      [3, 1],
      [2, 5],
    ],
    b: [
      [4, 2],
      [1, 12],
    ],
  };
  const make = (v: number[][]) => tensor(v, { requiresGrad: true, dtype: "float64", device });
  const root = (a: Tensor, b: Tensor) => sqrt(a.square().add(b.square()));

  test("c = mean(√(a² + b²)) has ∂c/∂a = a / (N·√(a² + b²))", () => {
    const [a, b] = [make(values.a), make(values.b)];
    const c = mean(root(a, b));
    expect(String(c)).toContain("MeanBackward");
    c.backward();
    values.a.flat().forEach((x, i) => {
      const y = values.b.flat()[i];
      expect(flat(a.grad!)[i]).toBeCloseTo(x / (4 * Math.hypot(x, y)), 12);
      expect(flat(b.grad!)[i]).toBeCloseTo(y / (4 * Math.hypot(x, y)), 12);
    });
  });

  test("three passes with retainGraph triple the gradient, zeroing restores it", () => {
    const [a, b] = [make(values.a), make(values.b)];
    const c = mean(root(a, b));
    c.backward({ retainGraph: true });
    const once = flat(a.grad!);
    c.backward({ retainGraph: true });
    c.backward({ retainGraph: true });
    flat(a.grad!).forEach((g, i) => {
      expect(g).toBeCloseTo(3 * once[i], 12);
    });
    a.grad = null;
    c.backward();
    expect(flat(a.grad!)).toEqual(once);
    expect(() => c.backward()).toThrow(/already used/);
  });

  test("backward(eye(2)) of a matrix adds to the diagonal only", () => {
    const [a, b] = [make(values.a), make(values.b)];
    root(a, b).backward(eye(2, { dtype: "float64", device }));
    const g = flat(a.grad!);
    expect(g[0]).toBeCloseTo(3 / 5, 12);
    expect(g[3]).toBeCloseTo(5 / 13, 12);
    expect([g[1], g[2]]).toEqual([0, 0]);
  });
});

onEveryDevice("example 0: minimise (x₁−3)² + (x₂+2)²", (device) => {
  const run = (step: (x: Tensor) => void) => {
    const x = tensor([0, 0], { requiresGrad: true, device });
    const path: number[][] = [];
    for (let k = 0; k < 15; k++) {
      step(x);
      path.push(flat(x));
    }
    path.forEach(([x1, x2], k) => {
      expect(x1).toBeCloseTo(3 * (1 - 0.8 ** (k + 1)), 5);
      expect(x2).toBeCloseTo(-2 * (1 - 0.8 ** (k + 1)), 5);
    });
    expect(path[14][0]).toBeCloseTo(2.894446849822998, 6);
    expect(path[14][1]).toBeCloseTo(-1.929631233215332, 6);
  };
  const body = (x: Tensor) => {
    x.grad = null;
    x.sub(tensor([3, -2], { device }))
      .square()
      .sum()
      .backward();
    noGrad(() => x.sub_(x.grad!.mul(0.1)));
  };
  test("by hand", () => run(body));
  test("with SGD", () => {
    let optimizer: optim.SGD | undefined;
    run((x) => {
      optimizer ??= new optim.SGD([x], { lr: 0.1 });
      optimizer.zeroGrad();
      x.sub(tensor([3, -2], { device }))
        .square()
        .sum()
        .backward();
      optimizer.step();
    });
  });
  test("captured", () => {
    let step: (() => void) | undefined;
    run((x) => {
      step ??= compile(() => body(x));
      step();
    });
  });
});

onEveryDevice("linear regression", (device) => {
  const losses = [94.5247, 9.3428, 1.4166, 0.5224, 0.3807, 0.3495, 0.3413, 0.339, 0.3384, 0.3382];

  test.each(["eager", "captured"])("%s, ten epochs of batches of 4", (how) => {
    const data = read("linreg_seed13.json");
    const pick = (key: string) => data.perm.map((i: number) => data[key][i]) as number[];
    const [xs, ys] = [pick("x"), pick("y")];
    const w = tensor(100, { requiresGrad: true, device });
    const b = tensor(0, { requiresGrad: true, device });
    const optimizer = new optim.SGD([w, b], { lr: 0.1 });
    const body = (x: Tensor, y: Tensor) => {
      optimizer.zeroGrad();
      const loss = mseLoss(x.mul(w).add(b), y);
      loss.backward();
      optimizer.step();
      return loss;
    };
    const step = how === "captured" ? compile(body) : body;
    losses.forEach((expected) => {
      let loss: Tensor | undefined;
      for (let i = 0; i < xs.length; i += 4) {
        loss = step(tensor(xs.slice(i, i + 4), { device }), tensor(ys.slice(i, i + 4), { device }));
      }
      expect(loss!.item()).toBeCloseTo(expected, 3);
    });
    expect(w.item()).toBeCloseTo(1.8616779, 5);
    expect(b.item()).toBeCloseTo(1.0710956, 5);
  });
});

onEveryDevice("own framework", (device) => {
  const data = read("own_flip020.json");
  const x = () => tensor(data.x, { dtype: "float64", device });
  const y = () => tensor(data.y, { dtype: "int64", device });
  const layer = (weights: number[][]) => {
    const linear = new nn.Linear(2, 2, { dtype: "float64", device });
    noGrad(() => {
      linear.weight.copy_(tensor(weights, { dtype: "float64", device }));
      linear.bias!.zero_();
    });
    return linear;
  };

  test("cross-entropy of the first ten through the first weights", () => {
    const loss = crossEntropy(layer(data.linear2x2_W1).forward(x().slice(0, 0, 10)), y().slice(0, 0, 10));
    expect(loss.item()).toBeCloseTo(1.429664938969559, 12);
  });

  test("one epoch from the third weights", () => {
    const model = layer(data.linear2x2_W3);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const score = (from: number, to: number) =>
      noGrad(() => {
        const logits = model.forward(x().slice(0, from, to));
        const target = y().slice(0, from, to);
        return [crossEntropy(logits, target).item(), logits.argmax(1).eq(target).to("float64").mean().item()];
      });
    expect(score(0, 80)[0]).toBeCloseTo(0.6212072429381601, 12);
    expect(score(0, 80)[1]).toBeCloseTo(0.6875, 12);
    for (let i = 0; i < 80; i += 4) {
      optimizer.zeroGrad();
      crossEntropy(model.forward(x().slice(0, i, i + 4)), y().slice(0, i, i + 4)).backward();
      optimizer.step();
    }
    expect(score(0, 80)[0]).toBeCloseTo(0.44369925927417986, 12);
    expect(score(0, 80)[1]).toBeCloseTo(0.8, 12);
    expect(score(80, 100)[0]).toBeCloseTo(0.4767711377257787, 12);
    expect(score(80, 100)[1]).toBeCloseTo(0.85, 12);
  });
});

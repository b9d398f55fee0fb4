// Modules: what belongs to them, modes, state, initial values, and the layers that exist so far.
import { expect, test } from "vitest";
import {
  compile,
  Module,
  manualSeed,
  nn,
  noGrad,
  ones,
  randn,
  type Tensor,
  tensor,
  ValueError,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

onEveryDevice("modules", (device) => {
  class Branches extends Module {
    readonly shared = new nn.Linear(2, 2, { device });
    readonly branches = [new nn.Linear(2, 3, { device }), new nn.Sequential([new nn.Tanh(), this.shared])];
    readonly scale = new nn.Parameter(ones([1], { device }));
    readonly steps = new nn.Buffer(zeros([1], { device }));
    forward(x: Tensor): Tensor {
      return this.branches[0].forward(this.shared.forward(x)).mul(this.scale);
    }
  }

  test("parameters, buffers and parts are found in properties and arrays, shared ones once", () => {
    const model = new Branches();
    expect([...model.namedParameters()].map(([name]) => name)).toEqual([
      "scale",
      "shared.weight",
      "shared.bias",
      "branches.0.weight",
      "branches.0.bias",
    ]);
    expect([...model.namedBuffers()].map(([name]) => name)).toEqual(["steps"]);
    expect([...model.namedModules()].map(([name]) => name)).toEqual([
      "",
      "shared",
      "branches.0",
      "branches.1",
      "branches.1.0",
    ]);
    expect(model.parameterCount()).toBe(1 + 6 + 9);
    expect(Object.keys(model.stateDict())).toContain("steps");
    expect(String(new nn.Sequential([new nn.Linear(2, 3), new nn.ReLU()]))).toBe(
      "Sequential(\n  (0): Linear(inFeatures=2, outFeatures=3, bias=true)\n  (1): ReLU()\n)",
    );
  });

  test("a state goes from one model to another", () => {
    const [a, b] = [new Branches(), new Branches()];
    noGrad(() => a.steps.fill_(7));
    b.loadStateDict(a.stateDict());
    const x = randn([4, 2], { device });
    expect(b.forward(x).toArray()).toEqual(a.forward(x).toArray());
    expect(b.steps.item()).toBe(7);
    expect(
      b.loadStateDict({ scale: ones([1], { device }), other: ones([1], { device }) }, { strict: false }).unexpected,
    ).toEqual(["other"]);
    expect(() => b.loadStateDict({})).toThrow(ValueError);
  });

  test("Linear starts within ±1/√inFeatures and maps the last dimension", () => {
    manualSeed(3);
    const layer = new nn.Linear(100, 50, { device });
    const weights = (layer.weight.toArray() as number[][]).flat();
    expect(Math.max(...weights.map(Math.abs))).toBeLessThanOrEqual(0.1);
    expect(Math.max(...weights)).toBeGreaterThan(0.099);
    expect(Math.min(...weights)).toBeLessThan(-0.099);
    expect(layer.forward(zeros([2, 3, 100], { device })).shape).toEqual([2, 3, 50]);
    expect(new nn.Linear(2, 2, { bias: false, device }).bias).toBeNull();
  });

  test("Dropout scales what it keeps in training, and is the identity in evaluation, captured or not", () => {
    const layer = new nn.Dropout(0.25);
    const x = ones([10_000], { device });
    for (const forward of [(t: Tensor) => layer.forward(t), compile((t: Tensor) => layer.forward(t))]) {
      layer.train();
      const values = Array.from(forward(x).dataSync() as Float32Array);
      expect(new Set(values.map((v) => Math.round(v * 3)))).toEqual(new Set([0, 4]));
      expect(values.filter((v) => v === 0).length / 10_000).toBeCloseTo(0.25, 1);
      layer.eval();
      expect(new Set(forward(x).dataSync() as Float32Array)).toEqual(new Set([1]));
    }
  });

  test("activations as layers", () => {
    const x = tensor([-2, 0, 3], { device });
    const table: [Module, number[]][] = [
      [new nn.ReLU(), [0, 0, 3]],
      [new nn.LeakyReLU(0.5), [-1, 0, 3]],
      [new nn.ELU(2), [2 * Math.expm1(-2), 0, 3]],
      [new nn.Tanh(), [-2, 0, 3].map(Math.tanh)],
      [new nn.Sigmoid(), [-2, 0, 3].map((v) => 1 / (1 + Math.exp(-v)))],
      [new nn.SiLU(), [-2, 0, 3].map((v) => v / (1 + Math.exp(-v)))],
      [new nn.Softplus(), [-2, 0, 3].map((v) => Math.log1p(Math.exp(v)))],
      [
        new nn.GELU("tanh"),
        [-2, 0, 3].map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))),
      ],
      [new nn.ReLU6(), [0, 0, 3]],
      [new nn.SELU(), [1.0507009873554805 * 1.6732632423543772 * Math.expm1(-2), 0, 3 * 1.0507009873554805]],
      [new nn.Mish(), [-2, 0, 3].map((v) => v * Math.tanh(Math.log1p(Math.exp(v))))],
      [new nn.Softsign(), [-2 / 3, 0, 3 / 4]],
      [new nn.LogSigmoid(), [-2, 0, 3].map((v) => -Math.log1p(Math.exp(-v)))],
      [new nn.Hardswish(), [-2 / 6, 0, 3]],
      [new nn.Hardsigmoid(), [1 / 6, 1 / 2, 1]],
      [new nn.LogSoftmax(0), [-2, 0, 3].map((v) => v - Math.log(Math.exp(-2) + 1 + Math.exp(3)))],
      [new nn.Softmax(0), [-2, 0, 3].map((v) => Math.exp(v) / (Math.exp(-2) + 1 + Math.exp(3)))],
      [new nn.Lambda((t) => t.mul(2)), [-4, 0, 6]],
    ];
    for (const [layer, expected] of table) {
      (layer.forward(x).toArray() as number[]).forEach((v, i) => {
        expect(v, String(layer)).toBeCloseTo(expected[i], 5);
      });
    }
    expect(new nn.Flatten().forward(zeros([2, 3, 4], { device })).shape).toEqual([2, 12]);
  });

  test("losses as modules", () => {
    const logits = tensor(
      [
        [2, -1],
        [0, 1],
      ],
      { device },
    );
    const labels = tensor([0, 1], { dtype: "int64", device });
    const each = [Math.log1p(Math.exp(-3)), Math.log1p(Math.exp(-1))];
    expect(new nn.CrossEntropyLoss().forward(logits, labels).item()).toBeCloseTo((each[0] + each[1]) / 2, 6);
    expect(new nn.CrossEntropyLoss({ reduction: "sum" }).forward(logits, labels).item()).toBeCloseTo(
      each[0] + each[1],
      6,
    );
    expect(new nn.MSELoss().forward(logits, zeros([2, 2], { device })).item()).toBeCloseTo(6 / 4, 6);
    expect(new nn.BCEWithLogitsLoss().forward(logits, ones([2, 2], { device })).item()).toBeCloseTo(
      [2, -1, 0, 1].reduce((s, v) => s + Math.log1p(Math.exp(-v)), 0) / 4,
      6,
    );
  });

  test("a model moves to another dtype with its values", () => {
    const model = new nn.Linear(2, 1, { device });
    const before = model.forward(ones([1, 2], { device })).item();
    model.to("float64");
    expect(model.weight.dtype).toBe("float64");
    expect(model.weight.requiresGrad).toBe(true);
    expect(model.forward(ones([1, 2], { device, dtype: "float64" })).item()).toBeCloseTo(before, 6);
  });
});

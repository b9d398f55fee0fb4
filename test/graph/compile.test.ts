// Captured functions: the same results as eager ones, and what the optimiser does to them.
import { inspect } from "node:util";
import { expect, test } from "vitest";
import {
  add,
  CaptureError,
  checkpoint,
  compile,
  exp,
  full,
  IndexError,
  indexSelect,
  matmul,
  mean,
  mul,
  noGrad,
  optim,
  rand,
  relu,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  tidy,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const values = (t: Tensor | null | undefined): unknown => t?.toArray();
const steps = (plan: string): string[] =>
  plan.split("\n").filter((line) => /^ {2}\d+: /.test(line) && line.includes(" = "));

onEveryDevice("compile", (device) => {
  const make = (v: number[] | number[][] | number, requiresGrad = false) => tensor(v, { device, requiresGrad });

  test("replays forward, backward and update with the eager results, bit for bit", () => {
    const run = (captured: boolean): unknown[] => {
      const w = make(
        [
          [0.1, -0.2],
          [0.3, 0.4],
        ],
        true,
      );
      const b = make([0, 0], true);
      const optimizer = new optim.Adam([w, b], { lr: 0.01 });
      const body = (x: Tensor, y: Tensor) => {
        optimizer.zeroGrad();
        const loss = mean(sub(tanh(add(matmul(x, w), b)), y).square());
        loss.backward();
        optimizer.step();
        return [loss, w.grad, b.grad] as const;
      };
      const step = captured ? compile(body) : body;
      const seen: unknown[] = [];
      for (let i = 0; i < 20; i++) {
        optimizer.paramGroups[0].lr = 0.01 / (i + 1); // an input slot, not a constant
        const x = make([
          [i, 1],
          [2, -i],
        ]);
        const y = make([
          [0.5, 0],
          [1, 0.1],
        ]);
        seen.push(step(x, y).map(values));
      }
      return [seen, values(w), values(b), values(w.grad), values(b.grad)];
    };
    expect(run(true)).toEqual(run(false));
  });

  test("element-wise chains become one step, dead and repeated code goes, buffers are reused", () => {
    const f = compile((x: Tensor) => {
      mul(x, 12345); // nobody uses it
      const a = exp(mul(x, 2));
      const b = exp(mul(x, 2)); // a again
      return add(add(a, b), mul(a, b)).sub(1).relu();
    });
    const x = make([0, 0.5, -3]);
    const expected = [0, 0.5, -3].map((v) => Math.max(0, 2 * Math.exp(2 * v) + Math.exp(4 * v) - 1));
    (values(f(x)) as number[]).forEach((v, i) => {
      expect(v).toBeCloseTo(expected[i], 4);
    });
    const plan = String(f.programs[0]);
    expect(inspect(f.programs[0])).toBe(plan); // what console.log prints
    expect(steps(plan)).toHaveLength(1);
    expect(plan).not.toContain("12345");
    expect(plan.match(/exp\.float32/g)).toHaveLength(1);
    expect(plan).toContain("arena 0 B");
  });

  test("the gradient that backward starts from is a number in the instructions that read it", () => {
    for (const dtype of ["float32", "float64", "float16"] as const) {
      const x = tensor([1.5, -2, 3], { dtype, device });
      const w = tensor([0.5, 4, -1], { dtype, device, requiresGrad: true });
      const gradient = (v: Tensor): Tensor[] => {
        w.grad = null;
        const loss = mean(mul(mul(w, v), w));
        loss.backward();
        return [loss, w.grad as unknown as Tensor];
      };
      const eager = gradient(x).map((t) => t.toArray());
      const captured = compile(gradient);
      for (let i = 0; i < 2; i++) expect(captured(x).map((t) => t.toArray())).toEqual(eager);
      expect(steps(String(captured.programs[0])).filter((line) => line.includes("copy("))).toEqual([]);
    }
    // A number that is a result, or is written again, is not.
    const kept = compile((v: Tensor) => {
      const one = tensor(1, { device });
      const two = full([], 2, { device });
      const before = mul(v, two);
      two.add_(v);
      return [one, full([], 3, { device }), before, mul(v, two)];
    });
    for (const v of [5, 6]) {
      expect(kept(tensor(v, { device })).map((t) => t.item())).toEqual([1, 3, 2 * v, v * (v + 2)]);
    }
  });

  test("a chain of products lives in two buffers", () => {
    const f = compile((x: Tensor) => {
      let y = x;
      for (let i = 0; i < 6; i++) y = matmul(y, x);
      return y;
    });
    expect(
      values(
        f(
          make([
            [0, 1],
            [1, 0],
          ]),
        ),
      ),
    ).toEqual(
      [
        [0, 1],
        [1, 0],
      ]
        .reverse()
        .reverse(),
    );
    expect(String(f.programs[0])).toContain("arena 128 B");
  });

  test("an operation in the middle does not see later writes", () => {
    const state = make([1, 2]);
    const f = compile((x: Tensor) => {
      const before = add(state, x);
      const product = mul(sum(before), 1);
      noGrad(() => state.add_(x));
      const after = add(state, product);
      noGrad(() => state.mul_(2));
      return [before, after];
    });
    const [before, after] = f(make([10, 20]));
    expect([values(before), values(after), values(state)]).toEqual([
      [11, 22],
      [44, 55],
      [22, 44],
    ]);
    const [again] = f(make([1, 1]));
    expect([values(again), values(state)]).toEqual([
      [23, 45],
      [46, 90],
    ]);
  });

  test("new shapes, dtypes, plain values and modes are recorded anew, old ones found again", () => {
    let recorded = 0;
    const f = compile((x: Tensor, scale: number) => {
      recorded++;
      return mul(x, scale);
    });
    expect(values(f(make([1, 2]), 3))).toEqual([3, 6]);
    expect(values(f(make([5, 6]), 3))).toEqual([15, 18]);
    expect(recorded).toBe(1);
    expect(values(f(make([1, 2, 3]), 3))).toEqual([3, 6, 9]);
    expect(values(f(make([1, 2]), 4))).toEqual([4, 8]);
    expect(recorded).toBe(3);
    expect(values(f(make([7, 7]), 3))).toEqual([21, 21]);
    expect(recorded).toBe(3);
  });

  test("inputs in structures, results in structures, inputs and constants as results", () => {
    const constant = make([7]);
    const f = compile(({ a, list }: { a: Tensor; list: Tensor[] }) => ({
      sum: add(a, list[0]),
      same: a,
      constant,
      n: 5,
    }));
    const a = make([1]);
    const out = f({ a, list: [make([2])] });
    expect(values(out.sum)).toEqual([3]);
    expect(values(out.same)).toEqual([1]);
    expect(out.constant).toBe(constant);
    expect(out.n).toBe(5);
    const kept = f({ a, list: [make([10])] });
    expect([values(out.sum), values(kept.sum)]).toEqual([[3], [11]]); // results are not overwritten by the next call
  });

  test("inputs that are views: transposed, or a part of a larger tensor", () => {
    const f = compile((x: Tensor) => mul(x, 1));
    const data = make([1, 2, 3, 4, 5, 6]);
    for (const at of [0, 2, 4]) expect(values(f(data.slice(0, at, at + 2)))).toEqual([at + 1, at + 2]);
    expect(f.programs).toHaveLength(1);
    expect(
      values(
        f(
          make([
            [1, 2],
            [3, 4],
          ]).transpose(0, 1),
        ),
      ),
    ).toEqual([
      [1, 3],
      [2, 4],
    ]);
  });

  test("writes to inputs arrive there, also when they are views", () => {
    const f = compile((x: Tensor, y: Tensor) => {
      x.mul_(10);
      return add(x, y);
    });
    const data = make([1, 2, 3, 4]);
    expect(values(f(data.slice(0, 1, 3), make([5, 5])))).toEqual([25, 35]);
    expect(values(data)).toEqual([1, 20, 30, 4]);
    const whole = make([1, 2]);
    f(whole, make([0, 0]));
    expect(values(whole)).toEqual([10, 20]);
    // One tensor given twice is one tensor; two that share memory are refused when it is written.
    expect(values(f(whole, whole))).toEqual([200, 400]);
    expect(() => f(whole, whole.reshape([2]))).toThrow(/shares memory.*clone\(\)/s);
    expect(values(whole)).toEqual([100, 200]);
    const state = make([1, 1]);
    const g = compile((x: Tensor) => state.add_(x));
    g(make([1, 2]));
    expect(() => g(state)).toThrow(CaptureError);
    expect(values(state)).toEqual([2, 3]);
  });

  test("gradients accumulate over captured steps when they are not zeroed", () => {
    const w = make([1, 2], true);
    const f = compile((x: Tensor) => sum(mul(w, x)).backward());
    f(make([1, 1]));
    f(make([10, 20]));
    f(make([100, 200]));
    expect(values(w.grad)).toEqual([111, 221]);
  });

  test("gradients that the function resets and uses up are not stored, and reading them says so", () => {
    const w = make([1, 2], true);
    const v = make([3, 4], true);
    const optimizer = new optim.SGD([w], { lr: 0.5 });
    const lossOf = (x: Tensor) => sum(mul(mul(w, v), x));
    const step = compile((x: Tensor) => {
      optimizer.zeroGrad();
      v.grad = null;
      const loss = lossOf(x);
      loss.backward();
      optimizer.step();
      return loss;
    });
    step(make([1, 10]));
    expect(values(w)).toEqual([1 - 1.5, 2 - 20]);
    expect(() => w.grad).toThrow(CaptureError);
    expect(() => w.grad).toThrow(/return it from the function/);
    expect(values(v.grad)).toEqual([1, 20]); // nobody used it
    // It is never taken for a gradient of zero.
    expect(() => optimizer.step()).toThrow(CaptureError);
    expect(() => lossOf(make([1, 1])).backward()).toThrow(CaptureError);
    const carry = compile((x: Tensor) => lossOf(x).backward());
    expect(() => carry(make([1, 1]))).toThrow(CaptureError);
    optimizer.zeroGrad();
    expect(w.grad).toBeNull();
    carry(make([1, 1]));
    expect(values(w.grad)).toEqual([3, 4]);
    step(make([0, 0]));
    expect(() => carry(make([1, 1]))).toThrow(CaptureError);
    // A function that does not reset it keeps it, and so does one that returns it.
    optimizer.zeroGrad();
    compile((x: Tensor) => {
      lossOf(x).backward();
      optimizer.step();
    })(make([2, 2]));
    expect(values(w.grad)).toEqual([6, 8]);
    const [grad] = compile((x: Tensor) => {
      optimizer.zeroGrad();
      lossOf(x).backward();
      optimizer.step();
      return [w.grad];
    })(make([3, 3]));
    expect(values(grad)).toEqual([9, 12]);
    expect(values(w.grad)).toEqual([9, 12]);
  });

  test("a gradient that was looked at keeps its values when the next step makes another", () => {
    const w = make([1, 2], true);
    const f = compile((x: Tensor) => {
      w.grad = null;
      const loss = sum(mul(w, x));
      loss.backward();
      return loss;
    });
    f(make([1, 1]));
    const first = w.grad;
    f(make([2, 3]));
    f(make([4, 5])); // nobody has seen the gradient before
    const third = w.grad;
    expect(w.grad).toBe(third);
    expect(values(first)).toEqual([1, 1]);
    expect(values(third)).toEqual([4, 5]);
    const eight = tidy(() => f(make([3, 5])).item() - 5);
    expect([eight, values(w.grad), values(third)]).toEqual([8, [3, 5], [4, 5]]);
  });

  test("a step that fails spoils its gradients, also where the last ones lay, and the next is right again", () => {
    const w = make([1, 2], true);
    const table = make([
      [1, 2],
      [3, 4],
    ]);
    const f = compile((row: Tensor) => {
      w.grad = null;
      sum(mul(w, indexSelect(table, 0, row).reshape([2]))).backward();
      noGrad(() => w.sub_(w.grad as Tensor));
    });
    const row = (i: number) => tensor([i], { device, dtype: "int64" });
    f(row(0));
    f(row(1));
    expect(values(w)).toEqual([-3, -4]);
    f(row(7));
    expect(() => w.toArray()).toThrow(IndexError);
    expect(values(w)).toEqual([-3, -4]);
    expect(() => w.grad?.toArray()).toThrow(IndexError);
    f(row(0));
    f(row(7));
    expect(() => w.toArray()).toThrow(IndexError);
    f(row(0));
    expect(values(w)).toEqual([-5, -8]);
    expect(values(w.grad)).toEqual([1, 2]);
  });

  test("gradients of inputs arrive at the inputs", () => {
    const f = compile((x: Tensor) => sum(mul(x, x)).backward());
    const x = make([3, 4], true);
    f(x);
    expect(values(x.grad)).toEqual([6, 8]);
  });

  test("random numbers go on from step to step, as in eager mode", () => {
    const f = compile((x: Tensor) => mul(x, rand([2], { device })));
    const one = make([1, 1]);
    expect(values(f(one))).not.toEqual(values(f(one)));
  });

  test("reading a value inside is a clear error, and nothing is left behind", () => {
    const f = compile((x: Tensor) => (sum(x).item() > 0 ? x : mul(x, -1)));
    expect(() => f(make([1]))).toThrow(CaptureError);
    expect(() => f(make([1]))).toThrow(/return the tensor and read it outside/);
    expect(values(relu(make([-1, 1])))).toEqual([0, 1]);
    let leaked: Tensor | undefined;
    compile((x: Tensor) => {
      leaked = mul(x, 2);
      return x;
    })(make([1]));
    expect(() => leaked!.item()).toThrow(/inside the captured function/);
    expect(() => mul(leaked!, 2)).toThrow(CaptureError);
  });

  test("backward through a result is refused with the remedy", () => {
    const w = make([1, 2], true);
    const loss = compile((x: Tensor) => sum(mul(w, x)))(make([3, 4]));
    expect(loss.requiresGrad).toBe(true);
    expect(() => loss.backward()).toThrow(/backward\(\) inside the function/);
  });

  test("a checkpoint saves memory in a captured function, and changes no gradient", () => {
    const w = tensor(
      [
        [0.5, -0.25],
        [0.125, 0.75],
      ],
      { device, requiresGrad: true },
    );
    const block = (x: Tensor) => {
      let y = x;
      for (let i = 0; i < 8; i++) y = tanh(matmul(y, w));
      return y;
    };
    const run = (wrap: (x: Tensor) => Tensor) => {
      w.grad = null;
      const step = compile((x: Tensor) => sum(wrap(wrap(wrap(x)))).backward());
      step(make(Array.from({ length: 512 }, (_, i) => [i / 512, 1])));
      return { grad: values(w.grad), arena: step.programs[0].arenaBytes };
    };
    const plain = run(block);
    const saved = run((x) => checkpoint(block, x));
    expect(saved.grad).toEqual(plain.grad);
    expect(saved.arena).toBeLessThan(0.6 * plain.arena);
  });

  test("the asynchronous form resolves when the results are there", async () => {
    const f = compile((x: Tensor) => mul(x, 2));
    expect(values(await f.async(make([1, 2])))).toEqual([2, 4]);
  });

  test("a captured function inside another is part of it", () => {
    const inner = compile((x: Tensor) => mul(x, 2));
    const f = compile((x: Tensor) => add(inner(x), zeros([2], { device })));
    expect(values(f(make([1, 2])))).toEqual([2, 4]);
    expect(inner.programs).toHaveLength(0);
  });

  test("a function may be disposed of at once: what it was asked for is computed", () => {
    const double = compile((x: Tensor) => mul(x, 2));
    const y = double(tensor([1, 2], { device }));
    double.dispose();
    expect(y.toArray()).toEqual([2, 4]);
    expect(double(tensor([3], { device })).toArray()).toEqual([6]);
  });
});

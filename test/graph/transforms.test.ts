// grad, valueAndGrad, vjp, jvp, jacobian, hessian, customGrad, checkpoint and gradcheck.
import { describe, expect, test } from "vitest";
import {
  AutogradError,
  checkpoint,
  compile,
  customGrad,
  dropout,
  enableGrad,
  grad,
  gradcheck,
  gradgradcheck,
  hessian,
  jacobian,
  jvp,
  manualSeed,
  noGrad,
  rand,
  randn,
  ShapeError,
  sigmoid,
  type Tensor,
  tensor,
  ValueError,
  valueAndGrad,
  vjp,
} from "../../lib/index.js";

const f64 = (data: Parameters<typeof tensor>[0], requiresGrad = false): Tensor =>
  tensor(data, { dtype: "float64", requiresGrad });
const cube = (x: Tensor): Tensor => x.pow(3);

describe("grad", () => {
  test("of a scalar function, nested", () => {
    expect(grad(cube)(f64(2)).item()).toBe(12);
    expect(grad(grad(cube))(f64(2)).item()).toBe(12);
    expect(grad(grad(grad(cube)))(f64(2)).item()).toBe(6);
  });

  test("with respect to chosen arguments, arrays and objects", () => {
    const fn = (x: Tensor, y: Tensor) => x.mul(y).sum();
    const [x, y] = [f64([1, 2]), f64([3, 4])];
    expect(grad(fn, { argnums: 1 })(x, y).toArray()).toEqual([1, 2]);
    expect(grad(fn, { argnums: [0, 1] })(x, y).map((g) => g.toArray())).toEqual([
      [3, 4],
      [1, 2],
    ]);
    const g = grad((p: { w: Tensor; b: Tensor[] }) => p.w.mul(p.b[0]).sum())({ w: x, b: [y] });
    expect([g.w.toArray(), g.b[0].toArray()]).toEqual([
      [3, 4],
      [1, 2],
    ]);
  });

  test("leaves no graph behind where nothing else can be differentiated", () => {
    const [value, g] = valueAndGrad(cube)(f64(2));
    expect([value.item(), g.item()]).toEqual([8, 12]);
    expect([value.requiresGrad, g.requiresGrad]).toEqual([false, false]);
  });

  test("is part of the graph of the tensors that it uses", () => {
    const w = f64(3, true);
    const penalty = grad((x: Tensor) => x.square().mul(w))(f64(2)).square(); // (2xw)² = 16w²
    penalty.backward();
    expect(w.grad!.item()).toBe(96);
    const x = f64(2, true);
    grad(cube)(x).backward(); // 3x²
    expect(x.grad!.item()).toBe(12);
    expect(noGrad(() => grad(cube)(x)).requiresGrad).toBe(false);
  });

  test("of a constant is 0", () => {
    expect(grad((_: Tensor) => f64(1))(f64([1, 2])).toArray()).toEqual([0, 0]);
  });

  test("refuses what has no gradient", () => {
    expect(() => grad((x: Tensor) => x.mul(2))(f64([1, 2]))).toThrow(ShapeError);
    expect(() => grad(cube)(tensor(1, { dtype: "int64" }))).toThrow(AutogradError);
    expect(() => grad(cube, { argnums: 1 })(f64(1))).toThrow(ValueError);
    expect(() => grad((x: number) => f64(x))(2)).toThrow(ValueError);
  });
});

describe("products with Jacobians", () => {
  const fn = (x: Tensor): Tensor => x.mul(x.sum());

  test("vjp, as often as wanted", () => {
    const [y, pullback] = vjp((x: Tensor) => x.square(), f64([1, 2]));
    expect(y.toArray()).toEqual([1, 4]);
    expect(pullback(f64([1, 10]))[0].toArray()).toEqual([2, 40]);
    expect(pullback(f64([1, 0]))[0].toArray()).toEqual([2, 0]);
    expect(() => pullback(f64([1]))).toThrow(ShapeError);
  });

  test("jvp", () => {
    const [y, t] = jvp(fn, [f64([1, 2])], [f64([1, 0])]);
    expect(y.toArray()).toEqual([3, 6]);
    expect(t.toArray()).toEqual([4, 2]); // J = [[3 + 1, 1], [2, 3 + 2]]
    expect([y.requiresGrad, t.requiresGrad]).toEqual([false, false]);
    const [x, v] = [f64([1, 2], true), f64([1, 3], true)];
    jvp(fn, [x], [v])[1].sum().backward();
    expect(v.grad!.toArray()).toEqual([6, 6]);
    expect(x.grad!.toArray()).toEqual([8, 8]); // of (Σx)·(Σv) + (Σv)·(Σx)
    expect(() => jvp(fn, [f64([1])], [])).toThrow(ValueError);
    expect(() => jvp(fn, [f64([1])], [f64([1, 2])])).toThrow(ShapeError);
  });

  test("jacobian and hessian", () => {
    const x = f64([1, 2]);
    expect(jacobian(fn)(x).toArray()).toEqual([
      [4, 1],
      [2, 5],
    ]);
    expect(hessian((x: Tensor) => cube(x).sum())(x).toArray()).toEqual([
      [6, 0],
      [0, 12],
    ]);
    expect(hessian(fn)(x).toArray()).toEqual([
      [
        [2, 1],
        [1, 0],
      ],
      [
        [0, 1],
        [1, 2],
      ],
    ]);
    expect(jacobian((x: Tensor) => x.sum())(f64([[1, 2]])).shape).toEqual([1, 2]);
    const both = jacobian((x: Tensor, y: Tensor) => x.mul(y), { argnums: [0, 1] })(x, f64([3, 4]));
    expect(both.map((j) => j.toArray())).toEqual([
      [
        [3, 0],
        [0, 4],
      ],
      [
        [1, 0],
        [0, 2],
      ],
    ]);
  });

  test("Newton's method in a compiled function", () => {
    const step = compile((x: Tensor) => x.sub(grad(cube)(x).div(grad(grad(cube))(x))));
    expect(step(f64(2)).item()).toBe(1);
  });
});

describe("customGrad", () => {
  const product = customGrad({
    name: "product",
    forward: (ctx, x: Tensor, y: Tensor) => {
      ctx.save(x, y);
      return x.mul(y);
    },
    backward: ({ saved: [x, y], needs }, g) => [needs[0] ? g!.mul(y) : null, needs[1] ? g!.mul(x) : null],
  });

  test("first and second order", () => {
    const [x, y] = [f64([1, 2, 3], true), f64([0.5, -1, 2], true)];
    expect(gradcheck(product, [x, y])).toBe(true);
    expect(gradgradcheck(product, [x, y])).toBe(true);
    expect(product(x, y).gradFn!.name).toBe("ProductBackward");
  });

  test("saved outputs, several results, other arguments", () => {
    const both = customGrad({
      forward: (ctx, x: Tensor, factor: number) => {
        const y = x.exp();
        ctx.save(y);
        return [y, x.mul(factor)];
      },
      backward: ({ saved: [y] }, gy, gz) => [(gy ? gy.mul(y) : y.mul(0)).add(gz ? gz.mul(3) : 0), null],
    });
    const x = f64([1, 2], true);
    expect(gradcheck((x) => both(x, 3), [x])).toBe(true);
    expect(gradgradcheck((x) => both(x, 3), [x])).toBe(true);
    expect(both(x.detach(), 3)[0].requiresGrad).toBe(false);
  });

  test("a gradient that is not the derivative", () => {
    const round = customGrad({ forward: (_, x: Tensor) => x.round(), backward: (_, g) => g });
    const x = f64([0.4, 1.6], true);
    round(x).sum().backward();
    expect(x.grad!.toArray()).toEqual([1, 1]);
    const same = customGrad({ forward: (_, x: Tensor) => x, backward: (_, g) => g!.mul(-1) });
    const z = f64(2, true);
    same(z).backward();
    expect(z.grad!.item()).toBe(-1);
  });

  test("mistakes are named", () => {
    const wrong = customGrad({ name: "wrong", forward: (_, x: Tensor, y: Tensor) => x.add(y), backward: (_, g) => g });
    const x = f64([1], true);
    expect(() => wrong(x, x).backward()).toThrow(/wrong: backward returned 1 gradients for 2 inputs/);
    const shape = customGrad({ name: "shape", forward: (_, x: Tensor) => x.sum(), backward: (_, g) => g });
    expect(() => shape(f64([1, 2], true)).backward()).toThrow(AutogradError);
    const y = f64([1, 2], true);
    const kept = y.mul(1);
    const out = product(kept, kept);
    noGrad(() => kept.add_(1));
    expect(() => out.sum().backward()).toThrow(/overwritten by add_/);
  });
});

describe("checkpoint", () => {
  const w = f64(
    [
      [0.5, -1],
      [1, 0.25],
    ],
    true,
  );
  const block = (x: Tensor): Tensor => sigmoid(x.matmul(w).tanh().mul(x.exp()));
  const x = f64(
    [
      [0.1, 0.2],
      [0.3, -0.4],
    ],
    true,
  );

  test("gives the same gradients, of arguments and of what the function uses", () => {
    const run = (fn: (x: Tensor) => Tensor) => {
      w.grad = null;
      x.grad = null;
      fn(fn(x)).square().sum().backward();
      return [w.grad!, x.grad!].map((g) => g.toArray());
    };
    expect(run((x) => checkpoint(block, x))).toEqual(run(block));
    expect(run((x) => checkpoint((x) => block(checkpoint(block, x)), x))).toEqual(run((x) => block(block(x))));
  });

  test("first and second order, of functions that nest", () => {
    expect(gradcheck((x) => checkpoint(block, x), [x])).toBe(true);
    expect(gradgradcheck((x) => checkpoint(block, x), [x])).toBe(true);
    expect(gradgradcheck((x) => checkpoint((x) => block(checkpoint(block, x)).mul(x), x), [x])).toBe(true);
  });

  test("runs the function once more, and only in the backward pass", () => {
    let runs = 0;
    const y = checkpoint((x: Tensor) => {
      runs++;
      return x.exp().sin().mul(x);
    }, x);
    expect(runs).toBe(1);
    y.sum().backward({ retainGraph: true });
    expect(runs).toBe(2);
    y.sum().backward();
    expect(() => y.sum().backward()).toThrow(/already used/);
  });

  test("draws the same random numbers, and leaves the sequence as it was", () => {
    const noisy = (x: Tensor): Tensor => dropout(x.mul(rand(x.shape, { dtype: "float64" })).exp(), 0.5, true).square();
    const run = (fn: (x: Tensor) => Tensor) => {
      manualSeed(3);
      x.grad = null;
      const y = fn(x);
      y.sum().backward();
      return [y.toArray(), x.grad!.toArray(), rand([2]).toArray()];
    };
    expect(run((x) => checkpoint(noisy, x))).toEqual(run(noisy));
  });

  test("in a captured function", () => {
    const noisy = (x: Tensor): Tensor => dropout(x.matmul(w).exp(), 0.5, true).square();
    const steps = (fn: (x: Tensor) => Tensor) => {
      manualSeed(5);
      const step = compile((x: Tensor) => grad((x: Tensor) => fn(x).sum())(x));
      return [step(x.detach()).toArray(), step(x.detach()).toArray()];
    };
    const [first, second] = steps((x) => checkpoint(noisy, x));
    expect(first).not.toEqual(second);
    expect([first, second]).toEqual(steps(noisy));
  });

  test("mistakes are named", () => {
    const z = x.mul(1);
    const y = checkpoint((x: Tensor) => x.exp().sin(), z);
    noGrad(() => z.add_(1));
    expect(() => y.sum().backward()).toThrow(/checkpoint: an argument .* was overwritten by add_/);
    let runs = 0;
    const changing = checkpoint((x: Tensor) => (runs++ === 0 ? x.exp().sin() : x.exp().sin().cos()), x);
    expect(() => changing.sum().backward()).toThrow(/it must do the same each time/);
    const overwriting = checkpoint((x: Tensor) => {
      const e = x.exp();
      const s = e.sin();
      e.add_(1);
      return s.add(e);
    }, x);
    expect(() => overwriting.sum().backward()).toThrow(/overwritten by add_/);
  });

  test("without gradients it is a call", () => {
    expect(noGrad(() => checkpoint(block, x)).requiresGrad).toBe(false);
    expect(enableGrad(() => checkpoint((n: number) => n + 1, 1))).toBe(2);
  });
});

describe("gradcheck", () => {
  test("finds a wrong rule and says where", () => {
    const wrong = customGrad({
      forward: (ctx, x: Tensor) => {
        ctx.save(x);
        return x.square();
      },
      backward: ({ saved: [x] }, g) => g!.mul(x).mul(tensor([2, 3], { dtype: "float64" })),
    });
    expect(() => gradcheck(wrong, [f64([1, 2], true)])).toThrow(
      /result 0 at \[1\] with respect to input 0 at \[1\] is 6 by the gradient rule and 4\.0/,
    );
  });

  test("needs float64 and a gradient", () => {
    expect(() => gradcheck((x) => x, [randn([2], { requiresGrad: true })])).toThrow(/float64/);
    expect(() => gradcheck((x) => x, [f64([1])])).toThrow(AutogradError);
  });

  test("several results, some without a gradient", () => {
    expect(gradcheck((x) => [x.exp(), x.gt(0), x.detach().mul(0)], [f64([1, 2], true)])).toBe(true);
  });
});

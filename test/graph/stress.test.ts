// Random graphs with views, writes in place, several outputs and repeated use: gradients against central differences,
// and the transforms against each other.
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  AutogradError,
  add,
  cat,
  Generator,
  grad,
  jvp,
  matmul,
  maximum,
  mean,
  mul,
  noGrad,
  randn,
  sin,
  softmax,
  split,
  stack,
  sub,
  sum,
  type Tensor,
  tensor,
  vjp,
  where,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}
type Rule = (x: Tensor, y: Tensor, c: number) => Tensor | Tensor[];

/** What a rule writes into: the value itself, which others may have seen, or one of its own. */
const target = (x: Tensor, c: number): Tensor => (c % 3 === 0 ? x : x.mul(1));

/** Smooth functions of 3×3 tensors. */
const rules: Rule[] = [
  (x, y) => add(x, y),
  (x, y) => sub(x, mul(y, x)),
  (x, y) => mul(sin(x), y),
  (x, y) => matmul(sin(x), sin(y)),
  (x) => x.permute([1, 0]),
  (x) => x.tanh().permute([1, 0]).clone(),
  (x, y) => where(tensor([true, false, true], { device: x.device }), x, sin(y)),
  (x, y) => add(x, sum(sin(y), 0)),
  (x, y) => mul(sin(x), mean(y, 1, true)),
  (x) => softmax(x, 1),
  (x) => x.reshape([9]).reshape([3, 3]).flip(0),
  (x, y) => cat([x.slice(0, 1), sin(y).slice(0, 0, 1)], 0),
  (x) => split(sin(x), 1, 1).map((row) => row.expand([3, 3]).contiguous()),
  (x, y) => stack([x.select(0, 0), y.select(1, 2), x.select(0, 2)], 1),
  (x, _, c) =>
    sin(x)
      .select(0, c % 3)
      .expand([3, 3])
      .contiguous(),
  (x, y) => x.index(tensor([0, 2, 2], { dtype: "int64", device: x.device })).mul(sin(y)),
  (x, y) => maximum(x, y.add(0.01)),
  (x, y) => x.unfold(0, 2, 1).sum(0).matmul(sin(y).slice(0, 1)),
  // Writes: into values, through views of values, from parts of itself, and into what others are views of.
  (x, y, c) => target(x, c).tanh_().add(y),
  (x, y, c) => target(x, c).add_(y),
  (x, y, c) => target(x, c).mul_(sin(y)),
  (x, y, c) => {
    const z = target(x, c);
    z.select(c % 2, c % 3).mul_(sin(y).select(0, 1));
    return z;
  },
  (x, y, c) => {
    const z = target(x, c);
    z.permute([1, 0])
      .slice(0, 1)
      .add_(sin(y).slice(0, 0, 2));
    return z;
  },
  (x, _, c) => {
    const z = target(x, c);
    const row = z.select(0, 1);
    const before = row.mul(2);
    z.sin_();
    return z.mul(row).add(before);
  },
  (x, y, c) => {
    const z = target(x, c);
    const view = z.reshape([9]).slice(0, 2, 8);
    view.sub_(sin(y).reshape([9]).slice(0, 0, 6));
    return [z, view.sum().mul(y)];
  },
  (x, _, c) => {
    const z = target(x, c);
    const [first, second] = [z.select(0, 0), z.select(1, 0)];
    first.mul_(2);
    second.add_(first);
    return [z, first.mul(second).expand([3, 3]).contiguous()];
  },
  (x, _, c) => target(x, c).add_(x.permute([1, 0])),
  (x, y, c) => target(x, c).copy_(sin(y)),
  (x, y, c) =>
    target(x, c)
      .copy_(y.permute([1, 0]))
      .add(1),
  (x, y) => x.add(y.detach().mul(0).add_(1)),
  (x, _, c) =>
    target(x, c)
      .fill_(c / 10)
      .add(0.5),
  (x, y, c) => {
    const z = target(x, c);
    z.select(0, c % 3).fill_(0.3);
    return z.mul(y);
  },
];

const programs = fc.array(fc.record({ kind: fc.nat(rules.length - 1), a: fc.nat(50), b: fc.nat(50), c: fc.nat(9) }), {
  minLength: 1,
  maxLength: 14,
}) satisfies fc.Arbitrary<Step[]>;

/** All values of the program that are still to be had, joined to one vector by fixed weights. */
function play(steps: readonly Step[], inputs: readonly Tensor[]): Tensor {
  const list = inputs.map((x) => x.mul(1)); // leaves are not written
  for (const { kind, a, b, c } of steps) {
    const out = rules[kind](list[a % list.length], list[b % list.length], c);
    list.push(...(Array.isArray(out) ? out : [out]));
  }
  const device = inputs[0].device;
  const outs = list.slice(-4);
  return outs
    .map((t, i) =>
      mul(t, sin(tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], { device, dtype: "float64" }).add(i)).reshape([3, 3])),
    )
    .reduce((x, y) => x.add(y))
    .reshape([9]);
}

/** Leaves programs out in which a write destroys what a gradient needs: they are errors, as they should be. */
function unlessOverwritten(body: () => void): void {
  try {
    body();
  } catch (error) {
    fc.pre(!(error instanceof AutogradError && /was overwritten by/.test(error.message)));
    throw error;
  }
}

const values = (t: Tensor): number[] => Array.from(t.contiguous().dataSync() as Float64Array);
const close = (found: readonly number[], wanted: readonly number[], tolerance: number, what: string): void => {
  const scale = Math.max(1, ...wanted.map(Math.abs));
  const wrong = found.findIndex((v, i) => !(Math.abs(v - wanted[i]) <= tolerance * scale));
  if (wrong >= 0 || found.length !== wanted.length) expect.fail(`${what}: [${found}] instead of [${wanted}]`);
};

/** The derivative of f at 0 by central differences; leaves programs out whose kinks or size make those wrong. */
function slope(f: (t: number) => number, h: number): number {
  const [narrow, wide] = [h, 2 * h].map((step) => (f(step) - f(-step)) / (2 * step));
  fc.pre(Math.abs(narrow - wide) < 1e-6 * Math.max(1, Math.abs(narrow)));
  return narrow;
}

onEveryDevice("random graphs", (device) => {
  const options = { device, dtype: "float64" } as const;
  const inputs = (): [Tensor, Tensor] => {
    const generator = new Generator(5);
    return [randn([3, 3], { ...options, generator }), randn([3, 3], { ...options, generator })];
  };
  const direction = (seed: number): Tensor => randn([3, 3], { ...options, generator: new Generator(seed) });

  test("the gradient is that of central differences", () => {
    fc.assert(
      fc.property(programs, fc.nat(1000), (steps, seed) =>
        unlessOverwritten(() => {
          const f = (xs: readonly Tensor[]) => sum(play(steps, xs));
          const leaves = inputs().map((x) => x.requireGrad());
          f(leaves).backward();
          const gradients = leaves.map((x) => x.grad ?? x.detach().mul(0));
          const [u, v] = [direction(seed), direction(seed + 1)];
          const along = (t: number) => {
            const [x, y] = inputs();
            return noGrad(() => f([x.add(u.mul(t)), y.add(v.mul(t))])).item();
          };
          const found = sum(mul(gradients[0], u))
            .add(sum(mul(gradients[1], v)))
            .item();
          const wanted = slope(along, 1e-6);
          close([found], [wanted], 1e-5, "gradient along a direction");
        }),
      ),
      { numRuns: 150 },
    );
  });

  test("vjp, jvp, grad and backward agree", () => {
    fc.assert(
      fc.property(programs, fc.nat(1000), (steps, seed) =>
        unlessOverwritten(() => {
          const f = (x: Tensor, y: Tensor) => play(steps, [x, y]);
          const [x, y] = inputs();
          const [u, v] = [direction(seed), direction(seed + 1)];
          const w = direction(seed + 2).reshape([9]);
          const [out, back] = vjp(f, x, y);
          const [gx, gy] = back(w);
          const [again, tangent] = jvp<[Tensor, Tensor]>(f, [x, y], [u, v]);
          close(values(again), values(out), 1e-15, "value");
          // ⟨w, J (u, v)⟩ = ⟨Jᵀ w, (u, v)⟩
          close(
            [sum(mul(tangent, w)).item()],
            [
              sum(mul(gx, u))
                .add(sum(mul(gy, v)))
                .item(),
            ],
            1e-9,
            "adjoint",
          );
          const g = grad((a: Tensor, b: Tensor) => sum(mul(f(a, b), w)), { argnums: [0, 1] })(x, y) as Tensor[];
          close(values(g[0]), values(gx), 1e-12, "grad");
          close(values(g[1]), values(gy), 1e-12, "grad");
          // Twice through a graph that is kept adds up.
          const [a, b] = inputs().map((t) => t.requireGrad());
          const loss = sum(mul(f(a, b), w));
          loss.backward({ retainGraph: true });
          loss.backward();
          if (a.grad)
            close(
              values(a.grad),
              values(gx).map((t) => 2 * t),
              1e-12,
              "backward twice",
            );
        }),
      ),
      { numRuns: 80 },
    );
  });

  test("the gradient of a gradient's length is that of central differences", () => {
    const smooth = programs.map((steps) => steps.filter(({ kind }) => kind !== 16).slice(0, 6));
    fc.assert(
      fc.property(smooth, fc.nat(1000), (steps, seed) =>
        unlessOverwritten(() => {
          const y = inputs()[1];
          const first = grad((x: Tensor) => sum(sin(play(steps, [x, y]))));
          const length = (x: Tensor) => {
            const g = first(x);
            return sum(mul(g, g));
          };
          const x = inputs()[0];
          const u = direction(seed);
          const found = sum(mul(grad(length)(x), u)).item();
          const wanted = slope((t) => length(x.add(u.mul(t))).item(), 1e-5);
          close([found], [wanted], 1e-4, "second order along a direction");
        }),
      ),
      { numRuns: 60 },
    );
  });
});

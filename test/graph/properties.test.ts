// Random programs: whatever mixture of operations, views and writes a function is, capturing it changes nothing.
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  add,
  clone,
  compile,
  copy_,
  matmul,
  mul,
  noGrad,
  permute,
  reshape,
  sin,
  sub,
  sum,
  type Tensor,
  tensor,
  where,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

/** One step of a random program over a growing list of 3×3 tensors; a and b choose among the tensors so far. */
interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
}

const kinds: ((x: Tensor, y: Tensor) => Tensor)[] = [
  (x, y) => add(x, y),
  (x, y) => sub(x, mul(y, 0.5)),
  (x, y) => mul(sin(x), y),
  (x, y) => matmul(sin(x), sin(y)),
  (x) => permute(x, [1, 0]),
  (x) => clone(permute(x, [1, 0])),
  (x, y) => where(x.gt(y), x, 0.25),
  (x, y) => add(x, sum(sin(y), 0)),
  (x, y) => mul(sin(x), sum(sin(y), 1, true)),
  (x, y) => add(x, sin(sum(y))),
  (x) => reshape(reshape(x, [9]), [3, 3]),
  (x, y) => noGrad(() => x.add_(sin(y))),
  (x, y) => noGrad(() => x.mul_(sin(permute(y, [1, 0])))),
  (x, y) => noGrad(() => copy_(x, permute(y, [1, 0]))),
  (x, y) => {
    noGrad(() => copy_(x.slice(0, 0, 2), sin(y.slice(0, 1, 3))));
    return x;
  },
  (x, y) => {
    noGrad(() =>
      permute(x, [1, 0])
        .slice(1, 1, 2)
        .sub_(y.slice(1, 0, 1)),
    );
    return x;
  },
];

const program = fc.array(
  fc.record({ kind: fc.nat(kinds.length - 1), a: fc.nat(50), b: fc.nat(50) }) satisfies fc.Arbitrary<Step>,
  { minLength: 1, maxLength: 25 },
);

function run(steps: readonly Step[], start: readonly Tensor[]): Tensor[] {
  const list = start.map(clone);
  for (const { kind, a, b } of steps) list.push(kinds[kind](list[a % list.length], list[b % list.length]));
  return list;
}

onEveryDevice("random programs", (device) => {
  const start = () => [
    tensor(
      [
        [1, -2, 3],
        [0.5, 0, -1],
        [2, 2, -0.25],
      ],
      { device },
    ),
    tensor(
      [
        [0.1, 0.2, 0.3],
        [-3, 1, 4],
        [1, -5, 9],
      ],
      { device },
    ),
  ];

  test("captured and eager give the same bits", { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(program, fc.integer({ min: 1, max: 4 }), (steps, keep) => {
        // Only some results are returned, so that others may be fused away.
        const some = (list: Tensor[]) => list.filter((_, i) => i % keep === 0 || i === list.length - 1);
        const eager = some(run(steps, start())).map((t) => t.toArray());
        const f = compile((...xs: Tensor[]) => some(run(steps, xs)));
        for (let pass = 0; pass < 2; pass++) expect(f(...start()).map((t) => t.toArray())).toEqual(eager);
        f.dispose();
      }),
      { numRuns: 150 },
    );
  });

  test("writes into captured state agree too", { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(program, (steps) => {
        const play = (captured: boolean) => {
          const state = start();
          const body = () => {
            const list = [...state];
            for (const { kind, a, b } of steps) list.push(kinds[kind](list[a % list.length], list[b % list.length]));
            return sum(list[list.length - 1]);
          };
          const step = captured ? compile(body) : body;
          const out = [1, 2, 3].map(() => step().item());
          return [out, state.map((t) => t.toArray())];
        };
        expect(play(true)).toEqual(play(false));
      }),
      { numRuns: 150 },
    );
  });
});

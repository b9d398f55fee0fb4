// Programs keep the second factor of a product as the tiles read it (native/cpu/gemm.h, KeptPanels): whatever changes
// the factor must be seen by the next call, and what is kept goes with the program.
import { describe, expect, test } from "vitest";
import {
  add,
  compile,
  copy_,
  getNumThreads,
  indexPut_,
  matmul,
  memory,
  mul_,
  nn,
  noGrad,
  optim,
  rand,
  relu,
  setNumThreads,
  sum,
  type Tensor,
} from "../../lib/index.js";
import { absent, titled } from "../devices.js";

const device = "cpu";
// On every instruction set tiles with packed panels, in two slices of K.
const [M, K, N] = [70, 600, 40];

const changes: Record<string, (w: Tensor) => void> = {
  "an in-place operation": (w) => noGrad(() => mul_(w, 2)),
  copy_: (w) => noGrad(() => copy_(w, rand([K, N], { device, dtype: w.dtype }))),
  "a view": (w) => noGrad(() => w.narrow(0, 7, 1).mul_(-3)),
  "another tensor with the same buffer": (w) => w.detach().add_(1),
  indexPut_: (w) => noGrad(() => indexPut_(w, [5], 9)),
  "an optimizer": (w) => {
    const optimizer = new optim.SGD([w], { lr: 0.1 });
    sum(w.square()).backward();
    optimizer.step();
    optimizer.zeroGrad();
  },
  "an optimizer in another program": (w) => {
    const optimizer = new optim.SGD([w], { lr: 0.1 });
    const step = compile(() => {
      optimizer.zeroGrad();
      sum(w.square()).backward();
      optimizer.step();
    });
    for (let i = 0; i < 2; i++) step();
    bits(w); // the program runs
    step.dispose();
  },
};

const bits = (t: Tensor): string => {
  const data = t.dataSync() as Float32Array;
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1");
};
/** Whether two results are the same bits. */
const same = (a: Tensor, b: Tensor): boolean => bits(a) === bits(b);

const missing = absent(device);
// A skipped suite says why.
describe.skipIf(missing !== null)(titled("kept panels", missing), () => {
  const inThreads = (body: () => void): void => {
    const before = getNumThreads();
    try {
      for (const threads of [1, 2]) {
        setNumThreads(threads);
        body();
      }
    } finally {
      setNumThreads(before);
    }
  };

  for (const dtype of ["float32", "float64"] as const) {
    for (const fused of [false, true]) {
      const product = (x: Tensor, w: Tensor): Tensor => (fused ? relu(add(matmul(x, w), 0.5)) : matmul(x, w));
      const name = `${fused ? "a fused product" : "a product"} of ${dtype}`;

      test(`${name} follows every change of its factor, bit for bit`, () => {
        inThreads(() => {
          const w = rand([K, N], { device, dtype, requiresGrad: true });
          const infer = compile((x: Tensor) => noGrad(() => product(x, w)));
          const x = rand([M, K], { device, dtype });
          const expectFresh = (after: string): void => {
            for (let i = 0; i < 3; i++) {
              expect(
                same(
                  infer(x),
                  noGrad(() => product(x, w)),
                ),
                after,
              ).toBe(true);
            }
          };
          expectFresh("the capture");
          for (const [after, change] of Object.entries(changes)) {
            const old = infer(x);
            change(w);
            expect(same(infer(x), old), after).toBe(false);
            expectFresh(after);
          }
        });
      });

      test(`${name} follows the factor that is passed`, () => {
        const infer = compile((x: Tensor, w: Tensor) => noGrad(() => product(x, w)));
        const x = rand([M, K], { device, dtype });
        const [a, b] = [rand([K, N], { device, dtype }), rand([K, N], { device, dtype })];
        for (const w of [a, a, a, b, a, b, b, b, a]) {
          expect(
            same(
              infer(x, w),
              noGrad(() => product(x, w)),
            ),
          ).toBe(true);
        }
        // Freed buffers and slots are used again.
        for (let i = 0; i < 4; i++) {
          const w = rand([K, N], { device, dtype });
          for (let j = 0; j < 3; j++) {
            expect(
              same(
                infer(x, w),
                noGrad(() => product(x, w)),
              ),
            ).toBe(true);
          }
          w.dispose();
        }
      });
    }
  }

  test("a layer follows loadStateDict", () => {
    const [layer, other] = [new nn.Linear(K, N, { device }), new nn.Linear(K, N, { device })];
    const infer = compile((x: Tensor) => noGrad(() => relu(layer.forward(x))));
    const x = rand([M, K], { device });
    for (let i = 0; i < 3; i++) infer(x);
    layer.loadStateDict(other.stateDict());
    for (let i = 0; i < 3; i++) {
      expect(
        same(
          infer(x),
          noGrad(() => relu(other.forward(x))),
        ),
      ).toBe(true);
    }
  });

  test("a program that changes its own factor", () => {
    const w = rand([K, N], { device });
    const eager = w.clone();
    const body = (x: Tensor, w: Tensor): Tensor =>
      noGrad(() => {
        const y = matmul(x, w);
        mul_(w, -1.5);
        return add(y, matmul(x, w));
      });
    const step = compile((x: Tensor) => body(x, w));
    const x = rand([M, K], { device });
    for (let i = 0; i < 4; i++) expect(same(step(x), body(x, eager))).toBe(true);
  });

  test("what is kept counts, is bounded and goes with the program", () => {
    const w = rand([K, N], { device });
    const infer = compile((x: Tensor) => noGrad(() => matmul(x, w)));
    const x = rand([M, K], { device });
    const inUse = (): number => {
      infer(x).dispose();
      return memory(device).inUse;
    };
    // The first call captures.
    const uses = [inUse(), inUse(), inUse(), inUse(), inUse()];
    const kept = uses[4] - uses[0];
    expect(kept).toBeGreaterThanOrEqual(K * N * 4);
    expect(kept).toBeLessThanOrEqual(K * N * 4 * 2);
    const before = memory(device).inUse;
    infer.dispose();
    expect(before - memory(device).inUse).toBeGreaterThanOrEqual(kept);
  });
});

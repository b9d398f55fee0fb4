// The tuned inner routines of the JavaScript device against the plainest loops, at sizes around their tiles and blocks.
import { describe, expect, it } from "vitest";
import { JsDevice } from "../../../lib/device/js/index.js";
import { gemm, type Matrix } from "../../../lib/device/js/matmul.js";
import { exp32, tanh32 } from "../../../lib/device/js/special.js";
import { Bench, elementwise } from "../encode.js";

const device = new JsDevice();
const bench = new Bench(device);

/** Small integers, whose sums are exact in float32 in any order. */
const integers = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => ((Math.imul(i + seed, 2654435761) >>> 8) % 7) - 3);

describe("products", () => {
  const matrix = (rows: number, cols: number, type: typeof Float32Array | typeof Float64Array, byColumns: boolean) => {
    const data = type.from(integers(rows * cols + 5, rows + 3 * cols));
    const strides = byColumns ? { rowStride: 1, colStride: rows } : { rowStride: cols, colStride: 1 };
    return { data, dtype: type === Float32Array ? 0 : 1, at: 5, ...strides } as Matrix;
  };
  const at = (m: Matrix, i: number, j: number) => m.data[m.at + i * m.rowStride + j * m.colStride] as number;

  // Tiles of 3 × 2; blocks of 96 rows, 128 columns and 256 deep; products up to 512 plainly; one and two rows apart.
  const shapes = [
    [1, 5, 7],
    [1, 260, 130],
    [2, 131, 300],
    [3, 2, 600],
    [4, 7, 9],
    [8, 8, 8],
    [8, 8, 9],
    [95, 3, 257],
    [97, 127, 31],
    [98, 129, 16],
    [300, 1, 40],
    [10, 130, 513],
    [5, 5, 0],
  ];
  for (const [M, N, K] of shapes) {
    it(`${M} × ${K} × ${N}`, () => {
      for (const layout of [0, 1, 2, 3]) {
        const type = layout === 2 ? Float64Array : Float32Array;
        const a = matrix(M, K, type, layout % 2 === 1);
        const b = matrix(K, N, type, layout > 1);
        const c = matrix(M, N, type, layout === 1);
        const sum = matrix(M, N, type, layout === 1);
        const was = { ...sum, data: sum.data.slice() };
        gemm(M, N, K, a, b, c);
        gemm(M, N, K, a, b, sum, true);
        let wrong = 0;
        for (let i = 0; i < M; i++) {
          for (let j = 0; j < N; j++) {
            let want = 0;
            for (let k = 0; k < K; k++) want += at(a, i, k) * at(b, k, j);
            if (at(c, i, j) !== want || at(sum, i, j) !== want + at(was, i, j)) wrong++;
          }
        }
        expect(wrong).toBe(0);
      }
    });
  }
});

describe("convolutions", () => {
  // [N, C, H, W], [O, R, S], strides, padding, dilations, groups: depths beyond a block, outputs beyond one, odd windows.
  const cases = [
    [[2, 3, 7, 6], [5, 3, 2], [1, 1], [0, 0], [1, 1], 1],
    [[1, 40, 5, 5], [4, 3, 3], [1, 2], [1, 1], [1, 1], 1],
    [[1, 2, 6, 9], [98, 2, 2], [2, 3], [0, 1], [2, 1], 1],
    [[2, 6, 8, 5], [6, 3, 3], [2, 1], [2, 3], [1, 2], 3],
    [[1, 4, 18, 17], [3, 1, 1], [1, 1], [0, 0], [1, 1], 1],
  ] as const;
  for (const [x, w, stride, pad, dilation, groups] of cases) {
    it(`${x} by ${w}`, () => {
      const [N, C, H, W] = x;
      const [O, R, S] = w;
      const [sH, sW] = stride;
      const [dH, dW] = dilation;
      const P = Math.floor((H + 2 * pad[0] - dH * (R - 1) - 1) / sH) + 1;
      const Q = Math.floor((W + 2 * pad[1] - dW * (S - 1) - 1) / sW) + 1;
      const I = C / groups;
      const input = integers(N * C * H * W, 1);
      const weight = integers(O * I * R * S, 2);
      const grad = integers(N * O * P * Q, 3);
      const y = new Array(grad.length).fill(0);
      const dx = new Array(input.length).fill(0);
      const dw = new Array(weight.length).fill(0);
      for (let out = 0; out < grad.length; out++) {
        const q = out % Q;
        const p = Math.floor(out / Q) % P;
        const o = Math.floor(out / (Q * P)) % O;
        const n = Math.floor(out / (Q * P * O));
        for (let tap = 0; tap < I * R * S; tap++) {
          const h = p * sH - pad[0] + (Math.floor(tap / S) % R) * dH;
          const v = q * sW - pad[1] + (tap % S) * dW;
          if (h < 0 || h >= H || v < 0 || v >= W) continue;
          const c = Math.floor(o / (O / groups)) * I + Math.floor(tap / (R * S));
          const at = ((n * C + c) * H + h) * W + v;
          y[out] += input[at] * weight[o * I * R * S + tap];
          dx[at] += grad[out] * weight[o * I * R * S + tap];
          dw[o * I * R * S + tap] += grad[out] * input[at];
        }
      }
      const attr = [...stride, ...pad, ...dilation, groups];
      const X = bench.tensor("float32", [...x], input);
      const K = bench.tensor("float32", [O, I, R, S], weight);
      const G = bench.tensor("float32", [N, O, P, Q], grad);
      const run = (op: string, shape: number[], a: typeof X, b: typeof X) => {
        const to = bench.empty("float32", shape);
        bench.run({ op, attr, out: [to], in: [a, b] });
        return bench.numbers(to).map((v) => Number(v) + 0);
      };
      expect(run("conv2d", [N, O, P, Q], X, K)).toEqual(y.map((v) => v + 0));
      expect(run("conv2dInputGrad", [...x], G, K)).toEqual(dx.map((v) => v + 0));
      expect(run("conv2dWeightGrad", [O, I, R, S], X, G)).toEqual(dw.map((v) => v + 0));
    });
  }
});

describe("element-wise loops", () => {
  const special = [0, -0, 1, -1, 3.5, -2.5, NaN, Infinity, -Infinity, 1e-40, -1e-40];

  // Short ones step with strides, long contiguous ones share an index.
  for (const n of [11, 1023, 1024, 3000]) {
    for (const dtype of ["float32", "float64"] as const) {
      it(`chooses without branches: ${n} of ${dtype}`, () => {
        const values = Array.from({ length: n }, (_, i) => special[i % special.length]);
        const others = Array.from({ length: n }, (_, i) => i % 100);
        const choice = Array.from({ length: n }, (_, i) => (i % 3) & 1);
        const x = bench.tensor(dtype, [n], values);
        const y = bench.tensor(dtype, [n], others);
        const c = bench.tensor("bool", [n], choice);
        const relu = bench.empty(dtype, [n]);
        const where = bench.empty(dtype, [n]);
        bench.run(elementwise(device, "relu", dtype, relu, x), elementwise(device, "where", dtype, where, c, x, y));
        const exact = (v: number) => (dtype === "float32" ? Math.fround(v) : v);
        expect(bench.numbers(relu)).toEqual(values.map((v) => (v < 0 ? 0 : exact(v))));
        expect(bench.numbers(where)).toEqual(values.map((v, i) => (choice[i] ? exact(v) : others[i])));
      });
    }
  }

  it("exp and tanh of float32 are right to its last digit and beyond", () => {
    const error = (got: number, want: number) => Math.abs(got - want) / Math.abs(want);
    let worst = 0;
    for (let x = -104.9; x < 89; x += 0.0137) worst = Math.max(worst, error(exp32(x), Math.exp(x)));
    for (let x = 1e-6; x < 12; x *= 1.0021) {
      worst = Math.max(worst, error(tanh32(x), Math.tanh(x)), error(tanh32(-x), Math.tanh(-x)));
    }
    expect(worst).toBeLessThan(1e-10);
    expect([NaN, Infinity, -Infinity, -200, 0].map(exp32)).toEqual([NaN, Infinity, 0, Math.exp(-200), 1]);
    expect([NaN, Infinity, -Infinity, 0, -0].map(tanh32)).toEqual([NaN, 1, -1, 0, -0]);
  });
});

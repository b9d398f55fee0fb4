// Attention and its gradient, matrix by matrix of the batch, in float64. This room forms the scores of a whole matrix; the
// native one goes through them in blocks.
import { dense, gemm, type Matrix, transposed } from "./matmul.js";
import {
  BOOL,
  type Call,
  demand,
  demandCounts,
  demandDType,
  demandShape,
  doubles,
  F32,
  F64,
  type Kernel,
  load,
  loadRow,
  store,
  type View,
  Walk,
} from "./view.js";

/** With `given` inputs, of which the last is the scale, and perhaps a mask after them. */
function demandCommon(call: Call, nOut: number, given: number): void {
  demandCounts(call, nOut, call.nIn === given + 1 ? given + 1 : given, 1);
  demand(call.attr[0] === 0 || call.attr[0] === 1, call, "causal is 0 or 1");
  const [q, k, v] = call.in;
  demand(q.dtype === F32 || q.dtype === F64, call, "takes float32 and float64");
  demand(q.ndim >= 2 && k.ndim === q.ndim && v.ndim === q.ndim, call, "takes matrices");
  demand(q.numel > 0 && k.numel > 0 && v.numel > 0, call, "takes matrices that are not empty");
  const outer = q.dims.slice(0, -2);
  const [l, e] = q.dims.slice(-2);
  const s = k.shape[q.ndim - 2];
  demandDType(call, q.dtype, k, v);
  demandShape(call, [...outer, s, e], k);
  demandShape(call, [...outer, s, v.shape[q.ndim - 1]], v);
  demandShape(call, [], call.in[given - 1]);
  if (call.nIn > given) {
    const mask = call.in[given];
    demandShape(call, [...outer, l, s], mask);
    if (mask.dtype !== BOOL) demandDType(call, q.dtype, mask);
  }
}

/** One matrix of a view, where it lies. */
const matrixAt = ({ data, dtype, strides, ndim }: View, at: number): Matrix => ({
  data,
  dtype,
  at,
  rowStride: strides[ndim - 2],
  colStride: strides[ndim - 1],
});

/** scale·Q·Kᵀ for l queries and n keys, −∞ where nothing may be seen. */
function formScores(call: Call, q: Matrix, k: Matrix, scale: number, mask: View | undefined, at: number): Float64Array {
  const { shape, ndim } = call.in[1];
  const [n, e] = [shape[ndim - 2], shape[ndim - 1]];
  const l = call.in[0].shape[ndim - 2];
  const scores = doubles("attention scores", l * n);
  gemm(l, n, e, q, transposed(k), dense(scores, n));
  for (let i = 0; i < l; i++) {
    for (let j = 0; j < n; j++) {
      const s = i * n + j;
      scores[s] *= scale;
      if (call.attr[0] && j > i) scores[s] = -Infinity;
      if (!mask) continue;
      const m = load(mask.data, mask.dtype, at + i * mask.strides[ndim - 2] + j * mask.strides[ndim - 1]) as number;
      if (mask.dtype !== BOOL) scores[s] += m;
      else if (m === 0) scores[s] = -Infinity;
    }
  }
  return scores;
}

const attention: Kernel = {
  check(call) {
    demandCommon(call, 2, 4);
    const [q, , v] = call.in;
    const rows = q.dims.slice(0, -1);
    demandDType(call, q.dtype, call.out[0], call.out[1]);
    demandShape(call, [...rows, v.shape[q.ndim - 1]], call.out[0]);
    demandShape(call, rows, call.out[1]);
  },
  run(call) {
    const [y, lse] = call.out;
    const [q, k, v, factor] = call.in;
    const mask = call.nIn > 4 ? call.in[4] : undefined;
    const [l, n, f] = [q.shape[q.ndim - 2], k.shape[k.ndim - 2], v.shape[v.ndim - 1]];
    for (const w = new Walk(q.shape.slice(0, q.ndim - 2), [q, k, v, y, lse, mask ?? q]); w.more; w.next()) {
      const weights = formScores(call, matrixAt(q, w.at[0]), matrixAt(k, w.at[1]), factor.scalar, mask, w.at[5]);
      for (let i = 0; i < l; i++) {
        const row = weights.subarray(i * n, (i + 1) * n);
        let most = -Infinity;
        for (let j = 0; j < n; j++) most = Math.max(most, row[j]);
        let total = 0;
        for (let j = 0; j < n; j++) {
          row[j] = Math.exp(row[j] - most);
          total += row[j];
        }
        for (let j = 0; j < n; j++) row[j] /= total;
        // Nothing seen: log 0.
        const log = most === -Infinity ? -Infinity : most + Math.log(total);
        store(lse.data, lse.dtype, w.at[4] + i * lse.strides[lse.ndim - 1], log);
      }
      gemm(l, f, n, dense(weights, n), matrixAt(v, w.at[2]), matrixAt(y, w.at[3]));
    }
  },
};

const attentionGrad: Kernel = {
  check(call) {
    demandCommon(call, 3, 7);
    const [q, , v, y, lse, dy] = call.in;
    const rows = q.dims.slice(0, -1);
    demandDType(call, q.dtype, y, lse, dy, ...call.out.slice(0, 3));
    demandShape(call, [...rows, v.shape[q.ndim - 1]], y, dy);
    demandShape(call, rows, lse);
    for (let i = 0; i < 3; i++) demandShape(call, call.in[i].dims, call.out[i]);
  },
  run(call) {
    const [dq, dk, dv] = call.out;
    const [q, k, v, y, lse, dy, factor] = call.in;
    const mask = call.nIn > 7 ? call.in[7] : undefined;
    const [l, e] = q.dims.slice(-2);
    const [n, f] = v.dims.slice(-2);
    const scale = factor.scalar;
    const slopes = doubles("attention slopes", l * n);
    const [result, gradient] = [doubles("attention y", f), doubles("attention dy", f)];
    const views = [q, k, v, y, lse, dy, mask ?? q, dq, dk, dv];
    for (const w = new Walk(q.shape.slice(0, q.ndim - 2), views); w.more; w.next()) {
      const [Q, K, V] = [matrixAt(q, w.at[0]), matrixAt(k, w.at[1]), matrixAt(v, w.at[2])];
      const dY = matrixAt(dy, w.at[5]);
      const weights = formScores(call, Q, K, scale, mask, w.at[6]);
      gemm(l, n, f, dY, transposed(V), dense(slopes, n));
      for (let i = 0; i < l; i++) {
        const log = load(lse.data, lse.dtype, w.at[4] + i * lse.strides[lse.ndim - 1]) as number;
        loadRow(y.data, y.dtype, w.at[3] + i * y.strides[y.ndim - 2], y.strides[y.ndim - 1], f, result, 0);
        loadRow(dy.data, dy.dtype, dY.at + i * dY.rowStride, dY.colStride, f, gradient, 0);
        let dot = 0;
        for (let c = 0; c < f; c++) dot += gradient[c] * result[c];
        for (let j = i * n; j < (i + 1) * n; j++) {
          weights[j] = Math.exp(weights[j] - log);
          slopes[j] = weights[j] * (slopes[j] - dot) * scale;
        }
      }
      gemm(l, e, n, dense(slopes, n), K, matrixAt(dq, w.at[7]));
      gemm(n, e, l, transposed(dense(slopes, n)), Q, matrixAt(dk, w.at[8]));
      gemm(n, f, l, transposed(dense(weights, n)), dY, matrixAt(dv, w.at[9]));
    }
  },
};

export const kernels: Record<string, Kernel> = { attention, attentionGrad };

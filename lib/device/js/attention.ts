// Attention and its gradient, a row of scores at a time; rows are computed in float64.
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
  storeRow,
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

/** The rows of one matrix of a view, contiguous. */
function loadMatrix(v: View, at: number, name: string): Float64Array {
  const [rows, n] = v.dims.slice(-2);
  const to = doubles(name, rows * n);
  for (let i = 0; i < rows; i++) {
    loadRow(v.data, v.dtype, at + i * v.strides[v.ndim - 2], v.strides[v.ndim - 1], n, to, i * n);
  }
  return to;
}
function storeMatrix(v: View, at: number, from: Float64Array): void {
  const [rows, n] = v.dims.slice(-2);
  for (let i = 0; i < rows; i++) {
    const row = at + i * v.strides[v.ndim - 2];
    storeRow(v.data, v.dtype, row, v.strides[v.ndim - 1], n, from.subarray(i * n, (i + 1) * n));
  }
}

function dotRows(a: Float64Array, i: number, b: Float64Array, j: number, n: number): number {
  let sum = 0;
  for (let e = 0, p = i * n, q = j * n; e < n; e++) sum += a[p + e] * b[q + e];
  return sum;
}
function addRow(to: Float64Array, i: number, weight: number, from: Float64Array, j: number, n: number): void {
  for (let e = 0, p = i * n, q = j * n; e < n; e++) to[p + e] += weight * from[q + e];
}

/** The scores of query i, whose matrices begin at 0, into `row`; how many keys it may see. */
function scoresOf(
  call: Call,
  i: number,
  q: Float64Array,
  k: Float64Array,
  scale: number,
  mask: View | undefined,
  at: number,
  row: Float64Array,
): number {
  const { shape, ndim } = call.in[1];
  const [s, e] = [shape[ndim - 2], shape[ndim - 1]];
  const seen = call.attr[0] ? Math.min(s, i + 1) : s;
  for (let j = 0; j < seen; j++) {
    let score = scale * dotRows(q, i, k, j, e);
    if (mask) {
      const m = load(mask.data, mask.dtype, at + i * mask.strides[ndim - 2] + j * mask.strides[ndim - 1]) as number;
      if (mask.dtype !== BOOL) score += m;
      else if (m === 0) score = -Infinity;
    }
    row[j] = score;
  }
  return seen;
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
    const row = doubles("attention row", n);
    const sum = doubles("attention sum", l * f);
    for (const w = new Walk(q.shape.slice(0, q.ndim - 2), [q, k, v, y, lse, mask ?? q]); w.more; w.next()) {
      const queries = loadMatrix(q, w.at[0], "attention q");
      const keys = loadMatrix(k, w.at[1], "attention k");
      const values = loadMatrix(v, w.at[2], "attention v");
      sum.fill(0);
      for (let i = 0; i < l; i++) {
        const seen = scoresOf(call, i, queries, keys, factor.scalar, mask, w.at[5], row);
        let most = -Infinity;
        for (let j = 0; j < seen; j++) most = Math.max(most, row[j]);
        let total = 0;
        for (let j = 0; j < seen; j++) {
          row[j] = Math.exp(row[j] - most);
          total += row[j];
        }
        for (let j = 0; j < seen; j++) addRow(sum, i, row[j] / total, values, j, f);
        // Nothing seen: log 0.
        const log = most === -Infinity ? -Infinity : most + Math.log(total);
        store(lse.data, lse.dtype, w.at[4] + i * lse.strides[lse.ndim - 1], log);
      }
      storeMatrix(y, w.at[3], sum);
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
    const row = doubles("attention row", n);
    const [gq, gk, gv] = [
      doubles("attention dq", l * e),
      doubles("attention dk", n * e),
      doubles("attention dv", n * f),
    ];
    const views = [q, k, v, y, lse, dy, mask ?? q, dq, dk, dv];
    for (const w = new Walk(q.shape.slice(0, q.ndim - 2), views); w.more; w.next()) {
      const queries = loadMatrix(q, w.at[0], "attention q");
      const keys = loadMatrix(k, w.at[1], "attention k");
      const values = loadMatrix(v, w.at[2], "attention v");
      const result = loadMatrix(y, w.at[3], "attention y");
      const gradient = loadMatrix(dy, w.at[5], "attention dy");
      for (const to of [gq, gk, gv]) to.fill(0);
      for (let i = 0; i < l; i++) {
        const seen = scoresOf(call, i, queries, keys, scale, mask, w.at[6], row);
        const log = load(lse.data, lse.dtype, w.at[4] + i * lse.strides[lse.ndim - 1]) as number;
        const dot = dotRows(gradient, i, result, i, f);
        for (let j = 0; j < seen; j++) {
          const p = Math.exp(row[j] - log);
          const d = p * (dotRows(gradient, i, values, j, f) - dot) * scale;
          addRow(gv, j, p, gradient, i, f);
          addRow(gq, i, d, keys, j, e);
          addRow(gk, j, d, queries, i, e);
        }
      }
      storeMatrix(dq, w.at[7], gq);
      storeMatrix(dk, w.at[8], gk);
      storeMatrix(dv, w.at[9], gv);
    }
  },
};

export const kernels: Record<string, Kernel> = { attention, attentionGrad };

// Normalisation of [A, R, C] over A and C, and its gradient; computed in float64.
import {
  type Call,
  demand,
  demandCounts,
  demandShape,
  doubles,
  isFloat,
  type Kernel,
  load,
  loadRow,
  store,
  storeRow,
  type View,
} from "./view.js";

/** That x is [A, R, C] and all are float. */
function demandRows(call: Call): void {
  const all = [...call.out.slice(0, call.nOut), ...call.in.slice(0, call.nIn)];
  demand(
    all.every((v) => isFloat(v.dtype)),
    call,
    "takes and gives floats",
  );
  demand(call.in[0].ndim === 3, call, "takes three dimensions");
}

/** Calls visit(offset, part) for the pieces of C elements of channel r, and with the place of each in `row`. */
function eachPiece(x: View, r: number, row: Float64Array, visit: (at: number, piece: Float64Array) => void): void {
  const [A, , C] = x.dims;
  for (let a = 0; a < A; a++) {
    visit(x.offset + a * x.strides[0] + r * x.strides[1], row.subarray(a * C, (a + 1) * C));
  }
}
const loadChannel = (x: View, r: number, row: Float64Array): void =>
  eachPiece(x, r, row, (at, piece) => loadRow(x.data, x.dtype, at, x.strides[2], piece.length, piece));
const storeChannel = (x: View, r: number, row: Float64Array): void =>
  eachPiece(x, r, row, (at, piece) => storeRow(x.data, x.dtype, at, x.strides[2], piece.length, piece));

const normalize: Kernel = {
  check(call) {
    demandCounts(call, 3, 2, 0);
    demandRows(call);
    const [x, eps] = call.in;
    const [xhat, mean, rstd] = call.out;
    demandShape(call, x.dims, xhat);
    demandShape(call, [x.shape[1]], mean, rstd);
    demandShape(call, [], eps);
  },
  run(call) {
    const [x, epsilon] = call.in;
    const [xhat, mean, rstd] = call.out;
    const [A, R, C] = x.dims;
    const n = A * C;
    const eps = epsilon.scalar;
    const row = doubles("norm0", n);
    for (let i = 0; i < R; i++) {
      loadChannel(x, i, row);
      let sum = 0;
      for (let j = 0; j < n; j++) sum += row[j];
      const centre = sum / n;
      let squares = 0;
      for (let j = 0; j < n; j++) squares += (row[j] - centre) ** 2;
      const scale = 1 / Math.sqrt(squares / n + eps);
      for (let j = 0; j < n; j++) row[j] = (row[j] - centre) * scale;
      storeChannel(xhat, i, row);
      store(mean.data, mean.dtype, mean.offset + i * mean.strides[0], centre);
      store(rstd.data, rstd.dtype, rstd.offset + i * rstd.strides[0], scale);
    }
  },
};

const normalizeGrad: Kernel = {
  check(call) {
    demandCounts(call, 1, 3, 0);
    demandRows(call);
    const [dy, xhat, rstd] = call.in;
    demandShape(call, dy.dims, xhat, call.out[0]);
    demandShape(call, [dy.shape[1]], rstd);
  },
  run(call) {
    const [dy, xhat, rstd] = call.in;
    const [dx] = call.out;
    const [A, R, C] = dy.dims;
    const n = A * C;
    const g = doubles("norm0", n);
    const h = doubles("norm1", n);
    for (let i = 0; i < R; i++) {
      loadChannel(dy, i, g);
      loadChannel(xhat, i, h);
      let sum = 0;
      let product = 0;
      for (let j = 0; j < n; j++) {
        sum += g[j];
        product += g[j] * h[j];
      }
      const scale = Number(load(rstd.data, rstd.dtype, rstd.offset + i * rstd.strides[0]));
      for (let j = 0; j < n; j++) g[j] = scale * (g[j] - sum / n - (h[j] * product) / n);
      storeChannel(dx, i, g);
    }
  },
};

export const kernels: Record<string, Kernel> = { normalize, normalizeGrad };

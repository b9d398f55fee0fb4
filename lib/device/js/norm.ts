// Normalisation of rows, and its gradient; rows are computed in float64.
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
} from "./view.js";

/** That x is [R, C], the others fit, and all are float. */
function demandRows(call: Call): void {
  const all = [...call.out.slice(0, call.nOut), ...call.in.slice(0, call.nIn)];
  demand(
    all.every((v) => isFloat(v.dtype)),
    call,
    "takes and gives floats",
  );
  demand(call.in[0].ndim === 2, call, "takes rows: two dimensions");
}

const normalize: Kernel = {
  check(call) {
    demandCounts(call, 3, 2, 0);
    demandRows(call);
    const [x, eps] = call.in;
    const [xhat, mean, rstd] = call.out;
    demandShape(call, x.dims, xhat);
    demandShape(call, [x.shape[0]], mean, rstd);
    demandShape(call, [], eps);
  },
  run(call) {
    const [x, epsilon] = call.in;
    const [xhat, mean, rstd] = call.out;
    const [R, C] = x.dims;
    const eps = epsilon.scalar;
    const row = doubles("norm0", C);
    for (let i = 0; i < R; i++) {
      loadRow(x.data, x.dtype, x.offset + i * x.strides[0], x.strides[1], C, row);
      let sum = 0;
      for (let j = 0; j < C; j++) sum += row[j];
      const centre = sum / C;
      let squares = 0;
      for (let j = 0; j < C; j++) squares += (row[j] - centre) ** 2;
      const scale = 1 / Math.sqrt(squares / C + eps);
      for (let j = 0; j < C; j++) row[j] = (row[j] - centre) * scale;
      storeRow(xhat.data, xhat.dtype, xhat.offset + i * xhat.strides[0], xhat.strides[1], C, row);
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
    demandShape(call, [dy.shape[0]], rstd);
  },
  run(call) {
    const [dy, xhat, rstd] = call.in;
    const [dx] = call.out;
    const [R, C] = dy.dims;
    const g = doubles("norm0", C);
    const h = doubles("norm1", C);
    for (let i = 0; i < R; i++) {
      loadRow(dy.data, dy.dtype, dy.offset + i * dy.strides[0], dy.strides[1], C, g);
      loadRow(xhat.data, xhat.dtype, xhat.offset + i * xhat.strides[0], xhat.strides[1], C, h);
      let sum = 0;
      let product = 0;
      for (let j = 0; j < C; j++) {
        sum += g[j];
        product += g[j] * h[j];
      }
      const scale = Number(load(rstd.data, rstd.dtype, rstd.offset + i * rstd.strides[0]));
      for (let j = 0; j < C; j++) g[j] = scale * (g[j] - sum / C - (h[j] * product) / C);
      storeRow(dx.data, dx.dtype, dx.offset + i * dx.strides[0], dx.strides[1], C, g);
    }
  },
};

export const kernels: Record<string, Kernel> = { normalize, normalizeGrad };

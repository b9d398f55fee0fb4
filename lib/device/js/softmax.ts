// softmax and logSoftmax along the last dimension, and their gradients; rows are computed in float64.
import { exp32 } from "./special.js";
import {
  type Call,
  demand,
  demandCounts,
  demandDType,
  demandShape,
  doubles,
  F64,
  isFloat,
  type Kernel,
  loadRow,
  storeRow,
  Walk,
} from "./view.js";

type Exp = (x: number) => number;

const spaces = ["softmax0", "softmax1"];

/** A kernel over rows of equal shapes: row(n, inputs) leaves the result in inputs[0]. */
function rowKernel(nIn: number, row: (n: number, inputs: Float64Array[], exp: Exp) => void): Kernel {
  return {
    check(call) {
      demandCounts(call, 1, nIn, 0);
      const [y] = call.out;
      const inputs = call.in.slice(0, nIn);
      demand(y.ndim > 0 && isFloat(y.dtype), call, "takes floats of at least one dimension");
      demandShape(call, y.dims, ...inputs);
      demandDType(call, y.dtype, ...inputs);
    },
    run(call: Call) {
      const [y] = call.out;
      const inputs = call.in;
      const last = y.ndim - 1;
      const n = y.shape[last];
      const exp = y.dtype === F64 ? Math.exp : exp32;
      const rows: Float64Array[] = [];
      for (let i = 0; i < nIn; i++) rows.push(doubles(spaces[i], n));
      const walk = call.memo as Walk | undefined;
      const w = walk?.restart() ?? new Walk(y.shape.slice(0, last), [...inputs.slice(0, nIn), y]);
      if (call.keep) call.memo = w;
      for (; w.more; w.next()) {
        for (let i = 0; i < nIn; i++) {
          loadRow(inputs[i].data, inputs[i].dtype, w.at[i], inputs[i].strides[last], n, rows[i]);
        }
        row(n, rows, exp);
        storeRow(y.data, y.dtype, w.at[nIn], y.strides[last], n, rows[0]);
      }
    },
  };
}

function largest(n: number, x: Float64Array): number {
  let max = -Infinity;
  for (let i = 0; i < n; i++) max = Math.max(max, x[i]);
  return max;
}

const softmax = rowKernel(1, (n, [x], exp) => {
  const max = largest(n, x);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    x[i] = exp(x[i] - max);
    sum += x[i];
  }
  const scale = 1 / sum;
  for (let i = 0; i < n; i++) x[i] *= scale;
});

const logSoftmax = rowKernel(1, (n, [x], exp) => {
  const max = largest(n, x);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += exp(x[i] - max);
  const log = Math.log(sum);
  for (let i = 0; i < n; i++) x[i] = x[i] - max - log;
});

const softmaxGrad = rowKernel(2, (n, [dy, y]) => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += y[i] * dy[i];
  for (let i = 0; i < n; i++) dy[i] = y[i] * (dy[i] - sum);
});

const logSoftmaxGrad = rowKernel(2, (n, [dy, y], exp) => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += dy[i];
  for (let i = 0; i < n; i++) dy[i] -= exp(y[i]) * sum;
});

export const kernels: Record<string, Kernel> = { softmax, logSoftmax, softmaxGrad, logSoftmaxGrad };

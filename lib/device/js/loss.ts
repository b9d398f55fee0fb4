// Cross-entropy of logits against class indices, and its gradient; rows are computed in float64.
import { IndexError } from "../../errors.js";
import {
  type Call,
  demand,
  demandCounts,
  demandDType,
  demandShape,
  doubles,
  F32,
  F64,
  I32,
  I64,
  isFloat,
  type Kernel,
  load,
  loadRow,
  store,
  storeRow,
  type View,
  Walk,
} from "./view.js";

const SUM = 1;
const MEAN = 2;

function demandCommon(call: Call, x: View, parts: View, target: View, ignored: View): void {
  demand(x.ndim > 0 && isFloat(x.dtype), call, "takes floats of at least one dimension");
  demand(target.dtype === I64 || target.dtype === I32, call, "the target must be int64 or int32");
  const rows = x.dims.slice(0, -1);
  demandShape(call, rows, target);
  demandShape(call, [], ignored);
  demandShape(call, [...rows, 2], parts);
  demandDType(call, x.dtype === F64 ? F64 : F32, parts);
}

/** The label at a place of the target, −1 where it counts nothing. */
function labelAt(call: Call, target: View, at: number, ignored: number, classes: number): number {
  const label = Number(load(target.data, target.dtype, at));
  if (label === ignored) return -1;
  if (label < 0 || label >= classes) {
    throw new IndexError(`${call.op}: label ${label} is out of range for ${classes} classes`);
  }
  return label;
}

/** Every label is looked at before anything is written. */
function checkLabels(call: Call, target: View, ignored: number, classes: number): void {
  for (const w = new Walk(target.dims, [target]); w.more; w.next()) labelAt(call, target, w.at[0], ignored, classes);
}

const crossEntropy: Kernel = {
  check(call) {
    demandCounts(call, 3, 3, 1);
    const [loss, parts, count] = call.out;
    const [x, target, ignored] = call.in;
    demandCommon(call, x, parts, target, ignored);
    const [reduction] = call.attr;
    demand(reduction >= 0 && reduction <= MEAN, call, "the reduction is 0 (none), 1 (sum) or 2 (mean)");
    demandDType(call, x.dtype, loss);
    demandShape(call, reduction === 0 ? target.dims : [], loss);
    demandDType(call, parts.dtype, count);
    demandShape(call, [], count);
  },
  run(call) {
    const [loss, parts, count] = call.out;
    const [x, target, ignore] = call.in;
    const [reduction] = call.attr;
    const last = x.ndim - 1;
    const n = x.shape[last];
    const ignored = ignore.scalar;
    checkLabels(call, target, ignored, n);
    const row = doubles("loss", n);
    const lossRows = { offset: loss.offset, strides: reduction === 0 ? loss.strides : new Array(last).fill(0) };
    let counted = 0;
    let total = 0;
    for (const w = new Walk(x.shape.slice(0, last), [x, target, parts, lossRows]); w.more; w.next()) {
      loadRow(x.data, x.dtype, w.at[0], x.strides[last], n, row);
      let max = -Infinity;
      for (let i = 0; i < n; i++) max = Math.max(max, row[i]);
      let sum = 0;
      for (let i = 0; i < n; i++) sum += Math.exp(row[i] - max);
      const log = Math.log(sum);
      const label = labelAt(call, target, w.at[1], ignored, n);
      const value = label < 0 ? 0 : log - (row[label] - max);
      if (label >= 0) counted++;
      total += value;
      store(parts.data, parts.dtype, w.at[2], max);
      store(parts.data, parts.dtype, w.at[2] + parts.strides[last], log);
      if (reduction === 0) store(loss.data, loss.dtype, w.at[3], value);
    }
    store(count.data, count.dtype, count.offset, counted);
    if (reduction !== 0) store(loss.data, loss.dtype, loss.offset, reduction === SUM ? total : total / counted);
  },
};

const crossEntropyGrad: Kernel = {
  check(call) {
    demandCounts(call, 1, 6, 0);
    const [dx] = call.out;
    const [g, x, parts, target, ignored, divisor] = call.in;
    demandCommon(call, x, parts, target, ignored);
    demand(isFloat(g.dtype) && isFloat(divisor.dtype), call, "g and the divisor must be floats");
    if (g.ndim > 0) demandShape(call, target.dims, g);
    demandShape(call, [], divisor);
    demandDType(call, x.dtype, dx);
    demandShape(call, x.dims, dx);
  },
  run(call) {
    const [dx] = call.out;
    const [g, x, parts, target, ignore, by] = call.in;
    const last = x.ndim - 1;
    const n = x.shape[last];
    const ignored = ignore.scalar;
    const divisor = by.scalar;
    checkLabels(call, target, ignored, n);
    const row = doubles("loss", n);
    const gRows = { offset: g.offset, strides: g.ndim > 0 ? g.strides : new Array(last).fill(0) };
    for (const w = new Walk(x.shape.slice(0, last), [x, target, parts, gRows, dx]); w.more; w.next()) {
      loadRow(x.data, x.dtype, w.at[0], x.strides[last], n, row);
      const label = labelAt(call, target, w.at[1], ignored, n);
      const max = load(parts.data, parts.dtype, w.at[2]) as number;
      const log = load(parts.data, parts.dtype, w.at[2] + parts.strides[last]) as number;
      const weight = (load(g.data, g.dtype, w.at[3]) as number) / divisor;
      for (let i = 0; i < n; i++) {
        row[i] = label < 0 ? 0 : (Math.exp(row[i] - max - log) - (i === label ? 1 : 0)) * weight;
      }
      storeRow(dx.data, dx.dtype, w.at[4], dx.strides[last], n, row);
    }
  },
};

export const kernels: Record<string, Kernel> = { crossEntropy, crossEntropyGrad };

// Reductions over the last r dimensions: sum, prod, mean, max, min, any, all, argmax, argmin.
//
// Values are folded as float64, so that float32 sums are rounded once; sums of float64 are compensated (Neumaier,
// "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM 54, 1974); ints are folded as int64.
import {
  BOOL,
  type Call,
  type Dims,
  demand,
  demandCounts,
  demandDType,
  demandShape,
  doubles,
  F64,
  I64,
  isFloat,
  type Kernel,
  loadLongs,
  loadRow,
  longs,
  mergeDims,
  store,
  storeRow,
  type View,
  Walk,
} from "./view.js";

type Fold = "sum" | "prod" | "mean" | "max" | "min" | "any" | "all";
const SUM_LIKE: readonly Fold[] = ["sum", "mean"];

/** Elements of a row that are loaded at a time. */
const CHUNK = 4096;

// --- checks ---

function checkShapes(call: Call): void {
  demandCounts(call, 1, 1, 1);
  const [x] = call.in;
  const r = call.attr[0];
  demand(r >= 0 && r <= x.ndim, call, `cannot reduce ${r} of ${x.ndim} dimensions`);
  demandShape(call, x.shape.slice(0, x.ndim - r), call.out[0]);
}

/** That there is a largest element. */
function checkNonEmpty(call: Call): void {
  const ok = call.in[0].numel > 0 || call.out[0].numel === 0;
  demand(ok, call, "has no value over no elements");
}

function checkFold(fold: Fold): (call: Call) => void {
  return (call) => {
    checkShapes(call);
    const [x] = call.in;
    const [y] = call.out;
    if (fold === "sum" || fold === "prod") {
      demand(isFloat(y.dtype) === isFloat(x.dtype), call, "the output of floats is float, of ints int");
    } else if (fold === "mean") demand(isFloat(x.dtype) && isFloat(y.dtype), call, "takes and gives floats");
    else if (fold === "max" || fold === "min") {
      demandDType(call, x.dtype, y);
      checkNonEmpty(call);
    } else demandDType(call, BOOL, y);
  };
}

function checkArg(call: Call): void {
  checkShapes(call);
  demandDType(call, I64, call.out[0]);
  checkNonEmpty(call);
}

// --- folds of float64 ---

/** Folds s[0 … n) into a value. */
function foldRow(fold: Fold, value: number, s: Float64Array, n: number): number {
  let v = value;
  switch (fold) {
    case "prod":
      for (let i = 0; i < n; i++) v *= s[i];
      return v;
    case "max":
      for (let i = 0; i < n; i++) v = Math.max(v, s[i]);
      return v;
    case "min":
      for (let i = 0; i < n; i++) v = Math.min(v, s[i]);
      return v;
    case "any":
      for (let i = 0; i < n; i++) if (s[i] !== 0) return 1;
      return v;
    case "all":
      for (let i = 0; i < n; i++) if (s[i] === 0) return 0;
      return v;
    default:
      for (let i = 0; i < n; i++) v += s[i];
      return v;
  }
}

/** Folds s[i] into each value[i]. */
function foldColumns(fold: Fold, value: Float64Array, s: Float64Array, n: number): void {
  switch (fold) {
    case "prod":
      for (let i = 0; i < n; i++) value[i] *= s[i];
      break;
    case "max":
      for (let i = 0; i < n; i++) value[i] = Math.max(value[i], s[i]);
      break;
    case "min":
      for (let i = 0; i < n; i++) value[i] = Math.min(value[i], s[i]);
      break;
    case "any":
      for (let i = 0; i < n; i++) if (s[i] !== 0) value[i] = 1;
      break;
    case "all":
      for (let i = 0; i < n; i++) if (s[i] === 0) value[i] = 0;
      break;
    default:
      for (let i = 0; i < n; i++) value[i] += s[i];
  }
}

/** Adds s[i] to sum[i] and what rounding lost to lost[i]. */
function addCompensated(sum: Float64Array, lost: Float64Array, s: Float64Array, n: number, step: 0 | 1): void {
  for (let i = 0, k = 0; i < n; i++, k += step) {
    const a = sum[k];
    const t = a + s[i];
    lost[k] += Math.abs(a) >= Math.abs(s[i]) ? a - t + s[i] : s[i] - t + a;
    sum[k] = t;
  }
}

function initial(fold: Fold): number {
  return fold === "prod" || fold === "all" ? 1 : fold === "max" ? -Infinity : fold === "min" ? Infinity : 0;
}

/** The value of a row, and what rounding lost. */
const sum = new Float64Array(1);
const lost = new Float64Array(1);

/** The value of a fold over `count` elements from what was folded and what was lost. */
function finish(fold: Fold, value: number, lost: number, count: number): number {
  const sum = lost !== 0 && Number.isFinite(value) ? value + lost : value;
  return fold === "mean" ? sum / count : sum;
}

/** What remains after the last `taken` entries, as operand of a Walk at an offset. */
const rest = (dims: Dims, taken: number) => dims.sizes.slice(0, dims.sizes.length - taken);

/** How a reduction walks through memory: over the outputs, and for each of them over what is folded. */
interface Plan {
  inner: Dims;
  count: number;
  /** Neighbours in memory belong to different outputs: many outputs are folded at a time. */
  byColumns: boolean;
  outputs: Walk;
  /** Where `rows` starts. */
  start: { offset: number; strides: readonly number[] };
  rows: Walk;
}

function planOf(call: Call): Plan {
  if (call.memo) return call.memo as Plan;
  const [x] = call.in;
  const [y] = call.out;
  const outer = x.ndim - call.attr[0];
  const inner = mergeDims(x, outer, x.ndim);
  const byColumns =
    outer > 0 &&
    y.shape[outer - 1] > 1 &&
    inner.sizes.length > 0 &&
    Math.abs(x.strides[outer - 1]) < Math.abs(inner.strides.at(-1)!);
  const start = { offset: 0, strides: inner.strides };
  const plan: Plan = {
    inner,
    count: inner.sizes.reduce((a, b) => a * b, 1),
    byColumns,
    outputs: new Walk(y.shape.slice(0, byColumns ? outer - 1 : outer), [x, y]),
    start,
    rows: new Walk(byColumns ? inner.sizes : rest(inner, 1), [start]),
  };
  if (call.keep) call.memo = plan;
  return plan;
}

function runDoubles(fold: Fold, call: Call): void {
  const [x] = call.in;
  const [y] = call.out;
  const { inner, count, byColumns, outputs, start, rows } = planOf(call);
  const compensate = x.dtype === F64 && SUM_LIKE.includes(fold);
  const row = doubles("reduceRow", CHUNK);

  if (byColumns) {
    const last = y.ndim - 1;
    const columns = y.shape[last];
    const value = doubles("reduceValue", CHUNK);
    const lost = doubles("reduceLost", CHUNK);
    for (let from = 0; from < columns; from += CHUNK) {
      const n = Math.min(CHUNK, columns - from);
      for (const w = outputs.restart(); w.more; w.next()) {
        value.fill(initial(fold), 0, n);
        if (compensate) lost.fill(0, 0, n);
        start.offset = w.at[0] + from * x.strides[last];
        for (const v = rows.restart(); v.more; v.next()) {
          loadRow(x.data, x.dtype, v.at[0], x.strides[last], n, row);
          if (compensate) addCompensated(value, lost, row, n, 1);
          else foldColumns(fold, value, row, n);
        }
        for (let i = 0; i < n; i++) value[i] = finish(fold, value[i], compensate ? lost[i] : 0, count);
        storeRow(y.data, y.dtype, w.at[1] + from * y.strides[last], y.strides[last], n, value);
      }
    }
    return;
  }

  const length = inner.sizes.at(-1) ?? 1;
  const stride = inner.strides.at(-1) ?? 0;
  for (const w = outputs.restart(); w.more; w.next()) {
    sum[0] = initial(fold);
    lost[0] = 0;
    start.offset = w.at[0];
    for (const v = rows.restart(); v.more; v.next()) {
      for (let from = 0; from < length; from += CHUNK) {
        const n = Math.min(CHUNK, length - from);
        loadRow(x.data, x.dtype, v.at[0] + from * stride, stride, n, row);
        if (compensate) addCompensated(sum, lost, row, n, 0);
        else sum[0] = foldRow(fold, sum[0], row, n);
      }
    }
    store(y.data, y.dtype, w.at[1], finish(fold, sum[0], lost[0], count));
  }
}

// --- folds of int64 ---

function foldLongs(fold: Fold, value: bigint | undefined, s: BigInt64Array, n: number): bigint | undefined {
  let v = value;
  for (let i = 0; i < n; i++) {
    const x = s[i];
    if (v === undefined) v = x;
    else if (fold === "sum") v = BigInt.asIntN(64, v + x);
    else if (fold === "prod") v = BigInt.asIntN(64, v * x);
    else if (fold === "max" ? x > v : x < v) v = x;
  }
  return v;
}

function runLongs(fold: Fold, x: View, y: View, r: number): void {
  const inner = mergeDims(x, x.ndim - r, x.ndim);
  const stride = inner.strides.at(-1) ?? 0;
  const length = inner.sizes.at(-1) ?? 1;
  const row = longs("reduceRow", CHUNK);
  const wide = doubles("reduceRow", CHUNK);
  const start = fold === "sum" ? 0n : fold === "prod" ? 1n : undefined;
  for (const w = new Walk(y.shape.slice(0, x.ndim - r), [x, y]); w.more; w.next()) {
    let value = start;
    for (const v = new Walk(rest(inner, 1), [{ offset: w.at[0], strides: inner.strides }]); v.more; v.next()) {
      for (let from = 0; from < length; from += CHUNK) {
        const n = Math.min(CHUNK, length - from);
        const at = v.at[0] + from * stride;
        if (fold === "sum" && x.dtype !== I64) {
          loadRow(x.data, x.dtype, at, stride, n, wide); // a chunk of such ints sums exactly in float64
          row[0] = BigInt(foldRow("sum", 0, wide, n));
          value = foldLongs(fold, value, row, 1);
        } else {
          loadLongs(x.data, x.dtype, at, stride, n, row);
          value = foldLongs(fold, value, row, n);
        }
      }
    }
    store(y.data, y.dtype, w.at[1], value!);
  }
}

function runFold(fold: Fold): (call: Call) => void {
  return (call) => {
    const [x] = call.in;
    const [y] = call.out;
    const r = call.attr[0];
    const isSum = fold === "sum" || fold === "prod";
    const exact = isSum ? !isFloat(y.dtype) : x.dtype === I64 && (fold === "max" || fold === "min");
    if (exact) runLongs(fold, x, y, r);
    else runDoubles(fold, call);
  };
}

// --- argmax, argmin ---

function runArg(sign: 1 | -1): (call: Call) => void {
  return (call) => {
    const [x] = call.in;
    const [y] = call.out;
    const outer = x.ndim - call.attr[0];
    const inner = mergeDims(x, outer, x.ndim);
    const stride = inner.strides.at(-1) ?? 0;
    const length = inner.sizes.at(-1) ?? 1;
    const to = y.data as BigInt64Array;
    const row = doubles("reduceRow", CHUNK);
    const wide = longs("reduceRow", CHUNK);
    for (const w = new Walk(y.shape.slice(0, outer), [x, y]); w.more; w.next()) {
      let best = -Infinity;
      let bestLong: bigint | undefined;
      let index = 0;
      let passed = 0;
      for (const v = new Walk(rest(inner, 1), [{ offset: w.at[0], strides: inner.strides }]); v.more; v.next()) {
        for (let from = 0; from < length; from += CHUNK) {
          const n = Math.min(CHUNK, length - from);
          const at = v.at[0] + from * stride;
          if (x.dtype === I64) {
            loadLongs(x.data, I64, at, stride, n, wide);
            for (let i = 0; i < n; i++) {
              if (bestLong === undefined || (sign > 0 ? wide[i] > bestLong : wide[i] < bestLong)) {
                bestLong = wide[i];
                index = passed + i;
              }
            }
          } else {
            loadRow(x.data, x.dtype, at, stride, n, row);
            for (let i = 0; i < n && !Number.isNaN(best); i++) {
              const value = sign * row[i];
              if (value > best || Number.isNaN(value)) {
                best = value;
                index = passed + i;
              }
            }
          }
          passed += n;
        }
      }
      to[w.at[1]] = BigInt(index);
    }
  };
}

const folds: readonly Fold[] = ["sum", "prod", "mean", "max", "min", "any", "all"];
export const kernels: Record<string, Kernel> = {
  ...Object.fromEntries(folds.map((fold) => [fold, { check: checkFold(fold), run: runFold(fold) }])),
  argmax: { check: checkArg, run: runArg(1) },
  argmin: { check: checkArg, run: runArg(-1) },
};

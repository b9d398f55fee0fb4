// Along the last dimension: cumsum, cumprod, sort.
import {
  type Call,
  demand,
  demandCounts,
  demandDType,
  demandShape,
  doubles,
  I64,
  ints,
  isFloat,
  type Kernel,
  load,
  loadLongs,
  loadRow,
  longs,
  store,
  storeRow,
  Walk,
} from "./view.js";

function checkScan(call: Call): void {
  demandCounts(call, 1, 1, 0);
  const [x] = call.in;
  const [y] = call.out;
  demand(x.ndim > 0, call, "takes at least one dimension");
  demandShape(call, x.dims, y);
  demand(isFloat(y.dtype) === isFloat(x.dtype), call, "the output of floats is float, of ints int");
}

/** Sums or products of what came so far; floats in float64, ints in int64 (wrapping). */
function runScan(isSum: boolean): (call: Call) => void {
  return (call) => {
    const [x] = call.in;
    const [y] = call.out;
    const last = x.ndim - 1;
    const n = x.shape[last];
    const wide = longs("scan", n);
    const row = doubles("scan", n);
    for (const w = new Walk(x.shape.slice(0, last), [x, y]); w.more; w.next()) {
      if (isFloat(y.dtype)) {
        loadRow(x.data, x.dtype, w.at[0], x.strides[last], n, row);
        if (isSum) for (let i = 1; i < n; i++) row[i] += row[i - 1];
        else for (let i = 1; i < n; i++) row[i] *= row[i - 1];
        storeRow(y.data, y.dtype, w.at[1], y.strides[last], n, row);
      } else {
        loadLongs(x.data, x.dtype, w.at[0], x.strides[last], n, wide);
        if (isSum) for (let i = 1; i < n; i++) wide[i] = BigInt.asIntN(64, wide[i] + wide[i - 1]);
        else for (let i = 1; i < n; i++) wide[i] = BigInt.asIntN(64, wide[i] * wide[i - 1]);
        for (let i = 0; i < n; i++) store(y.data, y.dtype, w.at[1] + i * y.strides[last], wide[i]);
      }
    }
  };
}

function checkSort(call: Call): void {
  demandCounts(call, 2, 1, 1);
  const [x] = call.in;
  const [values, indices] = call.out;
  demand(x.ndim > 0, call, "takes at least one dimension");
  demand(call.attr[0] === 0 || call.attr[0] === 1, call, "descending is 0 or 1");
  demandShape(call, x.dims, values, indices);
  demandDType(call, x.dtype, values);
  demandDType(call, I64, indices);
}

/** Whether `a` comes strictly before `b`; NaN counts as the largest. */
function before(a: number, b: number, descending: boolean): boolean {
  if (descending) return a > b || (Number.isNaN(a) && !Number.isNaN(b));
  return a < b || (Number.isNaN(b) && !Number.isNaN(a));
}

/** Sorts `order`, which holds 0 … n − 1, by the keys: a stable bottom-up merge sort. Returns the array with the result. */
function sortOrder(
  keys: Float64Array,
  n: number,
  descending: boolean,
  order: Int32Array,
  other: Int32Array,
): Int32Array {
  let from = order;
  let to = other;
  for (let width = 1; width < n; width *= 2) {
    for (let start = 0; start < n; start += 2 * width) {
      const middle = Math.min(start + width, n);
      const end = Math.min(start + 2 * width, n);
      for (let l = start, r = middle, k = start; k < end; k++) {
        const takeRight = r < end && (l >= middle || before(keys[from[r]], keys[from[l]], descending));
        to[k] = takeRight ? from[r++] : from[l++];
      }
    }
    [from, to] = [to, from];
  }
  return from;
}

function sortLongs(keys: BigInt64Array, n: number, descending: boolean, order: Int32Array): Int32Array {
  const sign = descending ? -1 : 1;
  return order.subarray(0, n).sort((a, b) => (keys[a] < keys[b] ? -sign : keys[a] > keys[b] ? sign : a - b));
}

function runSort(call: Call): void {
  const [x] = call.in;
  const [values, indices] = call.out;
  const last = x.ndim - 1;
  const n = x.shape[last];
  const descending = call.attr[0] === 1;
  const start = ints("sortA", n);
  const other = ints("sortB", n);
  const keys = doubles("sort", n);
  const longKeys = longs("sort", n);
  const to = indices.data as BigInt64Array;
  for (const w = new Walk(x.shape.slice(0, last), [x, values, indices]); w.more; w.next()) {
    const [from, valueAt, indexAt] = w.at;
    for (let i = 0; i < n; i++) start[i] = i;
    let order: Int32Array;
    if (x.dtype === I64) {
      loadLongs(x.data, I64, from, x.strides[last], n, longKeys);
      order = sortLongs(longKeys, n, descending, start);
    } else {
      loadRow(x.data, x.dtype, from, x.strides[last], n, keys);
      order = sortOrder(keys, n, descending, start, other);
    }
    for (let i = 0; i < n; i++) {
      const value = load(x.data, x.dtype, from + order[i] * x.strides[last]);
      store(values.data, values.dtype, valueAt + i * values.strides[last], value);
      to[indexAt + i * indices.strides[last]] = BigInt(order[i]);
    }
  }
}

export const kernels: Record<string, Kernel> = {
  cumsum: { check: checkScan, run: runScan(true) },
  cumprod: { check: checkScan, run: runScan(false) },
  sort: { check: checkSort, run: runSort },
};

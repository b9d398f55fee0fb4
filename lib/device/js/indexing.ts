// Indexing by tensors: gather, scatter, indexSelect, indexAdd. All indices are checked and copied before any write.
import { IndexError } from "../../errors.js";
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
  I32,
  I64,
  ints,
  type Kernel,
  load,
  loadRow,
  mergeDims,
  store,
  type TypedArray,
  U8,
  type View,
  Walk,
} from "./view.js";

/** The index values in row-major order, counted from the start of a dimension of size n. */
function readIndex(call: Call, index: View, n: number): Int32Array {
  const list = ints("index", index.numel);
  const { sizes, strides } = mergeDims(index, 0, index.ndim);
  const length = sizes.pop() ?? 1;
  const stride = strides.pop() ?? 0;
  const values = doubles("index", length);
  for (const w = new Walk(sizes, [{ offset: index.offset, strides }]); w.more; w.next()) {
    loadRow(index.data, index.dtype, w.at[0], stride, length, values);
    const start = w.index * length;
    for (let i = 0; i < length; i++) {
      const value = values[i];
      if (value < -n || value >= n) {
        throw new IndexError(`${call.op}: index ${value} is out of range for a dimension of size ${n}`);
      }
      list[start + i] = value < 0 ? value + n : value;
    }
  }
  return list;
}

/** Adds one element in the arithmetic of the dtype. */
function addAt(to: TypedArray, dtype: number, at: number, from: TypedArray, p: number): void {
  switch (dtype) {
    case F32:
    case F64:
    case I32:
    case U8:
      (to as Float64Array)[at] += (from as Float64Array)[p]; // int32 and uint8 arrays wrap
      break;
    case I64:
      (to as BigInt64Array)[at] += (from as BigInt64Array)[p]; // wraps
      break;
    case BOOL:
      (to as Uint8Array)[at] |= (from as Uint8Array)[p];
      break;
    default:
      store(to, dtype, at, (load(to, dtype, at) as number) + (load(from, dtype, p) as number));
  }
}

/** n elements to[at + i·stride] = or += from[p + i·step]. */
function moveRow(
  add: boolean,
  dtype: number,
  to: TypedArray,
  at: number,
  stride: number,
  from: TypedArray,
  p: number,
  step: number,
  n: number,
): void {
  if (!add) {
    if (n >= 16 && stride === 1 && step === 1) (to as Float64Array).set((from as Float64Array).subarray(p, p + n), at);
    else for (let i = 0; i < n; i++) to[at + i * stride] = from[p + i * step];
  } else if (dtype === F32) {
    const y = to as Float32Array;
    const x = from as Float32Array;
    for (let i = 0, q = at, r = p; i < n; i++, q += stride, r += step) y[q] += x[r];
  } else for (let i = 0; i < n; i++) addAt(to, dtype, at + i * stride, from, p + i * step);
}

// --- gather, scatter ---

function checkAlong(call: Call, x: View, index: View, other: View): void {
  const dim = call.attr[0];
  demand(dim >= 0 && dim < x.ndim, call, `there is no dimension ${dim}`);
  demand(index.dtype === I64 || index.dtype === I32, call, "the index must be int64 or int32");
  demandDType(call, x.dtype, other);
  demandShape(call, index.dims, other);
  demand(index.ndim === x.ndim, call, "the index must have as many dimensions as x");
  for (let d = 0; d < x.ndim; d++) {
    demand(d === dim || index.shape[d] <= x.shape[d], call, `the index is larger than x along dimension ${d}`);
  }
}

/** Visits the rows of `other`, along the last dimension, with where they would lie in x at index 0. */
function rowsAlong(call: Call, x: View, other: View): Walk {
  if (call.memo) return (call.memo as Walk).restart();
  const along = { offset: x.offset, strides: x.strides.map((s, d) => (d === call.attr[0] ? 0 : s)) };
  const walk = new Walk(other.shape.slice(0, x.ndim - 1), [along, other]);
  if (call.keep) call.memo = walk;
  return walk;
}

const gather: Kernel = {
  check(call) {
    demandCounts(call, 1, 2, 1);
    checkAlong(call, call.in[0], call.in[1], call.out[0]);
  },
  run(call) {
    const [x, index] = call.in;
    const [y] = call.out;
    const dim = call.attr[0];
    const list = readIndex(call, index, x.shape[dim]);
    const last = x.ndim - 1;
    const n = y.shape[last];
    const along = x.strides[dim];
    const step = dim === last ? 0 : x.strides[last];
    const from = x.data;
    const to = y.data;
    for (const w = rowsAlong(call, x, y); w.more; w.next()) {
      const start = w.index * n;
      for (let i = 0; i < n; i++) {
        to[w.at[1] + i * y.strides[last]] = from[w.at[0] + i * step + list[start + i] * along];
      }
    }
  },
};

const scatter: Kernel = {
  check(call) {
    demandCounts(call, 1, 2, 2);
    demand(call.attr[1] === 0 || call.attr[1] === 1, call, "the mode is 0 (assign) or 1 (add)");
    checkAlong(call, call.out[0], call.in[0], call.in[1]);
  },
  run(call) {
    const [index, src] = call.in;
    const [x] = call.out;
    const [dim, mode] = call.attr;
    if (index.numel === 0) return;
    const list = readIndex(call, index, x.shape[dim]);
    const last = x.ndim - 1;
    const n = src.shape[last];
    const along = x.strides[dim];
    const step = dim === last ? 0 : x.strides[last];
    const from = src.data;
    const to = x.data;
    for (const w = rowsAlong(call, x, src); w.more; w.next()) {
      const start = w.index * n;
      for (let i = 0; i < n; i++) {
        const at = w.at[0] + i * step + list[start + i] * along;
        const p = w.at[1] + i * src.strides[last];
        if (mode === 1) addAt(to, x.dtype, at, from, p);
        else to[at] = from[p];
      }
    }
  },
};

// --- indexSelect, indexAdd ---

function checkRows(call: Call, x: View, index: View, rows: View): void {
  const dim = call.attr[0];
  demand(dim >= 0 && dim < x.ndim, call, `there is no dimension ${dim}`);
  demand(index.ndim === 1 && (index.dtype === I64 || index.dtype === I32), call, "the index must be a list of ints");
  demandDType(call, x.dtype, rows);
  const shape = x.dims;
  shape[dim] = index.shape[0];
  demandShape(call, shape, rows);
}

/** For every j ascending, visits the rows of `x` at index[j] and of `rows` at j; a row is what lies behind `dim`. */
function eachRow(
  x: View,
  list: Int32Array,
  rows: View,
  dim: number,
  visit: (xAt: number, xStride: number, at: number, stride: number, n: number) => void,
): void {
  const last = x.ndim - 1;
  const n = dim === last ? 1 : x.shape[last];
  const xStride = dim === last ? 0 : x.strides[last];
  const stride = dim === last ? 0 : rows.strides[last];
  const shape = rows.shape.slice(0, dim === last ? last + 1 : last);
  const xStrides = x.strides.map((s, d) => (d === dim ? 0 : s));
  if (n === 0) return;
  // j is the slowest, so that additions to one place happen in its order whatever the other dimensions are.
  const others = shape.map((size, d) => (d === dim ? 1 : size));
  for (let j = 0; j < rows.shape[dim]; j++) {
    const from = { offset: x.offset + list[j] * x.strides[dim], strides: xStrides };
    const to = { offset: rows.offset + j * rows.strides[dim], strides: rows.strides };
    for (const w = new Walk(others, [from, to]); w.more; w.next()) visit(w.at[0], xStride, w.at[1], stride, n);
  }
}

const indexSelect: Kernel = {
  check(call) {
    demandCounts(call, 1, 2, 1);
    checkRows(call, call.in[0], call.in[1], call.out[0]);
  },
  run(call) {
    const [x, index] = call.in;
    const [y] = call.out;
    const [dim] = call.attr;
    const list = readIndex(call, index, x.shape[dim]);
    eachRow(x, list, y, dim, (xAt, xStride, at, stride, n) => {
      moveRow(false, x.dtype, y.data, at, stride, x.data, xAt, xStride, n);
    });
  },
};

const indexAdd: Kernel = {
  check(call) {
    demandCounts(call, 1, 2, 1);
    checkRows(call, call.out[0], call.in[0], call.in[1]);
  },
  run(call) {
    const [index, src] = call.in;
    const [x] = call.out;
    const [dim] = call.attr;
    const list = readIndex(call, index, x.shape[dim]);
    eachRow(x, list, src, dim, (xAt, xStride, at, stride, n) => {
      moveRow(true, x.dtype, x.data, xAt, xStride, src.data, at, stride, n);
    });
  },
};

export const kernels: Record<string, Kernel> = { gather, scatter, indexSelect, indexAdd };

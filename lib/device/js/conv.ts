// 2-d convolution and its two adjoints, as matrix products with unfolded images ("im2col"). Where the image is read, it is
// not unfolded in memory: element (tap, window) of that matrix lies at the sum of two offsets. Where it is written, columns
// are formed and added up.
import { dense, gemm, type Matrix, multiplyWindows, tileColumns, tileRows } from "./matmul.js";
import {
  type Call,
  demand,
  demandCounts,
  demandDType,
  doubles,
  ints,
  isFloat,
  type Kernel,
  loadRow,
  storeRow,
  type View,
  Walk,
} from "./view.js";

/** One axis of a window operation. */
interface Axis {
  size: number;
  kernel: number;
  stride: number;
  pad: number;
  dilation: number;
  /** Number of windows. */
  count: number;
}

interface Geometry {
  x: View;
  w: View;
  y: View;
  h: Axis;
  v: Axis;
  groups: number;
  /** Channels of x and of y in a group. */
  inner: number;
  outer: number;
  /** Elements of an unfolded window. */
  depth: number;
}

const ATTRS = 7;

function geometry(call: Call, x: View, w: View, y: View): Geometry {
  const [strideH, strideW, padH, padW, dilationH, dilationW, groups] = call.attr;
  const axis = (d: number, stride: number, pad: number, dilation: number): Axis => ({
    size: x.shape[d],
    kernel: w.shape[d],
    stride,
    pad,
    dilation,
    count: y.shape[d],
  });
  return {
    x,
    w,
    y,
    h: axis(2, strideH, padH, dilationH),
    v: axis(3, strideW, padW, dilationW),
    groups,
    inner: w.shape[1],
    outer: w.shape[0] / groups,
    depth: w.shape[1] * w.shape[2] * w.shape[3],
  };
}

/** The most windows that fit on an axis. */
function windows({ size, kernel, stride, pad, dilation }: Axis): number {
  return Math.max(0, Math.floor((size + 2 * pad - dilation * (kernel - 1) - 1) / stride) + 1);
}

function checkGeometry(call: Call, x: View, w: View, y: View): void {
  demandCounts(call, 1, 2, ATTRS);
  demand(x.ndim === 4 && w.ndim === 4 && y.ndim === 4, call, "takes and gives four dimensions");
  demand(isFloat(x.dtype), call, "takes floats");
  demandDType(call, x.dtype, w, y);
  const g = geometry(call, x, w, y);
  for (const { stride, pad, dilation } of [g.h, g.v]) {
    demand(stride >= 1 && pad >= 0 && dilation >= 1, call, "strides and dilations are at least 1, padding at least 0");
  }
  demand(g.groups >= 1 && Number.isInteger(g.outer), call, "groups must divide the channels");
  demand(x.shape[1] === g.inner * g.groups, call, "w must be [O, C / groups, R, S]");
  demand(y.shape[0] === x.shape[0] && y.shape[1] === w.shape[0], call, "y must be [N, O, P, Q]");
  demand(g.h.count <= windows(g.h) && g.v.count <= windows(g.v), call, "y is larger than the windows that fit");
}

// --- unfolding ---

/** Windows [from, to) of an axis, at offset r of the kernel, that lie inside the image. */
function inside(a: Axis, r: number): [number, number] {
  const shift = r * a.dilation - a.pad; // position = window · stride + shift
  const from = Math.max(0, Math.ceil(-shift / a.stride));
  const to = Math.min(a.count, Math.ceil((a.size - shift) / a.stride));
  return [from, Math.max(from, to)];
}

/** Calls visit for every row of windows: `at` in the columns, n windows, the image's row h and column v of the first. */
function eachRow(
  g: Geometry,
  p0: number,
  p1: number,
  visit: (c: number, h: number, v: number, at: number, n: number) => void,
): void {
  const Q = g.v.count;
  const width = (p1 - p0) * Q;
  for (let c = 0, k = 0; c < g.inner; c++) {
    for (let r = 0; r < g.h.kernel; r++) {
      const [hFrom, hTo] = inside(g.h, r);
      for (let s = 0; s < g.v.kernel; s++, k++) {
        const [vFrom, vTo] = inside(g.v, s);
        if (vTo === vFrom) continue;
        const v = vFrom * g.v.stride + s * g.v.dilation - g.v.pad;
        for (let p = Math.max(p0, hFrom); p < Math.min(p1, hTo); p++) {
          const h = p * g.h.stride + r * g.h.dilation - g.h.pad;
          visit(c, h, v, k * width + (p - p0) * Q + vFrom, vTo - vFrom);
        }
      }
    }
  }
}

/** The part of an image that windows reach, in float64, with the zeros of the padding. */
interface Field {
  height: number;
  width: number;
  /** Planes of all channels of a group. */
  data: Float64Array;
  /** Offsets of the elements of a window, in the order of the weights, and of the windows, row by row. */
  taps: Int32Array;
  places: Int32Array;
}

function fieldOf({ inner, depth, h, v }: Geometry): Field {
  const extent = (a: Axis) => (a.count < 1 ? 0 : (a.count - 1) * a.stride + (a.kernel - 1) * a.dilation + 1);
  const height = extent(h);
  const width = extent(v);
  const size = inner * height * width;
  const data = doubles("convImage", size);
  data.fill(0, 0, size);
  const taps = ints("convTaps", depth);
  for (let c = 0, k = 0; c < inner; c++) {
    for (let r = 0; r < h.kernel; r++) {
      for (let s = 0; s < v.kernel; s++) taps[k++] = (c * height + r * h.dilation) * width + s * v.dilation;
    }
  }
  const places = ints("convPlaces", h.count * v.count);
  for (let p = 0, k = 0; p < h.count; p++) {
    for (let q = 0; q < v.count; q++) places[k++] = p * h.stride * width + q * v.stride;
  }
  return { height, width, data, taps, places };
}

/** Copies one image and group into the field; what lies around it stays zero. */
function loadField(g: Geometry, n: number, group: number, field: Field): void {
  const { x, h, v } = g;
  const rows = Math.min(h.size, field.height - h.pad);
  const columns = Math.min(v.size, field.width - v.pad);
  for (let c = 0; c < g.inner; c++) {
    const from = x.offset + n * x.strides[0] + (group * g.inner + c) * x.strides[1];
    for (let i = 0; i < rows; i++) {
      const to = (c * field.height + h.pad + i) * field.width + v.pad;
      loadRow(x.data, x.dtype, from + i * x.strides[2], x.strides[3], columns, field.data, to);
    }
  }
}

/** The adjoint: adds the columns into an image of [inner, H, W]. */
function fold(g: Geometry, p0: number, p1: number, cols: Float64Array, image: Float64Array): void {
  const H = g.h.size;
  const W = g.v.size;
  eachRow(g, p0, p1, (c, h, v, at, length) => {
    for (let i = 0, to = (c * H + h) * W + v; i < length; i++, to += g.v.stride) image[to] += cols[at + i];
  });
}

/** The weights of a group as a float64 matrix [outer, depth]. */
function loadWeights(g: Geometry, group: number): Matrix {
  const { w } = g;
  const to = doubles("convWeights", g.outer * g.depth);
  const S = w.shape[3];
  const start = { offset: w.offset + group * g.outer * w.strides[0], strides: w.strides };
  for (const walk = new Walk([g.outer, w.shape[1], w.shape[2]], [start]); walk.more; walk.next()) {
    loadRow(w.data, w.dtype, walk.at[0], w.strides[3], S, to, walk.index * S);
  }
  return dense(to, g.depth);
}

/** Rows [p0, p1) of y, one image and group, as rows of a float64 matrix [outer, (p1 − p0)·Q] of some width; or back. */
function moveOutput(
  g: Geometry,
  n: number,
  group: number,
  p0: number,
  p1: number,
  tile: Float64Array,
  width: number,
  move: typeof loadRow | typeof storeRow,
): void {
  const { y } = g;
  const Q = g.v.count;
  const [, channel, row, column] = y.strides;
  const merged = row === Q * column ? p1 - p0 : 1; // rows that follow each other without a gap
  const offset = y.offset + n * y.strides[0] + group * g.outer * channel + p0 * row;
  for (let o = 0; o < g.outer; o++) {
    for (let p = 0; p < p1 - p0; p += merged) {
      move(y.data, y.dtype, offset + o * channel + p * row, column, merged * Q, tile, o * width + p * Q);
    }
  }
}

/** Elements of a matrix of columns held at a time. */
const BLOCK = 1 << 20;

/** Calls body with ranges of rows of y whose windows, as columns of a height, fit a block. */
function eachBlock(g: Geometry, height: number, body: (p0: number, p1: number) => void): void {
  const P = g.h.count;
  if (g.v.count === 0) return;
  const rows = Math.max(1, Math.floor(BLOCK / Math.max(1, height * g.v.count)));
  for (let p = 0; p < P; p += rows) body(p, Math.min(P, p + rows));
}

// --- kernels ---

const conv2d: Kernel = {
  check: (call) => checkGeometry(call, call.in[0], call.in[1], call.out[0]),
  run(call) {
    const g = geometry(call, call.in[0], call.in[1], call.out[0]);
    const field = fieldOf(g);
    const { data, taps, places } = field;
    for (let group = 0; group < g.groups; group++) {
      const weights = loadWeights(g, group);
      for (let n = 0; n < g.x.shape[0]; n++) {
        loadField(g, n, group, field);
        eachBlock(g, g.outer, (p0, p1) => {
          const m = (p1 - p0) * g.v.count;
          const width = tileColumns(m);
          const tile = doubles("convTile", tileRows(g.outer) * width);
          tile.fill(0, 0, g.outer * width);
          multiplyWindows(g.outer, m, g.depth, weights, data, taps, 0, places, p0 * g.v.count, tile, width);
          moveOutput(g, n, group, p0, p1, tile, width, storeRow);
        });
      }
    }
  },
};

const conv2dInputGrad: Kernel = {
  check: (call) => checkGeometry(call, call.out[0], call.in[1], call.in[0]),
  run(call) {
    const [dx] = call.out;
    const g = geometry(call, dx, call.in[1], call.in[0]);
    const [, , H, W] = dx.dims;
    const size = g.inner * H * W;
    for (let group = 0; group < g.groups; group++) {
      const { data } = loadWeights(g, group);
      const transposed = { ...dense(data as Float64Array, 1), colStride: g.depth };
      for (let n = 0; n < dx.shape[0]; n++) {
        const image = doubles("convImage", size);
        image.fill(0, 0, size);
        eachBlock(g, Math.max(g.depth, g.outer), (p0, p1) => {
          const m = (p1 - p0) * g.v.count;
          const tile = doubles("convTile", g.outer * m);
          moveOutput(g, n, group, p0, p1, tile, m, loadRow);
          const cols = doubles("convCols", g.depth * m);
          gemm(g.depth, m, g.outer, transposed, dense(tile, m), dense(cols, m));
          fold(g, p0, p1, cols, image);
        });
        const start = {
          offset: dx.offset + n * dx.strides[0] + group * g.inner * dx.strides[1],
          strides: dx.strides.slice(1),
        };
        for (const walk = new Walk([g.inner, H], [start]); walk.more; walk.next()) {
          storeRow(dx.data, dx.dtype, walk.at[0], dx.strides[3], W, image, walk.index * W);
        }
      }
    }
  },
};

const conv2dWeightGrad: Kernel = {
  check: (call) => checkGeometry(call, call.in[0], call.out[0], call.in[1]),
  run(call) {
    const [dw] = call.out;
    const g = geometry(call, call.in[0], dw, call.in[1]);
    const images = g.y.numel > 0 ? g.x.shape[0] : 0;
    const S = dw.shape[3];
    const width = tileColumns(g.depth);
    const field = fieldOf(g);
    const { data, taps, places } = field;
    for (let group = 0; group < g.groups; group++) {
      const sum = doubles("convWeights", tileRows(g.outer) * width);
      sum.fill(0, 0, g.outer * width);
      for (let n = 0; n < images; n++) {
        loadField(g, n, group, field);
        eachBlock(g, g.outer, (p0, p1) => {
          const m = (p1 - p0) * g.v.count;
          const tile = doubles("convTile", g.outer * m);
          moveOutput(g, n, group, p0, p1, tile, m, loadRow);
          multiplyWindows(g.outer, g.depth, m, dense(tile, m), data, places, p0 * g.v.count, taps, 0, sum, width);
        });
      }
      const start = { offset: dw.offset + group * g.outer * dw.strides[0], strides: dw.strides };
      for (let o = 0; o < g.outer; o++, start.offset += dw.strides[0]) {
        for (const walk = new Walk([1, g.inner, g.h.kernel], [start]); walk.more; walk.next()) {
          storeRow(dw.data, dw.dtype, walk.at[0], dw.strides[3], S, sum, o * width + walk.index * S);
        }
      }
    }
  },
};

export const kernels: Record<string, Kernel> = { conv2d, conv2dInputGrad, conv2dWeightGrad };

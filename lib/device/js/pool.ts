// Pooling over windows of images: maxPool2d, avgPool2d and their adjoints.
import { IndexError } from "../../errors.js";
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
  loadLongs,
  loadRow,
  longs,
  storeRow,
  type View,
  Walk,
} from "./view.js";

/** That the window attributes are legal and y is [N, C, P, Q] for x [N, C, H, W]. */
function checkWindows(call: Call, x: View, y: View, nAttr: number): void {
  demand(x.ndim === 4 && y.ndim === 4, call, "takes and gives four dimensions");
  demandDType(call, x.dtype, y);
  demand(x.shape[0] === y.shape[0] && x.shape[1] === y.shape[1], call, "y must be [N, C, P, Q]");
  for (let i = 0; i < 2; i++) {
    const [kernel, stride, pad] = [call.attr[i], call.attr[2 + i], call.attr[4 + i]];
    const dilation = nAttr === 8 ? call.attr[6 + i] : 1;
    const legal = kernel >= 1 && stride >= 1 && pad >= 0 && dilation >= 1;
    demand(legal, call, "kernel, stride and dilation are at least 1, padding at least 0");
    const most = Math.floor((x.shape[2 + i] + 2 * pad - dilation * (kernel - 1) - 1) / stride) + 2; // in ceil mode
    demand(y.numel === 0 || y.shape[2 + i] <= most, call, "y is larger than the windows that fit");
    for (let p = 0; y.numel > 0 && p < y.shape[2 + i]; p++) {
      const start = p * stride - pad;
      const tap = firstInside(start, dilation);
      const touches = tap < kernel && start + tap * dilation < x.shape[2 + i];
      demand(touches, call, "a window lies outside the image");
      if (start >= 0) p = Math.max(p, y.shape[2 + i] - 2); // from here on only the last window can leave the image
    }
  }
}

/** Visits the planes [H, W] of the first view and the positions of the others at the same image and channel. */
const planes = (...views: View[]): Walk =>
  new Walk(
    views[0].shape.slice(0, 2),
    views.map(({ offset, strides }) => ({ offset, strides })),
  );

function loadPlane(x: View, at: number, to: Float64Array): void {
  const [, , H, W] = x.shape;
  for (let h = 0; h < H; h++) loadRow(x.data, x.dtype, at + h * x.strides[2], x.strides[3], W, to, h * W);
}

function loadLongPlane(x: View, at: number, to: BigInt64Array): void {
  const [, , H, W] = x.shape;
  for (let h = 0; h < H; h++) loadLongs(x.data, I64, at + h * x.strides[2], x.strides[3], W, to, h * W);
}

function storePlane(x: View, at: number, from: Float64Array): void {
  const [, , H, W] = x.shape;
  for (let h = 0; h < H; h++) storeRow(x.data, x.dtype, at + h * x.strides[2], x.strides[3], W, from, h * W);
}

const maxPool2d: Kernel = {
  check(call) {
    demandCounts(call, 2, 1, 8);
    const [y, index] = call.out;
    checkWindows(call, call.in[0], y, 8);
    demandShape(call, y.dims, index);
    demandDType(call, I64, index);
  },
  run(call) {
    const [x] = call.in;
    const [y, index] = call.out;
    const [kH, kW, sH, sW, pH, pW, dH, dW] = call.attr;
    const [, , H, W] = x.shape;
    const [, , P, Q] = y.shape;
    const wide = x.dtype === I64;
    const plane = wide ? longs("pool", H * W) : doubles("pool", H * W);
    const values = doubles("poolOut", P * Q);
    const words = new Int32Array(index.data.buffer, index.data.byteOffset); // low and high, without making bigints
    for (const walk = planes(y, x, index); walk.more; walk.next()) {
      if (wide) loadLongPlane(x, walk.at[1], plane as BigInt64Array);
      else loadPlane(x, walk.at[1], plane as Float64Array);
      for (let p = 0; p < P; p++) {
        const top = p * sH - pH;
        const h0 = top + firstInside(top, dH) * dH;
        const h1 = Math.min(top + (kH - 1) * dH + 1, H);
        for (let q = 0; q < Q; q++) {
          const left = q * sW - pW;
          const w0 = left + firstInside(left, dW) * dW;
          const w1 = Math.min(left + (kW - 1) * dW + 1, W);
          const best = largest(plane as Float64Array, W, h0, h1, dH, w0, w1, dW);
          if (wide) y.data[walk.at[0] + p * y.strides[2] + q * y.strides[3]] = plane[best];
          else values[p * Q + q] = plane[best] as number;
          const at = 2 * (walk.at[2] + p * index.strides[2] + q * index.strides[3]);
          words[at] = best;
          words[at + 1] = 0;
        }
      }
      if (!wide) storePlane(y, walk.at[0], values);
    }
  },
};

const maxPool2dGrad: Kernel = {
  check(call) {
    demandCounts(call, 1, 2, 0);
    const [dy, index] = call.in;
    const [dx] = call.out;
    demand(isFloat(dy.dtype), call, "takes floats");
    demand(dx.ndim === 4 && dy.ndim === 4, call, "takes and gives four dimensions");
    demandDType(call, dy.dtype, dx);
    demandDType(call, I64, index);
    demandShape(call, dy.dims, index);
    demand(dx.shape[0] === dy.shape[0] && dx.shape[1] === dy.shape[1], call, "dx must be [N, C, H, W]");
  },
  run(call) {
    const [dy, index] = call.in;
    const [dx] = call.out;
    const size = dx.shape[2] * dx.shape[3];
    const count = dy.shape[2] * dy.shape[3];
    const places = ints("pool", index.numel);
    const from = longs("pool", count);
    let n = 0;
    for (const walk = planes(index); walk.more; walk.next()) {
      loadLongPlane(index, walk.at[0], from);
      for (let i = 0; i < count; i++) {
        if (from[i] < 0n || from[i] >= BigInt(size)) {
          throw new IndexError(`${call.op}: index ${from[i]} is out of range for an image of ${size} elements`);
        }
        places[n++] = Number(from[i]);
      }
    }
    const plane = doubles("pool", size);
    const grad = doubles("poolOut", count);
    n = 0;
    for (const walk = planes(dx, dy); walk.more; walk.next()) {
      loadPlane(dy, walk.at[1], grad);
      plane.fill(0, 0, size);
      for (let i = 0; i < count; i++) plane[places[n++]] += grad[i];
      storePlane(dx, walk.at[0], plane);
    }
  },
};

/** Where the largest element of a window lies; NaN wins, and the first of equals. */
function largest(
  plane: Float64Array,
  W: number,
  h0: number,
  h1: number,
  dH: number,
  w0: number,
  w1: number,
  dW: number,
): number {
  let best = h0 * W + w0;
  let max = plane[best];
  for (let h = h0; h < h1; h += dH) {
    for (let w = w0; w < w1; w += dW) {
      const value = plane[h * W + w];
      if (value > max || (Number.isNaN(value) && !Number.isNaN(max))) {
        max = value;
        best = h * W + w;
      }
    }
  }
  return best;
}

/** The first tap of a window starting at `start` that does not lie before the image. */
const firstInside = (start: number, dilation: number): number => (start < 0 ? Math.ceil(-start / dilation) : 0);

/** An axis of an averaging window, clipped as PyTorch does: to the padded image for its size, to the image for its taps. */
function span(i: number, kernel: number, stride: number, pad: number, size: number): [number, number, number] {
  const start = i * stride - pad;
  const end = Math.min(start + kernel, size + pad);
  return [Math.max(start, 0), Math.min(end, size), end - start];
}

/** Calls visit(window, h0, h1, w0, w1, divisor) for every window with taps inside the image. */
function eachWindow(
  call: Call,
  x: View,
  y: View,
  visit: (window: number, h0: number, h1: number, w0: number, w1: number, divisor: number) => void,
): void {
  const [kH, kW, sH, sW, pH, pW, countPad] = call.attr;
  const [, , P, Q] = y.shape;
  for (let p = 0; p < P; p++) {
    const [h0, h1, height] = span(p, kH, sH, pH, x.shape[2]);
    for (let q = 0; q < Q; q++) {
      const [w0, w1, width] = span(q, kW, sW, pW, x.shape[3]);
      if (h1 <= h0 || w1 <= w0) continue;
      visit(p * Q + q, h0, h1, w0, w1, countPad ? height * width : (h1 - h0) * (w1 - w0));
    }
  }
}

function checkAverage(call: Call, x: View, y: View): void {
  demandCounts(call, 1, 1, 7);
  demand(isFloat(x.dtype), call, "takes floats");
  demand(call.attr[6] === 0 || call.attr[6] === 1, call, "countPad is 0 or 1");
  checkWindows(call, x, y, 7);
}

const avgPool2d: Kernel = {
  check(call) {
    checkAverage(call, call.in[0], call.out[0]);
  },
  run(call) {
    const [x] = call.in;
    const [y] = call.out;
    const W = x.shape[3];
    const plane = doubles("pool", x.shape[2] * W);
    const size = y.shape[2] * y.shape[3];
    const result = doubles("poolOut", size);
    for (const walk = planes(y, x); walk.more; walk.next()) {
      loadPlane(x, walk.at[1], plane);
      result.fill(0, 0, size);
      eachWindow(call, x, y, (window, h0, h1, w0, w1, divisor) => {
        let sum = 0;
        for (let h = h0; h < h1; h++) for (let w = w0; w < w1; w++) sum += plane[h * W + w];
        result[window] = sum / divisor;
      });
      storePlane(y, walk.at[0], result);
    }
  },
};

const avgPool2dGrad: Kernel = {
  check(call) {
    checkAverage(call, call.out[0], call.in[0]);
  },
  run(call) {
    const [dy] = call.in;
    const [dx] = call.out;
    const W = dx.shape[3];
    const size = dx.shape[2] * W;
    const plane = doubles("pool", size);
    const grad = doubles("poolOut", dy.shape[2] * dy.shape[3]);
    for (const walk = planes(dx, dy); walk.more; walk.next()) {
      loadPlane(dy, walk.at[1], grad);
      plane.fill(0, 0, size);
      eachWindow(call, dx, dy, (window, h0, h1, w0, w1, divisor) => {
        const share = grad[window] / divisor;
        for (let h = h0; h < h1; h++) for (let w = w0; w < w1; w++) plane[h * W + w] += share;
      });
      storePlane(dx, walk.at[0], plane);
    }
  },
};

export const kernels: Record<string, Kernel> = { maxPool2d, maxPool2dGrad, avgPool2d, avgPool2dGrad };

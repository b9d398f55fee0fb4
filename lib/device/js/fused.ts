// Matrix products and convolutions with an element-wise program over their results.
import * as conv from "./conv.js";
import * as elementwise from "./elementwise.js";
import * as matmul from "./matmul.js";
import { type Call, demand, demandDType, F32, type Kernel, View } from "./view.js";

/** The product or convolution, and the element-wise instruction of which it is the first input. */
interface Parts {
  product: Call;
  rest: Call;
}

/** Memory for results, shared by all calls. */
let memory = new Float32Array(0);

function rowMajor(shape: readonly number[]): View {
  const v = new View();
  v.present = true;
  v.ndim = shape.length;
  for (let d = shape.length - 1, step = 1; d >= 0; d--) {
    v.shape[d] = shape[d];
    v.strides[d] = step;
    v.numel *= shape[d];
    step *= Math.max(1, shape[d]);
  }
  return v;
}

function productOf(call: Call, shape: readonly number[], attrs = 0): Call {
  return {
    ...{ op: call.op, attr: call.attr.slice(0, attrs), nAttr: attrs, keep: call.keep, memo: undefined },
    ...{ out: [rowMajor(shape)], nOut: 1, in: call.in.slice(0, 2), nIn: 2 },
  };
}
function restOf(call: Call, shape: readonly number[], attrs = 0): Call {
  return {
    ...{ ...call, attr: call.attr.slice(attrs, call.nAttr), nAttr: call.nAttr - attrs, memo: undefined },
    ...{ in: [rowMajor(shape), ...call.in.slice(2, call.nIn)], nIn: call.nIn - 1 },
  };
}

/** A kernel of this module, made of that of the product. */
function fused(product: Kernel, ndim: number, attrs: number, partsOf: (call: Call) => Parts): Kernel {
  return {
    check(call) {
      const [a, b] = call.in;
      demand(
        call.nIn >= 2 && a.present && b.present && call.nAttr >= attrs,
        call,
        "takes two factors, then other inputs",
      );
      demand(a.ndim === ndim && b.ndim === ndim, call, `takes factors of ${ndim} dimensions`);
      demandDType(call, F32, a, b);
      const parts = partsOf(call);
      product.check(parts.product);
      elementwise.kernels.elementwise.check(parts.rest);
    },
    run(call) {
      const parts = (call.memo as Parts | undefined) ?? partsOf(call);
      if (call.keep) call.memo = parts;
      const [result] = parts.product.out;
      if (memory.length < result.numel) memory = new Float32Array(result.numel);
      result.data = memory;
      parts.rest.in[0].data = memory;
      product.run(parts.product);
      elementwise.kernels.elementwise.run(parts.rest);
    },
    aliasing: true,
    apart: 2,
  };
}

const matmulFused = fused(matmul.kernels.matmul, 3, 0, (call) => {
  const [a, b] = call.in;
  const shape = [a.shape[0], a.shape[1], b.shape[2]];
  return { product: productOf(call, shape), rest: restOf(call, shape) };
});

/** Attributes of a convolution, then height and width of its result. */
const CONV = 7;
const convFused = (kernel: Kernel, channels: (w: View, groups: number) => number): Kernel =>
  fused(kernel, 4, CONV + 2, (call) => {
    const [x, w] = call.in;
    const [height, width] = call.attr.slice(CONV, CONV + 2);
    demand(height >= 0 && width >= 0, call, "the result has no negative size");
    const shape = [x.shape[0], channels(w, call.attr[6])];
    return {
      product: productOf(call, [...shape, height, width], CONV),
      rest: restOf(call, [...shape, height * width], CONV + 2),
    };
  });

export const kernels: Record<string, Kernel> = {
  matmulFused,
  conv2dFused: convFused(conv.kernels.conv2d, (w) => w.shape[0]),
  conv2dInputGradFused: convFused(conv.kernels.conv2dInputGrad, (w, groups) => w.shape[1] * groups),
};

// The kernel `matmulFused`: a matrix product with an element-wise program over its elements.
import * as elementwise from "./elementwise.js";
import * as matmul from "./matmul.js";
import { type Call, demand, demandDType, F32, type Kernel, View } from "./view.js";

/** The product and the element-wise instruction of which it is the first input. */
interface Parts {
  product: Call;
  rest: Call;
}

/** Memory for products, shared by all calls. */
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

function partsOf(call: Call): Parts {
  const [a, b, ...inputs] = call.in.slice(0, call.nIn);
  const c = rowMajor([a.shape[0], a.shape[1], b.shape[2]]);
  const { keep } = call;
  const product: Call = {
    ...{ op: call.op, attr: new Int32Array(0), nAttr: 0, keep, memo: undefined },
    ...{ out: [c], nOut: 1, in: [a, b], nIn: 2 },
  };
  const rest: Call = { ...call, in: [c, ...inputs], nIn: call.nIn - 1, memo: undefined };
  return { product, rest };
}

function check(call: Call): void {
  demand(call.nIn >= 2 && call.in[0].present && call.in[1].present, call, "takes two matrices and the other inputs");
  const [a, b] = call.in;
  demand(a.ndim === 3 && b.ndim === 3, call, "takes matrices of three dimensions");
  demandDType(call, F32, a, b);
  const { product, rest } = partsOf(call);
  matmul.kernels.matmul.check(product);
  elementwise.kernels.elementwise.check(rest);
}

function run(call: Call): void {
  const parts = (call.memo as Parts | undefined) ?? partsOf(call);
  if (call.keep) call.memo = parts;
  const { product, rest } = parts;
  const [c] = product.out;
  if (memory.length < c.numel) memory = new Float32Array(c.numel);
  c.data = memory;
  matmul.kernels.matmul.run(product);
  elementwise.kernels.elementwise.run(rest);
}

export const kernels: Record<string, Kernel> = { matmulFused: { check, run, aliasing: true, apart: 2 } };

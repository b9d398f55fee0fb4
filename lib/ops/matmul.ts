// Matrix products. Shapes in comments: … batch dimensions, M×K · K×N → M×N.
import { ShapeError } from "../errors.js";
import type { View } from "../graph/encode.js";
import { modes } from "../graph/modes.js";
import { resultType } from "../tensor/dtype.js";
import { broadcastShapes, type Shape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { lowered } from "./autocast.js";
import {
  apply1,
  checkTensor,
  commonDevice,
  emit,
  empty,
  type Input,
  installMethods,
  type MethodsOf,
  type OpDef,
  operation,
  own,
  recordOne,
} from "./define.js";
import { add, mul } from "./elementwise.js";
import { expand, reshape, transpose } from "./movement.js";
import { cast } from "./pointwise.js";

/** Whether the rows of an operand lie across memory, as those of a transposed matrix do. */
interface Across {
  readonly a: boolean;
  readonly b: boolean;
}

/** B×M×K · B×K×N → B×M×N, or of matrices without B. The gradient of a transposed matrix is computed transposed, so that it gets its layout. */
const matmulDef: OpDef<Across> = {
  name: "matmul",
  saves: (needs) => ({ inputs: [...(needs[1] ? [0] : []), ...(needs[0] ? [1] : [])] }),
  grad: ([g], { inputs: [a, b], needs, extra }) => [
    needs[0] ? laid(extra.a, g!, flipped(b)) : null, // B×M×N · (B×K×N)ᵀ → B×M×K
    needs[1] ? laid(extra.b, flipped(a), g!) : null, // (B×M×K)ᵀ · B×M×N → B×K×N
  ],
  work: ([a, b]: readonly Input[]) => {
    const [x, y] = [a as Tensor, b as Tensor];
    return (x.numel * y.shape[y.ndim - 1]) / 16;
  },
};

const flipped = (x: Tensor): Tensor => transpose(x, -2, -1);

/** a·b, or the same as (bᵀ·aᵀ)ᵀ. */
const laid = (across: boolean, a: Tensor, b: Tensor): Tensor =>
  across ? flipped(product(flipped(b), flipped(a))) : product(a, b);

function isAcross({ shape, strides }: Tensor): boolean {
  const n = shape.length;
  return shape[n - 2] > 1 && shape[n - 1] > 1 && strides[n - 2] < strides[n - 1];
}

function product(a: Tensor, b: Tensor): Tensor {
  const across = { a: isAcross(a), b: isAcross(b) };
  if (a.ndim === 3) {
    return apply1(matmulDef, [a, b], [], [a.shape[0], a.shape[1], b.shape[2]], a.dtype, across);
  }
  const device = commonDevice([a, b], "matmul");
  const out = empty([a.shape[0], b.shape[1]], a.dtype, device, "matmul");
  const work = (a.numel * b.shape[1]) / 16;
  emit(device, "matmul", [], [alone(out)], [alone(a), alone(b)], work);
  return recordOne(matmulDef, [a, b], out, [], across);
}

/** A matrix as the kernel takes it: a batch of one. */
const alone = ({ storage, dtype, offset, shape, strides }: Tensor): View => ({
  storage,
  dtype,
  offset,
  shape: [1, shape[0], shape[1]],
  strides: [shape[0] * shape[1], strides[0], strides[1]],
});

/**
 * Matrix product with PyTorch's rules: vectors are promoted to matrices and demoted again, leading dimensions are
 * batches and broadcast. Both operands have one dtype after promotion, under `autocast` that of 16 bits.
 *
 * @throws ShapeError when the inner sizes differ.
 * @example
 * tensor([[1, 2], [3, 4]]).matmul(tensor([1, 1])).toArray(); // [3, 7]
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensor(a, "matmul");
  checkTensor(b, "matmul");
  if (a.ndim === 0 || b.ndim === 0) {
    throw new ShapeError(
      `matmul: shapes ${show(a.shape)} and ${show(b.shape)}: both need at least one dimension; use mul for scalars`,
    );
  }
  const inner = b.ndim === 1 ? b.shape[0] : b.shape[b.ndim - 2];
  if (a.shape[a.ndim - 1] !== inner) {
    throw new ShapeError(
      `matmul: shapes ${show(a.shape)} and ${show(b.shape)} do not match: the last dimension of the first ` +
        `(${a.shape[a.ndim - 1]}) must equal the ${b.ndim === 1 ? "only" : "second-to-last"} dimension of the second (${inner})`,
    );
  }
  if (a.ndim === 2 && b.ndim === 2 && a.dtype === b.dtype && modes.autocast === null) return product(a, b);
  return operation(() => {
    const factors = lowered(a, b);
    const dtype = resultType(factors);
    let [x, y] = factors.map((t) => cast(t, dtype));
    if (x.ndim === 2 && y.ndim === 2) return product(x, y);
    if (a.ndim === 1) x = reshape(x, [1, a.shape[0]]);
    if (b.ndim === 1) y = reshape(y, [b.shape[0], 1]);
    const [m, k] = x.shape.slice(-2);
    const n = y.shape[y.ndim - 1];
    const batch = broadcastShapes(x.shape.slice(0, -2), y.shape.slice(0, -2), "matmul");
    const count = batch.reduce((p, d) => p * d, 1);
    // A batch of matrices against one matrix is one tall product.
    const tall = y.ndim === 2 && x.ndim > 2;
    const a3 = tall ? reshape(x, [1, count * m, k]) : toBatch(x, batch, count, m, k);
    const b3 = tall ? reshape(y, [1, k, n]) : toBatch(y, batch, count, k, n);
    const out = product(a3, b3);
    const shape: number[] = [...batch];
    if (a.ndim > 1) shape.push(m);
    if (b.ndim > 1) shape.push(n);
    return own(reshape(out, shape));
  });
}

function toBatch(x: Tensor, batch: Shape, count: number, rows: number, columns: number): Tensor {
  const own = x.shape.slice(0, -2).reduce((p, d) => p * d, 1);
  // One matrix for all batches is expanded last, so that it is not copied.
  if (own === 1) return expand(reshape(x, [1, rows, columns]), [count, rows, columns]);
  return reshape(expand(x, [...batch, rows, columns]), [count, rows, columns]);
}

/** Product of two batches of matrices: B×M×K · B×K×N → B×M×N, without broadcasting. */
export function bmm(a: Tensor, b: Tensor): Tensor {
  checkTensor(a, "bmm");
  checkTensor(b, "bmm");
  if (a.ndim !== 3 || b.ndim !== 3 || a.shape[0] !== b.shape[0]) {
    throw new ShapeError(
      `bmm: shapes ${show(a.shape)} and ${show(b.shape)}: two batches [B, M, K] and [B, K, N] are needed`,
    );
  }
  return matmul(a, b);
}

/** Product of two matrices, M×K · K×N → M×N, nothing else. */
export function mm(a: Tensor, b: Tensor): Tensor {
  checkTensor(a, "mm");
  checkTensor(b, "mm");
  if (a.ndim !== 2 || b.ndim !== 2) {
    throw new ShapeError(
      `mm: shapes ${show(a.shape)} and ${show(b.shape)}: two matrices are needed; use matmul for others`,
    );
  }
  return matmul(a, b);
}

/** Product of a matrix and a vector, M×K · K → M. */
export function mv(a: Tensor, x: Tensor): Tensor {
  checkTensor(a, "mv");
  checkTensor(x, "mv");
  if (a.ndim !== 2 || x.ndim !== 1) {
    throw new ShapeError(`mv: shapes ${show(a.shape)} and ${show(x.shape)}: a matrix and a vector are needed`);
  }
  return matmul(a, x);
}

/** beta·x + alpha·(a·b), x broadcast to the product's shape. */
export function addmm(x: Tensor, a: Tensor, b: Tensor, { beta = 1, alpha = 1 } = {}): Tensor {
  checkTensor(x, "addmm");
  return operation(() => {
    const [y, p, q] = lowered(x, a, b);
    const product = alpha === 1 ? mm(p, q) : mul(mm(p, q), alpha);
    return add(beta === 1 ? y : mul(y, beta), product);
  });
}

/** Inner product of two vectors. */
export function dot(a: Tensor, b: Tensor): Tensor {
  checkTensor(a, "dot");
  checkTensor(b, "dot");
  if (a.ndim !== 1 || b.ndim !== 1)
    throw new ShapeError(`dot: two vectors are needed, got ${show(a.shape)} and ${show(b.shape)}`);
  return matmul(a, b);
}

/** Outer product of two vectors: M · N → M×N. */
export function outer(a: Tensor, b: Tensor): Tensor {
  checkTensor(a, "outer");
  checkTensor(b, "outer");
  if (a.ndim !== 1 || b.ndim !== 1)
    throw new ShapeError(`outer: two vectors are needed, got ${show(a.shape)} and ${show(b.shape)}`);
  return matmul(reshape(a, [a.shape[0], 1]), reshape(b, [1, b.shape[0]]));
}

/** x·Wᵀ + bias, the affine map of `nn.Linear`: …×I · (O×I)ᵀ + O → …×O. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  checkTensor(x, "linear");
  checkTensor(weight, "linear");
  if (weight.ndim !== 2 || x.ndim === 0 || x.shape[x.ndim - 1] !== weight.shape[1]) {
    throw new ShapeError(
      `linear: input ${show(x.shape)} and weight ${show(weight.shape)} do not match: ` +
        "the input's last dimension must equal the weight's second",
    );
  }
  return operation(() => {
    const [input, w, b] = lowered(x, weight, bias);
    const y = matmul(input, transpose(w, 0, 1));
    return b ? add(y, b) : y;
  });
}

const methods = { matmul, mm, mv, addmm, bmm, dot, outer };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

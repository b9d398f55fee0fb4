// Reading and writing at positions that tensors hold: gather and scatter, whole slices by index, masks, tables.
import { DeviceError, DTypeError, IndexError, ShapeError, ValueError } from "../errors.js";
import { fromTyped, full, tensor, zeros } from "../tensor/create.js";
import { dtypeFacts } from "../tensor/dtype.js";
import { broadcastShapes, checkShape, normalizeAxis, type Shape, sameShape, show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import {
  apply1,
  checkTensor,
  commonDevice,
  emit,
  installMethods,
  type MethodsOf,
  type OpDef,
  recordOne,
} from "./define.js";
import { add, eq, ge, gt, le, logicalAnd, logicalNot, minimum, mul, sub, where } from "./elementwise.js";
import { checkWritable, recordInPlace, written } from "./inplace.js";
import { expand, narrow, reshape, unsqueeze } from "./movement.js";
import {
  cast,
  clone,
  type PointwiseDef,
  pointwise,
  pointwiseInto,
  rowMajorCopy,
  type TensorLike,
} from "./pointwise.js";

/** Positions: an integer tensor, or integers in (nested) arrays. */
export type IndexLike = Tensor | readonly IndexItem[];
type IndexItem = number | readonly IndexItem[];

/** An index as an int32 or int64 tensor on the device of `x`. */
export function toIndex(index: IndexLike, x: Tensor, op: string): Tensor {
  const t = Array.isArray(index) ? tensor(index, { dtype: "int64", device: x.device }) : checkTensor(index, op);
  if (dtypeFacts[t.dtype].kind !== "int") {
    throw new DTypeError(`${op}: an index must hold integers, got ${t.dtype}; convert it with .to("int64")`);
  }
  return t.dtype === "uint8" ? cast(t, "int64") : t;
}

const zerosAs = (shape: Shape, g: Tensor): Tensor => zeros(shape, { dtype: g.dtype, device: g.device });

/** Runs a kernel that changes `target` in place. */
function emitInto(kernel: string, attrs: readonly number[], target: Tensor, index: Tensor, src: Tensor): void {
  const { device } = target.storage;
  if (!device.ops.has(kernel))
    throw new DeviceError(`${kernel}: device ${device.name} has no such kernel; update its binary`);
  emit(device, kernel, attrs, [target], [index, src], src.numel);
}

/** `x` changed by a kernel that works in place: in a copy, or in x itself. */
function change<X>(
  def: OpDef<X>,
  attrs: readonly number[],
  x: Tensor,
  index: Tensor,
  src: Tensor,
  extra: X,
  inPlace: boolean,
): Tensor {
  const name = inPlace ? `${def.name}_` : def.name;
  commonDevice([x, index, src], name);
  if (!inPlace) {
    const out = rowMajorCopy(x);
    emitInto(def.kernel ?? def.name, attrs, out, index, cast(src, x.dtype));
    return recordOne(def, [x, index, src], out, [], extra);
  }
  checkWritable(x, x.shape, src.dtype, name);
  const apart = (t: Tensor): Tensor => (t.storage === x.storage ? clone(t) : t);
  emitInto(def.kernel ?? def.name, attrs, x, apart(index), apart(cast(src, x.dtype)));
  written(x, name);
  recordInPlace({ ...def, name }, x, [x, index, src], [], extra);
  return x;
}

// ---- element by element

const gatherDef: OpDef<number> = {
  name: "gather",
  saves: { inputs: [1] },
  grad: ([g], { inputs: [, index], like, extra: dim }) => [scatterAdd(zerosAs(like[0].shape, g!), dim, index, g!)],
};

/** Checks gather's and scatter's common rule: `index` is nowhere larger than x but along `dim`. */
function checkFits(x: Tensor, dim: number, index: Tensor, op: string): number {
  const d = normalizeAxis(dim, x.ndim, op);
  if (index.ndim !== x.ndim || index.shape.some((n, i) => i !== d && n > x.shape[i])) {
    throw new ShapeError(
      `${op}: index ${show(index.shape)} does not fit ${show(x.shape)}: it needs as many dimensions, and no size larger ` +
        `but along dimension ${dim}`,
    );
  }
  return d;
}

/**
 * The elements of x at the positions `index` along `dim`: y[i][j] = x[index[i][j]][j] for dim 0. The result has the
 * shape of `index`. Negative positions count from the end.
 *
 * @throws IndexError (when the value is read) for positions out of range.
 * @example
 * gather(tensor([[1, 2], [3, 4]]), 1, tensor([[0], [1]], { dtype: "int64" })).toArray(); // [[1], [4]]
 */
export function gather(x: Tensor, dim: number, index: IndexLike): Tensor {
  checkTensor(x, "gather");
  const at = toIndex(index, x, "gather");
  const d = checkFits(x, dim, at, "gather");
  if (x.ndim === 0) return reshape(gather(reshape(x, [1]), 0, reshape(at, [1])), []);
  return apply1(gatherDef, [x, at], [d], at.shape, x.dtype, d);
}

const scatterDef: OpDef<number> = {
  name: "scatter",
  saves: { inputs: [1] },
  grad: ([g], { inputs: [, index], needs, extra: dim }) => [
    needs[0] ? scatter(g!, dim, index, 0) : null,
    null,
    needs[2] ? gather(g!, dim, index) : null,
  ],
};
const scatterAddDef: OpDef<number> = {
  name: "scatterAdd",
  kernel: "scatter",
  saves: (needs) => ({ inputs: needs[2] ? [1] : [] }),
  grad: ([g], { inputs: [, index], needs, extra: dim }) => [g, null, needs[2] ? gather(g!, dim, index) : null],
};

function scatterInto(
  x: Tensor,
  dim: number,
  index: IndexLike,
  src: TensorLike,
  accumulate: boolean,
  inPlace: boolean,
): Tensor {
  const def = accumulate ? scatterAddDef : scatterDef;
  const name = inPlace ? `${def.name}_` : def.name;
  checkTensor(x, name);
  const at = toIndex(index, x, name);
  const d = checkFits(x, dim, at, name);
  let values: Tensor;
  if (src instanceof Tensor && (src.ndim > 0 || at.ndim === 0)) {
    if (src.ndim !== at.ndim || at.shape.some((n, i) => n > src.shape[i])) {
      throw new ShapeError(`${name}: index ${show(at.shape)} is larger than the source ${show(src.shape)}`);
    }
    values = at.shape.reduce((s, n, i) => (s.shape[i] === n ? s : narrow(s, i, 0, n)), src.use(name));
  } else {
    values = expand(src instanceof Tensor ? src : full([], src, { dtype: x.dtype, device: x.device }), at.shape);
  }
  if (x.ndim === 0) {
    const out = reshape(inPlace ? x : clone(x), [1]);
    return reshape(scatterInto(out, 0, reshape(at, [1]), reshape(values, [1]), accumulate, inPlace), []);
  }
  return change(def, [d, accumulate ? 1 : 0], x, at, values, d, inPlace);
}

/**
 * x with the elements of `src` (a tensor, or one number) written at the positions `index` along `dim`, the inverse of
 * `gather`. Where positions repeat, the last one in row-major order wins, and the gradient of `src` is only defined
 * for positions that do not.
 */
export const scatter = (x: Tensor, dim: number, index: IndexLike, src: TensorLike): Tensor =>
  scatterInto(x, dim, index, src, false, false);
/** `scatter` in place. */
export const scatter_ = (x: Tensor, dim: number, index: IndexLike, src: TensorLike): Tensor =>
  scatterInto(x, dim, index, src, false, true);
/** x with the elements of `src` added at the positions `index` along `dim`; repeated positions add up. */
export const scatterAdd = (x: Tensor, dim: number, index: IndexLike, src: TensorLike): Tensor =>
  scatterInto(x, dim, index, src, true, false);
/** `scatterAdd` in place. */
export const scatterAdd_ = (x: Tensor, dim: number, index: IndexLike, src: TensorLike): Tensor =>
  scatterInto(x, dim, index, src, true, true);

/** The elements at positions of the flattened tensor; the result has the shape of `index`. */
export function take(x: Tensor, index: IndexLike): Tensor {
  checkTensor(x, "take");
  const at = toIndex(index, x, "take");
  return reshape(gather(reshape(x, [-1]), 0, reshape(at, [-1])), at.shape);
}

/** `gather` whose index is broadcast to x's other sizes, and the other way round; flattened when `dim` is absent. */
export function takeAlongDim(x: Tensor, index: IndexLike, dim?: number | null): Tensor {
  checkTensor(x, "takeAlongDim");
  const at = toIndex(index, x, "takeAlongDim");
  if (dim === undefined || dim === null) return gather(reshape(x, [-1]), 0, reshape(at, [-1]));
  const d = normalizeAxis(dim, x.ndim, "takeAlongDim");
  if (at.ndim !== x.ndim) {
    throw new ShapeError(`takeAlongDim: index ${show(at.shape)} and tensor ${show(x.shape)} need as many dimensions`);
  }
  const others = (s: Shape): number[] => s.map((n, i) => (i === d ? 1 : n));
  const common = broadcastShapes(others(x.shape), others(at.shape), "takeAlongDim");
  const spread = (t: Tensor): Tensor =>
    expand(
      t,
      common.map((n, i) => (i === d ? t.shape[d] : n)),
    );
  return gather(spread(x), d, spread(at));
}

// ---- slice by slice

const indexSelectDef: OpDef<number> = {
  name: "indexSelect",
  saves: { inputs: [1] },
  grad: ([g], { inputs: [, index], like, extra: dim }) => [indexAdd(zerosAs(like[0].shape, g!), dim, index, g!)],
};

function checkRow(x: Tensor, dim: number, index: Tensor, op: string): number {
  const d = normalizeAxis(dim, x.ndim, op);
  if (x.ndim === 0) throw new ShapeError(`${op}: a 0-dimensional tensor has no dimension to index`);
  if (index.ndim > 1) throw new ShapeError(`${op}: the index must be a vector, got ${show(index.shape)}`);
  return d;
}

/** The slices of x at the positions `index` (a vector) along `dim`, in that order. */
export function indexSelect(x: Tensor, dim: number, index: IndexLike): Tensor {
  checkTensor(x, "indexSelect");
  const at = reshape(toIndex(index, x, "indexSelect"), [-1]);
  const d = checkRow(x, dim, at, "indexSelect");
  const shape = x.shape.map((n, i) => (i === d ? at.numel : n));
  return apply1(indexSelectDef, [x, at], [d], checkShape(shape, "indexSelect"), x.dtype, d);
}

const indexAddDef: OpDef<number> = {
  name: "indexAdd",
  saves: (needs) => ({ inputs: needs[2] ? [1] : [] }),
  grad: ([g], { inputs: [, index], needs, extra: dim }) => [g, null, needs[2] ? indexSelect(g!, dim, index) : null],
};

function indexAddInto(x: Tensor, dim: number, index: IndexLike, src: Tensor, alpha: number, inPlace: boolean): Tensor {
  const name = inPlace ? "indexAdd_" : "indexAdd";
  checkTensor(x, name);
  checkTensor(src, name);
  const at = reshape(toIndex(index, x, name), [-1]);
  const d = checkRow(x, dim, at, name);
  const shape = x.shape.map((n, i) => (i === d ? at.numel : n));
  if (!sameShape(src.shape, shape)) {
    throw new ShapeError(
      `${name}: the source has shape ${show(src.shape)}; ${at.numel} positions along dimension ${dim} of ${show(x.shape)} need ${show(shape)}`,
    );
  }
  return change(indexAddDef, [d], x, at, alpha === 1 ? src : mul(src, alpha), d, inPlace);
}

/** x with `alpha` times the slices of `src` added at the positions `index` along `dim`; repeated positions add up. */
export const indexAdd = (x: Tensor, dim: number, index: IndexLike, src: Tensor, alpha = 1): Tensor =>
  indexAddInto(x, dim, index, src, alpha, false);
/** `indexAdd` in place. */
export const indexAdd_ = (x: Tensor, dim: number, index: IndexLike, src: Tensor, alpha = 1): Tensor =>
  indexAddInto(x, dim, index, src, alpha, true);

interface Table {
  readonly paddingIdx: number | null;
}

const embeddingDef: OpDef<Table> = {
  name: "embedding",
  kernel: "indexSelect",
  saves: { inputs: [1] },
  grad: ([g], { inputs: [, index], like, extra: { paddingIdx } }) => {
    const rows = paddingIdx === null ? g! : where(unsqueeze(eq(index, paddingIdx), 1), 0, g!);
    return [indexAdd(zerosAs(like[0].shape, g!), 0, index, rows)];
  },
};

/**
 * Rows of a table: weight N×D at integers of any shape … → …×D. The row `paddingIdx` gets no gradient.
 *
 * @throws IndexError (when the value is read) for integers outside the table.
 */
export function embedding(weight: Tensor, index: IndexLike, options: { paddingIdx?: number | null } = {}): Tensor {
  checkTensor(weight, "embedding");
  if (weight.ndim !== 2)
    throw new ShapeError(`embedding: the weight must be a matrix [rows, size], got ${show(weight.shape)}`);
  const at = toIndex(index, weight, "embedding");
  const [n, size] = weight.shape;
  let paddingIdx = options.paddingIdx ?? null;
  if (paddingIdx !== null) {
    if (!Number.isInteger(paddingIdx) || paddingIdx < -n || paddingIdx >= n) {
      throw new IndexError(
        `embedding: paddingIdx ${paddingIdx} is out of range for ${n} rows (allowed: ${-n} to ${n - 1})`,
      );
    }
    if (paddingIdx < 0) paddingIdx += n;
  }
  const rows = apply1(embeddingDef, [weight, reshape(at, [-1])], [0], [at.numel, size], weight.dtype, { paddingIdx });
  return reshape(rows, [...at.shape, size]);
}

/**
 * Vectors with a single 1: classes … → …×numClasses, int64. Without `numClasses` it is the largest class plus 1, which
 * is read from the device.
 */
export function oneHot(index: Tensor, numClasses?: number): Tensor {
  const at = toIndex(checkTensor(index, "oneHot"), index, "oneHot");
  const n = numClasses ?? Array.from(at.dataSync(), Number).reduce((a, b) => Math.max(a, b), -1) + 1;
  if (!Number.isInteger(n) || n < 1)
    throw new ValueError(`oneHot: the number of classes must be an integer ≥ 1, got ${n}`);
  const flat = zeros([at.numel, n], { dtype: "int64", device: index.device });
  return reshape(scatter_(flat, 1, reshape(at, [-1, 1]), 1), [...at.shape, n]);
}

// ---- masks

function checkMask(mask: Tensor, op: string): Tensor {
  checkTensor(mask, op);
  if (mask.dtype !== "bool")
    throw new DTypeError(`${op}: the mask must be bool, got ${mask.dtype}; compare, for example mask.ne(0)`);
  return mask;
}

const maskedFillDef: PointwiseDef = {
  name: "maskedFill",
  saves: { inputs: [1] },
  grad: (g, { inputs: [, mask], needs }) => [needs[0] && where(mask, 0, g), null, needs[2] && where(mask, g, 0)],
  compose: (x, mask, value) => where(mask, value, x),
};

/** x with `value` where the mask, which broadcasts, is true. */
export const maskedFill = (x: Tensor, mask: Tensor, value: TensorLike): Tensor =>
  pointwise(maskedFillDef, [checkTensor(x, "maskedFill"), checkMask(mask, "maskedFill"), value]);
/** `maskedFill` in place. */
export const maskedFill_ = (x: Tensor, mask: Tensor, value: TensorLike): Tensor =>
  pointwiseInto(maskedFillDef, checkTensor(x, "maskedFill_"), [checkMask(mask, "maskedFill_"), value]);

/** The positions of nonzero elements, one list a dimension. Reads the tensor. */
export function nonzeroLists(x: Tensor): BigInt64Array<ArrayBuffer>[] {
  const values = x.dataSync();
  const half = x.dtype === "float16" || x.dtype === "bfloat16";
  const found: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (half ? ((v as number) & 0x7fff) !== 0 : typeof v === "bigint" ? v !== 0n : v !== 0) found.push(i);
  }
  let step = 1;
  const lists = new Array<BigInt64Array<ArrayBuffer>>(x.ndim);
  for (let d = x.ndim - 1; d >= 0; d--) {
    const list = new BigInt64Array(found.length);
    for (let k = 0; k < list.length; k++) list[k] = BigInt(Math.floor(found[k] / step) % x.shape[d]);
    lists[d] = list;
    step *= x.shape[d];
  }
  return lists;
}

/**
 * Positions of the nonzero elements: one row an element, one column a dimension, int64. Its shape depends on the
 * values, so that it cannot be used in a captured function.
 *
 * @example
 * nonzero(tensor([0, 3, 4])).toArray(); // [[1], [2]]
 */
export function nonzero(x: Tensor): Tensor {
  checkTensor(x, "nonzero");
  const lists = nonzeroLists(x.ndim === 0 ? reshape(x, [1]) : x);
  const count = lists[0].length;
  const rows = new BigInt64Array(count * x.ndim);
  for (let d = 0; d < x.ndim; d++) for (let k = 0; k < count; k++) rows[k * x.ndim + d] = lists[d][k];
  return fromTyped(rows, "int64", [count, x.ndim], x.storage.device);
}

/** Row-major positions where a mask of x's shape is true. */
function maskPositions(x: Tensor, mask: Tensor): Tensor {
  const [list] = nonzeroLists(reshape(expand(mask, x.shape), [-1]));
  return fromTyped(list, "int64", [list.length], x.storage.device);
}

/** The elements where the mask, which broadcasts, is true: a vector. Reads the mask. */
export function maskedSelect(x: Tensor, mask: Tensor): Tensor {
  checkTensor(x, "maskedSelect");
  checkMask(mask, "maskedSelect");
  const whole = expand(x, broadcastShapes(x.shape, mask.shape, "maskedSelect"));
  return indexSelect(reshape(whole, [-1]), 0, maskPositions(whole, mask));
}

/** x with the elements of `source`, in order, where the mask, which broadcasts, is true. Reads the mask. */
export function maskedScatter(x: Tensor, mask: Tensor, source: Tensor): Tensor {
  checkTensor(x, "maskedScatter");
  checkMask(mask, "maskedScatter");
  const at = maskPositions(x, mask);
  if (checkTensor(source, "maskedScatter").numel < at.numel) {
    throw new ShapeError(`maskedScatter: the mask selects ${at.numel} elements, the source has ${source.numel}`);
  }
  return reshape(scatter(reshape(x, [-1]), 0, at, narrow(reshape(source, [-1]), 0, 0, at.numel)), x.shape);
}

// ---- sorted tables

/**
 * Places where `values` belong in ascending sequences: the number of elements < value, or ≤ value with `right`. The
 * sequences are the last dimension of `sorted`, one for all values when that is a vector, else one for each row.
 * The result is int64 of the shape of `values`. A binary search for all values at once.
 *
 * @example
 * searchsorted(tensor([1, 3, 5]), tensor([3, 6])).toArray(); // [1, 3]
 */
export function searchsorted(sorted: Tensor, values: TensorLike, options: { right?: boolean } = {}): Tensor {
  checkTensor(sorted, "searchsorted");
  const { device } = sorted;
  const x = values instanceof Tensor ? values.use("searchsorted") : full([], values, { device });
  if (sorted.ndim === 0 || (sorted.ndim > 1 && !sameShape(sorted.shape.slice(0, -1), x.shape.slice(0, -1)))) {
    throw new ShapeError(
      `searchsorted: sequences ${show(sorted.shape)} and values ${show(x.shape)} must have equal sizes but for the last`,
    );
  }
  const n = sorted.shape[sorted.ndim - 1];
  const at = (i: Tensor): Tensor => (sorted.ndim === 1 ? take(sorted, i) : gather(sorted, -1, i));
  let place = zeros(x.shape, { dtype: "int64", device });
  for (let step = 2 ** Math.floor(Math.log2(Math.max(n, 1))); step >= 1 && n > 0; step /= 2) {
    const next = add(place, step);
    const probed = at(sub(minimum(next, n), 1));
    const before = logicalNot(options.right ? gt(probed, x) : ge(probed, x));
    place = where(logicalAnd(le(next, n), before), next, place);
  }
  return place;
}

/** The bucket of each element among ascending `boundaries`: `searchsorted` the other way round (`torch.bucketize`). */
export const bucketize = (x: TensorLike, boundaries: Tensor, options: { right?: boolean } = {}): Tensor =>
  searchsorted(boundaries, x, options);

const methods = {
  ...{ gather, scatter, scatter_, scatterAdd, scatterAdd_, take, takeAlongDim, indexSelect, indexAdd, indexAdd_ },
  ...{ maskedFill, maskedFill_, maskedSelect, maskedScatter, nonzero, oneHot },
};
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

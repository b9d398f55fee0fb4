// Other arrangements of the same elements: views, which share the memory of the tensor that they were taken from.
import { IndexError, ShapeError, ValueError } from "../errors.js";
import { zeros } from "../tensor/create.js";
import {
  broadcastStrides,
  checkList,
  checkShape,
  normalizeAxes,
  normalizeAxis,
  numelOf,
  reshapeStrides,
  rowMajor,
  type Shape,
  show,
} from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { cat, stack } from "./arrange.js";
import {
  applyView,
  checkTensor,
  installMethods,
  type MethodsOf,
  makeNode,
  type OpDef,
  type ViewDef,
} from "./define.js";
import { clone } from "./pointwise.js";
import { sumTo } from "./reduce.js";
import { place, type Window, asStrided as window } from "./strided.js";

const viewDef: ViewDef<null> = { name: "view", grad: ([g], { like }) => [reshape(g!, like[0].shape)] };

/**
 * The same elements in row-major order under another shape, of which one size may be −1. Shares memory where strides
 * allow, else copies (`torch.reshape`).
 *
 * @example
 * arange(6).reshape([2, -1]).shape; // [2, 3]
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor(x, "reshape");
  const target = inferShape(x, shape, "reshape");
  const strides = reshapeStrides(x.shape, x.strides, target);
  if (strides) return applyView(viewDef, x, target, strides, x.offset, null);
  return reshape(clone(x), target);
}

const SHAPE_RULE = "a shape is one array of sizes, such as [2, -1]";

function inferShape(x: Tensor, shape: Shape, op: string): number[] {
  checkList(shape, SHAPE_RULE, op);
  const unknown = shape.indexOf(-1);
  const target = checkShape(unknown < 0 ? shape : shape.map((d, i) => (i === unknown ? 1 : d)), op);
  if (unknown >= 0) target[unknown] = numelOf(target) === 0 ? 0 : Math.floor(x.numel / numelOf(target));
  if (numelOf(target) !== x.numel) {
    throw new ShapeError(`${op}: ${show(x.shape)} has ${x.numel} elements and cannot become ${show(shape)}`);
  }
  return target;
}

const permuteDef: ViewDef<readonly number[]> = {
  name: "permute",
  grad: ([g], { extra }) => {
    const inverse = new Array<number>(extra.length);
    for (let to = 0; to < extra.length; to++) inverse[extra[to]] = to;
    return [permuted(g!, inverse)];
  },
};

/** The dimensions in another order; shares memory. */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  checkTensor(x, "permute");
  checkList(dims, "the order is one array of dimensions, such as [1, 0]", "permute");
  const order = dims.map((d) => normalizeAxis(d, x.ndim, "permute"));
  if (order.length !== x.ndim || new Set(order).size !== x.ndim) {
    throw new ShapeError(`permute: ${show(dims)} must name each of the ${x.ndim} dimensions of ${show(x.shape)} once`);
  }
  return permuted(x, order);
}

function permuted(x: Tensor, order: readonly number[]): Tensor {
  const shape = new Array<number>(order.length);
  const strides = new Array<number>(order.length);
  for (let i = 0; i < order.length; i++) {
    shape[i] = x.shape[order[i]];
    strides[i] = x.strides[order[i]];
  }
  return applyView(permuteDef, x, shape, strides, x.offset, order);
}

/** Two dimensions swapped; shares memory. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  checkTensor(x, "transpose");
  const order = x.shape.map((_, i) => i);
  const a = normalizeAxis(dim0, x.ndim, "transpose");
  const b = normalizeAxis(dim1, x.ndim, "transpose");
  if (x.ndim === 0) return x;
  order[a] = b;
  order[b] = a;
  return permuted(x, order);
}

/** The transpose of a matrix (at most two dimensions); shares memory. */
export function t(x: Tensor): Tensor {
  checkTensor(x, "t");
  if (x.ndim > 2)
    throw new ShapeError(`t: at most 2 dimensions, got ${show(x.shape)}; use transpose(dim0, dim1) or permute`);
  return x.ndim < 2 ? x : permute(x, [1, 0]);
}

const expandDef: ViewDef<null> = { name: "expand", grad: ([g], { like }) => [sumTo(g!, like[0].shape)] };

/** Dimensions of size 1 repeated without a copy to `shape` (−1 keeps a size); new ones come first. */
export function expand(x: Tensor, shape: Shape): Tensor {
  checkTensor(x, "expand");
  checkList(shape, SHAPE_RULE, "expand");
  const lead = shape.length - x.ndim;
  const target = checkShape(
    shape.map((d, i) => (d === -1 && i >= lead ? x.shape[i - lead] : d)),
    "expand",
  );
  if (lead < 0 || x.shape.some((d, i) => d !== 1 && d !== target[i + lead])) {
    throw new ShapeError(`expand: ${show(x.shape)} cannot be expanded to ${show(shape)}: only sizes of 1 can grow`);
  }
  return applyView(expandDef, x, target, broadcastStrides(x.shape, x.strides, target), x.offset, null);
}

/** A row-major tensor of the same values: itself when it is one. */
export const contiguous = (x: Tensor): Tensor => (x.isContiguous() ? x : clone(x));

/** `reshape` that never copies: an error where the strides do not allow it (`Tensor.view`). */
export function view(x: Tensor, shape: Shape): Tensor {
  checkTensor(x, "view");
  const target = inferShape(x, shape, "view");
  const strides = reshapeStrides(x.shape, x.strides, target);
  if (!strides) {
    throw new ShapeError(
      `view: ${show(x.shape)} with strides ${show(x.strides)} cannot be seen as ${show(shape)} without a copy; use reshape`,
    );
  }
  return applyView(viewDef, x, target, strides, x.offset, null);
}

/** `view` to another tensor's shape. */
export const viewAs = (x: Tensor, other: Tensor): Tensor => view(x, checkTensor(other, "viewAs").shape);
/** `reshape` to another tensor's shape. */
export const reshapeAs = (x: Tensor, other: Tensor): Tensor => reshape(x, checkTensor(other, "reshapeAs").shape);
/** `expand` to another tensor's shape. */
export const expandAs = (x: Tensor, other: Tensor): Tensor => expand(x, checkTensor(other, "expandAs").shape);
/** `expand` under NumPy's name. */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => expand(x, shape);

/** Dimensions `start` … `end`, both included, merged into one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkTensor(x, "flatten");
  if (x.ndim === 0) return reshape(x, [1]);
  const a = normalizeAxis(start, x.ndim, "flatten");
  const b = normalizeAxis(end, x.ndim, "flatten");
  if (a > b) throw new ShapeError(`flatten: start ${start} lies behind end ${end} in ${show(x.shape)}`);
  return reshape(x, [...x.shape.slice(0, a), numelOf(x.shape.slice(a, b + 1)), ...x.shape.slice(b + 1)]);
}

/** Dimension `dim` split into several, of which one size may be −1. */
export function unflatten(x: Tensor, dim: number, sizes: Shape): Tensor {
  checkTensor(x, "unflatten");
  const d = normalizeAxis(dim, x.ndim, "unflatten");
  const known = numelOf(sizes.filter((n) => n !== -1));
  const missing = sizes.filter((n) => n === -1).length;
  const filled = sizes.map((n) => (n === -1 && known > 0 ? x.shape[d] / known : n));
  if (x.ndim === 0 || missing > 1 || numelOf(filled) !== x.shape[d] || !filled.every(Number.isInteger)) {
    throw new ShapeError(`unflatten: dimension ${dim} of ${show(x.shape)} cannot become ${show(sizes)}`);
  }
  return reshape(x, [...x.shape.slice(0, d), ...filled, ...x.shape.slice(d + 1)]);
}

/** Without the dimensions of size 1: all of them, or those among `dim`. */
export function squeeze(x: Tensor, dim?: number | readonly number[] | null): Tensor {
  checkTensor(x, "squeeze");
  const axes = normalizeAxes(dim, x.ndim, "squeeze");
  return reshape(
    x,
    x.shape.filter((n, i) => n !== 1 || !axes.includes(i)),
  );
}

/** With a new dimension of size 1 in front of dimension `dim` (−1: as the last). */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  checkTensor(x, "unsqueeze");
  const d = normalizeAxis(dim, x.ndim + 1, "unsqueeze");
  return reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}

/** Dimensions `source` moved to the places `destination`; the others keep their order. */
export function movedim(
  x: Tensor,
  source: number | readonly number[],
  destination: number | readonly number[],
): Tensor {
  checkTensor(x, "movedim");
  const list = (v: number | readonly number[]) => (typeof v === "number" ? [v] : v);
  const from = list(source).map((d) => normalizeAxis(d, x.ndim, "movedim"));
  const to = list(destination).map((d) => normalizeAxis(d, x.ndim, "movedim"));
  if (from.length !== to.length || new Set(from).size !== from.length || new Set(to).size !== to.length) {
    throw new ShapeError(
      `movedim: ${show(list(source))} to ${show(list(destination))}: as many places as dimensions, each once`,
    );
  }
  if (x.ndim === 0) return x;
  const rest = x.shape.map((_, i) => i).filter((i) => !from.includes(i));
  const order = x.shape.map((_, i) => {
    const k = to.indexOf(i);
    return k < 0 ? (rest.shift() as number) : from[k];
  });
  return permute(x, order);
}

/** `transpose` under NumPy's name. */
export const swapaxes = (x: Tensor, axis0: number, axis1: number): Tensor => transpose(x, axis0, axis1);

// ---- windows: views by another offset and other strides

type Restride = (layout: Window) => Window;
const restrideDefs = new Map<string, ViewDef<Restride>>();

function restrideDef(name: string): ViewDef<Restride> {
  let def = restrideDefs.get(name);
  if (!def) {
    def = {
      name,
      grad: ([g], { like, extra }) => {
        const { shape } = like[0];
        return [place(g!, shape, extra({ shape, strides: rowMajor(shape), offset: 0 }))];
      },
    };
    restrideDefs.set(name, def);
  }
  return def;
}

/** A view whose layout follows from that of its tensor, whatever the strides of that are. */
function restride(name: string, x: Tensor, map: Restride): Tensor {
  const { shape, strides, offset } = map(x);
  return applyView(restrideDef(name), x, shape, strides, offset, map);
}

const without = (list: Shape, d: number): number[] => list.filter((_, i) => i !== d);
const replaced = (list: Shape, d: number, value: number): number[] => list.map((v, i) => (i === d ? value : v));

/** An index into `size` elements, negative ones counted from the end. */
function checkIndex(index: number, size: number, dim: number, op: string): number {
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new IndexError(
      `${op}: index ${index} is out of range for dimension ${dim} of size ${size}` +
        (size > 0 ? ` (allowed: ${-size} to ${size - 1})` : " (it is empty)"),
    );
  }
  return index < 0 ? index + size : index;
}

/** The slice at position `index` of dimension `dim`, which goes away. */
export function select(x: Tensor, dim: number, index: number): Tensor {
  checkTensor(x, "select");
  if (x.ndim === 0)
    throw new IndexError("select: a 0-dimensional tensor has no dimension to index; use item() for its value");
  const d = normalizeAxis(dim, x.ndim, "select");
  const i = checkIndex(index, x.shape[d], d, "select");
  return restride("select", x, ({ shape, strides, offset }) => ({
    shape: without(shape, d),
    strides: without(strides, d),
    offset: offset + i * strides[d],
  }));
}

/** The `length` slices from `start` on, along dimension `dim`. */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  checkTensor(x, "narrow");
  const d = normalizeAxis(dim, x.ndim, "narrow");
  const size = x.ndim === 0 ? 0 : x.shape[d];
  const from = start < 0 ? start + size : start;
  if (
    x.ndim === 0 ||
    !Number.isInteger(from) ||
    !Number.isInteger(length) ||
    from < 0 ||
    length < 0 ||
    from + length > size
  ) {
    throw new IndexError(
      `narrow: start ${start} and length ${length} do not lie in dimension ${dim} of ${show(x.shape)}`,
    );
  }
  return restride("slice", x, (at) => ({
    shape: replaced(at.shape, d, length),
    strides: at.strides,
    offset: at.offset + (length > 0 ? from * at.strides[d] : 0),
  }));
}

/** First position, number and step of what `start:stop:step` takes from `size` elements: Python's rule. */
function sliceRange(
  start: number | null | undefined,
  stop: number | null | undefined,
  step: number,
  size: number,
): { from: number; count: number } {
  const backward = step < 0;
  const limit = (v: number): number => {
    const i = v < 0 ? v + size : v;
    return backward ? Math.min(Math.max(i, -1), size - 1) : Math.min(Math.max(i, 0), size);
  };
  const from = start === null || start === undefined ? (backward ? size - 1 : 0) : limit(start);
  const to = stop === null || stop === undefined ? (backward ? -1 : size) : limit(stop);
  return { from, count: Math.max(0, Math.ceil((to - from) / step)) };
}

/**
 * Every `step`-th slice of dimension `dim` from `start` up to but without `end`, with Python's rules: negative bounds
 * count from the end, bounds beyond it are cut; a negative step walks backwards.
 *
 * @example
 * arange(6).slice(0, 1, null, 2).toArray(); // [1, 3, 5]
 */
export function slice(x: Tensor, dim: number, start?: number | null, end?: number | null, step = 1): Tensor {
  checkTensor(x, "slice");
  if (x.ndim === 0) throw new IndexError("slice: a 0-dimensional tensor has no dimension to slice");
  const d = normalizeAxis(dim, x.ndim, "slice");
  if (!Number.isInteger(step) || step === 0)
    throw new ValueError(`slice: step must be an integer other than 0, got ${step}`);
  for (const bound of [start, end]) {
    if (bound !== null && bound !== undefined && !Number.isInteger(bound)) {
      throw new ValueError(`slice: bounds are integers, got ${bound}`);
    }
  }
  const { from, count } = sliceRange(start, end, step, x.shape[d]);
  return restride("slice", x, (at) => ({
    shape: replaced(at.shape, d, count),
    strides: replaced(at.strides, d, at.strides[d] * step),
    offset: at.offset + (count > 0 ? from * at.strides[d] : 0),
  }));
}

/** The order along the dimensions `dims` reversed. Shares memory, where PyTorch copies. */
export function flip(x: Tensor, dims?: number | readonly number[] | null): Tensor {
  checkTensor(x, "flip");
  const axes = normalizeAxes(dims, x.ndim, "flip");
  return restride("flip", x, ({ shape, strides, offset }) => ({
    shape,
    strides: strides.map((s, i) => (axes.includes(i) ? -s : s)),
    offset: axes.reduce((o, i) => o + Math.max(shape[i] - 1, 0) * strides[i], offset),
  }));
}

/** The diagonal of the matrices in dimensions `dim1` and `dim2`, as a last dimension; `offset` > 0 lies above it. */
export function diagonal(x: Tensor, offset = 0, dim1 = 0, dim2 = 1): Tensor {
  checkTensor(x, "diagonal");
  const a = normalizeAxis(dim1, x.ndim, "diagonal");
  const b = normalizeAxis(dim2, x.ndim, "diagonal");
  if (x.ndim < 2 || a === b)
    throw new ShapeError(`diagonal: two different dimensions of ${show(x.shape)} are needed, got ${dim1} and ${dim2}`);
  const down = Math.max(-offset, 0);
  const right = Math.max(offset, 0);
  const n = Math.max(0, Math.min(x.shape[a] - down, x.shape[b] - right));
  const rest = (list: Shape): number[] => list.filter((_, i) => i !== a && i !== b);
  return restride("diagonal", x, ({ shape, strides, offset }) => ({
    shape: [...rest(shape), n],
    strides: [...rest(strides), strides[a] + strides[b]],
    offset: offset + (n > 0 ? down * strides[a] + right * strides[b] : 0),
  }));
}

/**
 * Windows of `size` elements along `dim`, one every `step`: that dimension counts the windows, and a new last one the
 * elements of each. Shares memory; windows may overlap (`Tensor.unfold`).
 */
export function unfold(x: Tensor, dim: number, size: number, step: number): Tensor {
  checkTensor(x, "unfold");
  const d = normalizeAxis(dim, x.ndim, "unfold");
  const length = x.ndim === 0 ? 1 : x.shape[d];
  if (!Number.isInteger(size) || size < 0 || size > length || !Number.isInteger(step) || step < 1) {
    throw new ShapeError(`unfold: windows of ${size} every ${step} do not fit dimension ${dim} of ${show(x.shape)}`);
  }
  const base = x.ndim === 0 ? reshape(x, [1]) : x;
  const count = Math.floor((length - size) / step) + 1;
  return restride("unfold", base, ({ shape, strides, offset }) => ({
    shape: [...replaced(shape, d, count), size],
    strides: [...replaced(strides, d, strides[d] * step), strides[d]],
    offset,
  }));
}

/**
 * A view by raw strides, in elements, over a row-major tensor; `offset` counts from its first element
 * (`torch.as_strided`). Elements may be seen several times.
 */
export function asStrided(x: Tensor, shape: Shape, strides: Shape, offset = 0): Tensor {
  checkTensor(x, "asStrided");
  const target = checkShape(shape, "asStrided");
  if (!x.isContiguous()) throw new ShapeError("asStrided: a contiguous tensor is needed; call contiguous() first");
  if (strides.length !== target.length || ![...strides, offset].every(Number.isInteger)) {
    throw new ShapeError(
      `asStrided: shape ${show(shape)} needs as many integer strides, got ${show(strides)} and offset ${offset}`,
    );
  }
  let low = offset;
  let high = offset;
  target.forEach((n, i) => {
    const reach = (n - 1) * strides[i];
    if (reach < 0) low += reach;
    else high += reach;
  });
  if (numelOf(target) > 0 && (low < 0 || high >= x.numel)) {
    throw new IndexError(`asStrided: elements ${low} to ${high} would be read, of a tensor that has ${x.numel}`);
  }
  return window(x, { shape: target, strides, offset });
}

// ---- several views at once, recorded as one operation

/** Views of `x` that are the outputs of one node. */
function views<X>(def: OpDef<X>, x: Tensor, layouts: readonly Window[], extra: X): Tensor[] {
  const outs = layouts.map((at) => {
    const out = new Tensor(x.storage, x.dtype, at.shape, at.strides, at.offset);
    out.viewBase = x.viewBase ?? x;
    return out;
  });
  const node = makeNode(def, [x.use(def.name)], outs, [], extra);
  outs.forEach((out, i) => {
    out.node = node;
    out.outputIndex = i;
    out.baseNode = (out.viewBase as Tensor).node;
  });
  return outs;
}

interface Parts {
  readonly dim: number;
  readonly sizes: readonly number[];
}

const zerosOf = (g: Tensor, shape: Shape): Tensor => zeros(shape, { dtype: g.dtype, device: g.device });
const some = (grads: readonly (Tensor | null)[]): Tensor => grads.find((g) => g) as Tensor;

const splitDef: OpDef<Parts> = {
  name: "split",
  grad: (grads, { like, extra: { dim, sizes } }) => [
    cat(
      grads.map((g, i) => g ?? zerosOf(some(grads), replaced(like[0].shape, dim, sizes[i]))),
      dim,
    ),
  ],
};

/**
 * Parts along `dim`, views: each of `size` (the last may be smaller), or of the given sizes.
 *
 * @example
 * arange(5).split(2).map((t) => t.toArray()); // [[0, 1], [2, 3], [4]]
 */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  checkTensor(x, "split");
  const d = normalizeAxis(dim, x.ndim, "split");
  if (x.ndim === 0) throw new ShapeError("split: a 0-dimensional tensor cannot be split");
  const n = x.shape[d];
  let sizes: number[];
  if (typeof size === "number") {
    if (!Number.isInteger(size) || size < 1)
      throw new ValueError(`split: the size of the parts must be an integer ≥ 1, got ${size}`);
    sizes = Array.from({ length: Math.max(1, Math.ceil(n / size)) }, (_, i) => Math.min(size, n - i * size));
  } else {
    sizes = checkShape([...size], "split");
    const total = sizes.reduce((a, b) => a + b, 0);
    if (total !== n)
      throw new ShapeError(
        `split: sizes ${show(sizes)} sum to ${total}, but dimension ${dim} of ${show(x.shape)} has ${n}`,
      );
  }
  let start = 0;
  const layouts = sizes.map((length) => {
    const at = {
      shape: replaced(x.shape, d, length),
      strides: x.strides,
      offset: x.offset + (length > 0 ? start * x.strides[d] : 0),
    };
    start += length;
    return at;
  });
  return views(splitDef, x, layouts, { dim: d, sizes });
}

/** At most `count` parts of equal size along `dim` (the last may be smaller), views. */
export function chunk(x: Tensor, count: number, dim = 0): Tensor[] {
  checkTensor(x, "chunk");
  if (!Number.isInteger(count) || count < 1)
    throw new ValueError(`chunk: the number of parts must be an integer ≥ 1, got ${count}`);
  if (x.ndim === 0) throw new ShapeError("chunk: a 0-dimensional tensor cannot be split");
  const n = x.shape[normalizeAxis(dim, x.ndim, "chunk")];
  return n === 0 ? split(x, new Array<number>(count).fill(0), dim) : split(x, Math.ceil(n / count), dim);
}

const unbindDef: OpDef<number> = {
  name: "unbind",
  grad: (grads, { extra: dim }) => [
    stack(
      grads.map((g) => g ?? zerosOf(some(grads), some(grads).shape)),
      dim,
    ),
  ],
};

/** The slices along `dim`, which goes away; views. */
export function unbind(x: Tensor, dim = 0): Tensor[] {
  checkTensor(x, "unbind");
  if (x.ndim === 0) throw new ShapeError("unbind: a 0-dimensional tensor has no slices");
  const d = normalizeAxis(dim, x.ndim, "unbind");
  const shape = without(x.shape, d);
  const strides = without(x.strides, d);
  const layouts = Array.from({ length: x.shape[d] }, (_, i) => ({
    shape,
    strides,
    offset: x.offset + i * x.strides[d],
  }));
  return views(unbindDef, x, layouts, d);
}

const methods = {
  ...{ reshape, permute, transpose, t, expand, contiguous, view, viewAs, reshapeAs, expandAs, broadcastTo, flatten },
  ...{ unflatten, squeeze, unsqueeze, movedim, swapaxes, select, narrow, slice, flip, diagonal, unfold, asStrided },
  ...{ split, chunk, unbind },
};
installMethods(methods);

const last = (x: Tensor): Tensor => {
  if (x.ndim < 2) throw new ShapeError(`mT: at least 2 dimensions are needed, got ${show(x.shape)}`);
  return transpose(x, -2, -1);
};
Object.defineProperty(Tensor.prototype, "T", {
  get(this: Tensor) {
    return t(this);
  },
  configurable: true,
});
Object.defineProperty(Tensor.prototype, "mT", {
  get(this: Tensor) {
    return last(this);
  },
  configurable: true,
});
Object.defineProperty(Tensor.prototype, Symbol.iterator, {
  *value(this: Tensor) {
    yield* unbind(this);
  },
  writable: true,
  configurable: true,
});

declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {
    /** The transpose of a matrix (see `t`). */
    readonly T: Tensor;
    /** The last two dimensions swapped. */
    readonly mT: Tensor;
    /** The slices along the first dimension. */
    [Symbol.iterator](): IterableIterator<Tensor>;
  }
}

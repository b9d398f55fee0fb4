// Indexing with everything that NumPy and PyTorch put between brackets: x.index("1:3", null, "...", [0, 2]).
import { IndexError, ShapeError, ValueError } from "../errors.js";
import { fromTyped, full, tensor } from "../tensor/create.js";
import { broadcastShapes, checkList, numelOf, reshapeStrides, type Shape, sameShape, show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { checkTensor, installMethods, type MethodsOf } from "./define.js";
import { add, add_, ge, logicalOr, lt, mul, where } from "./elementwise.js";
import { type IndexLike, indexSelect, maskedFill_, nonzeroLists, scatter_, scatterAdd_, toIndex } from "./indexing.js";
import { expand, permute, reshape, select, slice, unsqueeze } from "./movement.js";
import { clone, copy_, type TensorLike } from "./pointwise.js";

type Bound = bigint | "";
/** `start:stop:step` with Python's rules, each part optional; a negative step walks backwards. */
export type SliceText = `${Bound}:${Bound}` | `${Bound}:${Bound}:${Bound}`;

/**
 * What indexes one or more dimensions: an integer (the dimension goes), a slice (`"1:5:2"`), `null` (a new dimension),
 * `"..."` (all dimensions that the others leave), integers in an array or tensor, or a mask (a bool tensor or an array
 * of booleans, for as many dimensions as it has).
 */
export type IndexItem = number | null | "..." | SliceText | IndexLike | readonly boolean[];

type Item = number | null | string | Tensor;

function parseSlice(text: string, op: string): [number | null, number | null, number] {
  const match = /^\s*([+-]?\d+)?\s*:\s*([+-]?\d+)?\s*(?::\s*([+-]?\d+)?\s*)?$/.exec(text);
  if (!match) {
    throw new ValueError(`${op}: "${text}" is not a slice; write "start:stop:step", each part optional, or "..."`);
  }
  const [start, stop, step] = match.slice(1).map((s) => (s === undefined ? null : Number(s)));
  return [start, stop, step ?? 1];
}

/** Arrays as tensors; the rest as it is. */
function toItem(item: IndexItem, x: Tensor, op: string): Item {
  if (item === null || typeof item === "number" || typeof item === "string") return item;
  if (!Array.isArray(item)) return checkTensor(item, op);
  const boolean = item.flat(8).some((v) => typeof v === "boolean");
  return tensor(item, { dtype: boolean ? "bool" : "int64", device: x.device });
}

const isMask = (item: Item): item is Tensor => item instanceof Tensor && item.dtype === "bool";

/** How many dimensions of x an item indexes. */
const spanOf = (item: Item): number => (item === null || item === "..." ? 0 : isMask(item) ? item.ndim : 1);

/** Integers that are known on the host are checked at once. */
function checkRange(integers: readonly number[], size: number, dim: number, op: string): void {
  const wrong = integers.find((v) => v < -size || v >= size);
  if (wrong === undefined) return;
  throw new IndexError(
    `${op}: index ${wrong} is out of range for dimension ${dim} of size ${size} (allowed: ${-size} to ${size - 1})`,
  );
}

interface Parsed {
  /** The view that integers, slices and new dimensions make. */
  readonly view: Tensor;
  /** Integers that pick from dimensions of the view. */
  readonly picks: readonly { readonly dim: number; readonly index: Tensor }[];
  /** The one mask, where masks are to be kept, and its first dimension. */
  readonly mask: { readonly tensor: Tensor; readonly dim: number } | null;
}

function parse(x: Tensor, given: readonly IndexItem[], op: string, keepMask: boolean): Parsed {
  checkList(given, 'the indices come in one array, such as [0, "1:"]', op);
  const items = given.map((item) => toItem(item, x, op));
  const used = items.reduce<number>((n, item) => n + spanOf(item), 0);
  if (used > x.ndim) {
    throw new IndexError(`${op}: ${used} indices for a tensor of ${x.ndim} dimensions, shape ${show(x.shape)}`);
  }
  const dots = items.filter((item) => item === "...").length;
  if (dots > 1) throw new IndexError(`${op}: "..." can be used once, got it ${dots} times`);
  keepMask &&= items.filter((item) => item instanceof Tensor).length === 1;
  let view = x;
  let dim = 0;
  const picks: { dim: number; index: Tensor }[] = [];
  let mask: Parsed["mask"] = null;
  for (const [k, item] of items.entries()) {
    if (item === null) view = unsqueeze(view, dim++);
    else if (item === "...") dim += x.ndim - used;
    else if (typeof item === "number") view = select(view, dim, item);
    else if (typeof item === "string") view = slice(view, dim++, ...parseSlice(item, op));
    else if (!isMask(item)) {
      const source = given[k];
      if (Array.isArray(source)) checkRange(source.flat(8), view.shape[dim], dim, op);
      picks.push({ dim: dim++, index: toIndex(item, x, op) });
    } else {
      const covered = view.shape.slice(dim, dim + item.ndim);
      if (item.ndim === 0 || !sameShape(covered, item.shape)) {
        throw new ShapeError(
          `${op}: a mask of shape ${show(item.shape)} does not fit the dimensions ${show(covered)} of ${show(x.shape)}`,
        );
      }
      if (keepMask) mask = { tensor: item, dim };
      else {
        nonzeroLists(item).forEach((list, i) => {
          picks.push({ dim: dim + i, index: fromTyped(list, "int64", [list.length], x.storage.device) });
        });
      }
      dim += item.ndim;
    }
  }
  return { view, picks, mask };
}

/**
 * A view with the picked dimensions next to each other and merged into dimension `at`, positions in it, and the shape
 * of what is picked: `before`, `picked`, `after`. Picks that are not neighbours come first, as in NumPy.
 */
function merge(view: Tensor, picks: Parsed["picks"], op: string) {
  const dims = picks.map((p) => p.dim);
  const adjacent = dims.every((d, i) => i === 0 || d === dims[i - 1] + 1);
  const rest = view.shape.map((_, d) => d).filter((d) => !dims.includes(d));
  const ordered = adjacent ? view : permute(view, [...dims, ...rest]);
  const at = adjacent ? dims[0] : 0;
  const sizes = dims.map((d) => view.shape[d]);
  const picked = picks.reduce<Shape>((shape, p) => broadcastShapes(shape, p.index.shape, op), []);
  const before = ordered.shape.slice(0, at);
  const after = ordered.shape.slice(at + dims.length);
  return { ordered, at, sizes, before, picked, after, positions: reshape(linear(picks, sizes, picked), [-1]) };
}

/** Row-major positions among `sizes`. Where one index is out of range the position is too, for the kernel to refuse. */
function linear(picks: Parsed["picks"], sizes: Shape, picked: Shape): Tensor {
  if (picks.length === 1) return picks[0].index;
  let position: Tensor | null = null;
  let wrong: Tensor | null = null;
  picks.forEach(({ index }, i) => {
    const n = sizes[i];
    const wrapped = where(lt(index, 0), add(index, n), index);
    const outside = logicalOr(lt(wrapped, 0), ge(wrapped, n));
    position = position ? add(mul(position, n), wrapped) : wrapped.to("int64");
    wrong = wrong ? logicalOr(wrong, outside) : outside;
  });
  return expand(where(wrong!, numelOf(sizes), position!), picked);
}

/**
 * Part of a tensor, by PyTorch's rules. Integers, slices, `null` and `"..."` give a view. Index tensors and masks copy:
 * several are broadcast together, and their common shape takes the place of the dimensions that they index (the front,
 * when these are not neighbours). A mask is read from the device.
 *
 * @throws IndexError for an integer out of range (for values of an index tensor: when the result is read).
 * @example
 * const x = arange(12).reshape([3, 4]);
 * x.index(1, "::2").toArray(); // [4, 6]
 * x.index([0, 2], [3, -1]).toArray(); // [3, 11]
 * x.index(x.gt(9)).toArray(); // [10, 11]
 */
export function index(x: Tensor, ...items: IndexItem[]): Tensor {
  checkTensor(x, "index");
  const { view, picks } = parse(x, items, "index", false);
  if (picks.length === 0) return view;
  const { ordered, at, sizes, before, picked, after, positions } = merge(view, picks, "index");
  const flat = reshape(ordered, [...before, numelOf(sizes), ...after]);
  return reshape(indexSelect(flat, at, positions), [...before, ...picked, ...after]);
}

export interface IndexPutOptions {
  /** Add to what is there; positions that come twice add up. Default false. */
  accumulate?: boolean;
}

/**
 * Writes `value`, broadcast, into the part that `index` would give.
 *
 * @example
 * zeros([2, 3]).indexPut_([0, "1:"], 5).toArray(); // [[0, 5, 5], [0, 0, 0]]
 */
export function indexPut_(
  x: Tensor,
  items: readonly IndexItem[],
  value: TensorLike,
  options: IndexPutOptions = {},
): Tensor {
  return put(x, items, value, options.accumulate ?? false, "indexPut_");
}

/** `indexPut_` in a copy. */
export function indexPut(
  x: Tensor,
  items: readonly IndexItem[],
  value: TensorLike,
  options: IndexPutOptions = {},
): Tensor {
  return put(clone(checkTensor(x, "indexPut")), items, value, options.accumulate ?? false, "indexPut");
}

function put(x: Tensor, items: readonly IndexItem[], value: TensorLike, accumulate: boolean, op: string): Tensor {
  checkTensor(x, op);
  const single = !(value instanceof Tensor) || value.ndim === 0;
  const { view, picks, mask } = parse(x, items, op, single && !accumulate);
  if (mask) {
    const rest = view.ndim - mask.dim - mask.tensor.ndim;
    maskedFill_(view, reshape(mask.tensor, [...mask.tensor.shape, ...new Array<number>(rest).fill(1)]), value);
    return x;
  }
  if (picks.length === 0) {
    if (accumulate) add_(view, value);
    else copy_(view, value);
    return x;
  }
  const { ordered, at, sizes, before, picked, after, positions } = merge(view, picks, op);
  const source = value instanceof Tensor ? value : full([], value, { dtype: x.dtype, device: x.device });
  const count = numelOf(picked);
  const shape = [...before, count, ...after];
  const values = reshape(expand(source, [...before, ...picked, ...after]), shape);
  const where = expand(
    reshape(
      positions,
      shape.map((_, i) => (i === at ? count : 1)),
    ),
    shape,
  );
  const merged = [...before, numelOf(sizes), ...after];
  const inPlace = reshapeStrides(ordered.shape, ordered.strides, merged) !== null;
  const flat = reshape(inPlace ? ordered : clone(ordered), merged);
  if (accumulate) scatterAdd_(flat, at, where, values);
  else scatter_(flat, at, where, values);
  if (!inPlace) copy_(ordered, reshape(flat, ordered.shape));
  return x;
}

const methods = { index, indexPut, indexPut_ };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

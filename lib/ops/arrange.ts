// New tensors made of the elements of others: joined, padded, repeated, masked by triangle, placed on a diagonal.
import { ShapeError, ValueError } from "../errors.js";
import { arange, fromTyped } from "../tensor/create.js";
import { resultType } from "../tensor/dtype.js";
import { checkShape, normalizeAxis, numelOf, rowMajor, type Shape, show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { checkTensor, commonDevice, empty, installMethods, type MethodsOf, type OpDef, recordOne } from "./define.js";
import { ge, le, sub, where } from "./elementwise.js";
import { indexSelect } from "./indexing.js";
import { diagonal, expand, flip, narrow, reshape, transpose, unsqueeze } from "./movement.js";
import { copyInto } from "./pointwise.js";
import { place } from "./strided.js";

// ---- joining

function checkTensors(tensors: readonly Tensor[], op: string): readonly Tensor[] {
  if (!Array.isArray(tensors) || tensors.length === 0)
    throw new ValueError(`${op}: an array of at least one tensor is needed`);
  for (const x of tensors) checkTensor(x, op);
  return tensors;
}

interface Joined {
  readonly dim: number;
}

const catDef: OpDef<Joined> = {
  name: "cat",
  grad: ([g], { like, needs, extra: { dim } }) => {
    let start = 0;
    return like.map(({ shape }, i) => {
      const part = needs[i] ? narrow(g!, dim, start, shape[dim]) : null;
      start += shape[dim];
      return part;
    });
  },
};

/**
 * Tensors joined along the existing dimension `dim`; their other sizes are equal, their dtypes are promoted.
 *
 * @throws ShapeError when other sizes differ.
 * @example
 * cat([tensor([1, 2]), tensor([3])]).toArray(); // [1, 2, 3]
 */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  const [first] = checkTensors(tensors, "cat");
  if (first.ndim === 0) throw new ShapeError("cat: 0-dimensional tensors cannot be joined; use stack");
  const d = normalizeAxis(dim, first.ndim, "cat");
  const shape = [...first.shape];
  shape[d] = 0;
  tensors.forEach((x, i) => {
    if (x.ndim !== first.ndim || x.shape.some((n, k) => k !== d && n !== first.shape[k])) {
      throw new ShapeError(
        `cat: tensor ${i} of shape ${show(x.shape)} does not fit ${show(first.shape)}: all sizes but that of dimension ${dim} must be equal`,
      );
    }
    shape[d] += x.shape[d];
  });
  const device = commonDevice(tensors, "cat");
  const out = empty(checkShape(shape, "cat"), resultType(tensors), device, "cat");
  let offset = 0;
  for (const x of tensors) {
    if (x.numel > 0) copyInto(new Tensor(out.storage, out.dtype, x.shape, out.strides, offset), x);
    offset += x.shape[d] * out.strides[d];
  }
  return recordOne(catDef, tensors, out, [], { dim: d });
}

/** `cat` under its other name. */
export const concat = cat;

/** Tensors of one shape joined along a new dimension `dim`. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  const [first] = checkTensors(tensors, "stack");
  const d = normalizeAxis(dim, first.ndim + 1, "stack");
  tensors.forEach((x, i) => {
    if (show(x.shape) !== show(first.shape)) {
      throw new ShapeError(
        `stack: tensor ${i} has shape ${show(x.shape)}, the first ${show(first.shape)}; they must be equal`,
      );
    }
  });
  return cat(
    tensors.map((x) => unsqueeze(x, d)),
    d,
  );
}

/** Joined side by side: vectors along dimension 0, others along dimension 1. */
export function hstack(tensors: readonly Tensor[]): Tensor {
  const rows = checkTensors(tensors, "hstack").map((x) => (x.ndim === 0 ? reshape(x, [1]) : x));
  return cat(rows, rows[0].ndim === 1 ? 0 : 1);
}

/** Joined one below the other; vectors count as rows. */
export function vstack(tensors: readonly Tensor[]): Tensor {
  return cat(checkTensors(tensors, "vstack").map((x) => (x.ndim < 2 ? reshape(x, [1, x.numel]) : x)));
}

// ---- padding

export type PadMode = "constant" | "reflect" | "replicate" | "circular";

/**
 * Borders added (or, where negative, cut off). `padding` names the last dimension first: `[left, right, top, bottom …]`.
 * `"constant"` fills with `value`, `"reflect"` mirrors without repeating the edge, `"replicate"` repeats the edge,
 * `"circular"` continues at the other end (`torch.nn.functional.pad`).
 *
 * @example
 * pad(tensor([1, 2, 3]), [2, 0], "reflect").toArray(); // [3, 2, 1, 2, 3]
 */
export function pad(x: Tensor, padding: readonly number[], mode: PadMode = "constant", value = 0): Tensor {
  checkTensor(x, "pad");
  if (padding.length % 2 !== 0 || padding.length > 2 * x.ndim || !padding.every(Number.isInteger)) {
    throw new ValueError(
      `pad: padding ${show(padding)} must be pairs of integers, the last dimension first, at most ${x.ndim} for ${show(x.shape)}`,
    );
  }
  const before = x.shape.map((_, d) => padding[2 * (x.ndim - 1 - d)] ?? 0);
  const after = x.shape.map((_, d) => padding[2 * (x.ndim - 1 - d) + 1] ?? 0);
  if (before.some((b, d) => b + x.shape[d] + after[d] < 0)) {
    throw new ShapeError(`pad: padding ${show(padding)} cuts more than there is from ${show(x.shape)}`);
  }
  if (mode === "constant") return padConstant(x, before, after, value);
  const border = borders[mode];
  if (!border) throw new ValueError(`pad: unknown mode ${String(mode)}; use constant, reflect, replicate or circular`);
  let out = x;
  x.shape.forEach((n, d) => {
    const [b, a] = [before[d], after[d]];
    if (b === 0 && a === 0) return;
    const most = mode === "reflect" ? n - 1 : mode === "circular" ? n : n > 0 ? Number.POSITIVE_INFINITY : 0;
    if (b > most || a > most) {
      throw new ShapeError(
        `pad: ${mode} padding [${b}, ${a}] is too large for dimension ${d} of ${show(x.shape)} (at most ${most})`,
      );
    }
    const inner = narrow(out, d, Math.max(-b, 0), n + Math.min(b, 0) + Math.min(a, 0));
    const parts = [inner];
    if (b > 0) parts.unshift(border(out, d, n, b, true));
    if (a > 0) parts.push(border(out, d, n, a, false));
    out = cat(parts, d);
  });
  return out;
}

/** The `k` elements that continue dimension `d` of size `n` before its start or after its end. */
type Border = (x: Tensor, d: number, n: number, k: number, atStart: boolean) => Tensor;
const borders: Record<Exclude<PadMode, "constant">, Border> = {
  reflect: (x, d, n, k, atStart) => flip(narrow(x, d, atStart ? 1 : n - 1 - k, k), d),
  replicate: (x, d, n, k, atStart) =>
    expand(
      narrow(x, d, atStart ? 0 : n - 1, 1),
      x.shape.map((s, i) => (i === d ? k : s)),
    ),
  circular: (x, d, n, k, atStart) => narrow(x, d, atStart ? n - k : 0, k),
};

function padConstant(x: Tensor, before: Shape, after: Shape, value: number): Tensor {
  let inner = x;
  x.shape.forEach((n, d) => {
    if (before[d] < 0 || after[d] < 0) {
      inner = narrow(inner, d, Math.max(-before[d], 0), n + Math.min(before[d], 0) + Math.min(after[d], 0));
    }
  });
  const shape = checkShape(
    x.shape.map((n, d) => before[d] + n + after[d]),
    "pad",
  );
  const strides = rowMajor(shape);
  const offset = inner.numel === 0 ? 0 : before.reduce((o, b, d) => o + Math.max(b, 0) * strides[d], 0);
  return place(inner, shape, { shape: inner.shape, strides, offset }, value);
}

// ---- repeating and moving around

/** The elements moved by `shifts` along `dims`, around the end; along the flattened tensor when `dims` is absent. */
export function roll(x: Tensor, shifts: number | readonly number[], dims?: number | readonly number[] | null): Tensor {
  checkTensor(x, "roll");
  const by = typeof shifts === "number" ? [shifts] : shifts;
  if (dims === undefined || dims === null) {
    if (by.length !== 1) throw new ValueError(`roll: ${by.length} shifts need as many dims`);
    return reshape(roll(reshape(x, [-1]), by, 0), x.shape);
  }
  const axes = typeof dims === "number" ? [dims] : dims;
  if (by.length !== axes.length || !by.every(Number.isInteger)) {
    throw new ValueError(
      `roll: shifts ${show(by)} and dims ${show(axes)} must be integers, as many of one as of the other`,
    );
  }
  let out = x;
  axes.forEach((axis, i) => {
    const d = normalizeAxis(axis, x.ndim, "roll");
    const n = x.ndim === 0 ? 1 : x.shape[d];
    const k = n === 0 ? 0 : ((by[i] % n) + n) % n;
    if (k !== 0) out = cat([narrow(out, d, n - k, k), narrow(out, d, 0, n - k)], d);
  });
  return out;
}

/**
 * The tensor repeated `times[i]` times along each dimension; more numbers than dimensions add new ones in front.
 *
 * @example
 * tensor([1, 2]).repeat([2, 2]).toArray(); // [[1, 2, 1, 2], [1, 2, 1, 2]]
 */
export function repeat(x: Tensor, times: Shape): Tensor {
  checkTensor(x, "repeat");
  const counts = checkShape(times, "repeat");
  const lead = counts.length - x.ndim;
  if (lead < 0) throw new ShapeError(`repeat: ${show(counts)} has fewer numbers than ${show(x.shape)} has dimensions`);
  const parted: number[] = [];
  const spread: number[] = [];
  const shape = counts.map((r, i) => {
    const n = i < lead ? 1 : x.shape[i - lead];
    if (r !== 1) {
      parted.push(1);
      spread.push(r);
    }
    parted.push(n);
    spread.push(n);
    return r * n;
  });
  return reshape(expand(reshape(x, parted), spread), shape);
}

/** `repeat` where missing numbers are 1 (`torch.tile`, `numpy.tile`). */
export function tile(x: Tensor, times: Shape): Tensor {
  checkTensor(x, "tile");
  return repeat(x, [...new Array<number>(Math.max(0, x.ndim - times.length)).fill(1), ...times]);
}

/**
 * Each slice along `dim` repeated `repeats` times, in place of the slice; a list gives each its own number. The
 * flattened tensor when `dim` is absent.
 *
 * @example
 * repeatInterleave(tensor([1, 2]), [2, 1]).toArray(); // [1, 1, 2]
 */
export function repeatInterleave(x: Tensor, repeats: number | readonly number[] | Tensor, dim?: number | null): Tensor {
  checkTensor(x, "repeatInterleave");
  if (dim === undefined || dim === null) return repeatInterleave(reshape(x, [-1]), repeats, 0);
  const d = normalizeAxis(dim, x.ndim, "repeatInterleave");
  const base = x.ndim === 0 ? reshape(x, [1]) : x;
  const n = base.shape[d];
  if (typeof repeats === "number") {
    const [r] = checkShape([repeats], "repeatInterleave");
    const grown = unsqueeze(base, d + 1);
    const wide = expand(
      grown,
      grown.shape.map((s, i) => (i === d + 1 ? r : s)),
    );
    return reshape(
      wide,
      base.shape.map((s, i) => (i === d ? s * r : s)),
    );
  }
  const list = checkShape(
    repeats instanceof Tensor ? Array.from(repeats.dataSync(), Number) : [...repeats],
    "repeatInterleave",
  );
  if (list.length !== n && list.length !== 1) {
    throw new ShapeError(
      `repeatInterleave: ${list.length} repeats for the ${n} slices of dimension ${dim} of ${show(x.shape)}`,
    );
  }
  if (list.length === 1) return repeatInterleave(base, list[0], d);
  const index = BigInt64Array.from(list.flatMap((r, i) => new Array<bigint>(r).fill(BigInt(i))));
  return indexSelect(base, d, fromTyped(index, "int64", [index.length], base.storage.device));
}

/** A quarter turn of the plane of `dims`, `k` times, from the first towards the second. */
export function rot90(x: Tensor, k = 1, dims: readonly [number, number] = [0, 1]): Tensor {
  checkTensor(x, "rot90");
  if (!Number.isInteger(k)) throw new ValueError(`rot90: k must be an integer, got ${k}`);
  const [a, b] = dims.map((d) => normalizeAxis(d, x.ndim, "rot90"));
  if (x.ndim < 2 || a === b)
    throw new ShapeError(`rot90: two different dimensions of ${show(x.shape)} are needed, got ${show(dims)}`);
  switch (((k % 4) + 4) % 4) {
    case 1:
      return transpose(flip(x, b), a, b);
    case 2:
      return flip(x, [a, b]);
    case 3:
      return transpose(flip(x, a), a, b);
    default:
      return x;
  }
}

// ---- triangles and diagonals

function triangle(x: Tensor, diagonal: number, upper: boolean, op: string): Tensor {
  checkTensor(x, op);
  if (x.ndim < 2) throw new ShapeError(`${op}: a matrix or a batch of them is needed, got ${show(x.shape)}`);
  if (!Number.isInteger(diagonal)) throw new ValueError(`${op}: diagonal must be an integer, got ${diagonal}`);
  const options = { dtype: "int32", device: x.device } as const;
  const rows = reshape(arange(x.shape[x.ndim - 2], options), [-1, 1]);
  const above = sub(arange(x.shape[x.ndim - 1], options), rows);
  return where(upper ? ge(above, diagonal) : le(above, diagonal), x, x.dtype === "bool" ? false : 0);
}

/** The lower triangle of matrices, up to and with the given diagonal (0 the main one, > 0 above); 0 elsewhere. */
export const tril = (x: Tensor, diagonal = 0): Tensor => triangle(x, diagonal, false, "tril");
/** The upper triangle of matrices, from the given diagonal on; 0 elsewhere. */
export const triu = (x: Tensor, diagonal = 0): Tensor => triangle(x, diagonal, true, "triu");

/** A vector on a diagonal of a square matrix of zeros; of a matrix, its diagonal (a view). */
export function diag(x: Tensor, offset = 0): Tensor {
  checkTensor(x, "diag");
  if (x.ndim === 1) return diagEmbed(x, offset);
  if (x.ndim === 2) return diagonal(x, offset);
  throw new ShapeError(`diag: a vector or a matrix is needed, got ${show(x.shape)}`);
}

/** Matrices of zeros, in new dimensions `dim1` and `dim2`, with the last dimension of x on their diagonal. */
export function diagEmbed(x: Tensor, offset = 0, dim1 = -2, dim2 = -1): Tensor {
  checkTensor(x, "diagEmbed");
  const a = normalizeAxis(dim1, x.ndim + 1, "diagEmbed");
  const b = normalizeAxis(dim2, x.ndim + 1, "diagEmbed");
  if (x.ndim === 0 || a === b || !Number.isInteger(offset)) {
    throw new ShapeError(
      `diagEmbed: shape ${show(x.shape)}, offset ${offset}, dimensions ${dim1} and ${dim2} (which must differ)`,
    );
  }
  const n = x.shape[x.ndim - 1];
  const side = n + Math.abs(offset);
  const rest = x.shape.slice(0, -1);
  const shape: number[] = [];
  for (let i = 0, k = 0; i < x.ndim + 1; i++) shape.push(i === a || i === b ? side : rest[k++]);
  const strides = rowMajor(checkShape(shape, "diagEmbed"));
  return place(x, shape, {
    shape: x.shape,
    strides: [...strides.filter((_, i) => i !== a && i !== b), strides[a] + strides[b]],
    offset: numelOf(x.shape) === 0 ? 0 : Math.max(-offset, 0) * strides[a] + Math.max(offset, 0) * strides[b],
  });
}

/**
 * Coordinates of a grid: for vectors of n₀, n₁ … elements, as many tensors of shape n₀×n₁×…, views. `"xy"` swaps the
 * first two dimensions, as plots want them.
 */
export function meshgrid(tensors: readonly Tensor[], indexing: "ij" | "xy" = "ij"): Tensor[] {
  checkTensors(tensors, "meshgrid");
  if (indexing !== "ij" && indexing !== "xy")
    throw new ValueError(`meshgrid: indexing is "ij" or "xy", got ${String(indexing)}`);
  for (const x of tensors) {
    if (x.ndim > 1) throw new ShapeError(`meshgrid: vectors are needed, got ${show(x.shape)}`);
  }
  const shape = tensors.map((x) => x.numel);
  const grids = tensors.map((x, i) =>
    expand(
      reshape(
        x,
        shape.map((_, k) => (k === i ? x.numel : 1)),
      ),
      shape,
    ),
  );
  return indexing === "xy" && tensors.length > 1 ? grids.map((g) => transpose(g, 0, 1)) : grids;
}

const methods = { pad, roll, repeat, tile, repeatInterleave, rot90, tril, triu, diag, diagEmbed };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

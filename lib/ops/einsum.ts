// Products named by their indices: einsum, tensordot, the Kronecker product, the trace.
import { ShapeError, ValueError } from "../errors.js";
import { normalizeAxis, numelOf, type Shape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkTensor, installMethods, type MethodsOf } from "./define.js";
import { mul } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { diagonal, permute, reshape } from "./movement.js";
import { sum } from "./reduce.js";

/** A tensor whose dimensions have names. */
interface Named {
  readonly x: Tensor;
  readonly labels: readonly string[];
}

/** Letters of one side, `...` spelled as the numbered labels of the dimensions that it stands for. */
function parseLabels(text: string, ellipsis: number, equation: string): string[] {
  const parts = text.replace(/\s/g, "").split("...");
  if (parts.length > 2 || !/^[a-zA-Z]*$/.test(parts.join(""))) {
    throw new ValueError(`einsum: "${equation}": "${text}" is not a list of letters with at most one "..."`);
  }
  const dots = parts.length === 2 ? Array.from({ length: ellipsis }, (_, i) => `${ellipsis - i}`) : [];
  return [...parts[0], ...dots, ...(parts[1] ?? "")];
}

/** Repeated labels become one, by the diagonal. */
function takeDiagonals({ x, labels }: Named, equation: string): Named {
  const again = labels.findIndex((l, i) => labels.indexOf(l) < i);
  if (again < 0) return { x, labels };
  const first = labels.indexOf(labels[again]);
  if (x.shape[first] !== x.shape[again]) {
    throw new ShapeError(
      `einsum: "${equation}": index ${labels[again]} names sizes ${x.shape[first]} and ${x.shape[again]} of ${show(x.shape)}`,
    );
  }
  const rest = labels.filter((_, i) => i !== first && i !== again);
  return takeDiagonals({ x: diagonal(x, 0, first, again), labels: [...rest, labels[again]] }, equation);
}

const sumOver = ({ x, labels }: Named, gone: (label: string) => boolean): Named => {
  const axes = labels.map((_, i) => i).filter((i) => gone(labels[i]));
  return axes.length === 0 ? { x, labels } : { x: sum(x, axes), labels: labels.filter((l) => !gone(l)) };
};

/** The dimensions `order`, each a group of labels merged into one. */
const grouped = ({ x, labels }: Named, groups: readonly (readonly string[])[]): Tensor => {
  const order = groups.flat().map((l) => labels.indexOf(l));
  const sizes = groups.map((g) => numelOf(g.map((l) => x.shape[labels.indexOf(l)])));
  return reshape(permute(x, order), sizes);
};

/** The product of two, summed over the labels that are not `kept`. */
function contract(left: Named, right: Named, kept: (label: string) => boolean): Named {
  const a = sumOver(left, (l) => !kept(l) && !right.labels.includes(l));
  const b = sumOver(right, (l) => !kept(l) && !left.labels.includes(l));
  const shared = a.labels.filter((l) => b.labels.includes(l));
  const batch = shared.filter(kept);
  const inner = shared.filter((l) => !kept(l));
  const rows = a.labels.filter((l) => !shared.includes(l));
  const columns = b.labels.filter((l) => !shared.includes(l));
  const labels = [...batch, ...rows, ...columns];
  const x = grouped(a, [batch, rows, inner]); // B×M×K
  const y = grouped(b, [batch, inner, columns]); // B×K×N
  // Without an inner dimension (K = 1) the product is element by element: B×M×1 · B×1×N.
  const product = inner.length > 0 ? matmul(x, y) : mul(x, y);
  const sizeOf = (l: string): number =>
    a.labels.includes(l) ? a.x.shape[a.labels.indexOf(l)] : b.x.shape[b.labels.indexOf(l)];
  return { x: reshape(product, labels.map(sizeOf)), labels };
}

/**
 * Sum of products by Einstein's convention (`torch.einsum`, `numpy.einsum`): each letter names a dimension, those that
 * are not in the result are summed over, repeated ones of one tensor take its diagonal, and `...` stands for dimensions
 * that broadcast. Without `->` the result has the letters that come once, in alphabetical order. Tensors are multiplied
 * from left to right, each time as a batched matrix product.
 *
 * @throws ValueError for a malformed equation, ShapeError for sizes that do not agree.
 * @example
 * einsum("ij,jk->ik", a, b); // a matrix product
 * einsum("...ii->...i", x); // diagonals
 */
export function einsum(equation: string, ...tensors: readonly Tensor[]): Tensor {
  for (const x of tensors) checkTensor(x, "einsum");
  const sides = equation.split("->");
  const texts = sides[0].split(",");
  if (sides.length > 2 || texts.length !== tensors.length) {
    throw new ValueError(`einsum: "${equation}" names ${texts.length} tensors, got ${tensors.length}`);
  }
  const sizes = new Map<string, number>();
  const operands = tensors.map((x, k) => {
    const letters = texts[k].replace(/\s|\.\.\./g, "").length;
    const labels = parseLabels(texts[k], Math.max(0, x.ndim - letters), equation);
    if (labels.length !== x.ndim) {
      throw new ShapeError(
        `einsum: "${texts[k].trim()}" of "${equation}" does not name the ${x.ndim} dimensions of ${show(x.shape)}`,
      );
    }
    const named = takeDiagonals({ x, labels }, equation);
    named.labels.forEach((l, i) => {
      const n = named.x.shape[i];
      const known = sizes.get(l) ?? 1;
      if (n !== known && n !== 1 && known !== 1) {
        throw new ShapeError(`einsum: "${equation}": index ${l} has size ${known} and, in ${show(x.shape)}, ${n}`);
      }
      if (known === 1) sizes.set(l, n);
    });
    return named;
  });
  const output = outputLabels(sides[1], texts, sizes, equation);
  // A size of 1 broadcasts: its label goes, and comes back where nothing else has it.
  const narrow = operands.map(({ x, labels }) => ({
    x: reshape(
      x,
      x.shape.filter((n) => n !== 1),
    ),
    labels: labels.filter((_, i) => x.shape[i] !== 1),
  }));
  let result: Named = narrow[0];
  narrow.slice(1).forEach((next, i) => {
    const later = narrow.slice(i + 2);
    result = contract(result, next, (l) => output.includes(l) || later.some((o) => o.labels.includes(l)));
  });
  result = sumOver(result, (l) => !output.includes(l));
  const present = output.filter((l) => result.labels.includes(l));
  return reshape(
    grouped(
      result,
      present.map((l) => [l]),
    ),
    output.map((l) => (present.includes(l) ? (sizes.get(l) as number) : 1)),
  );
}

function outputLabels(
  text: string | undefined,
  inputs: readonly string[],
  sizes: ReadonlyMap<string, number>,
  equation: string,
): string[] {
  const dots = [...sizes.keys()].filter((l) => /\d/.test(l)).sort((a, b) => Number(b) - Number(a));
  if (text === undefined) {
    const all = inputs.join("").replace(/[\s.,]/g, "");
    const once = [...sizes.keys()].filter((l) => /[a-zA-Z]/.test(l) && all.split(l).length === 2);
    return [...dots, ...once.sort()];
  }
  const labels = parseLabels(text, dots.length, equation);
  labels.forEach((l, i) => {
    if (!sizes.has(l) || labels.indexOf(l) < i) {
      throw new ValueError(
        `einsum: "${equation}": index ${l} of the result must come in a tensor, and once in the result`,
      );
    }
  });
  return labels;
}

/**
 * Product summed over several dimensions: the last `dims` of a with the first of b, or the pairs of two lists.
 *
 * @example
 * tensordot(ones([2, 3, 4]), ones([4, 3, 5]), [[1, 2], [1, 0]]).shape; // [2, 5]
 */
export function tensordot(
  a: Tensor,
  b: Tensor,
  dims: number | readonly [readonly number[], readonly number[]] = 2,
): Tensor {
  checkTensor(a, "tensordot");
  checkTensor(b, "tensordot");
  if (typeof dims === "number" && (!Number.isInteger(dims) || dims < 0 || dims > Math.min(a.ndim, b.ndim))) {
    throw new ShapeError(`tensordot: dims ${dims} for tensors ${show(a.shape)} and ${show(b.shape)}`);
  }
  const range = (n: number, start: number): number[] => Array.from({ length: n }, (_, i) => start + i);
  const [left, right] = typeof dims === "number" ? [range(dims, a.ndim - dims), range(dims, 0)] : dims;
  const da = left.map((d) => normalizeAxis(d, a.ndim, "tensordot"));
  const db = right.map((d) => normalizeAxis(d, b.ndim, "tensordot"));
  const sizesOf = (x: Tensor, list: readonly number[]): Shape => list.map((d) => x.shape[d]);
  if (show(sizesOf(a, da)) !== show(sizesOf(b, db))) {
    throw new ShapeError(
      `tensordot: dimensions ${show(left)} of ${show(a.shape)} and ${show(right)} of ${show(b.shape)} do not have the same sizes`,
    );
  }
  const restA = range(a.ndim, 0).filter((d) => !da.includes(d));
  const restB = range(b.ndim, 0).filter((d) => !db.includes(d));
  const inner = numelOf(sizesOf(a, da));
  const x = reshape(permute(a, [...restA, ...da]), [numelOf(sizesOf(a, restA)), inner]);
  const y = reshape(permute(b, [...db, ...restB]), [inner, numelOf(sizesOf(b, restB))]);
  return reshape(matmul(x, y), [...sizesOf(a, restA), ...sizesOf(b, restB)]);
}

/** The Kronecker product: every element of a times the whole of b, as blocks. */
export function kron(a: Tensor, b: Tensor): Tensor {
  checkTensor(a, "kron");
  checkTensor(b, "kron");
  const n = Math.max(a.ndim, b.ndim);
  const padded = (x: Tensor): number[] => [...new Array<number>(n - x.ndim).fill(1), ...x.shape];
  const [p, q] = [padded(a), padded(b)];
  const blocks = mul(
    reshape(
      a,
      p.flatMap((d) => [d, 1]),
    ),
    reshape(
      b,
      q.flatMap((d) => [1, d]),
    ),
  );
  return reshape(
    blocks,
    p.map((d, i) => d * q[i]),
  );
}

/** The sum of the diagonal of a matrix. */
export function trace(x: Tensor): Tensor {
  checkTensor(x, "trace");
  if (x.ndim !== 2) throw new ShapeError(`trace: a matrix is needed, got ${show(x.shape)}`);
  return sum(diagonal(x));
}

const methods = { tensordot, kron, trace };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

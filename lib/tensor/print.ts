// Printing tensors the way PyTorch does (torch/_tensor_str.py): aligned columns, four digits, scientific notation for
// wide ranges, large tensors summarised.
import { defaultDevice } from "../device/registry.js";
import { noGrad } from "../graph/modes.js";
import { cat } from "../ops/arrange.js";
import { narrow } from "../ops/movement.js";
import { isFloat } from "./dtype.js";
import { late } from "./late.js";
import { decoder } from "./nest.js";
import { readBack } from "./read.js";
import type { Tensor } from "./tensor.js";

const PRECISION = 4;
/** From this many elements on only the edges are printed: so many at each end of each dimension. */
const THRESHOLD = 1000;
const EDGE = 3;
const LINE_WIDTH = 80;

/** The first and last elements of every long dimension. */
function edges(x: Tensor): Tensor {
  return noGrad(() =>
    x.shape.reduce(
      (t, n, d) => (n > 2 * EDGE ? cat([narrow(t, d, 0, EDGE), narrow(t, d, n - EDGE, EDGE)], d) : t),
      x.detach(),
    ),
  );
}

/**
 * Digits as C and Python round them: a value exactly in the middle goes to the even digit. JavaScript's `short` goes
 * away from zero; `long` has enough digits to be exact.
 */
function toEven(short: string, long: string, kept: number): string {
  const end = long.search(/\.\d/) + 1 + kept;
  const rest = /^\d*/.exec(long.slice(end)) as RegExpExecArray;
  if (!/^50*$/.test(rest[0])) return short;
  return Number(long[end - 1]) % 2 === 0 ? long.slice(0, end) + long.slice(end + rest[0].length) : short;
}

const special = (v: number): string => (Number.isNaN(v) ? "nan" : v > 0 ? "inf" : "-inf");

function fixed(v: number): string {
  if (!Number.isFinite(v)) return special(v);
  const text = toEven(v.toFixed(PRECISION), v.toFixed(100), PRECISION);
  return Object.is(v, -0) ? `-${text}` : text;
}

function scientific(v: number): string {
  if (!Number.isFinite(v)) return special(v);
  const text = toEven(v.toExponential(PRECISION), v.toExponential(100), PRECISION).replace(/e([+-])(\d)$/, "e$10$2");
  return Object.is(v, -0) ? `-${text}` : text;
}

/** A whole number of a floating point tensor. */
function whole(v: number): string {
  if (!Number.isFinite(v)) return special(v);
  return `${Object.is(v, -0) ? "-" : ""}${v.toFixed(0)}.`;
}

/** The floats as texts of one width. */
function formatFloats(values: readonly number[]): string[] {
  const plain = values.filter((v) => Number.isFinite(v) && v !== 0);
  let style = whole;
  if (plain.length > 0) {
    let min = Number.POSITIVE_INFINITY;
    let max = 0;
    for (const v of plain) {
      min = Math.min(min, Math.abs(v));
      max = Math.max(max, Math.abs(v));
    }
    const integers = plain.every(Number.isInteger);
    if (max / min > 1000 || max > 1e8 || (!integers && min < 1e-4)) style = scientific;
    else if (!integers) style = fixed;
  }
  const width = plain.reduce((w, v) => Math.max(w, style(v).length), 1);
  return values.map((v) => style(v).padStart(width));
}

function texts(x: Tensor): string[] {
  const values = readBack(x);
  const list = Array.from<number | bigint, unknown>(values, (v) => v);
  if (x.dtype === "int64") return align(list.map(String));
  const at = decoder(values, x.dtype);
  const numbers = list.map((_, i) => at(i));
  return isFloat(x.dtype) ? formatFloats(numbers as number[]) : align(numbers.map(String));
}

function align(list: string[]): string[] {
  const width = list.reduce((w, s) => Math.max(w, s.length), 1);
  return list.map((s) => s.padStart(width));
}

/** Elements in nested brackets. `cells` are those of `shape` with long dimensions cut to their edges. */
function brackets(cells: readonly string[], shape: readonly number[], cut: boolean, indent: number): string {
  const isCut = (n: number): boolean => cut && n > 2 * EDGE;
  let next = 0;
  const build = (dim: number, margin: number): string => {
    if (dim === shape.length) return cells[next++];
    const n = shape[dim];
    const count = isCut(n) ? 2 * EDGE : n;
    const parts: string[] = [];
    const last = dim === shape.length - 1;
    for (let i = 0; i < count; i++) {
      if (isCut(n) && i === EDGE) parts.push(last ? " ..." : "...");
      parts.push(build(dim + 1, margin + 1));
    }
    const gap = " ".repeat(margin + 1);
    if (!last) return `[${parts.join(`,${"\n".repeat(shape.length - dim - 1)}${gap}`)}]`;
    const perLine = Math.max(1, Math.floor((LINE_WIDTH - margin) / (cells[0].length + 2)));
    const lines: string[] = [];
    for (let i = 0; i < parts.length; i += perLine) lines.push(parts.slice(i, i + perLine).join(", "));
    return `[${lines.join(`,\n${gap}`)}]`;
  };
  return build(0, indent);
}

/** The text of a tensor that has values. */
export function format(x: Tensor): string {
  const prefix = "tensor(";
  const facts: string[] = [];
  if (x.storage.device !== defaultDevice()) facts.push(`device="${x.device}"`);
  let text = `${prefix}[]`;
  if (x.numel === 0) {
    if (x.ndim !== 1) facts.push(`size=[${x.shape.join(", ")}]`);
    if (x.dtype !== "float32") facts.push(`dtype=${x.dtype}`);
  } else {
    if (!["float32", "int64", "bool"].includes(x.dtype)) facts.push(`dtype=${x.dtype}`);
    const cut = x.numel > THRESHOLD;
    text = prefix + brackets(texts(cut ? edges(x) : x), x.shape, cut, prefix.length);
  }
  if (x.gradFn) facts.push(`gradFn=<${x.gradFn.name}>`);
  else if (x.requiresGrad) facts.push("requiresGrad=true");
  let column = text.length - text.lastIndexOf("\n") + 1;
  for (const fact of facts) {
    if (column + fact.length + 2 > LINE_WIDTH) {
      text += `,\n${" ".repeat(prefix.length)}${fact}`;
      column = prefix.length + fact.length;
    } else {
      text += `, ${fact}`;
      column += fact.length + 2;
    }
  }
  return `${text})`;
}

late.format = format;

// Convolutions, N×C×H×W. The three kernels are each other's gradients, so that derivatives of any order exist.
import { ShapeError, ValueError } from "../errors.js";
import { resultType } from "../tensor/dtype.js";
import { checkShape, type Shape, show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { pad } from "./arrange.js";
import { lowered } from "./autocast.js";
import {
  apply1,
  checkFloat,
  checkTensor,
  type Input,
  installMethods,
  type MethodsOf,
  type OpDef,
  type SavesRule,
} from "./define.js";
import { add } from "./elementwise.js";
import { reshape, squeeze, unsqueeze } from "./movement.js";
import { cast } from "./pointwise.js";

/** One number for all spatial dimensions, or one for each. */
export type Sizes = number | readonly number[];

export interface ConvOptions {
  bias?: Tensor | null;
  /** Default 1. */
  stride?: Sizes;
  /** Zeros on both sides, `"valid"` (none) or `"same"` (as many as keep the size; stride 1 only). Default 0. */
  padding?: Sizes | "same" | "valid";
  /** Distance of the kernel's elements. Default 1. */
  dilation?: Sizes;
  /** Blocks of channels that do not see each other. Default 1. */
  groups?: number;
}

export interface ConvTransposeOptions extends Omit<ConvOptions, "padding"> {
  padding?: Sizes;
  /** Added to the size of the result at one side; smaller than stride or dilation. Default 0. */
  outputPadding?: Sizes;
}

/** Attributes of the kernels: strides, paddings, dilations, groups. */
interface Conv {
  readonly attrs: readonly number[];
}

/** What the rules of products keep: each factor for the other's gradient. */
const saves: SavesRule = (needs) => ({ inputs: [...(needs[1] ? [0] : []), ...(needs[0] ? [1] : [])] });
const work = (inputs: readonly Input[]): number => inputs.reduce((n, x) => n + 8 * (x as Tensor).numel, 0);

const convDef: OpDef<Conv> = {
  name: "conv2d",
  saves,
  work,
  grad: ([g], { inputs: [x, w], needs, like, extra }) => [
    needs[0] ? inputGrad(g!, w, like[0].shape, extra) : null,
    needs[1] ? weightGrad(x, g!, like[1].shape, extra) : null,
  ],
};
const inputGradDef: OpDef<Conv> = {
  name: "conv2dInputGrad",
  saves,
  work,
  grad: ([g], { inputs: [dy, w], needs, like, extra }) => [
    needs[0] ? convolve(g!, w, like[0].shape, extra) : null,
    needs[1] ? weightGrad(g!, dy, like[1].shape, extra) : null,
  ],
};
const weightGradDef: OpDef<Conv> = {
  name: "conv2dWeightGrad",
  saves,
  work,
  grad: ([g], { inputs: [x, dy], needs, like, extra }) => [
    needs[0] ? inputGrad(dy, g!, like[0].shape, extra) : null,
    needs[1] ? convolve(x, g!, like[1].shape, extra) : null,
  ],
};

const convolve = (x: Tensor, w: Tensor, shape: Shape, conv: Conv): Tensor =>
  apply1(convDef, [x, w], conv.attrs, shape, x.dtype, conv);
const inputGrad = (dy: Tensor, w: Tensor, shape: Shape, conv: Conv): Tensor =>
  apply1(inputGradDef, [dy, w], conv.attrs, shape, dy.dtype, conv);
const weightGrad = (x: Tensor, dy: Tensor, shape: Shape, conv: Conv): Tensor =>
  apply1(weightGradDef, [x, dy], conv.attrs, shape, x.dtype, conv);

// ---- arguments

/** A setting of the spatial dimensions, one number for each. */
export function perDim(value: Sizes, dims: number, op: string, what: string, least: number): number[] {
  const list = typeof value === "number" ? new Array<number>(dims).fill(value) : [...value];
  if (list.length === 1 && dims > 1) list.push(...new Array<number>(dims - 1).fill(list[0]));
  if (list.length !== dims || !list.every((v) => Number.isInteger(v) && v >= least)) {
    throw new ValueError(
      `${op}: ${what} must be an integer ≥ ${least}${dims > 1 ? ` or ${dims} of them` : ""}, got ${show(list)}`,
    );
  }
  return list;
}

/** Input and weight as N×C×H×W and O×C×R×S of one dtype; vectors of the 1d forms get H = R = 1. */
function prepare(x: Tensor, weight: Tensor, options: ConvOptions | ConvTransposeOptions, dims: number, op: string) {
  checkFloat(checkTensor(x, op), op);
  checkFloat(checkTensor(weight, op), op);
  const { bias } = options;
  if (bias) checkTensor(bias, op);
  const sizes = dims === 1 ? "L" : "H, W";
  if ((x.ndim !== dims + 2 && x.ndim !== dims + 1) || weight.ndim !== dims + 2) {
    throw new ShapeError(
      `${op}: input ${show(x.shape)} and weight ${show(weight.shape)}: the input must be [N, C, ${sizes}] or [C, ${sizes}], ` +
        `the weight of ${dims + 2} dimensions`,
    );
  }
  const groups = options.groups ?? 1;
  if (!Number.isInteger(groups) || groups < 1)
    throw new ValueError(`${op}: groups must be an integer ≥ 1, got ${groups}`);
  const batched = x.ndim === dims + 2;
  const full = (v: number[], fill: number): number[] => (dims === 1 ? [fill, v[0]] : v);
  const shaped = (t: Tensor): Tensor => (dims === 1 ? unsqueeze(t, -2) : t);
  const [input, w, b] = lowered(x, weight, bias);
  const dtype = resultType([input, w]);
  return {
    x: shaped(cast(batched ? input : unsqueeze(input, 0), dtype)),
    w: shaped(cast(w, dtype)),
    groups,
    stride: full(perDim(options.stride ?? 1, dims, op, "stride", 1), 1),
    dilation: full(perDim(options.dilation ?? 1, dims, op, "dilation", 1), 1),
    full,
    /** Takes the dimensions that were added away, then adds the bias: it and what follows have one shape. */
    finish(y: Tensor): Tensor {
      let out = dims === 1 ? squeeze(y, -2) : y;
      if (!batched) out = squeeze(out, 0);
      if (b) {
        if (b.ndim !== 1 || b.shape[0] !== y.shape[1]) {
          throw new ShapeError(`${op}: bias ${show(b.shape)} must be [${y.shape[1]}], one for each output channel`);
        }
        out = add(out, reshape(b, [-1, ...new Array<number>(dims).fill(1)]));
      }
      return out;
    },
  };
}

function checkChannels(
  x: Tensor,
  weight: Tensor,
  channels: number,
  ofWeight: string,
  groups: number,
  op: string,
): void {
  const outer = weight.shape[0];
  if (outer % groups !== 0 || channels % groups !== 0) {
    throw new ShapeError(
      `${op}: ${channels} input channels and weight ${show(weight.shape)} cannot be parted into ${groups} groups`,
    );
  }
  const expected = ofWeight === "first" ? weight.shape[0] : weight.shape[1] * groups;
  if (channels !== expected) {
    throw new ShapeError(
      `${op}: input ${show(x.shape)} and weight ${show(weight.shape)} do not match: with groups=${groups} the input needs ` +
        `${expected} channels, it has ${channels}`,
    );
  }
}

// ---- convolution

function conv(x: Tensor, weight: Tensor, options: ConvOptions, dims: number, op: string): Tensor {
  const p = prepare(x, weight, options, dims, op);
  checkChannels(x, weight, p.x.shape[1], "second", p.groups, op);
  const kernel = p.w.shape.slice(2);
  const spans = kernel.map((k, i) => p.dilation[i] * (k - 1));
  const { padding: asked = 0 } = options;
  let input = p.x;
  let padding: number[];
  if (asked === "same") {
    if (p.stride.some((s) => s !== 1))
      throw new ValueError(`${op}: padding "same" needs stride 1, got ${show(p.stride)}`);
    padding = spans.map((s) => Math.floor(s / 2));
    // Of an odd number of zeros the one more is at the end.
    const [more, wide] = spans.map((s) => s % 2);
    if (more + wide > 0) input = pad(input, [0, wide, 0, more]);
  } else if (asked === "valid") padding = [0, 0];
  else if (typeof asked === "string")
    throw new ValueError(`${op}: unknown padding "${String(asked)}"; use a number, "same" or "valid"`);
  else padding = p.full(perDim(asked, dims, op, "padding", 0), 0);
  const out = [0, 1].map((i) => Math.floor((input.shape[2 + i] + 2 * padding[i] - spans[i] - 1) / p.stride[i]) + 1);
  if (out.some((n) => n < 1) || kernel.some((k) => k < 1)) {
    throw new ShapeError(
      `${op}: the kernel is larger than the input: input ${show(x.shape)}, weight ${show(weight.shape)}, ` +
        `padding=${show(padding.slice(-dims))}, dilation=${show(p.dilation.slice(-dims))}`,
    );
  }
  const attrs = [...p.stride, ...padding, ...p.dilation, p.groups];
  return p.finish(convolve(input, p.w, checkShape([input.shape[0], p.w.shape[0], ...out], op), { attrs }));
}

/**
 * Cross-correlation: N×C×L with O×(C/groups)×K → N×O×L′, L′ = ⌊(L + 2·padding − dilation·(K − 1) − 1) / stride⌋ + 1.
 * Without a batch: C×L → O×L′.
 *
 * @throws ShapeError when channels do not match or the kernel is larger than the padded input.
 */
export const conv1d = (x: Tensor, weight: Tensor, options: ConvOptions = {}): Tensor =>
  conv(x, weight, options, 1, "conv1d");

/**
 * Cross-correlation: N×C×H×W with O×(C/groups)×R×S → N×O×H′×W′, sizes as in `conv1d`. Without a batch: C×H×W → O×H′×W′.
 *
 * @throws ShapeError when channels do not match or the kernel is larger than the padded input.
 * @example
 * conv2d(ones([1, 1, 3, 3]), ones([1, 1, 2, 2])).toArray(); // [[[[4, 4], [4, 4]]]]
 */
export const conv2d = (x: Tensor, weight: Tensor, options: ConvOptions = {}): Tensor =>
  conv(x, weight, options, 2, "conv2d");

// ---- transposed convolution

function convTranspose(x: Tensor, weight: Tensor, options: ConvTransposeOptions, dims: number, op: string): Tensor {
  const p = prepare(x, weight, options, dims, op);
  checkChannels(x, weight, p.x.shape[1], "first", p.groups, op);
  const padding = p.full(perDim(options.padding ?? 0, dims, op, "padding", 0), 0);
  const extra = p.full(perDim(options.outputPadding ?? 0, dims, op, "outputPadding", 0), 0);
  if (extra.some((e, i) => e > 0 && e >= Math.max(p.stride[i], p.dilation[i]))) {
    throw new ValueError(
      `${op}: outputPadding=${show(extra.slice(-dims))} must be smaller than stride or dilation ` +
        `(${show(p.stride.slice(-dims))}, ${show(p.dilation.slice(-dims))})`,
    );
  }
  const [n, , ...input] = p.x.shape;
  const out = input.map(
    (size, i) => (size - 1) * p.stride[i] - 2 * padding[i] + p.dilation[i] * (p.w.shape[2 + i] - 1) + extra[i] + 1,
  );
  if (out.some((size) => size < 1) || p.w.shape.some((size) => size < 1)) {
    throw new ShapeError(
      `${op}: input ${show(x.shape)} and weight ${show(weight.shape)} with padding=${show(padding.slice(-dims))} ` +
        `give an output of size ${show(out.slice(-dims))}; use less padding`,
    );
  }
  const attrs = [...p.stride, ...padding, ...p.dilation, p.groups];
  const shape = checkShape([n, p.w.shape[1] * p.groups, ...out], op);
  return p.finish(inputGrad(p.x, p.w, shape, { attrs }));
}

/**
 * The adjoint of `conv1d` in its input: N×C×L with C×(O/groups)×K → N×O×L′,
 * L′ = (L − 1)·stride − 2·padding + dilation·(K − 1) + outputPadding + 1.
 */
export const convTranspose1d = (x: Tensor, weight: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convTranspose(x, weight, options, 1, "convTranspose1d");

/** The adjoint of `conv2d` in its input: N×C×H×W with C×(O/groups)×R×S → N×O×H′×W′, sizes as in `convTranspose1d`. */
export const convTranspose2d = (x: Tensor, weight: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convTranspose(x, weight, options, 2, "convTranspose2d");

const methods = { conv1d, conv2d, convTranspose1d, convTranspose2d };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

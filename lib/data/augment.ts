// Augmentation of images [N, C, H, W] or [C, H, W]: modules, which may be layers of a model or be called on the batches of a
// loader. Every image of a batch gets random numbers of its own; evaluation mode leaves images as they are.
import { checkOptions, describe } from "../check.js";
import { ShapeError, ValueError } from "../errors.js";
import { Module } from "../nn/module.js";
import { Sequential } from "../nn/sequential.js";
import { checkProbability, repr } from "../nn/settings.js";
import { checkFloat, checkTensor } from "../ops/define.js";
import { add, clamp, div, floor, ge, logicalAnd, lt, minimum, mul, sub, where } from "../ops/elementwise.js";
import { flip, reshape, unsqueeze } from "../ops/movement.js";
import { cast } from "../ops/pointwise.js";
import { rand, randn } from "../ops/random.js";
import { mean } from "../ops/reduce.js";
import { arange, tensor } from "../tensor/create.js";
import { Generator } from "../tensor/random.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { pick, rotate, type Sampling } from "./warp.js";

/** What every augmentation has. */
export interface AugmentOptions {
  /**
   * Gives the augmentation random numbers of its own. Default: those that `manualSeed` seeds, whose position a checkpoint
   * holds.
   */
  seed?: number;
}

function checkNumber(layer: string, name: string, value: unknown, least = Number.NEGATIVE_INFINITY): void {
  if (typeof value !== "number" || !Number.isFinite(value) || value < least) {
    const range = least === Number.NEGATIVE_INFINITY ? "a finite number" : `a number ≥ ${least}`;
    throw new ValueError(`${layer}: ${name} must be ${range}, got ${describe(value)}`);
  }
}

/** Numbers of rows and columns, from one number or from both. */
function pair(layer: string, name: string, value: unknown, least: number): [number, number] {
  const [h, w] = Array.isArray(value) ? value : [value, value];
  if (![h, w].every((n) => Number.isInteger(n) && n >= least) || (Array.isArray(value) && value.length !== 2)) {
    throw new ValueError(
      `${layer}: ${name} must be an integer ≥ ${least}, or two of them for height and width, got ${Array.isArray(value) ? show(value) : describe(value)}`,
    );
  }
  return [h, w];
}

/** Images changed at random while training. */
abstract class Augmentation extends Module {
  private readonly source: { readonly generator?: Generator };

  constructor(layer: string, options: AugmentOptions, known: readonly string[]) {
    super();
    checkOptions(options, [...known, "seed"], layer);
    this.source = options.seed === undefined ? {} : { generator: new Generator(options.seed) };
  }

  override forward(x: Tensor): Tensor {
    const { name } = this.constructor;
    checkFloat(checkTensor(x, name), name);
    if ((x.ndim !== 3 && x.ndim !== 4) || x.shape.slice(-3).includes(0)) {
      throw new ShapeError(`${name}: images [N, C, H, W] or [C, H, W] are needed, got ${show(x.shape)}`);
    }
    const single = x.ndim === 3;
    const images = single ? unsqueeze(x, 0) : x;
    const out = this.training ? this.augment(images) : this.evaluate(images);
    return single ? reshape(out, out.shape.slice(1)) : out;
  }

  protected abstract augment(x: Tensor): Tensor;

  protected evaluate(x: Tensor): Tensor {
    return x;
  }

  /** A number uniform in [low, high) for each image: [N, 1, 1, 1], or of another shape. */
  protected uniform(x: Tensor, low = 0, high = 1, shape: readonly number[] = [x.shape[0], 1, 1, 1]): Tensor {
    const u = rand(shape, { device: x.device, ...this.source });
    return low === 0 && high === 1 ? u : add(mul(u, high - low), low);
  }

  /** A whole number from low to high (included) for each image: [N, 1]. */
  protected whole(x: Tensor, low: number, high: number): Tensor {
    // Uniform numbers are below 1; rounding might still bring the product up to the end.
    const steps = floor(this.uniform(x, 0, high - low + 1, [x.shape[0], 1]));
    return add(minimum(steps, high - low), low);
  }

  protected normal(x: Tensor): Tensor {
    return randn(x.shape, { device: x.device, ...this.source });
  }
}

/** Each image mirrored with probability p: left and right, and, if asked for, top and bottom. */
export class RandomFlip extends Augmentation {
  readonly horizontal: boolean;
  readonly vertical: boolean;
  readonly p: number;

  /** @param options `horizontal` (default true), `vertical` (default false), `p` (default 0.5) for each of them */
  constructor(options: AugmentOptions & { horizontal?: boolean; vertical?: boolean; p?: number } = {}) {
    super("RandomFlip", options, ["horizontal", "vertical", "p"]);
    ({ horizontal: this.horizontal = true, vertical: this.vertical = false, p: this.p = 0.5 } = options);
    checkProbability("RandomFlip", "p", this.p);
  }

  protected augment(x: Tensor): Tensor {
    let y = x;
    if (this.horizontal) y = where(lt(this.uniform(x), this.p), flip(y, 3), y);
    if (this.vertical) y = where(lt(this.uniform(x), this.p), flip(y, 2), y);
    return y;
  }

  protected override extraRepr(): string {
    return repr({ horizontal: this.horizontal, vertical: this.vertical, p: this.p });
  }
}

/** Each image moved by a whole number of pixels, at most `pixels` in each direction; what comes in is `fill`. */
export class RandomShift extends Augmentation {
  readonly pixels: readonly [height: number, width: number];
  readonly fill: number;

  /** @param pixels for both directions, or [height, width] */
  constructor(pixels: number | readonly [number, number], options: AugmentOptions & { fill?: number } = {}) {
    super("RandomShift", options, ["fill"]);
    this.pixels = pair("RandomShift", "pixels", pixels, 0);
    this.fill = options.fill ?? 0;
    checkNumber("RandomShift", "fill", this.fill);
  }

  protected augment(x: Tensor): Tensor {
    const [h, w] = this.pixels;
    const rows = sub(arange(x.shape[2], { device: x.device }), this.whole(x, -h, h));
    const columns = sub(arange(x.shape[3], { device: x.device }), this.whole(x, -w, w));
    return pick(x, rows, columns, this.fill);
  }

  protected override extraRepr(): string {
    return repr({ pixels: show(this.pixels), fill: this.fill });
  }
}

/**
 * A part of `size` from a random place of each image, after `padding` pixels of `fill` were put around it. In evaluation mode
 * the part in the middle, without padding.
 */
export class RandomCrop extends Augmentation {
  readonly size: readonly [height: number, width: number];
  readonly padding: readonly [height: number, width: number];
  readonly fill: number;

  constructor(
    size: number | readonly [number, number],
    options: AugmentOptions & { padding?: number | readonly [number, number]; fill?: number } = {},
  ) {
    super("RandomCrop", options, ["padding", "fill"]);
    this.size = pair("RandomCrop", "size", size, 1);
    this.padding = pair("RandomCrop", "padding", options.padding ?? 0, 0);
    this.fill = options.fill ?? 0;
    checkNumber("RandomCrop", "fill", this.fill);
  }

  private crop(x: Tensor, padding: readonly number[], offset: (low: number, high: number) => Tensor | number): Tensor {
    const [rows, columns] = [0, 1].map((i) => {
      const room = x.shape[2 + i] + 2 * padding[i] - this.size[i];
      if (room < 0) {
        throw new ShapeError(
          `RandomCrop: ${show(this.size)} does not fit in images ${show(x.shape)} with padding ${show(padding)}`,
        );
      }
      const at = offset(-padding[i], room - padding[i]);
      const line = add(arange(this.size[i], { device: x.device }), at);
      return line.ndim === 2 ? line : unsqueeze(line, 0).expand([x.shape[0], this.size[i]]);
    });
    return pick(x, rows, columns, this.fill);
  }

  protected augment(x: Tensor): Tensor {
    return this.crop(x, this.padding, (low, high) => this.whole(x, low, high));
  }

  protected override evaluate(x: Tensor): Tensor {
    return this.crop(x, [0, 0], (_, room) => Math.floor(room / 2));
  }

  protected override extraRepr(): string {
    return repr({ size: show(this.size), padding: show(this.padding), fill: this.fill });
  }
}

/**
 * Each image turned around its centre by an angle uniform in ±`degrees`, counterclockwise for positive ones. Sines are those
 * of the device, so that devices agree to rounding here, and bit for bit in the other augmentations.
 */
export class RandomRotation extends Augmentation {
  readonly degrees: number;
  readonly sampling: Sampling;
  readonly fill: number;

  /** @param options `sampling`: `"bilinear"` (default) or `"nearest"`; `fill` (default 0) outside of the image */
  constructor(degrees: number, options: AugmentOptions & { sampling?: Sampling; fill?: number } = {}) {
    super("RandomRotation", options, ["sampling", "fill"]);
    ({ sampling: this.sampling = "bilinear", fill: this.fill = 0 } = options);
    this.degrees = degrees;
    checkNumber("RandomRotation", "degrees", degrees, 0);
    checkNumber("RandomRotation", "fill", this.fill);
    if (this.sampling !== "bilinear" && this.sampling !== "nearest") {
      throw new ValueError(`RandomRotation: sampling must be "bilinear" or "nearest", got ${describe(this.sampling)}`);
    }
  }

  protected augment(x: Tensor): Tensor {
    const most = (this.degrees * Math.PI) / 180;
    return rotate(x, this.uniform(x, -most, most, [x.shape[0], 1, 1]), this.sampling, this.fill);
  }

  protected override extraRepr(): string {
    return repr({ degrees: this.degrees, sampling: this.sampling, fill: this.fill });
  }
}

/** Adds normal noise of standard deviation `std` to each pixel. */
export class RandomNoise extends Augmentation {
  readonly std: number;

  constructor(std = 0.1, options: AugmentOptions = {}) {
    super("RandomNoise", options, []);
    this.std = std;
    checkNumber("RandomNoise", "std", std, 0);
  }

  protected augment(x: Tensor): Tensor {
    return add(x, mul(cast(this.normal(x), x.dtype), this.std));
  }

  protected override extraRepr(): string {
    return repr({ std: this.std });
  }
}

/**
 * Brightness, contrast and saturation of images in [0, 1], each multiplied by a number uniform in [1 − s, 1 + s]: pixels
 * drawn away from black, from the image's mean, from grey. The result is limited to [0, 1].
 */
export class ColorJitter extends Augmentation {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;

  constructor(options: AugmentOptions & { brightness?: number; contrast?: number; saturation?: number } = {}) {
    super("ColorJitter", options, ["brightness", "contrast", "saturation"]);
    ({ brightness: this.brightness = 0, contrast: this.contrast = 0, saturation: this.saturation = 0 } = options);
    for (const name of ["brightness", "contrast", "saturation"] as const) {
      checkNumber("ColorJitter", name, this[name], 0);
    }
  }

  protected augment(x: Tensor): Tensor {
    if (this.saturation > 0 && x.shape[1] !== 3) {
      throw new ShapeError(`ColorJitter: saturation is for images of three channels, got ${show(x.shape)}`);
    }
    const jitter = (y: Tensor, strength: number, from: () => Tensor | number): Tensor => {
      if (strength === 0) return y;
      const factor = this.uniform(x, Math.max(0, 1 - strength), 1 + strength);
      const origin = from();
      return clamp(add(mul(sub(y, origin), factor), origin), 0, 1);
    };
    let y = jitter(x, this.brightness, () => 0);
    y = jitter(y, this.contrast, () => mean(grey(y), [1, 2, 3], true));
    return jitter(y, this.saturation, () => grey(y));
  }

  protected override extraRepr(): string {
    return repr({ brightness: this.brightness, contrast: this.contrast, saturation: this.saturation });
  }
}

/** Luma of three channels (ITU-R BT.601), the mean of any other number of them: [N, 1, H, W]. */
function grey(x: Tensor): Tensor {
  if (x.shape[1] !== 3) return mean(x, 1, true);
  const weights = tensor([0.299, 0.587, 0.114], { dtype: x.dtype, device: x.device, shape: [1, 3, 1, 1] });
  return mul(x, weights).sum(1, true);
}

/**
 * With probability p, a rectangle of each image becomes `value` (Zhong et al. 2020, "Random erasing data augmentation",
 * algorithm 1; a side that is longer than the image is cut instead of drawn again).
 */
export class RandomErasing extends Augmentation {
  readonly p: number;
  readonly scale: readonly [number, number];
  readonly ratio: readonly [number, number];
  readonly value: number;

  /**
   * @param options `p` (default 0.5); `scale`, the rectangle's share of the area (default [0.02, 0.33]); `ratio`, its height
   *   by its width (default [0.3, 1 / 0.3]); `value` (default 0)
   */
  constructor(
    options: AugmentOptions & {
      p?: number;
      scale?: readonly [number, number];
      ratio?: readonly [number, number];
      value?: number;
    } = {},
  ) {
    super("RandomErasing", options, ["p", "scale", "ratio", "value"]);
    this.p = options.p ?? 0.5;
    this.scale = options.scale ?? [0.02, 0.33];
    this.ratio = options.ratio ?? [0.3, 1 / 0.3];
    this.value = options.value ?? 0;
    checkProbability("RandomErasing", "p", this.p);
    checkNumber("RandomErasing", "value", this.value);
    for (const [name, limits, most] of [
      ["scale", this.scale, 1],
      ["ratio", this.ratio, Infinity],
    ] as const) {
      // biome-ignore format: a table
      if (!(limits.length === 2 && limits[0] > 0 && limits[0] <= limits[1] && limits[1] <= most)) {
        throw new ValueError(`RandomErasing: ${name} must be [low, high] with 0 < low ≤ high, got ${show(limits)}`);
      }
    }
  }

  protected augment(x: Tensor): Tensor {
    const [n, , h, w] = x.shape;
    const area = this.uniform(x, this.scale[0] * h * w, this.scale[1] * h * w, [n, 1]);
    const ratio = this.uniform(x, Math.log(this.ratio[0]), Math.log(this.ratio[1]), [n, 1]).exp();
    const inside = (size: number, side: Tensor): Tensor => {
      const length = clamp(side.round(), 1, size);
      const free = add(sub(size, length), 1);
      const from = minimum(floor(mul(this.uniform(x, 0, 1, [n, 1]), free)), sub(free, 1));
      const line = arange(size, { device: x.device });
      return logicalAnd(ge(line, from), lt(line, add(from, length)));
    };
    const rows = reshape(inside(h, mul(area, ratio).sqrt()), [n, 1, h, 1]);
    const columns = reshape(inside(w, div(area, ratio).sqrt()), [n, 1, 1, w]);
    const erased = logicalAnd(logicalAnd(rows, columns), lt(this.uniform(x), this.p));
    return where(erased, this.value, x);
  }

  protected override extraRepr(): string {
    return repr({ p: this.p, scale: show(this.scale), ratio: show(this.ratio), value: this.value });
  }
}

/** (x − mean) / std for each channel, in training and in evaluation. */
export class Normalize extends Augmentation {
  /** @param mean one number, or one for each channel */
  constructor(
    readonly mean: number | readonly number[],
    readonly std: number | readonly number[],
  ) {
    super("Normalize", {}, []);
    for (const [name, list] of Object.entries({ mean, std })) {
      for (const v of Array.isArray(list) ? list : [list]) checkNumber("Normalize", name, v);
    }
    if ((Array.isArray(std) ? std : [std]).some((s) => s <= 0)) {
      throw new ValueError(`Normalize: std must be > 0, got ${Array.isArray(std) ? show(std) : describe(std)}`);
    }
  }

  private channels(name: "mean" | "std", x: Tensor): Tensor | number {
    const given = this[name];
    if (typeof given === "number") return given;
    if (given.length !== x.shape[1]) {
      throw new ShapeError(
        `Normalize: ${name} has ${given.length} numbers, the images ${show(x.shape)} ${x.shape[1]} channels`,
      );
    }
    return tensor([...given], { dtype: x.dtype, device: x.device, shape: [1, given.length, 1, 1] });
  }

  protected augment(x: Tensor): Tensor {
    return div(sub(x, this.channels("mean", x)), this.channels("std", x));
  }

  protected override evaluate(x: Tensor): Tensor {
    return this.augment(x);
  }

  protected override extraRepr(): string {
    return repr({ mean: String(this.mean), std: String(this.std) });
  }
}

/**
 * Augmentations one after the other: `nn.Sequential` under torchvision's name.
 *
 * @example
 * const augment = new data.Compose([new data.RandomFlip(), new data.RandomShift(2), new data.Normalize(0.5, 0.25)]);
 * for await (const [images, labels] of loader) step(augment.forward(images), labels);
 * // Or as the first layer of a model, which leaves images as they are in evaluation mode:
 * const model = new nn.Sequential([augment, new nn.Conv2d(3, 16, 3), …]);
 */
export class Compose extends Sequential {}

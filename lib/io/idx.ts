// IDX, the format of the MNIST database (yann.lecun.com/exdb/mnist, "File formats"): two zero bytes, a type code, the
// number of dimensions, the dimensions as big-endian uint32, the values.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { checkOptions, describe } from "../check.js";
import { defaultDevice, getDevice } from "../device/registry.js";
import { FileError, ValueError } from "../errors.js";
import { checkTensor } from "../ops/define.js";
import { fromTyped } from "../tensor/create.js";
import type { DType } from "../tensor/dtype.js";
import { show } from "../tensor/shape.js";
import type { Tensor } from "../tensor/tensor.js";
import { replaceFile } from "./atomic.js";
import { bytesOf, decode, type ElementType, elementCount, elementTypeOf, encode, unsupported } from "./elements.js";
import { gzip, isGzipName, withBytes } from "./file.js";
import { checkSource, labelOf, type Source } from "./source.js";

const codes: Readonly<Record<number, ElementType>> = { 8: "u1", 9: "i1", 11: "i2", 12: "i4", 13: "f4", 14: "f8" };
const writable: readonly DType[] = ["uint8", "int32", "float32", "float64"];

/**
 * The tensor of an IDX file, gzipped or not: uint8, int32 (also from 8 and 16 bits), float32 or float64.
 *
 * @throws FileError when the file is truncated, too long, or not of this format
 * @example
 * const images = await io.readIdx("train-images-idx3-ubyte.gz"); // [60000, 28, 28] uint8
 */
export async function readIdx(source: Source, options: { device?: string } = {}): Promise<Tensor> {
  checkSource(source, "readIdx");
  checkOptions(options, ["device"], "readIdx");
  const device = options.device === undefined ? defaultDevice() : getDevice(options.device);
  const label = labelOf(source);
  return withBytes(source, async (reader) => {
    const head = await reader.take(4);
    const type = codes[head[2]];
    if (head.length < 4 || head[0] !== 0 || head[1] !== 0 || !type) {
      throw new FileError(
        `${label}: this is no IDX file: it begins with ${Buffer.from(head).toString("hex") || "nothing"} instead of ` +
          `0000, a type code (${Object.keys(codes)
            .map((c) => Number(c).toString(16).padStart(2, "0"))
            .join(", ")}) and the number of dimensions`,
      );
    }
    const sizes = Buffer.from(await reader.take(4 * head[3]));
    if (sizes.length < 4 * head[3])
      throw new FileError(`${label}: the file is truncated within its ${head[3]} dimensions`);
    const shape = Array.from({ length: head[3] }, (_, i) => sizes.readUInt32BE(4 * i));
    const wanted = elementCount(shape, label) * bytesOf(type);
    const bytes = await reader.take(wanted);
    if (bytes.length < wanted || (await reader.more())) {
      throw new FileError(
        `${label}: [${shape.join(", ")}] takes ${wanted} bytes of values, ` +
          `the file has ${bytes.length < wanted ? `${bytes.length}: it is truncated` : "more"}`,
      );
    }
    const { values, dtype } = decode(bytes, type, true, label);
    return fromTyped(values, dtype, shape, device);
  });
}

/**
 * One part of the MNIST database, or of another that has its files (Fashion-MNIST, KMNIST, EMNIST): images [n, 28, 28] of
 * uint8 and labels [n] of int64. The folder holds them under their usual names, gzipped or not.
 *
 * @example
 * const { images, labels } = await io.readMnist("mnist", "train");
 * const x = images.to("float32").div(255).unsqueeze(1); // [60000, 1, 28, 28]
 */
export async function readMnist(
  folder: string,
  part: "train" | "test",
  options: { device?: string } = {},
): Promise<{ images: Tensor; labels: Tensor }> {
  if (part !== "train" && part !== "test") {
    throw new ValueError(`readMnist: the part is "train" or "test", got ${describe(part)}`);
  }
  const stem = part === "train" ? "train" : "t10k";
  const there = await readdir(folder).catch((error: Error) => {
    throw new FileError(`${folder}: ${error.message}`);
  });
  const find = (kind: string): string => {
    const pattern = new RegExp(`^(.*-)?${stem}-${kind}[-.]idx\\d-ubyte(\\.gz)?$`);
    const name = there.find((n) => pattern.test(n));
    if (name !== undefined) return join(folder, name);
    const digits = kind === "images" ? 3 : 1;
    throw new FileError(`${folder}: there is no ${stem}-${kind}-idx${digits}-ubyte, with or without .gz`);
  };
  const [images, labels] = [await readIdx(find("images"), options), await readIdx(find("labels"), options)];
  if (images.ndim !== 3 || labels.ndim !== 1 || images.shape[0] !== labels.shape[0]) {
    throw new FileError(
      `${folder}: images ${show(images.shape)} and labels ${show(labels.shape)} do not belong together`,
    );
  }
  return { images, labels: labels.to("int64") };
}

/**
 * Writes a uint8, int32, float32 or float64 tensor as an IDX file, gzipped where the name ends in .gz. The old file
 * stays until the new one is complete.
 */
export async function writeIdx(path: string, x: Tensor): Promise<void> {
  const t = checkTensor(x, "writeIdx").detach();
  if (!writable.includes(t.dtype)) unsupported(t.dtype, "writeIdx: IDX", writable);
  const type = elementTypeOf(t.dtype);
  const code = Number(Object.keys(codes).find((c) => codes[Number(c)] === type));
  const head = Buffer.alloc(4 + 4 * t.ndim);
  head.set([0, 0, code, t.ndim]);
  t.shape.forEach((n, i) => {
    head.writeUInt32BE(n, 4 + 4 * i);
  });
  const whole = Buffer.concat([head, encode(await t.contiguous().data(), t.dtype, true)]);
  const bytes = isGzipName(path) ? await gzip(whole) : whole;
  await replaceFile(path, (file) => file.writeFile(bytes));
}

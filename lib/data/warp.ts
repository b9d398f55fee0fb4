// Pixels taken from other places of an image: whole rows and columns, or points between pixels.
import { add, clamp, cos, floor, ge, le, logicalAnd, mul, sin, sub, where } from "../ops/elementwise.js";
import { gather } from "../ops/indexing.js";
import { expand, reshape, unsqueeze } from "../ops/movement.js";
import { cast } from "../ops/pointwise.js";
import { arange } from "../tensor/create.js";
import type { Tensor } from "../tensor/tensor.js";

/** What a point between pixels becomes: the nearest one, or a mean of the four around it. */
export type Sampling = "nearest" | "bilinear";

const within = (at: Tensor, size: number): Tensor => logicalAnd(ge(at, 0), le(at, size - 1));

/** The pixels of x [N, C, H, W] at whole places `rows` and `columns` [N, h, w]; `fill` for those outside. */
function at(x: Tensor, rows: Tensor, columns: Tensor, fill: number): Tensor {
  const [n, c, h, w] = x.shape;
  const [, height, width] = rows.shape;
  const place = add(mul(clamp(rows, 0, h - 1), w), clamp(columns, 0, w - 1));
  const index = expand(reshape(cast(place, "int32"), [n, 1, height * width]), [n, c, height * width]);
  const found = reshape(gather(reshape(x, [n, c, h * w]), 2, index), [n, c, height, width]);
  return where(unsqueeze(logicalAnd(within(rows, h), within(columns, w)), 1), found, fill);
}

/** The pixels of x [N, C, H, W] in the rows [N, h] and columns [N, w]; `fill` for those outside. */
export function pick(x: Tensor, rows: Tensor, columns: Tensor, fill: number): Tensor {
  const shape = [x.shape[0], rows.shape[1], columns.shape[1]];
  return at(x, expand(unsqueeze(rows, 2), shape), expand(unsqueeze(columns, 1), shape), fill);
}

/** x [N, C, H, W] turned around its centre, counterclockwise, by angles [N, 1, 1] in radians. */
export function rotate(x: Tensor, angle: Tensor, mode: Sampling, fill: number): Tensor {
  const [, , h, w] = x.shape;
  const centred = (size: number, shape: number[]): Tensor =>
    reshape(sub(arange(size, { device: x.device }), (size - 1) / 2), shape);
  const [y, across] = [centred(h, [1, h, 1]), centred(w, [1, 1, w])];
  const [s, c] = [sin(angle), cos(angle)];
  // Where each pixel of the result comes from: turned back. Rows count downwards.
  const rows = add(add(mul(y, c), mul(across, s)), (h - 1) / 2);
  const columns = add(sub(mul(across, c), mul(y, s)), (w - 1) / 2);
  if (mode === "nearest") return at(x, floor(add(rows, 0.5)), floor(add(columns, 0.5)), fill);
  const [top, left] = [floor(rows), floor(columns)];
  const [down, right] = [unsqueeze(sub(rows, top), 1), unsqueeze(sub(columns, left), 1)];
  const line = (row: Tensor): Tensor => {
    const a = at(x, row, left, fill);
    return add(a, mul(right, sub(at(x, row, add(left, 1), fill), a)));
  };
  const upper = line(top);
  return cast(add(upper, mul(down, sub(line(add(top, 1)), upper))), x.dtype);
}

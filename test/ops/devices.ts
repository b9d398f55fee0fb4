// The devices that the catalogue's tests run on, and making a row's inputs there.
import { permute, type Tensor, tensor } from "../../lib/index.js";
import { absent, allDevices } from "../devices.js";
import type { Case, InputSpec } from "./case.js";

export type Float = "float32" | "float64";

/** Every device of this package, with the reason why one cannot be used here. */
export const targets: readonly { name: string; missing: string | null }[] = allDevices.map((name) => ({
  name,
  missing: absent(name),
}));

/** The input as a leaf on a device. */
export function make(spec: InputSpec, seed: string, device: string, float: Float, grad: boolean): Tensor {
  const dtype = spec.dtype === "float" ? float : spec.dtype;
  const values = spec.values(seed, spec.shape);
  const options = { dtype, device };
  const leaf = (t: Tensor): Tensor => (grad && spec.grad ? t.detach().requireGrad() : t.detach());
  if (spec.layout === "permuted") {
    const order = spec.shape.map((_, i) => spec.shape.length - 1 - i);
    const straight = tensor(values, { ...options, shape: spec.shape });
    const reversed = permute(straight, order).clone();
    return leaf(permute(reversed, order));
  }
  if (spec.layout === "strided") {
    // Every second element of a row twice as long, whose other elements must not be touched.
    const wide = values.flatMap((x) => [x, dtype === "bool" ? 1 : 77]);
    const n = spec.shape.length;
    const pairs = tensor(wide, { ...options, shape: [...spec.shape, 2] });
    return leaf(pairs.select(n, 0));
  }
  return leaf(tensor(values, { ...options, shape: spec.shape }));
}

export const inputsOf = (c: Case, device: string, float: Float, grad = false): Tensor[] =>
  c.inputs.map((spec, i) => make(spec, `${c.name} ${i}`, device, float, grad));

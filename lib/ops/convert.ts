// To another dtype or device, and overwriting with plain values.

import type { Device } from "../device/device.js";
import { getDevice, isDeviceName } from "../device/registry.js";
import { DeviceError } from "../errors.js";
import { fromTyped } from "../tensor/create.js";
import { checkDType, type DType, dtypeFacts, dtypes } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkTensor, installMethods, type MethodsOf, type OpDef, recordOne } from "./define.js";
import { cast, clone, copy_ } from "./pointwise.js";

const transferDef: OpDef<Device> = { name: "to", grad: ([g], { extra: home }) => [transfer(g!, home)] };

/** The same values on another device, by way of the host. */
function transfer(x: Tensor, device: Device): Tensor {
  const home = x.storage.device;
  if (home === device) return x;
  return recordOne(transferDef, [x], fromTyped(x.dataSync(), x.dtype, x.shape, device), [], home);
}

/**
 * The tensor as another dtype, on another device, or both; itself when it is that already. Gradients flow back.
 *
 * @throws DeviceError, DTypeError for names that are neither; CaptureError for a transfer in a captured function.
 * @example
 * x.to("float64"); x.to("js"); x.to({ dtype: "float16", device: "cpu" });
 */
export function to(x: Tensor, target: string | { dtype?: DType; device?: string } | Tensor): Tensor {
  checkTensor(x, "to");
  if (typeof target === "string") {
    if (target in dtypeFacts) return cast(x, target as DType);
    if (isDeviceName(target)) return transfer(x, getDevice(target));
    throw new DeviceError(
      `to: ${JSON.stringify(target)} is neither a dtype (${dtypes.join(", ")}) nor a device (cpu, js, cuda)`,
    );
  }
  const { dtype, device } = target;
  const moved = device === undefined ? x : transfer(x, getDevice(device));
  return dtype === undefined ? moved : cast(moved, checkDType(dtype, "to"));
}

const converter =
  (dtype: DType) =>
  (x: Tensor): Tensor =>
    cast(checkTensor(x, dtype), dtype);
/** As float32. */
export const float = converter("float32");
/** As float64. */
export const double = converter("float64");
/** As float16. */
export const half = converter("float16");
/** As bfloat16. */
export const bfloat16 = converter("bfloat16");
/** As int32. */
export const int = converter("int32");
/** As int64. */
export const long = converter("int64");
/** As uint8. */
export const byte = converter("uint8");
/** As bool: x ≠ 0. */
export const bool = converter("bool");

/** Overwrites every element with `value`. */
export const fill_ = (x: Tensor, value: number | bigint | boolean | Tensor): Tensor =>
  copy_(checkTensor(x, "fill_"), value);
/** Overwrites every element with 0. */
export const zero_ = (x: Tensor): Tensor => copy_(checkTensor(x, "zero_"), 0);

const methods = { to, float, double, half, bfloat16, int, long, byte, bool, clone, copy_, fill_, zero_ };
installMethods(methods);
declare module "../tensor/tensor.js" {
  interface Tensor extends MethodsOf<typeof methods> {}
}

// All kernels of this device, family by family, in the order of their ids.
import * as elementwise from "./elementwise.js";
import * as matmul from "./matmul.js";
import * as reduce from "./reduce.js";
import type { Kernel } from "./view.js";

const families = [elementwise, reduce, matmul];

export const kernels: Readonly<Record<string, Kernel>> = Object.assign({}, ...families.map((f) => f.kernels));

// All kernels of this device, family by family, in the order of their ids.
import * as attention from "./attention.js";
import * as conv from "./conv.js";
import * as elementwise from "./elementwise.js";
import * as fused from "./fused.js";
import * as indexing from "./indexing.js";
import * as loss from "./loss.js";
import * as matmul from "./matmul.js";
import * as norm from "./norm.js";
import * as pool from "./pool.js";
import * as random from "./random.js";
import * as reduce from "./reduce.js";
import * as scan from "./scan.js";
import * as softmax from "./softmax.js";
import type { Kernel } from "./view.js";

const families = [
  elementwise,
  random,
  reduce,
  scan,
  matmul,
  fused,
  softmax,
  norm,
  loss,
  attention,
  indexing,
  conv,
  pool,
];

export const kernels: Readonly<Record<string, Kernel>> = Object.assign({}, ...families.map((f) => f.kernels));

// The public face of Nabla: re-exports only, sorted by family.
import "./ops/arithmetic.js";

// ---- tensors
export { Tensor } from "./tensor/tensor.js";
export {
  arange,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  tensor,
  type TensorData,
  type TensorOptions,
  zeros,
  zerosLike,
} from "./tensor/create.js";
export { type DType, dtypes, promoteTypes, resultType, type TypedArray } from "./tensor/dtype.js";
export type { NestedArray } from "./tensor/nest.js";
export { tidy } from "./tensor/scope.js";
export type { Shape } from "./tensor/shape.js";
export * from "./errors.js";

// ---- operations
export * from "./ops/elementwise.js";
export { bmm, dot, linear, matmul, outer } from "./ops/matmul.js";
export * from "./ops/movement.js";
export { type TensorLike, cast, clone, copy_ } from "./ops/pointwise.js";
export { mean, sum } from "./ops/reduce.js";

// ---- gradients and graphs
export type { BackwardOptions } from "./graph/backward.js";
export { compile, type Compiled } from "./graph/compile.js";
export type { Program } from "./graph/program.js";
export { detectAnomaly, enableGrad, isGradEnabled, noGrad } from "./graph/modes.js";

// ---- devices
export { devices, setDefaultDevice } from "./device/registry.js";
export { diagnose, type Diagnosis } from "./diagnose.js";
export { version } from "./package.js";
export { emptyCache, getNumThreads, memory, setNumThreads, synchronize } from "./runtime.js";

// ---- training
export * as optim from "./optim/index.js";

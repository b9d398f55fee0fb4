// The public face of Nabla: re-exports only, by file.
import "./ops/arithmetic.js";

export * as amp from "./amp.js";
export * as data from "./data/index.js";
export { devices, setDefaultDevice } from "./device/registry.js";
export * from "./diagnosis/index.js";
export * from "./errors.js";
export { type Examination, examine } from "./examination.js";
export type { BackwardOptions } from "./graph/backward.js";
export { checkpoint } from "./graph/checkpoint.js";
export { type Compiled, compile } from "./graph/compile.js";
export { type BackwardContext, type CustomFunction, customGrad, type ForwardContext } from "./graph/custom.js";
export { type GradcheckOptions, gradcheck, gradgradcheck, type TensorFunction } from "./graph/gradcheck.js";
export { autocast, detectAnomaly, enableGrad, type HalfType, isGradEnabled, noGrad } from "./graph/modes.js";
export type { Program } from "./graph/program.js";
export { type GradOptions, grad, hessian, jacobian, jvp, type Tree, valueAndGrad, vjp } from "./graph/transforms.js";
export * as io from "./io/index.js";
export * as metrics from "./metrics/index.js";
export * as nn from "./nn/index.js";
export { Module } from "./nn/module.js";
export * from "./ops/activation.js";
export * from "./ops/arrange.js";
export { type AttentionOptions, scaledDotProductAttention } from "./ops/attention.js";
export {
  type ConvOptions,
  type ConvTransposeOptions,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  type Sizes,
} from "./ops/conv.js";
export { bfloat16, bool, byte, double, fill_, float, half, int, long, to, zero_ } from "./ops/convert.js";
export * from "./ops/einsum.js";
export * from "./ops/elementwise.js";
export {
  bucketize,
  embedding,
  gather,
  type IndexLike,
  indexAdd,
  indexAdd_,
  indexSelect,
  maskedFill,
  maskedFill_,
  maskedScatter,
  maskedSelect,
  nonzero,
  oneHot,
  scatter,
  scatter_,
  scatterAdd,
  scatterAdd_,
  searchsorted,
  take,
  takeAlongDim,
} from "./ops/indexing.js";
export * from "./ops/loss.js";
export { addmm, bmm, dot, linear, matmul, mm, mv, outer } from "./ops/matmul.js";
export * from "./ops/movement.js";
export * from "./ops/norm.js";
export { cast, clone, copy_, type TensorLike } from "./ops/pointwise.js";
export * from "./ops/pool.js";
export * from "./ops/random.js";
export {
  all,
  amax,
  amin,
  any,
  argmax,
  argmin,
  countNonzero,
  type Dims,
  max,
  mean,
  min,
  prod,
  type Selected,
  sum,
} from "./ops/reduce.js";
export { type InterpolateOptions, interpolate } from "./ops/resample.js";
export { cumprod, cumsum } from "./ops/scan.js";
export * from "./ops/softmax.js";
export * from "./ops/sort.js";
export * from "./ops/statistics.js";
export { variance as var } from "./ops/statistics.js";
export { type IndexItem, type IndexPutOptions, index, indexPut, indexPut_, type SliceText } from "./ops/subscript.js";
export * as optim from "./optim/index.js";
export { version } from "./package.js";
export { emptyCache, getNumThreads, memory, setNumThreads, synchronize } from "./runtime.js";
export {
  arange,
  empty,
  emptyLike,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  type TensorData,
  type TensorOptions,
  tensor,
  zeros,
  zerosLike,
} from "./tensor/create.js";
export { type DType, dtypes, promoteTypes, resultType, type TypedArray } from "./tensor/dtype.js";
export type { NestedArray } from "./tensor/nest.js";
export { Generator, getRngState, manualSeed, type RngState, setRngState } from "./tensor/random.js";
export { tidy } from "./tensor/scope.js";
export type { Shape } from "./tensor/shape.js";
export { Tensor } from "./tensor/tensor.js";
export { Callback, type Hooked, type Logs, type Loop } from "./train/callback.js";
export * as callbacks from "./train/callbacks/index.js";
export { History } from "./train/history.js";
export { type ClassWeight, CompiledModule, type CompileOptions } from "./train/keras.js";
export { type Loss, type LossLike, lossOf } from "./train/losses.js";
export { type LrFindOptions, type LrFindResult, lrFind } from "./train/lrfind.js";
export {
  type Batch,
  type LogOptions,
  type OptimizerConfig,
  type OptimizerSetup,
  type SchedulerConfig,
  type Stage,
  type StepOutput,
  TrainModule,
} from "./train/module.js";
export type { TrainerOptions } from "./train/options.js";
export type { Precision } from "./train/precision.js";
export type { RunRecord } from "./train/record.js";
export type { BatchSource } from "./train/sources.js";
export type { SummaryOptions, SummaryRow } from "./train/summary.js";
export { Trainer } from "./train/trainer.js";

// The optimizers, learning-rate schedules and gradient clipping.
export { Adadelta, type AdadeltaOptions, Adagrad, type AdagradOptions } from "./adagrad.js";
export { Adam, type AdamOptions, AdamW } from "./adam.js";
export { clipGradNorm_, clipGradValue_ } from "./clip.js";
export { LBFGS, type LBFGSOptions } from "./lbfgs.js";
export { Adamax, type AdamaxOptions, Lion, type MomentOptions, NAdam, type NAdamOptions, RAdam } from "./moments.js";
export { Optimizer, type OptimizerState, type ParamGroup, type Params } from "./optimizer.js";
export { RMSprop, type RMSpropOptions } from "./rmsprop.js";
export {
  ConstantLR,
  CosineAnnealingLR,
  CosineAnnealingWarmRestarts,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  LRScheduler,
  MultiStepLR,
  OneCycleLR,
  type OneCycleOptions,
  type PlateauOptions,
  PolynomialLR,
  ReduceLROnPlateau,
  SequentialLR,
  StepLR,
} from "./scheduler.js";
export { SGD, type SGDOptions } from "./sgd.js";

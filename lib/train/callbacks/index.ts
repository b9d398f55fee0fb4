// Callbacks: what hangs into a training loop.
export {
  type Batches,
  type EMAOptions,
  ExponentialMovingAverage,
  renewStatistics,
  StochasticWeightAveraging,
  type SWAOptions,
} from "./averaging.js";
export {
  BackupAndRestore,
  type BackupAndRestoreOptions,
  ModelCheckpoint,
  type ModelCheckpointOptions,
} from "./checkpoint.js";
export { type Hooks, LambdaCallback } from "./lambda.js";
export { CSVLogger, type CSVLoggerOptions, JsonlLogger, type JsonlLoggerOptions } from "./logs.js";
export type { Mode } from "./monitor.js";
export { OverfittingMonitor, type OverfittingMonitorOptions } from "./overfitting.js";
export { LearningRateMonitor, LearningRateScheduler, ReduceLROnPlateau, type ReduceOptions } from "./rates.js";
export { type Duration, EarlyStopping, type EarlyStoppingOptions, TerminateOnNaN, Timer } from "./stopping.js";
export { TensorBoard, type TensorBoardOptions } from "./tensorboard.js";

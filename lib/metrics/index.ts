// Metrics over batches.
export {
  Accuracy,
  AUC,
  type AverageOptions,
  type ClassificationOptions,
  ConfusionMatrix,
  F1Score,
  Precision,
  Recall,
  TopKAccuracy,
} from "./classification.js";
export { Metric } from "./metric.js";
export {
  Mean,
  MeanAbsoluteError,
  MeanSquaredError,
  Perplexity,
  R2Score,
  RootMeanSquaredError,
} from "./regression.js";

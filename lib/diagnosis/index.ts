// The guard against overfitting: diagnosis of curves, and the studies that explain what it finds.
export {
  type BiasVariance,
  type BiasVarianceOptions,
  biasVariance,
  type Parts,
  type PointParts,
} from "./bias-variance.js";
export {
  type LearningCurve,
  type LearningCurveOptions,
  learningCurve,
  type Score,
  type Scores,
  type StudyOptions,
  type ValidationCurve,
  validationCurve,
} from "./curves.js";
export {
  type Curves,
  type DiagnoseOptions,
  type Diagnosis,
  diagnose,
  type Prechelt,
  type Verdict,
} from "./diagnose.js";
export { type Estimator, estimatorOf, type Predict, type Samples, type Values } from "./samples.js";

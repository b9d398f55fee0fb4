// The face `nablajs/report`: pictures, the report of a run, the board that shows runs as they go.
export { type Board, type BoardOptions, board } from "./board.js";
export {
  type Boundary,
  biasVariancePicture,
  boundaryPicture,
  type Confusion,
  type CurveMarks,
  confusionPicture,
  type Fit,
  fitPicture,
  fitsPicture,
  learningCurvePicture,
  lossCurves,
  type PictureOptions,
  rateCurve,
  stepCurve,
  validationCurvePicture,
} from "./charts.js";
export { type EvaluateOptions, type Evaluation, evaluateForReport } from "./evaluate.js";
export { type Description, type Progress, type Run, readRun } from "./run.js";
export { type WrittenReport, writeReport } from "./write.js";

// Datasets, loaders, pipelines, splits, scalers, made-up data.
export {
  type AugmentOptions,
  ColorJitter,
  Compose,
  Normalize,
  RandomCrop,
  RandomErasing,
  RandomFlip,
  RandomNoise,
  RandomRotation,
  RandomShift,
} from "./augment.js";
export { ConcatDataset, collate, Dataset, MapDataset, Subset, TensorDataset } from "./dataset.js";
export { computeClassWeight, type Label, LabelEncoder } from "./encode.js";
export { DataLoader, type DataLoaderOptions, type LoaderState } from "./loader.js";
export { fromModule, type ModuleDataset } from "./module.js";
export { from, fromGenerator, Pipeline, zip } from "./pipeline.js";
export { MinMaxScaler, StandardScaler } from "./scale.js";
export { kFold, type SplitOptions, split } from "./split.js";
export {
  type ClassificationOptions,
  makeBlobs,
  makeCircles,
  makeClassification,
  makeFriedman1,
  makeMoons,
  makeRegression,
  makeSpirals,
  type Synthetic,
  type SyntheticOptions,
} from "./synthetic.js";

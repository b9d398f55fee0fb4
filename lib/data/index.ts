// Datasets, loaders, pipelines, splits, scalers, made-up data.
export { ConcatDataset, collate, Dataset, MapDataset, Subset, TensorDataset } from "./dataset.js";
export { DataLoader, type DataLoaderOptions, type LoaderState } from "./loader.js";
export { from, fromGenerator, Pipeline, zip } from "./pipeline.js";
export { MinMaxScaler, StandardScaler } from "./scale.js";
export { kFold, type SplitOptions, split } from "./split.js";
export {
  makeBlobs,
  makeCircles,
  makeMoons,
  makeRegression,
  makeSpirals,
  type Synthetic,
  type SyntheticOptions,
} from "./synthetic.js";

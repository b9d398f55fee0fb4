// Layers, activations, losses and initial values.

export {
  type EvaluateOptions,
  type FitData,
  type FitOptions,
  Model,
  type PredictOptions,
} from "../train/model.js";
export * from "./activation.js";
export {
  type AttentionCall,
  type EncoderCall,
  MultiheadAttention,
  type MultiheadAttentionOptions,
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerEncoderLayerOptions,
} from "./attention.js";
export {
  Conv1d,
  Conv2d,
  type ConvLayerOptions,
  ConvTranspose1d,
  ConvTranspose2d,
  type ConvTransposeLayerOptions,
  type PaddingMode,
} from "./conv.js";
export { AlphaDropout, Dropout, Dropout1d, Dropout2d } from "./dropout.js";
export { Embedding, type EmbeddingOptions } from "./embedding.js";
export { type Computed, Graph, type GraphOptions, type Outputs } from "./graph.js";
export * as init from "./init.js";
export { Linear, type LinearOptions } from "./linear.js";
export * from "./loss.js";
export * from "./merge.js";
export { Buffer, Module, Parameter } from "./module.js";
export {
  BatchNorm1d,
  BatchNorm2d,
  type BatchNormOptions,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  LayerNorm,
  type LayerNormOptions,
  type NormOptions,
  RMSNorm,
} from "./norm.js";
export * from "./pool.js";
export { GRU, LastOutput, LSTM, OutputSequence, type RecurrentOptions, RNN, type RNNOptions } from "./recurrent.js";
export { Flatten, Identity, Unflatten, Upsample, ZeroPad2d } from "./reshape.js";
export { Lambda, Sequential } from "./sequential.js";
export {
  type GraphLayer,
  Input,
  type InputOptions,
  type PartialShape,
  type Symbolic,
  SymbolicTensor,
} from "./symbolic.js";

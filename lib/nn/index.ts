// Layers, activations and losses.
export * from "./activation.js";
export { Dropout } from "./dropout.js";
export { Flatten } from "./flatten.js";
export { Linear, type LinearOptions } from "./linear.js";
export { BCEWithLogitsLoss, CrossEntropyLoss, MSELoss } from "./loss.js";
export { Buffer, Module, Parameter } from "./module.js";
export { Lambda, Sequential } from "./sequential.js";

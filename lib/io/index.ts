// Files: weights and checkpoints.
export { load, type Saveable, save } from "./checkpoint.js";
export { loadSafetensors, type SafetensorsInfo, safetensorsInfo, saveSafetensors } from "./safetensors.js";

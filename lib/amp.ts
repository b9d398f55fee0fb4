// Mixed precision, by the names of torch.amp.
export { autocast } from "./graph/modes.js";
export { GradScaler, type GradScalerOptions, type GradScalerState } from "./optim/grad-scaler.js";

// The JavaScript device: every kernel in plain TypeScript, the living definition of docs/kernels.md.
export { JsDevice } from "./executor.js";

// nablajs/bench: measuring in turns, statistics, what times mean, and the workloads that Nabla is measured with.
export { type Data, linksOf, makeData, operandsOf } from "./data.js";
export { type Contestant, contestant, type InterleaveOptions, interleave, type Measured } from "./interleave.js";
export { type Busyness, describeMachine, type Machine, watchBusyness } from "./machine.js";
export { PlainMlp, plainMatmul } from "./plain.js";
export { CHECKED_STEPS, check, type Reference, referenceOf } from "./reference.js";
export {
  attainable,
  gflops,
  gigabytes,
  intensity,
  type Limits,
  leastTime,
  matmulFlops,
  nsPerElement,
  type Work,
} from "./roofline.js";
export { groups, inUnit, lenet, type Row, rows, type Spec, type UnaryName, type Unit, workOf } from "./rows.js";
export { median, pairwiseRatio, quantile, type Summary, summarize } from "./statistics.js";
export { type Variant, workload } from "./workloads.js";

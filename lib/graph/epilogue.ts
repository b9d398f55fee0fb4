// Kernels whose results can go through an element-wise program while they are made.
import type { Shape } from "../tensor/shape.js";
import type { Instruction } from "./capture.js";

interface Epilogue {
  /** The kernel that does both: its first two inputs are those of the instruction. */
  readonly kernel: string;
  /** How many attributes it has before those of the program, and which. */
  readonly attrsBefore: number;
  readonly attrs: (instruction: Instruction) => readonly number[];
  /** The result as the program sees it. */
  readonly shape: (instruction: Instruction) => Shape;
}

const convolution = (kernel: string): Epilogue => ({
  kernel,
  attrsBefore: 9,
  attrs: ({ attrs, outs: [y] }) => [...attrs, y.shape[2], y.shape[3]],
  shape: ({ outs: [y] }) => [y.shape[0], y.shape[1], y.shape[2] * y.shape[3]],
});
const epilogues: ReadonlyMap<string, Epilogue> = new Map([
  [
    "matmul",
    { kernel: "matmulFused", attrsBefore: 0, attrs: () => [], shape: ({ outs: [c] }: Instruction) => c.shape },
  ],
  ["conv2d", convolution("conv2dFused")],
  ["conv2dInputGrad", convolution("conv2dInputGradFused")],
]);

/** How an instruction takes an epilogue; undefined when it cannot. */
export function epilogueOf({ op, attrs }: Instruction): Epilogue | undefined {
  // With a stride the elements of the gradient are not made in blocks.
  if (op === "conv2dInputGrad" && (attrs[0] !== 1 || attrs[1] !== 1)) return undefined;
  return epilogues.get(op);
}

const places = new Map([["elementwise", 0], ...[...epilogues.values()].map((e) => [e.kernel, e.attrsBefore] as const)]);

/** Where the attributes of the element-wise program begin in an instruction that has one; else undefined. */
export const programAt = (op: string): number | undefined => places.get(op);

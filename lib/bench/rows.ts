// The workloads: what is computed, how much work it is, and the unit in which it is spoken of.
import { gflops, matmulFlops, nsPerElement, type Work } from "./roofline.js";

export type Spec =
  /** c = a·b; with a chain of n products, each result is the next one's a (b is square then). */
  | { readonly kind: "matmul"; readonly m: number; readonly k: number; readonly n: number; readonly chain: number }
  | { readonly kind: "unary"; readonly fn: UnaryName; readonly n: number }
  /** Along rows of that many columns. */
  | { readonly kind: "softmax"; readonly rows: number; readonly columns: number }
  /** A training step: linear layers with relu between them, softmax cross-entropy, backward, Adam; the loss is read. */
  | { readonly kind: "mlp"; readonly sizes: readonly number[]; readonly batch: number; readonly batches: number }
  /** The same with a LeNet: convolutions 6@5×5 and 16@5×5, each with relu and 2×2 max pooling, then 256-120-84-10. */
  | { readonly kind: "cnn"; readonly batch: number; readonly batches: number }
  /** An MLP's output, read. */
  | { readonly kind: "inference"; readonly sizes: readonly number[]; readonly batch: number; readonly batches: number }
  /** Two tensors of 4 elements, with a gradient to be recorded or not. */
  | { readonly kind: "add"; readonly grad: boolean };

export type UnaryName = "relu" | "exp" | "sigmoid" | "tanh" | "gelu";
export type Unit = "GFLOP/s" | "ns/element" | "ms" | "µs";

export interface Row {
  /** As in G1: a letter for the group, and a number. */
  readonly id: string;
  /** What distinguishes it from others of the same id. */
  readonly name: string;
  readonly spec: Spec;
  readonly unit: Unit;
  /** The row is about this device. */
  readonly device?: string;
}

export const groups: Readonly<Record<string, string>> = {
  G: "matrix products",
  E: "element-wise functions and softmax",
  T: "training steps",
  D: "one small operation",
  I: "inference",
  J: "without native code",
  S: "start and size",
};

const product = (id: string, m: number, k = m, n = k, chain = 1): Row => ({
  id,
  name: chain > 1 && m === k ? `${m}³` : m === k && k === n ? `${m}³` : `${m}×${k}×${n}`,
  spec: { kind: "matmul", m, k, n, chain },
  unit: "GFLOP/s",
});
const functions: readonly UnaryName[] = ["relu", "exp", "sigmoid", "tanh", "gelu"];
const unary = (id: string, n: number, label: string): Row[] =>
  functions.map((fn) => ({ id, name: `${fn}, ${label}`, spec: { kind: "unary", fn, n }, unit: "ns/element" }));
const training = (id: string, sizes: readonly number[], batch: number, batches: number): Row => ({
  id,
  name: `${sizes.join("-")}, batch ${batch}`,
  spec: { kind: "mlp", sizes, batch, batches },
  unit: "ms",
});
const inference = (batch: number): Row => ({
  id: "I1",
  name: `${mlp.join("-")}, batch ${batch}`,
  spec: { kind: "inference", sizes: mlp, batch, batches: 8 },
  unit: "µs",
});
const mlp = [784, 512, 256, 10];

/** Every row but the start of a process, which is no work of a device. */
export const rows: readonly Row[] = [
  product("G1", 1024),
  product("G2", 256),
  product("G2", 512),
  // Chained, so that calling costs next to nothing: 4 to 34 million operations in a program.
  product("G3", 32, 32, 32, 64),
  product("G3", 64, 64, 64, 32),
  product("G3", 128, 128, 128, 8),
  product("G4", 32, 784, 512),
  product("G4", 128, 512, 256),
  product("G4", 1024, 784, 512),
  product("G4", 4096, 64, 64),
  product("G5", 1, 1024, 1024, 8),
  ...unary("E1", 1_000_000, "1 M"),
  ...unary("E2", 16_000_000, "16 M"),
  { id: "E3", name: "softmax, 1 M", spec: { kind: "softmax", rows: 1000, columns: 1000 }, unit: "ns/element" },
  { id: "E3", name: "softmax, 16 M", spec: { kind: "softmax", rows: 16_000, columns: 1000 }, unit: "ns/element" },
  // So many batches that none is learned by heart within a measurement: gradients would become denormal.
  training("T1", mlp, 32, 128),
  training("T2", mlp, 128, 32),
  training("T3", mlp, 1024, 8),
  training("T4", [2, 16, 16, 2], 32, 16),
  training("T5", [4, 3], 16, 16),
  { id: "T6", name: "LeNet, batch 64", spec: { kind: "cnn", batch: 64, batches: 32 }, unit: "ms" },
  { id: "D1", name: "add, 4 elements", spec: { kind: "add", grad: false }, unit: "µs" },
  { id: "D1", name: "add, 4 elements, with gradient", spec: { kind: "add", grad: true }, unit: "µs" },
  inference(1),
  inference(64),
  { ...product("J1", 512), device: "js" },
  { ...training("J1", mlp, 128, 32), device: "js" },
];

/** The layers of the LeNet: weight shapes (bias of the first extent), and the operations of a sample's forward pass. */
export const lenet = {
  shapes: [
    [6, 1, 5, 5],
    [16, 6, 5, 5],
    [120, 256],
    [84, 120],
    [10, 84],
  ],
  flops: [24 * 24 * 6 * 25 * 2, 8 * 8 * 16 * 150 * 2, 2 * 256 * 120, 2 * 120 * 84, 2 * 84 * 10],
} as const;

/** Three times the forward pass: as much again for each of both gradients, but none for the first layer's input. */
const trainingFlops = (forward: readonly number[]): number => 3 * forward.reduce((a, b) => a + b) - forward[0];
const adamBytes = (parameters: number): number => 6 * 4 * parameters; // value and two moments, read and written
const pairs = (sizes: readonly number[]): [number, number][] => sizes.slice(1).map((n, i) => [sizes[i], n]);
const parametersOf = (sizes: readonly number[]): number => pairs(sizes).reduce((sum, [k, n]) => sum + k * n + n, 0);

/** What one repeat needs at least. Bytes are those that cannot stay in registers: operands, results, optimizer state. */
export function workOf(spec: Spec): Work {
  switch (spec.kind) {
    case "matmul": {
      const { m, k, n, chain } = spec;
      return { flops: chain * matmulFlops(m, k, n), bytes: chain * 4 * (m * k + k * n + m * n) };
    }
    case "unary":
      return { flops: spec.n, bytes: 8 * spec.n };
    case "softmax":
      return { flops: 3 * spec.rows * spec.columns, bytes: 8 * spec.rows * spec.columns };
    case "mlp": {
      const { sizes, batch } = spec;
      return {
        flops: trainingFlops(pairs(sizes).map(([k, n]) => matmulFlops(batch, k, n))),
        bytes: adamBytes(parametersOf(sizes)) + 4 * batch * sizes[0],
      };
    }
    case "cnn": {
      const parameters = lenet.shapes.reduce((sum, s) => sum + s.reduce((a: number, b) => a * b, 1) + s[0], 0);
      return {
        flops: spec.batch * trainingFlops(lenet.flops),
        bytes: adamBytes(parameters) + 4 * spec.batch * 784,
      };
    }
    case "inference": {
      const { sizes, batch } = spec;
      return {
        flops: pairs(sizes).reduce((sum, [k, n]) => sum + matmulFlops(batch, k, n), 0),
        bytes: 4 * (parametersOf(sizes) + batch * (sizes[0] + (sizes.at(-1) as number))),
      };
    }
    case "add":
      return { flops: 4, bytes: 48 };
  }
}

/** A time in the row's unit. */
export function inUnit(row: Pick<Row, "spec" | "unit">, ms: number): number {
  const { flops, bytes } = workOf(row.spec);
  switch (row.unit) {
    case "GFLOP/s":
      return gflops(flops, ms);
    case "ns/element":
      return nsPerElement(bytes / 8, ms);
    case "µs":
      return ms * 1000;
    case "ms":
      return ms;
  }
}

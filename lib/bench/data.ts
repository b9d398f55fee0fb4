// The numbers that every contestant starts from: inputs, labels and weights, the same for all.
import { lenet, type Spec } from "./rows.js";

/** Name → values, float32 row-major; labels int32. */
export type Data = Readonly<Record<string, Float32Array | Int32Array>>;

/** Uniform numbers in [low, high), from a seed (a mixing function over a counter). */
function uniform(length: number, low: number, high: number, seed: number): Float32Array {
  const out = new Float32Array(length);
  const scale = (high - low) / 2 ** 32;
  for (let i = 0; i < length; i++) out[i] = low + mix(i + Math.imul(seed, 0x9e3779b9)) * scale;
  return out;
}

function mix(x: number): number {
  let z = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return (z ^ (z >>> 15)) >>> 0;
}

const labels = (length: number, classes: number, seed: number): Int32Array =>
  Int32Array.from({ length }, (_, i) => mix(i + Math.imul(seed, 0x85ebca6b)) % classes);

/** Weights w0, b0, w1 …, as PyTorch starts them: uniform in ±1/√(inputs of one output). */
function weights(shapes: readonly (readonly number[])[]): Record<string, Float32Array> {
  const out: Record<string, Float32Array> = {};
  shapes.forEach((shape, i) => {
    const inputs = shape.slice(1).reduce((a, b) => a * b, 1);
    const bound = 1 / Math.sqrt(inputs);
    out[`w${i}`] = uniform(shape[0] * inputs, -bound, bound, 100 + i);
    out[`b${i}`] = uniform(shape[0], -bound, bound, 200 + i);
  });
  return out;
}

const linearShapes = (sizes: readonly number[]): number[][] => sizes.slice(1).map((n, i) => [n, sizes[i]]);

/** How many left operands a product has, one after the other: more than one where a cache would keep a single one. */
export const operandsOf = ({ m, k, chain }: { m: number; k: number; chain: number }): number =>
  chain > 1 || m * k >= 2 ** 18 ? 1 : 4;

/** How many right operands a chain of products goes round. */
export const linksOf = ({ chain, k }: { chain: number; k: number }): number =>
  k * k > 2 ** 16 ? 1 : Math.min(chain, 8);

export function makeData(spec: Spec): Data {
  switch (spec.kind) {
    case "matmul": {
      const { m, k, n, chain } = spec;
      // Of variance 1/k, so that a chain neither grows nor shrinks.
      const bound = chain > 1 ? Math.sqrt(3 / k) : 1;
      return {
        a: uniform(operandsOf(spec) * m * k, -1, 1, 1),
        b: uniform(linksOf(spec) * k * n, -bound, bound, 2),
      };
    }
    case "unary":
      return { x: uniform(spec.n, -4, 4, 3) };
    case "softmax":
      return { x: uniform(spec.rows * spec.columns, -4, 4, 4) };
    case "mlp":
    case "inference": {
      const { sizes, batch, batches } = spec;
      return {
        x: uniform(batches * batch * sizes[0], 0, 1, 5),
        y: labels(batches * batch, sizes.at(-1) as number, 6),
        ...weights(linearShapes(sizes)),
      };
    }
    case "cnn":
      return {
        x: uniform(spec.batches * spec.batch * 784, 0, 1, 7),
        y: labels(spec.batches * spec.batch, 10, 8),
        ...weights(lenet.shapes),
      };
    case "add":
      return { x: uniform(4, -1, 1, 9), y: uniform(4, -1, 1, 10) };
  }
}

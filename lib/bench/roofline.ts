// What times mean: speed, bandwidth, and the limit that a machine sets to both.

/** Floating point operations of a product of an m×k by a k×n matrix. */
export const matmulFlops = (m: number, k: number, n: number): number => 2 * m * k * n;

/** GFLOP/s of that many operations in that many milliseconds. */
export const gflops = (flops: number, ms: number): number => flops / ms / 1e6;

/** GB/s (10⁹ bytes) of that many bytes in that many milliseconds. */
export const gigabytes = (bytes: number, ms: number): number => bytes / ms / 1e6;

/** Nanoseconds for each of that many elements. */
export const nsPerElement = (elements: number, ms: number): number => (ms * 1e6) / elements;

/** What a machine can do at most: GFLOP/s, and GB/s to the memory in question. */
export interface Limits {
  readonly gflops: number;
  readonly gigabytes: number;
}

/** What some work needs at least: operations, and bytes that must move. */
export interface Work {
  readonly flops: number;
  readonly bytes: number;
}

/** Operations per byte. */
export const intensity = ({ flops, bytes }: Work): number => flops / bytes;

/** The roofline: GFLOP/s that work of some intensity can reach on a machine. */
export const attainable = (limits: Limits, flopsPerByte: number): number =>
  Math.min(limits.gflops, limits.gigabytes * flopsPerByte);

/** The roofline as a time: milliseconds that work takes at least, computing and moving bytes at once. */
export const leastTime = (limits: Limits, { flops, bytes }: Work): number =>
  Math.max(flops / limits.gflops, bytes / limits.gigabytes) / 1e6;

// Matrix products: a blocked float64 kernel over packed panels, plain loops for ints.
//
// The blocking is the usual one (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34,
// 2008): panels of 4 rows of A and 4 columns of B are packed as float64, which also takes care of dtypes and strides,
// and a 4 × 4 tile of C is held in local variables.
import {
  type Call,
  demand,
  demandCounts,
  demandDType,
  doubles,
  F64,
  I64,
  ints,
  isFloat,
  type Kernel,
  loadLongs,
  loadRow,
  longs,
  store,
  storeRow,
  type TypedArray,
} from "./view.js";

/** A matrix somewhere in memory. */
export interface Matrix {
  data: TypedArray;
  dtype: number;
  at: number;
  rowStride: number;
  colStride: number;
}

const MR = 4;
const NR = 4;
const KC = 256;
const MC = 64;
const NC = 256;
/** Rows of c formed at a time, which bounds the working space. */
const ROWS = 8192;

const transposed = (m: Matrix): Matrix => ({ ...m, rowStride: m.colStride, colStride: m.rowStride });

/** A row-major float64 matrix over scratch memory. */
export const dense = (data: Float64Array, cols: number, at = 0): Matrix => ({
  data,
  dtype: F64,
  at,
  rowStride: cols,
  colStride: 1,
});

/** c = a·b, or c += a·b, with sums formed in float64; a is M × K, b is K × N. */
export function gemm(M: number, N: number, K: number, a: Matrix, b: Matrix, c: Matrix, accumulate = false): void {
  if (M === 0 || N === 0) return;
  if (M > ROWS) {
    for (let i = 0; i < M; i += ROWS) {
      const slice = (m: Matrix): Matrix => ({ ...m, at: m.at + i * m.rowStride });
      gemm(Math.min(ROWS, M - i), N, K, slice(a), b, slice(c), accumulate);
    }
    return;
  }
  if (N < MR && M >= MR) {
    gemm(N, M, K, transposed(b), transposed(a), transposed(c), accumulate);
    return;
  }
  const few = M < MR;
  for (let jc = 0; jc < N; jc += NC) {
    const nc = Math.min(NC, N - jc);
    const width = Math.ceil(nc / NR) * NR;
    const height = Math.ceil(M / MR) * MR;
    const tile = doubles("gemmC", height * width);
    if (accumulate) {
      for (let i = 0; i < M; i++) {
        loadRow(c.data, c.dtype, c.at + i * c.rowStride + jc * c.colStride, c.colStride, nc, tile, i * width);
      }
    } else tile.fill(0, 0, height * width);
    if (few) fewRows(M, nc, K, a, { ...b, at: b.at + jc * b.colStride }, tile, width);
    else {
      for (let kc = 0; kc < K; kc += KC) {
        const k = Math.min(KC, K - kc);
        const packedB = doubles("gemmB", KC * NC);
        pack(b.data, b.dtype, b.at + kc * b.rowStride + jc * b.colStride, b.colStride, b.rowStride, nc, k, packedB);
        for (let ic = 0; ic < M; ic += MC) {
          const m = Math.min(MC, M - ic);
          const packedA = doubles("gemmA", KC * MC);
          pack(a.data, a.dtype, a.at + ic * a.rowStride + kc * a.colStride, a.rowStride, a.colStride, m, k, packedA);
          for (let j = 0; j < nc; j += NR) {
            for (let i = 0; i < m; i += MR) {
              multiply(k, packedA, i * k, packedB, j * k, tile, (ic + i) * width + j, width);
            }
          }
        }
      }
    }
    for (let i = 0; i < M; i++) {
      storeRow(c.data, c.dtype, c.at + i * c.rowStride + jc * c.colStride, c.colStride, nc, tile, i * width);
    }
  }
}

/** Packs `count` vectors of k elements in groups of four, zeros filling the last group: to[(v/4)·4k + 4·l + v%4]. */
function pack(
  data: TypedArray,
  dtype: number,
  at: number,
  vectorStride: number,
  stride: number,
  count: number,
  k: number,
  to: Float64Array,
): void {
  const padded = Math.ceil(count / 4) * 4;
  for (let v = 0; v < padded; v++) {
    const start = (v & ~3) * k + (v & 3);
    if (v < count) loadRow(data, dtype, at + v * vectorStride, stride, k, to, start, 4);
    else for (let l = 0; l < k; l++) to[start + 4 * l] = 0;
  }
}

/** c[4 × 4] += panel of A · panel of B. */
function multiply(
  k: number,
  A: Float64Array,
  a: number,
  B: Float64Array,
  b: number,
  C: Float64Array,
  c: number,
  ldc: number,
): void {
  let c00 = 0;
  let c01 = 0;
  let c02 = 0;
  let c03 = 0;
  let c10 = 0;
  let c11 = 0;
  let c12 = 0;
  let c13 = 0;
  let c20 = 0;
  let c21 = 0;
  let c22 = 0;
  let c23 = 0;
  let c30 = 0;
  let c31 = 0;
  let c32 = 0;
  let c33 = 0;
  for (let p = a, q = b, end = a + 4 * k; p < end; p += 4, q += 4) {
    const b0 = B[q];
    const b1 = B[q + 1];
    const b2 = B[q + 2];
    const b3 = B[q + 3];
    const a0 = A[p];
    c00 += a0 * b0;
    c01 += a0 * b1;
    c02 += a0 * b2;
    c03 += a0 * b3;
    const a1 = A[p + 1];
    c10 += a1 * b0;
    c11 += a1 * b1;
    c12 += a1 * b2;
    c13 += a1 * b3;
    const a2 = A[p + 2];
    c20 += a2 * b0;
    c21 += a2 * b1;
    c22 += a2 * b2;
    c23 += a2 * b3;
    const a3 = A[p + 3];
    c30 += a3 * b0;
    c31 += a3 * b1;
    c32 += a3 * b2;
    c33 += a3 * b3;
  }
  C[c] += c00;
  C[c + 1] += c01;
  C[c + 2] += c02;
  C[c + 3] += c03;
  C[c + ldc] += c10;
  C[c + ldc + 1] += c11;
  C[c + ldc + 2] += c12;
  C[c + ldc + 3] += c13;
  C[c + 2 * ldc] += c20;
  C[c + 2 * ldc + 1] += c21;
  C[c + 2 * ldc + 2] += c22;
  C[c + 2 * ldc + 3] += c23;
  C[c + 3 * ldc] += c30;
  C[c + 3 * ldc + 1] += c31;
  C[c + 3 * ldc + 2] += c32;
  C[c + 3 * ldc + 3] += c33;
}

/** Fewer than four rows: b is read once, along its smaller stride, and not packed. */
function fewRows(M: number, N: number, K: number, a: Matrix, b: Matrix, C: Float64Array, ldc: number): void {
  const row = doubles("gemmRow", Math.max(N, K));
  if (Math.abs(b.rowStride) < Math.abs(b.colStride)) {
    const rowA = doubles("gemmA", Math.max(M * K, KC * MC));
    for (let i = 0; i < M; i++) loadRow(a.data, a.dtype, a.at + i * a.rowStride, a.colStride, K, rowA, i * K);
    for (let j = 0; j < N; j++) {
      loadRow(b.data, b.dtype, b.at + j * b.colStride, b.rowStride, K, row);
      for (let i = 0; i < M; i++) C[i * ldc + j] += dot(rowA, i * K, row, K);
    }
    return;
  }
  const column = doubles("gemmColumn", K);
  for (let i = 0; i < M; i++) {
    loadRow(a.data, a.dtype, a.at + i * a.rowStride, a.colStride, K, column);
    for (let k = 0; k < K; k++) {
      loadRow(b.data, b.dtype, b.at + k * b.rowStride, b.colStride, N, row);
      addScaled(C, i * ldc, column[k], row, N);
    }
  }
}

function dot(x: Float64Array, at: number, y: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[at + i] * y[i];
  return sum;
}

function addScaled(y: Float64Array, at: number, scale: number, x: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) y[at + i] += scale * x[i];
}

// --- ints ---

function multiplyInts(M: number, N: number, K: number, a: Matrix, b: Matrix, c: Matrix): void {
  const row = ints("matmulRow", N);
  const A = a.data as Int32Array;
  const B = b.data as Int32Array;
  for (let i = 0; i < M; i++) {
    row.fill(0, 0, N);
    for (let k = 0; k < K; k++) {
      const x = A[a.at + i * a.rowStride + k * a.colStride];
      for (let j = 0, p = b.at + k * b.rowStride; j < N; j++, p += b.colStride) row[j] += Math.imul(x, B[p]);
    }
    for (let j = 0; j < N; j++) store(c.data, c.dtype, c.at + i * c.rowStride + j * c.colStride, row[j]);
  }
}

function multiplyLongs(M: number, N: number, K: number, a: Matrix, b: Matrix, c: Matrix): void {
  const row = longs("matmulRow", N);
  const y = longs("matmulB", N);
  const A = a.data as BigInt64Array;
  const C = c.data as BigInt64Array;
  for (let i = 0; i < M; i++) {
    row.fill(0n, 0, N);
    for (let k = 0; k < K; k++) {
      const x = A[a.at + i * a.rowStride + k * a.colStride];
      loadLongs(b.data, I64, b.at + k * b.rowStride, b.colStride, N, y);
      for (let j = 0; j < N; j++) row[j] = BigInt.asIntN(64, row[j] + x * y[j]);
    }
    for (let j = 0; j < N; j++) C[c.at + i * c.rowStride + j * c.colStride] = row[j];
  }
}

// --- the kernel ---

function check(call: Call): void {
  demandCounts(call, 1, 2, 0);
  const [c] = call.out;
  const [a, b] = call.in;
  demand(a.ndim === 3 && b.ndim === 3 && c.ndim === 3, call, "takes and gives three dimensions");
  demandDType(call, c.dtype, a, b);
  const fits =
    a.shape[0] === c.shape[0] &&
    b.shape[0] === c.shape[0] &&
    a.shape[1] === c.shape[1] &&
    b.shape[2] === c.shape[2] &&
    a.shape[2] === b.shape[1];
  demand(fits, call, "takes a[B, M, K] and b[B, K, N] and gives c[B, M, N]");
}

function run(call: Call): void {
  const [c] = call.out;
  const [a, b] = call.in;
  const matrix = (v: typeof a, batch: number): Matrix => ({
    data: v.data,
    dtype: v.dtype,
    at: v.offset + batch * v.strides[0],
    rowStride: v.strides[1],
    colStride: v.strides[2],
  });
  const product = isFloat(c.dtype) ? gemm : c.dtype === I64 ? multiplyLongs : multiplyInts;
  for (let batch = 0; batch < c.shape[0]; batch++) {
    product(c.shape[1], c.shape[2], a.shape[2], matrix(a, batch), matrix(b, batch), matrix(c, batch));
  }
}

export const kernels: Record<string, Kernel> = { matmul: { check, run } };

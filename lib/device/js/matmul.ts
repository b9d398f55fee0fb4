// Matrix products: a blocked float64 kernel over packed panels, plain loops for ints.
//
// The blocking is the usual one (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34,
// 2008): panels of 3 rows of A and 2 columns of B are packed as float64, which also takes care of dtypes and strides,
// and a 3 × 2 tile of C is held in local variables. `makeCore` says why it looks as it does.
import {
  type Call,
  demand,
  demandCounts,
  demandDType,
  doubles,
  F32,
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
  type View,
} from "./view.js";

/** A matrix somewhere in memory. */
export interface Matrix {
  data: TypedArray;
  dtype: number;
  at: number;
  rowStride: number;
  colStride: number;
}

const MR = 3;
const NR = 2;
/** Sizes in whole tiles. */
export const tileRows = (m: number): number => Math.ceil(m / MR) * MR;
export const tileColumns = (n: number): number => Math.ceil(n / NR) * NR;
const KC = 256;
const MC = 96;
const NC = 128;
/** Products up to here are not worth packing. */
const SMALL = 512;
/** Rows of c formed at a time, which bounds the working space. */
const ROWS = 8192;

/** The matrix of the first batch of a view. */
const matrix = ({ data, dtype, offset, strides }: View): Matrix => ({
  data,
  dtype,
  at: offset,
  rowStride: strides[1],
  colStride: strides[2],
});

export const transposed = (m: Matrix): Matrix => ({ ...m, rowStride: m.colStride, colStride: m.rowStride });

/** The rows of a matrix from the i-th on. */
const below = (m: Matrix, i: number): Matrix => ({ ...m, at: m.at + i * m.rowStride });

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
      gemm(Math.min(ROWS, M - i), N, K, below(a, i), b, below(c, i), accumulate);
    }
    return;
  }
  if (M * N * K <= SMALL && !accumulate && a.dtype === F32 && b.dtype === F32 && c.dtype === F32) {
    multiplyPlainly(M, N, K, a, b, c);
    return;
  }
  if (N < NR && M >= NR) {
    gemm(N, M, K, transposed(b), transposed(a), transposed(c), accumulate);
    return;
  }
  const few = M < MR;
  for (let jc = 0; jc < N; jc += NC) {
    const nc = Math.min(NC, N - jc);
    const width = tileColumns(nc);
    const height = tileRows(M);
    const tile = doubles("gemmC", height * width);
    if (accumulate) {
      for (let i = 0; i < M; i++) {
        loadRow(c.data, c.dtype, c.at + i * c.rowStride + jc * c.colStride, c.colStride, nc, tile, i * width);
      }
    } else tile.fill(0, 0, height * width);
    if (few) fewRows(M, nc, K, a, b, b.at + jc * b.colStride, tile, width);
    else {
      core ??= makeCore();
      for (let kc = 0; kc < K; kc += KC) {
        const k = Math.min(KC, K - kc);
        pack(b.data, b.dtype, b.at + kc * b.rowStride + jc * b.colStride, b.colStride, b.rowStride, nc, k, core.B);
        for (let ic = 0; ic < M; ic += MC) {
          const m = Math.min(MC, M - ic);
          pack(a.data, a.dtype, a.at + ic * a.rowStride + kc * a.colStride, a.rowStride, a.colStride, m, k, core.A);
          core.multiply(m, nc, k, tile, ic * width, width);
        }
      }
    }
    for (let i = 0; i < M; i++) {
      storeRow(c.data, c.dtype, c.at + i * c.rowStride + jc * c.colStride, c.colStride, nc, tile, i * width);
    }
  }
}

/** What a product is, in float32. */
function multiplyPlainly(M: number, N: number, K: number, a: Matrix, b: Matrix, c: Matrix): void {
  const A = a.data as Float32Array;
  const B = b.data as Float32Array;
  const C = c.data as Float32Array;
  const step = a.colStride;
  const stride = b.rowStride;
  for (let i = 0; i < M; i++) {
    for (let j = 0; j < N; j++) {
      let sum = 0;
      for (let k = 0, p = a.at + i * a.rowStride, q = b.at + j * b.colStride; k < K; k++, p += step, q += stride) {
        sum += A[p] * B[q];
      }
      C[c.at + i * c.rowStride + j * c.colStride] = sum;
    }
  }
}

/** Packs `count` vectors of k elements, dealt out to the arrays in turn; the last round is filled up with zeros. */
function pack(
  data: TypedArray,
  dtype: number,
  at: number,
  vectorStride: number,
  stride: number,
  count: number,
  k: number,
  to: readonly Float64Array[],
): void {
  const R = to.length;
  for (let v = 0; v < count; v++)
    loadRow(data, dtype, at + v * vectorStride, stride, k, to[v % R], Math.floor(v / R) * k);
  const start = Math.floor(count / R) * k;
  for (let v = count; v % R !== 0; v++) to[v % R].fill(0, start, start + k);
}

/**
 * C += a · b in whole tiles (C has room for M rounded up to 3 and N rounded up to 2), where b[k, j] is
 * image[rows[from + k] + columns[start + j]]: windows of an image are multiplied without being copied out of it.
 */
export function multiplyWindows(
  M: number,
  N: number,
  K: number,
  a: Matrix,
  image: Float64Array,
  rows: Int32Array,
  from: number,
  columns: Int32Array,
  start: number,
  C: Float64Array,
  ldc: number,
): void {
  core ??= makeCore();
  for (let kc = 0; kc < K; kc += KC) {
    const k = Math.min(KC, K - kc);
    for (let l = 0; l < k; l++) core.rows[l] = rows[from + kc + l];
    for (let ic = 0; ic < M; ic += MC) {
      const m = Math.min(MC, M - ic);
      pack(a.data, a.dtype, a.at + ic * a.rowStride + kc * a.colStride, a.rowStride, a.colStride, m, k, core.A);
      core.multiplyWindows(m, N, k, image, columns, start, C, ic * ldc, ldc);
    }
  }
}

interface Core {
  /** Row i of the block of a is at ⌊i / 3⌋·k in A[i % 3]; column j of that of b at ⌊j / 2⌋·k in B[j % 2]. */
  readonly A: readonly Float64Array[];
  readonly B: readonly Float64Array[];
  /** C[m × n] += A · B, in whole tiles. */
  multiply(m: number, n: number, k: number, C: Float64Array, c: number, ldc: number): void;
  /** The rows of `multiplyWindows`, for one block. */
  readonly rows: Int32Array;
  multiplyWindows(
    m: number,
    n: number,
    k: number,
    image: Float64Array,
    columns: Int32Array,
    start: number,
    C: Float64Array,
    c: number,
    ldc: number,
  ): void;
}

let core: Core | undefined;

/**
 * The inner loop, with its panels. To a compiler that neither vectorises nor reorders, speed is the number of
 * instructions of one turn, and values kept in registers: each row and column has an array of its own, so that all loads
 * of a turn share two indices (and their bounds checks), the arrays are constants of the closure, whose addresses and
 * lengths need no loading, and six sums, six products and their factors fit the 16 registers there are. Larger tiles and
 * unrolled loops spill and are slower.
 */
function makeCore(): Core {
  const panel = (count: number, R: number) => new Float64Array((count / R) * KC);
  const A0 = panel(MC, MR);
  const A1 = panel(MC, MR);
  const A2 = panel(MC, MR);
  const B0 = panel(NC, NR);
  const B1 = panel(NC, NR);
  const rows = new Int32Array(KC);

  /** Adds one tile. */
  function tile(k: number, a: number, b: number, C: Float64Array, c: number, ldc: number): void {
    let c00 = 0;
    let c01 = 0;
    let c10 = 0;
    let c11 = 0;
    let c20 = 0;
    let c21 = 0;
    for (let p = a, q = b, end = a + k; p < end; p++, q++) {
      const b0 = B0[q];
      const b1 = B1[q];
      const a0 = A0[p];
      c00 += a0 * b0;
      c01 += a0 * b1;
      const a1 = A1[p];
      c10 += a1 * b0;
      c11 += a1 * b1;
      const a2 = A2[p];
      c20 += a2 * b0;
      c21 += a2 * b1;
    }
    C[c] += c00;
    C[c + 1] += c01;
    C[c + ldc] += c10;
    C[c + ldc + 1] += c11;
    C[c + 2 * ldc] += c20;
    C[c + 2 * ldc + 1] += c21;
  }

  function multiply(m: number, n: number, k: number, C: Float64Array, c: number, ldc: number): void {
    for (let i = 0, a = 0; i < m; i += MR, a += k) {
      for (let j = 0, b = 0; j < n; j += NR, b += k) tile(k, a, b, C, c + i * ldc + j, ldc);
    }
  }

  /** A tile whose two columns begin at places of an image. */
  function windowTile(
    k: number,
    a: number,
    image: Float64Array,
    left: number,
    right: number,
    C: Float64Array,
    c: number,
    ldc: number,
  ): void {
    let c00 = 0;
    let c01 = 0;
    let c10 = 0;
    let c11 = 0;
    let c20 = 0;
    let c21 = 0;
    for (let p = a, q = 0; q < k; p++, q++) {
      const row = rows[q];
      const b0 = image[row + left];
      const b1 = image[row + right];
      const a0 = A0[p];
      c00 += a0 * b0;
      c01 += a0 * b1;
      const a1 = A1[p];
      c10 += a1 * b0;
      c11 += a1 * b1;
      const a2 = A2[p];
      c20 += a2 * b0;
      c21 += a2 * b1;
    }
    C[c] += c00;
    C[c + 1] += c01;
    C[c + ldc] += c10;
    C[c + ldc + 1] += c11;
    C[c + 2 * ldc] += c20;
    C[c + 2 * ldc + 1] += c21;
  }

  function multiplyWindows(
    m: number,
    n: number,
    k: number,
    image: Float64Array,
    columns: Int32Array,
    start: number,
    C: Float64Array,
    c: number,
    ldc: number,
  ): void {
    for (let j = 0; j < n; j += NR) {
      const left = columns[start + j];
      const right = columns[start + Math.min(j + 1, n - 1)];
      for (let i = 0, a = 0; i < m; i += MR, a += k) windowTile(k, a, image, left, right, C, c + i * ldc + j, ldc);
    }
  }

  return { A: [A0, A1, A2], B: [B0, B1], multiply, rows, multiplyWindows };
}

/** One or two rows: b is read once a row, along its smaller stride, and not packed. */
function fewRows(
  M: number,
  N: number,
  K: number,
  a: Matrix,
  b: Matrix,
  at: number,
  C: Float64Array,
  ldc: number,
): void {
  const x = doubles("gemmX", K);
  const alongK = Math.abs(b.rowStride) < Math.abs(b.colStride);
  const outer = alongK ? N : K;
  const [step, stride, length] = alongK ? [b.colStride, b.rowStride, K] : [b.rowStride, b.colStride, N];
  const quads = b.dtype === F32 && stride === 1 ? outer & ~3 : 0;
  const row = doubles("gemmRow", length);
  for (let i = 0; i < M; i++) {
    loadRow(a.data, a.dtype, a.at + i * a.rowStride, a.colStride, K, x);
    for (let j = 0; j < quads; j += 4) {
      if (alongK) dot4(C, i * ldc + j, x, b.data as Float32Array, at + j * step, step, length);
      else addScaled4(C, i * ldc, x, j, b.data as Float32Array, at + j * step, step, length);
    }
    for (let j = quads; j < outer; j++) {
      loadRow(b.data, b.dtype, at + j * step, stride, length, row);
      if (alongK) C[i * ldc + j] += dot(x, row, length);
      else addScaled(C, i * ldc, x[j], row, length);
    }
  }
}

function dot(x: Float64Array, y: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

function addScaled(y: Float64Array, at: number, scale: number, x: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) y[at + i] += scale * x[i];
}

/** Four dots of x with rows of float32. */
function dot4(y: Float64Array, at: number, x: Float64Array, b: Float32Array, p: number, step: number, n: number): void {
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let i = 0, p0 = p, p1 = p0 + step, p2 = p1 + step, p3 = p2 + step; i < n; i++, p0++, p1++, p2++, p3++) {
    const v = x[i];
    sum0 += v * b[p0];
    sum1 += v * b[p1];
    sum2 += v * b[p2];
    sum3 += v * b[p3];
  }
  y[at] += sum0;
  y[at + 1] += sum1;
  y[at + 2] += sum2;
  y[at + 3] += sum3;
}

/** Four rows of float32 times x[j], x[j + 1] … added to y. */
function addScaled4(
  y: Float64Array,
  at: number,
  x: Float64Array,
  j: number,
  b: Float32Array,
  p: number,
  step: number,
  n: number,
): void {
  const x0 = x[j];
  const x1 = x[j + 1];
  const x2 = x[j + 2];
  const x3 = x[j + 3];
  for (let i = at, p0 = p, p1 = p0 + step, p2 = p1 + step, p3 = p2 + step; i < at + n; i++, p0++, p1++, p2++, p3++) {
    y[i] = y[i] + x0 * b[p0] + x1 * b[p1] + x2 * b[p2] + x3 * b[p3];
  }
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
  const operands = (call.memo as Matrix[] | undefined) ?? [call.in[0], call.in[1], call.out[0]].map(matrix);
  if (call.keep) call.memo = operands;
  const [x, y] = call.in;
  const [z] = call.out;
  const [a, b, c] = operands;
  a.data = x.data;
  b.data = y.data;
  c.data = z.data;
  const product = isFloat(c.dtype) ? gemm : c.dtype === I64 ? multiplyLongs : multiplyInts;
  for (let batch = 0; batch < z.shape[0]; batch++) {
    a.at = x.offset + batch * x.strides[0];
    b.at = y.offset + batch * y.strides[0];
    c.at = z.offset + batch * z.strides[0];
    product(z.shape[1], z.shape[2], x.shape[2], a, b, c);
  }
}

export const kernels: Record<string, Kernel> = { matmul: { check, run } };

// Mathematical functions that JavaScript lacks, or defines otherwise than C and PyTorch.

// erf and erfc as Chebyshev series, the way of J. L. Schonfelder, "Chebyshev expansions for the error and related
// functions", Math. Comp. 32 (1978); the coefficients were computed with 40 digits from the definitions. Relative error
// about 5e-16.

// erf(x) / x on |x| <= 1, in u = 2x² − 1.
const nearZero = [
  0.9754769393826541, -0.14226120510371365, 0.010035582187599796, -0.0005768764699767485, 2.741993125219606e-5,
  -1.1043175507344507e-6, 3.8488755420345036e-8, -1.1808582533875466e-9, 3.2334215826050907e-11, -7.991015947004549e-13,
  1.7990725113961456e-14, -3.718635487818693e-16, 7.103599003714253e-18,
];
// (x + 1)·exp(x²)·erfc(x) on [½, ∞), in t = (x − 4) / (x + 4), scaled to u in [−1, 1].
const tail = [
  0.7046009244369523, -0.1749319380863385, 0.040082480045292454, -0.0054836773016832124, -0.0005408386086140302,
  0.0006679153197971521, -0.000264926326365998, 7.251882899748975e-5, -1.4902425880036937e-5, 2.2215543999851865e-6,
  -1.9193149471783514e-7, -6.127990461250969e-9, 4.757147709804651e-9, -5.741243477626999e-10, -2.7406245193144385e-11,
  1.642459949504905e-11, -1.1120246458688474e-12, -3.0297481494545505e-13, 5.484666816522107e-14, 4.011608494863196e-15,
  -1.795897203480091e-15, -1.2850272129322396e-17, 5.402019769037914e-17, -1.807587874496419e-18,
];
const T0 = (0.5 - 4) / (0.5 + 4);

/** Clenshaw's recurrence for Σ c[k]·T_k(u). */
function chebyshev(c: readonly number[], u: number): number {
  let b1 = 0;
  let b2 = 0;
  for (let k = c.length - 1; k > 0; k--) {
    const b0 = c[k] + 2 * u * b1 - b2;
    b2 = b1;
    b1 = b0;
  }
  return c[0] + u * b1 - b2;
}

/** erfc for x >= ½; exp(−x²) is split at a float32, whose square is exact. */
function erfcTail(x: number): number {
  if (x > 27) return 0;
  const u = (2 * ((x - 4) / (x + 4) - T0)) / (1 - T0) - 1;
  const h = Math.fround(x);
  return (Math.exp(-h * h) * Math.exp((h - x) * (h + x)) * chebyshev(tail, u)) / (x + 1);
}

export function erf(x: number): number {
  if (Number.isNaN(x)) return x;
  const size = Math.abs(x);
  if (size <= 1) return x * chebyshev(nearZero, 2 * x * x - 1);
  return x > 0 ? 1 - erfcTail(size) : erfcTail(size) - 1;
}

export function erfc(x: number): number {
  if (Number.isNaN(x)) return x;
  if (x >= 0.5) return erfcTail(x);
  return 1 - erf(x);
}

/** C's pow: 1 to any power is 1, and so is −1 to an infinite one. */
export function pow(x: number, y: number): number {
  if (x === 1 || (x === -1 && (y === Infinity || y === -Infinity))) return 1;
  return x ** y;
}

/** Half-way cases to the even neighbour. */
export function roundEven(x: number): number {
  const r = Math.round(x); // half-way cases up
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** The floor of the quotient, computed from the exact remainder (Python's and PyTorch's way). */
export function floorDivide(a: number, b: number): number {
  if (b === 0) return a / b;
  const mod = a % b;
  let q = (a - mod) / b;
  if (mod !== 0 && b < 0 !== mod < 0) q -= 1;
  if (q === 0) return copysign(0, a / b);
  const floor = Math.floor(q);
  return q - floor > 0.5 ? floor + 1 : floor;
}

/** The remainder with the divisor's sign. */
export function remainder(a: number, b: number): number {
  const mod = a % b;
  return mod !== 0 && b < 0 !== mod < 0 ? mod + b : mod;
}

export function copysign(a: number, b: number): number {
  return b < 0 || (b === 0 && 1 / b < 0) ? -Math.abs(a) : Math.abs(a);
}

// --- int32; division by zero gives 0 ---

export function intFloorDivide(a: number, b: number): number {
  return b === 0 ? 0 : Math.floor(a / b) | 0;
}

export function intRemainder(a: number, b: number): number {
  if (b === 0) return 0;
  const mod = (a % b) | 0;
  return mod !== 0 && b < 0 !== mod < 0 ? mod + b : mod;
}

/** Wraps; a negative power of anything but ±1 is 0. */
export function intPow(x: number, y: number): number {
  if (y < 0) return x === 1 ? 1 : x === -1 ? (y & 1 ? -1 : 1) : 0;
  let result = 1;
  for (let e = y, p = x; e > 0; e = e >>> 1) {
    if (e & 1) result = Math.imul(result, p);
    p = Math.imul(p, p);
  }
  return result;
}

// --- int64 ---

export function longFloorDivide(a: bigint, b: bigint): bigint {
  if (b === 0n) return 0n;
  const q = a / b;
  return BigInt.asIntN(64, a % b !== 0n && a < 0n !== b < 0n ? q - 1n : q);
}

export function longRemainder(a: bigint, b: bigint): bigint {
  if (b === 0n) return 0n;
  const mod = a % b;
  return mod !== 0n && b < 0n !== mod < 0n ? mod + b : mod;
}

export function longPow(x: bigint, y: bigint): bigint {
  if (y < 0n) return x === 1n ? 1n : x === -1n ? (y & 1n ? -1n : 1n) : 0n;
  let result = 1n;
  for (let e = y, p = x; e > 0n; e >>= 1n) {
    if (e & 1n) result = BigInt.asIntN(64, result * p);
    p = BigInt.asIntN(64, p * p);
  }
  return result;
}

/**
 * e^x to 2e-12, which float32 cannot tell from the true value: 2^(k / 32) from tables, for the nearest k, times a polynomial
 * in the rest. The tables are constants of the closure, so that compiled loops need not look them up.
 */
export const exp32 = (() => {
  const fractions = Float64Array.from({ length: 32 }, (_, i) => 2 ** (i / 32));
  const powers = Float64Array.from({ length: 300 }, (_, i) => 2 ** (i - 160));
  return (x: number): number => {
    if (!(x > -105 && x < 89)) return Math.exp(x); // 0, Infinity and NaN
    const k = Math.floor(x * (32 / Math.LN2) + 0.5);
    const r = x - k * (Math.LN2 / 32);
    const i = k | 0;
    return fractions[i & 31] * powers[(i >> 5) + 160] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r / 24))));
  };
})();

/** tanh x, as precisely. */
export function tanh32(x: number): number {
  const square = x * x;
  if (square < 0.0016) return x * (1 - square * (1 / 3 - square * (2 / 15 - square * (17 / 315))));
  return square < 100 ? 1 - 2 / (exp32(2 * x) + 1) : Math.tanh(x);
}

// The `elementwise` kernel: a small program over registers becomes one JavaScript loop, compiled once per program text.
//
// The table below is the definition of every function: an expression in a, b, c for each kind of compute type. A
// program's loop reads each input element once, converts, evaluates the steps in local variables and stores, so that a
// fused chain costs one pass; `new Function` gives every combination of dtypes its own monomorphic code.
import { DeviceError } from "../../errors.js";
import * as special from "./special.js";
import * as convert from "./view.js";
import { BF16, BOOL, type Call, demand, F16, F32, F64, I32, I64, type Kernel, U8, type View } from "./view.js";

// --- the functions ---

/** Expressions by kind of compute type; a missing one does not exist for it. */
interface Definition {
  arity: 1 | 2 | 3;
  /** The result is bool, whatever the ctype. */
  predicate?: boolean;
  /**
   * float32 and float64; R(…) rounds an intermediate to the ctype. The result is rounded by the compiler. A choice that
   * depends on data goes through `pick`, two numbers in memory: a branch would be predicted wrongly half of the time.
   */
  float?: string;
  /** float32, where something faster is as good there. */
  single?: string;
  /** int32, and uint8 with the result wrapped. */
  int?: string;
  /** int64, in bigints. */
  long?: string;
  bool?: string;
}

const unary = (float: string, rest: Partial<Definition> = {}): Definition => ({ arity: 1, float, ...rest });
const binary = (float: string, int: string, long: string, bool?: string): Definition => ({
  arity: 2,
  float,
  int,
  long,
  bool,
});
const bitwise = (op: string): Definition => ({
  arity: 2,
  int: `a ${op} b`,
  long: `a ${op} b`,
  bool: `a ${op} b`,
});
const compare = (op: string): Definition => same(2, `a ${op} b`);
/** One text for numbers and bigints; `Z` stands for their zero. */
const same = (arity: 1 | 2, text: string): Definition => {
  const number = text.replaceAll("Z", "0");
  return { arity, predicate: true, float: number, int: number, bool: number, long: text.replaceAll("Z", "0n") };
};
const integral: Partial<Definition> = { int: "a", long: "a", bool: "a" };

const definitions: Record<string, Definition> = {
  copy: unary("a", integral),
  neg: unary("-a", { int: "-a | 0", long: "wrap(-a)" }),
  abs: unary("Math.abs(a)", { int: "Math.abs(a) | 0", long: "a < 0n ? wrap(-a) : a", bool: "a" }),
  sign: unary("a > 0 ? 1 : a < 0 ? -1 : 0", {
    int: "a > 0 ? 1 : a < 0 ? -1 : 0",
    long: "a > 0n ? 1n : a < 0n ? -1n : 0n",
    bool: "a",
  }),
  square: unary("a * a", { int: "Math.imul(a, a)", long: "wrap(a * a)", bool: "a" }),
  sqrt: unary("Math.sqrt(a)"),
  rsqrt: unary("1 / Math.sqrt(a)"),
  reciprocal: unary("1 / a"),
  exp: unary("Math.exp(a)", { single: "exp32(a)" }),
  exp2: unary("Math.pow(2, a)"),
  expm1: unary("Math.expm1(a)"),
  log: unary("Math.log(a)"),
  log2: unary("Math.log2(a)"),
  log10: unary("Math.log10(a)"),
  log1p: unary("Math.log1p(a)"),
  sin: unary("Math.sin(a)"),
  cos: unary("Math.cos(a)"),
  tan: unary("Math.tan(a)"),
  asin: unary("Math.asin(a)"),
  acos: unary("Math.acos(a)"),
  atan: unary("Math.atan(a)"),
  sinh: unary("Math.sinh(a)"),
  cosh: unary("Math.cosh(a)"),
  tanh: unary("Math.tanh(a)", { single: "tanh32(a)" }),
  asinh: unary("Math.asinh(a)"),
  acosh: unary("Math.acosh(a)"),
  atanh: unary("Math.atanh(a)"),
  erf: unary("erf(a)"),
  erfc: unary("erfc(a)"),
  floor: unary("Math.floor(a)", integral),
  ceil: unary("Math.ceil(a)", integral),
  round: unary("roundEven(a)", integral),
  trunc: unary("Math.trunc(a)", integral),
  sigmoid: unary("1 / (1 + Math.exp(-a))", { single: "1 / (1 + exp32(-a))" }),
  relu: unary("(pick[0] = a, pick[1] = 0, pick[(a < 0) | 0])", {
    int: "a < 0 ? 0 : a",
    long: "a < 0n ? 0n : a",
    bool: "a",
  }),
  bitwiseNot: { arity: 1, int: "~a", long: "~a", bool: "a === 0 ? 1 : 0" },

  logicalNot: same(1, "a === Z"),
  isNan: { ...same(1, "false"), float: "a !== a" },
  isInf: { ...same(1, "false"), float: "a === Infinity || a === -Infinity" },
  isFinite: { ...same(1, "true"), float: "a - a === 0" },

  add: binary("a + b", "a + b | 0", "wrap(a + b)", "a | b"),
  sub: binary("a - b", "a - b | 0", "wrap(a - b)"),
  mul: binary("a * b", "Math.imul(a, b)", "wrap(a * b)", "a & b"),
  div: { arity: 2, float: "a / b" },
  pow: binary("pow(a, b)", "intPow(a, b)", "longPow(a, b)"),
  maximum: binary("Math.max(a, b)", "a > b ? a : b", "a > b ? a : b", "a | b"),
  minimum: binary("Math.min(a, b)", "a < b ? a : b", "a < b ? a : b", "a & b"),
  atan2: { arity: 2, float: "Math.atan2(a, b)" },
  fmod: binary("a % b", "b === 0 ? 0 : a % b | 0", "b === 0n ? 0n : a % b"),
  remainder: binary("remainder(a, b)", "intRemainder(a, b)", "longRemainder(a, b)"),
  floorDivide: binary("floorDivide(a, b)", "intFloorDivide(a, b)", "longFloorDivide(a, b)"),
  truncDivide: binary("Math.trunc(R(a / b))", "b === 0 ? 0 : a / b | 0", "b === 0n ? 0n : wrap(a / b)"),
  bitwiseAnd: bitwise("&"),
  bitwiseOr: bitwise("|"),
  bitwiseXor: bitwise("^"),
  leftShift: {
    arity: 2,
    int: "b >= 0 && b < 32 ? a << b : 0",
    long: "b >= 0n && b < 64n ? wrap(a << b) : 0n",
  },
  rightShift: {
    arity: 2,
    int: "b >= 0 && b < 32 ? a >> b : a < 0 ? -1 : 0",
    long: "b >= 0n && b < 64n ? a >> b : a < 0n ? -1n : 0n",
  },
  copysign: { arity: 2, float: "copysign(a, b)" },

  eq: compare("==="),
  ne: compare("!=="),
  lt: compare("<"),
  le: compare("<="),
  gt: compare(">"),
  ge: compare(">="),
  logicalAnd: same(2, "a !== Z && b !== Z"),
  logicalOr: same(2, "a !== Z || b !== Z"),
  logicalXor: same(2, "(a !== Z) !== (b !== Z)"),

  where: {
    arity: 3,
    float: "(pick[0] = c, pick[1] = b, pick[(a !== 0) | 0])",
    int: "a ? b : c",
    long: "a ? b : c",
    bool: "a ? b : c",
  },
  clamp: {
    arity: 3,
    float: "Math.min(Math.max(a, b), c)",
    int: "(a > b ? a : b) < c ? (a > b ? a : b) : c",
    long: "(a > b ? a : b) < c ? (a > b ? a : b) : c",
    bool: "(a | b) & c",
  },
};

const names = Object.keys(definitions);
const table = Object.values(definitions);
/** Function name → fn. */
export const functions: ReadonlyMap<string, number> = new Map(names.map((name, fn) => [name, fn]));
const WHERE = functions.get("where")!;
const COPY = functions.get("copy")!;
/** Elements from which a call of the engine's own fill or copy pays. */
const BULK = 32;
/** Elements from which a typed array made for them pays. */
const UNIT = 1024;

function expression(d: Definition, ctype: number): string | undefined {
  if (ctype === F32 && d.single) return d.single;
  return ctype <= F64 ? d.float : ctype === I64 ? d.long : ctype === BOOL ? d.bool : d.int;
}

// --- from a program to a loop ---

/** Wraps the text of a value of dtype `from` (as registers hold it) into one of dtype `to`. */
function cast(text: string, from: number, to: number): string {
  if (from === to || (from === BOOL && to !== I64)) return text;
  switch (to) {
    case F32:
      return from === I64 ? `longToFloat(${text})` : from === U8 ? text : `fround(${text})`;
    case F64:
      return from === I64 ? `Number(${text})` : text;
    case I32:
      return from === I64 ? `Number(BigInt.asIntN(32, ${text}))` : from === U8 ? text : `toInt32(${text})`;
    case I64:
      return from <= F64 ? `toInt64(${text})` : `BigInt(${text})`;
    case U8:
      return from === I64
        ? `Number(BigInt.asUintN(8, ${text}))`
        : from === I32
          ? `(${text} & 255)`
          : `toUint8(${text})`;
    default:
      return `((${text} ${from === I64 ? "!== 0n" : "!== 0"}) | 0)`;
  }
}

/** Text that reads an element, and the dtype of the register that it fills. */
function read(text: string, dtype: number): [string, number] {
  if (dtype === F16) return [`halfToFloat(${text})`, F32];
  if (dtype === BF16) return [`bfloatToFloat(${text})`, F32];
  return [text, dtype];
}

function write(text: string, from: number, dtype: number): string {
  if (dtype === F16) return `floatToHalf(${cast(text, from, F32)})`;
  if (dtype === BF16) return `floatToBfloat(${cast(text, from, F32)})`;
  return cast(text, from, dtype);
}

/** Runs a block of `rows` × `n` elements; P are start positions, R and S the strides of rows and elements. */
type Loop = (rows: number, n: number, V: View[], P: number[], R: number[], S: number[]) => void;

interface Step {
  fn: number;
  ctype: number;
  args: number[];
}

/**
 * Compiles a loop. V lists the inputs, then the outputs. A scalar input (one value for all elements) is read once,
 * before the loop. `unit`: there is one row, through which all others go by ones, so that they can share an index.
 */
function compile(
  inputs: number[],
  scalars: boolean[],
  steps: Step[],
  outputs: number[],
  registers: number[],
  unit: boolean,
): Loop {
  const types: number[] = []; // of the registers
  const start: string[] = [];
  const perRow: string[] = [];
  const body: string[] = [];
  const stepRow: string[] = [];
  const stepElement: string[] = [];
  const element = (k: number) => `v${k}[${unit ? "i" : `q${k}`}]`;
  const operand = (k: number) => {
    if (unit) {
      start.push(`const v${k} = V[${k}].data.subarray(P[${k}], P[${k}] + n), q${k} = 0, s${k} = 1;`);
      return;
    }
    start.push(`const v${k} = V[${k}].data; let p${k} = P[${k}]; const r${k} = R[${k}], s${k} = S[${k}];`);
    perRow.push(`let q${k} = p${k};`);
    stepRow.push(`p${k} += r${k};`);
    stepElement.push(`q${k} += s${k};`);
  };
  inputs.forEach((dtype, k) => {
    const [text, type] = read(scalars[k] ? `V[${k}].data[P[${k}]]` : element(k), dtype);
    if (!scalars[k]) operand(k);
    (scalars[k] ? start : body).push(`const x${k} = ${text};`);
    types.push(type);
  });
  for (const { fn, ctype, args } of steps) {
    const d = table[fn];
    const values = args.map((r, i) => cast(`x${r}`, types[r], fn === WHERE && i === 0 ? BOOL : ctype));
    let text = expression(d, ctype)!.replace(/\b[abc]\b/g, (name) => values["abc".indexOf(name)]);
    text = text.replaceAll("R(", ctype === F32 ? "fround(" : "(");
    text = text.replaceAll("pick", ctype === F32 ? "pick32" : "pick64");
    if (d.predicate) text = `(${text}) | 0`;
    else if (ctype === F32) text = `fround(${text})`;
    else if (ctype === U8) text = `(${text}) & 255`;
    body.push(`const x${types.length} = ${text};`);
    types.push(d.predicate ? BOOL : ctype);
  }
  outputs.forEach((dtype, i) => {
    const k = inputs.length + i;
    operand(k);
    body.push(`${element(k)} = ${write(`x${registers[i]}`, types[registers[i]], dtype)};`);
  });
  // Filling and copying without conversion go by the block.
  let bulk = "";
  if (steps.length === 1 && steps[0].fn === COPY && outputs.length === 1 && registers[0] === 1) {
    const value = write("x1", types[1], outputs[0]);
    if (scalars[0]) {
      const x1 = body[0]; // computed from x0 alone
      bulk = `if (s1 === 1 && n >= ${BULK}) { ${x1} v1.fill(${value}, q1, q1 + n); } else `;
    } else if (inputs[0] === outputs[0] && types[1] === types[0]) {
      bulk = `if (s0 === 1 && s1 === 1 && n >= ${BULK}) v1.set(v0.subarray(q0, q0 + n), q1); else `;
    }
  }
  const source = `"use strict";
const { fround } = Math;
const wrap = (x) => BigInt.asIntN(64, x);
const { ${Object.keys(library).join(", ")} } = library;
const pick32 = new Float32Array(32), pick64 = new Float64Array(32); // so large that they lie outside of V8's heap
return (rows, n, V, P, R, S) => {
  ${start.join("\n  ")}
  for (let r = 0; r < rows; r++) {
    ${perRow.join(" ")}
    ${bulk}for (let i = 0; i < n; i++) {
      ${body.join("\n      ")}
      ${stepElement.join(" ")}
    }
    ${stepRow.join(" ")}
  }
};`;
  try {
    return new Function("library", source)(library) as Loop;
  } catch (error) {
    if (!(error instanceof EvalError)) throw error;
    throw new DeviceError(
      "the JavaScript device compiles its loops with `new Function`, which this process forbids " +
        "(--disallow-code-generation-from-strings); allow it or use the native addon",
    );
  }
}

const { halfToFloat, floatToHalf, bfloatToFloat, floatToBfloat, toInt32, toInt64, toUint8, longToFloat } = convert;
const library = {
  ...special,
  halfToFloat,
  floatToHalf,
  bfloatToFloat,
  floatToBfloat,
  toInt32,
  toInt64,
  toUint8,
  longToFloat,
};

// --- check ---

const MAX_STEPS = 64;

function check(call: Call): void {
  const { attr, nIn, nOut } = call;
  const nSteps = call.nAttr > 0 ? attr[0] : 0;
  demand(nSteps >= 1 && nSteps <= MAX_STEPS, call, `has 1 to ${MAX_STEPS} steps`);
  demand(call.nAttr === 1 + 5 * nSteps + nOut && nOut >= 1, call, "has 5 words a step and a register per output");
  for (let k = 0; k < nOut; k++) demand(call.out[k].present, call, `output ${k} is missing`);
  const out = call.out[0];
  for (let k = 1; k < nOut; k++) demand(sameShape(call.out[k], out), call, "the outputs must have one shape");
  for (let k = 0; k < nIn; k++) {
    const v = call.in[k];
    demand(v.present && (v.ndim === 0 || sameShape(v, out)), call, `input ${k} must have the outputs' shape or none`);
  }
  for (let k = 0; k < nSteps; k++) {
    const at = 1 + 5 * k;
    const fn = attr[at];
    const ctype = attr[at + 1];
    const known = fn >= 0 && fn < table.length;
    demand(known, call, `step ${k}: there is no function ${fn}`);
    const d = table[fn];
    const exists = ctype >= 0 && ctype <= BOOL && ctype !== F16 && ctype !== BF16 && expression(d, ctype) !== undefined;
    demand(exists, call, `step ${k}: ${names[fn]} does not exist for ctype ${ctype}`);
    for (let i = 0; i < 3; i++) {
      const r = attr[at + 2 + i];
      const ok = i < d.arity ? r >= 0 && r < nIn + k : r === -1;
      demand(ok, call, `step ${k}: operand ${i} of ${names[fn]} cannot be register ${r}`);
    }
  }
  for (let k = 0; k < nOut; k++) {
    const r = attr[1 + 5 * nSteps + k];
    demand(r >= 0 && r < nIn + nSteps, call, `output ${k} cannot be register ${r}`);
  }
}

function sameShape(a: View, b: View): boolean {
  if (a.ndim !== b.ndim) return false;
  for (let d = 0; d < a.ndim; d++) if (a.shape[d] !== b.shape[d]) return false;
  return true;
}

// --- run ---

/** A compiled loop with the views it reads and writes and their collapsed layout. */
interface Plan {
  loop: Loop;
  views: View[];
  /** Over the dimensions outside the block. */
  walk: convert.Walk | undefined;
  rows: number;
  n: number;
  P: number[];
  R: number[];
  S: number[];
}

const singles = new Map<number, Loop>(); // programs of one step, by a number
const chains = new Map<string, Loop>(); // the others, by their words
const MAX_LOOPS = 4096; // a process that makes new programs for ever starts over

/** True when one value serves all elements. */
function isScalar(v: View, n: number): boolean {
  if (v.ndim === 0 || n === 1) return true;
  for (let d = 0; d < v.ndim; d++) if (v.strides[d] !== 0 && v.shape[d] !== 1) return false;
  return true;
}

/** Whether all views go through n elements one by one, and there are enough for an array of its own a view. */
function isUnit(views: readonly View[], n: number): boolean {
  return n >= UNIT && views.every((v) => (v.ndim > 0 && v.contiguous) || isScalar(v, n));
}

/** Fills `views` with inputs then outputs, and finds or compiles the loop. */
function findLoop(call: Call, views: View[]): Loop {
  const { attr, nIn, nOut } = call;
  const nSteps = attr[0];
  const n = call.out[0].numel;
  if (nSteps === 1 && nOut === 1 && attr[6] === nIn) {
    // One step: operands in the order of the function, whatever order the inputs came in.
    const { arity } = table[attr[1]];
    for (let i = 0; i < arity; i++) views[i] = call.in[attr[3 + i]];
    views[arity] = call.out[0];
    if (views.length > arity + 1) views.length = arity + 1; // to set a length is a slow call
    const unit = isUnit(views, n);
    let key = (attr[1] << 7) | (attr[2] << 4) | (call.out[0].dtype << 1) | (unit ? 1 : 0);
    for (let i = 0; i < arity; i++) {
      const v = views[i];
      key = (key << 4) | (v.dtype << 1) | (isScalar(v, n) ? 1 : 0);
    }
    let loop = singles.get(key);
    if (loop === undefined) {
      const inputs = views.slice(0, arity);
      const step = { fn: attr[1], ctype: attr[2], args: inputs.map((_, i) => i) };
      const scalars = inputs.map((v) => isScalar(v, n));
      loop = compile(
        inputs.map((v) => v.dtype),
        scalars,
        [step],
        [call.out[0].dtype],
        [arity],
        unit,
      );
      singles.set(key, loop);
    }
    return loop;
  }
  if (views.length > nIn + nOut) views.length = nIn + nOut;
  let key = "";
  for (let k = 0; k < nIn + nOut; k++) {
    const v = k < nIn ? call.in[k] : call.out[k - nIn];
    views[k] = v;
    key += String.fromCharCode(v.dtype * 2 + (k < nIn && isScalar(v, n) ? 1 : 0));
  }
  const unit = isUnit(views, n);
  if (unit) key += "u";
  for (let i = 0; i < call.nAttr; i++) key += String.fromCharCode(attr[i] + 32);
  let loop = chains.get(key);
  if (loop === undefined) {
    const steps: Step[] = [];
    for (let k = 0; k < nSteps; k++) {
      const at = 1 + 5 * k;
      const args = Array.from({ length: table[attr[at]].arity }, (_, i) => attr[at + 2 + i]);
      steps.push({ fn: attr[at], ctype: attr[at + 1], args });
    }
    const inputs = views.slice(0, nIn);
    loop = compile(
      inputs.map((v) => v.dtype),
      inputs.map((v) => isScalar(v, n)),
      steps,
      views.slice(nIn).map((v) => v.dtype),
      Array.from(attr.subarray(1 + 5 * nSteps, 1 + 5 * nSteps + nOut)),
      unit,
    );
    if (chains.size >= MAX_LOOPS) chains.clear();
    chains.set(key, loop);
  }
  return loop;
}

/** Merges dimensions that all views step through as one, and takes the innermost two as the block. */
function layOut(shape: View, plan: Plan): void {
  const { views, P, R, S } = plan;
  const count = views.length;
  let flat = true;
  for (let k = 0; k < count; k++) {
    const v = views[k];
    P[k] = v.offset;
    R[k] = 0;
    if (v.ndim > 0 && v.contiguous) S[k] = 1;
    else if (isScalar(v, shape.numel)) S[k] = 0;
    else flat = false;
  }
  plan.walk = undefined;
  plan.rows = 1;
  plan.n = shape.numel;
  if (flat) return;

  const sizes: number[] = [];
  const strides: number[][] = views.map(() => []);
  for (let d = 0; d < shape.ndim; d++) {
    const size = shape.shape[d];
    if (size === 1) continue;
    const last = sizes.length - 1;
    const step = (k: number) => (views[k].ndim === 0 ? 0 : views[k].strides[d]);
    if (last >= 0 && views.every((_, k) => strides[k][last] === step(k) * size)) {
      sizes[last] *= size;
      for (let k = 0; k < count; k++) strides[k][last] = step(k);
    } else {
      sizes.push(size);
      for (let k = 0; k < count; k++) strides[k].push(step(k));
    }
  }
  plan.n = sizes.pop() ?? 1;
  plan.rows = sizes.pop() ?? 1;
  for (let k = 0; k < count; k++) {
    S[k] = strides[k].pop() ?? 0;
    R[k] = strides[k].pop() ?? 0;
  }
  if (sizes.length === 0) return;
  const operands = views.map((v, k) => ({ offset: v.offset, strides: strides[k] }));
  plan.walk = new convert.Walk(sizes, operands);
}

const noLoop: Loop = () => undefined;
const emptyPlan = (): Plan => ({
  loop: noLoop,
  views: [],
  walk: undefined,
  rows: 0,
  n: 0,
  P: [],
  R: [],
  S: [],
});
const once = emptyPlan(); // for calls that are not kept

function run(call: Call): void {
  let plan = call.memo as Plan | undefined;
  if (plan === undefined) {
    plan = call.keep ? emptyPlan() : once;
    if (call.keep) call.memo = plan;
    plan.loop = findLoop(call, plan.views);
    layOut(call.out[0], plan);
  }
  const { loop, views, walk, rows, n, P, R, S } = plan;
  if (walk === undefined) loop(rows, n, views, P, R, S);
  else for (const w = walk.restart(); w.more; w.next()) loop(rows, n, views, w.at, R, S);
}

export const kernels: Record<string, Kernel> = { elementwise: { check, run, aliasing: true } };

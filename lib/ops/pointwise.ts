// How element-wise operations are described and run: promotion, broadcasting, in-place twins, and compositions that
// become one instruction.
import { describe } from "../check.js";
import type { Device } from "../device/device.js";
import { DTypeError, ProgramError, ValueError } from "../errors.js";
import { Capture } from "../graph/capture.js";
import type { Operand, View } from "../graph/encode.js";
import { mergeElementwise, type Template } from "../graph/merge.js";
import { modes, noGrad, withAutocast, withCapture } from "../graph/modes.js";
import { computeDType, type DType, dtypeFacts, isFloat, resultType } from "../tensor/dtype.js";
import { broadcastShapes, broadcastStrides, numelOf, type Shape, sameShape } from "../tensor/shape.js";
import { onStorage, Tensor } from "../tensor/tensor.js";
import { isHalf, widened } from "./autocast.js";
import {
  allocate,
  commonDevice,
  emit,
  empty,
  type GradContext,
  type Input,
  type OpDef,
  operation,
  recording,
  recordOne,
  type SavesRule,
  Scalar,
} from "./define.js";
import { checkWritable, recordInPlace, written } from "./inplace.js";
import { sumTo } from "./reduce.js";

/** What users may pass where a tensor of numbers is expected. */
export type TensorLike = Tensor | number | boolean | bigint;

/** An element-wise operation. */
export interface PointwiseDef {
  readonly name: string;
  /** Name of the device's function, when another. */
  readonly fn?: string;
  /** `"float"`: integer inputs are converted to float32. `"integer"`: floats are refused. */
  readonly domain?: "float" | "integer";
  /** The result is bool. */
  readonly predicate?: boolean;
  /** The first input is a condition, which does not count for the result's dtype. */
  readonly condition?: boolean;
  /** Autocast computes it in float32. */
  readonly wide?: boolean;
  readonly saves?: SavesRule;
  /** Gradients with respect to the inputs, of the result's shape: summing over broadcast dimensions is done here. */
  readonly grad?: (g: Tensor, context: GradContext) => readonly (Tensor | null | undefined | false)[];
  /** The formula in terms of other element-wise operations; it becomes one instruction where there is no `fn`. */
  readonly compose?: (...inputs: Tensor[]) => Tensor;
}

/** A tensor as it is, a plain number as a Scalar of `dtype`. */
function operand(x: TensorLike | Scalar, dtype: DType, op: string): Input {
  if (x instanceof Tensor) return x.use(op);
  if (x instanceof Scalar) return x;
  if (typeof x === "number" || typeof x === "bigint") return new Scalar(x, dtype);
  if (typeof x === "boolean") return new Scalar(x ? 1 : 0, dtype);
  throw new ValueError(`${op}: a tensor or a number is needed, got ${describe(x)}`);
}

function operandType(inputs: readonly (TensorLike | Scalar)[], def: PointwiseDef): DType {
  const dtype = def.condition ? promoted(inputs.slice(1)) : promoted(inputs);
  if (isFloat(dtype)) {
    if (def.domain !== "integer") return dtype;
    throw new DTypeError(`${def.name}: integer or bool tensors are needed, got ${dtype}`);
  }
  return def.domain === "float" ? "float32" : dtype;
}

function promoted(inputs: readonly (TensorLike | Scalar)[]): DType {
  // The common case: float tensors of one dtype, and numbers, which do not change it.
  let common: DType | undefined;
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i];
    if (!(x instanceof Tensor)) continue;
    if (common !== undefined && x.dtype !== common) {
      common = undefined;
      break;
    }
    common = x.dtype;
  }
  if (common !== undefined && isFloat(common)) return common;
  return resultType(inputs.filter((x) => !(x instanceof Scalar)) as TensorLike[]);
}

function broadcastAll(inputs: readonly Input[], op: string): Shape {
  let shape: Shape | undefined;
  for (const x of inputs) if (x instanceof Tensor) shape = shape ? broadcastShapes(shape, x.shape, op) : x.shape;
  return shape ?? [];
}

/** An input as the kernel needs it: with the strides of the result's shape, or 0-dimensional. */
export function spread(x: Input, shape: Shape): Operand {
  if (!(x instanceof Tensor) || x.shape.length === 0 || sameShape(x.shape, shape)) return x;
  const strides = broadcastStrides(x.shape, x.strides, shape);
  return { storage: x.storage, dtype: x.dtype, offset: x.offset, shape, strides };
}

/** Steps that compute a definition on a device: one function, or the merged steps of its composition. */
interface Plan {
  readonly attrs: readonly number[];
  /** Numbers that the composition brings, after the inputs. */
  readonly constants: readonly Scalar[];
}

/** What is known of a definition on the device that was used last. */
interface Entry {
  device: Device;
  /** The device's own function, if it has one. */
  fn: number | undefined;
  readonly plans: Map<string | number, Plan>;
}

const entries = new Map<PointwiseDef, Entry[]>();

function entryOf(def: PointwiseDef, device: Device): Entry {
  let known = entries.get(def);
  if (known === undefined) {
    known = [];
    entries.set(def, known);
  }
  for (let i = 0; i < known.length; i++) if (known[i].device === device) return known[i];
  const entry: Entry = { device, fn: device.elementwise.get(def.fn ?? def.name), plans: new Map() };
  known.push(entry);
  return entry;
}

function planOf(def: PointwiseDef, device: Device, dtype: DType, inputs: readonly Input[]): Plan {
  const { fn, plans } = entryOf(def, device);
  const key = fn !== undefined ? dtypeFacts[dtype].code : `${dtype} ${inputs.map((x) => x?.dtype).join(" ")}`;
  let plan = plans.get(key);
  if (plan === undefined) {
    plan = fn !== undefined ? single(fn, dtype, inputs.length) : composed(def, device, dtype, inputs);
    plans.set(key, plan);
  }
  return plan;
}

function single(fn: number, dtype: DType, arity: number): Plan {
  const ctype = dtypeFacts[computeDType(dtype)].code;
  return { attrs: [1, fn, ctype, 0, arity > 1 ? 1 : -1, arity > 2 ? 2 : -1, arity], constants: [] };
}

function composed(def: PointwiseDef, device: Device, dtype: DType, inputs: readonly Input[]): Plan {
  const { compose } = def;
  if (!compose) throw new ProgramError(`${def.name}: device ${device.name} has no such function; update its binary`);
  return trace(
    device,
    inputs.map((x, i) => (def.condition && i === 0 ? (x as Tensor).dtype : dtype)),
    (xs) => [compose(...xs)],
  );
}

/** Records `fn` on 0-dimensional symbols and merges its instructions into one. */
export function trace(device: Device, dtypes: readonly DType[], fn: (xs: Tensor[]) => Tensor[]): Template {
  const capture = new Capture(device);
  return noGrad(() =>
    withAutocast(null, () =>
      withCapture(capture, () => {
        const xs = dtypes.map((d) => onStorage(capture.allocate(device, dtypeFacts[d].bytes), d, []));
        const outs = fn(xs);
        return mergeElementwise(device, capture.instructions, xs, outs);
      }),
    ),
  );
}

const defs = new Map<PointwiseDef, OpDef>();

/** The tape's view of a definition: gradients are summed over the dimensions that were broadcast. */
function opDef(def: PointwiseDef): OpDef {
  let op = defs.get(def);
  if (!op) {
    const { grad, compose } = def;
    op = {
      name: def.name,
      saves: def.saves,
      grad:
        grad &&
        (([g], context) =>
          grad(g as Tensor, context).map((d, i) => (d && context.needs[i] ? sumTo(d, context.like[i].shape) : null))),
      compose:
        compose &&
        ((inputs) => {
          const device = commonDevice(inputs, def.name);
          return [compose(...inputs.map((x) => (x instanceof Scalar ? numberTensor(x, device) : (x as Tensor))))];
        }),
    };
    defs.set(def, op);
  }
  return op;
}

/** A number as a 0-dimensional tensor. */
export function numberTensor(x: Scalar, device: Device): Tensor {
  const out = empty([], x.dtype, device, "copy");
  copyInto(out, x);
  return out;
}

/** Runs an element-wise operation out of place. */
export function pointwise(def: PointwiseDef, args: readonly (TensorLike | Scalar)[]): Tensor {
  if (def.wide && modes.autocast !== null && args.some((x) => x instanceof Tensor && isHalf(x.dtype))) {
    return operation(() =>
      pointwise(
        def,
        args.map((x) => (x instanceof Tensor ? widened(x) : x)),
      ),
    );
  }
  const dtype = operandType(args, def);
  const inputs = args.map((x) => operand(x, dtype, def.name));
  const device = commonDevice(inputs, def.name);
  const shape = broadcastAll(inputs, def.name);
  const plan = planOf(def, device, dtype, inputs);
  const out = empty(shape, def.predicate ? "bool" : dtype, device, def.name);
  emitPlan(device, plan, [out], inputs, shape);
  return recording(inputs) ? recordOne(opDef(def), inputs, out, [], null) : out;
}

function emitPlan(device: Device, plan: Plan, outs: readonly View[], inputs: readonly Input[], shape: Shape): void {
  const ins: Operand[] = inputs.map((x) => spread(x, shape));
  for (const c of plan.constants) ins.push(c);
  emit(device, "elementwise", plan.attrs, outs, ins, numelOf(shape));
}

/** Runs an element-wise operation with its result written into the first argument; returns that. */
export function pointwiseInto(def: PointwiseDef, target: Tensor, rest: readonly (TensorLike | Scalar)[]): Tensor {
  const name = `${def.name}_`;
  const args = [target, ...rest];
  const dtype = operandType(args, def);
  const inputs = args.map((x) => operand(x, dtype, name));
  const device = commonDevice(inputs, name);
  checkWritable(target, broadcastAll(inputs, name), def.predicate ? "bool" : dtype, name);
  const safe = inputs.map((x) => (x instanceof Tensor && overlaps(x, target) ? clone(x) : x));
  emitPlan(device, planOf(def, device, dtype, inputs), [target], safe, target.shape);
  written(target, name);
  recordInPlace({ ...opDef(def), name }, target, inputs, [], null);
  return target;
}

/** True when a write into `target` could change `x` before it is read. */
const overlaps = (x: Tensor, target: Tensor): boolean =>
  x.storage === target.storage &&
  !(x.offset === target.offset && sameShape(x.shape, target.shape) && sameShape(x.strides, target.strides));

const copyDef: PointwiseDef = { name: "copy", grad: (g) => [g] };

/** Copies `source`, broadcast and converted, into `target`. Below the tape. */
export function copyInto(target: View, source: Tensor | Scalar): void {
  const device = target.storage.device;
  const safe =
    source instanceof Tensor && target instanceof Tensor && overlaps(source, target) ? clone(source) : source;
  emitPlan(device, planOf(copyDef, device, target.dtype, [safe]), [target], [safe], target.shape);
}

/** A row-major view of the same values, itself when it is one already. Below the tape. */
export function rowMajorCopy(view: View, dtype: DType = view.dtype): Tensor {
  const device = view.storage.device;
  const out = onStorage(allocate(device, numelOf(view.shape) * dtypeFacts[dtype].bytes, "copy"), dtype, view.shape);
  emit(device, "elementwise", planOf(copyDef, device, dtype, [null]).attrs, [out], [view], numelOf(view.shape));
  return out;
}

const cloneDef: OpDef = { name: "clone", grad: ([g]) => [g] };

/** A row-major copy with memory of its own (`torch.clone`). */
export function clone(x: Tensor): Tensor {
  return recordOne(cloneDef, [x.use("clone")], rowMajorCopy(x), [], null);
}

const castDef: OpDef = { name: "to", grad: ([g], { like }) => [cast(g as Tensor, like[0].dtype)] };

/** The values in another dtype; the tensor itself when it has that dtype. */
export function cast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  return recordOne(castDef, [x.use("to")], rowMajorCopy(x, dtype), [], null);
}

const copyToDef: OpDef = { name: "copy_", grad: ([g], { like }) => [null, sumTo(g as Tensor, like[1].shape)] };

/** Overwrites `target` with `source`, broadcast and converted to its dtype (`copy_`). */
export function copy_(target: Tensor, source: TensorLike): Tensor {
  const input = operand(source, target.dtype, "copy_") as Tensor | Scalar;
  commonDevice([target, input], "copy_");
  checkWritable(target, broadcastAll([target, input], "copy_"), target.dtype, "copy_");
  copyInto(target, input);
  written(target, "copy_");
  recordInPlace(copyToDef, target, [target, input], [], null);
  return target;
}

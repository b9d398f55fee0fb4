// The numbers of an update rule, and what is computed with them: by the host before every step, or on the device where
// only that knows how many steps were taken.
import { CaptureError } from "../errors.js";
import { Scalar } from "../graph/encode.js";
import { add, div, le, mul, pow, sqrt, sub, where } from "../ops/elementwise.js";
import { numberTensor } from "../ops/pointwise.js";
import type { Tensor } from "../tensor/tensor.js";

/** A number as an update rule takes it. */
export type Quantity = Scalar | Tensor;

/** Arithmetic in which an optimizer says what the numbers of its rule are. */
export interface Arithmetic<N> {
  /** Steps taken, with the present one. */
  readonly step: N;
  /** A number that the host reads at every step: a hyper-parameter. */
  of(read: () => number): N;
  add(a: N, b: N): N;
  sub(a: N, b: N): N;
  mul(a: N, b: N): N;
  div(a: N, b: N): N;
  pow(a: N, b: N): N;
  sqrt(a: N): N;
  /** `low` where x ≤ limit, else `high`. */
  upTo(x: N, limit: number, low: N, high: N): N;
  /** What the host alone can tell from the number of steps. */
  byHost(read: (step: number) => number): N;
}

type Thunk = () => number;

/** Its methods are taken apart and need no `this`. */
class Host implements Arithmetic<Thunk> {
  constructor(readonly step: Thunk) {}
  readonly byHost = (read: (step: number) => number): Thunk => {
    const { step } = this;
    return () => read(step());
  };
  of(read: Thunk): Thunk {
    return read;
  }
  add(a: Thunk, b: Thunk): Thunk {
    return () => a() + b();
  }
  sub(a: Thunk, b: Thunk): Thunk {
    return () => a() - b();
  }
  mul(a: Thunk, b: Thunk): Thunk {
    return () => a() * b();
  }
  div(a: Thunk, b: Thunk): Thunk {
    return () => a() / b();
  }
  pow(a: Thunk, b: Thunk): Thunk {
    return () => a() ** b();
  }
  sqrt(a: Thunk): Thunk {
    return () => Math.sqrt(a());
  }
  upTo(x: Thunk, limit: number, low: Thunk, high: Thunk): Thunk {
    return () => (x() <= limit ? low() : high());
  }
}

/** On the host, at every step anew. */
export const onHost = (step: Thunk): Arithmetic<Thunk> => new Host(step);

/** On the device, in float64, from a number of steps that lies there. */
export function onDevice(step: Tensor, name: string): Arithmetic<Quantity> {
  const { device } = step.storage;
  const made = (x: Quantity): Tensor => (x instanceof Scalar ? numberTensor(x, device) : x);
  const binary = (op: typeof add) => (a: Quantity, b: Quantity) => op(made(a), made(b));
  return {
    step,
    of: (read) => new Scalar(read, "float64"),
    add: binary(add),
    sub: binary(sub),
    mul: binary(mul),
    div: binary(div),
    pow: binary(pow),
    sqrt: (a) => sqrt(made(a)),
    upTo: (x, limit, low, high) => where(le(made(x), limit), made(low), made(high)),
    byHost: () => {
      throw new CaptureError(
        `${name}: its numbers follow from all steps so far, which only the host adds up; a step that the device may skip ` +
          "(GradScaler) cannot be captured with it",
      );
    },
  };
}

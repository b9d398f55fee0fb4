// The rows' work as Nabla does it, in each of the ways in which a user may ask for it.
import {
  add,
  compile,
  conv2d,
  crossEntropy,
  exp,
  gelu,
  linear,
  matmul,
  maxPool2d,
  optim,
  relu,
  sigmoid,
  softmax,
  type Tensor,
  tanh,
  tensor,
  tidy,
} from "../index.js";
import { type Data, linksOf, operandsOf } from "./data.js";
import { CHECKED_STEPS } from "./reference.js";
import { lenet, type Spec, type UnaryName } from "./rows.js";

export interface Variant {
  readonly name: string;
  /** The result to be checked: of the first repeat, or the losses of the first steps. Asked for once, before any run. */
  output(): ArrayLike<number>;
  /** Does the work, uses its results, and returns the milliseconds that took. */
  run(repeats: number): number | Promise<number>;
}

type Of<K extends Spec["kind"]> = Extract<Spec, { kind: K }>;

/** The ways to do a row's work on the default device. */
export function workload(spec: Spec, data: Data): Variant[] {
  switch (spec.kind) {
    case "matmul":
      return spec.chain > 1 ? chained(spec, data) : products(spec, data);
    case "unary":
      return mapped(functions[spec.fn], tensor(data.x));
    case "softmax":
      return mapped((x) => softmax(x, -1), tensor(data.x, { shape: [spec.rows, spec.columns] }));
    case "mlp":
      return ["captured", "eager"].map((way) => steps(way, data, spec, [spec.sizes[0]], mlp(spec.sizes)));
    case "cnn":
      return ["captured", "eager"].map((way) => steps(way, data, spec, [1, 28, 28], leNet));
    case "inference":
      return inference(spec, data);
    case "add":
      return addition(spec, data);
  }
}

const functions: Readonly<Record<UnaryName, (x: Tensor) => Tensor>> = { relu, exp, sigmoid, tanh, gelu };

/** The device runs behind: reading an element of the last result waits for all of them. Views would keep it in memory. */
const waitFor = (t: Tensor): number => tidy(() => t.reshape([-1]).slice(0, 0, 1).item());

/** Results are new tensors, freed when the next one is there. */
function streaming(name: string, one: (i: number) => Tensor): Variant {
  return {
    name,
    output: () => one(0).dataSync() as Float32Array,
    run(repeats) {
      const started = performance.now();
      let last = one(0);
      for (let i = 1; i < repeats; i++) {
        const next = one(i);
        last.dispose();
        last = next;
      }
      waitFor(last);
      last.dispose();
      return performance.now() - started;
    },
  };
}

function mapped(fn: (x: Tensor) => Tensor, x: Tensor): Variant[] {
  const captured = compile(fn);
  return [streaming("captured", () => captured(x)), streaming("eager", () => fn(x))];
}

/** Slices of an array as tensors, one after the other. */
const cut = (values: Float32Array | Int32Array, count: number, shape: readonly number[]): Tensor[] => {
  const size = shape.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, (_, i) => tensor(values.slice(i * size, (i + 1) * size), { shape: [...shape] }));
};

function products(spec: Of<"matmul">, data: Data): Variant[] {
  const { m, k, n } = spec;
  const left = cut(data.a, operandsOf(spec), [m, k]);
  const [right] = cut(data.b, 1, [k, n]);
  const captured = compile((a: Tensor, b: Tensor) => matmul(a, b));
  const weight = compile((a: Tensor) => matmul(a, right));
  return [
    streaming("captured", (i) => captured(left[i % left.length], right)),
    streaming("captured, constant weight", (i) => weight(left[i % left.length])),
    streaming("eager", (i) => matmul(left[i % left.length], right)),
  ];
}

function chained(spec: Of<"matmul">, data: Data): Variant[] {
  const { m, k, n, chain } = spec;
  const [first] = cut(data.a, 1, [m, k]);
  const links = cut(data.b, linksOf(spec), [k, n]);
  const all = (a: Tensor, b: readonly Tensor[]): Tensor => {
    let c = a;
    for (let i = 0; i < chain; i++) {
      const next = matmul(c, b[i % b.length]);
      if (c !== a) c.dispose();
      c = next;
    }
    return c;
  };
  const captured = compile(all);
  const weights = compile((a: Tensor) => all(a, links));
  return [
    streaming("captured", () => captured(first, links)),
    streaming("captured, constant weight", () => weights(first)),
    streaming("eager", () => all(first, links)),
  ];
}

/** Parameters of their own for every variant. */
const parametersOf = (data: Data, shapes: readonly (readonly number[])[], requiresGrad: boolean): Tensor[] =>
  shapes.flatMap((shape, i) => [
    tensor(data[`w${i}`], { shape: [...shape], requiresGrad }),
    tensor(data[`b${i}`], { requiresGrad }),
  ]);

interface Network {
  readonly shapes: readonly (readonly number[])[];
  forward(x: Tensor, p: readonly Tensor[]): Tensor;
}

/** Linear layers from parameter `from` on, relu between them. */
function dense(x: Tensor, p: readonly Tensor[], from: number): Tensor {
  let out = x;
  for (let i = from; i < p.length; i += 2) out = linear(i > from ? relu(out) : out, p[i], p[i + 1]);
  return out;
}

const mlp = (sizes: readonly number[]): Network => ({
  shapes: sizes.slice(1).map((n, i) => [n, sizes[i]]),
  forward: (x, p) => dense(x, p, 0),
});

const leNet: Network = {
  shapes: lenet.shapes,
  forward(x, p) {
    const first = maxPool2d(relu(conv2d(x, p[0], { bias: p[1] })), 2);
    const second = maxPool2d(relu(conv2d(first, p[2], { bias: p[3] })), 2);
    return dense(second.reshape([x.shape[0], 256]), p, 4);
  },
};

/** Training steps, whose loss is read each time. */
function steps(
  name: string,
  data: Data,
  { batch, batches }: { batch: number; batches: number },
  sample: readonly number[],
  { shapes, forward }: Network,
): Variant {
  const x = cut(data.x as Float32Array, batches, [batch, ...sample]);
  const y = cut(data.y, batches, [batch]);
  const parameters = parametersOf(data, shapes, true);
  const optimizer = new optim.Adam(parameters, { lr: 1e-3 });
  const plain = (input: Tensor, labels: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = crossEntropy(forward(input, parameters), labels);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const step = name === "captured" ? compile(plain) : plain;
  let at = 0;
  const next = (): number => {
    const loss = step(x[at], y[at]).item();
    at = (at + 1) % batches;
    return loss;
  };
  return {
    name,
    output: () => Array.from({ length: CHECKED_STEPS }, next),
    run(repeats) {
      const started = performance.now();
      let sum = 0;
      for (let i = 0; i < repeats; i++) sum += next();
      const ms = performance.now() - started;
      if (Number.isNaN(sum)) throw new Error("the loss became NaN");
      return ms;
    },
  };
}

function inference({ sizes, batch, batches }: Of<"inference">, data: Data): Variant[] {
  const x = cut(data.x as Float32Array, batches, [batch, sizes[0]]);
  const { shapes, forward } = mlp(sizes);
  const parameters = parametersOf(data, shapes, false);
  const eager = (input: Tensor): Tensor => forward(input, parameters);
  const captured = compile(eager);
  const sync = (name: string, model: (input: Tensor) => Tensor): Variant => ({
    name,
    output: () => model(x[0]).dataSync() as Float32Array,
    run(repeats) {
      const started = performance.now();
      let sum = 0;
      for (let i = 0; i < repeats; i++) sum += (model(x[i % batches]).dataSync() as Float32Array)[0];
      const ms = performance.now() - started;
      if (Number.isNaN(sum)) throw new Error("the output became NaN");
      return ms;
    },
  });
  const awaited: Variant = {
    name: "captured, awaited",
    output: () => captured(x[0]).dataSync() as Float32Array,
    async run(repeats) {
      const started = performance.now();
      let sum = 0;
      for (let i = 0; i < repeats; i++) sum += ((await captured(x[i % batches]).data()) as Float32Array)[0];
      const ms = performance.now() - started;
      if (Number.isNaN(sum)) throw new Error("the output became NaN");
      return ms;
    },
  };
  return [sync("captured", captured), awaited, sync("eager", eager)];
}

function addition({ grad }: Of<"add">, data: Data): Variant[] {
  const x = tensor(data.x, { requiresGrad: grad });
  const y = tensor(data.y);
  const left: Variant = {
    name: "eager",
    output: () => add(x, y).dataSync() as Float32Array,
    run(repeats) {
      const started = performance.now();
      let last = add(x, y);
      for (let i = 1; i < repeats; i++) last = add(x, y);
      waitFor(last);
      return performance.now() - started;
    },
  };
  return [left, streaming("eager, disposed", () => add(x, y))];
}

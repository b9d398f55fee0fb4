// TensorFlow.js: node tfjs.mjs cpu|wasm
import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { CHECKED_STEPS, lenet } from "../../dist/bench.mjs";
import { serve, variant } from "./serve.mjs";

const [, , backend] = process.argv;
if (backend === "wasm") {
  const wasm = await import("@tensorflow/tfjs-backend-wasm");
  const folder = dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm"));
  (wasm.default ?? wasm).setWasmPaths(`${folder}/`);
}
await tf.setBackend(backend);
await tf.ready();

const cut = (values, count, shape, dtype = "float32") => {
  const size = shape.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, (_, i) => tf.tensor(values.slice(i * size, (i + 1) * size), shape, dtype));
};

/** Work whose last result is read at the end, by one element. */
const streaming = (name, one) => ({
  name,
  output: () => one(0).dataSync(),
  run(repeats) {
    const started = performance.now();
    let last = one(0);
    for (let i = 1; i < repeats; i++) {
      const next = one(i);
      last.dispose();
      last = next;
    }
    if (Number.isNaN(last.flatten().slice([0], [1]).dataSync()[0])) throw new Error("NaN");
    last.dispose();
    return performance.now() - started;
  },
});

function matmul({ m, k, n, chain }, { a, b }) {
  const left = cut(a, a.length / (m * k), [m, k]);
  const links = cut(b, b.length / (k * n), [k, n]);
  if (chain === 1) return [streaming("", (i) => tf.matMul(left[i % left.length], links[0]))];
  const all = () =>
    tf.tidy(() => {
      let c = left[0];
      for (let i = 0; i < chain; i++) {
        const next = tf.matMul(c, links[i % links.length]);
        if (i > 0) c.dispose();
        c = next;
      }
      return c;
    });
  return [streaming("", all)];
}

/** Weights in TensorFlow's order: inputs before outputs. */
const variables = (shapes, data) =>
  shapes.flatMap((shape, i) => {
    const w = tf.tensor(data[`w${i}`], shape);
    return [
      tf.variable(shape.length === 4 ? w.transpose([2, 3, 1, 0]) : w.transpose()),
      tf.variable(tf.tensor(data[`b${i}`])),
    ];
  });

function dense(x, p, from) {
  let out = x;
  for (let i = from; i < p.length; i += 2) out = (i > from ? out.relu() : out).matMul(p[i]).add(p[i + 1]);
  return out;
}

function leNet(x, p) {
  const conv = (input, i) =>
    tf.maxPool(
      tf
        .conv2d(input, p[i], 1, "valid")
        .add(p[i + 1])
        .relu(),
      2,
      2,
      "valid",
    );
  const features = conv(conv(x, 0), 2);
  // Channels first, as the weights of the next layer are ordered.
  return dense(features.transpose([0, 3, 1, 2]).reshape([-1, 256]), p, 4);
}

const linearShapes = (sizes) => sizes.slice(1).map((n, i) => [n, sizes[i]]);

function training({ batch, batches }, data, sample, shapes, forward) {
  const x = cut(data.x, batches, [batch, ...sample]);
  const classes = shapes.at(-1)[0];
  const y = cut(data.y, batches, [batch], "int32").map((labels) => tf.oneHot(labels, classes).toFloat());
  const p = variables(shapes, data);
  const optimizer = tf.train.adam(1e-3);
  let at = 0;
  const step = () => {
    const loss = optimizer.minimize(() => tf.losses.softmaxCrossEntropy(y[at], forward(x[at], p)), true);
    const value = loss.dataSync()[0];
    loss.dispose();
    at = (at + 1) % batches;
    return value;
  };
  const losses = () => {
    const [started, out] = [performance.now(), []];
    while (out.length < 2 || (out.length < CHECKED_STEPS && performance.now() - started < 2000)) out.push(step());
    return out;
  };
  return [variant("", losses, step)];
}

function inference({ sizes, batch, batches }, data) {
  const x = cut(data.x, batches, [batch, sizes[0]]);
  const p = variables(linearShapes(sizes), data);
  const one = (i) => tf.tidy(() => dense(x[i % batches], p, 0)).dataSync();
  const run = (i) => {
    tf.engine().startScope();
    const out = one(i);
    tf.engine().endScope();
    return out;
  };
  return [variant("", () => run(0), run)];
}

const functions = { relu: tf.relu, exp: tf.exp, sigmoid: tf.sigmoid, tanh: tf.tanh };

await serve({ version: tf.version.tfjs }, (spec, data) => {
  tf.disposeVariables();
  switch (spec.kind) {
    case "matmul":
      return matmul(spec, data);
    case "unary": {
      if (!(spec.fn in functions)) return `it has no ${spec.fn}`;
      const x = tf.tensor(data.x);
      return [streaming("", () => functions[spec.fn](x))];
    }
    case "softmax": {
      const x = tf.tensor(data.x, [spec.rows, spec.columns]);
      return [streaming("", () => tf.softmax(x))];
    }
    case "mlp":
      return training(spec, data, [spec.sizes[0]], linearShapes(spec.sizes), (x, p) => dense(x, p, 0));
    case "cnn":
      // It has no kernel for the gradient of a convolution's filter.
      if (backend === "wasm") return "it cannot train convolutions";
      return training(spec, data, [28, 28, 1], lenet.shapes, leNet);
    case "inference":
      return inference(spec, data);
    case "add": {
      if (spec.grad) return "it records no gradients outside of a function";
      const [x, y] = [tf.tensor(data.x), tf.tensor(data.y)];
      return [streaming("", () => tf.add(x, y))];
    }
    default:
      return `it has no ${spec.kind}`;
  }
});

// jax-js on WebAssembly. Its functions take ownership of their arguments; `.ref` keeps one for another use.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defaultDevice, init, jit, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { CHECKED_STEPS } from "../../dist/bench.mjs";
import { serve, variant } from "./serve.mjs";

await init("wasm");
defaultDevice("wasm");
const manifest = new URL("../package.json", import.meta.resolve("@jax-js/jax"));
const { version } = JSON.parse(readFileSync(fileURLToPath(manifest), "utf8"));

const array = (values, shape) => np.array(values).reshape(shape);
const cut = (values, count, shape) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, (_, i) => array(values.slice(i * size, (i + 1) * size), shape));
};

/** Arrays are computed when they are read or waited for. */
const streaming = (name, one) => ({
  name,
  output: () => one(0).dataSync(),
  async run(repeats) {
    const started = performance.now();
    for (let i = 0; i < repeats; i++) {
      const result = one(i);
      await result.blockUntilReady();
      if (i === repeats - 1 && Number.isNaN(result.ref.ravel().slice(0).dataSync()[0])) throw new Error("NaN");
      result.dispose();
    }
    return performance.now() - started;
  },
});

function matmul({ m, k, n, chain }, { a, b }) {
  const left = cut(a, a.length / (m * k), [m, k]);
  const links = cut(b, b.length / (k * n), [k, n]);
  const all = jit((x, ...y) => {
    let c = x;
    for (let i = 0; i < chain; i++) c = np.matmul(c, y[i % y.length].ref);
    for (const one of y) one.dispose();
    return c;
  });
  return [streaming("jit", (i) => all(left[i % left.length].ref, ...links.map((l) => l.ref)))];
}

const functions = {
  relu: nn.relu,
  exp: np.exp,
  sigmoid: nn.sigmoid,
  tanh: np.tanh,
  gelu: (x) => nn.gelu(x, { approximate: false }),
};

function mapped(fn, x) {
  const compiled = jit(fn);
  return [streaming("jit", () => compiled(x.ref))];
}

/** [w0, b0, w1 …], weights with inputs first. */
const parameters = (sizes, data) =>
  sizes.slice(1).flatMap((n, i) => [
    // Copied into its own order, so that no product transposes it again.
    np.array(np.transpose(array(data[`w${i}`], [n, sizes[i]])).dataSync()).reshape([sizes[i], n]),
    np.array(data[`b${i}`]),
  ]);

function dense(p, x) {
  let out = x;
  for (let i = 0; i < p.length; i += 2) {
    if (i > 0) out = nn.relu(out);
    out = np.matmul(out, p[i]).add(p[i + 1]);
  }
  return out;
}

function training({ sizes, batch, batches }, data) {
  const x = cut(data.x, batches, [batch, sizes[0]]);
  const classes = sizes.at(-1);
  const y = Array.from({ length: batches }, (_, b) => {
    const rows = new Float32Array(batch * classes);
    for (let i = 0; i < batch; i++) rows[i * classes + data.y[b * batch + i]] = 1;
    return array(rows, [batch, classes]);
  });
  const lossOf = (p, input, labels) =>
    nn
      .logSoftmax(dense(p, input))
      .mul(labels)
      .sum()
      .mul(-1 / batch);
  const compiled = jit((p, first, second, size, root, input, labels) => {
    const [loss, gradients] = valueAndGrad(lossOf)(
      p.map((one) => one.ref),
      input,
      labels,
    );
    const next = p.map((value, i) => {
      const g = gradients[i];
      const m = first[i].mul(0.9).add(g.ref.mul(0.1));
      const v = second[i].mul(0.999).add(np.square(g).mul(0.001));
      const scale = np.sqrt(v.ref).div(root.ref).add(1e-8);
      return [value.sub(m.ref.mul(size.ref).div(scale)), m, v];
    });
    size.dispose();
    root.dispose();
    return [loss, next.map((one) => one[0]), next.map((one) => one[1]), next.map((one) => one[2])];
  });
  let p = parameters(sizes, data);
  let first = p.map((one) => np.zerosLike(one.ref));
  let second = p.map((one) => np.zerosLike(one.ref));
  let steps = 0;
  const one = () => {
    const at = steps++ % batches;
    const size = np.array(1e-3 / (1 - 0.9 ** steps));
    const root = np.array(Math.sqrt(1 - 0.999 ** steps));
    let loss;
    [loss, p, first, second] = compiled(p, first, second, size, root, x[at].ref, y[at].ref);
    return loss.dataSync()[0];
  };
  const losses = () => {
    const [started, out] = [performance.now(), []];
    while (out.length < 2 || (out.length < CHECKED_STEPS && performance.now() - started < 2000)) out.push(one());
    return out;
  };
  return [variant("jit", losses, one)];
}

function inference({ sizes, batch, batches }, data) {
  const x = cut(data.x, batches, [batch, sizes[0]]);
  const p = parameters(sizes, data);
  const compiled = jit(dense);
  const one = (i) =>
    compiled(
      p.map((w) => w.ref),
      x[i % batches].ref,
    ).dataSync();
  return [variant("jit", () => one(0), one)];
}

await serve({ version }, (spec, data) => {
  switch (spec.kind) {
    case "matmul":
      return matmul(spec, data);
    case "unary":
      return mapped(functions[spec.fn], np.array(data.x));
    case "softmax":
      return mapped((x) => nn.softmax(x), array(data.x, [spec.rows, spec.columns]));
    case "mlp":
      return training(spec, data);
    case "inference":
      return inference(spec, data);
    case "add": {
      if (spec.grad) return "it records no gradients outside of a function";
      const [x, y] = [np.array(data.x), np.array(data.y)];
      return [streaming("", () => np.add(x.ref, y.ref))];
    }
    default:
      return `it was not written for ${spec.kind}`;
  }
});

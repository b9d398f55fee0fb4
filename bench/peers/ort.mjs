// onnxruntime-node: models of one operation, or of a network, written here in ONNX's protobuf.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import ort from "onnxruntime-node";
import { linksOf, operandsOf } from "../../dist/bench.mjs";
import { serve, threads, variant } from "./serve.mjs";

const require = createRequire(import.meta.url);
const { version } = JSON.parse(readFileSync(require.resolve("onnxruntime-node/package.json"), "utf8"));

// ---- just enough protobuf
const varint = (v) => (v < 128 ? [v] : [(v & 127) | 128, ...varint(Math.floor(v / 128))]);
const bytes = (id, content) =>
  Buffer.concat([Buffer.from([...varint(id * 8 + 2), ...varint(content.length)]), content]);
const message = (id, ...parts) => bytes(id, Buffer.concat(parts));
const number = (id, v) => Buffer.from([...varint(id * 8), ...varint(v)]);
const text = (id, s) => bytes(id, Buffer.from(s));

/** A ValueInfoProto: a float32 tensor with a name and a shape. */
const value = (id, name, shape) =>
  message(
    id,
    text(1, name),
    message(2, message(1, number(1, 1), message(2, ...shape.map((n) => message(1, number(1, n)))))),
  );
/** An attribute that is an integer, or a string. */
const attribute = (name, v) =>
  message(5, text(1, name), ...(typeof v === "number" ? [number(3, v), number(20, 2)] : [text(4, v), number(20, 3)]));
const node = (op, inputs, output, attributes = {}) =>
  message(
    1,
    ...inputs.map((name) => text(1, name)),
    text(2, output),
    text(4, op),
    ...Object.entries(attributes).map(([name, v]) => attribute(name, v)),
  );
/** A weight that is part of the model. */
const constant = (name, shape, values) =>
  message(
    5,
    ...shape.map((n) => number(1, n)),
    number(2, 1),
    text(8, name),
    bytes(9, Buffer.from(values.buffer, values.byteOffset, values.byteLength)),
  );
const model = (inputs, output, nodes, constants = []) =>
  Buffer.concat([
    number(1, 9),
    message(
      7,
      ...nodes,
      text(2, "bench"),
      ...constants,
      ...inputs.map(([name, shape]) => value(11, name, shape)),
      value(12, ...output),
    ),
    message(8, number(2, 20)),
  ]);

const session = (content) =>
  ort.InferenceSession.create(content, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
  });
const tensor = (values, shape) => new ort.Tensor("float32", values, shape);
const slices = (values, count, size) => Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size));

/** A variant that runs a model on inputs in turns, into an output that is allocated once. */
async function running(name, content, feeds, outShape) {
  const s = await session(content);
  const y = tensor(new Float32Array(outShape.reduce((a, b) => a * b, 1)), outShape);
  const one = (i) => s.run(feeds[i % feeds.length], { y });
  return variant(
    name,
    async () => {
      await one(0);
      return y.data;
    },
    one,
    () => {
      if (Number.isNaN(y.data[0])) throw new Error("NaN");
    },
  );
}

async function matmul(spec, { a, b }) {
  const { m, k, n, chain } = spec;
  const links = slices(b, linksOf(spec), k * n);
  const left = slices(a, operandsOf(spec), m * k).map((values) => tensor(values, [m, k]));
  const names = links.map((_, i) => `b${i}`);
  const nodes = Array.from({ length: chain }, (_, i) =>
    node("MatMul", [i === 0 ? "a" : `c${i - 1}`, names[i % names.length]], i === chain - 1 ? "y" : `c${i}`),
  );
  const given = Object.fromEntries(links.map((values, i) => [names[i], tensor(values, [k, n])]));
  const feeds = left.map((x) => ({ a: x, ...given }));
  const inputs = [["a", [m, k]], ...names.map((name) => [name, [k, n]])];
  const constants = links.map((values, i) => constant(names[i], [k, n], values));
  return [
    await running("", model(inputs, ["y", [m, n]], nodes), feeds, [m, n]),
    await running(
      "constant weight",
      model(inputs.slice(0, 1), ["y", [m, n]], nodes, constants),
      left.map((x) => ({ a: x })),
      [m, n],
    ),
  ];
}

const operators = { relu: "Relu", exp: "Exp", sigmoid: "Sigmoid", tanh: "Tanh", gelu: "Gelu" };

const one = async (op, values, shape, attributes) => [
  await running(
    "",
    model([["x", shape]], ["y", shape], [node(op, ["x"], "y", attributes)]),
    [{ x: tensor(values, shape) }],
    shape,
  ),
];

async function inference({ sizes, batch, batches }, data) {
  const constants = [];
  const nodes = [];
  let [input, last] = ["x", sizes.length - 2];
  sizes.slice(1).forEach((n, i) => {
    constants.push(constant(`w${i}`, [n, sizes[i]], data[`w${i}`]), constant(`b${i}`, [n], data[`b${i}`]));
    nodes.push(node("Gemm", [input, `w${i}`, `b${i}`], i === last ? "y" : `h${i}`, { transB: 1 }));
    if (i < last) nodes.push(node("Relu", [`h${i}`], `r${i}`));
    input = `r${i}`;
  });
  const content = model([["x", [batch, sizes[0]]]], ["y", [batch, sizes.at(-1)]], nodes, constants);
  const feeds = slices(data.x, batches, batch * sizes[0]).map((x) => ({ x: tensor(x, [batch, sizes[0]]) }));
  return [await running("", content, feeds, [batch, sizes.at(-1)])];
}

await serve({ version }, (spec, data) => {
  switch (spec.kind) {
    case "matmul":
      return matmul(spec, data);
    case "unary":
      return one(operators[spec.fn], data.x, [spec.n]);
    case "softmax":
      return one("Softmax", data.x, [spec.rows, spec.columns]);
    case "inference":
      return inference(spec, data);
    case "add": {
      if (spec.grad) return "it has no gradients";
      const inputs = [
        ["x", [4]],
        ["y0", [4]],
      ];
      const feeds = [{ x: tensor(data.x, [4]), y0: tensor(data.y, [4]) }];
      return running("", model(inputs, ["y", [4]], [node("Add", ["x", "y0"], "y")]), feeds, [4]).then((v) => [v]);
    }
    default:
      return "it does not train";
  }
});

// Matrix products against onnxruntime-node: the same shapes, dtype and threads, results checked against float64 first,
// then timed in turns. node bench/matmul.mjs [--threads 1] [--sizes 256,512,1024] [--rounds 15]
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { compile, getNumThreads, matmul, rand, setNumThreads } from "nablajs";

const { values: args } = parseArgs({
  options: {
    threads: { type: "string", default: "1" },
    sizes: { type: "string", default: "256,512,1024" },
    rounds: { type: "string", default: "15" },
  },
});
const threads = Number(args.threads);
setNumThreads(threads);
console.log(
  `${cpus()[0].model}, ${getNumThreads()} thread(s), Node ${process.version}, load ${loadavg()[0].toFixed(2)}`,
);

const ort = await import("onnxruntime-node").then(
  (m) => m.default ?? m,
  () => null,
);
if (!ort)
  console.log("onnxruntime-node is not installed (npm install --ignore-scripts in bench/): its column stays empty");

for (const n of args.sizes.split(",").map(Number)) {
  const a = rand([n, n]);
  const b = rand([n, n]);
  const product = compile((x, y) => matmul(x, y));
  const [left, right] = [a.dataSync(), b.dataSync()];
  check("nabla", product(a, b).dataSync(), left, right, n);
  const runs = [
    {
      name: "nabla",
      // Reading one element waits for the whole product.
      run: async () => {
        const c = product(a, b);
        await c.slice(0, 0, 1).slice(1, 0, 1).data();
        c.dispose();
      },
      times: [],
    },
  ];
  if (ort) {
    const session = await ort.InferenceSession.create(matmulModel(n), {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
    });
    const feeds = {
      a: new ort.Tensor("float32", left, [n, n]),
      b: new ort.Tensor("float32", right, [n, n]),
    };
    const fetches = { c: new ort.Tensor("float32", new Float32Array(n * n), [n, n]) };
    check("onnxruntime-node", (await session.run(feeds)).c.data, left, right, n);
    runs.push({ name: "onnxruntime-node", run: () => session.run(feeds, fetches), times: [] });
  }
  const repeats = Math.max(4, Math.round(2e9 / (2 * n ** 3)));
  for (let round = 0; round < Number(args.rounds); round++) {
    for (const { run, times } of runs) {
      // Threads of the one who ran before may still spin for work: they get time to go to sleep.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await run();
      const started = performance.now();
      for (let i = 0; i < repeats; i++) await run();
      times.push((performance.now() - started) / repeats);
    }
  }
  const speed = (ms) => (2 * n ** 3) / ms / 1e6;
  const rows = runs.map(({ name, times }) => {
    const sorted = [...times].sort((x, y) => x - y);
    return `${name} best ${speed(sorted[0]).toFixed(1)}, median ${speed(sorted[sorted.length >> 1]).toFixed(1)} GFLOP/s`;
  });
  const ratio = runs[1] && median(runs[0].times.map((t, i) => runs[1].times[i] / t));
  console.log(`${n}³: ${rows.join("; ")}${ratio ? `; median ratio nabla / onnxruntime-node ${ratio.toFixed(2)}` : ""}`);
}

function median(list) {
  return [...list].sort((x, y) => x - y)[list.length >> 1];
}

/** Compares some elements with float64 sums. */
function check(name, c, a, b, n) {
  for (let k = 0; k < 50; k++) {
    const i = (k * 7919) % n;
    const j = (k * 104729) % n;
    let sum = 0;
    for (let p = 0; p < n; p++) sum += a[i * n + p] * b[p * n + j];
    if (!(Math.abs(c[i * n + j] - sum) < 1e-4 * sum))
      throw new Error(`${name}: c[${i}, ${j}] is ${c[i * n + j]}, not ${sum}`);
  }
}

/** An ONNX model (protobuf, by hand) with one MatMul: c = a·b, all n×n float32. */
function matmulModel(n) {
  const varint = (v) => (v < 128 ? [v] : [(v & 127) | 128, ...varint(Math.floor(v / 128))]);
  const field = (id, bytes) => [...varint(id * 8 + 2), ...varint(bytes.length), ...bytes];
  const number = (id, v) => [...varint(id * 8), ...varint(v)];
  const text = (id, s) => field(id, [...Buffer.from(s)]);
  const shape = field(2, [...field(1, number(1, n)), ...field(1, number(1, n))]);
  const value = (name) => [...text(1, name), ...field(2, field(1, [...number(1, 1), ...shape]))];
  const node = [...text(1, "a"), ...text(1, "b"), ...text(2, "c"), ...text(4, "MatMul")];
  const graph = [
    ...field(1, node),
    ...text(2, "matmul"),
    ...field(11, value("a")),
    ...field(11, value("b")),
    ...field(12, value("c")),
  ];
  return Uint8Array.from([...number(1, 8), ...field(7, graph), ...field(8, number(2, 13))]);
}

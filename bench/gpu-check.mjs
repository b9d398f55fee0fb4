// What only a GPU can tell, in one script of less than 8 minutes that needs node and built files alone:
//
//   node bench/gpu-check.mjs --pack DIR     here: DIR gets all it needs (dist, both addons, `bindings`, the rows of the tests)
//   node DIR/gpu-check.mjs > report.md      there
//
// It prints Markdown: the rows of the tests on cuda against js, products and convolutions of many tiles, a training run on cpu and cuda with one seed,
// compute-sanitizer where it is found, products in TFLOP/s, bandwidths against a device copy, and training steps against
// PyTorch on the same machine where Python has it. --quick: small sizes, to try the script itself (with the shim, too).
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { parseArgs } from "node:util";

const here = import.meta.dirname;
const { values: options } = parseArgs({
  options: { pack: { type: "string" }, quick: { type: "boolean" }, only: { type: "string" } },
});
const limit = 8 * 60_000;
const started = performance.now();
const left = () => limit - (performance.now() - started);

/** Everything for the other machine; esbuild is needed here only. */
async function pack(folder) {
  const root = join(here, "..");
  const { build } = createRequire(import.meta.url)("esbuild");
  const package_ = join(folder, "node_modules", "nablajs");
  const binaries = join(package_, "prebuilds", `${process.platform}-${process.arch}`);
  mkdirSync(binaries, { recursive: true });
  cpSync(join(root, "dist"), join(package_, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(package_, "package.json"));
  for (const name of ["bindings", "file-uri-to-path"]) {
    cpSync(join(root, "node_modules", name), join(folder, "node_modules", name), { recursive: true });
  }
  for (const name of ["nablajs.node", "nablajs_cuda.node"]) {
    const built = join(root, "build", "Release", name);
    if (existsSync(built)) cpSync(built, join(binaries, name));
    else process.stderr.write(`gpu-check: ${built} is not there\n`);
  }
  const stub =
    "export const absent = () => null, allDevices = [], describe = () => {}, expect = () => {}, test = () => {};";
  await build({
    stdin: {
      contents:
        'export { cases } from "./test/ops/cases.ts"; export { titleOf, weights } from "./test/ops/case.ts"; export { inputsOf } from "./test/ops/devices.ts";',
      resolveDir: root,
    },
    bundle: true,
    format: "esm",
    platform: "node",
    outfile: join(folder, "rows.mjs"),
    plugins: [
      {
        name: "the-package",
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /lib\/index\.js$/ }, () => ({ path: "nablajs", external: true }));
          onResolve({ filter: /^(vitest|\.\.\/devices\.js)$/ }, () => ({ path: "stub", namespace: "stub" }));
          onLoad({ filter: /.*/, namespace: "stub" }, () => ({ contents: stub }));
        },
      },
    ],
  });
  cpSync(join(here, "gpu-check.mjs"), join(folder, "gpu-check.mjs"));
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
}

const say = (line = "") => process.stdout.write(`${line}\n`);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** Median milliseconds of `body`, which enqueues `each` times what is timed; waited for at the end of a turn. */
async function time(body, wait, each, turns = 5) {
  body();
  await wait();
  const times = [];
  for (let turn = 0; turn < turns; turn++) {
    const from = performance.now();
    for (let i = 0; i < each; i++) body();
    await wait();
    times.push((performance.now() - from) / each);
  }
  return median(times);
}

async function check() {
  const nabla = await import("nablajs");
  const { tensor, setDefaultDevice } = nabla;
  const sections = {
    /** Values and gradients of every row in float32 and float64 against the JS device. */
    async conformance() {
      const { cases, titleOf, weights, inputsOf } = await import("./rows.mjs");
      const numbers = (x) => Array.from(x, Number);
      const results = (row, device, float) => {
        setDefaultDevice(device);
        const inputs = inputsOf(row, device, float, !row.noGrad);
        const out = [row.run(inputs)].flat();
        const values = out.map((y) => numbers(y.dataSync()));
        const terms = out
          .filter((y) => y.requiresGrad)
          .map((y) => y.mul(tensor(weights(y.numel), { shape: y.shape, dtype: y.dtype, device })).sum());
        if (terms.length) terms.reduce((a, b) => a.add(b)).backward();
        return [
          ...values,
          ...inputs.map((x) => (terms.length && x.requiresGrad && x.grad ? numbers(x.grad.dataSync()) : [])),
        ];
      };
      let good = 0;
      const bad = [];
      for (const row of cases) {
        for (const float of ["float32", "float64"]) {
          const allowed = 4 * (float === "float64" ? 1e-6 : Math.max(1e-5, row.tolerance ?? 0));
          try {
            const wanted = results(row, "js", float);
            const wrong = results(row, "cuda", float).findIndex((list, k) => {
              const scale = wanted[k].reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 1);
              return list.some(
                (x, i) => !Object.is(x, wanted[k][i]) && !(Math.abs(x - wanted[k][i]) <= allowed * scale),
              );
            });
            if (wrong < 0) good++;
            else bad.push(`${titleOf(row)} (${float}, result ${wrong})`);
          } catch (error) {
            bad.push(`${titleOf(row)} (${float}): ${error.message}`);
          }
        }
      }
      say(`${good} rows agree with the JS device, ${bad.length} do not${bad.length ? ":" : "."}`);
      for (const line of bad.slice(0, 40)) say(`- ${line}`);
      return bad.length === 0;
    },

    /** Products and convolutions beyond one tile, of numbers whose sums are exact, in all layouts: equal to those of js. */
    async tiles() {
      const values = (n, seed) => Array.from({ length: n }, (_, i) => ((i * 7 + seed * 3) % 9) - 4);
      const numbers = (x) => Array.from(x.reshape([x.numel]).to("float64").dataSync());
      const bad = [];
      let good = 0;
      const compare = (name, run) => {
        const [wanted, found] = ["js", "cuda"].map((device) => numbers(run(device)));
        const wrong = found.filter((x, i) => x !== wanted[i]).length;
        if (wrong === 0) good++;
        else bad.push(`${name}: ${wrong} of ${found.length} differ`);
      };
      const turned = (x, side) => (side ? x.transpose(0, 1).contiguous().transpose(0, 1) : x);
      for (const kind of ["float32", "tf32", "float16", "bfloat16"]) {
        process.env.NABLA_CUDA_TF32 = kind === "tf32" ? "1" : "0";
        const dtype = kind === "tf32" ? "float32" : kind;
        for (const [m, k, n] of options.quick
          ? [[136, 72, 136]]
          : [
              [136, 456, 264],
              [1032, 520, 1160],
            ])
          for (const [a, b] of [
            [false, false],
            [true, false],
            [false, true],
            [true, true],
          ])
            compare(`${m} × ${k} × ${n} ${kind}, transposed: ${a}, ${b}`, (device) =>
              nabla.matmul(
                turned(tensor(values(m * k, 1), { shape: [m, k], dtype, device }), a),
                turned(tensor(values(k * n, 2), { shape: [k, n], dtype, device }), b),
              ),
            );
        compare(`conv2d ${kind}`, (device) =>
          nabla.conv2d(
            tensor(values(8 * 36 * 400, 1), { shape: [8, 36, 20, 20], dtype, device }),
            tensor(values(64 * 36 * 9, 2), { shape: [64, 36, 3, 3], dtype, device }),
            { stride: [2, 1], padding: 1 },
          ),
        );
      }
      process.env.NABLA_CUDA_TF32 = "0";
      say(`${good} results equal those of the JS device, ${bad.length} do not${bad.length ? ":" : "."}`);
      for (const line of bad) say(`- ${line}`);
      return bad.length === 0;
    },

    /** A line and a small network, trained on both devices from one seed. */
    async parity() {
      const train = (device) => {
        nabla.manualSeed(7);
        setDefaultDevice(device);
        const x = nabla.randn([256, 20]);
        const y = x.select(1, 0).gt(0).to("int64");
        const model = new nabla.nn.Sequential([
          new nabla.nn.Linear(20, 64),
          new nabla.nn.ReLU(),
          new nabla.nn.Linear(64, 2),
        ]);
        const optimizer = new nabla.optim.AdamW(model.parameters(), { lr: 0.01 });
        const step = nabla.compile((x, y) => {
          optimizer.zeroGrad();
          const loss = nabla.crossEntropy(model.forward(x), y);
          loss.backward();
          optimizer.step();
          return loss;
        });
        return Array.from({ length: 100 }, () => step(x, y).item());
      };
      const [cpu, cuda] = [train("cpu"), train("cuda")];
      const apart = Math.max(...cpu.map((loss, i) => Math.abs(loss - cuda[i]) / Math.max(1e-3, Math.abs(loss))));
      say(
        `100 AdamW steps: loss ${cpu[0].toFixed(4)} → ${cpu[99].toFixed(6)} on cpu, ${cuda[99].toFixed(6)} on cuda; at most ${apart.toExponential(1)} apart (relative).`,
      );
      return apart < 1e-2;
    },

    async sanitizer() {
      const found = spawnSync("compute-sanitizer", ["--version"]).status === 0;
      if (!found) return say("compute-sanitizer is not on PATH.");
      for (const tool of ["memcheck", "racecheck"]) {
        const { stdout } = spawnSync(
          "compute-sanitizer",
          ["--tool", tool, process.execPath, import.meta.filename, "--only", "parity"],
          { encoding: "utf8", timeout: Math.min(90_000, left()) },
        );
        say(`${tool}: ${/ERROR SUMMARY.*/.exec(stdout ?? "")?.[0] ?? "did not finish in its time"}`);
      }
    },

    async products() {
      const sizes = options.quick
        ? [[64, 64, 64]]
        : [1024, 2048, 4096, 8192]
            .map((n) => [n, n, n])
            .concat([
              [128, 784, 512],
              [16, 4096, 4096],
              [4096, 16, 4096],
            ]);
      // cuBLASLt through NABLA_CUDA_CUBLAS, which is an error where the library is not; the same tensors, so the same layout.
      const rivals = { "mma.sync": { NABLA_CUDA_WGMMA: "0" }, cuBLASLt: { NABLA_CUDA_CUBLAS: "1" } };
      const missing = new Set();
      const reasons = [];
      say(
        "| M × K × N | dtype | ms | TFLOP/s | without wgmma | cuBLASLt | PyTorch |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |",
      );
      for (const dtype of ["float32", "tf32", "bfloat16"]) {
        process.env.NABLA_CUDA_TF32 = dtype === "tf32" ? "1" : "0";
        for (const [m, k, n] of sizes) {
          if (left() < 90_000) return say("(time is up)");
          const make = (shape) =>
            nabla.randn(shape, { device: "cuda" }).to(dtype === "bfloat16" ? "bfloat16" : "float32");
          const [a, b] = [make([m, k]), make([k, n])];
          let c;
          const measure = () =>
            time(
              () => {
                c?.dispose();
                c = nabla.matmul(a, b);
              },
              () => c.select(0, 0).select(0, 0).data(),
              m * n * k > 1e11 ? 3 : 20,
            );
          const ms = await measure();
          const others = [];
          for (const [name, settings] of Object.entries(rivals)) {
            if (missing.has(name)) {
              others.push(undefined);
              continue;
            }
            Object.assign(process.env, settings);
            try {
              others.push(await measure());
            } catch (error) {
              missing.add(name);
              others.push(undefined);
              reasons.push(`${name}: ${error.message}`);
            }
            for (const key of Object.keys(settings)) delete process.env[key];
          }
          const rival = torch(
            `a=torch.randn(${m},${k},device='cuda').to(${dtype === "bfloat16" ? "torch.bfloat16" : "torch.float32"});b=torch.randn(${k},${n},device='cuda').to(a.dtype);torch.backends.cuda.matmul.allow_tf32=${dtype === "tf32" ? "True" : "False"}`,
            "a@b",
          );
          const rate = (ms) => ((2 * m * n * k) / ms / 1e9).toFixed(1);
          const cells = [others[0], others[1], rival].map((ms) => (ms ? rate(ms) : "–"));
          say(`| ${m} × ${k} × ${n} | ${dtype} | ${ms.toFixed(3)} | ${rate(ms)} | ${cells.join(" | ")} |`);
        }
      }
      process.env.NABLA_CUDA_TF32 = "0";
      for (const reason of reasons) say(`\n${reason}`);
    },

    async bandwidth() {
      const n = options.quick ? 1 << 12 : 1 << 26;
      const x = nabla.randn([n / 1024, 1024], { device: "cuda" });
      const weight = nabla.ones([1024], { device: "cuda" });
      const rows = {
        "copy (clone)": [(x) => x.clone(), 2],
        "x + 1": [(x) => x.add(1), 2],
        gelu: [(x) => nabla.gelu(x), 2],
        softmax: [(x) => nabla.softmax(x, -1), 2],
        layerNorm: [(x) => nabla.layerNorm(x, [1024], { weight, bias: weight }), 2],
        sum: [(x) => x.sum(), 1],
      };
      say("| | ms | GB/s | of the copy |\n| --- | ---: | ---: | ---: |");
      let copy;
      for (const [name, [run, passes]] of Object.entries(rows)) {
        let y;
        try {
          const ms = await time(
            () => {
              y?.dispose();
              y = run(x);
            },
            () => y.reshape([y.numel]).select(0, 0).data(),
            10,
          );
          const rate = (passes * n * 4) / ms / 1e6;
          copy ??= rate;
          say(`| ${name} | ${ms.toFixed(3)} | ${rate.toFixed(0)} | ${(rate / copy).toFixed(2)} |`);
        } catch (error) {
          say(`| ${name} | ${error.message} | | |`);
        }
      }
    },

    async training() {
      say("| 784-512-256-10, batch 128, Adam | ms a step |\n| --- | ---: |");
      setDefaultDevice("cuda");
      nabla.manualSeed(1);
      const wide = options.quick ? [20, 8, 8] : [784, 512, 256];
      const model = new nabla.nn.Sequential([
        new nabla.nn.Linear(wide[0], wide[1]),
        new nabla.nn.ReLU(),
        new nabla.nn.Linear(wide[1], wide[2]),
        new nabla.nn.ReLU(),
        new nabla.nn.Linear(wide[2], 10),
      ]);
      const optimizer = new nabla.optim.Adam(model.parameters(), { lr: 1e-3 });
      const plain = (x, y) => {
        optimizer.zeroGrad();
        const loss = nabla.crossEntropy(model.forward(x), y);
        loss.backward();
        optimizer.step();
        return loss;
      };
      const x = nabla.randn([128, wide[0]]);
      const y = nabla.randint(0, 10, [128]).to("int64");
      for (const [name, step] of [
        ["eager", plain],
        ["captured (CUDA graph)", nabla.compile(plain)],
      ]) {
        let loss;
        const ms = await time(
          () => {
            loss = step(x, y);
          },
          () => loss.data(),
          options.quick ? 2 : 100,
        );
        say(`| Nabla, ${name} | ${ms.toFixed(3)} |`);
      }
      const model_ =
        "m=torch.nn.Sequential(torch.nn.Linear(784,512),torch.nn.ReLU(),torch.nn.Linear(512,256),torch.nn.ReLU(),torch.nn.Linear(256,10)).cuda();o=torch.optim.Adam(m.parameters());x=torch.randn(128,784,device='cuda');y=torch.randint(0,10,(128,),device='cuda')\ndef f(x,y):\n  return torch.nn.functional.cross_entropy(m(x),y)\n";
      const step = "\ndef s():\n  o.zero_grad();l=g(x,y);l.backward();o.step()";
      for (const [name, g] of [
        ["eager", "g=f"],
        ["torch.compile, reduce-overhead", "g=torch.compile(f,mode='reduce-overhead')"],
      ]) {
        const ms = torch(`${model_}${g}${step}`, "s()");
        say(`| PyTorch, ${name} | ${ms ? ms.toFixed(3) : "not found on this machine"} |`);
      }
    },
  };

  say(`# gpu-check\n\nnode ${process.version}, devices ${nabla.devices().join(", ")}`);
  const gpu = spawnSync("nvidia-smi", ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"], {
    encoding: "utf8",
  });
  say(gpu.stdout?.trim() || "nvidia-smi is not there");
  nabla.zeros([1], { device: "cuda" }); // or the reason why not
  let ok = true;
  for (const [name, run] of Object.entries(sections)) {
    if (options.only && !options.only.split(",").includes(name)) continue;
    say(`\n## ${name}\n`);
    try {
      if ((await run()) === false) ok = false;
    } catch (error) {
      ok = false;
      say(`failed: ${error.stack}`);
    }
  }
  say(`\n${((performance.now() - started) / 1000).toFixed(0)} s`);
  process.exitCode = ok ? 0 : 1;
}

/** Median milliseconds of a Python expression on this GPU, or undefined without PyTorch for it. */
let python = process.env.BENCH_PYTHON?.split(":")[0] ?? "python3";
function torch(setup, body) {
  if (!python || left() < 60_000 || options.quick) return undefined;
  const script = `import torch,time,sys
if not torch.cuda.is_available(): sys.exit(3)
${setup}
def t(n):
  torch.cuda.synchronize();a=time.perf_counter()
  for _ in range(n): ${body}
  torch.cuda.synchronize();return (time.perf_counter()-a)*1e3/n
t(3);t(3)
print(sorted(t(20) for _ in range(5))[2])`;
  const { status, stdout } = spawnSync(python, ["-c", script], { encoding: "utf8", timeout: 60_000 });
  if (status === 3 || status === 1 || status === null) python = status === null ? python : undefined;
  return status === 0 ? Number(stdout.trim()) : undefined;
}

if (options.pack) await pack(options.pack);
else await check();

// Instructions a call, by callgrind: what noise hides in times. Each loop runs N and 2N times; the difference is the calls'
// own. valgrind has no AVX-512, so NABLA_ISA is avx2. node bench/instructions.mjs [name…]
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(import.meta.url);

/** Name of a loop, and how often it runs. */
const loops = {
  "D1 add": 60_000,
  "D1 add with gradient": 60_000,
  "T4 captured": 10_000,
  "T4 eager": 3_000,
  "T5 captured": 20_000,
};

async function run(name, times) {
  const { add, compile, crossEntropy, manualSeed, nn, optim, randint, randn, setNumThreads } = await import(
    "../dist/index.mjs"
  );
  setNumThreads(1);
  manualSeed(1);
  const [row, kind] = name.split(/ (.*)/);
  let once;
  if (row === "D1") {
    const x = randn([4], { requiresGrad: kind.includes("gradient") });
    const y = randn([4]);
    once = () => add(x, y);
  } else {
    const sizes = row === "T4" ? [2, 16, 16, 2] : [4, 3];
    const layers = sizes
      .slice(1)
      .flatMap((n, i) => [new nn.Linear(sizes[i], n), ...(i < sizes.length - 2 ? [new nn.ReLU()] : [])]);
    const model = new nn.Sequential(layers);
    const optimizer = new optim.Adam(model.parameters());
    const step = (x, y) => {
      optimizer.zeroGrad();
      const loss = crossEntropy(model.forward(x), y);
      loss.backward();
      optimizer.step();
      return loss;
    };
    const trained = kind === "captured" ? compile(step) : step;
    const batch = row === "T4" ? 32 : 16;
    const x = randn([batch, sizes[0]]);
    const y = randint(0, sizes[sizes.length - 1], [batch]);
    once = () => trained(x, y).item();
  }
  for (let i = 0; i < times; i++) once();
}

/** Instructions of a whole process. */
function count(name, times) {
  const valgrind = ["--tool=callgrind", "--smc-check=all-non-file", "--callgrind-out-file=/dev/null"];
  const output = execFileSync(
    "sh",
    [
      "-c",
      'exec valgrind "$@" 2>&1',
      "sh",
      ...valgrind,
      process.execPath,
      "--single-threaded",
      here,
      "--loop",
      name,
      times,
    ],
    { env: { ...process.env, NABLA_ISA: "avx2", NABLA_NUM_THREADS: "1" }, encoding: "utf8" },
  );
  return Number(/Collected : (\d+)/.exec(output)[1]);
}

const [flag, name, times] = process.argv.slice(2);
if (flag === "--loop") {
  await run(name, Number(times));
} else {
  const wanted = process.argv.slice(2);
  for (const [loop, n] of Object.entries(loops)) {
    if (wanted.length > 0 && !wanted.includes(loop)) continue;
    const [once, twice] = [count(loop, n), count(loop, 2 * n)];
    console.log(`${loop}: ${Math.round((twice - once) / n)} instructions a call (${n} and ${2 * n} calls)`);
  }
}

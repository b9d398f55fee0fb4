// Long and hostile use: memory over thousands of steps, reads among queued work, workers that are ended at any moment,
// errors inside of everything that sets a mode.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { afterAll, expect, test } from "vitest";
import {
  add,
  checkpoint,
  compile,
  crossEntropy,
  customGrad,
  detectAnomaly,
  emptyCache,
  enableGrad,
  grad,
  indexSelect,
  isGradEnabled,
  jvp,
  manualSeed,
  matmul,
  memory,
  mul,
  nn,
  noGrad,
  optim,
  rand,
  randint,
  setDefaultDevice,
  sum,
  synchronize,
  type Tensor,
  tensor,
  tidy,
  vjp,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const MiB = 2 ** 20;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes in use that no collection frees. */
async function afterCollection(device: string): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return memory(device).inUse;
}

onEveryDevice("3,000 steps of an MLP with Adam", (device) => {
  afterAll(() => setDefaultDevice("auto"));

  test.each(["eager", "captured"])("%s: flat in buffers and in the process", { timeout: 120_000 }, async (kind) => {
    setDefaultDevice(device);
    manualSeed(1);
    const model = new nn.Sequential([new nn.Linear(16, 32), new nn.ReLU(), new nn.Dropout(0.1), new nn.Linear(32, 4)]);
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
    const body = (x: Tensor, y: Tensor): Tensor => {
      optimizer.zeroGrad();
      const loss = crossEntropy(model.forward(x), y);
      loss.backward();
      optimizer.step();
      return loss;
    };
    const step = kind === "captured" ? compile(body) : body;
    const losses: number[] = [];
    const resident: number[] = [];
    let left = 0;
    for (let i = 1; i <= 3000; i++) {
      // Each step makes 36 KiB of results and host data that live until they are collected, eager ones 200 KiB more.
      const y = randint(4, [256]);
      const loss = step(rand([256, 16]).add(y.float().unsqueeze(1)), y);
      if (i % 100) continue;
      losses.push(Number((await loss.data())[0]));
      resident.push(process.memoryUsage().rss);
      expect(memory(device).inUse).toBeLessThan(128 * MiB);
      if (i === 1000) left = await afterCollection(device);
    }
    expect(losses[29]).toBeLessThan(losses[0]);
    expect((await afterCollection(device)) - left).toBeLessThan(MiB / 4);
    const [early, late] = [resident.slice(5, 15), resident.slice(20)].map((list) => Math.max(...list));
    expect(late - early).toBeLessThan(64 * MiB);
  });
});

onEveryDevice("queued work", (device) => {
  test("synchronous reads among it give the values of their moment", async () => {
    const x = zeros([300, 300], { device });
    const one = tensor([[1]], { device });
    const promises: Promise<unknown>[] = [];
    const seen: number[] = [];
    for (let i = 0; i < 200; i++) {
      x.add_(one);
      if (i % 3 === 0)
        promises.push(
          x
            .select(0, 7)
            .data()
            .then((row) => seen.push(Number(row[299]) - (i + 1))),
        );
      if (i % 5 === 0) expect(x.select(1, 9).sum().item()).toBe(300 * (i + 1));
      if (i % 17 === 0) matmul(x, x);
      if (i % 31 === 0) memory(device);
      if (i % 41 === 0) emptyCache();
    }
    await Promise.all(promises);
    expect(seen).toEqual(new Array(67).fill(0));
  });

  test("many failures at once: each reader hears of its own, the rest goes on", async () => {
    const x = tensor([1, 2, 3], { device });
    const results = await Promise.allSettled(
      Array.from({ length: 60 }, (_, i) => {
        const y = indexSelect(x, 0, tensor([i % 2 ? 1 : 3 + i], { dtype: "int64", device }));
        return mul(y, 2).data();
      }),
    );
    results.forEach((r, i) => {
      if (i % 2) expect(r).toEqual({ status: "fulfilled", value: Float32Array.of(4) });
      else expect(r.status === "rejected" && r.reason.message).toMatch(`index ${3 + i} is out of range`);
    });
    await synchronize();
    expect(x.toArray()).toEqual([1, 2, 3]);
  });
});

onEveryDevice("workers that are ended at any moment", (device) => {
  test("fifty of them, in the middle of large asynchronous work", { timeout: 120_000 }, async () => {
    const script = new URL("./terminated.mjs", import.meta.url);
    const x = tensor([1, 2], { device });
    const size = device === "js" ? 40 : 300;
    const one = async (i: number) => {
      const worker = new Worker(script, { workerData: { device, size } });
      const failed = new Promise<never>((_, reject) => worker.once("error", reject));
      // Every third is ended while it loads, the others once they compute.
      const begun = i % 3 ? new Promise((resolve) => worker.once("message", resolve)) : Promise.resolve();
      await Promise.race([begun, failed]);
      await Promise.race([new Promise((resolve) => setTimeout(resolve, (i * 7) % 40)), failed]);
      await Promise.race([worker.terminate(), failed]);
    };
    for (let i = 0; i < 50; i += 5) {
      await Promise.all([0, 1, 2, 3, 4].map((k) => one(i + k)));
      expect(add(x, i).toArray()).toEqual([1 + i, 2 + i]);
    }
  });
});

onEveryDevice("an error inside", (device) => {
  class Planned extends Error {}
  const fail = (): never => {
    throw new Planned("planned");
  };
  const leaf = () => tensor([1, 2], { device, requiresGrad: true });
  const failingGradient = customGrad({
    forward: (_: unknown, x: Tensor) => mul(x, 2),
    backward: fail,
  });

  const places: Record<string, () => unknown> = {
    noGrad: () => noGrad(() => fail()),
    "enableGrad in noGrad": () => noGrad(() => enableGrad(fail)),
    tidy: () => tidy(() => [add(leaf(), 1), fail()]),
    "tidy in tidy": () => tidy(() => tidy(fail)),
    "a hook": () => {
      const x = leaf();
      const y = mul(x, 2);
      y.registerHook(fail);
      sum(y).backward();
    },
    "a gradient rule": () => sum(failingGradient(leaf())).backward(),
    "a gradient rule with createGraph": () => sum(failingGradient(leaf())).backward({ createGraph: true }),
    compile: () => compile((x: Tensor) => [add(x, 1), fail()])(leaf()),
    "backward in compile": () => compile((x: Tensor) => sum(failingGradient(x)).backward())(leaf()),
    "a read in compile": () =>
      compile((x: Tensor) => {
        add(x, 1).item();
      })(leaf()),
    checkpoint: () => {
      let calls = 0;
      sum(
        checkpoint((x: Tensor) => {
          if (calls++) fail();
          return mul(mul(x, x), x);
        }, leaf()),
      ).backward();
    },
    detectAnomaly: () => detectAnomaly(fail),
    grad: () => grad((_: Tensor): Tensor => fail())(leaf()),
    vjp: () => vjp((_: Tensor): Tensor => fail(), leaf()),
    jvp: () => jvp<[Tensor]>(fail, [leaf()], [leaf()]),
  };

  test.each(Object.entries(places))("%s leaves every mode as it was", (_, place) => {
    expect(place).toThrow();
    expect(isGradEnabled()).toBe(true);
    // Neither a capture nor a scope is left open, and gradients flow.
    const x = leaf();
    const y = mul(x, x);
    expect(y.toArray()).toEqual([1, 4]);
    sum(y).backward();
    expect(x.grad?.toArray()).toEqual([2, 4]);
    const f = compile((t: Tensor) => add(t, 1));
    expect(f(tensor([1], { device })).toArray()).toEqual([2]);
    expect(y.disposed).toBe(false);
  });

  test("an async tidy that fails frees what it made", async () => {
    let inner: Tensor | undefined;
    const work = tidy(async () => {
      inner = add(leaf().detach(), 1);
      await inner.data();
      fail();
    });
    await expect(work).rejects.toThrow(Planned);
    expect(inner?.disposed).toBe(true);
    expect(add(leaf(), 1).disposed).toBe(false);
  });
});

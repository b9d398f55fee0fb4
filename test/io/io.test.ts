// Weights and checkpoints: files from elsewhere, a training run that is resumed, damaged files, killed writers.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  compile,
  crossEntropy,
  FileError,
  getRngState,
  io,
  manualSeed,
  nn,
  optim,
  randint,
  randn,
  setRngState,
  type Tensor,
  tensor,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const folder = mkdtempSync(join(tmpdir(), "nabla-io-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const reference = new URL("../figures/reference.safetensors", import.meta.url).pathname;
const file = (name: string) => join(folder, name);

onEveryDevice("files", (device) => {
  const plain = (tensors: Record<string, Tensor>) =>
    Object.fromEntries(
      Object.entries(tensors).map(([k, t]) => [
        k,
        [t.dtype, t.shape, Array.from(t.dataSync() as Float32Array, String)],
      ]),
    );

  test("a file from PyTorch's bytes is read, and what is written is the same again", async () => {
    const tensors = await io.loadSafetensors(reference, { device });
    expect(tensors["layer.weight"].toArray()).toEqual([
      [1.5, -2.25, Math.fround(3e-7)],
      [Math.fround(0.1), Number.POSITIVE_INFINITY, -0],
    ]);
    expect(tensors.double.toArray()).toEqual([1 / 3, 1e300]);
    expect(tensors.half.to("float32").toArray()).toEqual([1.5, -65504, 2 ** -24]);
    expect(tensors.bf.to("float32").select(0, 0).item()).toBe(1.5);
    expect(Array.from(tensors.labels.dataSync() as BigInt64Array)).toEqual([-1n, 2n ** 40n]);
    expect(tensors.ints.toArray()).toEqual([[-7], [8]]);
    expect(tensors.bytes.toArray()).toEqual([0, 255]);
    expect(tensors.mask.toArray()).toEqual([true, false, true]);
    expect(tensors.scalar.item()).toBe(2.5);
    expect(tensors.empty.shape).toEqual([0, 3]);
    expect((await io.safetensorsInfo(reference)).metadata).toEqual({ format: "pt" });

    const path = file(`again-${device}.safetensors`);
    await io.saveSafetensors(path, tensors, { format: "nabla" });
    expect(plain(await io.loadSafetensors(path, { device }))).toEqual(plain(tensors));
    expect((await io.safetensorsInfo(path)).tensors.half).toEqual({ dtype: "float16", shape: [3] });
    // Views are written as what they show; each tensor is aligned to its width.
    const x = tensor([[1, 2, 3], [4, 5, 6]], { device }); // biome-ignore format: a matrix
    await io.saveSafetensors(path, { x: x.t(), m: tensor([true], { device }), y: x.select(0, 1) });
    expect((await io.loadSafetensors(path, { device })).x.toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
  });

  test("a run resumed from a checkpoint ends with the same bits as one that was never stopped", async () => {
    const path = file(`run-${device}.ckpt`);
    const make = () => {
      const model = new nn.Sequential([
        new nn.Linear(6, 16, { device }),
        new nn.BatchNorm1d(16, { device }),
        new nn.ReLU(),
        new nn.Dropout(0.3),
        new nn.Linear(16, 3, { device }),
      ]);
      const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 });
      const scheduler = new optim.CosineAnnealingLR(optimizer, 10);
      const step = compile((x: Tensor, y: Tensor) => {
        optimizer.zeroGrad();
        const loss = crossEntropy(model.forward(x), y);
        loss.backward();
        optimizer.step();
        return loss;
      });
      return { model, optimizer, scheduler, step };
    };
    const train = ({ step, scheduler }: ReturnType<typeof make>, from: number, to: number) => {
      for (let i = from; i < to; i++) {
        step(randn([8, 6], { device }), randint(0, 3, [8], { device }));
        scheduler.step();
      }
    };
    const bits = ({ model }: ReturnType<typeof make>) =>
      Object.fromEntries(Object.entries(model.stateDict()).map(([k, t]) => [k, t.toArray()]));

    manualSeed(1);
    const whole = make();
    train(whole, 0, 4);
    const { model, optimizer, scheduler } = whole;
    await io.save(path, {
      model: model.stateDict(),
      optimizer: optimizer.stateDict() as never,
      scheduler: scheduler.stateDict() as never,
      rng: { ...getRngState() },
      epoch: 4,
      note: [Number.NaN, -0, 12n, null, "text"],
    });
    train(whole, 4, 9);

    manualSeed(99);
    const resumed = make();
    // biome-ignore lint/suspicious/noExplicitAny: a checkpoint's type is what was saved
    const state = await io.load<any>(path, { device });
    resumed.model.loadStateDict(state.model);
    resumed.optimizer.loadStateDict(state.optimizer);
    resumed.scheduler.loadStateDict(state.scheduler);
    setRngState(state.rng);
    expect(state.note).toEqual([Number.NaN, -0, 12n, null, "text"]);
    train(resumed, state.epoch, 9);
    expect(bits(resumed)).toEqual(bits(whole));
  });
});

test("damaged and foreign files are refused in words, never half read", async () => {
  const bytes = readFileSync(reference);
  const path = file("damaged");
  const attempt = async (data: Uint8Array): Promise<string> => {
    writeFileSync(path, data);
    const error = await io.loadSafetensors(path).then(
      () => null,
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(FileError);
    return (error as Error).message;
  };
  const withHeader = (edit: (header: Record<string, never>) => unknown): Buffer => {
    const length = Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
    const text = Buffer.from(JSON.stringify(edit(header) ?? header));
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([head, text, bytes.subarray(8 + length)]);
  };
  for (let n = 0; n < bytes.length; n += 13) {
    expect(await attempt(bytes.subarray(0, n))).toMatch(/not a whole safetensors file/);
  }
  expect(await attempt(Buffer.concat([bytes, Buffer.alloc(1)]))).toMatch(/bytes of values were announced/);
  expect(await attempt(Buffer.from("PK\x03\x04 a zip file of PyTorch"))).toMatch(/not a whole safetensors file/);
  expect(await attempt(withHeader(() => []))).toMatch(/no JSON object/);
  const edited = (change: object) => withHeader((h) => void Object.assign(h.ints, change));
  expect(await attempt(edited({ dtype: "F8_E4M3" }))).toMatch(/ints has dtype F8_E4M3; tensors here can be F64/);
  expect(await attempt(edited({ shape: [3] }))).toMatch(/which is not what I32 \[3\] takes/);
  expect(await attempt(edited({ shape: [-2] }))).toMatch(/the entry of ints is malformed/);
  expect(await attempt(edited({ data_offsets: [0, 8] }))).toMatch(/begins at byte/);
  await expect(io.loadSafetensors(file("absent"))).rejects.toThrow(/absent: there is no such file/);
  await expect(io.load(reference)).rejects.toThrow(/no checkpoint but plain weights; read it with io.loadSafetensors/);
  await expect(io.save(file("x"), { model: new nn.ReLU() as never })).rejects.toThrow(/model is a ReLU; a checkpoint/);
  await expect(io.saveSafetensors(file("x"), { w: 3 as never })).rejects.toThrow(/w is not a tensor but the number 3/);
  await expect(io.saveSafetensors(join(folder, "no", "x"), {})).rejects.toThrow(/ENOENT/);
  expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
});

test("a writer that is killed leaves the old file or the new one, whole", async () => {
  const path = file("killed.ckpt");
  const script = new URL("./writer.mjs", import.meta.url).pathname;
  execFileSync(process.execPath, [script, path, "1"]);
  for (let i = 0; i < 3; i++) {
    const child = spawn(process.execPath, [script, path, "1000"], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await new Promise((resolve) => setTimeout(resolve, 3 + 7 * i));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    const { n, x } = await io.load<{ n: number; x: Tensor }>(path);
    expect(new Set(x.dataSync() as Float32Array)).toEqual(new Set([n]));
  }
}, 60_000);

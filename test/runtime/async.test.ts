// Asynchronous reads: the event loop lives while the device computes.
import { expect, test, vi } from "vitest";
import { getDevice } from "../../lib/device/registry.js";
import {
  add,
  compile,
  IndexError,
  indexSelect,
  matmul,
  rand,
  sum,
  synchronize,
  type Tensor,
  tensor,
  zeros,
} from "../../lib/index.js";
import { absent, onEveryDevice, titled } from "../devices.js";

const noAddon = absent("cpu");

test.skipIf(noAddon !== null)(titled("a timer keeps firing while a large step runs", noAddon), async () => {
  const device = "cpu";
  const a = rand([1024, 1024], { device });
  const product = compile((x: Tensor) => {
    let y = x;
    for (let i = 0; i < 12; i++) y = matmul(y, a);
    return y;
  });
  await product(a).data(); // recorded and warmed up
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const started = performance.now();
  await product(a).data();
  const took = performance.now() - started;
  clearInterval(timer);
  expect(took).toBeGreaterThan(30); // else the step is too small to tell
  expect(ticks).toBeGreaterThan(took / 20);
});

onEveryDevice("asynchronous", (device) => {
  test("data() gives the values at the time of the call", async () => {
    const x = tensor([1, 2, 3], { device });
    const before = add(x, 0).data();
    const own = x.data();
    x.add_(10);
    expect(await before).toEqual(Float32Array.of(1, 2, 3));
    expect(await own).toEqual(Float32Array.of(1, 2, 3));
    expect(await x.data()).toEqual(Float32Array.of(11, 12, 13));
  });

  test("a loop of small awaited steps does not starve the event loop", async () => {
    const x = tensor([1, 2, 3], { device });
    let turned = false;
    setTimeout(() => {
      turned = true;
    });
    let steps = 0;
    while (!turned && steps < 300_000) {
      await add(x, 1).data();
      steps++;
    }
    expect(turned).toBe(true);
    expect(steps).toBeGreaterThan(0);
  });

  test("a captured function that proved short runs in place of its awaited reads, and lets the event loop turn", async () => {
    const step = compile((x: Tensor) => sum(add(x, 1)));
    const x = zeros([1 << 17], { device }); // more work than runs in place unseen
    step(x).item();
    const behind = vi.spyOn(getDevice(device), "readAsync");
    let turned = 0;
    const timer = setInterval(() => turned++);
    try {
      expect((await step(x).data())[0]).toBe(1 << 17);
      expect(behind).toHaveBeenCalledTimes(1);
      let steps = 1;
      // A busy machine may make any one of them look long.
      for (; steps < 3000 && (steps < behind.mock.calls.length + 5 || turned < 2); steps++) {
        expect((await step(x).data())[0]).toBe(1 << 17);
      }
      expect(steps).toBeGreaterThanOrEqual(behind.mock.calls.length + 5);
      expect(turned).toBeGreaterThanOrEqual(2);
    } finally {
      clearInterval(timer);
      behind.mockRestore();
    }
  });

  test("small awaited steps see what larger ones before them did", async () => {
    const a = rand([300, 300], { device });
    const product = compile((x: Tensor) => matmul(matmul(x, a), a));
    const want = product(a).dataSync();
    const all = Buffer.from(want.buffer);
    for (let i = 0; i < 20; i++) {
      const large = product(a);
      await Promise.resolve(); // what is heavy is submitted at the end of the job
      const corner = add(large.slice(0, 0, 1).slice(1, 0, 1), 0).data();
      expect((await corner)[0]).toBe(want[0]);
      expect(Buffer.from((await add(large, 0).data()).buffer).equals(all)).toBe(true);
      await synchronize();
    }
  });

  test("many reads in flight", async () => {
    const reads = Array.from({ length: 100 }, (_, i) => tensor([i], { device }).mul(2).data());
    expect((await Promise.all(reads)).map((v) => Number(v[0]))).toEqual(Array.from({ length: 100 }, (_, i) => 2 * i));
  });

  test("errors of the device arrive where one waits, once, and spare other tensors", async () => {
    const x = zeros([5, 2], { device });
    const bad = indexSelect(x, 0, tensor([0, 7], { dtype: "int64", device }));
    const after = add(bad, 1);
    const good = add(x, 1);
    await expect(after.data()).rejects.toThrow(IndexError);
    await synchronize();
    expect(good.toArray()).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    expect(() => bad.toArray()).toThrow(/indexSelect: index 7 is out of range.*size 5/);
  });
});
